// Threads of PyTorch's pool that walk through one computation together and meet in between.
//
// One start for all of a token's parts, and meetings that wait awake for a while: putting threads to sleep and waking
// them would cost more than a part takes.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <thread>

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__SSE__)
#include <immintrin.h>
#endif

namespace native {

class Meeting {
 public:
  // Everything that any of `count` threads did before is seen by all of them after.
  void attend(int64_t count) {
    if (count == 1) return;
    const int64_t round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int64_t looks = 0; round_.load(std::memory_order_acquire) == round; ++looks) {
      if (looks > PATIENCE) std::this_thread::yield();  // the others may be waiting for this core
#if defined(__SSE__)
      else _mm_pause();
#endif
    }
  }

 private:
  static constexpr int64_t PATIENCE = 2000;  // looks, some tens of microseconds
  alignas(64) std::atomic<int64_t> arrived_{0};
  alignas(64) std::atomic<int64_t> round_{0};
};

// One thread's view of the team.
struct Member {
  int64_t index, count;
  Meeting& meeting;

  void meet() const { meeting.attend(count); }

  // Calls with this member's share of [0, total), cut at multiples of `grain`.
  template <class F>
  void share(int64_t total, int64_t grain, F&& call) const {
    const int64_t grains = (total + grain - 1) / grain;
    const int64_t begin = grains * index / count * grain;
    const int64_t end = std::min(total, grains * (index + 1) / count * grain);
    if (begin < end) call(begin, end);
  }
};

// Calls `walk(member)` on as many threads as `work` multiplications and additions are worth. It must not throw.
template <class F>
inline void team(int64_t work, const F& walk) {
  constexpr int64_t WORTH_IT = 1 << 19;  // for each thread
  const int64_t most = at::in_parallel_region() ? 1 : at::get_num_threads();
  [[maybe_unused]] const int64_t threads = std::clamp<int64_t>(work / WORTH_IT, 1, most);
  Meeting meeting;
#if defined(_OPENMP)
  if (threads > 1) {
#pragma omp parallel num_threads(threads)
    walk(Member{omp_get_thread_num(), omp_get_num_threads(), meeting});
    return;
  }
#endif
  walk(Member{0, 1, meeting});
}

}  // namespace native
