// One token through a whole Mamba: every block's norm, projections, convolution, recurrence and residual in one call.
//
// A team of threads splits each block's channels and meets three times a block. What is small is done by every thread
// for itself. Sums over channels are made slab by slab, so that the result does not hang on the number of threads.
//
// Shapes: b batch, d model width, e inner width, n states, k taps, r rank of the step size.
#pragma once

#include <vector>

#include "few.h"
#include "team.h"
#include "transpose.h"

namespace native {

struct MambaLayer {
  const float *norm, *in_proj, *conv_weight, *conv_bias, *x_proj, *dt_weight, *dt_bias, *A_log, *D, *out_proj;
  float *conv, *ssm;  // (b e k-1), (b e n), written in place
};

struct MambaStep {

  int64_t width, inner, states, taps, rank;
  double eps;
  Few few;

  // x (b d) becomes hidden (b d).
  void run(const std::vector<MambaLayer>& layers, const float* last_norm, const float* x, float* hidden) {
    const int64_t slabs = (inner + SLAB - 1) / SLAB;
    stream_.resize(few.room(width)), xz_.resize(few.room(2 * inner)), u_.resize(few.room(inner));
    step_.resize(few.room(inner)), y_.resize(few.room(inner)), parts_.resize(slabs * few.room(mixed()));
    few.take(x, width, stream_.data());
    const int64_t weights = inner * (3 * width + mixed() + rank);
    team(few.batch * int64_t(layers.size()) * weights, [&](Member member) {
      std::vector<float> normed(few.room(width)), xd(few.room(mixed()));
      for (const MambaLayer& layer : layers) {
        few.rms_norm(stream_.data(), layer.norm, width, eps, normed.data());
        member.share(inner, SLAB, [&](int64_t begin, int64_t end) {
          for (int64_t c = begin; c < end; c += SLAB) enter(layer, normed.data(), c, std::min(end, c + SLAB));
        });
        member.meet();
        std::copy_n(parts_.data(), few.room(mixed()), xd.data());
        for (int64_t slab = 1; slab < slabs; ++slab)
          for (int64_t i = 0; i < few.room(mixed()); ++i) xd[i] += parts_[slab * few.room(mixed()) + i];
        member.share(inner, SLAB, [&](int64_t begin, int64_t end) {
          few.project({layer.dt_weight, rank}, xd.data(), mixed(), rank, step_.data(), inner, begin, end);
          (states == LANES ? recur<1> : states == 2 * LANES ? recur<2> : recur<0>)(*this, layer, xd.data(), begin, end);
        });
        member.meet();
        member.share(width, GRAIN, [&](int64_t begin, int64_t end) {
          few.project({layer.out_proj, inner}, y_.data(), inner, inner, stream_.data(), width, begin, end, true);
        });
        member.meet();
      }
    });
    few.rms_norm(stream_.data(), last_norm, width, eps, y_.data());
    few.give(y_.data(), width, hidden);
  }


  static constexpr int64_t SLAB = 64;  // channels
  std::vector<float> stream_{}, xz_{}, u_{}, step_{}, y_{}, parts_{};

  int64_t mixed() const { return rank + 2 * states; }
  // Channel c's first number in an array of `size` numbers a row.
  int64_t offset(int64_t c) const { return few.in_panels() ? c * LANES : c; }

  // The way in, the convolution and this slab's share of step size, B and C.
  void enter(const MambaLayer& layer, const float* normed, int64_t begin, int64_t end) {
    const Matrix in{layer.in_proj, width};
    few.project(in, normed, width, width, xz_.data(), 2 * inner, begin, end);
    few.project(in, normed, width, width, xz_.data(), 2 * inner, inner + begin, inner + end);
    for (int64_t b = 0; b < few.batch; ++b)
      (taps == 4 ? convolve<4> : convolve<0>)(*this, layer, b, begin, end);
    few.each_vector(begin, end, inner, [&](int64_t at, auto lanes) {
      const Vec<float> v = load<float>(&u_[at], lanes);
      store<float>(&u_[at], v * sigmoid<float>(v), lanes);
    });
    few.project({layer.x_proj + begin, inner}, &u_[offset(begin)], inner, end - begin,
                &parts_[begin / SLAB * few.room(mixed())], mixed(), 0, mixed());
  }

  // The windows of row b move on by one. `TAPS` 0: any number.
  template <int TAPS>
  static void convolve(MambaStep& m, const MambaLayer& layer, int64_t b, int64_t begin, int64_t end) {
    const int64_t past = (TAPS ? TAPS : m.taps) - 1, along = m.few.in_panels() ? LANES : 1;
    const float *x = &m.xz_[m.few.at(b, begin, 2 * m.inner)], *weight = layer.conv_weight + begin * (past + 1);
    float *y = &m.u_[m.few.at(b, begin, m.inner)], *window = layer.conv + (b * m.inner + begin) * past;
    for (int64_t c = 0; c < end - begin; ++c, weight += past + 1, window += past) {
      const float now = x[c * along];
      float total = layer.conv_bias[begin + c] + weight[past] * now;
      for (int64_t j = 0; j < past; ++j) total += weight[j] * window[j];
      for (int64_t j = 0; j + 1 < past; ++j) window[j] = window[j + 1];
      if (past) window[past - 1] = now;
      y[c * along] = total;
    }
  }

  // The recurrence of channels [begin, end): step sizes before bias and softplus in `step_`, result in `y_`. `PARTS`
  // vectors hold the states of a channel exactly; 0: any number.
  template <int PARTS>
  static void recur(MambaStep& m, const MambaLayer& layer, const float* xd, int64_t begin, int64_t end) {
    const FlushTiny guard;
    if (m.few.in_panels())
      for (int64_t p = 0; p < m.few.panels(); ++p) m.recur_panel<PARTS>(layer, xd, p, begin, end);
    else
      for (int64_t b = 0; b < m.few.batch; ++b) m.recur_row<PARTS>(layer, xd, b, begin, end);
  }

  template <int PARTS>
  auto lanes_of(int64_t part) const {
    if constexpr (PARTS) return std::integral_constant<int, LANES>{};
    else return int(std::min<int64_t>(LANES, states - part * LANES));
  }

  // The states h (n) of one channel move on; their sum weighted by C lies in the lanes of the result.
  template <int PARTS>
  Vec<float> advance(const Vec<float>* rates, const Vec<float>* B, const Vec<float>* C, float dt,
                     float drive, float* h) const {
    Vec<float> total{};
    for (int64_t part = 0; part < (PARTS ? PARTS : parts()); ++part) {
      const auto lanes = lanes_of<PARTS>(part);
      const Vec<float> now =
          exp2<float>(rates[part] * dt) * load<float>(h + part * LANES, lanes) + B[part] * drive;
      store<float>(h + part * LANES, now, lanes);
      total += now * C[part];
    }
    return total;
  }

  int64_t parts() const { return (states + LANES - 1) / LANES; }

  template <int PARTS>
  void rates_of(const MambaLayer& layer, int64_t c, Vec<float>* rates) const {
    for (int64_t part = 0; part < parts(); ++part)
      rates[part] = -exp<float>(load<float>(layer.A_log + c * states + part * LANES, lanes_of<PARTS>(part))) *
                    float(LOG2E);
  }

  template <int PARTS>
  void recur_panel(const MambaLayer& layer, const float* xd, int64_t p, int64_t begin, int64_t end) {
    const int lanes = std::min<int64_t>(LANES, few.batch - p * LANES);
    Scratch<float> rates(parts() * LANES), B(parts() * LANES), C(parts() * LANES);
    std::memset(B, 0, parts() * LANES * sizeof(Vec<float>)), std::memset(C, 0, parts() * LANES * sizeof(Vec<float>));
    const float* mixture = xd + (p * mixed() + rank) * LANES;
    for (int64_t n = 0; n < states; ++n)
      for (int b = 0; b < lanes; ++b) {
        B[b * parts() + n / LANES][n % LANES] = mixture[n * LANES + b];
        C[b * parts() + n / LANES][n % LANES] = mixture[(states + n) * LANES + b];
      }
    for (int64_t first = begin; first < end; first += LANES) {
      const int channels = std::min<int64_t>(LANES, end - first);
      float dt[LANES * LANES], drive[LANES * LANES];  // (channels w)
      for (int i = 0; i < channels; ++i) {
        const int64_t c = first + i, at = (p * inner + c) * LANES;
        const Vec<float> dts = softplus<float>(load(&step_[at]) + layer.dt_bias[c]).value;
        store<float>(dt + i * LANES, dts), store<float>(drive + i * LANES, dts * load(&u_[at]));
        rates_of<PARTS>(layer, c, rates + i * parts());
      }
      Vec<float> sum[LANES] = {};  // a vector of channels for each row, as their states lie
      for (int b = 0; b < lanes; ++b) {
        Vec<float> totals[LANES] = {};
        float* h = layer.ssm + ((p * LANES + b) * inner + first) * states;
        for (int i = 0; i < channels; ++i, h += states) {
          __builtin_prefetch(h + inner * states, 1);  // the same channel's in the next row
          totals[i] = advance<PARTS>(rates + i * parts(), B + b * parts(), C + b * parts(), dt[i * LANES + b],
                                     drive[i * LANES + b], h);
        }
        sum[b] = sums<float>(totals);
      }
      turn<float>(sum);
      for (int i = 0; i < channels; ++i) {
        const int64_t c = first + i, at = (p * inner + c) * LANES;
        const Vec<float> gate = load(&xz_[(p * 2 * inner + inner + c) * LANES]);
        store<float>(&y_[at], (sum[i] + load(&u_[at]) * layer.D[c]) * gate * sigmoid<float>(gate));
      }
    }
  }

  template <int PARTS>
  void recur_row(const MambaLayer& layer, const float* xd, int64_t b, int64_t begin, int64_t end) {
    Scratch<float> rates(parts()), B(parts()), C(parts());
    for (int64_t part = 0; part < parts(); ++part) {
      const float* mixture = xd + b * mixed() + rank + part * LANES;
      B[part] = load<float>(mixture, lanes_of<PARTS>(part));
      C[part] = load<float>(mixture + states, lanes_of<PARTS>(part));
    }
    const float *u = &u_[b * inner], *delta = &step_[b * inner], *z = &xz_[(2 * b + 1) * inner];
    each_block<float>(begin, end, [&](int64_t c, auto channels) {
      const Vec<float> in = load<float>(u + c, channels);
      const Vec<float> dts =
          softplus<float>(load<float>(delta + c, channels) + load<float>(layer.dt_bias + c, channels)).value;
      float dt[LANES], drive[LANES];
      store<float>(dt, dts), store<float>(drive, dts * in);
      Vec<float> totals[LANES] = {};
      float* h = layer.ssm + (b * inner + c) * states;
      for (int i = 0; i < channels; ++i, h += states) {
        rates_of<PARTS>(layer, c + i, rates);
        totals[i] = advance<PARTS>(rates, B, C, dt[i], drive[i], h);
      }
      const Vec<float> gate = load<float>(z + c, channels), skip = load<float>(layer.D + c, channels) * in;
      store<float>(&y_[b * inner + c], (sums<float>(totals) + skip) * gate * sigmoid<float>(gate), channels);
    });
  }
};

}  // namespace native
