// The backward pass: rows of the batch back through time, and a chunk's weight gradients as one
// product.
#pragma once

#include "layer.h"

namespace lstm_lab {

// Calls body.template run<C>(first column) over groups of at most four vectors of columns.
template <typename Body>
inline void columns_of(int N, Body&& body) {
  for (int first = 0; first < N; first += 4 * kLanes) {
    switch (std::min(4, (N - first + kLanes - 1) / kLanes)) {
      case 1: body.template run<1>(first); break;
      case 2: body.template run<2>(first); break;
      case 3: body.template run<3>(first); break;
      default: body.template run<4>(first);
    }
  }
}

struct BackwardIn {
  const float *h, *gates, *c;               // what the forward pass kept
  const float *dh, *ds_final, *dc_final;    // [T,B,H] [B,R] [B,H]
};

struct BackwardOut {
  float *dx;         // [T,B,D], or null where x needs no gradient
  float *ds0, *dc0;  // [B,R] [B,H]
};

struct BackwardPanels {
  const float *wr, *wx;  // transposed: for each group of columns, [U*G*V][C*V]
  const float* peephole;  // [3][U*V]
};

template <int M>
class Backward {
 public:
  using O = Order<M>;
  static constexpr int G = O::G, W = G * kLanes;

  static size_t scratch(const Layer& y) {
    const size_t rows = y.rows_each(), n = size_t(y.steps()) * rows;
    return 3 * rounded(y.H) + n * (W * y.blocks() + y.D + y.R + 1 + kRows) +
           rows * (rounded(y.R) + 4 * kLanes + rounded(y.H)) + 2 * (y.D + y.R) + 1024;
  }

  Backward(const Layer& layer, const BackwardPanels& panels, const BackwardIn& in,
           const BackwardOut& out, Rows rows, float* memory)
      : y(layer), panels(panels), in(in), out(out), rows(rows),
        steps(layer.steps()) {
    const size_t n = size_t(steps) * rows.count();
    units = rounded(y.H);
    width = rounded(y.R) + 3 * kLanes;
    inputs = y.D + y.R + 1;
    dpeephole = memory;
    dz = dpeephole + 3 * units;
    ds = dz + n * W * y.blocks();
    dc = ds + size_t(rows.count()) * width;
    line = dc + size_t(rows.count()) * units;
    read = line + inputs + kRows;
    std::memset(dpeephole, 0, 3 * units * sizeof(float));
    std::memset(ds, 0, size_t(rows.count()) * (width + units) * sizeof(float));
  }

  void begin() {
    for (int r = 0; r < rows.count(); ++r) {
      const int64_t b = rows.first + r;
      std::memcpy(ds + r * width, in.ds_final + b * y.R, y.R * 4);
      std::memcpy(dc + r * units, in.dc_final + b * y.H, y.H * 4);
    }
  }

  // One chunk of time, the k-th from the start of processing.
  void chunk(int k) {
    low = (y.reverse ? y.chunks() - 1 - k : k) * steps;
    const int count = std::min(y.longest, low + steps) - low;
    for (int j = count - 1; j >= 0; --j) step(low + (y.reverse ? count - 1 - j : j));
    gather(count);
    seen = count * rows.count();
    if (out.dx != nullptr) columns_of(y.D, Inputs{*this, seen});
  }

  void end() {
    for (int t = y.longest; out.dx != nullptr && t < y.T; ++t)
      std::memset(out.dx + y.at(t, rows.first) * y.D, 0, size_t(rows.count()) * y.D * 4);
    for (int r = 0; r < rows.count(); ++r) {
      const int64_t b = rows.first + r;
      std::memcpy(out.ds0 + b * y.R, ds + r * width, y.R * 4);
      std::memcpy(out.dc0 + b * y.H, dc + r * units, y.H * 4);
    }
  }

  // tile += what the weights of kRows inputs read in this chunk, times dz of one block.
  inline __attribute__((always_inline)) void add_weights(Tile<kRows, G>& tile, int u,
                                                         int first) const {
    tile.add(read + int64_t{first} * seen, 1, kRows, dz + int64_t{u} * steps * rows.count() * W,
             seen);
  }

  const float* peephole_sums() const { return dpeephole; }

 private:
  void step(int t) {
    const int count = rows.count();
    for (int r = 0; r < count; ++r) {
      const int b = rows.first + r;
      const bool real = y.real(t, b);
      for (int u = 0; u < y.blocks(); ++u) {
        float* to = dz + ((int64_t{u} * steps + (t - low)) * count + r) * W;
        if (!real) std::memset(to, 0, W * sizeof(float));
        else if constexpr (M == kGru) pointwise_gru(t, b, r, u, to);
        else pointwise(t, b, r, u, to);
      }
      if (real && M != kGru) std::memset(ds + r * width, 0, width * sizeof(float));
    }
    columns_of(y.R, Carry{*this, t});
    for (int r = 0; r < count; ++r)
      if (y.reset(t, rows.first + r)) {
        std::memset(ds + r * width, 0, width * sizeof(float));
        std::memset(dc + r * units, 0, units * sizeof(float));
      }
  }

  // The step that came before t in processing order, or -1 where the row began at t.
  int before(int t, int b) const {
    const int previous = y.reverse ? t + 1 : t - 1;
    return previous >= 0 && previous < y.longest && y.real(previous, b) ? previous : -1;
  }

  __attribute__((noinline)) void pointwise(int t, int b, int row, int u, float* to) {
    const int unit = u * kLanes, n = y.lanes(u);
    const float* gates = in.gates + y.at(t, b) * G * y.H + unit;
    const Vec one = Vec{} + 1.0f;
    const int t_before = before(t, b);
    const Vec c_before = y.reset(t, b) ? Vec{}
                         : load(t_before < 0 ? y.c0 + int64_t{b} * y.H + unit
                                             : in.c + y.at(t_before, b) * y.H + unit, n);
    const Vec value = activate(y.output, load(in.c + y.at(t, b) * y.H + unit, n));
    const Vec g = load(gates + O::at_g * y.H, n);
    Vec i = one, f = one, o = one;
    if (O::i) i = load(gates + O::at_i * y.H, n);
    if (O::f) f = load(gates + O::at_f * y.H, n);
    if (O::o) o = load(gates + O::at_o * y.H, n);
    Vec coupled = {};  // the sigmoid of which a coupled gate is the rest to one
    if (y.coupled && O::i) f = one - (coupled = i / (i + (one - i) * y.grown));
    if (y.coupled && O::f) i = one - (coupled = f / (f + (one - f) * y.grown));

    float* carried = ds + row * width + unit;
    const Vec dh = load(carried, n) + load(in.dh + y.at(t, b) * y.H + unit, n);
    Vec di = {}, df = {}, dzo = {};
    Vec d_o = dh * value;
    if (y.R != y.H) {
      di = load(carried + y.H, n);
      df = load(carried + 2 * y.H, n);
      d_o += load(carried + 3 * y.H, n);
    }
    const float* p = panels.peephole + unit;
    float* dcell = dc + row * units + unit;
    Vec dcv = load(dcell) + dh * o * slope(y.output, value);
    if (O::o) {
      dzo = d_o * o * (one - o);
      dcv += dzo * load(p + 2 * units);
      store(to + O::at_o * kLanes, dzo);
    }
    di += dcv * g;
    df += dcv * c_before;
    const Vec dzg = dcv * i * slope(y.candidate, g);
    Vec dzi = {}, dzf = {};
    if (O::i) dzi = di * i * (one - i);
    if (O::f) dzf = df * f * (one - f);
    if (y.coupled && O::i) dzi -= df * coupled * (one - coupled);
    if (y.coupled && O::f) dzf -= di * coupled * (one - coupled);
    store(dcell, dcv * f + dzi * load(p) + dzf * load(p + units));
    if (O::i) store(to + O::at_i * kLanes, dzi);
    if (O::f) store(to + O::at_f * kLanes, dzf);
    store(to + O::at_g * kLanes, dzg);
    if (!y.peepholes) return;
    float* dp = dpeephole + unit;
    const Vec c_now = load(in.c + y.at(t, b) * y.H + unit, n);
    if (O::i) store(dp, load(dp) + dzi * c_before);
    if (O::f) store(dp + units, load(dp + units) + dzf * c_before);
    if (O::o) store(dp + 2 * units, load(dp + 2 * units) + dzo * c_now);
  }

  // Leaves in ds what the step before receives past the recurrent matrix: h = (1 - z) n + z h'.
  __attribute__((noinline)) void pointwise_gru(int t, int b, int row, int u, float* to) {
    const int unit = u * kLanes, lanes = y.lanes(u), t_before = before(t, b);
    const float* gates = in.gates + y.at(t, b) * G * y.H + unit;
    const Vec r = load(gates + O::at_r * y.H, lanes), z = load(gates + O::at_z * y.H, lanes);
    const Vec a = load(gates + O::at_a * y.H, lanes), n = load(gates + O::at_n * y.H, lanes);
    const Vec h_before = y.reset(t, b) ? Vec{}
                         : load(t_before < 0 ? y.s0 + int64_t{b} * y.H + unit
                                             : in.h + y.at(t_before, b) * y.H + unit, lanes);
    float* carried = ds + row * width + unit;
    const Vec dh = load(carried, lanes) + load(in.dh + y.at(t, b) * y.H + unit, lanes);
    const Vec dn = dh * (1.0f - z) * (1.0f - n * n);
    store(to + O::at_r * kLanes, dn * a * r * (1.0f - r));
    store(to + O::at_z * kLanes, dh * (h_before - n) * z * (1.0f - z));
    store(to + O::at_a * kLanes, dn * r);
    store(to + O::at_n * kLanes, dn);
    store(carried, dh * z, lanes);
  }

  // ds += dz wr': what the step before receives through the recurrent matrix.
  struct Carry {
    Backward& self;
    int t;
    template <int C>
    void run(int first) {
      in_tiles(self.rows.count(), Rest<C>{self, t, first});
    }
    template <int C>
    struct Rest {
      Backward& self;
      int t, column;
      template <int R>
      void run(int first) {
        float* ds = self.ds + first * self.width + column;
        Tile<R, C> tile;
        for (int r = 0; r < R; ++r)
          for (int c = 0; c < C; ++c) tile.at[r][c] = load(ds + r * self.width + c * kLanes);
        const int64_t n = int64_t{t - self.low} * self.rows.count() + first;
        self.add_dz(tile, n, self.panels.wr, column);
        for (int r = 0; r < R; ++r)
          for (int c = 0; c < C; ++c) store(ds + r * self.width + c * kLanes, tile.at[r][c]);
      }
    };
  };

  // tile += dz[n...] times the transposed panel that begins at a column.
  template <int R, int C>
  inline __attribute__((always_inline)) void add_dz(Tile<R, C>& tile, int64_t n, const float* panels,
                                                    int column) {
    const float* panel = panels + int64_t{column} * W * y.blocks();
    for (int u = 0; u < y.blocks(); ++u)
      tile.add(dz + (int64_t{u} * steps * rows.count() + n) * W, W, 1, panel + int64_t{u} * W * C * kLanes, W);
  }

  // What the weights read at each step, [x, s before, 1] and zeros where a row had ended, packed for
  // their product: kRows inputs of all rows and steps after another.
  void gather(int count) {
    for (int j = 0; j < count; ++j)
      for (int r = 0; r < rows.count(); ++r) {
        const int t = low + j, b = rows.first + r;
        float* to = read + (int64_t{j} * rows.count() + r) * kRows;
        std::memset(line, 0, (inputs + kRows) * sizeof(float));
        if (y.real(t, b)) {
          std::memcpy(line, y.x + y.at(t, b) * y.D, y.D * sizeof(float));
          gather_state(t, b, line + y.D);
          line[inputs - 1] = 1.0f;
        }
        for (int k = 0; k < inputs; k += kRows, to += int64_t{count} * rows.count() * kRows)
          std::memcpy(to, line + k, kRows * sizeof(float));
      }
  }

  void gather_state(int t, int b, float* to) const {
    const int t_before = before(t, b);
    if (y.reset(t, b)) return;
    if (t_before < 0) {
      std::memcpy(to, y.s0 + int64_t{b} * y.R, y.R * sizeof(float));
    } else {
      std::memcpy(to, in.h + y.at(t_before, b) * y.H, y.H * sizeof(float));
      std::memcpy(to + y.H, in.gates + y.at(t_before, b) * G * y.H, (y.R - y.H) * sizeof(float));
    }
  }

  // dx = dz wx'.
  struct Inputs {
    Backward& self;
    int n;
    template <int C>
    void run(int first) {
      in_tiles(n, Rest<C>{self, first});
    }
    template <int C>
    struct Rest {
      Backward& self;
      int column;
      template <int R>
      void run(int first) {
        const Layer& y = self.y;
        Tile<R, C> tile = {};
        self.add_dz(tile, first, self.panels.wx, column);
        for (int r = 0; r < R; ++r) {
          const int t = self.low + (first + r) / self.rows.count();
          const int b = self.rows.first + (first + r) % self.rows.count();
          float* dx = self.out.dx + y.at(t, b) * y.D;
          for (int c = 0; c < C; ++c) {
            const int k = column + c * kLanes;
            if (k < y.D) store(dx + k, tile.at[r][c], y.D - k);
          }
        }
      }
    };
  };

  const Layer& y;
  const BackwardPanels& panels;
  const BackwardIn& in;
  const BackwardOut& out;
  Rows rows;
  int steps, units, width, inputs, low = 0, seen = 0;
  float *dpeephole, *dz, *ds, *dc, *line, *read;
};

struct Gradients {
  float *dwx, *dwr, *db, *dpeephole;  // [D,G,H] [R,G,H] [G,H] [3,H]
};

// Adds a chunk's weight gradients for one block of units: over all rows of the batch at once.
template <int M>
struct Weights {
  using Pass = Backward<M>;
  static constexpr int G = Pass::G;
  const Layer& y;
  const std::vector<Pass>& passes;
  const Gradients& out;
  int u;
  bool begun;

  float* row(int k) const {
    const int64_t length = int64_t{G} * y.H;
    float* p = k < y.D ? out.dwx + k * length
               : k < y.D + y.R ? out.dwr + (k - y.D) * length : out.db;
    return p + u * kLanes;
  }

  void run() const {
    const int n = y.lanes(u), inputs = y.D + y.R + 1;
    for (int first = 0; first < inputs; first += kRows) {
      const int height = std::min(kRows, inputs - first);
      Tile<kRows, G> tile = {};
      if (begun)
        for (int r = 0; r < height; ++r)
          for (int g = 0; g < G; ++g) tile.at[r][g] = load(row(first + r) + g * y.H, n);
      for (const Pass& pass : passes) pass.add_weights(tile, u, first);
      for (int r = 0; r < height; ++r)
        for (int g = 0; g < G; ++g) store(row(first + r) + g * y.H, tile.at[r][g], n);
    }
  }
};

}  // namespace lstm_lab
