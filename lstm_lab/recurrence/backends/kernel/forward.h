// The forward pass: parts of the batch go through time, each on one thread.
#pragma once

#include "pass.h"

namespace lstm_lab {

struct ForwardOut {
  std::vector<Block<float>> h;       // blocks of [T,B,...]
  std::vector<Block<float>> final;   // blocks of the final state
  std::vector<Block<float>> traced;  // blocks that are returned over time
  float* saved;                      // [T,B,...], or null if no gradient will be asked for
};

using ForwardWeights = Weights<Cell::kForwardProducts.size(), Cell::kForwardTerms.size()>;

class Forward
    : public Pass<Forward, Cell::kForwardProducts.size(), Cell::kForwardTerms.size(),
                  Cell::kForwardKept.size(), Cell::kForwardNumbers> {
 public:
  // `input` holds W packed like the products, one panel after another, where zx is computed here.
  Forward(const Layer& layer, const ForwardWeights& weights, const float* input,
          const ForwardOut& out, Rows part, Scratch& scratch)
      : Pass(layer, weights, Cell::kForwardKept, std::move(part), scratch), input(input), out(out),
        zx_at(Cell::kZx, y.n, true), zx_from(Cell::kZx, y.n, false),
        saved_at(Cell::kSaved, y.n, true) {
    const size_t count = rows.count();
    zx_rows = scratch.take(size_t(capacity) * zx_at.row());
    if (y.projects) x_rows = scratch.take(size_t(capacity) * y.n[D]);
    for (float*& s : state_rows) s = scratch.take(count * states.row());
  }

  // Takes over where another pass is in time.
  void follow(const Forward& leader) {
    live = leader.live, time = leader.time, begin = leader.begin;
    std::copy(leader.state_rows, leader.state_rows + 2, state_rows);
  }

  void run() {
    int before = rows.count();
    for (int row = 0; row < before; ++row)
      for (size_t k = 0; k < Cell::kState.size(); ++k)
        for (float* s : state_rows)
          std::memcpy(s + size_t(row) * states.row() + states.at[k],
                      y.s0[k].p + rows.rows[row] * y.s0[k].row, y.n[Cell::kState[k]] * 4);
    for (int k = 0; k < y.chunks(); ++k) {
      const int low = (y.reverse ? y.chunks() - 1 - k : k) * y.steps();
      const int high = std::min(y.longest, low + y.steps());
      read_input(low, high);
      begin = 0;
      for (int t = low; y.reverse && t < high; ++t) begin += rows.live[t];
      for (int j = low; j < high; ++j) {
        time = y.reverse ? high - 1 - (j - low) : j;
        live = rows.live[time];
        if (y.reverse) begin -= live;
        if (!y.reverse && live < before) finish(live, before);
        if (!y.reverse) before = live;
        step();
        if (!y.reverse) begin += live;
      }
    }
    finish(0, before);
    for (int t = y.longest; t < y.T; ++t) clear(t, 0);
  }

  // ---------------------------------------------------------------------------------------------

  Vec zx(int k, int row, int u) const {
    const int q = u / kTile;
    return load(zx_row(k, row, q) + (u - q * kTile) * kLanes);
  }
  Vec state(int k, int row, int u) const { return load(state_row(0, k, row) + u * kLanes); }
  void set_state(int k, int row, int u, Vec v) const {
    store(state_row(1, k, row) + u * kLanes, v);
  }
  void trace(int k, int row, int u, Vec v) const {
    const Block<float>& to = out.traced[k];
    if (to.p != nullptr)
      store(to.p + time * to.step + rows.rows[row] * to.row + u * kLanes, v,
          y.n[Cell::kTraced[k]] - u * kLanes);
  }
  void save(int k, int row, int u, Vec v) const {
    if (out.saved != nullptr) store(saved_row(k, row) + u * kLanes, v);
  }
  void save_number(int k, int row, int, Vec v) const {
    if (out.saved != nullptr) *saved_row(k, row) = v[0];
  }

  const float* zx_row(int k, int row, int q) const {
    return panel_row(zx_rows + size_t(capacity) * zx_at.at[k], row, q, y.n.columns(Cell::kZx[k], q));
  }
  int add_pieces(const Source& term, int row, Piece* pieces, int count) const {
    const bool is_state = term.where == STATE;
    const float* a = is_state ? state_row(0, term.block, row) : kept_row(term.block, row);
    pieces[count] = {a, is_state ? states.row() : kept_at.row(), y.n[term.width]};
    return count + 1;
  }

 private:
  float* state_row(int which, int k, int row) const {
    return state_rows[which] + size_t(row) * states.row() + states.at[k];
  }
  float* saved_row(int k, int row) const {
    return out.saved + y.at(time, rows.rows[row]) * saved_at.row() + saved_at.at[k];
  }

  void step() {
    for (int row = 0; y.resets != nullptr && row < live; ++row)
      if (y.reset(time, rows.rows[row]))
        std::memset(state_rows[0] + size_t(row) * states.row(), 0, states.row() * 4);
    Cell::forward(*this);
    for (int row = 0; row < live; ++row)
      for (int k = 0; k < Cell::kHidden; ++k) {
        const Block<float>& to = out.h[k];
        std::memcpy(to.p + time * to.step + rows.rows[row] * to.row, state_row(1, k, row),
                    y.n[Cell::kState[k]] * 4);
      }
    clear(time, live);
    std::swap(state_rows[0], state_rows[1]);
  }

  // Zeros where rows have ended.
  void clear(int t, int from) const {
    for (int row = from; row < rows.count(); ++row) {
      for (int k = 0; k < Cell::kHidden; ++k) clear_block(out.h[k], t, row, y.n[Cell::kState[k]]);
      for (size_t k = 0; k < Cell::kTraced.size(); ++k)
        clear_block(out.traced[k], t, row, y.n[Cell::kTraced[k]]);
    }
  }
  void clear_block(const Block<float>& to, int t, int row, int n) const {
    if (to.p != nullptr) std::memset(to.p + t * to.step + rows.rows[row] * to.row, 0, n * 4);
  }

  void finish(int first, int last) const {
    for (int row = first; row < last; ++row)
      for (size_t k = 0; k < Cell::kState.size(); ++k)
        std::memcpy(out.final[k].p + rows.rows[row] * out.final[k].row, state_row(0, k, row),
                    y.n[Cell::kState[k]] * 4);
  }

  // Computes zx = x W + b for a chunk of time, or copies it: [group][rows of all steps][columns].
  void read_input(int low, int high) {
    const int width = y.projects ? y.n[D] : zx_from.row();
    int n = 0;
    const float* from = y.x + y.at(low, 0) * width;
    if (rows.in_place && y.projects) n = (high - low) * rows.count();
    else if (y.projects) {
      for (int t = low; t < high; ++t)
        for (int row = 0; row < rows.live[t]; ++row, ++n)
          std::memcpy(x_rows + size_t(n) * width, y.x + y.at(t, rows.rows[row]) * width, width * 4);
      from = x_rows;
    }
    int groups = 0;
    for (Width zx : Cell::kZx) groups += y.n.groups(zx);
    share(int64_t{n} * width * zx_at.row(), groups, [&](Forward&, int q) {
      size_t k = 0;
      const float* panel = input;
      for (; q >= y.n.groups(Cell::kZx[k]); q -= y.n.groups(Cell::kZx[k++]))
        if (y.projects) panel += size_t(width + 1) * y.n.padded(Cell::kZx[k]);
      const int C = y.n.columns(Cell::kZx[k], q);
      float* to = zx_rows + size_t(capacity) * (zx_at.at[k] + q * kGroup);
      if (y.projects) {
        panel += size_t(width + 1) * q * kGroup;
        const float* bias = panel + size_t(width) * C;
        in_tiles(n, kRows, [&](int row, int height) {
          const Piece piece{from + int64_t{row} * width, width, width};
          kMultiply[height - 1][C / kLanes - 1](&piece, 1, panel, bias, 0, to + size_t(row) * C, C);
        });
        return;
      }
      for (int t = low, i = 0; t < high; ++t)
        for (int row = 0; row < rows.live[t]; ++row, ++i) {
          const float* p = y.x + y.at(t, rows.rows[row]) * width + zx_from.at[k] + q * kGroup;
          for (int c = 0; c < C; c += kLanes)
            store(to + size_t(i) * C + c, load(p + c, y.n[Cell::kZx[k]] - q * kGroup - c));
        }
    });
  }

  const float* input;
  const ForwardOut& out;
  Offsets<Cell::kZx.size()> zx_at, zx_from;
  Offsets<Cell::kSaved.size()> saved_at;
  float *zx_rows, *x_rows = nullptr, *state_rows[2];
};

}  // namespace lstm_lab
