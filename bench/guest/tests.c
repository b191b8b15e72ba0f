#include "tests.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- sha256: the compression function (FIPS 180-4), constants computed from their definition ---- */

static uint32_t sha_constants[64];

/* The first 32 bits of the fractional part of the cube root of n: 64 bits of precision are more than enough for n < 1,000. */
static uint32_t cube_root_fraction(uint64_t n) {
  long double target = (long double)n * 0x1p96L;
  uint64_t root = 0;
  for (int bit = 36; bit >= 0; bit--) {
    uint64_t candidate = root | (uint64_t)1 << bit;
    if ((long double)candidate * candidate * candidate <= target) root = candidate;
  }
  return (uint32_t)root;
}

static void sha_prepare(void) {
  int found = 0;
  for (uint64_t n = 2; found < 64; n++) {
    int prime = 1;
    for (uint64_t d = 2; d * d <= n; d++) prime &= n % d != 0;
    if (prime) sha_constants[found++] = cube_root_fraction(n);
  }
}

static inline uint32_t ror(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void sha_block(uint32_t h[8], const uint8_t *block) {
  uint32_t w[64];
  for (int i = 0; i < 16; i++) {
    const uint8_t *p = block + 4 * i;
    w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
  }
  for (int i = 16; i < 64; i++) {
    uint32_t s0 = ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3;
    uint32_t s1 = ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  uint32_t v[8];
  memcpy(v, h, sizeof v);
  for (int i = 0; i < 64; i++) {
    uint32_t e = v[4], a = v[0];
    uint32_t t1 = v[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + sha_constants[i] + w[i];
    uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
    for (int k = 7; k > 0; k--) v[k] = v[k - 1];
    v[4] += t1;
    v[0] = t1 + t2;
  }
  for (int i = 0; i < 8; i++) h[i] += v[i];
}

static void sha256(long blocks) {
  static uint8_t block[64];
  uint32_t h[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (long i = 0; i < blocks; i++) {
    block[i & 63]++;
    sha_block(h, block);
  }
  sink += h[0];
}

/* ---- integer mix: a dependent chain of 64-bit multiplications, shifts and additions ---- */

static void integer_mix(long steps) {
  uint64_t x = 1, y = 3;
  for (long i = 0; i < steps; i++) {
    x = x * 6364136223846793005u + y;
    y ^= x >> 33;
    y += x << 7 | x >> 57;
  }
  sink += x ^ y;
}

/* ---- sieve of Eratosthenes up to 65,536 ---- */

static void sieve(long times) {
  enum { LIMIT = 1 << 16 };
  static uint8_t composite[LIMIT];
  long primes = 0;
  for (long n = 0; n < times; n++) {
    for (int i = 0; i < LIMIT; i++) composite[i] = 0;
    for (int i = 2; i * i < LIMIT; i++) {
      if (composite[i]) continue;
      for (int k = i * i; k < LIMIT; k += i) composite[k] = 1;
    }
    for (int i = 2; i < LIMIT; i++) primes += !composite[i];
  }
  sink += (uint64_t)primes;
}

/* ---- dhrystone-like: records, pointers, enumerations, strings and small procedures ---- */

enum colour { RED, GREEN, BLUE };
struct entry {
  struct entry *next;
  enum colour colour;
  int weight;
  char title[32];
};
static struct entry stock[2];

static __attribute__((noinline)) int order(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return (unsigned char)*a - (unsigned char)*b;
}
static __attribute__((noinline)) void copy(char *to, const char *from) {
  while ((*to++ = *from++)) {}
}
static __attribute__((noinline)) enum colour next_colour(enum colour c, int weight) {
  switch (c) {
    case RED: return weight > 40 ? GREEN : BLUE;
    case GREEN: return weight & 1 ? RED : BLUE;
    default: return RED;
  }
}
static __attribute__((noinline)) void exchange(struct entry *e, int *balance) {
  struct entry *other = e->next;
  *other = *e;
  other->next = e;
  other->weight = e->weight / 3 + *balance;
  other->colour = next_colour(e->colour, other->weight);
  if (other->colour == BLUE) *balance -= 7;
  else *balance += 5 * (int)other->colour;
}
static void dhrystone_like(long passes) {
  int histogram[3] = {0, 0, 0};
  stock[0].next = &stock[1];
  stock[1].next = &stock[0];
  copy(stock[0].title, "SECOND-HAND BOOKS, VOLUME 1");
  int balance = 0;
  for (long i = 0; i < passes; i++) {
    struct entry *e = &stock[i & 1];
    e->weight = (int)(i % 97);
    e->colour = (enum colour)(i % 3);
    exchange(e, &balance);
    e->next->title[25] = (char)('0' + i % 10);
    if (order(e->title, e->next->title) > 0) copy(e->next->title, e->title);
    histogram[next_colour(e->next->colour, balance)]++;
  }
  sink += (uint64_t)(balance + histogram[0] + 2 * histogram[1]);
}

/* ---- fib: calls and returns ---- */

static __attribute__((noinline, optimize("no-inline", "no-optimize-sibling-calls"))) long fibonacci(long n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
static void fib(long times) {
  for (long i = 0; i < times; i++) sink += (uint64_t)fibonacci(20);
}

/* ---- bytecode interpreter: indirect jumps ---- */

enum opcode { PUSH, LOAD, STORE, ADD, SUB, XOR, SHL, DECJNZ, HALT };
static void bytecode(long iterations) {
  /* x = iterations; do { a = (a + x) ^ (a << 1); b = b - a; } while (--x) */
  static const uint8_t program[] = {
    LOAD, 0, LOAD, 2, ADD, LOAD, 0, PUSH, 1, SHL, XOR, STORE, 0, LOAD, 1, LOAD, 0, SUB, STORE, 1, DECJNZ, 2, 0, HALT,
  };
  static const void *const labels[] = {&&push, &&load, &&store, &&add, &&sub, &&xor_, &&shl, &&decjnz, &&halt};
  uint64_t variable[3] = {1, 2, (uint64_t)iterations}, stack[8], *sp = stack;
  const uint8_t *pc = program;
#define DISPATCH goto *labels[*pc++]
  DISPATCH;
push: *sp++ = *pc++; DISPATCH;
load: *sp++ = variable[*pc++]; DISPATCH;
store: variable[*pc++] = *--sp; DISPATCH;
add: sp--; sp[-1] += *sp; DISPATCH;
sub: sp--; sp[-1] -= *sp; DISPATCH;
xor_: sp--; sp[-1] ^= *sp; DISPATCH;
shl: sp--; sp[-1] <<= *sp; DISPATCH;
decjnz:
  if (--variable[pc[0]]) pc = program + pc[1];
  else pc += 2;
  DISPATCH;
halt:
  sink += variable[0] ^ variable[1];
#undef DISPATCH
}

/* ---- matrix products ---- */

static void matrix_f64(long times) {
  enum { N = 64 };
  static double a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) a[i][j] = i + j * 0.5, b[i][j] = i - j * 0.25;
  for (long n = 0; n < times; n++)
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        double sum = 0;
        for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
        c[i][j] = sum;
      }
  sink += (uint64_t)c[3][5];
}

static void matrix_x87(long times) {
  enum { N = 16 };
  static long double a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) a[i][j] = i + j * 0.5L, b[i][j] = j - i * 0.25L;
  for (long n = 0; n < times; n++)
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        long double sum = 0;
        for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
        c[i][j] = sum;
      }
  sink += (uint64_t)c[3][5];
}

/* ---- memory ---- */

static void word_copy(long times) {
  enum { WORDS = 4096 };
  static uint64_t from[WORDS], to[WORDS];
  for (long n = 0; n < times; n++)
    for (int i = 0; i < WORDS; i++) {
      uint64_t word = from[i] + (uint64_t)n;
      /* one word at a time: neither vectors nor memcpy */
      __asm__ volatile("" : "+r"(word));
      to[i] = word;
    }
  sink += to[7];
}

static void rep_movsb(long times) {
  enum { BYTES = 65536 };
  static char from[BYTES], to[BYTES];
  for (long n = 0; n < times; n++) {
    char *source = from, *target = to;
    size_t count = BYTES;
    __asm__ volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(count) : : "memory");
  }
  sink += (uint64_t)to[3];
}

/* A random cycle through 16 MB, a pointer each. */
enum { CHASE_POINTERS = (16 << 20) / sizeof(void *) };
static void **chain;
static void chase_prepare(void) {
  chain = malloc(CHASE_POINTERS * sizeof *chain);
  uint32_t *places = malloc(CHASE_POINTERS * sizeof *places);
  uint32_t random = 1;
  for (uint32_t i = 0; i < CHASE_POINTERS; i++) places[i] = i;
  for (uint32_t i = CHASE_POINTERS - 1; i > 0; i--) {
    random = random * 1664525 + 1013904223;
    uint32_t j = (uint32_t)((uint64_t)random * (i + 1) >> 32), swap = places[i];
    places[i] = places[j];
    places[j] = swap;
  }
  for (uint32_t i = 0; i < CHASE_POINTERS; i++) chain[places[i]] = &chain[places[(i + 1) % CHASE_POINTERS]];
  free(places);
}
static void pointer_chase(long steps) {
  void **at = chain;
  for (long i = 0; i < steps; i++) at = *at;
  sink += (uintptr_t)at;
}

/* ---- the kernel ---- */

static void getppid_call(long times) {
  for (long i = 0; i < times; i++) sink += (uint64_t)syscall(SYS_getppid);
}

static void read_4k(long times) {
  static char buffer[4096];
  int fd = open("/dev/zero", O_RDONLY);
  for (long i = 0; i < times; i++) sink += (uint64_t)read(fd, buffer, sizeof buffer);
  close(fd);
}

static void page_fault(long faults) {
  enum { PAGES = 64 };
  for (long left = faults; left > 0; left -= PAGES) {
    char *p = mmap(0, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < PAGES && i < left; i++) p[i * 4096] = 1;
    munmap(p, PAGES * 4096);
  }
}

static void fork_wait(long times) {
  for (long i = 0; i < times; i++) {
    int child = fork(), status;
    if (child == 0) _exit(0);
    waitpid(child, &status, 0);
  }
}

const struct test tests[] = {
  {"sha256", sha256, sha_prepare, 40000},
  {"integer-mix", integer_mix, 0, 40000000},
  {"sieve", sieve, 0, 300},
  {"dhrystone", dhrystone_like, 0, 450000},
  {"fib", fib, 0, 350},
  {"bytecode", bytecode, 0, 500000},
  {"matrix-f64", matrix_f64, 0, 16},
  {"matrix-x87", matrix_x87, 0, 250},
  {"word-copy", word_copy, 0, 20000},
  {"rep-movsb", rep_movsb, 0, 700},
  {"pointer-chase", pointer_chase, chase_prepare, 400000},
  {"getppid", getppid_call, 0, 350000},
  {"read-4k", read_4k, 0, 13000},
  {"page-fault", page_fault, 0, 8000},
  {"fork-wait", fork_wait, 0, 45},
  {0, 0, 0, 0},
};
