// Tensors of PyTorch as the kernels read them, and its pool of threads.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>  // and not ATen.h, which would take most of the compiler's time
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include "simd.h"

namespace native {

using at::Tensor;
using Maybe = std::optional<Tensor>;

template <class S>
struct Storage {
  using type = S;  // as PyTorch names it
  using wide = S;  // what sums are kept in
};
template <>
struct Storage<bf16> {
  using type = at::BFloat16;
  using wide = float;
};

template <class S>
S* data(const Tensor& x) {
  return reinterpret_cast<S*>(x.data_ptr<typename Storage<S>::type>());
}

template <class S>
S* data(const Maybe& x) {
  return x ? data<S>(*x) : nullptr;
}

// What the kernels read by places that they work out: of this shape, and dense.
inline void expect(const char* name, const Maybe& x, at::IntArrayRef shape) {
  TORCH_CHECK(!x || (x->sizes() == shape && x->is_contiguous()), "expected a dense ", name, " of shape ", shape,
              ", found ", x->sizes(), " with strides ", x->strides());
}

// Calls with a number of the storage's type.
template <class F>
auto by_type(const Tensor& x, F&& call) {
  if (x.scalar_type() == at::kFloat) return call(float{});
  if (x.scalar_type() == at::kBFloat16) return call(bf16{});
  TORCH_CHECK(x.scalar_type() == at::kDouble, "expected float32, bfloat16 or float64, found ", x.scalar_type());
  return call(double{});
}

template <class F>
void parallel(int64_t tasks, const F& task) {
  at::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) task(i);
  });
}

}  // namespace native
