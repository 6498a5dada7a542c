// The custom call of a head with many classes; see head.h.
#include "head.h"
#include "threads.h"

namespace lstm_lab {
namespace {

thread_local Scratch scratch;   // of the calling thread
thread_local Scratch own_panel;  // of each thread of the pool

template <typename T>
T* data(ffi::Result<ffi::AnyBuffer>& buffer) {
  return buffer->element_count() ? static_cast<T*>(buffer->untyped_data()) : nullptr;
}

float* panel_of(const Head& y) {
  own_panel.begin();
  return own_panel.take(size_t(std::max(y.E, kGroup)) * kGroup);
}

void run(ffi::ThreadPool& pool, HeadPart& part, const Head& y) {
  parallel(pool, y.groups(), [&](int q) { part.logits_of(q, panel_of(y)); });
  const int blocks = (part.n + kLanes - 1) / kLanes;
  parallel(pool, blocks, [&](int k) { part.combine(k * kLanes); });
  if (y.d_features == nullptr) return;
  parallel(pool, (y.E + kRows - 1) / kRows, [&](int k) { part.pack_features(k); });
  parallel(pool, y.slots(), [&](int s) { part.gradients_of(s, panel_of(y)); });
  parallel(pool, blocks, [&](int k) {
    for (int row = k * kLanes; row < std::min(part.n, (k + 1) * kLanes); ++row) part.sum_slots(row);
  });
}

ffi::Error head_call(ffi::ThreadPool pool, int32_t device, float smoothing,
                     ffi::Buffer<ffi::F32> features, ffi::Buffer<ffi::F32> kernel,
                     ffi::Buffer<ffi::F32> bias, ffi::Buffer<ffi::S32> y,
                     ffi::Buffer<ffi::F32> weight, ffi::Result<ffi::AnyBuffer> nll,
                     ffi::Result<ffi::AnyBuffer> mean_nll, ffi::Result<ffi::AnyBuffer> guess,
                     ffi::Result<ffi::AnyBuffer> d_features, ffi::Result<ffi::AnyBuffer> d_kernel,
                     ffi::Result<ffi::AnyBuffer> d_bias, ffi::Result<ffi::AnyBuffer> logits) {
  const Call call(device);
  const auto sizes = kernel.dimensions();
  const Head head{static_cast<int>(y.element_count()), static_cast<int>(sizes[0]),
                  static_cast<int>(sizes[1]), features.typed_data(), kernel.typed_data(),
                  bias.typed_data(), weight.typed_data(), y.typed_data(), smoothing,
                  data<float>(nll), data<float>(mean_nll), data<int32_t>(guess),
                  data<float>(d_features), data<float>(d_kernel), data<float>(d_bias)};
  const int rows = static_cast<int>(logits->dimensions()[0]);
  for (int first = 0; first < head.N; first += rows) {
    scratch.begin();
    HeadPart part(head, first, std::min(rows, head.N - first), data<float>(logits), scratch);
    run(pool, part, head);
  }
  return ffi::Error::Success();
}

}  // namespace
}  // namespace lstm_lab

#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(LstmLabHead, lstm_lab::head_call,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Ctx<ffi::DeviceOrdinal>()
                                  .Attr<float>("smoothing")
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>());
#pragma GCC visibility pop
