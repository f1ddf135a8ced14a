// Products of decays between the steps of a block, and gradients of their logarithms.
//
// They are multiplied up step by step, which needs no exponential a pair and loses nothing where sums of logarithms would.
// A piece's first step lets nothing through.
#pragma once

#include <cmath>

#include "tiles.h"

namespace native {

template <class T>
struct Decays {
  Buffer<T> keep{BLOCK * BLOCK};  // from step j to step i; 0 above the diagonal and over a start
  T into[BLOCK];                  // from before the block to each step
  double of_total[BLOCK];         // gradients of the sum of logarithms up to each step

  // From the logarithms of n steps, `stride` apart.
  void set(int64_t n, const T* logs, int64_t stride, const bool* starts) {
    T now[BLOCK] = {}, open = 1;
    for (int64_t i = 0; i < n; ++i) {
      const T decay = starts && starts[i] ? T(0) : std::exp(logs[i * stride]);
      for (int64_t j = 0; j < i; ++j) now[j] *= decay;
      now[i] = 1;
      std::copy_n(now, BLOCK, keep + i * BLOCK);
      into[i] = open *= decay;
      of_total[i] = 0;
    }
  }

  const T* out(int64_t n) { return keep + (n - 1) * BLOCK; }  // from each step to the last of n

  void put(int64_t n, const bool* starts, T* grad_logs, int64_t stride) const {
    double later = 0;
    for (int64_t i = n - 1; i >= 0; --i) {
      later = starts && starts[i] ? 0 : later + of_total[i];
      grad_logs[i * stride] = T(later);
    }
  }
};

}  // namespace native
