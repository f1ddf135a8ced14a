// The operators of a transformer as PyTorch sees them: checks, memory, threads. The arithmetic is in the headers.
//
// Shapes: b batch, l length, h heads, k heads of keys and values, c head width.
#include <torch/library.h>

#include <tuple>

#include "attention.h"
#include "gate.h"
#include "tensors.h"

namespace native {
namespace {

template <class S>
HeadView<S> heads(const Tensor& x) {
  TORCH_CHECK(x.dim() == 4 && x.stride(3) == 1, "expected four dimensions of which the last is dense");
  return {data<std::remove_const_t<S>>(x), x.stride(0), x.stride(1), x.stride(2)};
}

template <class T, class S>
Attention<T, S> attention_inputs(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cos,
                                 const Tensor& sin, const Maybe& first, const Maybe& table) {
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && k.size(2) > 0 && q.size(2) % k.size(2) == 0 && q.size(3) % 2 == 0,
              "expected q (b l h c) and k (b l k c), h a multiple of k and c even");
  Attention<T, S> all{};
  all.batch = q.size(0), all.length = q.size(1), all.heads = q.size(2), all.width = q.size(3), all.kv_heads = k.size(2);
  const int64_t shared[] = {all.batch, all.length, all.kv_heads, all.width};
  TORCH_CHECK(k.sizes() == shared && v.sizes() == shared, "expected k and v of shape ", at::IntArrayRef(shared));
  const int64_t angles[] = {cos.size(0) == 1 ? 1 : all.batch, all.length, all.width / 2};
  expect("cos", cos, angles), expect("sin", sin, angles), expect("first", first, {all.batch, all.length});
  if (table) expect("table", table, {table->size(0) == 1 ? 1 : all.heads, std::max<int64_t>(table->size(1), 1), all.width});
  all.q = heads<const S>(q), all.k = heads<const S>(k), all.v = heads<const S>(v);
  all.cos = data<T>(cos), all.sin = data<T>(sin);
  all.turn_row = cos.size(0) == 1 ? 0 : all.length * all.width / 2;
  all.first = first ? first->data_ptr<int64_t>() : nullptr;
  all.table = data<T>(table);
  if (table) all.tables = table->size(0), all.distances = table->size(1);
  return all;
}

// q (b l h c), k, v (b l k c) before rotation by cos, sin (1 or b, l, c/2); `first` (b l): each token's first key;
// `table` (1 or h, t, c) -> y (b l h c) and what backward needs (b h l).
std::tuple<Tensor, Tensor> attention_forward_op(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cos,
                                                const Tensor& sin, const Maybe& first, const Maybe& table) {
  return by_type(q, [&](auto number) {
    using S = decltype(number);
    using T = typename Storage<S>::wide;
    auto all = attention_inputs<T, S>(q, k, v, cos, sin, first, table);
    const Tensor y = at::empty(q.sizes(), q.options()), logs = at::empty({q.size(0), q.size(2), q.size(1)}, cos.options());
    all.y = heads<S>(y), all.logs = data<T>(logs);
    parallel(all.tasks(), [&](int64_t task) { attention_forward(all, task); });
    return std::make_tuple(y, logs);
  });
}

// Gradients of q, k, v, and of the table for each row and head (b h t c).
std::tuple<Tensor, Tensor, Tensor, Tensor> attention_backward_op(const Tensor& grad_y, const Tensor& q, const Tensor& k,
                                                                 const Tensor& v, const Tensor& cos, const Tensor& sin,
                                                                 const Maybe& first, const Maybe& table,
                                                                 const Tensor& y, const Tensor& logs) {
  return by_type(q, [&](auto number) {
    using S = decltype(number);
    using T = typename Storage<S>::wide;
    auto all = attention_inputs<T, S>(q, k, v, cos, sin, first, table);
    const Tensor grad_q = at::empty(q.sizes(), q.options()), grad_k = at::empty(k.sizes(), k.options()),
                 grad_v = at::empty(v.sizes(), v.options());
    all.y = heads<S>(y), all.logs = data<T>(logs), all.grad_y = heads<const S>(grad_y);
    all.grad_q = heads<S>(grad_q), all.grad_k = heads<S>(grad_k), all.grad_v = heads<S>(grad_v);
    const Tensor part_table =
        at::zeros({table ? all.batch : 0, all.heads, all.distances, all.width}, cos.options());
    all.part_table = data<T>(part_table);
    parallel(all.tasks(), [&](int64_t task) { attention_backward(all, task); });
    return std::make_tuple(grad_q, grad_k, grad_v, part_table);
  });
}

template <class F>
void in_parts(int64_t size, const F& part) {
  constexpr int64_t PART = 1 << 14;  // numbers
  parallel((size + PART - 1) / PART, [&](int64_t i) { part(i * PART, std::min(size, (i + 1) * PART)); });
}

// gate, up, dense and alike -> silu(gate) * up.
Tensor gate_forward_op(const Tensor& gate, const Tensor& up) {
  return by_type(gate, [&](auto number) {
    using S = decltype(number);
    const Tensor y = at::empty_like(gate);
    in_parts(gate.numel(), [&](int64_t begin, int64_t end) {
      gate_forward<typename Storage<S>::wide>(begin, end, data<S>(gate), data<S>(up), data<S>(y));
    });
    return y;
  });
}

// Gradients of gate and up.
std::tuple<Tensor, Tensor> gate_backward_op(const Tensor& grad_y, const Tensor& gate, const Tensor& up) {
  return by_type(gate, [&](auto number) {
    using S = decltype(number);
    const Tensor grad_gate = at::empty_like(gate), grad_up = at::empty_like(gate);
    in_parts(gate.numel(), [&](int64_t begin, int64_t end) {
      gate_backward<typename Storage<S>::wide>(begin, end, data<S>(grad_y), data<S>(gate), data<S>(up),
                                               data<S>(grad_gate), data<S>(grad_up));
    });
    return std::make_tuple(grad_gate, grad_up);
  });
}

TORCH_LIBRARY_FRAGMENT(swaptunes_native, m) {
  m.def(
      "attention_forward(Tensor q, Tensor k, Tensor v, Tensor cos, Tensor sin, Tensor? first, Tensor? table) -> "
      "(Tensor, Tensor)");
  m.def(
      "attention_backward(Tensor grad_y, Tensor q, Tensor k, Tensor v, Tensor cos, Tensor sin, Tensor? first, "
      "Tensor? table, Tensor y, Tensor logs) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def("gate_forward(Tensor gate, Tensor up) -> Tensor");
  m.def("gate_backward(Tensor grad_y, Tensor gate, Tensor up) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(swaptunes_native, CPU, m) {
  m.impl("attention_forward", &attention_forward_op);
  m.impl("attention_backward", &attention_backward_op);
  m.impl("gate_forward", &gate_forward_op);
  m.impl("gate_backward", &gate_backward_op);
}

}  // namespace
}  // namespace native
