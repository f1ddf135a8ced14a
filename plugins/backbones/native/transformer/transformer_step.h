// One token through a whole transformer: norms, projections, rotation, attention to a static cache, SwiGLU, residuals.
//
// A team of threads splits the outputs of each projection, and rows and heads in attention; it meets five times a block.
//
// Shapes: b batch, d model width, h heads, k heads of keys and values, c head width, m slots of the cache, f width of
// the feed-forward part.
#pragma once

#include <vector>

#include "few.h"
#include "team.h"

namespace native {

struct TransformerLayer {
  const float *norm, *q_proj, *k_proj, *v_proj, *o_proj, *second_norm, *gate_proj, *up_proj, *down_proj;
  float *keys, *values;  // (b m k c), written in place
};

// softmax(q keys / sqrt(c)) values over `filled` slots that are `ld` numbers apart: q, out (c); `scores` has room for a
// whole number of vectors.
inline void attend(const float* q, const float* keys, const float* values, int64_t ld, int64_t filled, int64_t c,
                   float* scores, float* out) {
  constexpr int AHEAD = 16;  // slots
  const float scale = 1.0f / std::sqrt(float(c)), none = -1e30f;
  Vec<float> most = splat(none);
  for (int64_t m = 0; m < filled; m += LANES) {
    const int slots = std::min<int64_t>(LANES, filled - m);
    Vec<float> totals[LANES] = {};
    for (int i = 0; i < slots; ++i) {
      const float* key = keys + (m + i) * ld;
      for (int64_t j = 0; j < c; j += LANES) {
        const int lanes = std::min<int64_t>(LANES, c - j);
        __builtin_prefetch(key + AHEAD * ld + j);
        totals[i] += load<float>(q + j, lanes) * load<float>(key + j, lanes);
      }
    }
    Vec<float> score = sums<float>(totals) * scale;
    for (int i = slots; i < LANES; ++i) score[i] = none;
    store<float>(scores + m, score);
    most = score > most ? score : most;
  }
  float top = none;
  for (int i = 0; i < LANES; ++i) top = std::max(top, most[i]);
  Vec<float> total{};
  for (int64_t m = 0; m < filled; m += LANES) {
    const Vec<float> weight = exp<float>(load(scores + m) - top);
    store<float>(scores + m, weight);
    total += weight;
  }
  const float share = 1.0f / sum<float>(total);
  constexpr int PARTS = 4;  // vectors of the head at a time
  for (int64_t j = 0; j < c; j += PARTS * LANES) {
    Vec<float> sum[2][PARTS] = {};
    int lanes[PARTS];
    for (int part = 0; part < PARTS; ++part)
      lanes[part] = std::clamp<int64_t>(c - j - part * LANES, 0, LANES);
    const auto add = [&](int64_t m, int64_t parity, auto whole) {
#pragma GCC unroll 4
      for (int part = 0; part < PARTS; ++part) {
        const float* value = values + m * ld + j + part * LANES;
        if constexpr (whole) {
          __builtin_prefetch(value + AHEAD * ld);
          sum[parity][part] += load(value) * scores[m];
        } else if (lanes[part]) sum[parity][part] += load<float>(value, lanes[part]) * scores[m];
      }
    };
    int64_t m = 0;
    if (c - j >= PARTS * LANES)
      for (; m + 2 <= filled; m += 2) add(m, 0, std::true_type{}), add(m + 1, 1, std::true_type{});
    for (; m < filled; ++m) add(m, 0, std::false_type{});
    for (int part = 0; part < PARTS; ++part)
      if (lanes[part])
        store<float>(out + j + part * LANES, (sum[0][part] + sum[1][part]) * share, lanes[part]);
  }
}

struct TransformerStep {
  int64_t width, heads, kv_heads, head, hidden, slots;
  double eps;
  Few few;
  const int64_t* place;     // (b) the slot of each row's token
  const float *cos, *sin;   // (b c/2)

  // x (b d) becomes y (b d).
  void run(const std::vector<TransformerLayer>& layers, const float* last_norm, const float* x, float* y) {
    const int64_t kv = kv_heads * head;
    stream_.resize(few.room(width)), q_.resize(few.room(width)), k_.resize(few.room(kv)), v_.resize(few.room(kv));
    gate_.resize(few.room(hidden)), up_.resize(few.room(hidden));
    few.take(x, width, stream_.data());
    const int64_t longest = *std::max_element(place, place + few.batch) + 1;
    const int64_t weights = width * (2 * width + 2 * kv + 3 * hidden), attended = 2 * longest * width;
    team(few.batch * int64_t(layers.size()) * (weights + attended), [&](Member member) {
      std::vector<float> normed(few.room(width)), scores(longest + LANES);
      // `to` = or += the share of weight (o k) from.
      const auto project = [&](const float* weight, const std::vector<float>& from, int64_t inputs,
                               std::vector<float>& to, int64_t outputs, bool add = false) {
        member.share(outputs, GRAIN, [&](int64_t begin, int64_t end) {
          few.project({weight, inputs}, from.data(), inputs, inputs, to.data(), outputs, begin, end, add);
        });
      };
      for (const TransformerLayer& layer : layers) {
        few.rms_norm(stream_.data(), layer.norm, width, eps, normed.data());
        project(layer.q_proj, normed, width, q_, width);
        project(layer.k_proj, normed, width, k_, kv);
        project(layer.v_proj, normed, width, v_, kv);
        member.meet();
        member.share(few.batch * kv_heads, 1, [&](int64_t begin, int64_t end) {
          for (int64_t task = begin; task < end; ++task)
            attention(layer, task / kv_heads, task % kv_heads, scores.data());
        });
        member.meet();
        project(layer.o_proj, q_, width, stream_, width, true);
        member.meet();
        few.rms_norm(stream_.data(), layer.second_norm, width, eps, normed.data());
        project(layer.gate_proj, normed, width, gate_, hidden);
        project(layer.up_proj, normed, width, up_, hidden);
        member.share(hidden, GRAIN, [&](int64_t begin, int64_t end) {
          few.each_vector(begin, end, hidden, [&](int64_t at, auto lanes) {
            const Vec<float> gate = load<float>(&gate_[at], lanes);
            store<float>(&gate_[at], gate * sigmoid<float>(gate) * load<float>(&up_[at], lanes), lanes);
          });
        });
        member.meet();
        project(layer.down_proj, gate_, hidden, stream_, width, true);
        member.meet();
      }
    });
    few.rms_norm(stream_.data(), last_norm, width, eps, q_.data());
    few.give(q_.data(), width, y);
  }

  std::vector<float> stream_{}, q_{}, k_{}, v_{}, gate_{}, up_{};

  // Row b and one head of keys and values: both go into the cache; the queries in `q_` give way to what they find.
  void attention(const TransformerLayer& layer, int64_t b, int64_t kv_head, float* scores) {
    const int64_t kv = kv_heads * head, group = heads / kv_heads, at = (b * slots * kv_heads + kv_head) * head;
    float *key = layer.keys + at + place[b] * kv, *value = layer.values + at + place[b] * kv;
    Scratch<float> row(2 * (head + LANES) / LANES);
    float *query = reinterpret_cast<float*>(static_cast<Vec<float>*>(row)), *found = query + (head + LANES) / LANES * LANES;
    rotate(b, k_, kv, kv_head * head, key);
    for (int64_t i = 0; i < head; ++i) value[i] = v_[few.at(b, kv_head * head + i, kv)];
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      rotate(b, q_, width, h * head, query);
      attend(query, layer.keys + at, layer.values + at, kv, place[b] + 1, head, scores, found);
      for (int64_t i = 0; i < head; ++i) q_[few.at(b, h * head + i, width)] = found[i];
    }
  }

  void rotate(int64_t b, const std::vector<float>& from, int64_t size, int64_t begin, float* to) const {
    const int64_t half = head / 2;
    for (int64_t i = 0; i < half; ++i) {
      const float first = from[few.at(b, begin + i, size)], second = from[few.at(b, begin + half + i, size)];
      const float c = cos[b * half + i], s = sin[b * half + i];
      to[i] = first * c - second * s;
      to[half + i] = second * c + first * s;
    }
  }
};

}  // namespace native
