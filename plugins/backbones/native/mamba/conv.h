// The causal depthwise convolution over time with SiLU, whose taps do not reach over the start of a piece.
//
// Shapes: b batch, l length, e channels, k taps.
#pragma once

#include <algorithm>
#include <vector>

#include "simd.h"
#include "view.h"

namespace native {

constexpr int SLAB = 32;  // steps that are worked on while they are near the core

template <class T, class S>
struct Conv {
  int64_t batch, length, channels, taps, threads;
  View<const S> x;
  View<const S> before;    // (b k-1 e), oldest first, or null
  const T *weight, *bias;  // (k e), oldest tap first; (e)
  const bool* starts;      // (b l) or null
  View<S> y;
  // backward; the gradient of y is the sum of two
  View<const S> grad_y, grad_y2;
  View<S> grad_x;
  View<T> grad_before;         // (b k-1 e) or null
  T *part_weight, *part_bias;  // (b k e), (b e)

  int64_t slabs() const { return (length + SLAB - 1) / SLAB; }
  // Channels of one task of the backward pass.
  int64_t group() const {
    constexpr int W = Simd<T>::W;
    const int64_t blocks = (channels + W - 1) / W, groups = split(batch, blocks, threads);
    return (blocks + groups - 1) / groups * W;
  }
  int64_t groups() const { return (channels + group() - 1) / group(); }

  // How many taps before step t lie in its piece.
  int64_t reach(int64_t b, int64_t t) const {
    const int64_t most = before.data ? taps - 1 : std::min(taps - 1, t);
    if (!starts) return most;
    int64_t found = 0;
    while (found < most && (t < found || !starts[b * length + t - found])) ++found;
    return found;
  }
  const S* input(int64_t b, int64_t t) const { return t >= 0 ? x.at(b, t) : before.at(b, taps - 1 + t); }
};

// bias + taps . inputs, where rows[d] is the input d steps ago. `TAPS` 0: only `reached` of them.
template <class T, class S, int TAPS, class L>
inline Vec<T> convolved(const Conv<T, S>& conv, const S* const* rows, int64_t reached, int64_t channel, L lanes) {
  Vec<T> sum = load<T>(conv.bias + channel, lanes);
  const T* newest = conv.weight + (conv.taps - 1) * conv.channels + channel;
  if constexpr (TAPS) {
#pragma GCC unroll 8
    for (int d = 0; d < TAPS; ++d)
      sum += load<T>(newest - d * conv.channels, lanes) * load<T>(rows[d] + channel, lanes);
  } else {
    for (int64_t d = 0; d <= reached; ++d)
      sum += load<T>(newest - d * conv.channels, lanes) * load<T>(rows[d] + channel, lanes);
  }
  return sum;
}

template <class T, class S, int TAPS>
void conv_row(const Conv<T, S>& conv, const S* const* rows, int64_t reached, S* y) {
  each_block<T>(0, conv.channels, [&](int64_t channel, auto lanes) {
    const Vec<T> sum = convolved<T, S, TAPS>(conv, rows, reached, channel, lanes);
    store<T>(y + channel, sum * sigmoid<T>(sum), lanes);
  });
}

template <class T, class S>
void conv_forward(const Conv<T, S>& conv, int64_t task) {
  const int64_t b = task / conv.slabs(), begin = task % conv.slabs() * SLAB, end = std::min(conv.length, begin + SLAB);
  std::vector<const S*> rows(conv.taps);
  for (int64_t t = begin; t < end; ++t) {
    const int64_t reached = conv.reach(b, t);
    for (int64_t d = 0; d <= reached; ++d) rows[d] = conv.input(b, t - d);
    (reached == 3 ? conv_row<T, S, 4> : conv_row<T, S, 0>)(conv, rows.data(), reached, conv.y.at(b, t));
  }
}

// The gradient before SiLU of one step into `grad`, and its shares of those of weight and bias if `own`.
template <class T, class S, int TAPS>
void conv_grad_row(const Conv<T, S>& conv, const S* const* rows, int64_t reached, const S* grad_y, const S* grad_y2,
                   bool own, int64_t first, int64_t last, T* grad, T* of_weight, T* of_bias) {
  const int64_t width = conv.group();
  each_block<T>(first, last, [&](int64_t channel, auto lanes) {
    constexpr int W = Simd<T>::W;
    const Vec<T> sum = convolved<T, S, TAPS>(conv, rows, reached, channel, lanes), gate = sigmoid<T>(sum);
    Vec<T> g = load<T>(grad_y + channel, lanes);
    if (grad_y2) g += load<T>(grad_y2 + channel, lanes);
    g *= gate + sum * gate * (T(1) - gate);
    const int64_t at = channel - first;
    store<T>(grad + at, g, W);
    if (!own) return;
    store<T>(of_bias + at, load(of_bias + at) + g, W);
    T* newest = of_weight + (conv.taps - 1) * width + at;
    const auto add = [&](int64_t d) {
      T* to = newest - d * width;
      store<T>(to, load(to) + g * load<T>(rows[d] + channel, lanes), W);
    };
    if constexpr (TAPS) {
#pragma GCC unroll 8
      for (int d = 0; d < TAPS; ++d) add(d);
    } else {
      for (int64_t d = 0; d <= reached; ++d) add(d);
    }
  });
}

// The gradient of one input from those of the steps that it reaches: `far[d]` is that of d steps later, or null.
template <class T, class S, class Y>
void conv_input_row(const Conv<T, S>& conv, const T* const* far, int64_t first, int64_t last, Y* to) {
  each_block<T>(first, last, [&](int64_t channel, auto lanes) {
    Vec<T> g{};
    for (int64_t d = 0; d < conv.taps; ++d)
      if (far[d])
        g += load<T>(conv.weight + (conv.taps - 1 - d) * conv.channels + channel, lanes) *
             load(far[d] + channel - first);
    store<T>(to + channel, g, lanes);
  });
}

template <class T, class S>
void conv_backward(const Conv<T, S>& conv, int64_t task) {
  constexpr int W = Simd<T>::W;
  const int64_t past = conv.taps - 1, b = task / conv.groups(), width = conv.group();
  const int64_t first = task % conv.groups() * width, last = std::min(conv.channels, first + width);
  Scratch<T> room((SLAB + past + conv.taps + 1) * width / W);
  T *grad = reinterpret_cast<T*>(static_cast<Vec<T>*>(room)), *of_weight = grad + (SLAB + past) * width;
  T* of_bias = of_weight + conv.taps * width;
  std::memset(of_weight, 0, (conv.taps + 1) * width * sizeof(T));
  std::vector<int64_t> reach(SLAB + past);
  std::vector<const S*> rows(conv.taps);
  std::vector<const T*> far(conv.taps);
  for (int64_t slab = 0; slab < conv.slabs(); ++slab) {
    const int64_t begin = slab * SLAB, end = std::min(conv.length, begin + SLAB),
                  seen = std::min(conv.length, end + past);
    for (int64_t t = begin; t < seen; ++t) {  // of the slab and of the steps that its inputs reach
      const int64_t reached = reach[t - begin] = conv.reach(b, t);
      for (int64_t d = 0; d <= reached; ++d) rows[d] = conv.input(b, t - d);
      (reached == 3 ? conv_grad_row<T, S, 4>
                    : conv_grad_row<T, S, 0>)(conv, rows.data(), reached, conv.grad_y.at(b, t),
                                              conv.grad_y2.data ? conv.grad_y2.at(b, t) : nullptr, t < end, first, last,
                                              grad + (t - begin) * width, of_weight, of_bias);
    }
    for (int64_t t = begin == 0 && conv.before.data ? -past : begin; t < end; ++t) {
      for (int64_t d = 0; d <= past; ++d) {
        const bool reached = t + d >= 0 && t + d < seen && reach[t + d - begin] >= d;
        far[d] = reached ? grad + (t + d - begin) * width : nullptr;
      }
      if (t >= 0) conv_input_row(conv, far.data(), first, last, conv.grad_x.at(b, t));
      else conv_input_row(conv, far.data(), first, last, conv.grad_before.at(b, past + t));
    }
  }
  std::memcpy(conv.part_bias + b * conv.channels + first, of_bias, (last - first) * sizeof(T));
  for (int64_t j = 0; j < conv.taps; ++j)
    std::memcpy(conv.part_weight + (b * conv.taps + j) * conv.channels + first, of_weight + j * width,
                (last - first) * sizeof(T));
}

}  // namespace native
