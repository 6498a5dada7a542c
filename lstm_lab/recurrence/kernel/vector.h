// Vectors of floats and their elementary functions, by the compiler's portable vector types.
#pragma once

#include <cstdint>
#include <cstring>

namespace lstm_lab {

// A tile of kRows rows by four vectors is what the registers hold: 32 of 512 bits, else 16 of 256.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kRows = 6;
#else
constexpr int kLanes = 8;
constexpr int kRows = 2;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));
typedef float LooseVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

inline Vec load(const float* p) { return *reinterpret_cast<const LooseVec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<LooseVec*>(p) = v; }

// The first n lanes, where a row of units ends within a vector.
inline Vec load(const float* p, int n) {
  if (n >= kLanes) return load(p);
  Vec v = {};
  std::memcpy(&v, p, n * sizeof(float));
  return v;
}

inline void store(float* p, Vec v, int n) {
  if (n >= kLanes) return store(p, v);
  std::memcpy(p, &v, n * sizeof(float));
}

inline Vec select(IntVec mask, Vec chosen, Vec other) { return mask ? chosen : other; }

// exp(y) - 1 and exp(y) from one reduction y = n ln 2 + r, |r| <= ln(2) / 2, with the Taylor
// polynomial of exp(r) - 1, whose remainder r^8 / 8! is below half a unit in the last place.
struct Exponential {
  Vec minus_one;
  Vec whole;
};

inline Exponential exponential(Vec y) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  y = select(y < -87.0f, Vec{} - 87.0f, y);
  y = select(y > 87.0f, Vec{} + 87.0f, y);
  const Vec shifted = y * 1.44269504f + kRound;
  const Vec n = shifted - kRound;
  const Vec r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
  Vec p = r * (1.0f / 5040) + (1.0f / 720);
  p = p * r + (1.0f / 120);
  p = p * r + (1.0f / 24);
  p = p * r + (1.0f / 6);
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r;
  IntVec exponent;  // n stands in the low bits of the shifted number
  std::memcpy(&exponent, &shifted, sizeof exponent);
  exponent = (exponent << 23) + (127 << 23);
  Vec power;
  std::memcpy(&power, &exponent, sizeof power);
  const Vec minus_one = p * power + (power - 1.0f);
  return {minus_one, p * power + power};
}

inline Vec sigmoid(Vec x) { return 1.0f / (1.0f + exponential(-x).whole); }

inline Vec tanh(Vec x) {
  const Vec magnitude = select(x < 0.0f, -x, x);
  const Vec e = exponential(-2.0f * magnitude).minus_one;
  const Vec t = -e / (2.0f + e);
  return select(x < 0.0f, -t, t);
}

}  // namespace lstm_lab
