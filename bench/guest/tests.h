#pragma once
#include <stdint.h>

struct test {
  const char *name;
  void (*run)(long operations);
  /* Outside the measured time; may be null. */
  void (*prepare)(void);
  /* Of one round at scale=100. */
  long operations;
};

/* Ends with a null name. */
extern const struct test tests[];
/* Keeps results alive. */
extern volatile uint64_t sink;

uint64_t now_ns(void);
void run_alignments(void);
