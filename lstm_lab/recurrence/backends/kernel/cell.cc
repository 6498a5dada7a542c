// The custom calls that XLA makes: one layer forward, one layer backward, for the cell whose
// generated text is the file LSTM_LAB_CELL.
#include <algorithm>
#include <array>
#include <limits>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "layer.h"
namespace lstm_lab {
#include LSTM_LAB_CELL
}  // namespace lstm_lab
#include "backward.h"
#include "forward.h"
#include "threads.h"

namespace lstm_lab {
namespace {

thread_local Scratch scratch;

// The arrays of a call, one after another.
class Arrays {
 public:
  Arrays(ffi::RemainingArgs& args, ffi::RemainingRets& rets) : args(args), rets(rets) {}

  bool is_valid = true;  // all inputs have the type and size that they are read with

  const float* in(int64_t size = -1) {
    return static_cast<const float*>(next(ffi::F32, size).untyped_data());
  }
  ffi::AnyBuffer next(ffi::DataType type, int64_t size = -1) {
    const ffi::AnyBuffer buffer = *args.get<ffi::AnyBuffer>(arg++);
    is_valid &= buffer.element_type() == type;
    is_valid &= size < 0 || static_cast<int64_t>(buffer.element_count()) == size;
    return buffer;
  }
  float* out_or_null() {
    const ffi::AnyBuffer buffer = result();
    return buffer.element_count() ? static_cast<float*>(buffer.untyped_data()) : nullptr;
  }
  int64_t next_size() { return (*rets.get<ffi::AnyBuffer>(ret))->element_count(); }
  float* out() { return static_cast<float*>(result().untyped_data()); }
  ffi::AnyBuffer result() {
    ffi::AnyBuffer buffer = **rets.get<ffi::AnyBuffer>(ret++);
    expect_write(buffer);
    return buffer;
  }

  // The length of a row of blocks, where `widths` has them from `first` to `last`.
  template <size_t N>
  static int64_t row(const std::array<Width, N>& widths, size_t first, size_t last,
                     const Sizes& n) {
    int64_t length = 0;
    for (size_t k = first; k < last; ++k) length += n[widths[k]];
    return length;
  }

  // The blocks of an array [T,B,...] or [B,...].
  template <typename T, size_t N>
  static void blocks(T* p, int64_t B, const std::array<Width, N>& widths, size_t first, size_t last,
                     const Sizes& n, std::vector<Block<T>>& to) {
    const int64_t length = row(widths, first, last, n);
    for (size_t k = first; k < last; ++k) {
      to.push_back({p, B * length, length});
      if (p != nullptr) p += n[widths[k]];
    }
  }

 private:
  // Asks for huge pages under a large buffer that is about to be written: XLA's are fresh at every
  // call, and small pages would cost more than the arithmetic.
  static void expect_write(const ffi::AnyBuffer& buffer) {
#if defined(__linux__)
    constexpr uintptr_t kHuge = uintptr_t{1} << 21;
    const uintptr_t from = reinterpret_cast<uintptr_t>(buffer.untyped_data());
    const uintptr_t first = (from + kHuge - 1) / kHuge * kHuge;
    const uintptr_t last = (from + buffer.size_bytes()) / kHuge * kHuge;
    if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
  }

  ffi::RemainingArgs& args;
  ffi::RemainingRets& rets;
  size_t arg = 0, ret = 0;
};

// What Python passes besides arrays: sizes, how many weights there are, and places in them.
struct Settings {
  const int64_t* values;
  const Place *forward, *backward, *vectors, *outers, *totals;
  std::vector<Place> places;

  explicit Settings(ffi::Dictionary& attrs) {
    const auto span = *attrs.get<ffi::Span<const int64_t>>("places");
    for (size_t k = 0; k + 4 <= span.size(); k += 4)
      places.push_back({static_cast<int>(span[k]), span[k + 1], span[k + 2], span[k + 3]});
    forward = places.data();
    backward = forward + Cell::kForwardTerms.size();
    vectors = backward + Cell::kBackwardTerms.size();
    outers = vectors + Cell::kVectors.size();
    totals = outers + Cell::kOuters.size();
  }
};

Layer layer_of(ffi::Dictionary& attrs, Arrays& arrays) {
  Layer y;
  y.reverse = *attrs.get<bool>("reverse");
  y.projects = *attrs.get<bool>("projects");
  const auto sizes = *attrs.get<ffi::Span<const int64_t>>("sizes");
  const ffi::AnyBuffer x = arrays.next(ffi::F32);
  y.x = static_cast<const float*>(x.untyped_data());
  y.T = x.dimensions()[0], y.B = x.dimensions()[1];
  y.n = {{int(sizes[0]), int(sizes[1]), 1, int(x.dimensions()[2])}};
  y.w = y.projects ? arrays.in() : nullptr;
  y.b = y.projects ? arrays.in() : nullptr;
  for (int64_t k = 0; k < sizes[2]; ++k) y.weights.push_back(arrays.in());
  size_t first = 0;
  for (int count : Cell::kFields) {
    const int64_t size = y.B * Arrays::row(Cell::kState, first, first + count, y.n);
    Arrays::blocks(arrays.in(size), 1, Cell::kState, first, first + count, y.n, y.s0);
    first += count;
  }
  std::vector<ffi::AnyBuffer> masks;
  for (int k = 0; k < Cell::kMasks; ++k) masks.push_back(arrays.next(ffi::F32));
  for (const Mask& mask : Cell::kNoise) {
    const auto shape = masks[mask.array].dimensions();
    int64_t row = 1;
    for (size_t k = 2; k < shape.size(); ++k) row *= shape[k];
    const auto* p = static_cast<const float*>(masks[mask.array].untyped_data());
    y.noise.push_back({p + mask.block * y.n[mask.width], shape[0] == 1 ? 0 : y.B * row, row});
  }
  y.lengths = static_cast<const int32_t*>(arrays.next(ffi::S32, y.B).untyped_data());
  const ffi::AnyBuffer resets = arrays.next(ffi::U8);
  y.resets = resets.element_count() ? static_cast<const uint8_t*>(resets.untyped_data()) : nullptr;
  y.longest = arrays.is_valid ? longest(y.lengths, y.B, y.T) : 0;
  return y;
}

// Bytes of another type would be other numbers, and a short array would be read past its end. Python
// checks what a user passes: this is the last defense.
ffi::Error wrong_input() {
  return ffi::Error::InvalidArgument("native: an input has another dtype or size than expected");
}

// Blocks of the arrays of the state, one array for each field.
std::vector<Block<float>> state_blocks(const Layer& y, Arrays& arrays) {
  std::vector<Block<float>> blocks;
  size_t first = 0;
  for (int count : Cell::kFields) {
    Arrays::blocks(arrays.out(), 1, Cell::kState, first, first + count, y.n, blocks);
    first += count;
  }
  return blocks;
}

// Whether the gradients of weights that products over a chunk give are all of an array, each once.
bool writes_all(const Layer& y, const Settings& settings, int array, int64_t size) {
  std::vector<int64_t> starts;
  for (size_t k = 0; k < Cell::kOuters.size(); ++k) {
    if (settings.outers[k].array != array) continue;
    starts.push_back(settings.outers[k].offset);
    const Outer& outer = Cell::kOuters[k];
    size -= int64_t{y.n[Cell::kSources[outer.source].width]} * y.n[Cell::kGradients[outer.gradient]];
  }
  std::sort(starts.begin(), starts.end());
  return size == 0 && std::adjacent_find(starts.begin(), starts.end()) == starts.end();
}

// Packs W [D,Z], and b below it: one panel for each group of each block of zx; or the transpose, one
// panel for each group of the inputs.
const float* pack_input(const Layer& y, ffi::ThreadPool& pool, bool transposed) {
  const Offsets<Cell::kZx.size()> at(Cell::kZx, y.n, false);
  const int D_ = y.n[D], Z = at.row();
  struct Panel {
    size_t k;
    int q;
    float* to;
  };
  std::vector<Panel> panels;
  size_t size = 0;
  if (transposed) {
    size_t depth = 0;
    for (size_t k = 0; k < Cell::kZx.size(); ++k)
      depth += Cell::kZxGradients[k] < 0 ? 0 : y.n[Cell::kZx[k]];
    size = depth * rounded(D_);
  } else {
    size = size_t(D_ + 1) * Offsets<Cell::kZx.size()>(Cell::kZx, y.n, true).row();
  }
  float* memory = scratch.take(size);
  float* p = memory;
  if (transposed) {
    for (int q = 0; q < y.n.groups(D); ++q)
      for (size_t k = 0; k < Cell::kZx.size(); ++k) {
        if (Cell::kZxGradients[k] < 0) continue;
        panels.push_back({k, q, p});
        p += size_t(y.n[Cell::kZx[k]]) * y.n.columns(D, q);
      }
  } else {
    for (size_t k = 0; k < Cell::kZx.size(); ++k)
      for (int q = 0; q < y.n.groups(Cell::kZx[k]); ++q) {
        panels.push_back({k, q, p});
        p += size_t(D_ + 1) * y.n.columns(Cell::kZx[k], q);
      }
  }
  parallel(pool, static_cast<int>(panels.size()), [&](int task) {
    const Panel& panel = panels[task];
    const Width width = Cell::kZx[panel.k];
    if (transposed) {
      pack(y.w + at.at[panel.k] + int64_t{panel.q} * kGroup * Z, 1, Z, y.n[width],
           D_ - panel.q * kGroup, y.n.columns(D, panel.q), panel.to);
      return;
    }
    const int first = at.at[panel.k] + panel.q * kGroup, columns = y.n.columns(width, panel.q);
    const int count = y.n[width] - panel.q * kGroup;
    pack(y.w + first, Z, 1, D_, count, columns, panel.to);
    pack(y.b + first, Z, 1, 1, count, columns, panel.to + size_t(D_) * columns);
  });
  return memory;
}

ffi::Error forward_call(ffi::ThreadPool pool, int32_t device, ffi::Dictionary attrs,
                        ffi::RemainingArgs args, ffi::RemainingRets rets) {
  const Call call(device);
  Arrays arrays(args, rets);
  const Settings settings(attrs);
  const Layer y = layer_of(attrs, arrays);
  ForwardOut out;
  Arrays::blocks(arrays.out(), y.B, Cell::kState, 0, Cell::kHidden, y.n, out.h);
  out.final = state_blocks(y, arrays);
  size_t first = 0;
  for (int count : Cell::kTracedArrays) {
    Arrays::blocks(arrays.out_or_null(), y.B, Cell::kTraced, first, first + count, y.n, out.traced);
    first += count;
  }
  out.saved = arrays.out_or_null();
  if (!arrays.is_valid) return wrong_input();

  scratch.begin();
  const ForwardWeights weights(y, Cell::kForwardProducts, Cell::kForwardTerms, scratch);
  parallel(pool, weights.tasks(y),
           [&](int k) { weights.run(y, settings.forward, settings.vectors, k); });
  const float* input = y.projects ? pack_input(y, pool, false) : nullptr;
  std::vector<Forward> passes;
  const int parts = y.parts();
  for (int k = 0; k < parts; ++k)
    passes.emplace_back(y, weights, input, out, Rows(y, k, parts), scratch);
  for (Forward& pass : passes) pass.hire(helpers(pool, call, parts), scratch);
  run_passes(pool, passes, [](Forward& pass) { pass.run(); });
  return ffi::Error::Success();
}

ffi::Error backward_call(ffi::ThreadPool pool, int32_t device, ffi::Dictionary attrs,
                         ffi::RemainingArgs args, ffi::RemainingRets rets) {
  const Call call(device);
  Arrays arrays(args, rets);
  const Settings settings(attrs);
  const Layer y = layer_of(attrs, arrays);
  BackwardIn in;
  Arrays::blocks(arrays.in(), y.B, Cell::kState, 0, Cell::kHidden, y.n, in.h);
  in.saved = arrays.in();
  Arrays::blocks(arrays.in(), y.B, Cell::kState, 0, Cell::kHidden, y.n, in.dh);
  size_t first = 0;
  for (int count : Cell::kFields) {
    Arrays::blocks(arrays.in(), 1, Cell::kState, first, first + count, y.n, in.d_final);
    first += count;
  }
  BackwardOut out;
  out.dx = arrays.out_or_null();
  auto sums = [&](bool are_written) {
    const ffi::AnyBuffer buffer = arrays.result();
    if (!are_written) std::memset(buffer.untyped_data(), 0, buffer.size_bytes());
    return static_cast<float*>(buffer.untyped_data());
  };
  out.writes_dw = y.longest > 0 && std::all_of(Cell::kZxGradients.begin(), Cell::kZxGradients.end(),
                                               [](int gradient) { return gradient >= 0; });
  out.dw = y.projects ? sums(out.writes_dw) : nullptr;
  out.db = y.projects ? sums(out.writes_dw) : nullptr;
  for (int k = 0; k < Cell::kSums; ++k) {
    out.writes_sums.push_back(y.longest > 0 && writes_all(y, settings, k, arrays.next_size()));
    out.sums.push_back(sums(out.writes_sums.back()));
  }
  out.ds0 = state_blocks(y, arrays);
  if (!arrays.is_valid) return wrong_input();

  scratch.begin();
  const BackwardWeights weights(y, Cell::kBackwardProducts, Cell::kBackwardTerms, scratch);
  parallel(pool, weights.tasks(y),
           [&](int k) { weights.run(y, settings.backward, settings.vectors, k); });
  const float* input = y.projects && out.dx != nullptr ? pack_input(y, pool, true) : nullptr;
  std::vector<Backward> passes;
  const int parts = y.parts();
  for (int k = 0; k < parts; ++k)
    passes.emplace_back(y, weights, input, in, out, Rows(y, k, parts), scratch);
  for (Backward& pass : passes) pass.hire(helpers(pool, call, parts), scratch), pass.begin_time();
  const WeightGradients gradients(y, passes, out, settings.outers);
  for (int chunk = y.longest ? y.chunks() - 1 : -1; chunk >= 0; --chunk) {
    run_passes(pool, passes, [&](Backward& pass) { pass.chunk(chunk); });
    const bool is_first = chunk == y.chunks() - 1;
    parallel(pool, gradients.tasks(), [&](int k) { gradients.run(k, is_first); });
  }
  for (Backward& pass : passes) pass.end_time();
  for (size_t k = 0; k < Cell::kTotals.size(); ++k) {
    float* to = out.sums[settings.totals[k].array] + settings.totals[k].offset;
    for (const Backward& pass : passes)
      for (int j = 0; j < y.n[Cell::kTotals[k]]; ++j) to[j] += pass.total_of(k)[j];
  }
  return ffi::Error::Success();
}

}  // namespace
}  // namespace lstm_lab

#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    LstmLabForward, lstm_lab::forward_call,
    ffi::Ffi::Bind()
        .Ctx<ffi::ThreadPool>()
        .Ctx<ffi::DeviceOrdinal>()
        .Attrs()
        .RemainingArgs()
        .RemainingRets());

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    LstmLabBackward, lstm_lab::backward_call,
    ffi::Ffi::Bind()
        .Ctx<ffi::ThreadPool>()
        .Ctx<ffi::DeviceOrdinal>()
        .Attrs()
        .RemainingArgs()
        .RemainingRets());
#pragma GCC visibility pop
