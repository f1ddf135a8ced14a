// Vectors of the machine's width, and the few functions of them that a Mamba block needs.
//
// They are GCC's vector extensions (clang has them too): one source for AVX-512, AVX2, SSE and NEON. No flag of the
// -ffast-math family is needed, so that not-a-number stays not-a-number.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#if defined(__SSE__)
#include <immintrin.h>
#endif

namespace native {

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif

struct bf16 {
  uint16_t bits;
};

template <class T>
struct Simd;

template <>
struct Simd<float> {
  static constexpr int W = VECTOR_BYTES / sizeof(float);
  typedef float V __attribute__((vector_size(VECTOR_BYTES)));
  typedef int32_t I __attribute__((vector_size(VECTOR_BYTES)));
  typedef uint32_t U __attribute__((vector_size(VECTOR_BYTES)));
  typedef uint16_t H __attribute__((vector_size(VECTOR_BYTES / 2)));
  static constexpr float MAGIC = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  static constexpr int MANTISSA = 23;
  static constexpr float LOWEST = -126.0f, HIGHEST = 127.0f;
  // Minimax polynomial of 2^x on [-1/2, 1/2] whose relative error is 2e-9; the first is 1, so that 2^0 is 1.
  static constexpr int DEGREE = 6;
  static constexpr float EXP2[DEGREE + 1] = {1.0f,
                                             0.6931472057372666f,
                                             0.24022646890628313f,
                                             0.05550328776967535f,
                                             0.009618488957718885f,
                                             0.001339993121859763f,
                                             0.00015345811846013795f};
  static constexpr int ATANH = 8;  // terms of the series of log1p
};

template <>
struct Simd<double> {
  static constexpr int W = VECTOR_BYTES / sizeof(double);
  typedef double V __attribute__((vector_size(VECTOR_BYTES)));
  typedef int64_t I __attribute__((vector_size(VECTOR_BYTES)));
  static constexpr double MAGIC = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr int MANTISSA = 52;
  static constexpr double LOWEST = -1022.0, HIGHEST = 1023.0;
  static constexpr int DEGREE = 13;  // Taylor: ln(2)^k / k!
  static constexpr double EXP2[DEGREE + 1] = {1.0,
                                              0.6931471805599453,
                                              0.24022650695910072,
                                              0.05550410866482158,
                                              0.009618129107628477,
                                              0.0013333558146428443,
                                              0.00015403530393381608,
                                              1.5252733804059841e-05,
                                              1.321548679014431e-06,
                                              1.01780860092397e-07,
                                              7.054911620801123e-09,
                                              4.4455382718708116e-10,
                                              2.5678435993488206e-11,
                                              1.3691488853904128e-12};
  static constexpr int ATANH = 17;
};

template <class T>
using Vec = typename Simd<T>::V;

constexpr double LOG2E = 1.4426950408889634, LN2 = 0.6931471805599453;

template <class T>
inline Vec<T> splat(T x) {
  return Vec<T>{} + x;
}

// ---- memory ----

inline Vec<float> load(const float* p) {
  Vec<float> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline Vec<double> load(const double* p) {
  Vec<double> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline Vec<float> load(const bf16* p) {
  Simd<float>::H half;
  std::memcpy(&half, p, sizeof half);
  return (Vec<float>)(__builtin_convertvector(half, Simd<float>::U) << 16);
}

template <class T>
inline void store(T* p, Vec<T> v) {
  std::memcpy(p, &v, sizeof v);
}

// To the nearest, ties to even.
inline void store(bf16* p, Vec<float> v) {
  auto bits = (Simd<float>::U)v;
  auto rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  auto quiet = Simd<float>::U{} + 0x7fc0;
  auto half = __builtin_convertvector((v == v) ? rounded : quiet, Simd<float>::H);
  std::memcpy(p, &half, sizeof half);
}

// The number that sums are kept in.
template <class T>
inline T wide(T x) {
  return x;
}

inline float wide(bf16 x) {
  const uint32_t bits = uint32_t(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The first `lanes` numbers, zeros behind them.
template <class T, class S>
inline Vec<T> load(const S* p, int lanes) {
  if (lanes == Simd<T>::W) return load(p);
  S padded[Simd<T>::W] = {};
  std::memcpy(padded, p, lanes * sizeof(S));
  return load(padded);
}

template <class T, class S>
inline void store(S* p, Vec<T> v, int lanes) {
  if (lanes == Simd<T>::W) return store(p, v);
  S padded[Simd<T>::W];
  store(padded, v);
  std::memcpy(p, padded, lanes * sizeof(S));
}

// Calls with each block's first channel and its lanes: a constant for whole vectors, so that these need no check.
template <class T, class F>
inline void each_block(int64_t first, int64_t last, F&& call) {
  constexpr int W = Simd<T>::W;
  int64_t channel = first;
  for (; channel + W <= last; channel += W) call(channel, std::integral_constant<int, W>{});
  if (channel < last) call(channel, int(last - channel));
}

// Room for `size` vectors, aligned, of unknown content.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t size) : data_(static_cast<Vec<T>*>(::operator new(size* VECTOR_BYTES + 1, ALIGN))) {}
  ~Scratch() { ::operator delete(data_, ALIGN); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  operator Vec<T>*() { return data_; }

 private:
  static constexpr std::align_val_t ALIGN{64};
  Vec<T>* data_;
};

// While it lives, this thread takes numbers below the smallest normal one for 0: a state that dies away would be slow.
class FlushTiny {
#if defined(__SSE__)
 public:
  FlushTiny() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushTiny() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#else
 public:
  FlushTiny() {}
#endif
};

// ---- functions ----

template <class T>
inline T sum(Vec<T> v) {
  T lanes[Simd<T>::W];
  std::memcpy(lanes, &v, sizeof v);
  for (int width = Simd<T>::W / 2; width; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

template <class T, int... J>
inline Vec<T> shuffled(Vec<T> a, Vec<T> b) {
#if __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(a, b, J...);
#else
  return __builtin_shuffle(a, b, typename Simd<T>::I{J...});
#endif
}

// Of each pair of lanes that are S apart the sum: of a's where the lane's number has no bit S, of b's where it has.
template <class T, int S, int... I>
inline Vec<T> fold(Vec<T> a, Vec<T> b, std::integer_sequence<int, I...>) {
  constexpr int W = Simd<T>::W;
  return shuffled<T, (I & S ? W + I : I)...>(a, b) + shuffled<T, (I & S ? W + I - S : I + S)...>(a, b);
}

// Lane i of the result is the sum over the lanes of v[i], for one vector a lane; v is used up.
template <class T, int S = Simd<T>::W / 2>
inline Vec<T> sums(Vec<T>* v) {
#pragma GCC unroll 8
  for (int i = 0; i < S; ++i) v[i] = fold<T, S>(v[i], v[i + S], std::make_integer_sequence<int, Simd<T>::W>{});
  if constexpr (S > 1) return sums<T, S / 2>(v);
  else return v[0];
}

// The nearest whole number and 2 to its power times p.
#if defined(__AVX512F__)
inline Vec<float> nearest(Vec<float> x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Vec<double> nearest(Vec<double> x) {
  return _mm512_roundscale_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Vec<float> scale(Vec<float> p, Vec<float> k) { return _mm512_scalef_ps(p, k); }
inline Vec<double> scale(Vec<double> p, Vec<double> k) { return _mm512_scalef_pd(p, k); }
#endif

// 2^x. Far below the smallest normal number it is that number or 0, beyond the largest some number that is as large.
template <class T>
inline Vec<T> exp2(Vec<T> x) {
  using K = Simd<T>;
#if defined(__AVX512F__)
  const Vec<T> whole = nearest(x);
#else
  const Vec<T> low = splat<T>(K::LOWEST), high = splat<T>(K::HIGHEST);
  x = x < low ? low : x;
  x = x > high ? high : x;
  const Vec<T> shifted = x + K::MAGIC, whole = shifted - K::MAGIC;
#endif
  const Vec<T> rest = x - whole;
  Vec<T> p = splat<T>(K::EXP2[K::DEGREE]);
#pragma GCC unroll 16
  for (int k = K::DEGREE - 1; k >= 0; --k) p = p * rest + K::EXP2[k];
#if defined(__AVX512F__)
  return scale(p, whole);
#else
  using I = typename K::I;
  return (Vec<T>)((I)p + ((I)shifted << K::MANTISSA));
#endif
}

template <class T>
inline Vec<T> exp(Vec<T> x) {
  return exp2<T>(x * T(LOG2E));
}

template <class T>
inline Vec<T> sigmoid(Vec<T> x) {
  return T(1) / (T(1) + exp<T>(-x));
}

// log(1 + y) for y in [0, 1], by 2 artanh(y / (2 + y)).
template <class T>
inline Vec<T> log1p_unit(Vec<T> y) {
  const Vec<T> s = y / (T(2) + y), square = s * s;
  Vec<T> p = splat<T>(T(1) / (2 * Simd<T>::ATANH + 1));
#pragma GCC unroll 32
  for (int k = Simd<T>::ATANH - 1; k >= 0; --k) p = p * square + T(1) / (2 * k + 1);
  return T(2) * s * p;
}

template <class T>
struct Soft {
  Vec<T> value, slope;
};

// log(1 + e^x), and its slope in x.
template <class T>
inline Soft<T> softplus(Vec<T> x) {
  const Vec<T> zero{}, one = zero + T(1), y = exp<T>(x < zero ? x : -x);
  return {(x < zero ? zero : x) + log1p_unit<T>(y), (x < zero ? y : one) / (one + y)};
}

}  // namespace native
