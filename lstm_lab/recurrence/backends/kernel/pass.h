// What both directions of a layer have in common: weights packed for products, and the stages of the
// generated text, which run over the units of the rows at work.
#pragma once

#include <cmath>

#include "team.h"

namespace lstm_lab {

constexpr int kAtOnce = 4;   // rows whose elementwise arithmetic is interleaved
// Multiplications below which a second thread costs more than it saves.
constexpr int64_t kWorthSharing = 1 << 15;

// The weights of one direction, packed once per call and read by all parts.
template <size_t P, size_t S>
struct Weights {
  const std::array<Product, P>& products;
  const std::array<Source, S>& terms;
  int depth[P + 1];  // rows of a product's panels: of all its terms together
  float* panels[P + 1];
  float* vectors[Cell::kVectors.size() + 1];

  Weights(const Layer& y, const std::array<Product, P>& products,
          const std::array<Source, S>& terms, Scratch& scratch)
      : products(products), terms(terms) {
    for (size_t p = 0; p < P; ++p) {
      depth[p] = 0;
      for (int t = products[p].first; t < products[p].last; ++t) depth[p] += y.n[terms[t].width];
      panels[p] = scratch.take(size_t(depth[p]) * y.n.padded(products[p].width));
    }
    for (size_t k = 0; k < Cell::kVectors.size(); ++k)
      vectors[k] = scratch.take(y.n.padded(Cell::kVectors[k]));
  }

  // How many tasks packing consists of, and one of them.
  int tasks(const Layer& y) const {
    int n = 1;
    for (size_t p = 0; p < P; ++p) n += y.n.groups(products[p].width);
    return n;
  }
  void run(const Layer& y, const Place* places, const Place* vector_places, int task) const {
    if (task == 0) {
      for (size_t k = 0; k < Cell::kVectors.size(); ++k) {
        const int n = y.n[Cell::kVectors[k]];
        const float* from = y.weights[vector_places[k].array] + vector_places[k].offset;
        pack(from, n, 1, 1, n, rounded(n), vectors[k]);
      }
      return;
    }
    int q = task - 1;
    size_t p = 0;
    while (q >= y.n.groups(products[p].width)) q -= y.n.groups(products[p++].width);
    const Width width = products[p].width;
    const int columns = y.n.columns(width, q), count = y.n[width] - q * kGroup;
    float* panel = panels[p] + size_t(q) * depth[p] * kGroup;
    for (int t = products[p].first; t < products[p].last; ++t) {
      const Place& at = places[t];
      const int rows = y.n[terms[t].width];
      pack(y.weights[at.array] + at.offset + int64_t{q} * kGroup * at.column, at.row, at.column,
           rows, count, columns, panel);
      panel += size_t(rows) * columns;
    }
  }
};

// Base of `Forward` and `Backward`, which is `Self`. The generated stages call the methods below the
// second line; each moves one vector of one row, for the unit block u.
template <typename Self, size_t P, size_t S, size_t K, int kNumbers>
class Pass {
 public:
  Pass(const Layer& layer, const Weights<P, S>& weights, const std::array<Width, K>& kept,
       Rows rows, Scratch& scratch)
      : y(layer), weights(weights), rows(std::move(rows)), states(Cell::kState, y.n, true),
        kept_at(kept, y.n, true), capacity(y.steps() * this->rows.count()) {
    const size_t count = this->rows.count();
    take_tiles(scratch);
    kept_rows = scratch.take(count * kept_at.row());
    numbers = scratch.take(count * kNumbers * kLanes);
    size_t most = 0;
    for (const Product& product : weights.products) {
      size_t n = 0;
      for (int t = product.first; t < product.last; ++t) n += y.n.groups(weights.terms[t].width);
      most = std::max(most, n);
    }
    for (Width width : Cell::kZx) most += y.n.groups(width);
    pieces.resize(most);
  }

  // Lets up to `helpers` threads share the units of each stage, with tiles of their own. Sums over
  // units would need an order among threads, so a pass that has any stays on one.
  void hire(int helpers, Scratch& scratch) {
    if (kNumbers > 0) return;
    int64_t all = 0;
    for (size_t p = 0; p < P; ++p) all += multiplications(p);
    if (all * rows.count() < kWorthSharing) return;
    const Self alone = static_cast<const Self&>(*this);
    crew = std::vector<Self>(std::min(helpers, Team::kMost), alone);
    for (Self& worker : crew) worker.take_tiles(scratch);
  }
  // A team for the work that follows, until `dismiss`; null where nobody was hired.
  std::shared_ptr<Team> gather() { return team = crew.empty() ? nullptr : std::make_shared<Team>(); }
  void lead() {
    if (team != nullptr) team->lead();
  }
  void dismiss() {
    if (team != nullptr) team->dismiss();
    team = nullptr;
  }
  size_t helpers() const { return crew.size(); }

  // Runs a stage over all rows at work: for each group of units first its products, which leave
  // their result in the first-level cache, then its elementwise part.
  template <typename Stage>
  void stage() {
    stage_width = Stage::kWidth;
    if constexpr (Stage::kWidth == ONE) {
      run_rows<Stage>(0);
    } else {
      int64_t work = 0;
      for (int p : Stage::kProducts) work += live * multiplications(p);
      share(work, y.n.groups(Stage::kWidth), [](Self& self, int q) {
        self.columns = self.y.n.columns(Stage::kWidth, q);
        self.group = q * kGroup;
        for (size_t k = 0; k < Stage::kProducts.size(); ++k)
          self.multiply(Stage::kProducts[k], k, q);
        const int first = q * kTile;
        for (int u = first; u < first + self.columns / kLanes; ++u)
          self.template run_rows<Stage>(u);
      });
    }
  }

  // ---------------------------------------------------------------------------------------------

  Vec tile(int slot, int row, int u) const {
    return load(tiles + (size_t(slot) * rows.count() + row) * kGroup + (u * kLanes - group));
  }
  Vec weight(int k, int u) const { return load(weights.vectors[k] + u * kLanes); }
  Vec weight_number(int k, int) const { return Vec{} + weights.vectors[k][0]; }
  float units(Width width) const { return static_cast<float>(y.n[width]); }

  Vec noise(int k, int row, int u) const {
    const Block<const float>& mask = y.noise[k];
    return load(mask.p + time * mask.step + rows.rows[row] * mask.row + u * kLanes,
                y.n[Cell::kNoise[k].width] - u * kLanes);
  }

  void keep(int k, int row, int u, Vec v) const { store(kept_row(k, row) + u * kLanes, v); }
  Vec kept(int k, int row, int u) const { return load(kept_row(k, row) + u * kLanes); }

  // Numbers of a row, kept as vectors: of sums over the units each lane is a part.
  void add_number(int k, int row, int u, Vec v) const {
    float* p = number_of(k, row);
    v = first(v, y.n[width_of_stage()] - u * kLanes);
    store(p, u == 0 ? v : load(p) + v);
  }
  void raise_number(int k, int row, int u, Vec v) const {
    float* p = number_of(k, row);
    const int n = y.n[width_of_stage()] - u * kLanes;
    for (int lane = n; lane < kLanes; ++lane) v[lane] = v[0];
    store(p, u == 0 ? v : maximum(load(p), v));
  }
  Vec sum_of_units(int k, int row) const { return Vec{} + sum(load(number_of(k, row))); }
  Vec max_of_units(int k, int row) const {
    Vec v = load(number_of(k, row));
    for (int lane = 1; lane < kLanes; ++lane) {
      Vec other = Vec{} + v[lane];
      v = maximum(v, other);
    }
    return Vec{} + v[0];
  }
  void set_number(int k, int row, Vec v) const { store(number_of(k, row), v); }
  Vec number(int k, int row) const { return load(number_of(k, row)); }

 protected:
  // Runs task(pass, k) for k in 0..n-1, on the whole team if the work is worth it.
  template <typename Task>
  void share(int64_t work, int n, const Task& task) {
    Self& self = static_cast<Self&>(*this);
    if (team == nullptr || work < kWorthSharing) {
      for (int k = 0; k < n; ++k) task(self, k);
      return;
    }
    team->share(n, [&](int member, int first, int last) {
      Self& worker = member == 0 ? self : crew[member - 1];
      if (member > 0) worker.follow(self);
      for (int k = first; k < last; ++k) task(worker, k);
    });
  }
  // Of a product, for one row.
  int64_t multiplications(size_t p) const {
    return int64_t{weights.depth[p]} * y.n.padded(weights.products[p].width);
  }
  void take_tiles(Scratch& scratch) {
    tiles = scratch.take(std::max(P * rows.count(), size_t{kRows}) * kGroup);
  }

  Width width_of_stage() const { return stage_width; }
  float* kept_row(int k, int row) const {
    return kept_rows + size_t(row) * kept_at.row() + kept_at.at[k];
  }
  float* number_of(int k, int row) const { return numbers + (size_t(row) * kNumbers + k) * kLanes; }

  template <typename Stage>
  void run_rows(int u) {
    const Self& self = static_cast<const Self&>(*this);
    in_tiles(live, kAtOnce, [&](int row, int height) {
      switch (height) {
        case 1: Stage::template run<1>(self, row, u); break;
        case 2: Stage::template run<2>(self, row, u); break;
        case 3: Stage::template run<3>(self, row, u); break;
        default: Stage::template run<4>(self, row, u);
      }
    });
  }

  // A product of the rows at work, for a group of units, into a tile.
  void multiply(int p, int slot, int q) {
    const Self& self = static_cast<const Self&>(*this);
    const Product& product = weights.products[p];
    const float* panel = weights.panels[p] + size_t(q) * weights.depth[p] * kGroup;
    in_tiles(live, kRows, [&](int row, int height) {
      int count = 0;
      for (int t = product.first; t < product.last; ++t)
        count = self.add_pieces(weights.terms[t], row, pieces.data(), count);
      const float* start = product.start < 0 ? nullptr : self.zx_row(product.start, row, q);
      kMultiply[height - 1][columns / kLanes - 1](
          pieces.data(), count, panel, start, columns,
          tiles + (size_t(slot) * rows.count() + row) * kGroup, kGroup);
    });
  }

  // Where a block of the chunk's rows [groups][capacity][columns] holds a row's group of units.
  float* panel_row(float* block, int row, int q, int width) const {
    return block + size_t(q) * kGroup * capacity + size_t(begin + row) * width;
  }

  const Layer& y;
  const Weights<P, S>& weights;
  Rows rows;
  Offsets<Cell::kState.size()> states;
  Offsets<K> kept_at;
  int capacity;            // rows of all steps of a chunk
  int live = 0, time = 0;  // rows at work at the present step
  int begin = 0;           // rows of the chunk before the present step
  int columns = 0, group = 0;
  Width stage_width = H;
  float *tiles, *kept_rows, *numbers;
  std::vector<Piece> pieces;  // the left side of a product
  std::vector<Self> crew;     // copies of this pass for helpers: what moves in time they `follow`
  std::shared_ptr<Team> team;
};

}  // namespace lstm_lab
