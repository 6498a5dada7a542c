// Vectors of floats and their elementary functions, by the compiler's portable vector types.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

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
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps((1u << n) - 1, p);
#else
  Vec v = {};
  std::memcpy(&v, p, n * sizeof(float));
  return v;
#endif
}

inline void store(float* p, Vec v, int n) {
  if (n >= kLanes) return store(p, v);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (1u << n) - 1, v);
#else
  std::memcpy(p, &v, n * sizeof(float));
#endif
}

inline Vec select(IntVec mask, Vec chosen, Vec other) { return mask ? chosen : other; }

// The steps of exp and of a division for which AVX-512 has an instruction and others take several.
#if defined(__AVX512F__)
inline Vec least(Vec bound, Vec y) { return _mm512_min_ps(bound, y); }  // NaN stays
inline Vec greatest(Vec bound, Vec y) { return _mm512_max_ps(bound, y); }
inline Vec nearest(Vec y) {
  return _mm512_roundscale_ps(y, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Vec scaled(Vec p, Vec n) { return _mm512_scalef_ps(p, n); }
// One step of Newton's from 14 bits, right to about one unit in the last place.
inline Vec reciprocal(Vec d) {
  const Vec r = _mm512_rcp14_ps(d);
  return r * (1.0f - d * r) + r;
}
#else
inline Vec least(Vec bound, Vec y) { return select(bound < y, bound, y); }
inline Vec greatest(Vec bound, Vec y) { return select(bound > y, bound, y); }
inline Vec nearest(Vec y) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  return (y + kRound) - kRound;
}
inline Vec scaled(Vec p, Vec n) {
  const IntVec exponent = (__builtin_convertvector(n, IntVec) + 127) << 23;
  Vec power;
  std::memcpy(&power, &exponent, sizeof power);
  return p * power;
}
inline Vec reciprocal(Vec d) { return 1.0f / d; }
#endif

// exp(y) = 2^n (1 + p) by the reduction y = n ln 2 + r, |r| <= ln(2) / 2, with the Taylor polynomial
// p of exp(r) - 1, whose remainder r^8 / 8! is below half a unit in the last place.
struct Exponential {
  Vec p, n;

  explicit Exponential(Vec y) {
    y = least(Vec{} + 87.0f, greatest(Vec{} - 87.0f, y));
    n = nearest(y * 1.44269504f);
    const Vec r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
    p = r * (1.0f / 5040) + (1.0f / 720);
    p = p * r + (1.0f / 120);
    p = p * r + (1.0f / 24);
    p = p * r + (1.0f / 6);
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r;
  }
  Vec whole() const { return scaled(p + 1.0f, n); }
  Vec minus_one() const {
    const Vec power = scaled(Vec{} + 1.0f, n);
    return p * power + (power - 1.0f);
  }
};

inline Vec sigmoid(Vec x) { return reciprocal(1.0f + Exponential(-x).whole()); }

inline Vec tanh(Vec x) {
  const Vec magnitude = select(x < 0.0f, -x, x);
  const Vec e = Exponential(-2.0f * magnitude).minus_one();
  const Vec t = -e * reciprocal(2.0f + e);
  return select(x < 0.0f, -t, t);
}

}  // namespace lstm_lab
