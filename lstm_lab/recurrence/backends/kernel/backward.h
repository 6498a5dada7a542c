// The backward pass: parts of the batch go back through time, each on one thread; after each chunk
// of time the gradients of all weights, as one product for each over the chunk.
#pragma once

#include "pass.h"

namespace lstm_lab {

struct BackwardIn {
  std::vector<Block<const float>> h, dh;    // blocks of [T,B,...]
  std::vector<Block<const float>> d_final;  // blocks of the final state's gradient
  const float* saved;                       // [T,B,...]
};

struct BackwardOut {
  float* dx;                      // [T,B,D] or [T,B,Z]; null where x needs no gradient
  float *dw, *db;                 // [D,Z] [Z], where zx is computed here
  std::vector<float*> sums;       // gradients of weights
  // Whether the last chunk of time writes all of them; if not, they are zero before it.
  bool writes_dw = false;
  std::vector<bool> writes_sums;
  std::vector<Block<float>> ds0;  // blocks of the initial state's gradient
};

using BackwardWeights = Weights<Cell::kBackwardProducts.size(), Cell::kBackwardTerms.size()>;

class Backward
    : public Pass<Backward, Cell::kBackwardProducts.size(), Cell::kBackwardTerms.size(),
                  Cell::kBackwardKept.size(), Cell::kBackwardNumbers> {
 public:
  // `input` holds the transpose of W, packed for the gradient of x.
  Backward(const Layer& layer, const BackwardWeights& weights, const float* input,
           const BackwardIn& in, const BackwardOut& out, Rows part, Scratch& scratch)
      : Pass(layer, weights, Cell::kBackwardKept, std::move(part), scratch), input(input), in(in),
        out(out), gradients_at(Cell::kGradients, y.n, true), zx_from(Cell::kZx, y.n, false),
        saved_at(Cell::kSaved, y.n, true), totals_at(Cell::kTotals, y.n, true) {
    const size_t count = rows.count();
    gradient_rows = scratch.take(size_t(capacity) * gradients_at.row());
    old_rows = scratch.take(count * states.row());
    for (float*& d : d_state_rows) d = scratch.take(count * states.row());
    for (size_t k = 0; k < Cell::kSources.size(); ++k)
      sources[k] = scratch.take(packed_size(y.n[Cell::kSources[k].width]));
    if (y.projects) sources[Cell::kSources.size()] = scratch.take(packed_size(y.n[D] + 1));
    totals = scratch.take(totals_at.row());
    std::memset(totals, 0, totals_at.row() * sizeof(float));
  }

  // Takes over where another pass is in time.
  void follow(const Backward& leader) {
    live = leader.live, time = leader.time, begin = leader.begin, seen = leader.seen;
    std::copy(leader.d_state_rows, leader.d_state_rows + 2, d_state_rows);
  }

  void begin_time() {
    before = rows.count();
    for (int row = 0; row < before; ++row)
      for (size_t k = 0; k < Cell::kState.size(); ++k)
        for (float* d : d_state_rows)
          std::memcpy(d + size_t(row) * states.row() + states.at[k],
                      in.d_final[k].p + rows.rows[row] * in.d_final[k].row,
                      y.n[Cell::kState[k]] * 4);
  }

  // One chunk of time, the k-th from the start of processing.
  void chunk(int k) {
    const int low = (y.reverse ? y.chunks() - 1 - k : k) * y.steps();
    const int high = std::min(y.longest, low + y.steps());
    seen = 0;
    for (int t = low; t < high; ++t) seen += rows.live[t];
    begin = y.reverse ? 0 : seen;
    for (int j = low; j < high; ++j) {
      time = y.reverse ? j : high - 1 - (j - low);
      if (!y.reverse) begin -= rows.live[time];
      live = rows.live[time];
      if (y.reverse && live < before) finish(live, before);
      if (y.reverse) before = live;
      step();
      if (y.reverse) begin += live;
    }
    if (out.dx == nullptr) return;
    for (int t = low; t < high; ++t) clear(t, rows.live[t]);
    if (y.projects) write_dx(low, high);
    else copy_dzx(low, high);
  }

  void end_time() {
    finish(0, before);
    for (int t = y.longest; out.dx != nullptr && t < y.T; ++t) clear(t, 0);
  }

  // sum += what the rows [first, first + kRows) of a block of weights read in this chunk, times the
  // gradients of a group of units of a block.
  template <int C>
  inline __attribute__((always_inline)) void add_outer(Tile<kRows, C>& sum, int source, int first,
                                                       int gradient, int q) const {
    const float* panel = gradient_rows + size_t(capacity) * gradients_at.at[gradient] +
                         size_t(q) * kGroup * capacity;
    sum.add(sources[source] + size_t(first) * seen, 1, kRows, panel, seen);
  }
  const float* total_of(int k) const { return totals + totals_at.at[k]; }

  // ---------------------------------------------------------------------------------------------

  const float* zx_row(int, int, int) const { return nullptr; }  // products start from zero
  Vec state(int k, int row, int u) const {
    return load(old_row(k, row) + u * kLanes);
  }
  Vec d_state(int k, int row, int u) const { return load(d_state_row(0, k, row) + u * kLanes); }
  void set_d_state(int k, int row, int u, Vec v) const {
    store(d_state_row(1, k, row) + u * kLanes, v);
  }
  Vec saved(int k, int row, int u) const { return load(saved_row(time, k, row) + u * kLanes); }
  Vec saved_number(int k, int row, int) const { return Vec{} + *saved_row(time, k, row); }
  void gradient(int k, int row, int u, Vec v) const {
    const int q = u / kTile, width = y.n.columns(Cell::kGradients[k], q);
    store(gradient_row(k, row, q, width) + (u - q * kTile) * kLanes, v);
  }
  void total(int k, int u, Vec v) const {
    float* p = totals + totals_at.at[k] + u * kLanes;
    store(p, load(p) + v);
  }

  int add_pieces(const Source& term, int row, Piece* pieces, int count) const {
    const int K = y.n[term.width];
    if (term.where == GRADIENT) {
      for (int q = 0, k = 0; k < K; ++q, k += kGroup) {
        const int width = y.n.columns(term.width, q);
        pieces[count++] = {gradient_row(term.block, row, q, width), width, std::min(kGroup, K - k)};
      }
      return count;
    }
    const float* a = term.where == STATE     ? old_row(term.block, row)
                     : term.where == D_STATE ? d_state_row(0, term.block, row)
                                             : kept_row(term.block, row);
    pieces[count] = {a, term.where == KEPT ? kept_at.row() : states.row(), K};
    return count + 1;
  }

 private:
  size_t packed_size(int inputs) const {
    return size_t((inputs + kRows - 1) / kRows * kRows) * capacity;
  }
  float* old_row(int k, int row) const {
    return old_rows + size_t(row) * states.row() + states.at[k];
  }
  float* d_state_row(int which, int k, int row) const {
    return d_state_rows[which] + size_t(row) * states.row() + states.at[k];
  }
  const float* saved_row(int t, int k, int row) const {
    return in.saved + y.at(t, rows.rows[row]) * saved_at.row() + saved_at.at[k];
  }
  float* gradient_row(int k, int row, int q, int width) const {
    return panel_row(gradient_rows + size_t(capacity) * gradients_at.at[k], row, q, width);
  }

  void step() {
    for (int row = 0; row < live; ++row) {
      for (int k = 0; k < Cell::kHidden; ++k) {
        const Block<const float>& from = in.dh[k];
        const float* dh = from.p + time * from.step + rows.rows[row] * from.row;
        float* d = d_state_row(0, k, row);
        const int n = y.n[Cell::kState[k]];
        for (int j = 0; j < n; j += kLanes) store(d + j, load(d + j) + load(dh + j, n - j));
      }
      read_state(row);
    }
    Cell::backward(*this);
    for (size_t k = 0; k < Cell::kSources.size(); ++k) {
      const Source& s = Cell::kSources[k];
      pack_source(k, y.n[s.width], [&](int row) {
        return s.where == KEPT ? kept_row(s.block, row) : old_row(s.block, row);
      });
    }
    if (y.projects) pack_input();
    for (int row = 0; y.resets != nullptr && row < live; ++row)
      if (y.reset(time, rows.rows[row]))
        std::memset(d_state_row(1, 0, row), 0, states.row() * sizeof(float));
    std::swap(d_state_rows[0], d_state_rows[1]);
  }

  // Reads the state before the present step: of the step before, the initial one, or zero.
  void read_state(int row) const {
    float* to = old_rows + size_t(row) * states.row();
    const int b = rows.rows[row];
    if (y.reset(time, b)) {
      std::memset(to, 0, states.row() * sizeof(float));
      return;
    }
    const int t = y.reverse ? time + 1 : time - 1;
    const bool starts = t < 0 || t >= y.longest || t >= y.lengths[b];
    for (size_t k = 0; k < Cell::kState.size(); ++k) {
      const float* from = starts ? y.s0[k].p + b * y.s0[k].row
                          : k < Cell::kHidden
                              ? in.h[k].p + t * in.h[k].step + b * in.h[k].row
                              : saved_row(t, k - Cell::kHidden, row);
      std::memcpy(to + states.at[k], from, y.n[Cell::kState[k]] * sizeof(float));
    }
  }

  // Packs what a block of weights reads for its gradient: kRows inputs of all rows after another.
  template <typename From>
  void pack_source(size_t k, int inputs, From from) const {
    float* to = sources[k] + size_t(begin) * kRows;
    for (int j = 0; j < inputs; j += kRows, to += size_t(seen) * kRows)
      for (int row = 0; row < live; ++row) copy_inputs(to + row * kRows, from(row) + j, inputs - j);
  }

  // The same for x, and 1 for the bias below it.
  void pack_input() const {
    const int inputs = y.n[D], one = inputs / kRows * kRows;
    const size_t k = Cell::kSources.size();
    if (inputs % kRows == 0)
      for (int row = 0; row < live; ++row)
        copy_inputs(sources[k] + (size_t(inputs / kRows) * seen + begin + row) * kRows, nullptr, 0);
    pack_source(k, inputs, [&](int row) { return y.x + y.at(time, rows.rows[row]) * inputs; });
    float* last = sources[k] + (size_t(inputs / kRows) * seen + begin) * kRows + (inputs - one);
    for (int row = 0; row < live; ++row) last[row * kRows] = 1.0f;
  }

  static void copy_inputs(float* to, const float* from, int count) {
    if (count >= kRows) {
      std::memcpy(to, from, kRows * sizeof(float));
    } else {
      for (int i = 0; i < kRows; ++i) to[i] = i < count ? from[i] : 0.0f;
    }
  }

  void clear(int t, int from) const {
    const int width = y.projects ? y.n[D] : zx_from.row();
    for (int row = from; row < rows.count(); ++row)
      std::memset(out.dx + y.at(t, rows.rows[row]) * width, 0, width * sizeof(float));
  }

  void finish(int first, int last) const {
    for (int row = first; row < last; ++row)
      for (size_t k = 0; k < Cell::kState.size(); ++k)
        std::memcpy(out.ds0[k].p + rows.rows[row] * out.ds0[k].row, d_state_row(0, k, row),
                    y.n[Cell::kState[k]] * sizeof(float));
  }

  // dx = dzx W'.
  void write_dx(int low, int high) {
    index.clear();
    for (int t = low; t < high; ++t)
      for (int row = 0; row < rows.live[t]; ++row) index.push_back(y.at(t, rows.rows[row]));
    begin = 0;
    int depth = 0;
    for (size_t k = 0; k < Cell::kZx.size(); ++k)
      if (Cell::kZxGradients[k] >= 0) depth += y.n[Cell::kZx[k]];
    share(int64_t{seen} * depth * y.n[D], y.n.groups(D), [&](Backward& self, int q) {
      const int width = y.n.columns(D, q);
      in_tiles(seen, kRows, [&](int row, int height) {
        int count = 0;
        for (size_t k = 0; k < Cell::kZx.size(); ++k)
          if (Cell::kZxGradients[k] >= 0)
            count = self.add_pieces(Source{GRADIENT, Cell::kZxGradients[k], Cell::kZx[k]}, row,
                                    self.pieces.data(), count);
        kMultiply[height - 1][width / kLanes - 1](self.pieces.data(), count,
                                                  input + size_t(depth) * q * kGroup, nullptr, 0,
                                                  self.tiles, kGroup);
        for (int r = 0; r < height; ++r)
          std::memcpy(out.dx + index[row + r] * y.n[D] + q * kGroup, self.tiles + r * kGroup,
                      std::min(kGroup, y.n[D] - q * kGroup) * sizeof(float));
      });
    });
  }

  void copy_dzx(int low, int high) {
    begin = 0;
    for (int t = low, i = 0; t < high; ++t)
      for (int row = 0; row < rows.live[t]; ++row, ++i) {
        float* to = out.dx + y.at(t, rows.rows[row]) * zx_from.row();
        for (size_t k = 0; k < Cell::kZx.size(); ++k, to += y.n[Cell::kZx[k - 1]]) {
          const int n = y.n[Cell::kZx[k]], gradient = Cell::kZxGradients[k];
          if (gradient < 0) std::memset(to, 0, n * sizeof(float));
          for (int q = 0; gradient >= 0 && q * kGroup < n; ++q)
            std::memcpy(to + q * kGroup,
                        gradient_row(gradient, i, q, y.n.columns(Cell::kZx[k], q)),
                        std::min(kGroup, n - q * kGroup) * sizeof(float));
        }
      }
  }

  const float* input;
  const BackwardIn& in;
  const BackwardOut& out;
  Offsets<Cell::kGradients.size()> gradients_at;
  Offsets<Cell::kZx.size()> zx_from;
  Offsets<Cell::kSaved.size()> saved_at;
  Offsets<Cell::kTotals.size()> totals_at;
  int before = 0, seen = 0;
  std::vector<int64_t> index;
  float *gradient_rows, *old_rows, *d_state_rows[2], *totals;
  float* sources[Cell::kSources.size() + 1];
};

// The gradients of weights of one block of gradients and one group of its units, over all rows of
// the batch: added to what earlier chunks gave, if there was one.
struct WeightGradients {
  const Layer& y;
  const std::vector<Backward>& passes;
  const BackwardOut& out;
  const Place* outers;
  Offsets<Cell::kZx.size()> zx_from;

  WeightGradients(const Layer& y, const std::vector<Backward>& passes, const BackwardOut& out,
                  const Place* outers)
      : y(y), passes(passes), out(out), outers(outers), zx_from(Cell::kZx, y.n, false) {}

  int tasks() const {
    int n = 0;
    for (Width width : Cell::kGradients) n += y.n.groups(width);
    return n;
  }

  void run(int task, bool is_first) const {
    int gradient = 0;
    while (task >= y.n.groups(Cell::kGradients[gradient]))
      task -= y.n.groups(Cell::kGradients[gradient++]);
    const Width width = Cell::kGradients[gradient];
    const int q = task, n = y.n[width] - q * kGroup;
    for (size_t k = 0; k < Cell::kOuters.size(); ++k) {
      if (Cell::kOuters[k].gradient != gradient) continue;
      const int source = Cell::kOuters[k].source;
      float* to = out.sums[outers[k].array] + outers[k].offset + q * kGroup;
      const bool writes = is_first && out.writes_sums[outers[k].array];
      add(source, y.n[Cell::kSources[source].width], gradient, q, n, writes,
          [&](int row) { return to + row * outers[k].row; });
    }
    if (!y.projects) return;
    for (size_t k = 0; k < Cell::kZx.size(); ++k) {
      if (Cell::kZxGradients[k] != gradient) continue;
      float *dw = out.dw + zx_from.at[k] + q * kGroup, *db = out.db + zx_from.at[k] + q * kGroup;
      add(Cell::kSources.size(), y.n[D] + 1, gradient, q, n, is_first && out.writes_dw,
          [&](int row) { return row < y.n[D] ? dw + int64_t{row} * zx_from.row() : db; });
    }
  }

 private:
  template <typename To>
  void add(int source, int inputs, int gradient, int q, int n, bool writes, To to) const {
    switch (y.n.columns(Cell::kGradients[gradient], q) / kLanes) {
      case 1: add_columns<1>(source, inputs, gradient, q, n, writes, to); break;
      case 2: add_columns<2>(source, inputs, gradient, q, n, writes, to); break;
      case 3: add_columns<3>(source, inputs, gradient, q, n, writes, to); break;
      default: add_columns<4>(source, inputs, gradient, q, n, writes, to);
    }
  }

  template <int C, typename To>
  void add_columns(int source, int inputs, int gradient, int q, int n, bool writes, To to) const {
    for (int first = 0; first < inputs; first += kRows) {
      const int height = std::min(kRows, inputs - first);
      Tile<kRows, C> sum = {};
      for (int r = 0; r < height && !writes; ++r)
        for (int c = 0; c < C && c * kLanes < n; ++c)
          sum.at[r][c] = load(to(first + r) + c * kLanes, n - c * kLanes);
      for (const Backward& pass : passes) pass.add_outer(sum, source, first, gradient, q);
      for (int r = 0; r < height; ++r)
        for (int c = 0; c < C && c * kLanes < n; ++c)
          store(to(first + r) + c * kLanes, sum.at[r][c], n - c * kLanes);
    }
  }
};

}  // namespace lstm_lab
