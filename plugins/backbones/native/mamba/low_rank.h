// Products with few terms: y (t e) = a (t r) times w (r e). What a library writes and the caller reads again costs more
// than the arithmetic here, so y goes to whoever wants it while it is still in registers.
//
// Shapes: t steps, r terms, e channels, w lanes of a vector.
#pragma once

#include "simd.h"

namespace native {

constexpr int TALL = 8, BROAD = 2;  // steps and vectors of channels whose sums stand in registers

// One tile: STEPS steps and BLOCKS whole vectors, or one vector of `lanes`, from `channel` on.
template <class T, class S, int STEPS, int BLOCKS, class L, class F>
inline void low_rank_tile(const T* a, int64_t rank, int64_t t, const S* w, int64_t ld, int64_t channel, L lanes,
                          F&& take) {
  constexpr int W = Simd<T>::W;
  Vec<T> sums[STEPS * BLOCKS] = {};
  const T* row = a + t * rank;
  for (int64_t r = 0; r < rank; ++r) {
#pragma GCC unroll 2
    for (int j = 0; j < BLOCKS; ++j) {
      const Vec<T> weight = load<T>(w + r * ld + channel + j * W, lanes);
#pragma GCC unroll 8
      for (int i = 0; i < STEPS; ++i) sums[i * BLOCKS + j] += weight * row[i * rank + r];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < STEPS; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < BLOCKS; ++j) take(t + i, channel + j * W, lanes, sums[i * BLOCKS + j]);
}

// Calls with each step, each block's first channel, its lanes and the vector of y there, for `steps` steps and the
// channels [first, last): a dense, w with rows `ld` apart.
template <class T, class S, class F>
inline void low_rank(const T* a, int64_t rank, int64_t steps, const S* w, int64_t ld, int64_t first, int64_t last,
                     F&& take) {
  constexpr int W = Simd<T>::W;
  const auto row_of_tiles = [&](int64_t t, auto tall) {
    int64_t channel = first;
    constexpr std::integral_constant<int, W> whole;
    for (; channel + BROAD * W <= last; channel += BROAD * W)
      low_rank_tile<T, S, tall, BROAD>(a, rank, t, w, ld, channel, whole, take);
    each_block<T>(channel, last, [&](int64_t at, auto lanes) {
      low_rank_tile<T, S, tall, 1>(a, rank, t, w, ld, at, lanes, take);
    });
  };
  int64_t t = 0;
  for (; t + TALL <= steps; t += TALL) row_of_tiles(t, std::integral_constant<int, TALL>{});
  for (; t < steps; ++t) row_of_tiles(t, std::integral_constant<int, 1>{});
}

}  // namespace native
