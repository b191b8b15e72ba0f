/*
 * How late the local APIC's timer is while the processor computes: deadlines of 50 to 950 us in TSC-deadline mode, for several
 * kinds of work. A line for each on port 0xe9: what, how many, then nanoseconds late: median, 90 %, 99 %, the worst, and how many
 * were over 100 us. Entered in long mode, paging on, as the Linux boot protocol says; ends through port 0xf4.
 */
#include <stddef.h>
#include <stdint.h>

#ifndef DEADLINES
#define DEADLINES 400
#endif
#define LATE 100000
#define SIZE (4 << 20)
#define VECTOR 0x40

__asm__(".globl _start\n_start: lea stack_top(%rip), %rsp\n call main\n"
        ".bss\n.balign 16\n.skip 16384\nstack_top:\n.text\n");

static uint8_t memory[2][SIZE];
static uint32_t lateness[DEADLINES];
static volatile uint64_t deadline;
static volatile int fired;
static volatile uint64_t sink;

static void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static void text(const char *s) {
  while (*s) out8(0xe9, (uint8_t)*s++);
}
static void decimal(uint64_t n) {
  if (n > 9) decimal(n / 10);
  out8(0xe9, (uint8_t)('0' + n % 10));
}
static uint64_t tsc(void) {
  uint32_t low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return (uint64_t)high << 32 | low;
}
static void write_msr(uint32_t index, uint64_t value) {
  __asm__ volatile("wrmsr" ::"c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}
static volatile uint32_t *apic(uint32_t offset) { return (volatile uint32_t *)(uintptr_t)(0xfee00000 + offset); }

struct frame;
__attribute__((interrupt)) static void tick(struct frame *frame) {
  (void)frame;
  uint64_t late = tsc() - deadline;
  lateness[fired++ % DEADLINES] = late > 0xffffffff ? 0xffffffff : (uint32_t)late;
  *apic(0xb0) = 0;
}

/* Work of some ten microseconds each. */
static void registers(void) {
  uint64_t x = sink | 1;
  for (int i = 0; i < 2000; i++) x = x * 6364136223846793005u + (x >> 33);
  sink = x;
}
static void scattered_memory(void) {
  uint64_t x = sink | 1, total = 0;
  for (int i = 0; i < 1000; i++) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    total += memory[0][(x >> 33) % SIZE]++;
  }
  sink = x + total;
}
__attribute__((noinline)) static uint64_t fibonacci(unsigned n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
static void calls(void) { sink += fibonacci(12); }
static void strings(void) {
  void *to = memory[1], *from = memory[0];
  size_t n = SIZE;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
}
/* Fast and slow in turn: long copies, then instructions that the emulator does one by one. */
static void mixed(void) {
  strings();
  for (int i = 0; i < 500; i++) {
    uint32_t a = 1, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    sink += b;
  }
  registers();
}

static void sort(uint32_t *v, int n) {
  for (int i = 1; i < n; i++)
    for (int j = i; j > 0 && v[j - 1] > v[j]; j--) {
      uint32_t t = v[j];
      v[j] = v[j - 1];
      v[j - 1] = t;
    }
}
static void measure(const char *name, void (*work)(void)) {
  uint32_t random = 1;
  fired = 0;
  for (int n = 0; n < DEADLINES; n++) {
    random = random * 1103515245 + 12345;
    uint64_t at = tsc() + 50000 + (random >> 8) % 900000;
    deadline = at;
    write_msr(0x6e0, at);
    while (fired == n) work();
  }
  sort(lateness, DEADLINES);
  int over = 0;
  for (int n = 0; n < DEADLINES; n++) over += lateness[n] > LATE;
  text(name);
  const int at[] = {DEADLINES / 2, DEADLINES * 9 / 10, DEADLINES * 99 / 100, DEADLINES - 1};
  for (int i = 0; i < 4; i++) text(" "), decimal(lateness[at[i]]);
  text(" over "), decimal(over), text("\n");
}

void main(void) {
  static uint64_t idt[512] __attribute__((aligned(16)));
  uint64_t handler = (uint64_t)(uintptr_t)tick;
  uint16_t cs;
  __asm__("mov %%cs, %0" : "=r"(cs));
  idt[VECTOR * 2] = (handler & 0xffff) | (uint64_t)cs << 16 | 0x8eull << 40 | (handler >> 16 & 0xffff) << 48;
  idt[VECTOR * 2 + 1] = handler >> 32;
  struct {
    uint16_t limit;
    uint64_t base;
  } __attribute__((packed)) pointer = {sizeof idt - 1, (uint64_t)(uintptr_t)idt};
  __asm__ volatile("lidt %0" ::"m"(pointer));
  *apic(0xf0) = 0x1ff;
  *apic(0x320) = VECTOR | 2 << 17;
  __asm__ volatile("sti");
  measure("registers", registers);
  measure("memory", scattered_memory);
  measure("calls", calls);
  measure("strings", strings);
  measure("mixed", mixed);
  out8(0xf4, 0);
  for (;;) __asm__ volatile("cli; hlt");
}
