// The custom call of an optimizer's step; see optimizer.h.
#include "optimizer.h"
#include "threads.h"

namespace lstm_lab {
namespace {

// Elements below which a second thread costs more than it saves.
constexpr int64_t kFew = 1 << 17;

// Arguments: numbers [7], gradients, weights, first moments, second moments, of each algorithm those
// that it has. Results: weights and moments, which lie where the arguments do, and the norms [3].
ffi::Error optimizer_call(ffi::ThreadPool pool, int32_t device, int32_t algorithm, bool clips,
                          bool decoupled, float beta1, float beta2, float rest1, float rest2,
                          float eps, ffi::Buffer<ffi::F32> numbers, ffi::RemainingArgs args,
                          ffi::RemainingRets results) {
  const Call call(device);
  const float* x = numbers.typed_data();
  const Rule rule{static_cast<Algorithm>(algorithm), clips, decoupled, beta1, beta2, rest1, rest2,
                  eps, x[0], x[1], x[2], x[3], x[4], x[5], x[6]};
  const bool has_first = rule.algorithm != Algorithm::kRmsprop;
  const bool has_second = rule.algorithm == Algorithm::kRmsprop || rule.algorithm == Algorithm::kAdam;
  const size_t count = args.size() / (2 + has_first + has_second);
  const auto result = [&](size_t k) {
    return (*results.get<ffi::Buffer<ffi::F32>>(k))->typed_data();
  };
  std::vector<Parameter> parameters;
  int64_t elements = 0;
  for (size_t k = 0; k < count; ++k) {
    const auto gradient = *args.get<ffi::Buffer<ffi::F32>>(k);
    elements += gradient.element_count();
    parameters.push_back({static_cast<int64_t>(gradient.element_count()), gradient.typed_data(),
                          result(k), has_first ? result(count + k) : nullptr,
                          has_second ? result(count * (1 + has_first) + k) : nullptr});
  }
  Optimizer optimizer(rule, std::move(parameters));
  const auto run = [&](const auto& task) {
    if (elements >= kFew) return parallel(pool, optimizer.tasks(), task);
    for (int k = 0; k < optimizer.tasks(); ++k) task(k);
  };
  if (clips) {
    run([&](int k) { optimizer.measure(k); });
    optimizer.clip();
  }
  run([&](int k) { optimizer.update(k); });
  const auto [gradient, update, weights] = optimizer.norms();
  float* norms = result(results.size() - 1);
  norms[0] = gradient;
  norms[1] = update;
  norms[2] = weights;
  return ffi::Error::Success();
}

}  // namespace
}  // namespace lstm_lab

#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(LstmLabOptimizer, lstm_lab::optimizer_call,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Ctx<ffi::DeviceOrdinal>()
                                  .Attr<int32_t>("algorithm")
                                  .Attr<bool>("clips")
                                  .Attr<bool>("decoupled")
                                  .Attr<float>("beta1")
                                  .Attr<float>("beta2")
                                  .Attr<float>("rest1")
                                  .Attr<float>("rest2")
                                  .Attr<float>("eps")
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .RemainingArgs()
                                  .RemainingRets());
#pragma GCC visibility pop
