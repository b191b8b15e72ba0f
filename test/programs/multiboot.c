/*
 * A Multiboot 1 kernel that prints what it was given. AOUT: with address fields, for an ELF64 (the loader must go by them).
 * BASE is where it is linked.
 */
#include "bare.h"

#ifdef AOUT
#define FLAGS 0x10003
#define ADDRESSES ".long header, header, edata, end, _start\n"
#else
#define FLAGS 3
#define ADDRESSES ""
#endif
#define STRING(x) #x
#define VALUE(x) STRING(x)
__asm__(".section .boot, \"ax\"\n.balign 4\nheader: .long 0x1badb002, " VALUE(FLAGS) ", -(0x1badb002 + " VALUE(FLAGS) ")\n" ADDRESSES
        ".globl _start\n_start: mov $stack_top, %esp\n push %ebx\n push %eax\n call main\n"
        ".bss\n.balign 16\n.skip 16384\nstack_top:\n.text\n");

struct info {
  uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, modules, module_list, symbols[4], map_length, map;
  uint32_t drives[2], config, loader;
};
static uint8_t zeroed[4096];

void main(uint32_t magic, const struct info *info) {
  show("magic", magic);
  entry_state();
  show("flags", info->flags);
  show("mem_lower", info->mem_lower);
  show("mem_upper", info->mem_upper);
  show_text("cmdline", (const char *)info->cmdline);
  show_text("loader", (const char *)info->loader);
  for (uint32_t i = 0; i < info->modules; i++) {
    const uint32_t *module = (const uint32_t *)info->module_list + 4 * i;
    show("module aligned", (module[0] & 0xfff) == 0);
    show("module size", module[1] - module[0]);
    show("module sum", sum(module[0], module[1] - module[0]));
    show_text("module", (const char *)module[2]);
  }
  for (uint32_t entry = info->map; entry < info->map + info->map_length; entry += word(entry) + 4) {
    text("map ");
    hex(*(uint64_t *)(entry + 4));
    put('+');
    hex(*(uint64_t *)(entry + 12));
    put(':');
    hex(word(entry + 20));
    put('\n');
  }
  show("bss", sum((uint32_t)zeroed, sizeof zeroed));
  show("linked at", (uint32_t)main & ~0xfffu);
  platform();
  hpet_counts();
  finish((const char *)info->cmdline);
}
