// Threads of PyTorch's pool that walk through one computation together and meet in between.
//
// One start for all of a token's parts: a meeting costs a fraction of what starting the pool again for each would.
#pragma once

#include <ATen/Parallel.h>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace native {

// One member's view of the team.
struct Member {
  int64_t index, count;

  // Everything that any member did before is seen by all of them after.
  void meet() const {
#if defined(_OPENMP)
    if (count > 1) {
#pragma omp barrier
    }
#endif
  }

  // Calls with this member's share of [0, total), cut at multiples of `grain`.
  template <class F>
  void share(int64_t total, int64_t grain, F&& call) const {
    const int64_t grains = (total + grain - 1) / grain;
    const int64_t begin = grains * index / count * grain;
    const int64_t end = std::min(total, grains * (index + 1) / count * grain);
    if (begin < end) call(begin, end);
  }
};

// Calls `walk(member)` on each of at most `most` threads. It must not throw.
template <class F>
inline void team(int64_t most, const F& walk) {
  const int64_t threads = at::in_parallel_region() ? 1 : std::min<int64_t>(most, at::get_num_threads());
#if defined(_OPENMP)
  if (threads > 1) {
#pragma omp parallel num_threads(threads)
    walk(Member{omp_get_thread_num(), omp_get_num_threads()});
    return;
  }
#endif
  walk(Member{0, 1});
}

}  // namespace native
