/* The x87's transcendental functions on the host: records of function number (8 bytes), ST(0) and ST(1) (16 bytes each,
 * 10 used) from standard input; ST(0) afterwards, ST(1) (16 bytes each) to standard output. */
#include <stdint.h>
#include <stdio.h>

typedef struct { uint8_t bytes[16]; } Real;
typedef struct { uint64_t function; Real st0, st1; } Record;
typedef struct { Real st0, st1; } Result;

#define RUN(instruction)                                                                          \
  __asm__ volatile("fninit\n\tfldt %2\n\tfldt %1\n\t" instruction "\n\tfstpt %0"                 \
                   : "=m"(out.st0) : "m"(in.st0), "m"(in.st1) : "memory")
#define RUN_TWO(instruction)                                                                      \
  __asm__ volatile("fninit\n\tfldt %2\n\t" instruction "\n\tfstpt %0\n\tfstpt %1"                 \
                   : "=m"(out.st0), "=m"(out.st1) : "m"(in.st0) : "memory")

int main(void) {
  Record in;
  Result out = {0};
  while (fread(&in, sizeof in, 1, stdin) == 1) {
    switch (in.function) {
      case 0: RUN("f2xm1"); break;
      case 1: RUN("fyl2x"); break;
      case 2: RUN("fyl2xp1"); break;
      case 3: RUN("fsin"); break;
      case 4: RUN("fcos"); break;
      case 5: RUN_TWO("fptan"); out.st0 = out.st1; break;
      case 6: RUN("fpatan"); break;
      default: return 2;
    }
    if (fwrite(&out, sizeof out, 1, stdout) != 1) return 1;
  }
  return 0;
}
