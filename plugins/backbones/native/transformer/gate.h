// silu(gate) * up, the middle of a SwiGLU (arXiv 2002.05202), and its gradients. n numbers each.
#pragma once

#include "simd.h"

namespace native {

template <class T, class S>
void gate_forward(int64_t begin, int64_t end, const S* gate, const S* up, S* y) {
  each_block<T>(begin, end, [&](int64_t i, auto lanes) {
    const Vec<T> g = load<T>(gate + i, lanes);
    store<T>(y + i, g * sigmoid<T>(g) * load<T>(up + i, lanes), lanes);
  });
}

template <class T, class S>
void gate_backward(int64_t begin, int64_t end, const S* grad_y, const S* gate, const S* up, S* grad_gate, S* grad_up) {
  each_block<T>(begin, end, [&](int64_t i, auto lanes) {
    const Vec<T> g = load<T>(gate + i, lanes), s = sigmoid<T>(g), grad = load<T>(grad_y + i, lanes);
    store<T>(grad_up + i, grad * g * s, lanes);
    store<T>(grad_gate + i, grad * load<T>(up + i, lanes) * s * (T(1) + g * (T(1) - s)), lanes);
  });
}

}  // namespace native
