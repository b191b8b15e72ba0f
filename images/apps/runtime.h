/* What the applications have instead of a C library: system calls, a few string functions, printing. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef UKL
#define IS_UKL 1
#else
#define IS_UKL 0
#endif

long system_call(long number, long a, long b, long c, long d, long e, long f);
void signal_return(void);

#define sys0(n) system_call(n, 0, 0, 0, 0, 0, 0)
#define sys1(n, a) system_call(n, (long)(a), 0, 0, 0, 0, 0)
#define sys2(n, a, b) system_call(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define sys3(n, a, b, c) system_call(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define sys4(n, a, b, c, d) system_call(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define sys5(n, a, b, c, d, e) system_call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define sys6(n, a, b, c, d, e, f) system_call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

void *memset(void *to, int byte, size_t size);
void *memcpy(void *to, const void *from, size_t size);
size_t strlen(const char *text);

/* Writes text and numbers to standard output in one write: print("n=", number(n), "\n", NULL). */
void print(const char *text, ...) __attribute__((sentinel));
/* The decimal digits of a number, in one of a few static buffers. */
const char *number(uint64_t value);

/* Says what failed and ends the program. */
void die(const char *what, long error) __attribute__((noreturn));

int main(int argc, char **argv);

#endif
