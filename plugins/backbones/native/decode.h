// One token through the whole model: every block's norm, projections, convolution, recurrence and residual in one call.
//
// Weights are read as they lie, nothing is packed or kept between calls, so that they may change at any time. For up to
// four rows a product is a dot product over the weights' rows; for more, the lanes of a vector are rows of the batch. A
// block is three parallel parts, each thread with its share of the channels; what is small is done by every thread for
// itself.
//
// Shapes: b batch, d model width, e inner width, n states, k taps, r rank of the step size.
#pragma once

#include <ATen/Parallel.h>

#include <cmath>
#include <vector>

#include "simd.h"

namespace native {

struct Layer {
  const float *norm, *in_proj, *conv_weight, *conv_bias, *x_proj, *dt_weight, *dt_bias, *A_log, *D, *out_proj;
  float *conv, *ssm;  // (b e k-1), (b e n), written in place
};

struct Model {
  int64_t batch, width, inner, states, taps, rank;
  double eps;
};

// ---- y (b, ldy) = or += x (b k) W[rows]^T for W (o k) ----

template <int B>
inline void dots(const float* W, const float* x, int64_t ldx, int64_t k, float* y, int64_t ldy, int64_t begin,
                 int64_t end, bool add) {
  constexpr int LANES = Simd<float>::W, ROWS = LANES / B;  // so many sums as a vector has lanes
  for (int64_t o = begin; o < end; o += ROWS) {
    const int rows = std::min<int64_t>(ROWS, end - o);
    Vec<float> totals[LANES] = {};
    const float* w[ROWS];
    for (int i = 0; i < ROWS; ++i) w[i] = W + std::min(o + i, end - 1) * k;
    int64_t j = 0;
    for (; j + LANES <= k; j += LANES)
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; ++i) {
        const Vec<float> weight = load(w[i] + j);
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) totals[b * ROWS + i] += weight * load(x + b * ldx + j);
      }
    if (j < k)
      for (int i = 0; i < ROWS; ++i)
        for (int b = 0; b < B; ++b)
          totals[b * ROWS + i] += load<float>(w[i] + j, k - j) * load<float>(x + b * ldx + j, k - j);
    float out[LANES];
    store<float>(out, sums<float>(totals));
    for (int b = 0; b < B; ++b)
      for (int i = 0; i < rows; ++i) {
        float& to = y[b * ldy + o + i];
        to = out[b * ROWS + i] + (add ? to : 0.0f);
      }
  }
}

// The same for `lanes` rows of the batch, at most one vector of them.
inline void columns(int lanes, const float* W, const float* x, int64_t ldx, int64_t k, float* y, int64_t ldy,
                    int64_t begin, int64_t end, bool add) {
  constexpr int LANES = Simd<float>::W, ROWS = 8;  // whose pointers fit into registers
  Scratch<float> panel(k);                         // x transposed, (k lanes)
  float* p = reinterpret_cast<float*>(static_cast<Vec<float>*>(panel));
  if (lanes < LANES) std::memset(p, 0, k * sizeof(Vec<float>));
  for (int b = 0; b < lanes; ++b)
    for (int64_t j = 0; j < k; ++j) p[j * LANES + b] = x[b * ldx + j];
  for (int64_t o = begin; o < end; o += ROWS) {
    const int rows = std::min<int64_t>(ROWS, end - o);
    Vec<float> sums[ROWS] = {};
    if (rows == ROWS) {
      const float* w = W + o * k;
      for (int64_t j = 0; j < k; ++j) {
        const Vec<float> in = panel[j];
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; ++i) sums[i] += in * w[i * k + j];
      }
    } else {
      for (int i = 0; i < rows; ++i)
        for (int64_t j = 0; j < k; ++j) sums[i] += panel[j] * W[(o + i) * k + j];
    }
    float out[ROWS][LANES];
    std::memcpy(out, sums, sizeof out);
    for (int b = 0; b < lanes; ++b)
      for (int i = 0; i < rows; ++i) {
        float& to = y[b * ldy + o + i];
        to = out[i][b] + (add ? to : 0.0f);
      }
  }
}

inline void project(int64_t batch, const float* W, const float* x, int64_t ldx, int64_t k, float* y, int64_t ldy,
                    int64_t begin, int64_t end, bool add = false) {
  constexpr int LANES = Simd<float>::W;
  for (int64_t b = 0; b < batch;) {
    const int64_t left = batch - b;
    const float* in = x + b * ldx;
    float* out = y + b * ldy;
    if (left > 4) {
      const int lanes = std::min<int64_t>(LANES, left);
      columns(lanes, W, in, ldx, k, out, ldy, begin, end, add);
      b += lanes;
      continue;
    }
    const int64_t rows = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    (rows == 4 ? dots<4> : rows == 2 ? dots<2> : dots<1>)(W, in, ldx, k, out, ldy, begin, end, add);
    b += rows;
  }
}

inline void rms_norm(const Model& m, const float* stream, const float* weight, float* out) {
  constexpr int W = Simd<float>::W;
  for (int64_t b = 0; b < m.batch; ++b) {
    const float* x = stream + b * m.width;
    Vec<float> squares{};
    for (int64_t i = 0; i < m.width; i += W) {
      const Vec<float> v = load<float>(x + i, std::min<int64_t>(W, m.width - i));
      squares += v * v;
    }
    const float scale = 1.0f / std::sqrt(sum<float>(squares) / float(m.width) + float(m.eps));
    for (int64_t i = 0; i < m.width; i += W) {
      const int lanes = std::min<int64_t>(W, m.width - i);
      store<float>(out + b * m.width + i, load<float>(x + i, lanes) * scale * load<float>(weight + i, lanes), lanes);
    }
  }
}

// ---- the parts of a block, for channels [begin, end) ----

// The convolution of channels [0, count): x, y (count), window (count k-1) moves on by one. `TAPS` 0: any number.
template <int TAPS>
inline void convolve_row(int64_t count, int64_t taps, const float* __restrict x, const float* __restrict weight,
                         const float* __restrict bias, float* __restrict window, float* __restrict y) {
  const int64_t past = (TAPS ? TAPS : taps) - 1;
  for (int64_t c = 0; c < count; ++c) {
    float total = bias[c] + weight[c * (past + 1) + past] * x[c];
    for (int64_t j = 0; j < past; ++j) total += weight[c * (past + 1) + j] * window[c * past + j];
    for (int64_t j = 0; j + 1 < past; ++j) window[c * past + j] = window[c * past + j + 1];
    if (past) window[c * past + past - 1] = x[c];
    y[c] = total;
  }
}

// xz (b 2e) -> u (b e); the windows move on by one.
inline void convolve(const Model& m, const Layer& layer, const float* xz, float* u, int64_t begin, int64_t end) {
  for (int64_t b = 0; b < m.batch; ++b) {
    float* y = u + b * m.inner;
    float* window = layer.conv + (b * m.inner + begin) * (m.taps - 1);
    (m.taps == 4 ? convolve_row<4> : convolve_row<0>)(end - begin, m.taps, xz + b * 2 * m.inner + begin,
                                                      layer.conv_weight + begin * m.taps, layer.conv_bias + begin,
                                                      window, y + begin);
    each_block<float>(begin, end, [&](int64_t c, auto lanes) {
      const Vec<float> v = load<float>(y + c, lanes);
      store<float>(y + c, v * sigmoid<float>(v), lanes);
    });
  }
}

// The recurrence: u (b e), step (b e) before bias and softplus, xd (b r+2n), gate z in xz -> y (b e). `PARTS` vectors
// hold the states of a channel exactly; 0: any number.
template <int PARTS>
inline void recur(const Model& m, const Layer& layer, const float* xz, const float* u, const float* xd, float* step,
                  float* y, int64_t begin, int64_t end) {
  constexpr int W = Simd<float>::W;
  const FlushTiny guard;
  const int64_t N = m.states, size = m.rank + 2 * N, parts = PARTS ? PARTS : (N + W - 1) / W;
  const auto lanes = [&](int64_t part) {
    if constexpr (PARTS) return std::integral_constant<int, W>{};
    else return int(std::min<int64_t>(W, N - part * W));
  };
  Scratch<float> rates((end - begin) * parts);
  for (int64_t i = 0; i < (end - begin) * parts; ++i)
    rates[i] = -exp<float>(load<float>(layer.A_log + (begin + i / parts) * N + i % parts * W, lanes(i % parts))) *
               float(LOG2E);
  for (int64_t b = 0; b < m.batch; ++b) {
    const float *B = xd + b * size + m.rank, *C = B + N, *z = xz + (2 * b + 1) * m.inner;
    const float *in = u + b * m.inner, *delta = step + b * m.inner;
    each_block<float>(begin, end, [&](int64_t c, auto channels) {
      float dt[W], drive[W];
      const Vec<float> dts =
          softplus<float>(load<float>(delta + c, channels) + load<float>(layer.dt_bias + c, channels));
      store<float>(dt, dts);
      store<float>(drive, dts * load<float>(in + c, channels));
      Vec<float> totals[W] = {};
      float* h = layer.ssm + (b * m.inner + c) * N;
      const Vec<float>* rate = rates + (c - begin) * parts;
      for (int i = 0; i < channels; ++i)
        for (int64_t part = 0; part < parts; ++part) {
          const int64_t n = part * W;
          const Vec<float> decay = exp2<float>(rate[i * parts + part] * dt[i]);
          const Vec<float> now =
              decay * load<float>(h + i * N + n, lanes(part)) + load<float>(B + n, lanes(part)) * drive[i];
          store<float>(h + i * N + n, now, lanes(part));
          totals[i] += now * load<float>(C + n, lanes(part));
        }
      const Vec<float> gate = load<float>(z + c, channels);
      const Vec<float> skip = load<float>(layer.D + c, channels) * load<float>(in + c, channels);
      store<float>(y + b * m.inner + c, (sums<float>(totals) + skip) * gate * sigmoid<float>(gate), channels);
    });
  }
}

// stream (b d) goes through all blocks in place; hidden (b d) gets the last norm of it.
inline void decode(const Model& m, const std::vector<Layer>& layers, const float* last_norm, float* stream,
                   float* hidden) {
  const int64_t E = m.inner, size = m.rank + 2 * m.states,
                threads = std::min<int64_t>(at::get_num_threads(), (E + 63) / 64);
  std::vector<float> xz(m.batch * 2 * E), u(m.batch * E), step(m.batch * E), y(m.batch * E);
  auto share = [&](int64_t total, int64_t thread) { return (total * thread / threads + 15) / 16 * 16; };
  auto parallel = [&](int64_t total, auto&& part) {
    at::parallel_for(0, threads, 1, [&](int64_t first, int64_t end) {
      for (int64_t thread = first; thread < end; ++thread)
        part(std::min(total, share(total, thread)), std::min(total, share(total, thread + 1)));
    });
  };
  for (const Layer& layer : layers) {
    parallel(E, [&](int64_t begin, int64_t end) {
      std::vector<float> normed(m.batch * m.width);
      rms_norm(m, stream, layer.norm, normed.data());
      project(m.batch, layer.in_proj, normed.data(), m.width, m.width, xz.data(), 2 * E, begin, end);
      project(m.batch, layer.in_proj, normed.data(), m.width, m.width, xz.data(), 2 * E, E + begin, E + end);
      convolve(m, layer, xz.data(), u.data(), begin, end);
    });
    parallel(E, [&](int64_t begin, int64_t end) {
      std::vector<float> xd(m.batch * size);
      project(m.batch, layer.x_proj, u.data(), E, E, xd.data(), size, 0, size);
      project(m.batch, layer.dt_weight, xd.data(), size, m.rank, step.data(), E, begin, end);
      (m.states == Simd<float>::W ? recur<1>
       : m.states == 2 * Simd<float>::W
           ? recur<2>
           : recur<0>)(m, layer, xz.data(), u.data(), xd.data(), step.data(), y.data(), begin, end);
    });
    parallel(m.width, [&](int64_t begin, int64_t end) {
      project(m.batch, layer.out_proj, y.data(), E, E, stream, m.width, begin, end, true);
    });
  }
  rms_norm(m, stream, last_norm, hidden);
}

}  // namespace native
