/* Arithmetic of every C type, printed to the last digit that the standard library promises. */
#include <complex.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 88172645463325252u;
static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}
static double number(void) { return (double)(int64_t)next() / 9007199254740992.0; }

static void integers(void) {
  uint64_t h = 14695981039346656037u;
  for (int i = 0; i < 20000; i++) {
    int64_t a = (int64_t)next(), b = (int64_t)next() >> (next() & 63);
    if (b == 0 || b == -1) b = 3;
    __int128 wide = (__int128)a * b;
    int64_t parts[] = {a + b, a - b, a * b, a / b, a % b, a << (b & 63), a >> (b & 63), (int64_t)(wide >> 64),
                       (int64_t)(wide / 1000003), (int32_t)a / ((int32_t)b | 1), (int16_t)a * (int16_t)b, (int8_t)a % ((int8_t)b | 1),
                       __builtin_popcountll(a), __builtin_clzll(a | 1), __builtin_ctzll(b), __builtin_bswap64(a), a < b, (uint64_t)a < (uint64_t)b};
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) h = (h ^ (uint64_t)parts[k]) * 1099511628211u;
  }
  printf("integers %016llx\n", (unsigned long long)h);
}
static void floats(void) {
  float f = 1;
  double d = 1, e = 0;
  for (int i = 1; i <= 20000; i++) {
    double x = number();
    f = f * 0.99f + (float)x / i;
    d = d * 0.999 + x / (i + 0.5) - sqrt(fabs(x));
    e += floor(x) - ceil(x / 3) + nearbyint(x / 7) + trunc(-x) + fmod(x, 1.7) + (double)(int)(x * 3) + (float)(uint32_t)next();
  }
  printf("floats %a %a %a %.17g\n", f, d, e, d);
  volatile double zero = 0, huge = 1e308, tiny = 5e-324;
  printf("special %g %g %g %g %d %d %d\n", 1 / zero, -1 / zero, huge * 10, tiny / 2, isnan(zero / zero) != 0, signbit(-zero) != 0, fpclassify(tiny) == FP_SUBNORMAL);
}
static void extended(void) {
  long double l = 1, m = 0;
  for (int i = 1; i <= 5000; i++) {
    long double x = number();
    l = l * 0.999L + x / (i + 0.25L) + sqrtl(fabsl(x));
    m += fmodl(x, 3.7L) + remainderl(x, 0.3L) + rintl(x) + (long double)(int64_t)next() / 7;
  }
  printf("extended %La %La %.18Lg\n", l, m, l);
  for (int i = -3; i <= 3; i++) {
    long double x = i * 0.7L + 0.05L;
    printf("%.15Lg %.15Lg %.15Lg %.15Lg %.15Lg %.15Lg\n", sinl(x), cosl(x), tanl(x), atanl(x), expl(x), expm1l(x));
    printf("%.15Lg %.15Lg %.15Lg %.15Lg %.15Lg\n", logl(fabsl(x)), log2l(fabsl(x)), log10l(fabsl(x)), atan2l(x, -x / 3), powl(fabsl(x), x));
  }
}
static void library(void) {
  for (int i = 1; i < 12; i++) {
    double x = i * 0.37;
    printf("%.14g %.14g %.14g %.14g %.14g %.14g %.14g %.14g\n", sin(x), cos(x), tan(x), exp(x), log(x), pow(x, 1.3), atan2(x, 2 - x), tgamma(x));
    printf("%.6g %.6g %.6g %.6g %.6g\n", sinf(x), cosf(x), expf(x), logf(x), powf(x, 0.7f));
  }
  double complex z = csqrt(-3 + 4 * I) * cexp(0.3 + 0.4 * I);
  printf("complex %.14g %.14g\n", creal(z), cimag(z));
}
static int order(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static void memory(void) {
  static double values[5000];
  static char text[4096], copy[4096];
  for (int i = 0; i < 5000; i++) values[i] = number();
  qsort(values, 5000, sizeof *values, order);
  printf("sorted %a %a %a\n", values[0], values[2500], values[4999]);
  for (int i = 0; i < 4095; i++) text[i] = 'a' + next() % 26;
  unsigned h = 0;
  for (int i = 0; i < 200; i++) {
    size_t from = next() % 2000, length = next() % 2000;
    memmove(copy + next() % 2000, text + from, length);
    memset(text + next() % 4000, 'a' + i % 26, next() % 90);
    char *found = strchr(copy, 'q'), *last = strrchr(copy, 'z'), *in = strstr(text, "abc");
    h = h * 31 + (found ? found - copy : 7) + (last ? last - copy : 9) + (in ? in - text : 11) + (memcmp(text, copy, 4000) > 0) + strlen(text);
  }
  printf("memory %08x\n", h);
  for (int i = 0; i < 20; i++) {
    double x = ldexp(number(), (int)(next() % 2000) - 1000);
    snprintf(copy, sizeof copy, "%.17g", x);
    printf("%s%s", copy, strtod(copy, NULL) == x ? "\n" : " WRONG\n");
  }
}
int main(void) {
  integers();
  floats();
  extended();
  library();
  memory();
  return 0;
}
