// How a call uses the threads of XLA's pool: tasks for all of them, and helpers for its passes.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "team.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace lstm_lab {

inline std::atomic<int> calls{0};  // under way, of this cell: each cell has a library of its own

// When each of JAX's devices last began or ended a layer of this cell, in milliseconds: members of a
// population run on several devices at once, and what one does between two layers needs a core, too.
constexpr int kDevices = 64;
constexpr int64_t kLately = 50;
inline std::array<std::atomic<int64_t>, kDevices> last_used{};

inline int64_t now() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

class Call {
 public:
  explicit Call(int32_t ordinal) : device(static_cast<uint32_t>(ordinal) % kDevices) {
    ++calls;
    last_used[device] = now();
  }
  ~Call() {
    last_used[device] = now();
    --calls;
  }
  // Whether no other device has run a layer lately.
  bool is_alone() const {
    const int64_t time = now();
    int active = 0;
    for (const auto& used : last_used) active += time - used < kLately;
    return calls.load() == 1 && active == 1;
  }

 private:
  const int device;
};

inline int free_threads(const ffi::ThreadPool& pool) {
  return std::max<int>(1, pool.num_threads() / std::max(1, calls.load()));
}

// Runs task(0..n-1) on the calling thread and on the pool's, as far as other calls leave them free.
// The caller takes whatever no other thread has begun: a busy pool costs time, never a deadlock.
// `others` are jobs without which the tasks end, too.
using Jobs = std::vector<std::function<void()>>;
template <typename Task>
void parallel(ffi::ThreadPool& pool, int n, const Task& task, const Jobs& others = {}) {
  struct Shared {
    std::atomic<int> next{0}, done{0};
  };
  auto shared = std::make_shared<Shared>();
  auto work = [shared, n, &task] {
    for (int k; (k = shared->next.fetch_add(1)) < n;) {
      task(k);
      shared->done.fetch_add(1, std::memory_order_release);
    }
  };
  for (int k = 1; k < std::min(free_threads(pool), n); ++k)
    pool.Schedule(std::function<void()>(work));
  for (const auto& job : others) pool.Schedule(std::function<void()>(job));
  work();
  wait_until([&] { return shared->done.load(std::memory_order_acquire) >= n; });
}

// Threads that each of `parts` passes can have besides its own.
inline int helpers(const ffi::ThreadPool& pool, const Call& call, int parts) {
  return call.is_alone() ? std::max(0, free_threads(pool) - parts) / parts : 0;
}

// Runs task(pass) for all passes at once, each with its helpers.
template <typename Self, typename Task>
void run_passes(ffi::ThreadPool& pool, std::vector<Self>& passes, const Task& task) {
  Jobs jobs;
  for (Self& pass : passes)
    if (const auto team = pass.gather())
      jobs.insert(jobs.end(), pass.helpers(), [team] { team->help(); });
  parallel(
      pool, static_cast<int>(passes.size()),
      [&](int k) {
        passes[k].lead();
        task(passes[k]);
        passes[k].dismiss();
      },
      jobs);
}

}  // namespace lstm_lab
