// Matrix products of small tiles against packed panels: the arithmetic of every pass.
#pragma once

#include <algorithm>
#include <cstddef>

#include "vector.h"

namespace lstm_lab {

constexpr int kTile = 4;                // vectors of columns in a tile
constexpr int kGroup = kTile * kLanes;  // units that a stage works on at a time

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

// A part of the left side of a product: its element (r, k) lies at a[r * row + k].
struct Piece {
  const float* a;
  ptrdiff_t row;
  int K;
};

// to = start + sum over pieces of a * panel; the pieces' panels lie one after another.
template <int R, int C>
__attribute__((noinline)) void multiply_tile(const Piece* piece, int pieces, const float* panel,
                                             const float* start, ptrdiff_t start_row, float* to,
                                             ptrdiff_t to_row) {
  Tile<R, C> sum;
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      sum.at[r][c] = start == nullptr ? Vec{} : load(start + r * start_row + c * kLanes);
  for (int k = 0; k < pieces; ++k) {
    sum.add(piece[k].a, piece[k].row, 1, panel, piece[k].K);
    panel += ptrdiff_t{piece[k].K} * C * kLanes;
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) store(to + r * to_row + c * kLanes, sum.at[r][c]);
}

using Multiply = decltype(&multiply_tile<1, 1>);
#define OF_COLUMNS(R) {multiply_tile<R, 1>, multiply_tile<R, 2>, multiply_tile<R, 3>, multiply_tile<R, 4>}
inline constexpr Multiply kMultiply[kRows][kTile] = {
    OF_COLUMNS(1), OF_COLUMNS(2),
#if defined(__AVX512F__)
    OF_COLUMNS(3), OF_COLUMNS(4), OF_COLUMNS(5), OF_COLUMNS(6),
#endif
};
#undef OF_COLUMNS

// Calls body(first, height) over n rows in tiles of nearly equal height, `most` at most.
template <typename Body>
inline void in_tiles(int n, int most, Body&& body) {
  const int tiles = (n + most - 1) / most;
  for (int k = 0, first = 0; k < tiles; ++k) {
    const int height = (n - first) / (tiles - k) + ((n - first) % (tiles - k) != 0);
    body(first, height);
    first += height;
  }
}

inline int rounded(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Packs the columns of a group, [rows][columns], for `Tile::add`. The matrix has its element (k, n)
// at w[k * row + n * column]; zeros fill the columns from `count` on.
inline void pack(const float* w, int64_t row, int64_t column, int rows, int count, int columns,
                 float* panel) {
  if (column == 1) {
    for (int k = 0; k < rows; ++k, w += row, panel += columns)
      for (int n = 0; n < columns; n += kLanes)
        store(panel + n, n < count ? load(w + n, count - n) : Vec{});
    return;
  }
  // A transposed matrix, in squares: read along its rows and written along those of the panel.
  for (int k = 0; k < rows; k += kLanes) {
    const int lanes = std::min(kLanes, rows - k);
    for (int n = 0; n < columns; n += kLanes) {
      Vec square[kLanes] = {};
      for (int j = 0; j < std::min(kLanes, count - n); ++j) {
        const float* from = w + (n + j) * column + k * row;
        if (row == 1) square[j] = load(from, lanes);
        else
          for (int lane = 0; lane < lanes; ++lane) square[j][lane] = from[lane * row];
      }
      transpose(square);
      for (int lane = 0; lane < lanes; ++lane)
        store(panel + (k + lane) * columns + n, square[lane]);
    }
  }
}

}  // namespace lstm_lab
