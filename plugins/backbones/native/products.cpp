// What a linear layer takes from here, as PyTorch sees it: the product of few rows, and a matrix copied as its transpose.
//
// Shapes: b batch, k inputs, o outputs, r rows, c columns.
#include <torch/library.h>

#include <vector>

#include "few.h"
#include "team.h"
#include "tensors.h"
#include "transpose.h"

namespace native {
namespace {

// x (b k) times the transpose of weight (o k) -> (b o); both dense float32.
Tensor few_rows(const Tensor& x, const Tensor& weight) {
  TORCH_CHECK(x.dim() == 2 && weight.dim() == 2 && x.size(1) == weight.size(1), "expected (b k) and (o k)");
  TORCH_CHECK(x.is_contiguous() && weight.is_contiguous(), "expected dense matrices");
  const int64_t inputs = x.size(1), outputs = weight.size(0);
  const float *rows = data<float>(x), *columns = data<float>(weight);
  const Few few{x.size(0)};
  const Tensor y = at::empty({x.size(0), outputs}, x.options());
  if (!y.numel()) return y;
  std::vector<float> in(few.room(inputs)), out(few.room(outputs));
  few.take(rows, inputs, in.data());
  team(x.numel() * outputs, [&](Member member) {
    member.share(outputs, GRAIN, [&](int64_t begin, int64_t end) {
      few.project({columns, inputs}, in.data(), inputs, inputs, out.data(), outputs, begin, end);
    });
  });
  few.give(out.data(), outputs, data<float>(y));
  return y;
}

// x (r c) -> (c r), dense; float32 or float64.
Tensor transposed(const Tensor& x) {
  TORCH_CHECK(x.dim() == 2 && x.stride(1) == 1, "expected two dimensions of which the last is dense");
  const int64_t rows = x.size(0), columns = x.size(1);
  const Tensor y = at::empty({columns, rows}, x.options());
  const auto copy = [&](auto number) {
    using T = decltype(number);
    parallel((rows + TURNED_ROWS - 1) / TURNED_ROWS,
             [&](int64_t task) { transpose<T>(data<T>(x), x.stride(0), data<T>(y), rows, columns, task); });
  };
  x.scalar_type() == at::kDouble ? copy(double{}) : copy(float{});
  return y;
}

TORCH_LIBRARY_FRAGMENT(swaptunes_native, m) {
  m.def("few_rows(Tensor x, Tensor weight) -> Tensor");
  m.def("transposed(Tensor x) -> Tensor");
}

TORCH_LIBRARY_IMPL(swaptunes_native, CPU, m) {
  m.impl("few_rows", &few_rows);
  m.impl("transposed", &transposed);
}

}  // namespace
}  // namespace native
