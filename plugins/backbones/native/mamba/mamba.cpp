// The operators as PyTorch sees them: checks, memory, threads. The arithmetic is in the headers.
//
// Shapes: b batch, l length, d model width, e channels, n states, r rank of the step size, k taps, w lanes
// of a vector.
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "conv.h"
#include "norm.h"
#include "scan.h"
#include "tensors.h"

namespace native {
namespace {

template <class S>
View<S> view(const Tensor& x) {  // (b l x)
  // One number a row, or none at all, is contiguous to PyTorch at any stride.
  TORCH_CHECK(x.dim() == 3 && (x.stride(2) == 1 || x.size(2) == 1 || !x.numel()),
              "expected three dimensions of which the last is dense");
  return {data<std::remove_const_t<S>>(x), x.stride(0), x.stride(1)};
}

// (... e n) -> (... blocks padded-n w) and back.
template <class T>
Tensor pack(const Tensor& x, const Shape& shape) {
  constexpr int W = Simd<T>::W;
  const int64_t blocks = shape.blocks(W);
  Tensor padded = at::constant_pad_nd(x, {0, shape.padded() - shape.states, 0, blocks * W - shape.channels});
  return padded.unflatten(-2, {blocks, W}).transpose(-1, -2).contiguous();
}

Tensor unpack(const Tensor& x, const Shape& shape) {
  return x.transpose(-1, -2).flatten(-3, -2).narrow(-2, 0, shape.channels).narrow(-1, 0, shape.states).contiguous();
}

// xz (b l 2e) holds the convolution's input and z, xd (b l r+2n) the low-rank step size, B and C.
template <class T, class S>
Scan<T, S> scan_inputs(const Tensor& u, const Tensor& xz, const Tensor& xd, const Tensor& dt_weight,
                       const Tensor& rates, const Tensor& D, const Tensor& bias, const Maybe& starts,
                       const Shape& shape) {
  TORCH_CHECK(dt_weight.is_contiguous(), "expected a dense dt_weight (r e)");
  expect("starts", starts, {shape.batch, shape.length});
  Scan<T, S> scan{};
  scan.shape = shape;
  scan.u = view<const S>(u), scan.z = view<const S>(xz.narrow(2, shape.channels, shape.channels));
  scan.low = view<const S>(xd.narrow(2, 0, shape.rank));
  scan.B = view<const S>(xd.narrow(2, shape.rank, shape.states));
  scan.C = view<const S>(xd.narrow(2, shape.rank + shape.states, shape.states));
  scan.dt_weight = data<S>(dt_weight), scan.rates = data<T>(rates), scan.D = data<T>(D), scan.bias = data<T>(bias);
  scan.starts = starts ? starts->data_ptr<bool>() : nullptr;
  return scan;
}

Shape shape_of(const Tensor& u, const Tensor& dt_weight, const Tensor& A) {
  return {u.size(0), u.size(1), u.size(2), A.size(1), dt_weight.size(0), at::get_num_threads()};
}

// y (b l e), the last state (b e n), the states at chunk borders (empty unless `keep`).
std::tuple<Tensor, Tensor, Tensor> scan_forward_op(const Tensor& u, const Tensor& xz, const Tensor& xd,
                                                   const Tensor& dt_weight, const Tensor& A, const Tensor& D,
                                                   const Tensor& bias, const Maybe& before, const Maybe& starts,
                                                   bool keep) {
  return by_type(u, [&](auto number) {
    using S = decltype(number);
    using T = typename Storage<S>::wide;
    constexpr int W = Simd<T>::W;
    const Shape shape = shape_of(u, dt_weight, A);
    const Tensor rates = pack<T>(A * LOG2E, shape);
    Maybe first;
    if (before) first = pack<T>(*before, shape);
    const Tensor last = at::empty({shape.batch, shape.blocks(W), shape.padded(), W}, A.options());
    const Tensor borders =
        at::empty({keep ? shape.batch : 0, shape.chunks(), shape.blocks(W), shape.padded(), W}, A.options());
    expect("state", first, last.sizes());
    const Tensor y = at::empty(u.sizes(), u.options());
    Scan<T, S> scan = scan_inputs<T, S>(u, xz, xd, dt_weight, rates, D, bias, starts, shape);
    scan.borders = keep ? data<T>(borders) : nullptr;
    scan.y = view<S>(y), scan.before = data<T>(first), scan.last = data<T>(last);
    parallel(shape.batch * shape.groups(W), [&](int64_t task) { scan_forward(scan, task); });
    return std::make_tuple(y, unpack(last, shape), borders);
  });
}

// Gradients of u, of delta = low dt_weight (b l e), of xd without its first r, which is the caller's, of A (e n), D,
// bias (e), before (b e n); that of z is written to the second half of grad_xz.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> scan_backward_op(
    const Tensor& grad_y, const Maybe& grad_last, const Tensor& u, const Tensor& xz, const Tensor& xd,
    const Tensor& dt_weight, const Tensor& A, const Tensor& D, const Tensor& bias, const Maybe& starts,
    const Tensor& borders, const Tensor& grad_xz) {
  return by_type(u, [&](auto number) {
    using S = decltype(number);
    using T = typename Storage<S>::wide;
    constexpr int W = Simd<T>::W;
    const Shape shape = shape_of(u, dt_weight, A);
    const int64_t blocks = shape.blocks(W), groups = shape.groups(W);
    const Tensor rates = pack<T>(A * LOG2E, shape);
    Maybe after;
    if (grad_last) after = pack<T>(*grad_last, shape);
    const Tensor grad_u = at::empty(u.sizes(), u.options()), grad_delta = at::empty(u.sizes(), u.options());
    const Tensor grad_xd = at::empty(xd.sizes(), xd.options());
    const Tensor part_BC = at::empty({groups, shape.batch, shape.length, 2 * shape.states}, A.options());
    const Tensor part_A = at::empty({shape.batch, blocks, shape.padded(), W}, A.options()),
                 grad_before = at::empty_like(part_A);
    const Tensor part_D = at::empty({shape.batch, blocks * W}, A.options()), part_bias = at::empty_like(part_D);
    Scan<T, S> scan = scan_inputs<T, S>(u, xz, xd, dt_weight, rates, D, bias, starts, shape);
    scan.borders = data<T>(borders);
    scan.grad_y = view<const S>(grad_y), scan.grad_last = data<T>(after);
    scan.grad_u = view<S>(grad_u), scan.grad_delta = view<S>(grad_delta);
    scan.grad_z = view<S>(grad_xz.narrow(2, shape.channels, shape.channels));
    scan.part_A = data<T>(part_A), scan.part_BC = data<T>(part_BC);
    scan.part_D = data<T>(part_D), scan.part_bias = data<T>(part_bias), scan.grad_before = data<T>(grad_before);
    parallel(shape.batch * groups, [&](int64_t task) { scan_backward(scan, task); });
    grad_xd.narrow(2, shape.rank, 2 * shape.states).copy_(groups == 1 ? part_BC.select(0, 0) : part_BC.sum(0));
    return std::make_tuple(grad_u, grad_delta, grad_xd, unpack(part_A.sum(0), shape),
                           part_D.sum(0).narrow(0, 0, shape.channels),
                           part_bias.sum(0).narrow(0, 0, shape.channels), unpack(grad_before, shape));
  });
}

template <class T, class S>
Conv<T, S> conv_inputs(const Tensor& xz, const Tensor& weight, const Tensor& bias, const Maybe& before,
                       const Maybe& starts) {
  Conv<T, S> conv{};
  conv.batch = xz.size(0), conv.length = xz.size(1), conv.channels = weight.size(1), conv.taps = weight.size(0);
  conv.threads = at::get_num_threads();
  expect("starts", starts, {conv.batch, conv.length});
  expect("past", before, {conv.batch, conv.taps - 1, conv.channels});
  conv.x = view<const S>(xz.narrow(2, 0, conv.channels));
  if (before) conv.before = view<const S>(*before);
  conv.weight = data<T>(weight), conv.bias = data<T>(bias);
  conv.starts = starts ? starts->data_ptr<bool>() : nullptr;
  return conv;
}

// xz (b l 2e), of which the first half counts, weight (k e), bias (e), before (b k-1 e) -> (b l e).
Tensor conv_forward_op(const Tensor& xz, const Tensor& weight, const Tensor& bias, const Maybe& before,
                       const Maybe& starts) {
  return by_type(xz, [&](auto number) {
    using S = decltype(number);
    using T = typename Storage<S>::wide;
    Conv<T, S> conv = conv_inputs<T, S>(xz, weight, bias, before, starts);
    const Tensor y = at::empty({conv.batch, conv.length, conv.channels}, xz.options());
    conv.y = view<S>(y);
    parallel(conv.batch * conv.slabs(), [&](int64_t task) { conv_forward(conv, task); });
    return y;
  });
}

// The gradient of y is grad_y + grad_y2. Gradients of weight, bias, before (empty without); that of x is written to the
// first half of grad_xz.
std::tuple<Tensor, Tensor, Tensor> conv_backward_op(const Tensor& grad_y, const Maybe& grad_y2, const Tensor& xz,
                                                    const Tensor& weight, const Tensor& bias, const Maybe& before,
                                                    const Maybe& starts, const Tensor& grad_xz) {
  return by_type(xz, [&](auto number) {
    using S = decltype(number);
    using T = typename Storage<S>::wide;
    Conv<T, S> conv = conv_inputs<T, S>(xz, weight, bias, before, starts);
    conv.grad_y = view<const S>(grad_y);
    if (grad_y2) conv.grad_y2 = view<const S>(*grad_y2);
    conv.grad_x = view<S>(grad_xz.narrow(2, 0, conv.channels));
    const Tensor part_weight = at::empty({conv.batch, conv.taps, conv.channels}, weight.options());
    const Tensor part_bias = at::empty({conv.batch, conv.channels}, weight.options());
    const Tensor grad_before = at::zeros({before ? conv.batch : 0, conv.taps - 1, conv.channels}, weight.options());
    if (before) conv.grad_before = view<T>(grad_before);
    conv.part_weight = data<T>(part_weight), conv.part_bias = data<T>(part_bias);
    parallel(conv.batch * conv.groups(), [&](int64_t task) { conv_backward(conv, task); });
    return std::make_tuple(part_weight.sum(0), part_bias.sum(0), grad_before);
  });
}

// stream (... d), branch alike or none, weight (d) -> stream + branch (empty without a branch), its norm in the type of
// `like`, 1 / rms.
std::tuple<Tensor, Tensor, Tensor> norm_forward_op(const Tensor& stream, const Maybe& branch, const Tensor& weight,
                                                   double eps, const Tensor& like) {
  return by_type(like, [&](auto number) {
    using S = decltype(number);
    using T = typename Storage<S>::wide;
    const int64_t width = stream.size(-1), rows = width ? stream.numel() / width : 0;
    const Tensor added = branch ? at::empty_like(stream) : at::empty({0}, stream.options());
    const Tensor y = at::empty(stream.sizes(), stream.options().dtype(like.scalar_type())),
                 scale = at::empty({rows}, stream.options());
    Norm<T, S> norm{};
    norm.rows = rows, norm.width = width, norm.eps = eps;
    norm.stream = data<T>(stream), norm.branch = data<S>(branch), norm.weight = data<T>(weight);
    norm.sum = data<T>(added), norm.scale = data<T>(scale), norm.y = data<S>(y);
    parallel(norm.tasks(), [&](int64_t task) { norm_forward(norm, task); });
    return std::make_tuple(added, y, scale);
  });
}

// Gradients of stream, branch (empty where it is that of stream, or where there is none) and weight.
std::tuple<Tensor, Tensor, Tensor> norm_backward_op(const Maybe& grad_sum, const Tensor& grad_y, const Tensor& sum,
                                                    const Tensor& weight, const Tensor& scale, bool with_branch) {
  return by_type(grad_y, [&](auto number) {
    using S = decltype(number);
    using T = typename Storage<S>::wide;
    Norm<T, S> norm{};
    norm.width = sum.size(-1), norm.rows = norm.width ? sum.numel() / norm.width : 0;
    const bool narrow = with_branch && grad_y.scalar_type() != sum.scalar_type();
    const Tensor grad_stream = at::empty_like(sum), part = at::empty({norm.tasks(), norm.width}, sum.options());
    const Tensor grad_branch = narrow ? at::empty_like(grad_y) : at::empty({0}, grad_y.options());
    norm.stream = data<T>(sum), norm.weight = data<T>(weight), norm.scale = data<T>(scale);
    norm.grad_sum = data<T>(grad_sum), norm.grad_y = data<S>(grad_y);
    norm.grad_stream = data<T>(grad_stream), norm.part_weight = data<T>(part);
    norm.grad_branch = narrow ? data<S>(grad_branch) : nullptr;
    parallel(norm.tasks(), [&](int64_t task) { norm_backward(norm, task); });
    return std::make_tuple(grad_stream, grad_branch, part.sum(0));
  });
}

TORCH_LIBRARY(swaptunes_native, m) {
  m.def(
      "scan_forward(Tensor u, Tensor xz, Tensor xd, Tensor dt_weight, Tensor A, Tensor D, Tensor bias, Tensor? before, "
      "Tensor? starts, bool keep) -> (Tensor, Tensor, Tensor)");
  m.def(
      "scan_backward(Tensor grad_y, Tensor? grad_last, Tensor u, Tensor xz, Tensor xd, Tensor dt_weight, Tensor A, "
      "Tensor D, Tensor bias, Tensor? starts, Tensor borders, Tensor(a!) grad_xz) -> (Tensor, Tensor, Tensor, Tensor, "
      "Tensor, Tensor, Tensor)");
  m.def("conv_forward(Tensor xz, Tensor weight, Tensor bias, Tensor? before, Tensor? starts) -> Tensor");
  m.def(
      "conv_backward(Tensor grad_y, Tensor? grad_y2, Tensor xz, Tensor weight, Tensor bias, Tensor? before, "
      "Tensor? starts, Tensor(a!) grad_xz) -> (Tensor, Tensor, Tensor)");
  m.def(
      "norm_forward(Tensor stream, Tensor? branch, Tensor weight, float eps, Tensor like) -> (Tensor, Tensor, Tensor)");
  m.def(
      "norm_backward(Tensor? grad_sum, Tensor grad_y, Tensor sum, Tensor weight, Tensor scale, bool with_branch) -> "
      "(Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(swaptunes_native, CPU, m) {
  m.impl("scan_forward", &scan_forward_op);
  m.impl("scan_backward", &scan_backward_op);
  m.impl("conv_forward", &conv_forward_op);
  m.impl("conv_backward", &conv_backward_op);
  m.impl("norm_forward", &norm_forward_op);
  m.impl("norm_backward", &norm_backward_op);
}

}  // namespace
}  // namespace native
