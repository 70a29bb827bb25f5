/* Entry by entry; SIZE(0) is the code of the activation. */

/* act(a) */
KERNEL(activation) { out[i] = value(SIZE(0), a[i]); }

/* act'(a) b */
KERNEL(activation_derivative) { out[i] = derivative(SIZE(0), a[i]) * b[i]; }

/* act''(a) b c */
KERNEL(activation_curvature) { out[i] = curvature(SIZE(0), a[i]) * b[i] * c[i]; }

/* act(a + b) */
KERNEL(sum) { out[i] = value(SIZE(0), a[i] + b[i]); }

/* act'(a + b) c */
KERNEL(sum_derivative) { out[i] = derivative(SIZE(0), a[i] + b[i]) * c[i]; }
