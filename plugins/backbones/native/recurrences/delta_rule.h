// The gated delta rule in chunks, and its gradients.
//
//     S <- exp(g_t) S
//     n_t = beta_t (v_t - S^T k_t),  S <- S + k_t n_t^T
//     o_t = S^T q_t
//
// One task is one head of one row. What a step writes, n, hangs on what the steps before it in its chunk wrote: a unit
// lower triangular system, solved forward, and backward for the gradients.
//
// Shapes: b batch, l length, h heads, c width of keys, v width of values, n chunks, q steps of a chunk.
// Source: Yang et al., arXiv 2412.06464, sections 3.1 and 3.3.
#pragma once

#include <algorithm>

#include "decays.h"

namespace native {

template <class T, class S>
struct DeltaRule {
  int64_t batch, length, heads, keys, values;
  HeadView<const S> q, k, v;  // (b l h c), (b l h c), (b l h v)
  const T *logs, *beta;       // (b l h)
  const bool* starts;         // (b l) or null
  const T* before;            // (b h c v) or null: zeros
  T *borders, *news;          // (b n h c v), (b n h q v), padded; null: not kept
  HeadView<S> y;
  T* last;  // (b h c v)
  // backward
  HeadView<const S> grad_y;
  const T* grad_last;  // (b h c v) or null: zeros
  HeadView<S> grad_q, grad_k, grad_v;
  T *grad_logs, *grad_beta, *grad_before;  // (b l h), (b l h), (b h c v)

  int64_t tasks() const { return batch * heads; }
  int64_t chunks() const { return (length + BLOCK - 1) / BLOCK; }
};

// One chunk of one task. `c` and `v` are padded.
template <class T, class S>
struct Written {
  const DeltaRule<T, S>& all;
  const int64_t b, h, c, v;
  int64_t begin = 0, n = 0;
  Buffer<T> q, k, value, columns, pairs, scores;  // (q c), (q c), (q v), (c q), (q q), (q q): k_i . k_j, q_i . k_j
  Buffer<T> system, weights, held;                // (q q), (q q), (q v): what the state holds at each key
  Decays<T> decays;
  T beta[BLOCK];

  Written(const DeltaRule<T, S>& all, int64_t task)
      : all(all), b(task / all.heads), h(task % all.heads), c(padded<T>(all.keys)), v(padded<T>(all.values)),
        q(BLOCK * c), k(BLOCK * c), value(BLOCK * v), columns(c * BLOCK), pairs(BLOCK * BLOCK), scores(BLOCK * BLOCK),
        system(BLOCK * BLOCK), weights(BLOCK * BLOCK), held(BLOCK * v) {}

  const bool* marks() const { return all.starts ? all.starts + b * all.length + begin : nullptr; }
  int64_t at(int64_t i) const { return (b * all.length + begin + i) * all.heads + h; }
  T* border(int64_t i) { return all.borders + ((b * all.chunks() + i) * all.heads + h) * c * v; }
  T* news(int64_t i) { return all.news + ((b * all.chunks() + i) * all.heads + h) * BLOCK * v; }

  // Reads chunk i, whose state is `state` (c v) before it.
  void open(int64_t i, const T* state) {
    constexpr int W = Simd<T>::W;
    begin = i * BLOCK, n = std::min(BLOCK, all.length - begin);
    rows<T>(all.q, b, begin, n, h, all.keys, c, q);
    rows<T>(all.k, b, begin, n, h, all.keys, c, k);
    rows<T>(all.v, b, begin, n, h, all.values, v, value);
    flip<T>(k, BLOCK, c, columns);
    triangle<T>(n, c, k, columns, pairs);
    triangle<T>(n, c, q, columns, scores);
    decays.set(n, all.logs + at(0), all.heads, marks());
    for (int64_t t = 0; t < n; ++t) {
      beta[t] = all.beta[at(t)];
      for (int64_t j = 0; j <= t; j += W) {
        const Vec<T> kept = load(decays.keep + t * BLOCK + j);
        store<T>(weights + t * BLOCK + j, load(scores + t * BLOCK + j) * kept);
        store<T>(system + t * BLOCK + j, load(pairs + t * BLOCK + j) * kept * beta[t]);
      }
    }
    multiply<T>(n, v, c, k, c, 1, state, v, held, v, false);
  }

  // x <- (1 + system)^-1 x for x (n v), the system's strict lower triangle.
  void solve(T* x) {
    for (int64_t first = 0; first < n; first += BAND) {
      const int64_t end = std::min(n, first + BAND);
      less(end - first, first, system + first * BLOCK, BLOCK, 1, x, x + first * v);
      for (int64_t i = first + 1; i < end; ++i)
        less(1, i - first, system + i * BLOCK + first, BLOCK, 1, x + first * v, x + i * v);
    }
  }

  // The same with the system transposed.
  void solve_back(T* x) {
    for (int64_t first = (n - 1) / BAND * BAND; first >= 0; first -= BAND) {
      const int64_t end = std::min(n, first + BAND);
      less(end - first, n - end, system + end * BLOCK + first, 1, BLOCK, x + end * v, x + first * v);
      for (int64_t i = end - 2; i >= first; --i)
        less(1, end - 1 - i, system + (i + 1) * BLOCK + i, 1, BLOCK, x + (i + 1) * v, x + i * v);
    }
  }

 private:
  // y (m v) -= A (m k) x (k v)
  void less(int64_t m, int64_t k, const T* A, int64_t row, int64_t step, const T* x, T* y) {
    T minus[BAND * BLOCK];
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < k; ++j) minus[i * k + j] = -A[i * row + j * step];
    multiply<T>(m, v, k, minus, k, 1, x, v, y, v, true);
  }
};

// Sums over entries of products of two rows of `width`.
template <class T>
inline T dot(const T* a, const T* b, int64_t width) {
  Vec<T> total{};
  for (int64_t j = 0; j < width; j += Simd<T>::W) total += load(a + j) * load(b + j);
  return sum<T>(total);
}

// to = or += x times `scale`, row by row of x (n width).
template <class T>
inline void scaled(int64_t n, int64_t width, const T* x, const T* scale, T* to, bool add) {
  for (int64_t t = 0; t < n; ++t)
    for (int64_t j = t * width; j < (t + 1) * width; j += Simd<T>::W)
      store<T>(to + j, add ? load(to + j) + load(x + j) * scale[t] : load(x + j) * scale[t]);
}

template <class T, class S>
void delta_rule_forward(const DeltaRule<T, S>& all, int64_t task) {
  constexpr int W = Simd<T>::W;
  const FlushTiny guard;
  Written<T, S> now(all, task);
  const int64_t c = now.c, v = now.v, size = all.keys * all.values;
  Buffer<T> states(c * v), written(BLOCK * v), out(BLOCK * v), ways(BLOCK * c);
  T *state = states, *news = written, *y = out, *way = ways;
  if (all.before) spread(all.before + task * size, all.keys, all.values, state, v);
  for (int64_t i = 0; i < all.chunks(); ++i) {
    now.open(i, state);
    const int64_t n = now.n;
    for (int64_t t = 0; t < n; ++t)
      for (int64_t j = t * v; j < (t + 1) * v; j += W)
        store<T>(news + j, (load(now.value + j) - load(now.held + j) * now.decays.into[t]) * now.beta[t]);
    now.solve(news);
    if (all.borders) std::copy_n(state, c * v, now.border(i)), std::copy_n(news, n * v, now.news(i));
    scaled<T>(n, c, now.q, now.decays.into, way, false);
    multiply<T>(n, v, c, way, c, 1, state, v, y, v, false);
    lower<T>(n, v, now.weights, news, y, true);
    put<T>(y, v, all.y, now.b, now.begin, n, now.h, all.values);
    const T across = now.decays.into[n - 1];
    for (int64_t j = 0; j < c * v; j += W) store<T>(state + j, load(state + j) * across);
    scaled<T>(n, c, now.k, now.decays.out(n), way, false);
    multiply<T>(c, v, n, way, 1, c, news, v, state, v, true);
  }
  gather(state, v, all.keys, all.values, all.last + task * size);
}

template <class T, class S>
void delta_rule_backward(const DeltaRule<T, S>& all, int64_t task) {
  constexpr int W = Simd<T>::W;
  const FlushTiny guard;
  Written<T, S> now(all, task);
  const int64_t c = now.c, v = now.v, size = all.keys * all.values;
  Buffer<T> grads(c * v), grad_y(BLOCK * v), grad_news(BLOCK * v), of_held(BLOCK * v), turned_state(v * c),
      turned_news(v * BLOCK), ways(BLOCK * c), of_pairs(BLOCK * BLOCK), of_scores(BLOCK * BLOCK), of_q(BLOCK * c),
      of_k(BLOCK * c);
  T *grad = grads, *dy = grad_y, *dn = grad_news, *dh = of_held, *turned = turned_state, *nt = turned_news, *way = ways,
    *dp = of_pairs, *ds = of_scores, *dq = of_q, *dk = of_k;
  if (all.grad_last) spread(all.grad_last + task * size, all.keys, all.values, grad, v);
  for (int64_t i = all.chunks() - 1; i >= 0; --i) {
    const T *state = now.border(i), *news = now.news(i);
    now.open(i, state);
    const int64_t n = now.n;
    const T *into = now.decays.into, *out = now.decays.out(n), across = into[n - 1];
    double* of_total = now.decays.of_total;
    T of_beta[BLOCK];
    rows<T>(all.grad_y, now.b, now.begin, n, now.h, all.values, v, dy);
    // Of what is written: through later reads of the chunk and through the state after it.
    scaled<T>(n, c, now.k, out, way, false);
    multiply<T>(n, v, c, way, c, 1, grad, v, dn, v, false);
    upper<T>(n, v, now.weights, dy, dn, true);
    now.solve_back(dn);  // now of the system's right side
    for (int64_t t = 0; t < n; ++t) {
      Vec<T> of_write{};
      for (int64_t j = t * v; j < (t + 1) * v; j += W) {
        const Vec<T> g = load(dn + j);
        of_write += g * (load(now.value + j) - load(now.held + j) * into[t]);
        store<T>(now.value + j, g * now.beta[t]);
        store<T>(dh + j, g * (-now.beta[t] * into[t]));
      }
      of_beta[t] = sum<T>(of_write);
      of_total[t] += dot<T>(dh + t * v, now.held + t * v, v);
    }
    put<T>(now.value, v, all.grad_v, now.b, now.begin, n, now.h, all.values);
    // Of what is read of the state before, by keys and by queries.
    flip<T>(state, c, v, turned);
    multiply<T>(n, c, v, dh, v, 1, turned, c, dk, c, false);
    multiply<T>(n, c, v, dy, v, 1, turned, c, way, c, false);
    scaled<T>(n, c, way, into, dq, false);
    for (int64_t t = 0; t < n; ++t) of_total[t] += dot<T>(dq + t * c, now.q + t * c, c);
    // Of what is written to the state after.
    flip<T>(grad, c, v, turned);
    multiply<T>(n, c, v, news, v, 1, turned, c, way, c, false);
    scaled<T>(n, c, way, out, dk, true);
    for (int64_t t = 0; t < n; ++t) {
      const T g = dot<T>(way + t * c, now.k + t * c, c) * out[t];
      of_total[t] -= g, of_total[n - 1] += g;
    }
    // Of pairs of steps: of the system, which takes from what is written, and of the weights of what is read.
    std::copy_n(news, n * v, now.held + 0);
    std::fill_n(now.held + n * v, (BLOCK - n) * v, T(0));
    flip<T>(now.held, BLOCK, v, nt);
    triangle<T>(n, v, dn, nt, dp);
    triangle<T>(n, v, dy, nt, ds);
    for (int64_t t = 0; t < n; ++t) {
      T of_write = 0, of_row = 0;
      for (int64_t j = 0; j <= t; ++j) {
        const int64_t at = t * BLOCK + j;
        const T kept = now.decays.keep[at], read = ds[at] * kept, took = j < t ? -dp[at] * kept : T(0);
        const T pair = read * now.scores[at] + took * now.pairs[at] * now.beta[t];
        of_write += took * now.pairs[at];
        of_row += pair;
        of_total[j] -= pair;
        ds[at] = read, dp[at] = took * now.beta[t];
      }
      for (int64_t j = t + 1; j < BLOCK; ++j) ds[t * BLOCK + j] = dp[t * BLOCK + j] = 0;
      of_total[t] += of_row;
      all.grad_beta[now.at(t)] = of_beta[t] + of_write;
    }
    lower<T>(n, c, ds, now.k, dq, true);
    upper<T>(n, c, ds, now.q, dk, true);
    lower<T>(n, c, dp, now.k, dk, true);
    upper<T>(n, c, dp, now.k, dk, true);
    put<T>(dq, c, all.grad_q, now.b, now.begin, n, now.h, all.keys);
    put<T>(dk, c, all.grad_k, now.b, now.begin, n, now.h, all.keys);
    // Of the state before.
    of_total[n - 1] += across * dot<T>(grad, state, c * v);
    for (int64_t j = 0; j < c * v; j += W) store<T>(grad + j, load(grad + j) * across);
    scaled<T>(n, c, now.q, into, way, false);
    multiply<T>(c, v, n, way, 1, c, dy, v, grad, v, true);
    multiply<T>(c, v, n, now.k, 1, c, dh, v, grad, v, true);
    now.decays.put(n, now.marks(), all.grad_logs + now.at(0), all.heads);
  }
  gather(grad, v, all.keys, all.values, all.grad_before + task * size);
}

}  // namespace native
