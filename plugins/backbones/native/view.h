// How operators see a tensor, and how its work is shared among threads.
//
// Shapes: b batch, l length, x the last dimension.
#pragma once

#include <cstdint>

namespace native {

// A (b l x) view whose last dimension is dense.
template <class S>
struct View {
  S* data = nullptr;
  int64_t row = 0, step = 0;
  S* at(int64_t b, int64_t t) const { return data + b * row + t * step; }
};

// How many groups to make of the blocks of each row, so that every thread has about as much to do.
inline int64_t split(int64_t batch, int64_t blocks, int64_t threads) {
  int64_t groups = 1;
  while (groups < blocks && batch * groups < 4 * threads && batch * groups % threads) ++groups;
  return groups;
}

}  // namespace native
