// What a pass over one layer reads: sizes, arrays, and which rows of the batch are at work.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>
#include <vector>

#include "product.h"

namespace lstm_lab {

// The words of the generated text.
enum Width : int { H = 0, R = 1, ONE = 2, D = 3 };
enum Where : int { STATE, D_STATE, KEPT, GRADIENT };
struct Source {
  Where where;
  int block;
  Width width;
};
struct Product {
  Width width;
  int first, last;  // its terms
  int start;        // the block of zx that it starts from, or -1
};
struct Outer {
  int source, gradient;
};
struct Mask {
  int array, block;
  Width width;
};

struct Sizes {
  int of[4];
  int operator[](Width w) const { return of[w]; }
  int padded(Width w) const { return rounded(of[w]); }
  int vectors(Width w) const { return rounded(of[w]) / kLanes; }
  int groups(Width w) const { return (rounded(of[w]) + kGroup - 1) / kGroup; }
  // Columns of a group, padding included.
  int columns(Width w, int q) const { return std::min(kGroup, rounded(of[w]) - q * kGroup); }
};

// Where blocks of vectors lie in a row: offsets, and the length of the row last.
template <size_t N>
struct Offsets {
  int at[N + 1];
  Offsets(const std::array<Width, N>& widths, const Sizes& n, bool padded) {
    at[0] = 0;
    for (size_t k = 0; k < N; ++k)
      at[k + 1] = at[k] + (padded ? (n[widths[k]] + 15) / 16 * 16 : n[widths[k]]);
  }
  int row() const { return at[N]; }
};

// A block of an array [T,B,...] or [B,...]: element j of row b at time t is p[t * step + b * row + j].
template <typename T>
struct Block {
  T* p;
  int64_t step, row;
};

// The place of a matrix or vector in an array of weights.
struct Place {
  int array;
  int64_t offset, row, column;
};

constexpr int kChunk = 256, kPart = 16;

struct Layer {
  int T, B;
  int longest;  // no row has a real step from here on, and none is computed
  bool reverse;
  bool projects;  // x is the input [T,B,D], and zx = x W + b is computed here; else it is zx
  Sizes n;
  const float *x, *w, *b;  // [T,B,D] or [T,B,Z], [D,Z], [Z]
  std::vector<const float*> weights;
  std::vector<Block<const float>> s0;     // blocks of the initial state
  std::vector<Block<const float>> noise;  // blocks of the masks
  const int32_t* lengths;                 // [B]
  const uint8_t* resets;  // [T,B]: the state is zero before the step, in processing order; or null

  bool reset(int t, int b) const { return resets != nullptr && resets[at(t, b)] != 0; }
  int64_t at(int t, int b) const { return int64_t{t} * B + b; }

  // Parts of the batch go through time on their own. How many depends on the shape alone, so that a
  // result's bits do not depend on how many threads there were.
  int parts() const { return std::max((B + kPart - 1) / kPart, B >= 8 ? 2 : 1); }
  int rows_each() const { return std::max(1, (B + parts() - 1) / parts()); }  // also without rows

  // Steps of a chunk of time: so many that each part's rows fill kChunk rows of a product.
  int steps() const { return std::max(1, std::min(T, kChunk / rows_each())); }
  int chunks() const { return std::max(1, (longest + steps() - 1) / steps()); }
};

inline int longest(const int32_t* lengths, int B, int T) {
  return B ? std::min(T, *std::max_element(lengths, lengths + B)) : 0;
}

// The rows of one part, the longest first: those with a real step at a time are the first ones.
struct Rows {
  std::vector<int> rows, live;  // live: how many at each time

  Rows(const Layer& y, int part, int parts) {
    std::vector<int> order(y.B);
    std::iota(order.begin(), order.end(), 0);
    const bool equal = std::all_of(y.lengths, y.lengths + y.B,
                                   [&](int32_t length) { return length >= y.longest; });
    if (equal) {
      rows.assign(order.begin() + y.B * part / parts, order.begin() + y.B * (part + 1) / parts);
    } else {
      std::stable_sort(order.begin(), order.end(),
                       [&](int a, int b) { return y.lengths[a] > y.lengths[b]; });
      for (int k = part; k < y.B; k += parts) rows.push_back(order[k]);
    }
    live.assign(y.longest + 1, 0);
    for (int t = 0, n = count(); t < y.longest; ++t) {
      while (n > 0 && y.lengths[rows[n - 1]] <= t) --n;
      live[t] = n;
    }
    in_place = equal && parts == 1;
  }

  bool in_place;  // the rows of a chunk lie one after another in the arrays [T,B,...]
  int count() const { return static_cast<int>(rows.size()); }
};

// Memory that is kept from call to call: fresh pages cost more than the arithmetic. Where accesses
// are checked, every array lies by itself.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kPage = 0;
#else
constexpr size_t kPage = size_t{1} << 20;
#endif

class Scratch {
 public:
  void begin() { page_ = used_ = 0; }
  float* take(size_t floats) {
    while (page_ < pages_.size() && used_ + floats > pages_[page_].size) ++page_, used_ = 0;
    if (page_ == pages_.size()) {
      const size_t size = std::max(floats, kPage);
      pages_.push_back({Memory(new (std::align_val_t{64}) float[size]), size});
      used_ = 0;
    }
    float* p = pages_[page_].memory.get() + used_;
    used_ += (floats + 15) / 16 * 16;
    return p;
  }

 private:
  struct Free {
    void operator()(float* p) const { operator delete[](p, std::align_val_t{64}); }
  };
  using Memory = std::unique_ptr<float[], Free>;
  struct Page {
    Memory memory;
    size_t size;
  };
  std::vector<Page> pages_;
  size_t page_ = 0, used_ = 0;
};

template <int N>
inline Vec sum_of_rows(const Vec (&v)[N]) {
  Vec total = v[0];
  for (int r = 1; r < N; ++r) total += v[r];
  return total;
}

}  // namespace lstm_lab

#define EACH(...) _Pragma("GCC unroll 8") for (int r = 0; r < N; ++r) { __VA_ARGS__; }
