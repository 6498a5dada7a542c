// The custom calls that XLA makes: one layer forward, one layer backward, for the variants whose
// gates with weights are LSTM_LAB_GATES, as the bits of `Gates` in layer.h.
#include <atomic>
#include <cmath>
#include <functional>
#include <memory>
#include <thread>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "backward.h"
#include "forward.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace lstm_lab {
namespace {

using Floats = ffi::Buffer<ffi::F32>;
using Result = ffi::ResultBuffer<ffi::F32>;

thread_local Scratch scratch;

std::atomic<int> calls{0};  // under way in this process

struct Call {
  Call() { ++calls; }
  ~Call() { --calls; }
};

// Runs task(0..n-1) on the calling thread and on the pool's, as far as other calls leave them free.
// The caller takes whatever no other thread has begun: a busy pool costs time, never a deadlock.
template <typename Task>
void parallel(ffi::ThreadPool& pool, int n, const Task& task) {
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
  const int threads = std::max<int>(1, pool.num_threads() / std::max(1, calls.load()));
  for (int k = 1; k < std::min(threads, n); ++k) pool.Schedule(std::function<void()>(work));
  work();
  for (int spins = 0; shared->done.load(std::memory_order_acquire) < n; ++spins)
    if (spins > 1000) std::this_thread::yield();
}

// Asks for huge pages under a large buffer that is about to be written: XLA's are fresh at every
// call, and small pages would cost more than the arithmetic.
void expect_write(const float* p, size_t floats) {
#if defined(__linux__)
  constexpr uintptr_t kHuge = uintptr_t{1} << 21;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(p) + kHuge - 1) / kHuge * kHuge;
  const uintptr_t last = reinterpret_cast<uintptr_t>(p + floats) / kHuge * kHuge;
  if (p != nullptr && last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

void expect_write(Result& buffer) {
  expect_write(buffer->typed_data(), buffer->element_count());
}

Layer layer_of(ffi::Dictionary attrs, const Floats& x, const Floats& wx, const Floats& wr,
               const Floats& b, const Floats& peephole, const Floats& s0, const Floats& c0,
               const ffi::Buffer<ffi::S32>& lengths, const ffi::Buffer<ffi::U8>& resets) {
  Layer y;
  const auto shape = x.dimensions();
  y.T = shape[0], y.B = shape[1], y.D = shape[2];
  y.R = wr.dimensions()[0], y.G = wr.dimensions()[1], y.H = wr.dimensions()[2];
  y.reverse = *attrs.get<bool>("reverse");
  y.coupled = *attrs.get<bool>("coupled");
  y.offset = *attrs.get<float>("offset");
  y.grown = std::exp(y.offset);
  y.peepholes = *attrs.get<bool>("peepholes");
  y.candidate = *attrs.get<int32_t>("candidate");
  y.output = *attrs.get<int32_t>("output");
  y.x = x.typed_data(), y.wx = wx.typed_data(), y.wr = wr.typed_data(), y.b = b.typed_data();
  y.peephole = peephole.typed_data(), y.s0 = s0.typed_data(), y.c0 = c0.typed_data();
  y.lengths = lengths.typed_data();
  y.longest = longest(y.lengths, y.B, y.T);
  y.resets = resets.element_count() ? resets.typed_data() : nullptr;
  return y;
}

template <int M>
void forward(ffi::ThreadPool& pool, const Layer& y, const ForwardOut& out) {
  using Pass = Forward<M>;
  constexpr int W = Pass::W;
  const int U = y.blocks(), parts = y.parts();
  const size_t each = Pass::scratch(y);
  scratch.begin(size_t(U) * W * (y.D + y.R + 1) + 3 * rounded(y.H) + parts * (each + 16) + 64);
  float* wx = scratch.take(size_t(U) * W * y.D);
  float* wr = scratch.take(size_t(U) * W * y.R);
  float* b = scratch.take(size_t(U) * W);
  float* peephole = scratch.take(3 * rounded(y.H));
  std::vector<float*> memory;
  for (int k = 0; k < parts; ++k) memory.push_back(scratch.take(each));
  parallel(pool, U, [&](int u) {
    pack_block(y.wx, y.D, y.G, y.H, u, wx + size_t(u) * W * y.D);
    pack_block(y.wr, y.R, y.G, y.H, u, wr + size_t(u) * W * y.R);
    pack_block(y.b, 1, y.G, y.H, u, b + size_t(u) * W);
    for (int k = 0; k < 3; ++k)
      store(peephole + k * rounded(y.H) + u * kLanes,
            load(y.peephole + k * y.H + u * kLanes, y.lanes(u)));
  });
  const ForwardPanels panels{wx, wr, b, peephole};
  parallel(pool, parts, [&](int k) {
    Pass(y, panels, out, share(y.B, parts, k), memory[k]).run();
  });
}

template <int M>
void backward(ffi::ThreadPool& pool, const Layer& y, const BackwardIn& in, const BackwardOut& out,
              const Gradients& gradients) {
  using Pass = Backward<M>;
  constexpr int W = Pass::W, wide = 4 * kLanes;
  const int U = y.blocks(), parts = y.parts();
  const size_t each = Pass::scratch(y);
  const int rows = U * W, R = rounded(y.R), D = out.dx == nullptr ? 0 : rounded(y.D);
  scratch.begin(size_t(rows) * (R + D) + 3 * rounded(y.H) + parts * (each + 16) + 64);
  float* wr = scratch.take(size_t(rows) * R);
  float* wx = scratch.take(size_t(rows) * D);
  float* peephole = scratch.take(3 * rounded(y.H));
  std::vector<float*> memory;
  for (int k = 0; k < parts; ++k) memory.push_back(scratch.take(each));
  auto group = [&](const float* w, int N, int first, float* to) {
    const int C = std::min(wide, rounded(N) - first) / kLanes;
    pack_transposed(w, N, y.G, y.H, first, C, to + size_t(first) * rows);
  };
  const int groups = (R + wide - 1) / wide;
  parallel(pool, groups + (D + wide - 1) / wide + 1, [&](int k) {
    if (k == 0)
      for (int p = 0; p < 3; ++p)
        for (int u = 0; u < U; ++u)
          store(peephole + p * rounded(y.H) + u * kLanes,
                load(y.peephole + p * y.H + u * kLanes, y.lanes(u)));
    else if (k <= groups) group(y.wr, y.R, (k - 1) * wide, wr);
    else group(y.wx, y.D, (k - 1 - groups) * wide, wx);
  });
  const BackwardPanels panels{wr, wx, peephole};
  std::vector<Pass> passes;
  for (int k = 0; k < parts; ++k)
    passes.emplace_back(y, panels, in, out, share(y.B, parts, k), memory[k]).begin();
  const int last = y.chunks() - 1;
  for (int chunk = last; chunk >= 0; --chunk) {
    parallel(pool, parts, [&](int k) { passes[k].chunk(chunk); });
    parallel(pool, U, [&](int u) {
      Weights<M>{y, passes, gradients, u, chunk < last}.run();
    });
  }
  for (Pass& pass : passes) pass.end();
  for (int k = 0; k < 3 * y.H; ++k) {
    float sum = 0;
    for (Pass& pass : passes) sum += pass.peephole_sums()[k / y.H * rounded(y.H) + k % y.H];
    gradients.dpeephole[k] = sum;
  }
}

float* kept(Result& buffer) { return buffer->element_count() ? buffer->typed_data() : nullptr; }

ffi::Error forward_call(ffi::ThreadPool pool, ffi::Dictionary attrs, Floats x, Floats wx, Floats wr,
                        Floats b, Floats peephole, Floats s0, Floats c0,
                        ffi::Buffer<ffi::S32> lengths, ffi::Buffer<ffi::U8> resets, Result h,
                        Result s_final, Result c_final, Result gates, Result c) {
  const Layer y = layer_of(attrs, x, wx, wr, b, peephole, s0, c0, lengths, resets);
  const ForwardOut out{h->typed_data(), s_final->typed_data(), c_final->typed_data(), kept(gates),
                       kept(c)};
  for (Result* result : {&h, &gates, &c}) expect_write(*result);
  const Call call;
  forward<LSTM_LAB_GATES>(pool, y, out);
  return ffi::Error::Success();
}

ffi::Error backward_call(ffi::ThreadPool pool, ffi::Dictionary attrs, Floats x, Floats wx, Floats wr,
                         Floats b, Floats peephole, Floats s0, Floats c0,
                         ffi::Buffer<ffi::S32> lengths, ffi::Buffer<ffi::U8> resets, Floats h,
                         Floats gates, Floats c, Floats dh, Floats ds_final, Floats dc_final,
                         Result dx, Result dwx, Result dwr, Result db, Result dpeephole, Result ds0,
                         Result dc0) {
  const Layer y = layer_of(attrs, x, wx, wr, b, peephole, s0, c0, lengths, resets);
  const BackwardIn in{h.typed_data(),  gates.typed_data(),    c.typed_data(),
                      dh.typed_data(), ds_final.typed_data(), dc_final.typed_data()};
  const BackwardOut out{kept(dx), ds0->typed_data(), dc0->typed_data()};
  const Gradients gradients{dwx->typed_data(), dwr->typed_data(), db->typed_data(),
                            dpeephole->typed_data()};
  for (Result* result : {&dx, &dwx, &dwr}) expect_write(*result);
  const Call call;
  backward<LSTM_LAB_GATES>(pool, y, in, out, gradients);
  return ffi::Error::Success();
}

}  // namespace
}  // namespace lstm_lab

#define LAYER_ARGUMENTS(binding)                                                             \
  binding.Arg<lstm_lab::Floats>().Arg<lstm_lab::Floats>().Arg<lstm_lab::Floats>()            \
      .Arg<lstm_lab::Floats>().Arg<lstm_lab::Floats>().Arg<lstm_lab::Floats>()               \
      .Arg<lstm_lab::Floats>().Arg<ffi::Buffer<ffi::S32>>().Arg<ffi::Buffer<ffi::U8>>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    LstmLabForward, lstm_lab::forward_call,
    LAYER_ARGUMENTS(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Attrs())
        .Ret<lstm_lab::Floats>().Ret<lstm_lab::Floats>().Ret<lstm_lab::Floats>()
        .Ret<lstm_lab::Floats>().Ret<lstm_lab::Floats>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    LstmLabBackward, lstm_lab::backward_call,
    LAYER_ARGUMENTS(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Attrs())
        .Arg<lstm_lab::Floats>().Arg<lstm_lab::Floats>().Arg<lstm_lab::Floats>()
        .Arg<lstm_lab::Floats>().Arg<lstm_lab::Floats>().Arg<lstm_lab::Floats>()
        .Ret<lstm_lab::Floats>().Ret<lstm_lab::Floats>().Ret<lstm_lab::Floats>()
        .Ret<lstm_lab::Floats>().Ret<lstm_lab::Floats>().Ret<lstm_lab::Floats>()
        .Ret<lstm_lab::Floats>());
