/* Activations and their derivatives, by code. */
#define RELU 1
#define GELU 2
#define SILU 3
#define TANH_CODE 4
#define SQUARE 5

/* 2 sqrt(2/pi) and the cubic coefficient of the tanh form of the GELU. */
#define GELU_SLOPE ((REAL)1.5957691216057308)
#define GELU_CUBE ((REAL)0.044715)

INLINE REAL sigmoid(REAL x) { return 1 / (1 + EXP(-x)); }

INLINE REAL gelu_argument(REAL x) { return GELU_SLOPE * (x + GELU_CUBE * x * x * x); }

INLINE REAL value(unsigned int code, REAL x) {
  switch (code) {
  case RELU: return x <= 0 ? 0 : x;
  case GELU: return x * sigmoid(gelu_argument(x));
  case SILU: return x * sigmoid(x);
  case TANH_CODE: return TANH(x);
  case SQUARE: return x * x;
  default: return x;
  }
}

INLINE REAL derivative(unsigned int code, REAL x) {
  switch (code) {
  case RELU: return x <= 0 ? 0 : 1;
  case GELU: {
    const REAL s = sigmoid(gelu_argument(x));
    return s + x * s * (1 - s) * (GELU_SLOPE + 3 * GELU_SLOPE * GELU_CUBE * x * x);
  }
  case SILU: {
    const REAL s = sigmoid(x);
    return s * (1 + x * (1 - s));
  }
  case TANH_CODE: {
    const REAL t = TANH(x);
    return 1 - t * t;
  }
  case SQUARE: return x + x;
  default: return 1;
  }
}

INLINE REAL curvature(unsigned int code, REAL x) {
  switch (code) {
  case GELU: {
    const REAL s = sigmoid(gelu_argument(x)), first = s * (1 - s);
    const REAL slope = GELU_SLOPE + 3 * GELU_SLOPE * GELU_CUBE * x * x;
    const REAL bend = 6 * GELU_SLOPE * GELU_CUBE * x;
    return 2 * first * slope + x * first * ((1 - s - s) * slope * slope + bend);
  }
  case SILU: {
    const REAL s = sigmoid(x);
    return s * (1 - s) * (2 + x * (1 - s - s));
  }
  case TANH_CODE: {
    const REAL t = TANH(x);
    return -2 * t * (1 - t * t);
  }
  case SQUARE: return 2;
  default: return 0;
  }
}
