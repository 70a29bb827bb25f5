/* Common to all kernels. They are written in the common subset of C and CUDA C, one output entry a
 * thread, so that a host's C compiler checks their index arithmetic: there a kernel is a function of
 * the entry i, called in a loop.
 *
 * A kernel reads its inputs a, b, c, d, its sizes SIZE(k) and writes out[i]. Sizes come with the
 * constants of division by multiplication: n / d = (high half of n magic + n) >> shift for n < 2^31. */
#if DOUBLE
typedef double REAL;
#define MATH(name) name
#else
typedef float REAL;
#define MATH(name) name##f
#endif
#define EXP MATH(exp)

typedef struct {
  unsigned int value, magic, shift;
} Size;

typedef struct {
  Size at[14];
} Sizes;

#define SIZE(k) (sizes->at[k].value)

#ifdef __CUDACC__
#define INLINE static __device__ __forceinline__
#define HIGH_HALF(n, m) __umulhi(n, m)
#define INPUT const REAL *__restrict__
#define KERNEL(name)                                                                              \
  INLINE void name##_entry(unsigned int i, const Sizes *sizes, INPUT a, INPUT b, INPUT c,         \
                           INPUT d, REAL *__restrict__ out);                                      \
  extern "C" __global__ void name(const unsigned int count, const Sizes sizes, INPUT a, INPUT b,  \
                                  INPUT c, INPUT d, REAL *__restrict__ out) {                     \
    const unsigned int i = blockIdx.x * blockDim.x + threadIdx.x;                                 \
    if (i < count) name##_entry(i, &sizes, a, b, c, d, out);                                      \
  }                                                                                               \
  INLINE void name##_entry(unsigned int i, const Sizes *sizes, INPUT a, INPUT b, INPUT c,         \
                           INPUT d, REAL *__restrict__ out)
#else
#include <math.h>
#define INLINE static inline
#define HIGH_HALF(n, m) ((unsigned int)(((unsigned long long)(n) * (m)) >> 32))
#define INPUT const REAL *
#define KERNEL(name)                                                                              \
  void name(unsigned int i, const Sizes *sizes, INPUT a, INPUT b, INPUT c, INPUT d, REAL *out)
#endif

/* n / SIZE(k), leaving the remainder in *n. */
INLINE unsigned int quotient(unsigned int n, const Sizes *sizes, unsigned int k) {
  return (HIGH_HALF(n, sizes->at[k].magic) + n) >> sizes->at[k].shift;
}

/* Splits *n: the remainder of the division by SIZE(k) is returned, the quotient stays. */
INLINE unsigned int split(unsigned int *n, const Sizes *sizes, unsigned int k) {
  const unsigned int q = quotient(*n, sizes, k), r = *n - q * SIZE(k);
  *n = q;
  return r;
}
