/* A PVH kernel (32- or 64-bit ELF with Xen's entry note) that prints its start info. Entered in 32-bit protected mode. */
#include "bare.h"

__asm__(".section .boot, \"ax\"\n.globl _start\n_start: mov $stack_top, %esp\n push %ebx\n call main\n"
        ".section .note.boot, \"a\"\n.balign 4\n.long 4, 4, 18\n.asciz \"Xen\"\n.long _start\n"
        ".bss\n.balign 16\n.skip 16384\nstack_top:\n.text\n");

struct start_info {
  uint32_t magic, version, flags, modules;
  uint64_t module_list, cmdline, rsdp, map;
  uint32_t map_entries, reserved;
};

static int in_bios_area(uint64_t address) { return address >= 0xe0000 && address < 0x100000; }

void main(const struct start_info *info) {
  show("magic", info->magic);
  show("version", info->version);
  entry_state();
  const char *cmdline = (const char *)(uint32_t)info->cmdline;
  show_text("cmdline", cmdline);
  for (uint32_t i = 0; i < info->modules; i++) {
    const uint64_t *module = (const uint64_t *)(uint32_t)info->module_list + 4 * i;
    show("module size", module[1]);
    show("module sum", sum(module[0], module[1]));
    show_text("module", (const char *)(uint32_t)module[2]);
  }
  const uint32_t *map = (const uint32_t *)(uint32_t)info->map;
  int ram_at_1m = 0;
  for (uint32_t i = 0; i < info->map_entries; i++, map += 6) ram_at_1m |= map[0] == 0x100000 && map[4] == 1;
  show("ram at 1 MiB", ram_at_1m);
  show("rsdp", sum(info->rsdp, 20) & 0xff);
  show("rsdp signature", *(uint32_t *)(uint32_t)info->rsdp);
  show("in BIOS area", in_bios_area((uint32_t)info) || in_bios_area(info->cmdline) || in_bios_area(info->module_list) ||
                           in_bios_area(info->rsdp) || in_bios_area(info->map));
  /* plain RAM: what is written is read back */
  uint32_t wrong = 0;
  for (uint32_t address = 0xe0000; address < 0x100000; address += 4) *(volatile uint32_t *)at(address) = ~address;
  for (uint32_t address = 0xe0000; address < 0x100000; address += 4) wrong += word(address) != ~address;
  show("BIOS area differs", wrong);
  platform();
  finish(cmdline);
}
