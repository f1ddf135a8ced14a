// One token through a whole backbone, as PyTorch sees it. An operator returns an empty tensor, with nothing done, where
// it cannot serve: something is not dense float32, a state has other rows, or a row has no room left.
//
// Shapes: b batch, d model width.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "mamba/mamba_step.h"
#include "transformer/transformer_step.h"

namespace native {
namespace {

using at::Tensor;

bool dense(const Tensor& x) { return x.scalar_type() == at::kFloat && x.is_contiguous(); }

bool dense(at::TensorList tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const Tensor& x) { return dense(x); });
}

bool of_rows(int64_t rows, at::TensorList tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [&](const Tensor& x) { return x.size(0) == rows; });
}

const float* numbers(const Tensor& x) { return x.data_ptr<float>(); }

// x (b d), per block the ten weights of `MambaLayer` in their order and the states conv, ssm; `length`, `limit` (b), the
// former of which is moved on -> hidden (b d).
Tensor mamba_step(const Tensor& x, at::TensorList weights, at::TensorList states, const Tensor& length,
                  const Tensor& limit, const Tensor& last_norm, double eps) {
  const int64_t fields = 10, count = weights.size() / fields;
  TORCH_CHECK(count && int64_t(states.size()) == 2 * count, "expected ten weights and two states a block");
  const Tensor nothing = at::empty({0}, x.options());
  if (!dense(x) || !dense(weights) || !dense(states) || !dense(last_norm)) return nothing;
  const int64_t batch = x.size(0);
  if (!of_rows(batch, states) || !of_rows(batch, {length, limit})) return nothing;
  int64_t* place = length.data_ptr<int64_t>();
  for (int64_t b = 0; b < batch; ++b)
    if (place[b] >= limit.data_ptr<int64_t>()[b]) return nothing;
  std::vector<MambaLayer> layers;
  for (int64_t i = 0; i < count; ++i) {
    const float* w[fields];
    for (int64_t j = 0; j < fields; ++j) w[j] = numbers(weights[i * fields + j]);
    layers.push_back({w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], states[2 * i].data_ptr<float>(),
                      states[2 * i + 1].data_ptr<float>()});
  }
  const Tensor &dt = weights[5], &A = weights[7], hidden = at::empty_like(x);
  MambaStep step{x.size(1), A.size(0), A.size(1), weights[2].size(-1), dt.size(1), eps, {batch}};
  step.run(layers, numbers(last_norm), numbers(x), hidden.data_ptr<float>());
  for (int64_t b = 0; b < batch; ++b) ++place[b];
  return hidden;
}

// x (b d), per block the nine weights of `TransformerLayer` in their order and the caches keys, values (b m k c);
// `length` (b), which is moved on; cos and sin (b c/2) of each row's place -> hidden (b d).
Tensor transformer_step(const Tensor& x, at::TensorList weights, at::TensorList caches, const Tensor& length,
                        const Tensor& cos, const Tensor& sin, const Tensor& last_norm, double eps) {
  const int64_t fields = 9, count = weights.size() / fields;
  TORCH_CHECK(count && int64_t(caches.size()) == 2 * count, "expected nine weights and two caches a block");
  const Tensor nothing = at::empty({0}, x.options()), &keys = caches[0];
  if (!dense(x) || !dense(weights) || !dense(caches) || !dense(last_norm) || !dense(cos) || !dense(sin)) return nothing;
  const int64_t batch = x.size(0), width = x.size(1), slots = keys.size(1), kv_heads = keys.size(2), head = keys.size(3);
  if (!of_rows(batch, caches) || !of_rows(batch, {length, cos, sin})) return nothing;
  int64_t* place = length.data_ptr<int64_t>();
  for (int64_t b = 0; b < batch; ++b)
    if (place[b] >= slots) return nothing;
  std::vector<TransformerLayer> layers;
  for (int64_t i = 0; i < count; ++i) {
    const float* w[fields];
    for (int64_t j = 0; j < fields; ++j) w[j] = numbers(weights[i * fields + j]);
    layers.push_back({w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], caches[2 * i].data_ptr<float>(),
                      caches[2 * i + 1].data_ptr<float>()});
  }
  const Tensor hidden = at::empty_like(x);
  TransformerStep step{width, width / head, kv_heads, head, weights[6].size(0), slots, eps, {batch}, place,
                       numbers(cos), numbers(sin)};
  step.run(layers, numbers(last_norm), numbers(x), hidden.data_ptr<float>());
  for (int64_t b = 0; b < batch; ++b) ++place[b];
  return hidden;
}

TORCH_LIBRARY_FRAGMENT(swaptunes_native, m) {
  m.def(
      "mamba_step(Tensor x, Tensor[] weights, Tensor(a!)[] states, Tensor(b!) length, Tensor limit, Tensor last_norm, "
      "float eps) -> Tensor");
  m.def(
      "transformer_step(Tensor x, Tensor[] weights, Tensor(a!)[] caches, Tensor(b!) length, Tensor cos, Tensor sin, "
      "Tensor last_norm, float eps) -> Tensor");
}

TORCH_LIBRARY_IMPL(swaptunes_native, CPU, m) {
  m.impl("mamba_step", &mamba_step);
  m.impl("transformer_step", &transformer_step);
}

}  // namespace
}  // namespace native
