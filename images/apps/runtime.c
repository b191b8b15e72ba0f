#include "runtime.h"

#include <asm/unistd.h>
#include <stdarg.h>

void *memset(void *to, int byte, size_t size) {
  char *end = to;
  __asm__ volatile("rep stosb" : "+D"(end), "+c"(size) : "a"(byte) : "memory");
  return to;
}

void *memcpy(void *to, const void *from, size_t size) {
  char *end = to;
  __asm__ volatile("rep movsb" : "+D"(end), "+S"(from), "+c"(size) : : "memory");
  return to;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length]) length++;
  return length;
}

void print(const char *text, ...) {
  char line[256];
  size_t used = 0;
  va_list rest;
  va_start(rest, text);
  for (; text; text = va_arg(rest, const char *)) {
    size_t length = strlen(text);
    if (length > sizeof line - used) length = sizeof line - used;
    memcpy(line + used, text, length);
    used += length;
  }
  va_end(rest);
  sys3(__NR_write, 1, line, used);
}

const char *number(uint64_t value) {
  static char buffers[8][21];
  static unsigned next;
  char *digits = buffers[next++ % 8] + 20;
  *digits = 0;
  do *--digits = '0' + value % 10;
  while (value /= 10);
  return digits;
}

void die(const char *what, long error) {
  print("UKL-EMU: failed: ", what, " (error ", number(error < 0 ? -error : error), ")\n", NULL);
  for (;;) sys1(__NR_exit_group, 1);
}

/* The kernel's linker script and the static linker provide these, empty if there is nothing to run or resolve. */
typedef void (*initialiser)(void);
extern initialiser __preinit_array_start[], __preinit_array_end[], __init_array_start[], __init_array_end[];

struct relocation {
  uint64_t *place;
  uint64_t type;
  uint64_t (*resolver)(void);
};
extern struct relocation __rela_iplt_start[], __rela_iplt_end[];

/* Called by _start with the stack the kernel has prepared. */
__attribute__((noreturn)) void start(long *stack) {
  for (struct relocation *r = __rela_iplt_start; r < __rela_iplt_end; r++) *r->place = r->resolver();
  for (initialiser *f = __preinit_array_start; f < __preinit_array_end; f++) (*f)();
  for (initialiser *f = __init_array_start; f < __init_array_end; f++) (*f)();
  long status = main((int)stack[0], (char **)(stack + 1));
  for (;;) sys1(__NR_exit_group, status);
}
