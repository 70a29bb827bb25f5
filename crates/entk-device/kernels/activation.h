/* Activations and their derivatives, by code: those of Activation::ALL, then those of Function. */
enum {
  Relu = 1, Gelu, Silu, Tanh, Square, GeluErf, Relu6, LeakyRelu, Elu, Selu, Mish, Sigmoid,
  Softplus, HardSwish, HardSigmoid,
  Exp, Log, Sqrt, ReciprocalSqrt, Reciprocal, Sin, Cos, Abs, Power, LeakyReluOf, EluOf, Affine,
  Clamp
};

/* 2 sqrt(2/pi) and the cubic coefficient of the tanh form of the GELU. */
#define GELU_SLOPE ((REAL)1.5957691216057308)
#define GELU_CUBE ((REAL)0.044715)
#define SQRT_HALF ((REAL)0.70710678118654752)
#define SELU_SCALE ((REAL)1.0507009873554805)
#define SELU_ALPHA ((REAL)1.6732632423543772)

INLINE REAL sigmoid(REAL x) { return 1 / (1 + EXP(-x)); }

/* First and second derivative from exp(-|x|): no difference cancels. */
INLINE REAL sigmoid_first(REAL x) {
  const REAL e = EXP(-MATH(fabs)(x));
  return e / ((1 + e) * (1 + e));
}

INLINE REAL sigmoid_second(REAL x) {
  const REAL e = EXP(-MATH(fabs)(x)), second = e * (1 - e) / ((1 + e) * (1 + e) * (1 + e));
  return x > 0 ? -second : second;
}

INLINE REAL gelu_argument(REAL x) { return GELU_SLOPE * (x + GELU_CUBE * x * x * x); }

/* x s for a factor s that vanishes faster than x grows: 0 at an infinite x too. */
INLINE REAL damped(REAL x, REAL s) { return s == 0 ? 0 : x * s; }

INLINE REAL normal_cdf(REAL x) { return (REAL)0.5 * MATH(erfc)(-x * SQRT_HALF); }

INLINE REAL normal_density(REAL x) { return GELU_SLOPE / 4 * EXP((REAL)-0.5 * x * x); }

/* tanh(ln(1 + exp(x))) and its derivatives: rational functions of exp(x) = a / b, where the larger
 * of a and b is 1. */
INLINE REAL mish_gate(unsigned int order, REAL x) {
  const REAL e = EXP(-MATH(fabs)(x)), a = x > 0 ? 1 : e, b = x > 0 ? e : 1;
  const REAL above = a * (a + b + b), d = above + 2 * b * b;
  const REAL first = 4 * a * b * b * (a + b) / (d * d);
  const REAL bend = 2 * b * b * (a + b) - a * a * (3 * b + a + a);
  return order == 0 ? above / d : order == 1 ? first : first * bend / ((a + b) * d);
}

INLINE REAL leaky_relu(REAL slope, REAL x) { return x > 0 ? x : slope * x; }

INLINE REAL elu(REAL alpha, REAL x) { return x > 0 ? x : alpha * MATH(expm1)(x); }

INLINE REAL elu_first(REAL alpha, REAL x) { return x > 0 ? 1 : alpha * EXP(x); }

INLINE REAL elu_second(REAL alpha, REAL x) { return x >= 0 ? 0 : alpha * EXP(x); }

INLINE REAL value(unsigned int code, REAL x) {
  switch (code) {
  case Relu: return x <= 0 ? 0 : x;
  case Gelu: return x * sigmoid(gelu_argument(x));
  case Silu: return x * sigmoid(x);
  case Tanh: return MATH(tanh)(x);
  case Square: return x * x;
  case GeluErf: return damped(x, normal_cdf(x));
  case Relu6: return x <= 0 ? 0 : x >= 6 ? 6 : x;
  case LeakyRelu: return leaky_relu((REAL)0.01, x);
  case Elu: return elu(1, x);
  case Selu: return SELU_SCALE * elu(SELU_ALPHA, x);
  case Mish: return damped(x, mish_gate(0, x));
  case Sigmoid: return sigmoid(x);
  case Softplus: return (x < 0 ? 0 : x) + MATH(log1p)(EXP(-MATH(fabs)(x)));
  case HardSwish: return x <= -3 ? 0 : x >= 3 ? x : x * ((x + 3) / 6);
  case HardSigmoid: return x <= -3 ? 0 : x >= 3 ? 1 : (x + 3) / 6;
  default: return x;
  }
}

INLINE REAL derivative(unsigned int code, REAL x) {
  switch (code) {
  case Relu: return x <= 0 ? 0 : 1;
  case Gelu: {
    const REAL s = sigmoid(gelu_argument(x));
    return s + x * s * (1 - s) * (GELU_SLOPE + 3 * GELU_SLOPE * GELU_CUBE * x * x);
  }
  case Silu: {
    const REAL s = sigmoid(x);
    return s * (1 + x * (1 - s));
  }
  case Tanh: {
    const REAL t = MATH(tanh)(x);
    return 1 - t * t;
  }
  case Square: return x + x;
  case GeluErf: return normal_cdf(x) + damped(x, normal_density(x));
  case Relu6: return x <= 0 || x >= 6 ? 0 : 1;
  case LeakyRelu: return x > 0 ? 1 : (REAL)0.01;
  case Elu: return elu_first(1, x);
  case Selu: return SELU_SCALE * elu_first(SELU_ALPHA, x);
  case Mish: return mish_gate(0, x) + damped(x, mish_gate(1, x));
  case Sigmoid: return sigmoid_first(x);
  case Softplus: return sigmoid(x);
  case HardSwish: return x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + (REAL)0.5;
  case HardSigmoid: return x <= -3 || x >= 3 ? 0 : (REAL)1 / 6;
  default: return 1;
  }
}

INLINE REAL curvature(unsigned int code, REAL x) {
  switch (code) {
  case Gelu: {
    const REAL s = sigmoid(gelu_argument(x)), first = s * (1 - s);
    const REAL slope = GELU_SLOPE + 3 * GELU_SLOPE * GELU_CUBE * x * x;
    const REAL bend = 6 * GELU_SLOPE * GELU_CUBE * x;
    return 2 * first * slope + x * first * ((1 - s - s) * slope * slope + bend);
  }
  case Silu: {
    const REAL s = sigmoid(x);
    return s * (1 - s) * (2 + x * (1 - s - s));
  }
  case Tanh: {
    const REAL t = MATH(tanh)(x);
    return -2 * t * (1 - t * t);
  }
  case Square: return 2;
  case GeluErf: return damped(2 - x * x, normal_density(x));
  case Elu: return elu_second(1, x);
  case Selu: return SELU_SCALE * elu_second(SELU_ALPHA, x);
  case Mish: return 2 * mish_gate(1, x) + damped(x, mish_gate(2, x));
  case Sigmoid: return sigmoid_second(x);
  case Softplus: return sigmoid_first(x);
  case HardSwish: return x <= -3 || x >= 3 ? 0 : (REAL)1 / 3;
  default: return 0;
  }
}
