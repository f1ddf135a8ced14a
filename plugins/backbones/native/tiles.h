// Small dense matrices of one task: their products, room for them, and the heads that they are read from.
//
// Shapes: b batch, l length, h heads, c width of a head, w lanes of a vector.
#pragma once

#include <algorithm>
#include <cstring>

#include "simd.h"
#include "transpose.h"

namespace native {

// A (b l h c) view whose last dimension is dense.
template <class S>
struct HeadView {
  S* data = nullptr;
  int64_t row = 0, step = 0, head = 0;
  S* at(int64_t b, int64_t t, int64_t h) const { return data + b * row + t * step + h * head; }
};

// C (R, V vectors) = or += A B for `k` steps: A's rows are `row` apart and its steps `step`, B's rows `ldb`.
template <class T, int R, int V>
inline void tile(int64_t k, const T* A, int64_t row, int64_t step, const T* B, int64_t ldb, T* C, int64_t ldc,
                 bool add) {
  constexpr int W = Simd<T>::W;
  Vec<T> sums[R][V] = {};
  for (int64_t j = 0; j < k; ++j, A += step, B += ldb) {
    Vec<T> right[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) right[v] = load(B + v * W);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec<T> left = splat<T>(A[r * row]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[r][v] += left * right[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      T* to = C + r * ldc + v * W;
      store<T>(to, add ? sums[r][v] + load(to) : sums[r][v]);
    }
}

// C (m n) = or += A (m k) B (k n), n a multiple of a vector.
template <class T>
inline void multiply(int64_t m, int64_t n, int64_t k, const T* A, int64_t row, int64_t step, const T* B, int64_t ldb,
                     T* C, int64_t ldc, bool add) {
  constexpr int W = Simd<T>::W, R = 4, V = 4;
  for (int64_t j = 0; j < n;) {
    const bool wide = n - j >= V * W;
    int64_t i = 0;
    for (; i + R <= m; i += R)
      (wide ? tile<T, R, V> : tile<T, R, 1>)(k, A + i * row, row, step, B + j, ldb, C + i * ldc + j, ldc, add);
    for (; i < m; ++i)
      (wide ? tile<T, 1, V> : tile<T, 1, 1>)(k, A + i * row, row, step, B + j, ldb, C + i * ldc + j, ldc, add);
    j += wide ? V * W : W;
  }
}

template <class T>
class Buffer {  // of so many numbers, zeros at first
 public:
  explicit Buffer(int64_t size) : data_((size + Simd<T>::W - 1) / Simd<T>::W) {
    std::memset(static_cast<void*>(static_cast<Vec<T>*>(data_)), 0, (size + Simd<T>::W - 1) / Simd<T>::W * sizeof(Vec<T>));
  }
  operator T*() { return reinterpret_cast<T*>(static_cast<Vec<T>*>(data_)); }

 private:
  Scratch<T> data_;
};

template <class T>
inline int64_t padded(int64_t width) {
  return (width + Simd<T>::W - 1) / Simd<T>::W * Simd<T>::W;
}

constexpr int64_t BLOCK = 64;  // steps that are taken at once
constexpr int64_t BAND = 16;   // rows of a triangle that are multiplied at once, a multiple of any vector

// n steps of one head as rows (BLOCK wide), zeros in the gaps.
template <class T, class X>
inline void rows(const HeadView<X>& from, int64_t b, int64_t begin, int64_t n, int64_t h, int64_t width, int64_t wide, T* to) {
  for (int64_t t = 0; t < n; ++t, to += wide) {
    const auto* x = from.at(b, begin + t, h);
    each_block<T>(0, width, [&](int64_t i, auto lanes) { store<T>(to + i, load<T>(x + i, lanes)); });
  }
  std::fill_n(to, (BLOCK - n) * wide, T(0));
}

// The way back.
template <class T, class S>
inline void put(const T* from, int64_t wide, const HeadView<S>& to, int64_t b, int64_t begin, int64_t n, int64_t h, int64_t width) {
  for (int64_t t = 0; t < n; ++t, from += wide) {
    S* x = to.at(b, begin + t, h);
    each_block<T>(0, width, [&](int64_t i, auto lanes) { store<T>(x + i, load<T>(from + i, lanes), lanes); });
  }
}

// x (r c) dense -> its transpose (c r).
template <class T>
inline void flip(const T* x, int64_t rows, int64_t columns, T* to) {
  for (int64_t task = 0; task * TURNED_ROWS < rows; ++task) transpose<T>(x, columns, to, rows, columns, task);
}

// C (n c) = or += A B for a lower triangle A (n n) whose rows are BLOCK apart, and B (n c).
template <class T>
inline void lower(int64_t n, int64_t c, const T* A, const T* B, T* C, bool add) {
  for (int64_t i = 0; i < n; i += BAND)
    multiply<T>(std::min(BAND, n - i), c, std::min(n, i + BAND), A + i * BLOCK, BLOCK, 1, B, c, C + i * c, c, add);
}

// The same for the transpose of A.
template <class T>
inline void upper(int64_t n, int64_t c, const T* A, const T* B, T* C, bool add) {
  for (int64_t i = 0; i < n; i += BAND)
    multiply<T>(std::min(BAND, n - i), c, n - i, A + i * (BLOCK + 1), 1, BLOCK, B + i * c, c, C + i * c, c, add);
}

// The lower triangle (n n), its rows BLOCK apart, of A (n k) B (k BLOCK); what is above it, undefined.
template <class T>
inline void triangle(int64_t n, int64_t k, const T* A, const T* B, T* C) {
  for (int64_t i = 0; i < n; i += BAND)
    multiply<T>(std::min(BAND, n - i), i + BAND, k, A + i * k, k, 1, B, BLOCK, C + i * BLOCK, BLOCK, false);
}

// x (r c) dense <-> rows that are `wide` apart.
template <class T>
inline void spread(const T* x, int64_t rows, int64_t columns, T* to, int64_t wide) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(x + r * columns, columns, to + r * wide);
}
template <class T>
inline void gather(const T* x, int64_t wide, int64_t rows, int64_t columns, T* to) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(x + r * wide, columns, to + r * columns);
}

}  // namespace native
