// Root-mean-square norm of a residual stream, with the addition before it: s = stream + branch, y = s / rms(s) *
// weight.
//
// Shapes: r rows, d width. Source: Zhang & Sennrich, arXiv 1910.07467.
#pragma once

#include <cmath>

#include "simd.h"

namespace native {

constexpr int NORM_ROWS =
    64;  // rows of one task; the weight's gradient is summed over them, then over tasks in their order

template <class T, class S>
struct Norm {
  int64_t rows, width;
  double eps;
  const T* stream;  // (r d)
  const S* branch;  // (r d) or null
  const T* weight;  // (d)
  T *sum, *scale;   // s (r d), null without a branch; 1 / rms (r)
  S* y;             // (r d)
  // backward; `stream` is s
  const T* grad_sum;             // (r d) or null
  const S* grad_y;               // (r d)
  T *grad_stream, *part_weight;  // (r d), (tasks d)
  S* grad_branch;                // (r d), null where it is grad_stream itself

  int64_t tasks() const { return (rows + NORM_ROWS - 1) / NORM_ROWS; }
};

template <class T, class S>
void norm_forward(const Norm<T, S>& norm, int64_t task) {
  constexpr int W = Simd<T>::W;
  const int64_t d = norm.width;
  for (int64_t r = task * NORM_ROWS; r < std::min(norm.rows, (task + 1) * NORM_ROWS); ++r) {
    const T* s = norm.stream + r * d;
    Vec<T> squares{};
    for (int64_t i = 0; i < d; i += W) {
      const int lanes = std::min<int64_t>(W, d - i);
      Vec<T> x = load<T>(s + i, lanes);
      if (norm.branch) {
        x += load<T>(norm.branch + r * d + i, lanes);
        store<T>(norm.sum + r * d + i, x, lanes);
      }
      squares += x * x;
    }
    if (norm.branch) s = norm.sum + r * d;
    const T scale = T(1) / std::sqrt(sum<T>(squares) / T(d) + T(norm.eps));
    norm.scale[r] = scale;
    for (int64_t i = 0; i < d; i += W) {
      const int lanes = std::min<int64_t>(W, d - i);
      store<T>(norm.y + r * d + i, load<T>(s + i, lanes) * scale * load<T>(norm.weight + i, lanes), lanes);
    }
  }
}

template <class T, class S>
void norm_backward(const Norm<T, S>& norm, int64_t task) {
  constexpr int W = Simd<T>::W;
  const int64_t d = norm.width, blocks = (d + W - 1) / W;
  Scratch<T> of_weight(blocks);
  std::memset(of_weight, 0, blocks * VECTOR_BYTES);
  for (int64_t r = task * NORM_ROWS; r < std::min(norm.rows, (task + 1) * NORM_ROWS); ++r) {
    const T *s = norm.stream + r * d, scale = norm.scale[r];
    Vec<T> dot{};
    for (int64_t i = 0, k = 0; i < d; i += W, ++k) {
      const int lanes = std::min<int64_t>(W, d - i);
      const Vec<T> gx = load<T>(norm.grad_y + r * d + i, lanes) * load<T>(s + i, lanes);
      of_weight[k] += gx * scale;
      dot += gx * load<T>(norm.weight + i, lanes);
    }
    const T pull = sum<T>(dot) / T(d) * scale * scale * scale;
    for (int64_t i = 0; i < d; i += W) {
      const int lanes = std::min<int64_t>(W, d - i);
      Vec<T> g = load<T>(norm.grad_y + r * d + i, lanes) * load<T>(norm.weight + i, lanes) * scale -
                 load<T>(s + i, lanes) * pull;
      if (norm.grad_sum) g += load<T>(norm.grad_sum + r * d + i, lanes);
      store<T>(norm.grad_stream + r * d + i, g, lanes);
      if (norm.grad_branch) store<T>(norm.grad_branch + r * d + i, g, lanes);
    }
  }
  for (int64_t i = 0, k = 0; i < d; i += W, ++k)
    store<T>(norm.part_weight + task * d + i, of_weight[k], std::min<int64_t>(W, d - i));
}

}  // namespace native
