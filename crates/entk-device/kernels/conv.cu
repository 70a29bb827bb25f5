/* Convolutions as matrix products: patches of images as rows, and back.
 * Sizes C, H, W, H', W', kernel height and width, stride down and right, zeros above and left,
 * dilation down and right. */

/* Output (N, H', W', C, kh, kw), zero outside the image; images (N, C, H, W). */
KERNEL(patches) {
  unsigned int n = i, di, dj, channel, x, y;
  int row, column;
  dj = split(&n, sizes, 6);
  di = split(&n, sizes, 5);
  channel = split(&n, sizes, 0);
  x = split(&n, sizes, 4);
  y = split(&n, sizes, 3);
  row = (int)(y * SIZE(7) + di * SIZE(11)) - (int)SIZE(9);
  column = (int)(x * SIZE(8) + dj * SIZE(12)) - (int)SIZE(10);
  if (row < 0 || row >= (int)SIZE(1) || column < 0 || column >= (int)SIZE(2)) {
    out[i] = 0;
    return;
  }
  out[i] = a[((n * SIZE(0) + channel) * SIZE(1) + row) * SIZE(2) + column];
}

/* The transpose: output (N, C, H, W), each entry the sum over the patches it is in. */
KERNEL(patches_transposed) {
  unsigned int n = i, channel, x, y, di, dj;
  REAL sum = 0;
  x = split(&n, sizes, 2) + SIZE(10);
  y = split(&n, sizes, 1) + SIZE(9);
  channel = split(&n, sizes, 0);
  for (di = 0; di < SIZE(5) && di * SIZE(11) <= y; di++) {
    const unsigned int top = y - di * SIZE(11), row = quotient(top, sizes, 7);
    if (row * SIZE(7) != top || row >= SIZE(3)) continue;
    for (dj = 0; dj < SIZE(6) && dj * SIZE(12) <= x; dj++) {
      const unsigned int left = x - dj * SIZE(12), column = quotient(left, sizes, 8);
      if (column * SIZE(8) != left || column >= SIZE(4)) continue;
      sum += a[((((n * SIZE(3) + row) * SIZE(4) + column) * SIZE(0) + channel) * SIZE(5) + di) *
                   SIZE(6) + dj];
    }
  }
  out[i] = sum;
}

/* Output (N, columns, rows) of matrices (N, rows, columns); sizes rows, columns. */
KERNEL(transpose) {
  unsigned int n = i, row, column;
  row = split(&n, sizes, 0);
  column = split(&n, sizes, 1);
  out[i] = a[(n * SIZE(0) + row) * SIZE(1) + column];
}

/* x + bias, channel by channel; sizes pixels, C. */
KERNEL(add_bias) {
  unsigned int plane = quotient(i, sizes, 0);
  out[i] = a[i] + b[split(&plane, sizes, 1)];
}
