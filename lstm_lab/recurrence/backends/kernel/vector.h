// Vectors of floats and their elementary functions, by the compiler's portable vector types.
#pragma once

#include <cmath>
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
typedef uint32_t UintVec __attribute__((vector_size(kLanes * 4)));
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
// Lanes of a, numbered from 0, and of b, numbered from kLanes.
inline Vec lanes_of(Vec a, Vec b, IntVec numbers) {
  return _mm512_permutex2var_ps(a, reinterpret_cast<__m512i>(numbers), b);
}
#else
inline Vec lanes_of(Vec a, Vec b, IntVec numbers) {
  Vec v;
  for (int lane = 0; lane < kLanes; ++lane)
    v[lane] = numbers[lane] < kLanes ? a[numbers[lane]] : b[numbers[lane] - kLanes];
  return v;
}
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

// Makes the rows of a square its columns: blocks of s by s change places, for s = 1, 2, 4, ...
inline void transpose(Vec (&square)[kLanes]) {
#pragma GCC unroll 4
  for (int s = 1; s < kLanes; s *= 2) {
    IntVec upper, lower;
    for (int lane = 0; lane < kLanes; ++lane) {
      upper[lane] = lane & s ? kLanes + lane - s : lane;
      lower[lane] = lane & s ? kLanes + lane : lane + s;
    }
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) {
      if (r & s) continue;
      const Vec a = square[r], b = square[r + s];
      square[r] = lanes_of(a, b, upper);
      square[r + s] = lanes_of(a, b, lower);
    }
  }
}

// exp(y) = 2^n (1 + p) by the reduction y = n ln 2 + r, |r| <= ln(2) / 2, with the Taylor polynomial
// p of exp(r) - 1, whose remainder r^8 / 8! is below half a unit in the last place.
struct Exponential {
  Vec p, n;

  explicit Exponential(Vec y, float bound = 87.0f) {
    y = least(Vec{} + bound, greatest(Vec{} - bound, y));
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

// exp over the whole range: infinity above 88.7 and zero below -104, as the exact function rounds.
// 2^n is applied in two halves, since one float cannot hold it at the ends of the range.
inline Vec exp(Vec x) {
  const Exponential e(x, 104.0f);
  const Vec half = nearest(e.n * 0.5f);
  return scaled(scaled(e.p + 1.0f, half), e.n - half);
}

inline Vec expm1(Vec x) {
  return select(x < 0.5f, select(x > -17.0f, Exponential(x).minus_one(), Vec{} - 1.0f), exp(x) - 1.0f);
}

// A function of one or two numbers for which there is no vector form, lane by lane.
template <typename Function>
inline Vec each(Function f, Vec a) {
  for (int lane = 0; lane < kLanes; ++lane) a[lane] = f(a[lane]);
  return a;
}
template <typename Function>
inline Vec each(Function f, Vec a, Vec b) {
  for (int lane = 0; lane < kLanes; ++lane) a[lane] = f(a[lane], b[lane]);
  return a;
}

// log(x) = e ln 2 + 2 artanh((m - 1) / (m + 1)) for x = 2^e m with m near 1; the series of artanh is
// cut after its ninth power. Zero, negative numbers, infinity and numbers below the normal ones go
// to the library.
inline Vec log(Vec x) {
  UintVec bits;  // unsigned, since those of a negative number leave the range
  std::memcpy(&bits, &x, sizeof bits);
  const UintVec shifted = bits - 0x3f3504f3u;  // of sqrt(1/2): m lies in [sqrt(1/2), sqrt(2))
  const IntVec exponent = reinterpret_cast<IntVec>(shifted) >> 23;
  const UintVec mantissa = bits - (reinterpret_cast<UintVec>(exponent) << 23);
  Vec m;
  std::memcpy(&m, &mantissa, sizeof m);
  const Vec e = __builtin_convertvector(exponent, Vec);
  const Vec t = (m - 1.0f) / (m + 1.0f), s = t * t;
  Vec p = s * (1.0f / 9) + (1.0f / 7);
  p = p * s + (1.0f / 5);
  p = p * s + (1.0f / 3);
  const Vec artanh = t + t * s * p;
  const Vec value = e * 0.693359375f + (2.0f * artanh - e * 2.12194440e-4f);
  const IntVec normal = (x >= 1.17549435e-38f) & (x <= 3.4e38f);
  bool all = true;
  for (int lane = 0; lane < kLanes; ++lane) all = all && normal[lane];
  return all ? value : select(normal, value, each([](float y) { return std::log(y); }, x));
}

// log(1 + x) from log(u) with u = 1 + x rounded, corrected by what the rounding lost (Kahan).
inline Vec log1p(Vec x) {
  const Vec u = 1.0f + x, d = u - 1.0f;
  return select((d == 0.0f) | (u != u) | (u > 3.4e38f), select(u > 3.4e38f, u, x), log(u) * (x / d));
}

#if defined(__AVX512F__)
inline Vec square_root(Vec x) { return _mm512_sqrt_ps(x); }
#else
inline Vec square_root(Vec x) { return each([](float y) { return std::sqrt(y); }, x); }
#endif

// As XLA's: NaN stays, whichever operand it is.
inline Vec maximum(Vec a, Vec b) { return select((a > b) | (a != a), a, b); }
inline Vec minimum(Vec a, Vec b) { return select((a < b) | (a != a), a, b); }

inline Vec sign(Vec x) {
  return select(x > 0.0f, Vec{} + 1.0f, select(x < 0.0f, Vec{} - 1.0f, x));
}
inline Vec power(Vec x, int n) {
  Vec y = Vec{} + 1.0f;
  for (int k = n < 0 ? -n : n; k; k >>= 1, x *= x)
    if (k & 1) y *= x;
  return n < 0 ? 1.0f / y : y;
}

inline float sum(Vec v) {
  float total = 0.0f;
  for (int lane = 0; lane < kLanes; ++lane) total += v[lane];
  return total;
}

// The first n lanes; the others are zero, whatever they held.
inline Vec first(Vec v, int n) {
  if (n >= kLanes) return v;
  Vec kept = {};
  for (int lane = 0; lane < n; ++lane) kept[lane] = v[lane];
  return kept;
}

}  // namespace lstm_lab
