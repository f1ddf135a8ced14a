// A matrix copied as its transpose, tile by tile in registers.
//
// Shapes: r rows, c columns, w lanes of a vector.
#pragma once

#include <algorithm>

#include "simd.h"

namespace native {

constexpr int TURNED_ROWS = 64;  // of one task: every row of the result gets whole lines of the cache from it

// Lanes whose number has bit S change places between two vectors that are S apart.
template <class T, int S, int... I>
inline void exchange(Vec<T>& a, Vec<T>& b, std::integer_sequence<int, I...>) {
  constexpr int W = Simd<T>::W;
  const Vec<T> first = shuffled<T, (I & S ? W + I - S : I)...>(a, b);
  b = shuffled<T, (I & S ? W + I : I + S)...>(a, b);
  a = first;
}

// The transpose of a tile (w w) in place.
template <class T, int S = Simd<T>::W / 2>
inline void turn(Vec<T>* tile) {
#pragma GCC unroll 16
  for (int i = 0; i < Simd<T>::W; ++i)
    if (!(i & S)) exchange<T, S>(tile[i], tile[i + S], std::make_integer_sequence<int, Simd<T>::W>{});
  if constexpr (S > 1) turn<T, S / 2>(tile);
}

// x (r c), its rows `stride` apart -> y (c r), for the rows of one task.
template <class T>
void transpose(const T* x, int64_t stride, T* y, int64_t rows, int64_t columns, int64_t task) {
  constexpr int W = Simd<T>::W;
  const int64_t begin = task * TURNED_ROWS, end = std::min(rows, begin + TURNED_ROWS);
  for (int64_t c = 0; c < columns; c += W)
    for (int64_t r = begin; r < end; r += W) {
      Vec<T> tile[W];
      if (r + W <= end && c + W <= columns) {
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) tile[i] = load(x + (r + i) * stride + c);
        turn<T>(tile);
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) store<T>(y + (c + i) * rows + r, tile[i]);
        continue;
      }
      const int high = std::min<int64_t>(W, end - r), wide = std::min<int64_t>(W, columns - c);
      for (int i = 0; i < W; ++i) tile[i] = i < high ? load<T>(x + (r + i) * stride + c, wide) : Vec<T>{};
      turn<T>(tile);
      for (int i = 0; i < wide; ++i) store<T>(y + (c + i) * rows + r, tile[i], high);
    }
}

}  // namespace native
