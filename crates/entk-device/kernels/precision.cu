/* The nearest f32 with SIZE(0) mantissa bits less, ties to even; infinities and NaN stay. */
KERNEL(round_to_bits) {
  union {
    float value;
    unsigned int bits;
  } x;
  x.value = (float)a[i];
  if ((x.bits & 0x7f800000u) != 0x7f800000u) {
    const unsigned int dropped = SIZE(0);
    x.bits += (1u << (dropped - 1)) - 1u + ((x.bits >> dropped) & 1u);
    x.bits = x.bits >> dropped << dropped;
  }
  out[i] = (REAL)x.value;
}
