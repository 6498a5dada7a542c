// The head of a model with many classes: cross-entropy and its gradients, by groups of classes.
//
// A part of the rows goes through two phases. First every group of classes computes its logits and
// keeps exp(logit - m), m being the group's maximum of the row. Once the sum over all groups is
// known, every group makes the gradients of its logits of them, where they lie, and multiplies
// those into the gradients of the weights and of the features.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "layer.h"

namespace lstm_lab {

// Sums of gradients of features, each over a range of groups: so many that as many threads have
// work, and so few that they do not need more memory than the logits.
constexpr int kSlots = 16;

struct Head {
  int N, E, C;  // rows, features, classes
  const float *features, *kernel, *bias, *weight;  // [N,E], [E,C], [C], [N]
  const int32_t* y;                                // [N]
  float smoothing;
  float *nll, *mean_nll;  // [N]
  int32_t* guess;         // [N]
  float *d_features, *d_kernel, *d_bias;  // or null

  int groups() const { return (C + kGroup - 1) / kGroup; }
  int count(int q) const { return std::min(kGroup, C - q * kGroup); }
  int columns(int q) const { return rounded(count(q)); }
  int width() const { return rounded(E); }
  int slots() const { return std::max(1, std::min({kSlots, groups(), C / width()})); }
  int slot_begin(int s) const { return groups() * s / slots(); }
};

// A part of the rows. `logits` has rows() * padded classes; the other arrays come from scratch.
class HeadPart {
 public:
  HeadPart(const Head& y, int first, int n, float* logits, Scratch& scratch)
      : y(y), first(first), n(n), stride(rounded(n)), logits(logits) {
    const size_t each = size_t(y.groups()) * stride;
    for (float** p : {&most, &sums, &totals}) *p = scratch.take(each);
    truth = scratch.take(stride);
    std::fill(truth, truth + stride, std::numeric_limits<float>::quiet_NaN());
    if (y.d_features == nullptr) return;
    packed = scratch.take(size_t(y.E + kRows) * n);
    slots = scratch.take(size_t(y.slots()) * n * y.width());
  }

  // ---- the first phase

  void logits_of(int q, float* panel) {
    const int columns = y.columns(q), count = y.count(q);
    pack(y.kernel + q * kGroup, y.C, 1, y.E, count, columns, panel);
    float bias[kGroup];
    for (int c = 0; c < columns; ++c)
      bias[c] = c < count ? y.bias[q * kGroup + c] : -std::numeric_limits<float>::infinity();
    float* block = block_of(q);
    const Piece piece{y.features + size_t(first) * y.E, y.E, y.E};
    in_tiles(n, kRows, [&](int row, int height) {
      const Piece rows{piece.a + ptrdiff_t{row} * y.E, y.E, y.E};
      kMultiply[height - 1][columns / kLanes - 1](&rows, 1, panel, bias, 0, block + row * columns,
                                                  columns);
      for (int r = row; r < row + height; ++r) exponentials(q, r, block + r * columns);
    });
  }

  // Loss and guess of the rows [row, row + kLanes), and what turns exponentials into probabilities.
  void combine(int row) {
    Vec greatest = Vec{} - std::numeric_limits<float>::infinity(), sum = {}, total = {};
    for (int q = 0; q < y.groups(); ++q) greatest = maximum(greatest, load(at(most, q, row)));
    for (int q = 0; q < y.groups(); ++q) {
      sum += load(at(sums, q, row)) * exp(load(at(most, q, row)) - greatest);
      total += load(at(totals, q, row));
    }
    const Vec log_sum = greatest + log(sum);
    for (int q = 0; q < y.groups(); ++q) {
      float* p = at(most, q, row);
      store(p, exp(load(p) - log_sum));
    }
    const int lanes = std::min(kLanes, n - row);
    for (int lane = 0; lane < lanes; ++lane) {
      const int r = first + row + lane;
      y.nll[r] = log_sum[lane] - truth[row + lane];
      y.mean_nll[r] = log_sum[lane] - total[lane] / y.C;
      y.guess[r] = guess(row + lane);
    }
  }

  // ---- the second phase

  // What the gradients of the weights read: kRows features of all rows after another.
  void pack_features(int tile) {
    float* to = packed + size_t(tile) * kRows * n;
    for (int row = 0; row < n; ++row)
      for (int k = 0; k < kRows; ++k) {
        const int e = tile * kRows + k;
        to[row * kRows + k] = e < y.E ? y.features[size_t(first + row) * y.E + e] : 0.0f;
      }
  }

  void gradients_of(int slot, float* panel) {
    for (int q = y.slot_begin(slot); q < y.slot_begin(slot + 1); ++q) {
      const int columns = y.columns(q);
      float* block = block_of(q);
      for (int row = 0; row < n; ++row) differences(q, row, block + row * columns);
      switch (columns / kLanes) {
        case 1: add_weights<1>(q, block); break;
        case 2: add_weights<2>(q, block); break;
        case 3: add_weights<3>(q, block); break;
        default: add_weights<4>(q, block);
      }
      add_features(q, block, panel, slots + size_t(slot) * n * y.width(), q > y.slot_begin(slot));
    }
  }

  void sum_slots(int row) {
    float* to = y.d_features + size_t(first + row) * y.E;
    for (int e = 0; e < y.E; e += kLanes) {
      Vec sum = {};
      for (int s = 0; s < y.slots(); ++s)
        sum += load(slots + (size_t(s) * n + row) * y.width() + e);
      store(to + e, sum, y.E - e);
    }
  }

  const int n;

 private:
  float* at(float* p, int q, int row) const { return p + size_t(q) * stride + row; }
  float* block_of(int q) const { return logits + size_t(q) * kGroup * n; }

  void exponentials(int q, int row, float* p) {
    const int columns = y.columns(q), count = y.count(q);
    const int true_class = y.y[first + row] - q * kGroup;
    if (true_class >= 0 && true_class < count) truth[row] = p[true_class];
    constexpr float kNone = -std::numeric_limits<float>::infinity();
    Vec m = load(p), total = {}, sum = {};
    for (int c = kLanes; c < columns; c += kLanes) m = maximum(m, load(p + c));
    float most_of_row = m[0];
    for (int lane = 1; lane < kLanes; ++lane)
      if (m[lane] > most_of_row) most_of_row = m[lane];
    // A group may have no class that is possible: then its exponentials are zero.
    const float base = most_of_row == kNone ? 0.0f : most_of_row;
    for (int c = 0; c < columns; c += kLanes) {
      const Vec v = load(p + c);
      total += lstm_lab::first(v, count - c);
      const Vec e = exp(v - base);
      sum += e;
      store(p + c, e);
    }
    *at(most, q, row) = most_of_row;
    *at(sums, q, row) = lstm_lab::sum(sum);
    *at(totals, q, row) = lstm_lab::sum(total);
  }

  // The first class of the group with the largest probability: its exponential is 1.
  int guess(int row) const {
    int best = 0;
    for (int q = 1; q < y.groups(); ++q)
      if (*at(most, q, row) > *at(most, best, row)) best = q;
    const float* p = block_of(best) + row * y.columns(best);
    int c = 0;
    while (c + 1 < y.count(best) && p[c] != 1.0f) ++c;
    return best * kGroup + c;
  }

  // w (p - target), where the target is (1 - e) onehot(y) + e / C.
  void differences(int q, int row, float* p) {
    const float w = y.weight[first + row], even = y.smoothing / y.C;
    const int columns = y.columns(q), count = y.count(q);
    const Vec scale = Vec{} + *at(most, q, row);
    for (int c = 0; c < columns; c += kLanes) {
      const Vec d = w > 0.0f ? w * (load(p + c) * scale - even) : Vec{};
      store(p + c, lstm_lab::first(d, count - c));
    }
    const int true_class = y.y[first + row] - q * kGroup;
    if (w > 0.0f && true_class >= 0 && true_class < count) p[true_class] -= w * (1.0f - y.smoothing);
  }

  template <int V>
  void add_weights(int q, const float* block) const {
    const bool adds = first > 0;
    const int count = y.count(q);
    float* bias = y.d_bias + q * kGroup;
    for (int c = 0; c < V; ++c) {
      Vec sum = adds ? load(bias + c * kLanes, count - c * kLanes) : Vec{};
      for (int row = 0; row < n; ++row) sum += load(block + (row * V + c) * kLanes);
      store(bias + c * kLanes, sum, count - c * kLanes);
    }
    for (int e = 0; e < y.E; e += kRows) {
      const int height = std::min(kRows, y.E - e);
      Tile<kRows, V> sum = {};
      float* to = y.d_kernel + size_t(e) * y.C + q * kGroup;
      for (int r = 0; adds && r < height; ++r)
        for (int c = 0; c < V; ++c)
          sum.at[r][c] = load(to + size_t(r) * y.C + c * kLanes, count - c * kLanes);
      sum.add(packed + size_t(e) * n, 1, kRows, block, n);
      for (int r = 0; r < height; ++r)
        for (int c = 0; c < V; ++c)
          store(to + size_t(r) * y.C + c * kLanes, sum.at[r][c], count - c * kLanes);
    }
  }

  void add_features(int q, const float* block, float* panel, float* to, bool adds) const {
    const int columns = y.columns(q), count = y.count(q), width = y.width();
    for (int e = 0; e < width; e += kGroup) {
      const int units = std::min(kGroup, width - e);
      pack(y.kernel + size_t(e) * y.C + q * kGroup, 1, y.C, count, y.E - e, units, panel);
      in_tiles(n, kRows, [&](int row, int height) {
        const Piece rows{block + row * columns, columns, count};
        float* tile = to + size_t(row) * width + e;
        kMultiply[height - 1][units / kLanes - 1](&rows, 1, panel, adds ? tile : nullptr, width,
                                                  tile, width);
      });
    }
  }

  const Head& y;
  const int first;
  const int stride;  // of the arrays [groups][rows], so that rows fill whole vectors
  float* logits;
  float *most, *sums, *totals, *truth, *packed = nullptr, *slots = nullptr;
};

}  // namespace lstm_lab
