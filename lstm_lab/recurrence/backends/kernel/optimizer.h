// One step of an optimizer: clipping, weight decay, moments and update in one pass over the weights.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "vector.h"

namespace lstm_lab {

enum class Algorithm { kSgd, kNesterov, kRmsprop, kAdam };

// Elements of a task: its arrays fit into the second-level cache together.
constexpr int64_t kBlock = 1 << 14;

struct Rule {
  Algorithm algorithm;
  bool clips;
  bool decoupled;  // the decay goes to the update (AdamW), not to the gradient
  float beta1, beta2, rest1, rest2, eps;  // rest: 1 - beta
  float count;     // by which the gradient is divided
  float largest;   // norm of the gradient
  float rate;      // by which the update is multiplied, negative
  float momentum, decay;
  float correction1, correction2;  // 1 - beta^t, of Adam
};

// Weights and moments are changed in place.
struct Parameter {
  int64_t n;
  const float* gradient;
  float *weights, *first_moment, *second_moment;  // moments: those of the algorithm, or null
};

// Squares of a block, in double precision: a sum of millions of floats would lose digits.
struct Squares {
  double gradient = 0, update = 0, weights = 0;
};

inline double sum_in_double(Vec v) {
  double total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += v[lane];
  return total;
}

class Optimizer {
 public:
  Optimizer(const Rule& rule, std::vector<Parameter> parameters)
      : rule(rule), parameters(std::move(parameters)), scale(1.0f / rule.count) {
    for (size_t k = 0; k < this->parameters.size(); ++k)
      for (int64_t begin = 0; begin < this->parameters[k].n; begin += kBlock)
        blocks.push_back({k, begin, std::min(begin + kBlock, this->parameters[k].n)});
    squares.resize(blocks.size());
  }

  int tasks() const { return static_cast<int>(blocks.size()); }

  // The first pass, needed only to clip: the norm must be known before anything changes.
  void measure(int task) {
    const Block& block = blocks[task];
    const float* g = parameters[block.parameter].gradient;
    Vec sum = {};
    for (int64_t i = block.begin; i < block.end; i += kLanes) {
      const Vec scaled = load(g + i, left(block, i)) * scale;
      sum += scaled * scaled;
    }
    squares[task].gradient = sum_in_double(sum);
  }
  void clip() {
    const float norm = norms().gradient;
    // A norm that is no number is not below the largest one: all weights become NaN, as they should.
    if (!(norm < rule.largest)) shrink = rule.largest / norm;
  }

  void update(int task) {
    switch (rule.algorithm) {
      case Algorithm::kSgd: return update_block<Algorithm::kSgd>(task);
      case Algorithm::kNesterov: return update_block<Algorithm::kNesterov>(task);
      case Algorithm::kRmsprop: return update_block<Algorithm::kRmsprop>(task);
      case Algorithm::kAdam: return update_block<Algorithm::kAdam>(task);
    }
  }

  struct Norms {
    float gradient, update, weights;
  };
  // Blocks are summed in their order, so the bits do not depend on the threads.
  Norms norms() const {
    Squares sum;
    for (const Squares& s : squares) {
      sum.gradient += s.gradient;
      sum.update += s.update;
      sum.weights += s.weights;
    }
    return {root(sum.gradient), root(sum.update), root(sum.weights)};
  }

 private:
  struct Block {
    size_t parameter;
    int64_t begin, end;
  };

  static float root(double x) { return static_cast<float>(std::sqrt(x)); }
  static int left(const Block& block, int64_t i) {
    return static_cast<int>(std::min<int64_t>(block.end - i, kLanes));
  }

  template <Algorithm A>
  void update_block(int task) {
    const Block& block = blocks[task];
    const Parameter& p = parameters[block.parameter];
    Vec gradient = {}, update = {}, weights = {};
    for (int64_t i = block.begin; i < block.end; i += kLanes) {
      const int n = left(block, i);
      const Vec w = load(p.weights + i, n);
      Vec g = load(p.gradient + i, n) * scale;
      gradient += g * g;
      g *= shrink;
      if (!rule.decoupled) g += rule.decay * w;
      Vec u = direction<A>(p, i, n, g);
      if (rule.decoupled) u += rule.decay * w;
      u = first(u * rule.rate, n);  // what lies past the end may be NaN
      update += u * u;
      weights += w * w;
      store(p.weights + i, w + u, n);
    }
    if (!rule.clips) squares[task].gradient = sum_in_double(gradient);
    squares[task].update = sum_in_double(update);
    squares[task].weights = sum_in_double(weights);
  }

  // The update without its rate; changes the moments.
  template <Algorithm A>
  Vec direction(const Parameter& p, int64_t i, int n, Vec g) const {
    if constexpr (A == Algorithm::kSgd || A == Algorithm::kNesterov) {
      const Vec m = g + rule.momentum * load(p.first_moment + i, n);
      store(p.first_moment + i, m, n);
      return A == Algorithm::kNesterov ? g + rule.momentum * m : m;
    } else {
      const Vec v = rule.rest2 * (g * g) + rule.beta2 * load(p.second_moment + i, n);
      store(p.second_moment + i, v, n);
      if constexpr (A == Algorithm::kRmsprop) return g / square_root(v + rule.eps);
      else {
        const Vec m = rule.rest1 * g + rule.beta1 * load(p.first_moment + i, n);
        store(p.first_moment + i, m, n);
        return (m / rule.correction1) / (square_root(v / rule.correction2) + rule.eps);
      }
    }
  }

  const Rule rule;
  const std::vector<Parameter> parameters;
  const float scale;
  float shrink = 1.0f;
  std::vector<Block> blocks;
  std::vector<Squares> squares;  // of each block
};

}  // namespace lstm_lab
