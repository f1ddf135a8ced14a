// Products of a few rows with a matrix that is read as it lies: nothing is packed or kept, so weights may change at any
// time.
//
// Up to four rows stand one after the other, (b x), and a product is made of dot products along the matrix's rows. More
// of them stand in panels of one vector each, (x w): the lanes are rows of the batch, and a product adds up columns.
//
// Shapes: b batch, k inputs, o outputs, x either, w lanes of a vector.
#pragma once

#include <algorithm>
#include <cmath>

#include "simd.h"

namespace native {

constexpr int LANES = Simd<float>::W;
constexpr int MOST_ROWS = 4;  // that stand one after the other
// Outputs that are summed side by side. A last few are summed in another order, so threads share outputs out by as many.
constexpr int GRAIN = 16;

// A matrix (o k) whose rows are `ld` apart.
struct Matrix {
  const float* data;
  int64_t ld;
  const float* row(int64_t o) const { return data + o * ld; }
};

// y[o] = or += sum over k of weight[o] x, for outputs [begin, end), rows (b x) with `ldx` and `ldy` between them.
template <int B>
inline void dots(Matrix weight, const float* x, int64_t ldx, int64_t k, float* y, int64_t ldy, int64_t begin,
                 int64_t end, bool add) {
  constexpr int ROWS = LANES / B;  // so many sums as a vector has lanes
  for (int64_t o = begin; o < end; o += ROWS) {
    const int rows = std::min<int64_t>(ROWS, end - o);
    Vec<float> totals[LANES] = {};
    const float* w[ROWS];
    for (int i = 0; i < ROWS; ++i) w[i] = weight.row(std::min(o + i, end - 1));
    int64_t j = 0;
    for (; j + LANES <= k; j += LANES)
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; ++i) {
        const Vec<float> part = load(w[i] + j);
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) totals[b * ROWS + i] += part * load(x + b * ldx + j);
      }
    if (j < k)
      for (int i = 0; i < ROWS; ++i)
        for (int b = 0; b < B; ++b)
          totals[b * ROWS + i] += load<float>(w[i] + j, k - j) * load<float>(x + b * ldx + j, k - j);
    float out[LANES];
    store<float>(out, sums<float>(totals));
    for (int b = 0; b < B; ++b)
      for (int i = 0; i < rows; ++i) {
        float& to = y[b * ldy + o + i];
        to = out[b * ROWS + i] + (add ? to : 0.0f);
      }
  }
}

// The same for one panel: x (k w), y (o w).
inline void columns(Matrix weight, const float* x, int64_t k, float* y, int64_t begin, int64_t end, bool add) {
  constexpr int ROWS = GRAIN, STEP = 16;  // STEP weights are a cache line
  const int64_t ld = weight.ld;
  int64_t o = begin;
  for (; o + ROWS <= end; o += ROWS) {
    Vec<float> totals[ROWS] = {};
    // Four pointers and two distances reach sixteen rows: all of it stays in registers.
    const float *w0 = weight.row(o), *w4 = w0 + 4 * ld, *w8 = w4 + 4 * ld, *w12 = w8 + 4 * ld;
    const int64_t ld3 = 3 * ld;
    const float* next = weight.row(std::min(o + ROWS, end - ROWS));  // fetched while these are in use
    for (int64_t j = 0; j < k; ++j, ++w0, ++w4, ++w8, ++w12) {
      const Vec<float> in = load(x + j * LANES);
      __builtin_prefetch(next + j % STEP * ld + j / STEP * STEP);
      const auto four = [&](int i, const float* w) __attribute__((always_inline)) {
        totals[i] += in * w[0];
        totals[i + 1] += in * w[ld];
        totals[i + 2] += in * w[2 * ld];
        totals[i + 3] += in * w[ld3];
      };
      four(0, w0), four(4, w4), four(8, w8), four(12, w12);
    }
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      float* to = y + (o + i) * LANES;
      store<float>(to, add ? totals[i] + load(to) : totals[i]);
    }
  }
  for (; o < end; ++o) {
    Vec<float> even{}, odd{};
    for (int64_t j = 0; j < k; ++j) (j % 2 ? odd : even) += load(x + j * LANES) * weight.row(o)[j];
    float* to = y + o * LANES;
    store<float>(to, add ? even + odd + load(to) : even + odd);
  }
}

// How the rows of a batch stand in memory.
struct Few {
  int64_t batch;

  bool in_panels() const { return batch > MOST_ROWS; }
  int64_t panels() const { return (batch + LANES - 1) / LANES; }
  // Room for `size` numbers of each row.
  int64_t room(int64_t size) const { return (in_panels() ? panels() * LANES : batch) * size; }
  // Where number c of row b lies among `size` numbers a row.
  int64_t at(int64_t b, int64_t c, int64_t size) const {
    return in_panels() ? (b / LANES * size + c) * LANES + b % LANES : b * size + c;
  }

  // Calls with the place and the lanes of each vector of the numbers [begin, end) of every row.
  template <class F>
  void each_vector(int64_t begin, int64_t end, int64_t size, F&& call) const {
    if (in_panels())
      for (int64_t p = 0; p < panels(); ++p)
        for (int64_t c = begin; c < end; ++c) call((p * size + c) * LANES, std::integral_constant<int, LANES>{});
    else
      for (int64_t b = 0; b < batch; ++b)
        each_block<float>(begin, end, [&](int64_t c, auto lanes) { call(b * size + c, lanes); });
  }

  // y (o) = or += weight (o k) x for outputs [begin, end); a row has `size_x` and `size_y` numbers, of which x and y
  // point to the first that matters.
  void project(Matrix weight, const float* x, int64_t size_x, int64_t k, float* y, int64_t size_y, int64_t begin,
               int64_t end, bool add = false) const {
    if (in_panels())
      for (int64_t p = 0; p < panels(); ++p)
        columns(weight, x + p * size_x * LANES, k, y + p * size_y * LANES, begin, end, add);
    else if (batch == 1) dots<1>(weight, x, size_x, k, y, size_y, begin, end, add);
    else if (batch == 2) dots<2>(weight, x, size_x, k, y, size_y, begin, end, add);
    else if (batch == 4) dots<4>(weight, x, size_x, k, y, size_y, begin, end, add);
    else {
      dots<2>(weight, x, size_x, k, y, size_y, begin, end, add);
      dots<1>(weight, x + 2 * size_x, size_x, k, y + 2 * size_y, size_y, begin, end, add);
    }
  }

  // y (d) = x / rms(x) * weight (d).
  void rms_norm(const float* x, const float* weight, int64_t d, double eps, float* y) const {
    if (in_panels())
      for (int64_t p = 0; p < panels(); ++p) {
        const float* in = x + p * d * LANES;
        float* out = y + p * d * LANES;
        Vec<float> squares[2] = {};
        for (int64_t i = 0; i < d; ++i) squares[i % 2] += load(in + i * LANES) * load(in + i * LANES);
        Vec<float> scale = (squares[0] + squares[1]) / float(d) + float(eps);
        for (int lane = 0; lane < LANES; ++lane) scale[lane] = 1.0f / std::sqrt(scale[lane]);
        for (int64_t i = 0; i < d; ++i) store<float>(out + i * LANES, load(in + i * LANES) * scale * weight[i]);
      }
    else
      for (int64_t b = 0; b < batch; ++b) {
        const float* in = x + b * d;
        Vec<float> squares{};
        each_block<float>(0, d, [&](int64_t i, auto lanes) {
          const Vec<float> v = load<float>(in + i, lanes);
          squares += v * v;
        });
        const float scale = 1.0f / std::sqrt(sum<float>(squares) / float(d) + float(eps));
        each_block<float>(0, d, [&](int64_t i, auto lanes) {
          store<float>(y + b * d + i, load<float>(in + i, lanes) * scale * load<float>(weight + i, lanes), lanes);
        });
      }
  }

  // From (b d) and back to it; lanes without a row are 0.
  void take(const float* rows, int64_t d, float* x) const {
    if (in_panels() && batch % LANES) std::memset(x + (panels() - 1) * d * LANES, 0, d * LANES * sizeof(float));
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t i = 0; i < d; ++i) x[at(b, i, d)] = rows[b * d + i];
  }
  void give(const float* x, int64_t d, float* rows) const {
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t i = 0; i < d; ++i) rows[b * d + i] = x[at(b, i, d)];
  }
};

}  // namespace native
