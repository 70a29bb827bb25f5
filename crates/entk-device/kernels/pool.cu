/* Means over windows that tile an image, and sums over whole images. */

/* Output (planes, H', W'), sizes H', W', window height, window width. */
KERNEL(average) {
  unsigned int plane = i, x, y, row, column;
  REAL sum = 0;
  x = split(&plane, sizes, 1);
  y = split(&plane, sizes, 0);
  for (row = 0; row < SIZE(2); row++) {
    const unsigned int line = (plane * SIZE(0) + y) * SIZE(2) + row;
    INPUT window = a + (line * SIZE(1) + x) * SIZE(3);
    for (column = 0; column < SIZE(3); column++) sum += window[column];
  }
  out[i] = sum / (REAL)(SIZE(2) * SIZE(3));
}

/* The transpose: output (planes, H, W), sizes H', W', window height, window width, H, W. */
KERNEL(spread) {
  unsigned int plane = i, x, y;
  x = split(&plane, sizes, 5);
  y = split(&plane, sizes, 4);
  out[i] = a[(plane * SIZE(0) + quotient(y, sizes, 2)) * SIZE(1) + quotient(x, sizes, 3)] /
           (REAL)(SIZE(2) * SIZE(3));
}

/* Output (planes, lanes), sizes pixels, lanes: lane l sums every lanes-th pixel from l on. */
KERNEL(plane_sum) {
  unsigned int plane = i, p;
  REAL sum = 0;
  for (p = split(&plane, sizes, 1); p < SIZE(0); p += SIZE(1)) sum += a[plane * SIZE(0) + p];
  out[i] = sum;
}
