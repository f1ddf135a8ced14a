// Mamba-2's recurrence in chunks, and its gradients.
//
//     h_t = exp(a_t) h_(t-1) + d_t B_t x_t^T
//     y_t = h_t^T C_t + D x_t
//
// One task is one row of the batch and some heads that share B and C. Within a chunk step i reads step j through
// (C_i . B_j) d_j times the decay between them, and what came before through the state at the chunk's border.
//
// Shapes: b batch, l length, h heads, g groups, p channels of a head, s state dimensions, n chunks.
// Source: Dao & Gu, arXiv 2405.21060, section 6.
#pragma once

#include <algorithm>

#include "decays.h"

namespace native {

template <class T, class S>
struct StateSpace {
  static constexpr int64_t HEADS = 4;  // of a task, at most

  int64_t batch, length, heads, groups, width, states;
  HeadView<const S> x, B, C;  // (b l h p), (b l g s)
  const T *steps, *logs, *D;  // (b l h), (b l h), (h)
  const bool* starts;         // (b l) or null
  const T* before;            // (b h s p) or null: zeros
  T* borders;                 // (b n h s p), padded; null: not kept
  HeadView<S> y;
  T* last;  // (b h s p)
  // backward
  HeadView<const S> grad_y;
  const T* grad_last;  // (b h s p) or null: zeros
  HeadView<S> grad_x;
  T *part_B, *part_C;         // (parts b l g s)
  T *grad_steps, *grad_logs;  // (b l h)
  T *part_D, *grad_before;    // (b h), (b h s p)

  int64_t share() const { return heads / groups; }
  int64_t parts() const { return (share() + HEADS - 1) / HEADS; }
  int64_t tasks() const { return batch * groups * parts(); }
  int64_t chunks() const { return (length + BLOCK - 1) / BLOCK; }
};

// One chunk of one task: what all of its heads share, and room for one of them. `p` and `s` are padded.
template <class T, class S>
struct Span {
  const StateSpace<T, S>& all;
  const int64_t b, g, part, head, count, p, s;
  int64_t begin = 0, n = 0;
  Buffer<T> B, C, columns, scores;             // (q s), (q s), (s q), (q q)
  Buffer<T> weights, x, y, read, write;  // (q q), (q p), (q p), (q s), (q s)
  Buffer<T> state;                       // (heads s p)
  Decays<T> decays;
  T scale[BLOCK];

  Span(const StateSpace<T, S>& all, int64_t task)
      : all(all), b(task / (all.groups * all.parts())), g(task / all.parts() % all.groups), part(task % all.parts()),
        head(g * all.share() + part * all.HEADS), count(std::min(all.HEADS, all.share() - part * all.HEADS)),
        p(padded<T>(all.width)), s(padded<T>(all.states)), B(BLOCK * s), C(BLOCK * s), columns(s * BLOCK),
        scores(BLOCK * BLOCK), weights(BLOCK * BLOCK), x(BLOCK * p), y(BLOCK * p), read(BLOCK * s),
        write(BLOCK * s), state(count * s * p) {}

  // Reads what all heads share of chunk i.
  void open(int64_t i) {
    begin = i * BLOCK, n = std::min(BLOCK, all.length - begin);
    rows<T>(all.B, b, begin, n, g, all.states, s, B);
    rows<T>(all.C, b, begin, n, g, all.states, s, C);
    flip<T>(B, BLOCK, s, columns);
    triangle<T>(n, s, C, columns, scores);
  }

  const bool* marks() const { return all.starts ? all.starts + b * all.length + begin : nullptr; }
  int64_t at(int64_t h, int64_t i) const { return (b * all.length + begin + i) * all.heads + h; }

  // For head h: decays, the weights of the x_j, and what of C and B meets the state.
  void weigh(int64_t h) {
    constexpr int W = Simd<T>::W;
    decays.set(n, all.logs + at(h, 0), all.heads, marks());
    for (int64_t i = 0; i < n; ++i) scale[i] = all.steps[at(h, i)];
    std::fill(scale + n, scale + BLOCK, T(0));
    for (int64_t i = 0; i < n; ++i) {
      T* row = weights + i * BLOCK;
      for (int64_t j = 0; j < BLOCK; j += W)
        store<T>(row + j, load(scores + i * BLOCK + j) * load(decays.keep + i * BLOCK + j) * load(scale + j));
      row[i] += all.D[h];
      const T into = decays.into[i], out = decays.out(n)[i] * scale[i];
      for (int64_t j = 0; j < s; j += W) {
        store<T>(read + i * s + j, load(C + i * s + j) * into);
        store<T>(write + i * s + j, load(B + i * s + j) * out);
      }
    }
  }

  T* of(int64_t k) { return state + k * s * p; }
  T* border(int64_t i, int64_t k) { return all.borders + ((b * all.chunks() + i) * all.heads + head + k) * s * p; }
};

template <class T, class S>
void state_space_forward(const StateSpace<T, S>& all, int64_t task) {
  const FlushTiny guard;
  Span<T, S> span(all, task);
  const int64_t p = span.p, s = span.s;
  for (int64_t k = 0; k < span.count && all.before; ++k)
    spread(all.before + (span.b * all.heads + span.head + k) * all.states * all.width, all.states, all.width, span.of(k), p);
  for (int64_t i = 0; i < all.chunks(); ++i) {
    span.open(i);
    for (int64_t k = 0; k < span.count; ++k) {
      const int64_t h = span.head + k, n = span.n;
      T* state = span.of(k);
      if (all.borders) std::copy_n(state, s * p, span.border(i, k));
      span.weigh(h);
      rows<T>(all.x, span.b, span.begin, n, h, all.width, p, span.x);
      multiply<T>(n, p, s, span.read, s, 1, state, p, span.y, p, false);
      lower<T>(n, p, span.weights, span.x, span.y, true);
      put<T>(span.y, p, all.y, span.b, span.begin, n, h, all.width);
      const T across = span.decays.into[n - 1];
      for (int64_t j = 0; j < s * p; j += Simd<T>::W) store<T>(state + j, load(state + j) * across);
      multiply<T>(s, p, n, span.write, 1, s, span.x, p, state, p, true);
    }
  }
  for (int64_t k = 0; k < span.count; ++k)
    gather(span.of(k), p, all.states, all.width, all.last + (span.b * all.heads + span.head + k) * all.states * all.width);
}

template <class T, class S>
void state_space_backward(const StateSpace<T, S>& all, int64_t task) {
  constexpr int W = Simd<T>::W;
  const FlushTiny guard;
  Span<T, S> span(all, task);  // whose states are gradients of states
  const int64_t p = span.p, s = span.s, b = span.b, size = all.states * all.width;
  Buffer<T> grad_y(BLOCK * p), x_columns(p * BLOCK), turned(p * s), pairs(BLOCK * BLOCK), of_scores(BLOCK * BLOCK),
      of_B(BLOCK * s), of_C(BLOCK * s), of_ways(BLOCK * s);
  T *dy = grad_y, *xc = x_columns, *dw = pairs, *ds = of_scores, *dB = of_B, *dC = of_C, *way = of_ways;
  T of_D[StateSpace<T, S>::HEADS] = {};
  for (int64_t k = 0; k < span.count && all.grad_last; ++k)
    spread(all.grad_last + (b * all.heads + span.head + k) * size, all.states, all.width, span.of(k), p);
  for (int64_t i = all.chunks() - 1; i >= 0; --i) {
    span.open(i);
    const int64_t n = span.n, begin = span.begin;
    for (T* each : {dB, dC}) std::fill_n(each, BLOCK * s, T(0));
    std::fill_n(ds, BLOCK * BLOCK, T(0));
    for (int64_t k = 0; k < span.count; ++k) {
      const int64_t h = span.head + k;
      T *grad = span.of(k), *state = span.border(i, k);
      span.weigh(h);
      const T* out = span.decays.out(n);
      const T across = span.decays.into[n - 1];
      double* of_total = span.decays.of_total;
      T of_step[BLOCK] = {};
      rows<T>(all.x, b, begin, n, h, all.width, p, span.x);
      rows<T>(all.grad_y, b, begin, n, h, all.width, p, dy);
      // Of x: through later steps of the chunk and through the state after it.
      upper<T>(n, p, span.weights, dy, span.y, false);
      multiply<T>(n, p, s, span.write, s, 1, grad, p, span.y, p, true);
      put<T>(span.y, p, all.grad_x, b, begin, n, h, all.width);
      // Of the weights.
      flip<T>(span.x, BLOCK, p, xc);
      triangle<T>(n, p, dy, xc, dw);
      for (int64_t t = 0; t < n; ++t) {
        of_D[k] += dw[t * BLOCK + t];
        Vec<T> row{};
        for (int64_t j = 0; j <= t; j += W) {
          const Vec<T> kept = load(dw + t * BLOCK + j) * load(span.decays.keep + t * BLOCK + j);
          const Vec<T> d = load(span.scale + j), pair = kept * load(span.scores + t * BLOCK + j);
          store<T>(ds + t * BLOCK + j, load(ds + t * BLOCK + j) + kept * d);
          store<T>(of_step + j, load(of_step + j) + pair);
          row += pair * d;
        }
        of_total[t] += sum<T>(row);
      }
      for (int64_t t = 0; t < n; ++t) of_total[t] -= double(of_step[t]) * span.scale[t];
      // Of what is read of the state.
      flip<T>(state, s, p, turned);
      multiply<T>(n, s, p, dy, p, 1, turned, s, way, s, false);
      for (int64_t t = 0; t < n; ++t) {
        Vec<T> dot{};
        for (int64_t j = 0; j < s; j += W) {
          const Vec<T> g = load(way + t * s + j) * span.decays.into[t];
          dot += g * load(span.C + t * s + j);
          store<T>(dC + t * s + j, load(dC + t * s + j) + g);
        }
        of_total[t] += sum<T>(dot);
      }
      // Of what is written to it.
      flip<T>(grad, s, p, turned);
      multiply<T>(n, s, p, span.x, p, 1, turned, s, way, s, false);
      for (int64_t t = 0; t < n; ++t) {
        Vec<T> dot{};
        for (int64_t j = 0; j < s; j += W) {
          const Vec<T> g = load(way + t * s + j) * out[t];
          dot += g * load(span.B + t * s + j);
          store<T>(dB + t * s + j, load(dB + t * s + j) + g * span.scale[t]);
        }
        const T whole = sum<T>(dot);
        of_step[t] += whole;
        of_total[t] -= double(whole) * span.scale[t], of_total[n - 1] += double(whole) * span.scale[t];
      }
      // Of the state before.
      Vec<T> carried{};
      for (int64_t j = 0; j < s * p; j += W) {
        const Vec<T> g = load(grad + j) * across;
        carried += g * load(state + j);
        store<T>(grad + j, g);
      }
      of_total[n - 1] += sum<T>(carried);
      multiply<T>(s, p, n, span.read, 1, s, dy, p, grad, p, true);
      span.decays.put(n, span.marks(), all.grad_logs + span.at(h, 0), all.heads);
      for (int64_t t = 0; t < n; ++t) all.grad_steps[span.at(h, t)] = of_step[t];
    }
    upper<T>(n, s, ds, span.C, dB, true);
    lower<T>(n, s, ds, span.B, dC, true);
    for (int64_t t = 0; t < n; ++t) {
      const int64_t to = (((span.part * all.batch + b) * all.length + begin + t) * all.groups + span.g) * all.states;
      std::copy_n(dB + t * s, all.states, all.part_B + to);
      std::copy_n(dC + t * s, all.states, all.part_C + to);
    }
  }
  for (int64_t k = 0; k < span.count; ++k) {
    all.part_D[b * all.heads + span.head + k] = of_D[k];
    gather(span.of(k), p, all.states, all.width, all.grad_before + (b * all.heads + span.head + k) * size);
  }
}

}  // namespace native
