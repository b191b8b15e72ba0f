/* One hot loop, copied to 64 places of a page: an emulator that treats code near page ends differently shows it. */
#include "tests.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { PLACES = 64, STEP = 64, PAGE = 4096, ROUNDS = 40 };

extern const char loop_start[], loop_end[];
/* (iterations) -> a number: 20 instructions, 80 bytes, one branch taken half of the time. */
__asm__(
  ".text\n"
  "loop_start:\n"
  "  mov $1, %eax\n"
  "  mov %rdi, %rcx\n"
  "  xor %edx, %edx\n"
  "1:\n"
  "  imul $1103515245, %rax, %rax\n"
  "  add $12345, %rax\n"
  "  mov %rax, %rsi\n"
  "  shr $7, %rsi\n"
  "  xor %rsi, %rdx\n"
  "  lea 0x1234(%rdx,%rsi,2), %r8\n"
  "  test $0x100, %esi\n"
  "  jz 2f\n"
  "  add %r8, %rdx\n"
  "  rol $5, %rdx\n"
  "2:\n"
  "  mov %rdx, -8(%rsp)\n"
  "  add -8(%rsp), %rax\n"
  "  movzbl %dl, %r9d\n"
  "  cmp $0x7f, %r9d\n"
  "  adc $0, %rdx\n"
  "  dec %rcx\n"
  "  jnz 1b\n"
  "  mov %rdx, %rax\n"
  "  ret\n"
  "loop_end:\n");

static uint64_t run_ns(uint64_t (*loop)(long), long iterations) {
  uint64_t start = now_ns();
  sink += loop(iterations);
  return now_ns() - start;
}

void run_alignments(void) {
  size_t length = (size_t)(loop_end - loop_start);
  /* a round of 1 ms: one of forty is not interrupted even on a busy machine */
  long iterations = 20000;
  for (int place = 0; place < PLACES; place++) {
    char *pages = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t (*loop)(long) = (uint64_t(*)(long))(pages + place * STEP);
    memcpy((void *)loop, loop_start, length);
    /* translators have tiers: time for them to settle */
    for (uint64_t start = now_ns(); now_ns() - start < 60000000;) sink += loop(iterations);
    if (place == 0) {
      uint64_t ns = run_ns(loop, iterations);
      if (ns > 0 && ns < 1000000) iterations = (long)((double)iterations * 1000000 / (double)ns);
    }
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
      uint64_t ns = run_ns(loop, iterations);
      if (ns < best) best = ns;
    }
    printf("BENCH alignment %d %ld %llu\n", place * STEP, iterations, (unsigned long long)best);
    fflush(stdout);
    munmap(pages, 2 * PAGE);
  }
}
