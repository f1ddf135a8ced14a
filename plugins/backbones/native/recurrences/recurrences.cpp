// Recurrences with a matrix for a state as PyTorch sees them: checks, memory, threads. The arithmetic is in the headers.
//
// Shapes: b batch, l length, h heads, g groups, p channels of a head, s state dimensions, c width of keys, v width of
// values, n chunks, q steps of a chunk.
#include <torch/library.h>

#include <tuple>

#include "delta_rule.h"
#include "state_space.h"
#include "tensors.h"

namespace native {
namespace {

template <class S>
HeadView<S> by_head(const Tensor& x, at::IntArrayRef shape) {
  TORCH_CHECK(x.sizes() == shape && (x.stride(3) == 1 || x.size(3) == 1), "expected shape ", shape,
              ", its last dimension dense, found ", x.sizes(), " with strides ", x.strides());
  return {data<std::remove_const_t<S>>(x), x.stride(0), x.stride(1), x.stride(2)};
}

const bool* marks(const Maybe& starts) { return starts ? starts->data_ptr<bool>() : nullptr; }

template <class T, class S>
StateSpace<T, S> state_space_inputs(const Tensor& x, const Tensor& steps, const Tensor& logs, const Tensor& B,
                                    const Tensor& C, const Tensor& D, const Maybe& starts) {
  TORCH_CHECK(x.dim() == 4 && B.dim() == 4 && B.size(2) > 0 && x.size(2) % B.size(2) == 0,
              "expected x (b l h p) and B (b l g s), h a multiple of g");
  StateSpace<T, S> all{};
  all.batch = x.size(0), all.length = x.size(1), all.heads = x.size(2), all.width = x.size(3);
  all.groups = B.size(2), all.states = B.size(3);
  const int64_t by_step[] = {all.batch, all.length, all.heads}, ways[] = {all.batch, all.length, all.groups, all.states};
  expect("steps", steps, by_step), expect("logs", logs, by_step), expect("D", D, {all.heads});
  expect("starts", starts, {all.batch, all.length});
  all.x = by_head<const S>(x, x.sizes()), all.B = by_head<const S>(B, ways), all.C = by_head<const S>(C, ways);
  all.steps = data<T>(steps), all.logs = data<T>(logs), all.D = data<T>(D), all.starts = marks(starts);
  return all;
}

// x (b l h p), steps, logs (b l h), B, C (b l g s), D (h), before (b h s p), starts (b l) -> y (b l h p), the last state
// (b h s p), the states at chunk borders (empty unless `keep`).
std::tuple<Tensor, Tensor, Tensor> state_space_forward_op(const Tensor& x, const Tensor& steps, const Tensor& logs,
                                                          const Tensor& B, const Tensor& C, const Tensor& D,
                                                          const Maybe& before, const Maybe& starts, bool keep) {
  return by_type(x, [&](auto number) {
    using S = decltype(number);
    using T = typename Storage<S>::wide;
    auto all = state_space_inputs<T, S>(x, steps, logs, B, C, D, starts);
    expect("state", before, {all.batch, all.heads, all.states, all.width});
    const Tensor y = at::empty(x.sizes(), x.options());
    const Tensor last = at::empty({all.batch, all.heads, all.states, all.width}, steps.options());
    const Tensor borders = at::empty(
        {keep ? all.batch : 0, all.chunks(), all.heads, padded<T>(all.states), padded<T>(all.width)}, steps.options());
    all.y = by_head<S>(y, y.sizes()), all.last = data<T>(last), all.before = data<T>(before);
    all.borders = keep ? data<T>(borders) : nullptr;
    parallel(all.tasks(), [&](int64_t task) { state_space_forward(all, task); });
    return std::make_tuple(y, last, borders);
  });
}

// Gradients of x, steps, logs, B, C, D and before.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> state_space_backward_op(
    const Tensor& grad_y, const Maybe& grad_last, const Tensor& x, const Tensor& steps, const Tensor& logs,
    const Tensor& B, const Tensor& C, const Tensor& D, const Maybe& starts, const Tensor& borders) {
  return by_type(x, [&](auto number) {
    using S = decltype(number);
    using T = typename Storage<S>::wide;
    auto all = state_space_inputs<T, S>(x, steps, logs, B, C, D, starts);
    const Tensor grad_x = at::empty(x.sizes(), x.options()), grad_steps = at::empty_like(steps),
                 grad_logs = at::empty_like(logs);
    const Tensor part_B = at::empty({all.parts(), all.batch, all.length, all.groups, all.states}, steps.options()),
                 part_C = at::empty_like(part_B);
    const Tensor part_D = at::empty({all.batch, all.heads}, steps.options());
    const Tensor grad_before = at::empty({all.batch, all.heads, all.states, all.width}, steps.options());
    all.grad_y = by_head<const S>(grad_y, x.sizes()), all.grad_last = data<T>(grad_last), all.borders = data<T>(borders);
    all.grad_x = by_head<S>(grad_x, grad_x.sizes()), all.grad_steps = data<T>(grad_steps), all.grad_logs = data<T>(grad_logs);
    all.part_B = data<T>(part_B), all.part_C = data<T>(part_C), all.part_D = data<T>(part_D);
    all.grad_before = data<T>(grad_before);
    parallel(all.tasks(), [&](int64_t task) { state_space_backward(all, task); });
    const auto whole = [&](const Tensor& parts) { return parts.sum(0).to(x.scalar_type()); };
    return std::make_tuple(grad_x, grad_steps, grad_logs, whole(part_B), whole(part_C), part_D.sum(0), grad_before);
  });
}

template <class T, class S>
DeltaRule<T, S> delta_rule_inputs(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& logs,
                                  const Tensor& beta, const Maybe& starts) {
  TORCH_CHECK(q.dim() == 4 && v.dim() == 4, "expected q (b l h c) and v (b l h v)");
  DeltaRule<T, S> all{};
  all.batch = q.size(0), all.length = q.size(1), all.heads = q.size(2), all.keys = q.size(3), all.values = v.size(3);
  const int64_t by_step[] = {all.batch, all.length, all.heads};
  expect("logs", logs, by_step), expect("beta", beta, by_step), expect("starts", starts, {all.batch, all.length});
  all.q = by_head<const S>(q, q.sizes()), all.k = by_head<const S>(k, q.sizes());
  all.v = by_head<const S>(v, {all.batch, all.length, all.heads, all.values});
  all.logs = data<T>(logs), all.beta = data<T>(beta), all.starts = marks(starts);
  return all;
}

// q, k (b l h c), v (b l h v), logs, beta (b l h), before (b h c v), starts (b l) -> y (b l h v), the last state
// (b h c v), and what backward needs: the states at chunk borders and what was written (empty unless `keep`).
std::tuple<Tensor, Tensor, Tensor, Tensor> delta_rule_forward_op(const Tensor& q, const Tensor& k, const Tensor& v,
                                                                 const Tensor& logs, const Tensor& beta,
                                                                 const Maybe& before, const Maybe& starts, bool keep) {
  return by_type(v, [&](auto number) {
    using S = decltype(number);
    using T = typename Storage<S>::wide;
    auto all = delta_rule_inputs<T, S>(q, k, v, logs, beta, starts);
    expect("state", before, {all.batch, all.heads, all.keys, all.values});
    const int64_t batch = keep ? all.batch : 0, wide = padded<T>(all.values);
    const Tensor y = at::empty(v.sizes(), v.options());
    const Tensor last = at::empty({all.batch, all.heads, all.keys, all.values}, logs.options());
    const Tensor borders = at::empty({batch, all.chunks(), all.heads, padded<T>(all.keys), wide}, logs.options()),
                 news = at::empty({batch, all.chunks(), all.heads, BLOCK, wide}, logs.options());
    all.y = by_head<S>(y, y.sizes()), all.last = data<T>(last), all.before = data<T>(before);
    all.borders = keep ? data<T>(borders) : nullptr, all.news = keep ? data<T>(news) : nullptr;
    parallel(all.tasks(), [&](int64_t task) { delta_rule_forward(all, task); });
    return std::make_tuple(y, last, borders, news);
  });
}

// Gradients of q, k, v, logs, beta and before.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> delta_rule_backward_op(
    const Tensor& grad_y, const Maybe& grad_last, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& logs,
    const Tensor& beta, const Maybe& starts, const Tensor& borders, const Tensor& news) {
  return by_type(v, [&](auto number) {
    using S = decltype(number);
    using T = typename Storage<S>::wide;
    auto all = delta_rule_inputs<T, S>(q, k, v, logs, beta, starts);
    const Tensor grad_q = at::empty(q.sizes(), q.options()), grad_k = at::empty(k.sizes(), k.options()),
                 grad_v = at::empty(v.sizes(), v.options()), grad_logs = at::empty_like(logs),
                 grad_beta = at::empty_like(beta);
    const Tensor grad_before = at::empty({all.batch, all.heads, all.keys, all.values}, logs.options());
    all.grad_y = by_head<const S>(grad_y, v.sizes()), all.grad_last = data<T>(grad_last);
    all.borders = data<T>(borders), all.news = data<T>(news);
    all.grad_q = by_head<S>(grad_q, grad_q.sizes()), all.grad_k = by_head<S>(grad_k, grad_k.sizes()), all.grad_v = by_head<S>(grad_v, grad_v.sizes());
    all.grad_logs = data<T>(grad_logs), all.grad_beta = data<T>(grad_beta), all.grad_before = data<T>(grad_before);
    parallel(all.tasks(), [&](int64_t task) { delta_rule_backward(all, task); });
    return std::make_tuple(grad_q, grad_k, grad_v, grad_logs, grad_beta, grad_before);
  });
}

TORCH_LIBRARY_FRAGMENT(swaptunes_native, m) {
  m.def(
      "state_space_forward(Tensor x, Tensor steps, Tensor logs, Tensor B, Tensor C, Tensor D, Tensor? before, "
      "Tensor? starts, bool keep) -> (Tensor, Tensor, Tensor)");
  m.def(
      "state_space_backward(Tensor grad_y, Tensor? grad_last, Tensor x, Tensor steps, Tensor logs, Tensor B, Tensor C, "
      "Tensor D, Tensor? starts, Tensor borders) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "delta_rule_forward(Tensor q, Tensor k, Tensor v, Tensor logs, Tensor beta, Tensor? before, Tensor? starts, "
      "bool keep) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "delta_rule_backward(Tensor grad_y, Tensor? grad_last, Tensor q, Tensor k, Tensor v, Tensor logs, Tensor beta, "
      "Tensor? starts, Tensor borders, Tensor news) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(swaptunes_native, CPU, m) {
  m.impl("state_space_forward", &state_space_forward_op);
  m.impl("state_space_backward", &state_space_backward_op);
  m.impl("delta_rule_forward", &delta_rule_forward_op);
  m.impl("delta_rule_backward", &delta_rule_backward_op);
}

}  // namespace
}  // namespace native
