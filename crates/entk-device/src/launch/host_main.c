#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUTS 4

static const struct {
  const char *name;
  void (*run)(unsigned int, const Sizes *, const REAL *, const REAL *, const REAL *, const REAL *,
              REAL *);
} kernels[] = {KERNELS};

static void read_or_exit(void *to, size_t size, size_t count, FILE *file) {
  if (fread(to, size, count, file) != count) exit(3);
}

int main(int argc, char **argv) {
  unsigned int count, lengths[INPUTS], k, i;
  Sizes sizes;
  REAL *inputs[INPUTS], *out;
  FILE *file;
  if (argc != 4 || !(file = fopen(argv[2], "rb"))) return 2;
  read_or_exit(&count, sizeof count, 1, file);
  read_or_exit(&sizes, sizeof sizes, 1, file);
  read_or_exit(lengths, sizeof *lengths, INPUTS, file);
  for (k = 0; k < INPUTS; k++) {
    /* Of the very length, so that an address behind it is found; null where there is none. */
    inputs[k] = lengths[k] ? malloc(lengths[k] * sizeof(REAL)) : 0;
    if (lengths[k]) read_or_exit(inputs[k], sizeof(REAL), lengths[k], file);
  }
  fclose(file);
  out = malloc(count * sizeof(REAL));
  for (i = 0; i < count; i++) out[i] = (REAL)NAN;
  for (k = 0; k < sizeof kernels / sizeof *kernels; k++) {
    if (strcmp(kernels[k].name, argv[1])) continue;
    for (i = 0; i < count; i++)
      kernels[k].run(i, &sizes, inputs[0], inputs[1], inputs[2], inputs[3], out);
    if (!(file = fopen(argv[3], "wb"))) return 2;
    if (fwrite(out, sizeof(REAL), count, file) != count || fclose(file)) return 3;
    for (k = 0; k < INPUTS; k++) free(inputs[k]);
    free(out);
    return 0;
  }
  fprintf(stderr, "no kernel %s\n", argv[1]);
  return 4;
}
