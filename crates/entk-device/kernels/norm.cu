/* Batch normalisation. A channel's map has four numbers, in rows of C: mean, slope = inverse weight,
 * bias, inverse = 1 / sqrt(variance + epsilon); z = (x - mean) slope + bias. Three rows follow, the
 * factors of u, x - mean and 1 in a tangent or cotangent: maps are (7, C). */
#define EPSILON 1e-5
#define MEAN(maps, channel) ((maps)[channel])
#define SLOPE(maps, channel, channels) ((maps)[(channels) + (channel)])
#define BIAS(maps, channel, channels) ((maps)[2 * (channels) + (channel)])
#define INVERSE(maps, channel, channels) ((maps)[3 * (channels) + (channel)])

INLINE REAL affine(REAL x, INPUT maps, unsigned int channel, unsigned int channels) {
  return (x - MEAN(maps, channel)) * SLOPE(maps, channel, channels) + BIAS(maps, channel, channels);
}

/* The channel of entry i of (N, C, pixels), sizes pixels, C. */
INLINE unsigned int channel_of(unsigned int i, const Sizes *sizes) {
  unsigned int plane = quotient(i, sizes, 0);
  return split(&plane, sizes, 1);
}

/* Squared deviations from the plane's mean, summed: output (planes, lanes), sizes pixels, lanes;
 * x and the planes' sums. */
KERNEL(norm_squares) {
  unsigned int plane = i, p;
  REAL squares = 0, mean;
  p = split(&plane, sizes, 1);
  mean = b[plane] / (REAL)SIZE(0);
  for (; p < SIZE(0); p += SIZE(1)) {
    const REAL distance = a[plane * SIZE(0) + p] - mean;
    squares += distance * distance;
  }
  out[i] = squares;
}

/* Mean and biased variance, (2, C), from the planes' sums and squared deviations, (N, C) each;
 * sizes C, N, pixels. */
KERNEL(norm_moments) {
  unsigned int which = i, channel, n;
  double mean = 0, squares = 0;
  channel = split(&which, sizes, 0);
  for (n = 0; n < SIZE(1); n++) mean += (double)a[n * SIZE(0) + channel];
  mean /= (double)SIZE(1) * SIZE(2);
  if (which == 0) {
    out[i] = (REAL)mean;
    return;
  }
  for (n = 0; n < SIZE(1); n++) {
    const double distance = (double)a[n * SIZE(0) + channel] / SIZE(2) - mean;
    squares += (double)b[n * SIZE(0) + channel] + SIZE(2) * distance * distance;
  }
  out[i] = (REAL)(squares / ((double)SIZE(1) * SIZE(2)));
}

/* The maps (7, C) with the factors of a cotangent where statistics are frozen, slope, 0 and 0; mean,
 * variance, weight, bias; size C. */
KERNEL(norm_maps) {
  unsigned int which = i, channel;
  double inverse;
  channel = split(&which, sizes, 0);
  inverse = 1 / sqrt((double)b[channel] + EPSILON);
  switch (which) {
  case 0: out[i] = a[channel]; break;
  case 1:
  case 4: out[i] = (REAL)(inverse * (double)c[channel]); break;
  case 2: out[i] = d[channel]; break;
  case 3: out[i] = (REAL)inverse; break;
  default: out[i] = 0;
  }
}

/* act(z) of x (N, C, pixels) with maps; sizes pixels, C, code of the activation. */
KERNEL(normalize) { out[i] = value(SIZE(2), affine(a[i], b, channel_of(i, sizes), SIZE(1))); }

/* With d = act'(z) dy: the sums over pixels of d and of d (x - mean) inverse, (2, N C, lanes); dy, x,
 * maps; sizes pixels, C, code of the activation, lanes, N C. */
KERNEL(norm_gradients) {
  unsigned int which = i, lane, plane, channel, p;
  REAL sum = 0;
  lane = split(&which, sizes, 3);
  plane = split(&which, sizes, 4);
  p = plane;
  channel = split(&p, sizes, 1);
  for (p = lane; p < SIZE(0); p += SIZE(3)) {
    const REAL x = b[plane * SIZE(0) + p];
    const REAL d = derivative(SIZE(2), affine(x, c, channel, SIZE(1))) * a[plane * SIZE(0) + p];
    sum += which == 0 ? d : d * (x - MEAN(c, channel));
  }
  out[i] = which == 0 ? sum : sum * INVERSE(c, channel, SIZE(1));
}

/* The maps (7, C) with other factors: slope, inverse (weight' - slope mean(u x_hat)) and
 * bias' - slope mean(u). The maps; the two means, (2, C); weight', bias'; sizes C, whether there is a
 * u, whether there are weight' and bias'. */
KERNEL(norm_factors) {
  unsigned int which = i, channel;
  REAL slope;
  channel = split(&which, sizes, 0);
  slope = SLOPE(a, channel, SIZE(0));
  switch (which) {
  case 4: out[i] = SIZE(1) ? slope : 0; break;
  case 5:
    out[i] = INVERSE(a, channel, SIZE(0)) *
             ((SIZE(2) ? c[channel] : 0) - slope * b[SIZE(0) + channel]);
    break;
  case 6: out[i] = (SIZE(2) ? d[channel] : 0) - slope * b[channel]; break;
  default: out[i] = a[i];
  }
}

/* first u + second (x - mean) + third, with act'(z) multiplying u (place 1), all (2) or nothing (0);
 * u, x, the maps; sizes pixels, C, code of the activation, place. */
KERNEL(norm_combine) {
  const unsigned int channel = channel_of(i, sizes), channels = SIZE(1);
  INPUT factors = c + 4 * channels;
  const REAL x = b[i];
  const REAL mask = SIZE(3) ? derivative(SIZE(2), affine(x, c, channel, channels)) : 1;
  const REAL u = SIZE(3) == 1 ? mask * a[i] : a[i];
  const REAL line = factors[channels + channel] * (x - MEAN(c, channel)) +
                    factors[2 * channels + channel];
  const REAL all = factors[channel] * u + line;
  out[i] = SIZE(3) == 2 ? mask * all : all;
}
