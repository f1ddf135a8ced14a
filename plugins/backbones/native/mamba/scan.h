// The selective scan, fused with softplus, skip and gate:
//
//   h_t = exp(dt_t A) h_(t-1) + dt_t B_t u_t,    y_t = (C_t . h_t + D u_t) silu(z_t),    dt = softplus(low W + bias)
//
// One task is one row of the batch and one group of channels. It walks time in chunks, and inside a chunk a strip of
// channels: reads its rows one after another, as memory likes it, takes one block of channels (one vector) at a time
// through all steps, a tile of its states in registers, and writes its rows. Forward keeps the states at chunk borders
// only; backward makes the others again, chunk by chunk from the end, and tile by tile, so that what it keeps of one
// tile and the sums that all blocks add to stay in the first cache. Sums over channels (for B and C) and over
// rows (for A, D, bias) are left as one part a task; the caller adds the parts in their order, so that the result does
// not depend on which thread was faster.
//
// Shapes: b batch, l length, e channels, n states, r rank of the step size, t steps of a chunk, w lanes of a vector.
// Source: Gu & Dao, arXiv 2312.00752, section 3.3.
#pragma once

#include <algorithm>

#include "low_rank.h"
#include "simd.h"
#include "view.h"

namespace native {

constexpr int CHUNK = 16;  // steps; of a tile 2 KiB each: states, decays, and the sums for B and C
constexpr int STRIP = 32;  // blocks; what is kept of them over a chunk stays in the second cache too
constexpr int STRIDE = CHUNK + 1;  // between blocks of a strip, so that their steps do not share a set of the cache
constexpr int TILE = 8, SMALL_TILE = 4;  // states in registers

struct Shape {
  int64_t batch, length, channels, states, rank, threads;
  int64_t blocks(int width) const { return (channels + width - 1) / width; }
  int64_t chunks() const { return (length + CHUNK - 1) / CHUNK; }
  // States rounded up to whole small tiles; those beyond `states` are 0 throughout.
  int64_t padded() const { return (states + SMALL_TILE - 1) / SMALL_TILE * SMALL_TILE; }
  // Blocks of one task.
  int64_t group(int width) const {
    const int64_t groups = split(batch, blocks(width), threads);
    return (blocks(width) + groups - 1) / groups;
  }
  int64_t groups(int width) const { return (blocks(width) + group(width) - 1) / group(width); }
};

template <class T, class S>
struct Scan {
  Shape shape;
  View<const S> u, low, z, B, C;
  const S* dt_weight;  // (r e)
  const T* rates;      // A log2(e), (blocks padded-n w)
  const T *D, *bias;   // (e)
  const bool* starts;  // (b l) or null
  T* borders;          // states before each chunk (b chunks blocks padded-n w); null: not kept
  // forward
  View<S> y;
  const T* before;  // (b blocks padded-n w) or null
  T* last;          // the same
  // backward
  View<const S> grad_y;
  const T* grad_last;  // (b blocks padded-n w) or null
  View<S> grad_u, grad_delta, grad_z;  // delta is what softplus is given, less the bias
  T* part_BC;             // (groups b l 2n)
  T* part_A;              // (b blocks padded-n w)
  T *part_D, *part_bias;  // (b blocks w)
  T* grad_before;         // (b blocks padded-n w)
};

// What the way back needs of the way there: every state and decay (t NT), and gradients of C by `grad_y` added up.
template <class T>
struct Record {
  Vec<T>*states, *decays;
  const Vec<T>* grad_y;
  Vec<T>* sum_C;
};

// The states of one tile over a chunk: y += C . h.
template <class T, int NT, bool RECORD>
inline void advance(int steps, int64_t stride, const Vec<T>* dt, const Vec<T>* drive, const T* B, const T* C,
                    const Vec<T>* rates, const bool* starts, Vec<T>* state, Vec<T>* y, Record<T> record = {}) {
  Vec<T> h[NT];
#pragma GCC unroll 16
  for (int n = 0; n < NT; ++n) h[n] = state[n];
  for (int t = 0; t < steps; ++t) {
    const bool start = starts && starts[t];
    const Vec<T> step = dt[t], in = drive[t];
    const T *b = B + t * stride, *c = C + t * stride;
    Vec<T> even{}, odd{};
    if (start)
      for (int n = 0; n < NT; ++n) h[n] = Vec<T>{};
#pragma GCC unroll 16
    for (int n = 0; n < NT; ++n) {
      const Vec<T> decay = exp2<T>(step * rates[n]);
      h[n] = decay * h[n] + in * b[n];
      (n % 2 ? odd : even) += h[n] * c[n];
      if constexpr (RECORD) {
        record.states[t * NT + n] = h[n];
        record.decays[t * NT + n] = start ? Vec<T>{} : decay;
        record.sum_C[t * stride + n] += record.grad_y[t] * h[n];
      }
    }
    y[t] += even + odd;
  }
#pragma GCC unroll 16
  for (int n = 0; n < NT; ++n) state[n] = h[n];
}

// Backward over the same: `grad` is the gradient of the state after the chunk and becomes that of the state before it.
template <class T, int NT>
inline void retreat(int steps, int64_t stride, const Vec<T>* dt, const Vec<T>* drive, const T* B, const T* C,
                    const Vec<T>* rates, const Vec<T>* before, Record<T> record, Vec<T>* grad, Vec<T>* grad_rates,
                    Vec<T>* grad_drive, Vec<T>* grad_step, Vec<T>* sum_B) {
  Vec<T> g[NT], rate[NT], of_rate[NT];
#pragma GCC unroll 16
  for (int n = 0; n < NT; ++n) g[n] = grad[n], rate[n] = rates[n], of_rate[n] = grad_rates[n];
  for (int t = steps - 1; t >= 0; --t) {
    const Vec<T> step = dt[t], in = drive[t], gy = record.grad_y[t];
    const T *b = B + t * stride, *c = C + t * stride;
    const Vec<T>*decays = record.decays + t * NT, *old = t ? record.states + (t - 1) * NT : before;
    Vec<T>* to_B = sum_B + t * stride;
    Vec<T> of_drive{}, of_step{};
#pragma GCC unroll 16
    for (int n = 0; n < NT; ++n) {
      const Vec<T> now = g[n] + gy * c[n];
      to_B[n] += now * in;
      of_drive += now * b[n];
      g[n] = now * decays[n];
      const Vec<T> of_power = g[n] * old[n];  // the gradient of dt A
      of_step += of_power * rate[n];
      of_rate[n] += of_power * step;
    }
    grad_drive[t] += of_drive;
    grad_step[t] += of_step;
  }
#pragma GCC unroll 16
  for (int n = 0; n < NT; ++n) grad[n] = g[n], grad_rates[n] = of_rate[n];
}

// Calls with the first state of each tile and the tile's size as a constant.
template <class F>
inline void tiles(int64_t padded, F&& call) {
  int64_t n = 0;
  for (; n + TILE <= padded; n += TILE) call(n, std::integral_constant<int, TILE>{});
  for (; n < padded; n += SMALL_TILE) call(n, std::integral_constant<int, SMALL_TILE>{});
}

// What both directions need of one chunk: B and C (t padded-n) and `low` (t r) widened, and of a strip its numbers by
// block, (block t).
template <class T, class S>
class Chunk {
 public:
  static constexpr int W = Simd<T>::W;

  explicit Chunk(const Scan<T, S>& scan)
      : scan_(scan),
        padded_(scan.shape.padded()),
        wide_(CHUNK * (2 * padded_ + scan.shape.rank) / W + 1),
        dt(STRIP * STRIDE),
        drive(STRIP * STRIDE),
        y(STRIP * STRIDE),
        slope(STRIP * STRIDE) {}

  void open(int64_t row, int64_t chunk) {
    b_ = row, begin_ = chunk * CHUNK;
    steps = std::min<int64_t>(CHUNK, scan_.shape.length - begin_);
    starts = scan_.starts ? scan_.starts + row * scan_.shape.length + begin_ : nullptr;
    B = reinterpret_cast<T*>(static_cast<Vec<T>*>(wide_)), C = B + CHUNK * padded_;
    low_ = C + CHUNK * padded_;
    for (int t = 0; t < steps; ++t) {
      widen(scan_.B, t, B + t * padded_);
      widen(scan_.C, t, C + t * padded_);
      const S* low = scan_.low.at(row, begin_ + t);
      std::transform(low, low + scan_.shape.rank, low_ + t * scan_.shape.rank, [](S x) { return wide(x); });
    }
  }

  // Calls with each step, and each block's first channel, lanes and place in the strip at that step.
  template <class F>
  void each(int64_t first, int64_t last, F&& call) const {
    const int64_t end = std::min(last * W, scan_.shape.channels);
    for (int t = 0; t < steps; ++t)
      each_block<T>(first * W, end,
                    [&](int64_t channel, auto lanes) { call(t, channel, lanes, (channel / W - first) * STRIDE + t); });
  }

  // dt and dt u of the strip, and the slope of dt if it is wanted.
  template <bool SLOPE>
  void read(int64_t first, int64_t last) {
    const Shape& shape = scan_.shape;
    const int64_t end = std::min(last * W, shape.channels);
    low_rank<T, S>(low_, shape.rank, steps, scan_.dt_weight, shape.channels, first * W, end,
                   [&](int64_t t, int64_t channel, auto lanes, Vec<T> delta) {
                     const int64_t at = (channel / W - first) * STRIDE + t;
                     const Soft<T> soft = softplus<T>(delta + load<T>(scan_.bias + channel, lanes));
                     dt[at] = soft.value;
                     if constexpr (SLOPE) slope[at] = soft.slope;
                     drive[at] = soft.value * get(scan_.u, t, channel, lanes);
                     y[at] = Vec<T>{};
                   });
  }

  template <class X, class L>
  Vec<T> get(const View<const X>& from, int t, int64_t channel, L lanes) const {
    return load<T>(from.at(b_, begin_ + t) + channel, lanes);
  }
  template <class X, class L>
  void put(const View<X>& to, int t, int64_t channel, L lanes, Vec<T> value) const {
    store<T>(to.at(b_, begin_ + t) + channel, value, lanes);
  }

  int steps;
  const bool* starts;
  T *B, *C;

 private:
  void widen(const View<const S>& from, int t, T* to) const {
    const S* source = from.at(b_, begin_ + t);
    const int64_t n = scan_.shape.states;
    int64_t i = 0;
    for (; i + W <= n; i += W) store(to + i, load(source + i));
    for (; i < n; ++i) to[i] = wide(source[i]);
    for (; i < padded_; ++i) to[i] = T(0);
  }

  const Scan<T, S>& scan_;
  int64_t padded_, b_, begin_;
  Scratch<T> wide_;
  T* low_;

 public:
  Scratch<T> dt, drive, y, slope;
};

template <class T, class S>
void scan_forward(const Scan<T, S>& scan, int64_t task) {
  constexpr int W = Simd<T>::W;
  const FlushTiny guard;
  const Shape& shape = scan.shape;
  const int64_t padded = shape.padded(), blocks = shape.blocks(W), group = shape.group(W);
  const int64_t row = task / shape.groups(W), first = task % shape.groups(W) * group;
  const int64_t last = std::min(blocks, first + group), size = padded * W;
  Chunk<T, S> chunk(scan);
  Scratch<T> state((last - first) * padded);
  if (scan.before) std::memcpy(state, scan.before + (row * blocks + first) * size, (last - first) * size * sizeof(T));
  else std::memset(state, 0, (last - first) * size * sizeof(T));
  for (int64_t k = 0; k < shape.chunks(); ++k) {
    chunk.open(row, k);
    if (scan.borders)
      std::memcpy(scan.borders + ((row * shape.chunks() + k) * blocks + first) * size, state,
                  (last - first) * size * sizeof(T));
    for (int64_t begin = first; begin < last; begin += STRIP) {
      const int64_t end = std::min(last, begin + STRIP);
      chunk.template read<false>(begin, end);
      for (int64_t block = begin; block < end; ++block) {
        const int64_t at = (block - begin) * STRIDE;
        Vec<T>* h = state + (block - first) * padded;
        const Vec<T>* rates = reinterpret_cast<const Vec<T>*>(scan.rates) + block * padded;
        tiles(padded, [&](int64_t n, auto nt) {
          advance<T, nt, false>(chunk.steps, padded, chunk.dt + at, chunk.drive + at, chunk.B + n, chunk.C + n,
                                rates + n, chunk.starts, h + n, chunk.y + at);
        });
      }
      chunk.each(begin, end, [&](int t, int64_t channel, auto lanes, int64_t at) {
        const Vec<T> z = chunk.get(scan.z, t, channel, lanes), u = chunk.get(scan.u, t, channel, lanes);
        const Vec<T> y = chunk.y[at] + load<T>(scan.D + channel, lanes) * u;
        chunk.put(scan.y, t, channel, lanes, y * z * sigmoid<T>(z));
      });
    }
  }
  std::memcpy(scan.last + (row * blocks + first) * size, state, (last - first) * size * sizeof(T));
}

template <class T, class S>
void scan_backward(const Scan<T, S>& scan, int64_t task) {
  constexpr int W = Simd<T>::W;
  const FlushTiny guard;
  const Shape& shape = scan.shape;
  const int64_t padded = shape.padded(), blocks = shape.blocks(W), group = shape.group(W),
                part = task % shape.groups(W);
  const int64_t row = task / shape.groups(W), first = part * group, last = std::min(blocks, first + group),
                size = padded * W;
  Chunk<T, S> chunk(scan);
  Scratch<T> states(CHUNK * TILE), decays(CHUNK * TILE), sum_B(CHUNK * padded), sum_C(CHUNK * padded), h(TILE);
  Scratch<T> grad_y(STRIP * STRIDE), grad_drive(STRIP * STRIDE), grad_step(STRIP * STRIDE);
  Vec<T>* grad = reinterpret_cast<Vec<T>*>(scan.grad_before) + (row * blocks + first) * padded;
  Vec<T>* grad_rates = reinterpret_cast<Vec<T>*>(scan.part_A) + (row * blocks + first) * padded;
  Vec<T>* grad_D = reinterpret_cast<Vec<T>*>(scan.part_D) + row * blocks;
  Vec<T>* grad_bias = reinterpret_cast<Vec<T>*>(scan.part_bias) + row * blocks;
  std::memset(grad_rates, 0, (last - first) * size * sizeof(T));
  std::memset(grad_D + first, 0, (last - first) * VECTOR_BYTES);
  std::memset(grad_bias + first, 0, (last - first) * VECTOR_BYTES);
  if (scan.grad_last)
    std::memcpy(grad, scan.grad_last + (row * blocks + first) * size, (last - first) * size * sizeof(T));
  else std::memset(grad, 0, (last - first) * size * sizeof(T));
  for (int64_t k = shape.chunks() - 1; k >= 0; --k) {
    const int64_t first_block = (row * shape.chunks() + k) * blocks;  // of the borders
    chunk.open(row, k);
    std::memset(sum_B, 0, CHUNK * padded * VECTOR_BYTES);
    std::memset(sum_C, 0, CHUNK * padded * VECTOR_BYTES);
    for (int64_t begin = first; begin < last; begin += STRIP) {
      const int64_t end = std::min(last, begin + STRIP);
      chunk.template read<true>(begin, end);
      chunk.each(begin, end, [&](int t, int64_t channel, auto lanes, int64_t at) {
        const Vec<T> z = chunk.get(scan.z, t, channel, lanes);
        grad_y[at] = chunk.get(scan.grad_y, t, channel, lanes) * z * sigmoid<T>(z);
        grad_drive[at] = grad_step[at] = Vec<T>{};
      });
      tiles(padded, [&](int64_t n, auto nt) {
        for (int64_t block = begin; block < end; ++block) {
          const int64_t at = (block - begin) * STRIDE, in_group = (block - first) * padded + n;
          const Vec<T>* rates = reinterpret_cast<const Vec<T>*>(scan.rates) + block * padded + n;
          const Vec<T>* border =
              reinterpret_cast<const Vec<T>*>(scan.borders) + (first_block + block) * padded + n;
          for (int i = 0; i < nt; ++i) __builtin_prefetch(border + padded + i);  // the next block's
          std::memcpy(h, border, nt * VECTOR_BYTES);
          const Record<T> record{states, decays, grad_y + at, sum_C + n};
          advance<T, nt, true>(chunk.steps, padded, chunk.dt + at, chunk.drive + at, chunk.B + n, chunk.C + n, rates,
                               chunk.starts, h, chunk.y + at, record);
          retreat<T, nt>(chunk.steps, padded, chunk.dt + at, chunk.drive + at, chunk.B + n, chunk.C + n, rates, border,
                         record, grad + in_group, grad_rates + in_group, grad_drive + at, grad_step + at, sum_B + n);
        }
      });
      chunk.each(begin, end, [&](int t, int64_t channel, auto lanes, int64_t at) {
        const Vec<T> D = load<T>(scan.D + channel, lanes);
        const Vec<T> u = chunk.get(scan.u, t, channel, lanes);
        const Vec<T> z = chunk.get(scan.z, t, channel, lanes), gate = sigmoid<T>(z);
        const Vec<T> of_y = chunk.get(scan.grad_y, t, channel, lanes);
        chunk.put(scan.grad_z, t, channel, lanes,
                  of_y * (chunk.y[at] + D * u) * gate * (T(1) + z * (T(1) - gate)));
        chunk.put(scan.grad_u, t, channel, lanes, grad_y[at] * D + grad_drive[at] * chunk.dt[at]);
        const Vec<T> of_delta = (grad_step[at] * T(LN2) + grad_drive[at] * u) * chunk.slope[at];
        chunk.put(scan.grad_delta, t, channel, lanes, of_delta);
        grad_D[channel / W] += grad_y[at] * u;
        grad_bias[channel / W] += of_delta;
      });
    }
    for (int t = 0; t < chunk.steps; ++t) {
      T* of_B = scan.part_BC + ((part * shape.batch + row) * shape.length + k * CHUNK + t) * 2 * shape.states;
      T* of_C = of_B + shape.states;
      int64_t n = 0;
      for (; n + W <= shape.states; n += W) {
        store<T>(of_B + n, sums<T>(sum_B + t * padded + n));
        store<T>(of_C + n, sums<T>(sum_C + t * padded + n));
      }
      for (; n < shape.states; ++n) {
        of_B[n] = sum<T>(sum_B[t * padded + n]);
        of_C[n] = sum<T>(sum_C[t * padded + n]);
      }
    }
  }
}

}  // namespace native
