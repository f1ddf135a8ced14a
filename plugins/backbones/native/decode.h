// One token through the whole model: every block's norm, projections, convolution, recurrence and residual in one call.
//
// Weights are read as they lie, nothing is packed or kept between calls, so that they may change at any time. For up to four
// rows a product is a dot product over the weights' rows; for more, the lanes of a vector are rows of the batch. A block is
// three parallel parts, each thread with its share of the channels; what is small is done by every thread for itself.
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
inline void dots(const float* W, const float* x, int64_t ldx, int64_t k, float* y, int64_t ldy, int64_t begin, int64_t end, bool add) {
  constexpr int LANES = Simd<float>::W, ROWS = 4;
  for (int64_t o = begin; o < end; o += ROWS) {
    const int rows = std::min<int64_t>(ROWS, end - o);
    Vec<float> sums[ROWS][B] = {};
    const float* w[ROWS];
    for (int i = 0; i < ROWS; ++i) w[i] = W + std::min(o + i, end - 1) * k;
    int64_t j = 0;
    for (; j + LANES <= k; j += LANES)
#pragma GCC unroll 4
      for (int i = 0; i < ROWS; ++i) {
        const Vec<float> weight = load(w[i] + j);
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) sums[i][b] += weight * load(x + b * ldx + j);
      }
    if (j < k)
      for (int i = 0; i < ROWS; ++i)
        for (int b = 0; b < B; ++b) sums[i][b] += load<float>(w[i] + j, k - j) * load<float>(x + b * ldx + j, k - j);
    for (int i = 0; i < rows; ++i)
      for (int b = 0; b < B; ++b) {
        float& to = y[b * ldy + o + i];
        to = sum<float>(sums[i][b]) + (add ? to : 0.0f);
      }
  }
}

// The same for `lanes` rows of the batch, at most one vector of them.
inline void columns(int lanes, const float* W, const float* x, int64_t ldx, int64_t k, float* y, int64_t ldy, int64_t begin,
                    int64_t end, bool add) {
  constexpr int LANES = Simd<float>::W, ROWS = 16;
  Scratch<float> panel(k);  // x transposed, (k lanes)
  float* p = reinterpret_cast<float*>(static_cast<Vec<float>*>(panel));
  for (int64_t j = 0; j < k; ++j)
    for (int b = 0; b < LANES; ++b) p[j * LANES + b] = b < lanes ? x[b * ldx + j] : 0.0f;
  for (int64_t o = begin; o < end; o += ROWS) {
    const int rows = std::min<int64_t>(ROWS, end - o);
    Vec<float> sums[ROWS] = {};
    if (rows == ROWS) {
      const float* w = W + o * k;
      for (int64_t j = 0; j < k; ++j) {
        const Vec<float> in = panel[j];
#pragma GCC unroll 16
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

inline void project(int64_t batch, const float* W, const float* x, int64_t ldx, int64_t k, float* y, int64_t ldy, int64_t begin,
                    int64_t end, bool add = false) {
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
    if (left == 4) dots<4>(W, in, ldx, k, out, ldy, begin, end, add);
    if (left == 3) dots<3>(W, in, ldx, k, out, ldy, begin, end, add);
    if (left == 2) dots<2>(W, in, ldx, k, out, ldy, begin, end, add);
    if (left == 1) dots<1>(W, in, ldx, k, out, ldy, begin, end, add);
    b = batch;
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

// xz (b 2e) -> u (b e); the window moves on by one.
inline void convolve(const Model& m, const Layer& layer, const float* xz, float* u, int64_t begin, int64_t end) {
  constexpr int W = Simd<float>::W;
  const int64_t past = m.taps - 1;
  for (int64_t b = 0; b < m.batch; ++b) {
    const float* x = xz + b * 2 * m.inner;
    float* y = u + b * m.inner;
    for (int64_t c = begin; c < end; ++c) {
      float* window = layer.conv + (b * m.inner + c) * past;
      const float* weight = layer.conv_weight + c * m.taps;
      float total = layer.conv_bias[c] + weight[past] * x[c];
      for (int64_t j = 0; j < past; ++j) total += weight[j] * window[j];
      for (int64_t j = 0; j + 1 < past; ++j) window[j] = window[j + 1];
      if (past) window[past - 1] = x[c];
      y[c] = total;
    }
    for (int64_t c = begin; c < end; c += W) {
      const int lanes = std::min<int64_t>(W, end - c);
      const Vec<float> v = load<float>(y + c, lanes);
      store<float>(y + c, v * sigmoid<float>(v), lanes);
    }
  }
}

// The recurrence: u (b e), step (b e) before bias and softplus, xd (b r+2n), gate z in xz -> y (b e).
inline void recur(const Model& m, const Layer& layer, const float* xz, const float* u, const float* xd, float* step, float* y,
                  int64_t begin, int64_t end) {
  constexpr int W = Simd<float>::W;
  const FlushTiny guard;
  const int64_t N = m.states, size = m.rank + 2 * N, block = 64;
  Scratch<float> rates(block * ((N + W - 1) / W));
  for (int64_t from = begin; from < end; from += block) {
    const int64_t to = std::min(end, from + block);
    Vec<float>* rate = rates;
    for (int64_t c = from; c < to; ++c)
      for (int64_t n = 0; n < N; n += W)
        *rate++ = -exp<float>(load<float>(layer.A_log + c * N + n, std::min<int64_t>(W, N - n))) * float(LOG2E);
    for (int64_t b = 0; b < m.batch; ++b) {
      const float *B = xd + b * size + m.rank, *C = B + N;
      for (int64_t c = from; c < to; c += W) {
        const int lanes = std::min<int64_t>(W, to - c);
        float* dt = step + b * m.inner + c;
        store<float>(dt, softplus<float>(load<float>(dt, lanes) + load<float>(layer.dt_bias + c, lanes)), lanes);
      }
      rate = rates;
      for (int64_t c = from; c < to; ++c) {
        const float dt = step[b * m.inner + c], drive = dt * u[b * m.inner + c];
        float* h = layer.ssm + (b * m.inner + c) * N;
        Vec<float> total{};
        for (int64_t n = 0; n < N; n += W) {
          const int lanes = std::min<int64_t>(W, N - n);
          const Vec<float> now = exp2<float>(*rate++ * dt) * load<float>(h + n, lanes) + load<float>(B + n, lanes) * drive;
          store<float>(h + n, now, lanes);
          total += now * load<float>(C + n, lanes);
        }
        y[b * m.inner + c] = sum<float>(total);
      }
      for (int64_t c = from; c < to; c += W) {
        const int lanes = std::min<int64_t>(W, to - c);
        const Vec<float> z = load<float>(xz + (2 * b + 1) * m.inner + c, lanes);
        const Vec<float> skip = load<float>(layer.D + c, lanes) * load<float>(u + b * m.inner + c, lanes);
        float* out = y + b * m.inner + c;
        store<float>(out, (load<float>(out, lanes) + skip) * z * sigmoid<float>(z), lanes);
      }
    }
  }
}

// stream (b d) goes through all blocks in place; hidden (b d) gets the last norm of it.
inline void decode(const Model& m, const std::vector<Layer>& layers, const float* last_norm, float* stream, float* hidden) {
  const int64_t E = m.inner, size = m.rank + 2 * m.states, threads = std::min<int64_t>(at::get_num_threads(), (E + 63) / 64);
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
      recur(m, layer, xz.data(), u.data(), xd.data(), step.data(), y.data(), begin, end);
    });
    parallel(m.width, [&](int64_t begin, int64_t end) {
      project(m.batch, layer.out_proj, y.data(), E, E, stream, m.width, begin, end, true);
    });
  }
  rms_norm(m, stream, last_norm, hidden);
}

}  // namespace native
