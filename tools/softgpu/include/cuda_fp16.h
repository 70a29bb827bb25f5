// Numbers of 16 and 8 bits: each is read as an f32, computed with as such, and rounded to nearest
// when it is stored.
#pragma once
#include "device.h"

struct softgpu_half_bits {
  static uint16_t store(float x) { return softgpu_bits<uint16_t>((_Float16)x); }
  static float load(uint16_t bits) { return (float)softgpu_bits<_Float16>(bits); }
};
struct softgpu_bf16_bits {
  static uint16_t store(float x) {
    const uint32_t bits = __float_as_uint(x);
    if (std::isnan(x)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
  static float load(uint16_t bits) { return __uint_as_float((uint32_t)bits << 16); }
};
template <class Bits> struct softgpu_short_float {
  uint16_t bits;
  softgpu_short_float() = default;
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
  softgpu_short_float(T x) : bits(Bits::store((float)x)) {}
  operator float() const { return Bits::load(bits); }
  softgpu_short_float &operator+=(float x) { return *this = (float)*this + x; }
  softgpu_short_float &operator*=(float x) { return *this = (float)*this * x; }
};
template <class B> softgpu_short_float<B> operator+(softgpu_short_float<B> a, softgpu_short_float<B> b) { return (float)a + (float)b; }
template <class B> softgpu_short_float<B> operator-(softgpu_short_float<B> a, softgpu_short_float<B> b) { return (float)a - (float)b; }
template <class B> softgpu_short_float<B> operator*(softgpu_short_float<B> a, softgpu_short_float<B> b) { return (float)a * (float)b; }
template <class B> softgpu_short_float<B> operator/(softgpu_short_float<B> a, softgpu_short_float<B> b) { return (float)a / (float)b; }
template <class B> softgpu_short_float<B> operator-(softgpu_short_float<B> a) { return -(float)a; }

using __half = softgpu_short_float<softgpu_half_bits>;
using __nv_bfloat16 = softgpu_short_float<softgpu_bf16_bits>;

#define SOFTGPU_SHORT template <class B> softgpu_short_float<B>
SOFTGPU_SHORT hsqrt(softgpu_short_float<B> x) { return sqrtf(x); }
SOFTGPU_SHORT hcos(softgpu_short_float<B> x) { return cosf(x); }
SOFTGPU_SHORT hsin(softgpu_short_float<B> x) { return sinf(x); }
SOFTGPU_SHORT hexp(softgpu_short_float<B> x) { return expf(x); }
SOFTGPU_SHORT hlog(softgpu_short_float<B> x) { return logf(x); }
SOFTGPU_SHORT __habs(softgpu_short_float<B> x) { return fabsf(x); }
SOFTGPU_SHORT __hmax_nan(softgpu_short_float<B> a, softgpu_short_float<B> b) { return isnan((float)a) || a > b ? a : b; }
SOFTGPU_SHORT __hmin_nan(softgpu_short_float<B> a, softgpu_short_float<B> b) { return isnan((float)a) || a < b ? a : b; }
template <class B> bool __hisnan(softgpu_short_float<B> x) { return isnan((float)x); }

struct __nv_bfloat162 { __nv_bfloat16 x, y; };
inline __nv_bfloat162 __hadd2(__nv_bfloat162 a, __nv_bfloat162 b) { return {a.x + b.x, a.y + b.y}; }
inline __nv_bfloat162 __hmul2(__nv_bfloat162 a, __nv_bfloat162 b) { return {a.x * b.x, a.y * b.y}; }

inline float __half2float(float x) { return x; }
inline __half __float2half(float x) { return x; }
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
inline unsigned short __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(unsigned short bits) { __half x; x.bits = bits; return x; }

// Nothing here computes with 8 bits: the type is for the names in candle's files only.
struct __nv_fp8_e4m3 {
  uint8_t __x;
  __nv_fp8_e4m3() = default;
  template <class T> explicit __nv_fp8_e4m3(T) { abort(); }
  operator float() const { abort(); }
};
#define __NV_E4M3 0
inline float __nv_cvt_fp8_to_halfraw(uint8_t, int) { abort(); }
