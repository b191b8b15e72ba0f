/*
 * The compute set: fifteen small programs, one after the other, as /init of a guest or as an ordinary program.
 *
 * Prints `BENCH <test> <round> <operations> <ns> <cpu ns>` after each round, times from CLOCK_MONOTONIC and what the process and
 * its children have used of the processor, and `BENCH done` at the end.
 * The environment (the kernel hands name=value words of its command line to /init) says what to run:
 *   scale=PERCENT   operations of a round, 100 unless given
 *   only=NAME       one test
 *   set=alignment   the hot loop at 64 places of a page instead of the fifteen tests (64-bit only)
 */
#include "tests.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 5 };

volatile uint64_t sink;

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t cpu_ns(void) {
  struct timespec own;
  struct rusage children;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
  getrusage(RUSAGE_CHILDREN, &children);
  uint64_t us = (uint64_t)(children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1000000u;
  us += (uint64_t)(children.ru_utime.tv_usec + children.ru_stime.tv_usec);
  return (uint64_t)own.tv_sec * 1000000000u + (uint64_t)own.tv_nsec + us * 1000;
}

static long number(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? atol(text) : otherwise;
}

/* What the guest's kernel says the processor can do: the harness compares it between emulators. */
static void print_flags(void) {
  FILE *f = fopen("/proc/cpuinfo", "r");
  static char line[4096];
  while (f && fgets(line, sizeof line, f)) {
    if (strncmp(line, "flags", 5) != 0) continue;
    printf("BENCH-CPU %s", strchr(line, ':') + 2);
    break;
  }
  if (f) fclose(f);
}

int main(void) {
  int guest = getpid() == 1;
  if (guest) {
    mount("proc", "/proc", "proc", 0, 0);
    mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
    print_flags();
  }
  const char *only = getenv("only");
  const char *set = getenv("set");
  if (set && strcmp(set, "alignment") == 0) {
#ifdef __x86_64__
    run_alignments();
#endif
  } else {
    long scale = number("scale", 100);
    for (const struct test *t = tests; t->name; t++) {
      if (only && strcmp(only, t->name) != 0) continue;
      long operations = (long)((int64_t)t->operations * scale / 100);
      if (operations < 1) operations = 1;
      if (t->prepare) t->prepare();
      printf("BENCH-BEGIN %s\n", t->name);
      fflush(stdout);
      for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = now_ns(), cpu = cpu_ns();
        t->run(operations);
        unsigned long long ns = now_ns() - start, used = cpu_ns() - cpu;
        printf("BENCH %s %d %ld %llu %llu\n", t->name, round, operations, ns, used);
        fflush(stdout);
      }
    }
  }
  printf("BENCH done\n");
  fflush(stdout);
  if (guest) {
    sleep(60);
    reboot(RB_POWER_OFF);
  }
  return 0;
}
