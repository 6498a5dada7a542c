// Threads that share the units of one pass, where a batch has fewer rows than there are threads.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace lstm_lab {

// A wait of some ten microseconds before it gives the core away.
template <typename Done>
inline void wait_until(Done&& done) {
  for (int spins = 0; !done(); ++spins) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
    if (spins > 2000) std::this_thread::yield();
  }
}

inline int core_of_thread() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;  // unknown
#endif
}

// A leader and its helpers. Only who has come works: the leader never waits for a thread that the
// pool has not started, so that a busy pool costs time, never a deadlock.
class Team {
 public:
  static constexpr int kMost = 63;  // helpers

  // Runs task(member, first, last) for ranges that cover 0..n-1; member 0 is the caller.
  template <typename Task>
  void share(int n, const Task& task) {
    const int helpers = std::min(n - 1, std::min(kMost, joined.load(std::memory_order_acquire)));
    if (helpers <= 0) return task(0, 0, n);
    run = [](const void* p, int member, int members, int n) {
      (*static_cast<const Task*>(p))(member, n * member / members, n * (member + 1) / members);
    };
    what = &task, size = n, members = helpers + 1;
    busy.store(helpers, std::memory_order_relaxed);
    ++round;
    for (int k = 0; k < helpers; ++k) mail[k].round.store(round, std::memory_order_release);
    run(what, 0, members, n);
    wait_until([&] { return busy.load(std::memory_order_acquire) == 0; });
  }

  // Called by the leader's thread, once for each team.
  void lead() { core.store(core_of_thread()); }

  // What a helper does until the leader dismisses it.
  void help() {
    // A pool may run a job on the thread that schedules it, which is the leader.
    if (std::this_thread::get_id() == maker) return;
    // The system may start a thread on its waker's core and leave it there for milliseconds. One
    // that sleeps wakes on an idle core.
    for (int here; (here = core_of_thread()) >= 0 && here == core.load() && !closed.load();)
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    const int me = joined.fetch_add(1);
    if (me >= kMost || closed.load()) return;
    for (unsigned seen = 0;;) {
      unsigned now = seen;
      wait_until([&] { return (now = mail[me].round.load(std::memory_order_acquire)) != seen; });
      if (now == kClosed) return;
      seen = now;
      run(what, me + 1, members, size);
      busy.fetch_sub(1, std::memory_order_release);
    }
  }

  // Sends all helpers away, also those that come later.
  void dismiss() {
    closed.store(true);
    for (int k = 0; k < std::min(kMost, joined.load()); ++k) mail[k].round.store(kClosed);
  }

 private:
  static constexpr unsigned kClosed = ~0u;
  // A line of the cache each: a helper looks at its own only.
  struct alignas(64) Mail {
    std::atomic<unsigned> round{0};
  };

  const std::thread::id maker = std::this_thread::get_id();
  std::array<Mail, kMost> mail;
  alignas(64) std::atomic<int> joined{0};
  std::atomic<bool> closed{false};
  std::atomic<int> core{-1};  // the leader's
  alignas(64) std::atomic<int> busy{0};
  unsigned round = 0;
  void (*run)(const void*, int, int, int) = nullptr;
  const void* what = nullptr;
  int size = 0, members = 0;
};

}  // namespace lstm_lab
