/* Parts of a tile of a Gram: rows of K are examples i, columns are examples j. */

/* c + (a + bias) b: a dense layer's share, from the products of inputs and those of cotangents.
 * Size: 1 with a bias, else 0. */
KERNEL(dense_tile) { out[i] = c[i] + (a[i] + (REAL)SIZE(0)) * b[i]; }

/* A convolution's share between n and m examples, from the products of all pairs of their pixels: a of
 * input pixels (H W n, H W m) over channels, b of output pixels (H' W' n, H' W' m) over filters.
 * sum_{p, q} b(p, q) sum_t a(s p + e t - z, s q + e t - z) over output pixels p, q and the taps t inside
 * both images (stride s, dilation e, zeros z before the image). Neighbouring threads have neighbouring columns, so that
 * they read neighbouring entries; pairs p, q of one displacement read the same few entries of a.
 * Sizes n, m, H, W, H', W', kernel height and width, stride down and right, zeros above and left,
 * dilation down and right. */
KERNEL(pixel_tile) {
  const int h = SIZE(2), w = SIZE(3), oh = SIZE(4), ow = SIZE(5);
  const unsigned int n = SIZE(0), m = SIZE(1), line = h * w * m, output_line = oh * ow * m;
  unsigned int row = i;
  const unsigned int column = split(&row, sizes, 1);
  int down, right, y, x, di, dj;
  REAL total = 0;
  for (down = 1 - oh; down < oh; down++) {
    for (right = 1 - ow; right < ow; right++) {
      for (y = down < 0 ? -down : 0; y < oh && y + down < oh; y++) {
        for (x = right < 0 ? -right : 0; x < ow && x + right < ow; x++) {
          REAL sum = 0;
          for (di = 0; di < (int)SIZE(6); di++) {
            const int top = y * (int)SIZE(8) + di * (int)SIZE(12) - (int)SIZE(10);
            const int top_q = top + down * (int)SIZE(8);
            if (top < 0 || top >= h || top_q < 0 || top_q >= h) continue;
            for (dj = 0; dj < (int)SIZE(7); dj++) {
              const int left = x * (int)SIZE(9) + dj * (int)SIZE(13) - (int)SIZE(11);
              const int left_q = left + right * (int)SIZE(9);
              if (left < 0 || left >= w || left_q < 0 || left_q >= w) continue;
              sum += a[((top * w + left) * n + row) * line + (top_q * w + left_q) * m + column];
            }
          }
          total += sum * b[((y * ow + x) * n + row) * output_line +
                           ((y + down) * ow + x + right) * m + column];
        }
      }
    }
  }
  out[i] = total;
}
