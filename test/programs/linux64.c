/* A bare ELF64 without notes, entered as if it were Linux by its 64-bit boot protocol; prints boot_params. */
#include "bare.h"

__asm__(".section .boot, \"ax\"\n.globl _start\n_start: lea stack_top(%rip), %rsp\n mov %rsi, %rdi\n call main\n"
        ".bss\n.balign 16\n.skip 16384\nstack_top:\n.text\n");

static uint64_t read_msr(uint32_t index) {
  uint32_t low, high;
  __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
  return (uint64_t)high << 32 | low;
}

void main(const uint8_t *params) {
  uint16_t cs;
  __asm__("mov %%cs, %0" : "=r"(cs));
  show("cs", cs);
  entry_state();
  show("efer", read_msr(0xc0000080));
  show("aligned", ((uintptr_t)params & 0xfff) == 0);
  const char *cmdline = (const char *)(uintptr_t) * (const uint32_t *)(params + 0x228);
  show_text("cmdline", cmdline);
  uint64_t initrd = *(const uint32_t *)(params + 0x218), size = *(const uint32_t *)(params + 0x21c);
  show("initrd size", size);
  show("initrd sum", sum(initrd, size));
  show("e820", params[0x1e8]);
  show("rsdp", *(const uint64_t *)(params + 0x70));
  platform();
  hpet_counts();
  finish(cmdline);
}
