/* Entry by entry; SIZE(0) is the code of the function, its parameters P and Q follow as sizes of
 * 22 bits: the bits of an f64 number in three of them. */
INLINE REAL parameter(const Sizes *sizes, unsigned int k) {
  union {
    unsigned long long bits;
    double number;
  } both;
  both.bits = SIZE(k) | (unsigned long long)SIZE(k + 1) << 22 | (unsigned long long)SIZE(k + 2) << 44;
  return (REAL)both.number;
}

#define P parameter(sizes, 1)
#define Q parameter(sizes, 4)

/* a x^p, 0 where a is. */
INLINE REAL monomial(REAL a, REAL x, REAL p) { return a == 0 ? 0 : a * MATH(pow)(x, p); }

INLINE REAL function(const Sizes *sizes, REAL x) {
  switch (SIZE(0)) {
  case Exp: return EXP(x);
  case Log: return MATH(log)(x);
  case Sqrt: return MATH(sqrt)(x);
  case ReciprocalSqrt: return 1 / MATH(sqrt)(x);
  case Reciprocal: return 1 / x;
  case Sin: return MATH(sin)(x);
  case Cos: return MATH(cos)(x);
  case Abs: return MATH(fabs)(x);
  case Power: return MATH(pow)(x, P);
  case LeakyReluOf: return leaky_relu(P, x);
  case EluOf: return elu(P, x);
  case Affine: return P * x + Q;
  case Clamp: return x <= P ? P : x >= Q ? Q : x;
  default: return value(SIZE(0), x);
  }
}

INLINE REAL first(const Sizes *sizes, REAL x) {
  switch (SIZE(0)) {
  case Exp: return EXP(x);
  case Log: return 1 / x;
  case Sqrt: return (REAL)0.5 / MATH(sqrt)(x);
  case ReciprocalSqrt: return (REAL)-0.5 / (x * MATH(sqrt)(x));
  case Reciprocal: return -1 / (x * x);
  case Sin: return MATH(cos)(x);
  case Cos: return -MATH(sin)(x);
  case Abs: return x > 0 ? 1 : x < 0 ? -1 : 0;
  case Power: return monomial(P, x, P - 1);
  case LeakyReluOf: return x > 0 ? 1 : P;
  case EluOf: return elu_first(P, x);
  case Affine: return P;
  case Clamp: return x <= P || x >= Q ? 0 : 1;
  default: return derivative(SIZE(0), x);
  }
}

INLINE REAL second(const Sizes *sizes, REAL x) {
  switch (SIZE(0)) {
  case Exp: return EXP(x);
  case Log: return -1 / (x * x);
  case Sqrt: return (REAL)-0.25 / (x * MATH(sqrt)(x));
  case ReciprocalSqrt: return (REAL)0.75 / (x * x * MATH(sqrt)(x));
  case Reciprocal: return 2 / (x * x * x);
  case Sin: return -MATH(sin)(x);
  case Cos: return -MATH(cos)(x);
  case Power: return monomial(P * (P - 1), x, P - 2);
  case EluOf: return elu_second(P, x);
  case Abs: case LeakyReluOf: case Affine: case Clamp: return 0;
  default: return curvature(SIZE(0), x);
  }
}

/* f(a) */
KERNEL(function_value) { out[i] = function(sizes, a[i]); }

/* f'(a) b */
KERNEL(function_derivative) { out[i] = first(sizes, a[i]) * b[i]; }

/* f''(a) b c */
KERNEL(function_curvature) { out[i] = second(sizes, a[i]) * b[i] * c[i]; }

/* f(a + b) */
KERNEL(sum) { out[i] = function(sizes, a[i] + b[i]); }

/* f'(a + b) c */
KERNEL(sum_derivative) { out[i] = first(sizes, a[i] + b[i]) * c[i]; }
