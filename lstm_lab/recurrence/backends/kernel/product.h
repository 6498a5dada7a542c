// Matrix products of small tiles against packed panels: the arithmetic of every pass.
#pragma once

#include <algorithm>
#include <cstddef>

#include "vector.h"

namespace lstm_lab {

// A tile of R rows and C vectors of columns, held in registers.
template <int R, int C>
struct Tile {
  Vec at[R][C];

  // Adds a * panel, where a(r, k) lies at a[r * row + k * col] and the panel is [K][C * kLanes].
  inline __attribute__((always_inline)) void add(const float* a, ptrdiff_t row, ptrdiff_t col,
                                                 const float* panel, int K) {
    for (int k = 0; k < K; ++k, a += col, panel += C * kLanes) {
      Vec w[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) w[c] = load(panel + c * kLanes);
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const Vec s = Vec{} + a[r * row];
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) at[r][c] += s * w[c];
      }
    }
  }
};

// Calls body.template run<R>(first) over n rows in tiles of nearly equal height, kRows at most.
template <typename Body>
inline void in_tiles(int n, Body&& body) {
  const int tiles = (n + kRows - 1) / kRows;
  for (int k = 0, first = 0; k < tiles; ++k) {
    const int height = (n - first) / (tiles - k) + ((n - first) % (tiles - k) != 0);
    switch (height) {
      case 1: body.template run<1>(first); break;
      case 2: body.template run<2>(first); break;
#if defined(__AVX512F__)
      case 3: body.template run<3>(first); break;
      case 4: body.template run<4>(first); break;
      case 5: body.template run<5>(first); break;
      case 6: body.template run<6>(first); break;
#endif
    }
    first += height;
  }
}

inline int rounded(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

}  // namespace lstm_lab
