// The causal depthwise convolution over time with SiLU, whose taps do not reach over the start of a piece.
//
// Shapes: b batch, l length, e channels, k taps.
#pragma once

#include <algorithm>

#include "scan.h"

namespace native {

constexpr int SLAB = 64;  // steps that are worked on while they are near the core
constexpr int CONV_BLOCKS = 8;  // vectors of channels of one task of the backward pass

template <class T, class S>
struct Conv {
  int64_t batch, length, channels, taps;
  View<const S> x;
  View<const S> before;  // (b k-1 e), oldest first, or null
  const T *weight, *bias;  // (k e), oldest tap first; (e)
  const bool* starts;  // (b l) or null
  View<S> y;
  // backward; the gradient of y is the sum of two
  View<const S> grad_y, grad_y2;
  View<S> grad_x;
  View<T> grad_before;  // (b k-1 e) or null
  T *part_weight, *part_bias;  // (b k e), (b e)

  int64_t slabs() const { return (length + SLAB - 1) / SLAB; }
  int64_t groups() const { return (channels + CONV_BLOCKS * Simd<T>::W - 1) / (CONV_BLOCKS * Simd<T>::W); }

  // How many taps before step t lie in its piece.
  int64_t reach(int64_t b, int64_t t) const {
    const int64_t most = before.data ? taps - 1 : std::min(taps - 1, t);
    if (!starts) return most;
    int64_t found = 0;
    while (found < most && (t < found || !starts[b * length + t - found])) ++found;
    return found;
  }
  const S* input(int64_t b, int64_t t) const { return t >= 0 ? x.at(b, t) : before.at(b, taps - 1 + t); }

  Vec<T> apply(int64_t b, int64_t t, int64_t reached, int64_t channel, int lanes) const {
    Vec<T> sum = load<T>(bias + channel, lanes);
    for (int64_t d = 0; d <= reached; ++d)
      sum += load<T>(weight + (taps - 1 - d) * channels + channel, lanes) * load<T>(input(b, t - d) + channel, lanes);
    return sum;
  }
};

template <class T, class S>
void conv_forward(const Conv<T, S>& conv, int64_t task) {
  constexpr int W = Simd<T>::W;
  const int64_t b = task / conv.slabs(), begin = task % conv.slabs() * SLAB, end = std::min(conv.length, begin + SLAB);
  for (int64_t t = begin; t < end; ++t) {
    const int64_t reached = conv.reach(b, t);
    for (int64_t channel = 0; channel < conv.channels; channel += W) {
      const int lanes = std::min<int64_t>(W, conv.channels - channel);
      const Vec<T> sum = conv.apply(b, t, reached, channel, lanes);
      store<T>(conv.y.at(b, t) + channel, sum * sigmoid<T>(sum), lanes);
    }
  }
}

template <class T, class S>
void conv_backward(const Conv<T, S>& conv, int64_t task) {
  constexpr int W = Simd<T>::W;
  const int64_t past = conv.taps - 1, b = task / conv.groups();
  const int64_t first = task % conv.groups() * CONV_BLOCKS * W, last = std::min(conv.channels, first + CONV_BLOCKS * W);
  Scratch<T> grad((SLAB + past) * CONV_BLOCKS), of_weight(conv.taps * CONV_BLOCKS), of_bias(CONV_BLOCKS);
  std::memset(of_weight, 0, conv.taps * CONV_BLOCKS * VECTOR_BYTES);
  std::memset(of_bias, 0, CONV_BLOCKS * VECTOR_BYTES);
  std::vector<int64_t> reach(SLAB + past);
  for (int64_t slab = 0; slab < conv.slabs(); ++slab) {
    const int64_t begin = slab * SLAB, end = std::min(conv.length, begin + SLAB), seen = std::min(conv.length, end + past);
    for (int64_t t = begin; t < seen; ++t) {  // the gradient before SiLU, of the slab and of the steps that its inputs reach
      reach[t - begin] = conv.reach(b, t);
      for (int64_t channel = first, i = 0; channel < last; channel += W, ++i) {
        const int lanes = std::min<int64_t>(W, last - channel);
        const Vec<T> sum = conv.apply(b, t, reach[t - begin], channel, lanes), gate = sigmoid<T>(sum);
        Vec<T> g = load<T>(conv.grad_y.at(b, t) + channel, lanes);
        if (conv.grad_y2.data) g += load<T>(conv.grad_y2.at(b, t) + channel, lanes);
        g *= gate * (T(1) + sum * (T(1) - gate));
        grad[(t - begin) * CONV_BLOCKS + i] = g;
        if (t >= end) continue;
        of_bias[i] += g;
        for (int64_t d = 0; d <= reach[t - begin]; ++d)
          of_weight[(past - d) * CONV_BLOCKS + i] += g * load<T>(conv.input(b, t - d) + channel, lanes);
      }
    }
    const int64_t from = begin == 0 && conv.before.data ? -past : begin;
    for (int64_t t = from; t < end; ++t) {
      for (int64_t channel = first, i = 0; channel < last; channel += W, ++i) {
        const int lanes = std::min<int64_t>(W, last - channel);
        Vec<T> g{};
        for (int64_t d = std::max<int64_t>(0, -t); d <= past && t + d < seen; ++d)
          if (reach[t + d - begin] >= d)
            g += load<T>(conv.weight + (past - d) * conv.channels + channel, lanes) * grad[(t + d - begin) * CONV_BLOCKS + i];
        if (t >= 0)
          store<T>(conv.grad_x.at(b, t) + channel, g, lanes);
        else
          store<T>(conv.grad_before.at(b, past + t) + channel, g, lanes);
      }
    }
  }
  for (int64_t channel = first, i = 0; channel < last; channel += W, ++i) {
    const int lanes = std::min<int64_t>(W, last - channel);
    store<T>(conv.part_bias + b * conv.channels + channel, of_bias[i], lanes);
    for (int64_t j = 0; j < conv.taps; ++j)
      store<T>(conv.part_weight + (b * conv.taps + j) * conv.channels + channel, of_weight[j * CONV_BLOCKS + i], lanes);
  }
}

}  // namespace native
