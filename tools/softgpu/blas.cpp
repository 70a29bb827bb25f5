// cuBLAS products and cuRAND numbers: calls with handles, sizes and pointers come in, all of which
// are checked; sums in the type that the call names go out, terms in the order of k.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "softgpu.h"

using namespace softgpu;

namespace softgpu {

// Answers, element types and compute types by cuBLAS's numbers.
enum { WRONG_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15, RANDOM_FAILED = 201 };
enum { R_32F = 0, R_64F = 1, R_16BF = 14 };
enum { COMPUTE_32F = 68, COMPUTE_64F = 70, COMPUTE_32F_FAST_TF32 = 77 };

template <class F> int blas_call(const char *name, F body) {
  return call_library(name, NOT_SUPPORTED, EXECUTION_FAILED, body);
}
template <class F> int random_call(const char *name, F body) {
  return call_library(name, RANDOM_FAILED, RANDOM_FAILED, body);
}

struct Blas { Context *context; StreamPtr stream; };
struct Random { StreamPtr stream; uint64_t state; };

// A column-major matrix of `rows` by `columns` entries as it lies in memory.
struct Matrix {
  uint64_t at;
  int type, rows, columns, leading;
  bool transposed;
  long long stride;  // to that of the next product of a batch

  size_t width() const { return type == R_64F ? 8 : type == R_32F ? 4 : 2; }
  size_t bytes() const { return rows && columns ? ((size_t)(columns - 1) * leading + rows) * width() : 0; }
  Matrix of(int batch) const {
    Matrix m = *this;
    m.at += (uint64_t)(batch * stride * (long long)width());
    return m;
  }
};

static float from_bf16(uint16_t bits) {
  const uint32_t wide = (uint32_t)bits << 16;
  float x;
  memcpy(&x, &wide, 4);
  return x;
}
// The nearest number with 10 bits of fraction.
static float to_tf32(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if ((bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0xfff + ((bits >> 13) & 1)) & ~0x1fffu;
  memcpy(&x, &bits, 4);
  return x;
}

// Entry (row, column) of the operand as the product sees it.
template <class T> T entry(const Matrix &m, size_t row, size_t column, bool rounded) {
  const size_t i = m.transposed ? row * m.leading + column : column * m.leading + row;
  if (m.type == R_64F) return (T)((const double *)m.at)[i];
  if (m.type == R_16BF) return (T)from_bf16(((const uint16_t *)m.at)[i]);
  const float x = ((const float *)m.at)[i];
  return (T)(rounded ? to_tf32(x) : x);
}

// c = alpha a b + beta c, a few columns at a time.
template <class T>
void multiply(const Matrix &a, const Matrix &b, const Matrix &c, size_t depth, double alpha,
              double beta, bool rounded) {
  const size_t m = c.rows, n = c.columns, COLUMNS = 4, ROWS = 256;
  std::vector<T> left(m * depth);
  for (size_t p = 0; p < depth; p++)
    for (size_t i = 0; i < m; i++) left[p * m + i] = entry<T>(a, i, p, rounded);
  std::vector<T> right(depth * COLUMNS);
  for (size_t j = 0; j < n; j += COLUMNS) {
    const size_t width = std::min(COLUMNS, n - j);
    for (size_t p = 0; p < depth; p++)
      for (size_t l = 0; l < COLUMNS; l++)
        right[p * COLUMNS + l] = l < width ? entry<T>(b, p, j + l, rounded) : T(0);
    for (size_t start = 0; start < m; start += ROWS) {
      const size_t rows = std::min(ROWS, m - start);
      T sums[COLUMNS][ROWS] = {};
      for (size_t p = 0; p < depth; p++) {
        const T *from = &left[p * m + start], *factor = &right[p * COLUMNS];
        for (size_t i = 0; i < rows; i++)
          for (size_t l = 0; l < COLUMNS; l++) sums[l][i] += from[i] * factor[l];
      }
      for (size_t l = 0; l < width; l++) {
        T *to = (T *)c.at + (j + l) * c.leading + start;
        for (size_t i = 0; i < rows; i++)
          to[i] = (T)alpha * sums[l][i] + (beta == 0 ? T(0) : (T)beta * to[i]);
      }
    }
  }
}

// Flips the lowest bit of the exponent of the largest entry, which is doubled or halved: what a
// broken chip might do.
static void flip(const Matrix &c) {
  size_t largest = 0;
  double size = -1;
  const bool wide = c.type == R_64F;
  for (int column = 0; column < c.columns; column++)
    for (int row = 0; row < c.rows; row++) {
      const size_t i = (size_t)column * c.leading + row;
      const double entry = wide ? ((double *)c.at)[i] : ((float *)c.at)[i];
      if (std::abs(entry) > size) size = std::abs(entry), largest = i;
    }
  ((unsigned char *)c.at)[largest * c.width() + c.width() - 2] ^= wide ? 16 : 128;
}

static bool supported(int a, int b, int c, int compute) {
  switch (compute) {
    case COMPUTE_64F: return a == R_64F && b == R_64F && c == R_64F;
    case COMPUTE_32F: return a == b && (a == R_32F || a == R_16BF) && c == R_32F;
    case COMPUTE_32F_FAST_TF32: return a == R_32F && b == R_32F && c == R_32F;
    default: return false;
  }
}

static void product(const char *name, Blas *handle, Matrix a, Matrix b, Matrix c, int depth,
                    int batch, int compute, const void *alpha, const void *beta) {
  Context &context = need_context();
  if (&context != handle->context) {
    complain("other context", "%s with a handle of another device", name);
    throw Refused{EXECUTION_FAILED};
  }
  for (const Matrix *m : {&a, &b, &c})
    if (m->rows < 0 || m->columns < 0 || m->leading < std::max(1, m->rows)) {
      complain("leading dimension", "%s: %d rows, %d columns, leading dimension %d", name, m->rows,
               m->columns, m->leading);
      throw Refused{WRONG_VALUE};
    }
  if (!supported(a.type, b.type, c.type, compute)) {
    complain("types", "%s: %d %d %d, compute type %d", name, a.type, b.type, c.type, compute);
    throw Refused{NOT_SUPPORTED};
  }
  if (!c.rows || !c.columns || !batch) return;
  const bool wide = compute == COMPUTE_64F;
  const auto factor = [wide](const void *at) { return wide ? *(double *)at : *(float *)at; };
  const double by = factor(alpha), keep = factor(beta);
  for (const Matrix *m : {&a, &b, &c}) check_pointer(name, m->at, context);
  const bool flips = fault("flip");
  Context *own = &context;
  give(handle->stream, [=] {
    for (int i = 0; i < batch; i++) {
      for (const Matrix &m : {a, b, c})
        if (!inside(name, m.of(i).at, m.bytes(), *own)) return;
      const bool rounded = compute == COMPUTE_32F_FAST_TF32;
      if (wide) multiply<double>(a.of(i), b.of(i), c.of(i), depth, by, keep, false);
      else multiply<float>(a.of(i), b.of(i), c.of(i), depth, by, keep, rounded);
    }
    if (flips) flip(c);
  });
}

// A matrix that is (rows, columns) after its operation.
static Matrix operand(const void *at, int type, int operation, int rows, int columns, int leading,
                      long long stride) {
  const bool transposed = operation != 0;
  return {(uint64_t)at, type, transposed ? columns : rows, transposed ? rows : columns, leading,
          transposed, stride};
}

template <class T, class F> int fill(Random *generator, T *to, size_t n, F next) {
  return random_call("curandGenerate", [=] {
    if (n % 2) throw Refused{105};  // pairs only
    give(generator->stream, [=] {
      auto uniform = [=] {
        generator->state = generator->state * 6364136223846793005ull + 1442695040888963407ull;
        return ((generator->state >> 33) + 0.5) / 2147483648.0;
      };
      if (!inside("curandGenerate", (uint64_t)to, n * sizeof(T), *generator->stream->context)) return;
      for (size_t i = 0; i < n; i++) to[i] = (T)next(uniform);
    });
  });
}
template <class T> int normals(Random *generator, T *to, size_t n, T mean, T deviation) {
  return fill(generator, to, n, [=](auto &uniform) {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return mean + deviation * radius * std::cos(6.283185307179586 * uniform());
  });
}

}  // namespace softgpu

API int cublasCreate_v2(Blas **handle) {
  return blas_call("cublasCreate", [=] { *handle = new Blas{&need_context(), need_stream(nullptr)}; });
}
// Of a broken context it fails, as its other calls do.
API int cublasDestroy_v2(Blas *handle) {
  return blas_call("cublasDestroy", [=] { delete handle; });
}
API int cublasSetStream_v2(Blas *handle, void *stream) {
  return blas_call("cublasSetStream", [=] { handle->stream = need_stream(stream); });
}
API const char *cublasGetStatusString(int) { return "refused by the software GPU"; }

API int cublasGemmStridedBatchedEx(Blas *handle, int ta, int tb, int m, int n, int k,
                                   const void *alpha, const void *a, int at, int lda, long long sa,
                                   const void *b, int bt, int ldb, long long sb, const void *beta,
                                   void *c, int ct, int ldc, long long sc, int batch, int compute,
                                   int) {
  return blas_call("cublasGemmStridedBatchedEx", [=] {
    product("cublasGemmStridedBatchedEx", handle, operand(a, at, ta, m, k, lda, sa),
            operand(b, bt, tb, k, n, ldb, sb), operand(c, ct, 0, m, n, ldc, sc), k, batch, compute,
            alpha, beta);
  });
}
API int cublasGemmEx(Blas *handle, int ta, int tb, int m, int n, int k, const void *alpha,
                     const void *a, int at, int lda, const void *b, int bt, int ldb,
                     const void *beta, void *c, int ct, int ldc, int compute, int) {
  return blas_call("cublasGemmEx", [=] {
    product("cublasGemmEx", handle, operand(a, at, ta, m, k, lda, 0), operand(b, bt, tb, k, n, ldb, 0),
            operand(c, ct, 0, m, n, ldc, 0), k, 1, compute, alpha, beta);
  });
}
API int cublasDgemmStridedBatched(Blas *handle, int ta, int tb, int m, int n, int k,
                                  const double *alpha, const double *a, int lda, long long sa,
                                  const double *b, int ldb, long long sb, const double *beta,
                                  double *c, int ldc, long long sc, int batch) {
  return cublasGemmStridedBatchedEx(handle, ta, tb, m, n, k, alpha, a, R_64F, lda, sa, b, R_64F, ldb,
                                    sb, beta, c, R_64F, ldc, sc, batch, COMPUTE_64F, -1);
}

API int curandCreateGenerator(Random **generator, int) {
  return random_call("curandCreateGenerator", [=] { *generator = new Random{need_stream(nullptr), 1}; });
}
API int curandDestroyGenerator(Random *generator) {
  return random_call("curandDestroyGenerator", [=] { delete generator; });
}
API int curandSetStream(Random *generator, void *stream) {
  return random_call("curandSetStream", [=] { generator->stream = need_stream(stream); });
}
API int curandSetPseudoRandomGeneratorSeed(Random *generator, unsigned long long seed) {
  generator->state = seed * 2654435761u + 1;
  return OK;
}
API int curandSetGeneratorOffset(Random *, unsigned long long) { return OK; }
API int curandGenerateNormal(Random *g, float *to, size_t n, float mean, float deviation) {
  return normals(g, to, n, mean, deviation);
}
API int curandGenerateNormalDouble(Random *g, double *to, size_t n, double mean, double deviation) {
  return normals(g, to, n, mean, deviation);
}
API int curandGenerateUniform(Random *g, float *to, size_t n) {
  return fill(g, to, n, [](auto &uniform) { return uniform(); });
}
API int curandGenerateUniformDouble(Random *g, double *to, size_t n) {
  return fill(g, to, n, [](auto &uniform) { return uniform(); });
}
