// The forward pass: rows of the batch through time, the gates computed from registers.
#pragma once

#include "layer.h"

namespace lstm_lab {

struct ForwardOut {
  float *h, *s_final, *c_final;  // [T,B,H] [B,R] [B,H]
  float *gates, *c;              // [T,B,G,H] [T,B,H], or null where no gradient will be asked for
};

struct ForwardPanels {
  const float *wx, *wr, *b;  // [U][D][G*V] [U][R][G*V] [U][G*V]
  const float* peephole;     // [3][U*V]
};

template <int M>
class Forward {
 public:
  using O = Order<M>;
  static constexpr int G = O::G, W = G * kLanes;

  static size_t scratch(const Layer& y) {
    const size_t rows = y.rows_each(), n = size_t(y.steps()) * rows;
    return n * y.D + n * W * y.blocks() + rows * (2 * (y.R + kLanes) + rounded(y.H)) + 512;
  }

  Forward(const Layer& layer, const ForwardPanels& panels, const ForwardOut& out, Rows rows,
          float* memory)
      : y(layer), panels(panels), out(out), rows(rows), steps(layer.steps()) {
    const size_t n = size_t(steps) * rows.count();
    units = rounded(y.H);
    width = y.R + kLanes;
    zx = memory;
    c = zx + n * W * y.blocks();
    s[0] = c + rows.count() * units;
    s[1] = s[0] + rows.count() * width;
    x = s[1] + rows.count() * width;
  }

  void run() {
    for (int r = 0; r < rows.count(); ++r) {
      const int b = rows.first + r;
      std::memcpy(s[0] + r * width, y.s0 + int64_t{b} * y.R, y.R * 4);
      std::memset(c + r * units, 0, units * 4);
      std::memcpy(c + r * units, y.c0 + int64_t{b} * y.H, y.H * 4);
    }
    for (int k = 0; k < y.chunks(); ++k) {
      low = (y.reverse ? y.chunks() - 1 - k : k) * steps;
      const int high = std::min(y.longest, low + steps);
      project(high - low);
      for (int j = low; j < high; ++j) step(y.reverse ? high - 1 - (j - low) : j);
    }
    for (int t = y.longest; t < y.T; ++t)
      std::memset(out.h + y.at(t, rows.first) * y.H, 0, size_t(rows.count()) * y.H * 4);
    for (int r = 0; r < rows.count(); ++r) {
      const int b = rows.first + r;
      std::memcpy(out.s_final + int64_t{b} * y.R, s[0] + r * width, y.R * 4);
      std::memcpy(out.c_final + int64_t{b} * y.H, c + r * units, y.H * 4);
    }
  }

 private:
  // zx = x W + b for a chunk of time: [U][step * rows][G*V].
  void project(int count) {
    const int n = count * rows.count();
    const float* from = y.x + y.at(low, 0) * y.D;
    if (rows.count() != y.B) {
      for (int j = 0; j < count; ++j)
        std::memcpy(x + int64_t{j} * rows.count() * y.D, y.x + y.at(low + j, rows.first) * y.D,
                    size_t(rows.count()) * y.D * 4);
      from = x;
    }
    for (int u = 0; u < y.blocks(); ++u) in_tiles(n, Project{*this, from, u});
  }

  struct Project {
    Forward& self;
    const float* from;
    int u;
    template <int R>
    void run(int first) {
      const Layer& y = self.y;
      Tile<R, G> tile;
      for (int g = 0; g < G; ++g) {
        const Vec bias = load(self.panels.b + int64_t{u} * W + g * kLanes);
        for (int r = 0; r < R; ++r) tile.at[r][g] = bias;
      }
      tile.add(from + int64_t{first} * y.D, y.D, 1, self.panels.wx + int64_t{u} * y.D * W, y.D);
      float* zx = self.zx + (int64_t{u} * self.steps * self.rows.count() + first) * W;
      for (int r = 0; r < R; ++r)
        for (int g = 0; g < G; ++g) store(zx + (r * G + g) * kLanes, tile.at[r][g]);
    }
  };

  void step(int t) {
    if (y.resets != nullptr)
      for (int r = 0; r < rows.count(); ++r)
        if (y.reset(t, rows.first + r)) {
          std::memset(s[0] + r * width, 0, y.R * 4);
          std::memset(c + r * units, 0, units * 4);
        }
    for (int u = 0; u < y.blocks(); ++u) in_tiles(rows.count(), Step{*this, t, u});
    std::swap(s[0], s[1]);
  }

  struct Step {
    Forward& self;
    int t, u;
    template <int R>
    void run(int first) {
      const Layer& y = self.y;
      const int count = self.rows.count();
      const float* zx =
          self.zx + (int64_t{u} * self.steps * count + (t - self.low) * count + first) * W;
      Tile<R, G> z;
      for (int r = 0; r < R; ++r)
        for (int g = 0; g < G; ++g) z.at[r][g] = load(zx + (r * G + g) * kLanes);
      z.add(self.s[0] + first * self.width, self.width, 1, self.panels.wr + int64_t{u} * y.R * W,
            y.R);
      if constexpr (M == kGru) self.finish_gru(t, u, first, z.at);
      else self.finish(t, u, first, z.at);
    }
  };

  // The elementwise rest for a tile's rows and one block of units, gate by gate over the rows, so
  // that one row's long chains of arithmetic overlap with the others'.
  template <int R>
  __attribute__((noinline)) void finish(int t, int u, int first, Vec (&z)[R][G]) {
    const int unit = u * kLanes;
    const float *pi = panels.peephole + unit, *pf = pi + units, *po = pf + units;
    const Vec one = Vec{} + 1.0f;
    Vec before[R], now[R], value[R], rest[R];
    for (int r = 0; r < R; ++r) before[r] = load(c + (first + r) * units + unit);
    if (y.peepholes)
      for (int r = 0; r < R; ++r) {
        if (O::i) z[r][O::at_i] += load(pi) * before[r];
        if (O::f) z[r][O::at_f] += load(pf) * before[r];
      }
    if (y.coupled)
      for (int r = 0; r < R; ++r) rest[r] = one - sigmoid(z[r][O::i ? O::at_i : O::at_f] - y.offset);
    for (int r = 0; r < R; ++r)
      for (int k = 0; k < O::at_o; ++k) z[r][k] = sigmoid(z[r][k]);
    for (int r = 0; r < R; ++r) z[r][O::at_g] = activate(y.candidate, z[r][O::at_g]);
    for (int r = 0; r < R; ++r) {
      const Vec i = O::i ? z[r][O::at_i] : y.coupled ? rest[r] : one;
      const Vec f = O::f ? z[r][O::at_f] : y.coupled ? rest[r] : one;
      now[r] = f * before[r] + i * z[r][O::at_g];
    }
    for (int r = 0; r < R; ++r) {
      if (O::o) z[r][O::at_o] = sigmoid(z[r][O::at_o] + load(po) * now[r]);
      value[r] = activate(y.output, now[r]);
      if (O::o) value[r] *= z[r][O::at_o];
    }
    for (int r = 0; r < R; ++r) put(t, u, first + r, now[r], value[r], z[r]);
  }

  template <int R>
  __attribute__((noinline)) void finish_gru(int t, int u, int first, Vec (&v)[R][G]) {
    for (int r = 0; r < R; ++r)
      for (int k : {O::at_r, O::at_z}) v[r][k] = sigmoid(v[r][k]);
    for (int r = 0; r < R; ++r) v[r][O::at_n] = tanh(v[r][O::at_n] + v[r][O::at_r] * v[r][O::at_a]);
    for (int r = 0; r < R; ++r) {
      const Vec before = load(s[0] + (first + r) * width + u * kLanes, y.lanes(u));
      const Vec value = v[r][O::at_n] + v[r][O::at_z] * (before - v[r][O::at_n]);
      put(t, u, first + r, Vec{}, value, v[r]);
    }
  }

  // Stores one row's new state and gates; past its length a row keeps what it had.
  void put(int t, int u, int row, Vec now, Vec value, const Vec (&gates)[G]) {
    const int b = rows.first + row, unit = u * kLanes, n = y.lanes(u);
    float *h = out.h + y.at(t, b) * y.H + unit, *state = s[1] + row * width + unit;
    if (!y.real(t, b)) {
      store(h, Vec{}, n);
      for (int k = 0; k < y.R; k += y.H) store(state + k, load(s[0] + row * width + unit + k, n), n);
      return;
    }
    store(c + row * units + unit, now);
    store(h, value, n);
    store(state, value, n);
    for (int k = 0; y.R != y.H && k < G - 1; ++k) store(state + (k + 1) * y.H, gates[k], n);
    if (out.gates == nullptr) return;
    float* kept = out.gates + y.at(t, b) * G * y.H + unit;
    for (int k = 0; k < G; ++k) store(kept + k * y.H, gates[k], n);
    if (out.c != nullptr) store(out.c + y.at(t, b) * y.H + unit, now, n);
  }

  const Layer& y;
  const ForwardPanels& panels;
  const ForwardOut& out;
  Rows rows;
  int steps, units, width, low = 0;
  float *zx, *c, *s[2], *x;
};

}  // namespace lstm_lab
