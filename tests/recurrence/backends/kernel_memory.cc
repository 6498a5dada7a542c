// Every pass of the kernel over odd shapes, for a compiler that checks each access to memory.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "backward.h"
#include "forward.h"

using namespace lstm_lab;

template <int M>
void check(int B, int T, int D, int H, bool reverse, bool gate_recurrence) {
  constexpr int G = Order<M>::G, W = G * kLanes;
  const int R = gate_recurrence ? 4 * H : H;
  std::vector<std::unique_ptr<float[]>> arrays;
  auto array = [&](size_t n) {
    arrays.emplace_back(new float[n]);
    for (size_t k = 0; k < n; ++k) arrays.back()[k] = float((k * 7919) % 1000) * 1e-4f - 0.05f;
    return arrays.back().get();
  };
  std::vector<int32_t> lengths(B);
  for (int b = 0; b < B; ++b) lengths[b] = (b * 5) % (T + 1);
  std::vector<uint8_t> resets(size_t(T) * B);
  for (size_t k = 0; k < resets.size(); ++k) resets[k] = k % 11 == 0;
  Layer y{};
  y.T = T, y.B = B, y.D = D, y.H = H, y.R = R, y.G = G;
  y.longest = longest(lengths.data(), B, T);
  y.reverse = reverse, y.peepholes = true, y.grown = 1.0f;
  y.x = array(size_t(T) * B * D), y.wx = array(size_t(D) * G * H), y.wr = array(size_t(R) * G * H);
  y.b = array(G * H), y.peephole = array(3 * H), y.s0 = array(B * R), y.c0 = array(B * H);
  y.lengths = lengths.data(), y.resets = resets.data();
  const size_t steps = size_t(T) * B;
  const int U = y.blocks(), rows = U * W, wide = 4 * kLanes;
  float *wx = array(size_t(U) * W * D), *wr = array(size_t(U) * W * R), *b = array(U * W);
  float *tx = array(size_t(rows) * rounded(D)), *tr = array(size_t(rows) * rounded(R));
  float* peephole = array(3 * rounded(H));
  for (int u = 0; u < U; ++u) {
    pack_block(y.wx, D, G, H, u, wx + size_t(u) * W * D);
    pack_block(y.wr, R, G, H, u, wr + size_t(u) * W * R);
    pack_block(y.b, 1, G, H, u, b + size_t(u) * W);
  }
  for (int k = 0; k < rounded(R); k += wide)
    pack_transposed(y.wr, R, G, H, k, std::min(wide, rounded(R) - k) / kLanes, tr + size_t(k) * rows);
  for (int k = 0; k < rounded(D); k += wide)
    pack_transposed(y.wx, D, G, H, k, std::min(wide, rounded(D) - k) / kLanes, tx + size_t(k) * rows);
  const ForwardPanels forward_panels{wx, wr, b, peephole};
  float *h = array(steps * H), *gates = array(steps * G * H), *c = M == kGru ? nullptr : array(steps * H);
  const ForwardOut kept{h, array(B * R), array(B * H), gates, c};
  for (int k = 0; k < y.parts(); ++k)
    Forward<M>(y, forward_panels, kept, share(B, y.parts(), k), array(Forward<M>::scratch(y))).run();
  const BackwardPanels backward_panels{tr, tx, peephole};
  const BackwardIn in{h, gates, c, h, kept.s_final, kept.c_final};
  const BackwardOut out{array(steps * D), array(B * R), array(B * H)};
  const Gradients sums{array(size_t(D) * G * H), array(size_t(R) * G * H), array(G * H), array(3 * H)};
  std::vector<Backward<M>> passes;
  for (int k = 0; k < y.parts(); ++k)
    passes
        .emplace_back(y, backward_panels, in, out, share(B, y.parts(), k),
                      array(Backward<M>::scratch(y)))
        .begin();
  for (int k = y.chunks() - 1; k >= 0; --k) {
    for (Backward<M>& pass : passes) pass.chunk(k);
    for (int u = 0; u < U; ++u) Weights<M>{y, passes, sums, u, k < y.chunks() - 1}.run();
  }
  for (Backward<M>& pass : passes) pass.end();
}

int main() {
  for (bool reverse : {false, true}) {
    check<7>(1, 5, 1, 1, reverse, false);
    check<7>(1, 12, 3, 37, reverse, true);
    check<kGru>(1, 12, 3, 48, reverse, false);
    check<7>(37, 10, 19, 33, reverse, false);
    check<7>(17, 19, 5, 21, reverse, true);
    check<5>(9, 13, 70, 130, reverse, false);
    check<2>(33, 300, 2, 48, reverse, false);
    check<0>(8, 3, 66, 65, reverse, false);
    check<kGru>(37, 10, 19, 33, reverse, false);
  }
  std::puts("no access outside");
}
