// Causal attention of packed pieces with rotary positions or embedded distances, and its gradients.
//
// One task is one row of the batch and one head of keys and values with the heads of queries that share it. A query sees
// the keys from its piece's first token to itself: blocks of keys outside of every query's range are never touched, so
// that packed pieces cost what they would cost apart. Backward makes the weights again from the sums that forward kept.
//
// Logits by distance are products as logits by key are, of a block of queries and the distances that it meets; a key's lie
// one entry further left from query to query. Gradients go back the same way, in the same room.
//
// Shapes: b batch, l length, h heads, k heads of keys and values, c head width, t distances, w lanes of a vector.
// Source: Dao, arXiv 2307.08691 (blocks, recomputation); Su et al., arXiv 2104.09864 (rotation); Huang et al.,
// arXiv 1809.04281 (distances).
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "tiles.h"

namespace native {

template <class T, class S>
struct Attention {
  int64_t batch, length, heads, kv_heads, width;
  HeadView<const S> q, k, v;
  const T *cos, *sin;    // (1 or b, l c/2)
  int64_t turn_row;      // distance of their rows; 0: one for all
  const int64_t* first;  // (b l) each token's first key, or null: 0
  const T* table;        // (tables t c) of embedded distances, the last one for all beyond; or null: none
  int64_t tables, distances;
  HeadView<S> y;
  T* logs;  // (b h l) log2 of each query's sum of weights
  // backward; `y` is read
  HeadView<const S> grad_y;
  HeadView<S> grad_q, grad_k, grad_v;
  T* part_table;  // (b h t c), zeros at first

  int64_t tasks() const { return batch * kv_heads; }
  int64_t group() const { return heads / kv_heads; }
  int64_t padded() const { return (width + Simd<T>::W - 1) / Simd<T>::W * Simd<T>::W; }
  int64_t blocks() const { return (length + BLOCK - 1) / BLOCK; }
  int64_t far() const { return table ? blocks() * BLOCK : 0; }  // distances of a row
  int64_t strip() const { return far() + BLOCK; }               // and room for the future
};

// One task's numbers in T, dense: `rows` (l c) or `columns` (blocks c BLOCK), zeros in the gaps.
template <class T, class S>
class Task {
 public:
  Task(const Attention<T, S>& all, int64_t task)
      : all(all), b(task / all.kv_heads), kv(task % all.kv_heads), c(all.padded()), size(all.blocks() * BLOCK * c) {}

  const Attention<T, S>& all;
  const int64_t b, kv, c, size;

  // Reads one head, times `scale`; turned by its place.
  template <class X>
  void rows(const HeadView<X>& from, int64_t h, T scale, bool turn, T* to) const {
    const int64_t half = all.width / 2;
    for (int64_t t = 0; t < all.length; ++t, to += c) {
      const auto* x = from.at(b, t, h);
      each_block<T>(0, all.width, [&](int64_t i, auto lanes) { store<T>(to + i, load<T>(x + i, lanes) * scale, lanes); });
      for (int64_t i = all.width; i < c; ++i) to[i] = 0;
      if (turn) rotate(t, half, T(1), to);
    }
  }

  // Turns numbers back and writes them as the gradient of one head.
  void put(T* x, T scale, bool turn, const HeadView<S>& to, int64_t h) const {
    const int64_t half = all.width / 2;
    for (int64_t t = 0; t < all.length; ++t, x += c) {
      if (turn) rotate(t, half, T(-1), x);
      S* out = to.at(b, t, h);
      each_block<T>(0, all.width, [&](int64_t i, auto lanes) { store<T>(out + i, load<T>(x + i, lanes) * scale, lanes); });
    }
  }

  void columns(const T* rows, T* to) const {
    for (int64_t t = 0; t < all.length; ++t, rows += c) {
      T* column = to + t / BLOCK * BLOCK * c + t % BLOCK;
      for (int64_t i = 0; i < c; ++i) column[i * BLOCK] = rows[i];
    }
  }

  // The embedded distances of one head, the farthest first, as rows and as columns.
  void distances(int64_t h, T* rows, T* columns) const {
    const T* table = all.table + (all.tables > 1 ? h : 0) * all.distances * all.width;
    for (int64_t u = 0; u < all.far(); ++u)
      std::copy_n(table + std::min(all.far() - 1 - u, all.distances - 1) * all.width, all.width, rows + u * c);
    for (int64_t u = 0; u < all.far(); u += BLOCK) flip<T>(rows + u * c, BLOCK, c, columns + u * c);
  }

  // Logits by distance (n strip) of n queries from token q on, for all that the keys from token k on need.
  void by_distance(int64_t n, const T* query, const T* far_columns, int64_t q, int64_t k, T* to) const {
    for (int64_t u = farthest(q, k); u < all.far(); u += BLOCK)
      multiply<T>(n, BLOCK, c, query, c, 1, far_columns + u * c, BLOCK, to + u, all.strip(), false);
  }

  // Where the farthest distance of a block of queries and one of keys stands.
  int64_t farthest(int64_t q, int64_t k) const { return all.far() - BLOCK - (q - k); }

  // Where the logit by distance of query q + i and key k stands; those of the keys behind it follow.
  int64_t shifted(int64_t q, int64_t k, int64_t i) const { return i * all.strip() + farthest(q, k) + BLOCK - 1 - i; }

  int64_t first(int64_t t) const { return all.first ? all.first[b * all.length + t] : 0; }

  // Scores (n BLOCK) of n queries from token q on and the block of keys from token k on, far below 0 where not seen.
  void scores(int64_t n, const T* query, const T* key_columns, const T* apart, int64_t q, int64_t k, T* to) const {
    multiply<T>(n, BLOCK, c, query, c, 1, key_columns, BLOCK, to, BLOCK, false);
    for (int64_t i = 0; i < n && all.table; ++i)
      for (int64_t j = 0; j < BLOCK; j += Simd<T>::W)
        store<T>(to + i * BLOCK + j, load(to + i * BLOCK + j) + load(apart + shifted(q, k, i) + j));
    if (k + BLOCK <= q + 1 && first(q + n - 1) <= k) return;
    for (int64_t i = 0; i < n; ++i) {
      T* row = to + i * BLOCK;
      const int64_t low = std::clamp<int64_t>(first(q + i) - k, 0, BLOCK), high = std::clamp<int64_t>(q + i + 1 - k, 0, BLOCK);
      for (int64_t j = 0; j < low; ++j) row[j] = UNSEEN;
      for (int64_t j = std::max(low, high); j < BLOCK; ++j) row[j] = UNSEEN;
    }
  }

  static constexpr T LOWEST = T(-1e30), UNSEEN = T(-2e30);  // the former is where maxima begin

 private:
  void rotate(int64_t t, int64_t half, T sign, T* x) const {
    const T *cos = all.cos + b * all.turn_row + t * half, *sin = all.sin + b * all.turn_row + t * half;
    for (int64_t i = 0; i < half; ++i) {
      const T one = x[i], two = x[half + i], s = sin[i] * sign;
      x[i] = one * cos[i] - two * s;
      x[half + i] = two * cos[i] + one * s;
    }
  }
};

template <class T, class S>
void attention_forward(const Attention<T, S>& all, int64_t index) {
  constexpr int W = Simd<T>::W;
  const FlushTiny guard;
  const Task<T, S> task(all, index);
  const int64_t c = task.c;
  const T scale = T(LOG2E / std::sqrt(double(all.width)));
  Buffer<T> query(task.size), keys(task.size), value(task.size), weights(BLOCK * BLOCK), sum(BLOCK * c),
      far_rows(all.far() * c), far_columns(all.far() * c), apart(BLOCK * all.strip());
  T *q = query, *k = keys, *v = value, *p = weights, *y = sum;
  task.rows(all.k, task.kv, T(1), true, v);
  task.columns(v, k);
  task.rows(all.v, task.kv, T(1), false, v);
  for (int64_t h = task.kv * all.group(); h < (task.kv + 1) * all.group(); ++h) {
    task.rows(all.q, h, scale, true, q);
    if (all.table) task.distances(h, far_rows, far_columns);
    for (int64_t begin = 0; begin < all.length; begin += BLOCK) {
      const int64_t n = std::min(BLOCK, all.length - begin);
      T most[BLOCK], total[BLOCK] = {};
      std::fill_n(most, BLOCK, Task<T, S>::LOWEST);
      std::memset(y, 0, BLOCK * c * sizeof(T));
      const int64_t oldest = task.first(begin) / BLOCK * BLOCK;
      if (all.table) task.by_distance(n, q + begin * c, far_columns, begin, oldest, apart);
      for (int64_t key = oldest; key <= begin; key += BLOCK) {
        task.scores(n, q + begin * c, k + key * c, apart, begin, key, p);
        for (int64_t i = 0; i < n; ++i) {
          T* row = p + i * BLOCK;
          Vec<T> top = load(row);
          for (int64_t j = W; j < BLOCK; j += W) {
            const Vec<T> x = load(row + j);
            top = x > top ? x : top;
          }
          T now = most[i];
          for (int lane = 0; lane < W; ++lane) now = std::max(now, T(top[lane]));
          Vec<T> part{};
          for (int64_t j = 0; j < BLOCK; j += W) {
            const Vec<T> weight = exp2<T>(load(row + j) - now);
            store<T>(row + j, weight);
            part += weight;
          }
          if (now != most[i]) {
            const T less = std::exp2(most[i] - now);
            total[i] *= less;
            for (int64_t j = 0; j < c; j += W) store<T>(y + i * c + j, load(y + i * c + j) * less);
            most[i] = now;
          }
          total[i] += native::sum<T>(part);
        }
        multiply<T>(n, c, BLOCK, p, BLOCK, 1, v + key * c, c, y, c, true);
      }
      for (int64_t i = 0; i < n; ++i) {
        all.logs[(task.b * all.heads + h) * all.length + begin + i] = most[i] + std::log2(total[i]);
        S* out = all.y.at(task.b, begin + i, h);
        each_block<T>(0, all.width, [&](int64_t j, auto lanes) {
          store<T>(out + j, load<T>(y + i * c + j, lanes) / total[i], lanes);
        });
      }
    }
  }
}

template <class T, class S>
void attention_backward(const Attention<T, S>& all, int64_t index) {
  constexpr int W = Simd<T>::W;
  const FlushTiny guard;
  const Task<T, S> task(all, index);
  const int64_t c = task.c;
  const T scale = T(1 / std::sqrt(double(all.width)));
  Buffer<T> query(task.size), key(task.size), key_columns(task.size), value_columns(task.size), of_y(task.size),
      of_query(task.size), of_key(task.size), of_value(task.size), weights(BLOCK * BLOCK), grads(BLOCK * BLOCK),
      pulls(all.blocks() * BLOCK), far_rows(all.far() * c), far_columns(all.far() * c), of_far(all.far() * c),
      strips(BLOCK * all.strip());
  T *q = query, *k = key, *kc = key_columns, *vc = value_columns, *dy = of_y, *dq = of_query, *dk = of_key,
    *dv = of_value, *p = weights, *ds = grads, *pull = pulls, *far = far_rows, *df = of_far, *apart = strips;
  task.rows(all.v, task.kv, T(1), false, k);
  task.columns(k, vc);
  task.rows(all.k, task.kv, T(1), true, k);
  task.columns(k, kc);
  for (int64_t h = task.kv * all.group(); h < (task.kv + 1) * all.group(); ++h) {
    task.rows(all.y, h, T(1), false, q);
    task.rows(all.grad_y, h, T(1), false, dy);
    for (int64_t t = 0; t < all.length; ++t) {
      Vec<T> dot{};
      for (int64_t j = 0; j < c; j += W) dot += load(q + t * c + j) * load(dy + t * c + j);
      pull[t] = native::sum<T>(dot);
    }
    task.rows(all.q, h, scale * T(LOG2E), true, q);
    std::memset(dq, 0, task.size * sizeof(T));
    std::memset(df, 0, all.far() * c * sizeof(T));
    if (all.table) task.distances(h, far, far_columns);
    const T* logs = all.logs + (task.b * all.heads + h) * all.length;
    for (int64_t begin = 0; begin < all.length; begin += BLOCK) {
      const int64_t n = std::min(BLOCK, all.length - begin);
      const int64_t oldest = task.first(begin) / BLOCK * BLOCK;
      if (all.table) task.by_distance(n, q + begin * c, far_columns, begin, oldest, apart);
      for (int64_t at = oldest; at <= begin; at += BLOCK) {
        task.scores(n, q + begin * c, kc + at * c, apart, begin, at, p);
        multiply<T>(n, BLOCK, c, dy + begin * c, c, 1, vc + at * c, BLOCK, ds, BLOCK, false);
        for (int64_t i = 0; i < n; ++i)
          for (int64_t j = 0; j < BLOCK; j += W) {
            const Vec<T> weight = exp2<T>(load(p + i * BLOCK + j) - logs[begin + i]);
            store<T>(p + i * BLOCK + j, weight);
            store<T>(ds + i * BLOCK + j, weight * (load(ds + i * BLOCK + j) - pull[begin + i]));
          }
        multiply<T>(BLOCK, c, n, p, 1, BLOCK, dy + begin * c, c, dv + at * c, c, true);
        multiply<T>(BLOCK, c, n, ds, 1, BLOCK, q + begin * c, c, dk + at * c, c, true);
        multiply<T>(n, c, BLOCK, ds, BLOCK, 1, k + at * c, c, dq + begin * c, c, true);
        for (int64_t i = 0; i < n && all.table; ++i) std::copy_n(ds + i * BLOCK, BLOCK, apart + task.shifted(begin, at, i));
      }
      if (!all.table) continue;
      const int64_t u = task.farthest(begin, oldest), count = all.far() - u;
      for (int64_t i = 0; i < n; ++i) std::fill_n(apart + i * all.strip() + u, BLOCK - 1 - i, T(0));  // beyond the oldest key
      multiply<T>(n, c, count, apart + u, all.strip(), 1, far + u * c, c, dq + begin * c, c, true);
      multiply<T>(count, c, n, apart + u, 1, all.strip(), q + begin * c, c, df + u * c, c, true);
    }
    for (int64_t u = 0; u < all.far(); ++u) {
      T* to = all.part_table + ((task.b * all.heads + h) * all.distances + std::min(all.far() - 1 - u, all.distances - 1)) * all.width;
      for (int64_t i = 0; i < all.width; ++i) to[i] += df[u * c + i] * T(LN2);
    }
    task.put(dq, scale, true, all.grad_q, h);
  }
  task.put(dk, T(LN2), true, all.grad_k, task.kv);
  task.put(dv, T(1), false, all.grad_v, task.kv);
}

}  // namespace native
