// What a pass over one layer reads: shapes, the variant as data, and packed weights.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "product.h"

namespace lstm_lab {

enum Activation : int32_t { kTanh = 0, kIdentity = 1, kSigmoid = 2, kRelu = 3 };

inline Vec activate(int32_t kind, Vec z) {
  switch (kind) {
    case kTanh: return tanh(z);
    case kSigmoid: return sigmoid(z);
    case kRelu: return select(z > 0.0f, z, Vec{});
    default: return z;
  }
}

// The derivative, from the value.
inline Vec slope(int32_t kind, Vec value) {
  switch (kind) {
    case kTanh: return 1.0f - value * value;
    case kSigmoid: return value * (1.0f - value);
    case kRelu: return select(value > 0.0f, Vec{} + 1.0f, Vec{});
    default: return Vec{} + 1.0f;
  }
}

// Which gates have weights, as bits; their order in memory is i, f, o, g. The GRU is a cell of its own
// with r, z, a, n, where a = h' Un + bn is inside the reset, and n = tanh(x Wn + b + r a) outside: a
// has no weights for x and n none for h.
enum Gates : int { kInput = 1, kForget = 2, kOutput = 4, kGru = 8 };

template <int M>
struct Order {
  static constexpr bool i = M & kInput, f = M & kForget, o = M & kOutput;
  static constexpr int at_i = 0, at_f = i, at_o = i + f, at_g = i + f + o, G = at_g + 1;
};

template <>
struct Order<kGru> {
  static constexpr int at_r = 0, at_z = 1, at_a = 2, at_n = 3, G = 4;
};

constexpr int kChunk = 256, kPart = 16;

struct Layer {
  int T, B, D, H, R, G;  // R: width of what the recurrent matrix reads, H or [h, i, f, o]
  int longest;           // no row has a real step from here on, and none is computed
  bool reverse, coupled;
  bool peepholes;
  float offset, grown;  // of a coupled gate, 1 - sigmoid(z - offset), and exp(offset)
  int32_t candidate, output;
  const float *x, *wx, *wr, *b, *peephole;  // [T,B,D] [D,G,H] [R,G,H] [G,H] [3,H]
  const float *s0, *c0;                     // [B,R] [B,H]
  const int32_t* lengths;                   // [B]
  const uint8_t* resets;  // [T,B]: the state is zero before the step, in processing order; or null

  int blocks() const { return rounded(H) / kLanes; }
  int lanes(int u) const { return std::min(kLanes, H - u * kLanes); }
  bool real(int t, int b) const { return t < lengths[b]; }
  bool reset(int t, int b) const { return resets != nullptr && resets[int64_t{t} * B + b] != 0; }
  // Parts of the batch go through time on their own. How many depends on the shape alone, so that a
  // result's bits do not depend on how many threads there were.
  int parts() const { return std::max((B + kPart - 1) / kPart, B >= 8 ? 2 : 1); }
  int rows_each() const { return (B + parts() - 1) / parts(); }

  // Steps of a chunk of time: so many that each part's rows fill kChunk rows of a product.
  int steps() const { return std::max(1, std::min(T, kChunk / rows_each())); }
  int chunks() const { return std::max(1, (longest + steps() - 1) / steps()); }

  int64_t at(int t, int b) const { return int64_t{t} * B + b; }
};

inline int longest(const int32_t* lengths, int B, int T) {
  return B ? std::min(T, *std::max_element(lengths, lengths + B)) : 0;
}

// Memory that a thread keeps from call to call: fresh pages cost more than the arithmetic.
class Scratch {
 public:
  void begin(size_t floats) {
    floats += 64 * 64;
    if (floats > size_) {
      size_ = floats;
      memory_.reset(new float[size_]);
    }
    used_ = (64 - reinterpret_cast<uintptr_t>(memory_.get()) % 64) % 64 / sizeof(float);
  }
  float* take(size_t floats) {
    float* p = memory_.get() + used_;
    used_ += (floats + 15) / 16 * 16;
    return p;
  }

 private:
  std::unique_ptr<float[]> memory_;
  size_t size_ = 0, used_ = 0;
};

// Rows [first, last) of the batch, which one thread carries through all of time.
struct Rows {
  int first, last;
  int count() const { return last - first; }
};

inline Rows share(int n, int parts, int k) { return {n * k / parts, n * (k + 1) / parts}; }

// Packs w [K,G,H] into one panel [K][G * kLanes] for each block of units; zeros fill the last.
inline void pack_block(const float* w, int K, int G, int H, int u, float* panel) {
  const int n = std::min(kLanes, H - u * kLanes);
  for (int64_t row = 0; row < int64_t{K} * G; ++row)
    store(panel + row * kLanes, load(w + row * H + u * kLanes, n));
}

// Packs the transpose of w [N,G,H]: for each group of C vectors of columns n, a panel whose rows run
// over blocks of units, gates and lanes, as the gradients of the pre-activations lie.
inline void pack_transposed(const float* w, int N, int G, int H, int first, int C, float* panel) {
  const int U = rounded(H) / kLanes, width = C * kLanes;
  for (int c = 0; c < C; ++c)
    for (int g = 0; g < G; ++g)
      for (int u = 0; u < U; ++u)
        for (int j = 0; j < kLanes; ++j) {
          const int n = first + c * kLanes + j;
          const float* from = w + (int64_t{n} * G + g) * H + u * kLanes;
          const Vec v = n < N ? load(from, H - u * kLanes) : Vec{};
          float* to = panel + (int64_t{u} * G + g) * kLanes * width + c * kLanes + j;
          for (int lane = 0; lane < kLanes; ++lane) to[lane * width] = v[lane];
        }
}

}  // namespace lstm_lab
