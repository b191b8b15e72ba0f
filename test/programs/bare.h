/* What the bare-metal kernels share: ports, a console, and what a kernel can see of the machine around it. */
#include <stdint.h>

static inline void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline void out16(uint16_t port, uint16_t value) { __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
static inline void out32(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }
static inline uint8_t in8(uint16_t port) {
  uint8_t value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
static inline uint16_t in16(uint16_t port) {
  uint16_t value;
  __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
static inline uint32_t in32(uint16_t port) {
  uint32_t value;
  __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

static void put(char c) {
  while (!(in8(0x3fd) & 0x20)) {}
  out8(0x3f8, (uint8_t)c);
}
static void text(const char *s) {
  while (*s) put(*s++);
}
static void hex(uint64_t value) {
  int shift = 60;
  while (shift > 0 && !(value >> shift & 15)) shift -= 4;
  for (; shift >= 0; shift -= 4) put("0123456789abcdef"[value >> shift & 15]);
}
/* "name=value" on a line of its own. */
static void show(const char *name, uint64_t value) {
  text(name);
  put('=');
  hex(value);
  put('\n');
}
static void show_text(const char *name, const char *value) {
  text(name);
  put('=');
  text(value);
  put('\n');
}
static int starts(const char *s, const char *prefix) {
  while (*prefix)
    if (*s++ != *prefix++) return 0;
  return 1;
}
/* What follows `word` in `s`, or null. */
static const char *after(const char *s, const char *word) {
  for (; *s; s++) {
    if (!starts(s, word)) continue;
    while (*word) s++, word++;
    return s;
  }
  return 0;
}
static uint32_t number(const char *s) {
  uint32_t value = 0;
  for (;; s++) {
    if (*s >= '0' && *s <= '9') value = value * 16 + (uint32_t)(*s - '0');
    else if (*s >= 'a' && *s <= 'f') value = value * 16 + (uint32_t)(*s - 'a' + 10);
    else return value;
  }
}
static uint32_t sum(uint64_t from, uint64_t size) {
  uint32_t total = 0;
  for (const uint8_t *p = (const uint8_t *)(uintptr_t)from; size-- > 0; p++) total += *p;
  return total;
}
/* The address is made opaque: compilers know that nothing lies at 0. */
static volatile uint8_t *at(uintptr_t address) {
  __asm__("" : "+r"(address));
  return (volatile uint8_t *)address;
}
static uint32_t word(uintptr_t address) { return *(volatile uint32_t *)at(address); }

static void cpuid(uint32_t leaf, uint32_t out[4]) {
  __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(0));
}
static uint64_t fw_cfg(uint16_t selector, int size) {
  uint64_t value = 0;
  out16(0x510, selector);
  for (int i = 0; i < size; i++) value |= (uint64_t)in8(0x511) << 8 * i;
  return value;
}

/* Registers at entry that every boot protocol defines. */
static void entry_state(void) {
  uintptr_t cr0, cr4, flags;
  uint32_t cs = 0, ss = 0, tr = 0;
  __asm__("mov %%cr0, %0" : "=r"(cr0));
  __asm__("mov %%cr4, %0" : "=r"(cr4));
  __asm__("pushf; pop %0" : "=r"(flags));
  __asm__("mov %%cs, %0" : "=r"(cs));
  __asm__("mov %%ss, %0" : "=r"(ss));
  __asm__("str %0" : "=r"(tr));
  show("cr0", cr0);
  show("cr4", cr4);
  show("interrupts", flags & 0x200);
  uint32_t limit = 0;
  __asm__("lsl %1, %0" : "=r"(limit) : "r"(cs) : "cc");
  show("cs limit", limit);
  __asm__("lsl %1, %0" : "=r"(limit) : "r"(ss) : "cc");
  show("ss limit", limit);
  __asm__("lsl %1, %0" : "=r"(limit) : "r"(tr) : "cc");
  show("tr limit", limit);
  /* A20: two addresses 1 MiB apart */
  at(0x500)[0] = 1;
  at(0x100500)[0] += 0;
  uint8_t high = at(0x100500)[0];
  at(0x500)[0] = (uint8_t)~high;
  show("a20", at(0x100500)[0] == high);
}

/* BIOS data area, ports, firmware configuration, timing leaf, HPET. */
static void platform(void) {
  show("bda com1", word(0x400) & 0xffff);
  show("bda com2", word(0x400) >> 16);
  show("bda equipment", word(0x410) & 0xffff);
  show("bda base memory", word(0x413) & 0xffff);
  show("ebda", word(0x40e) & 0xffff);
  show("unassigned", in8(0x5000));
  show("unassigned16", in16(0x5002));
  show("unassigned32", in32(0x5004));
  show("crtc", in8(0x3d4));
  show("fw_cfg", fw_cfg(0, 4));
  show("fw_cfg cpus", fw_cfg(5, 2));
  show("fw_cfg ram", fw_cfg(3, 8));
  uint32_t r[4];
  cpuid(0x40000000, r);
  show("hypervisor leaves", r[0]);
  cpuid(0x40000010, r);
  show("tsc kHz", r[0]);
  show("apic kHz", r[1]);
  show("hpet id", word(0xfed00000));
  show("hpet period", word(0xfed00004));
  out8(0xe9, 'e');
  out8(0xe9, '9');
  out8(0xe9, '\n');
}
static void hpet_counts(void) {
  *(volatile uint32_t *)at(0xfed00010) = 1;
  uint32_t first = word(0xfed000f0);
  for (volatile int i = 0; i < 10000; i++) {}
  show("hpet counts", word(0xfed000f0) > first);
}

/* Ends as the command line says: poweroff, reset, cf9, triple, halt, exit=PORT:VALUE. */
static void finish(const char *cmdline) {
  const char *where = after(cmdline, "exit=");
  if (where) out8((uint16_t)number(where), (uint8_t)number(after(where, ":")));
  if (after(cmdline, "poweroff")) out16(0x604, 0x2000);
  if (after(cmdline, "reset")) out8(0x64, 0xfe);
  if (after(cmdline, "cf9")) out8(0xcf9, 6);
  if (after(cmdline, "triple")) {
    struct {
      uint16_t limit;
      uintptr_t base;
    } __attribute__((packed)) none = {0, 0};
    __asm__ volatile("lidt %0; int3" ::"m"(none));
  }
  for (;;) __asm__ volatile("cli; hlt");
}
