/*
 * A QEMU TCG plugin (API version 1) for scripts/trace-qemu.ts: writes the linear address of each executed instruction, eight bytes
 * each and repeated ones once, into a file, from the first execution of one address on, and ends QEMU when it has enough.
 * Arguments: out=FILE, start=ADDRESS (hexadecimal, 0x before it), count=N. The API's functions are declared here, since Debian's
 * package of QEMU comes without the header (QEMU, docs/devel/tcg-plugins).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct block;
struct instruction;
enum { NO_REGISTERS = 0 };
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*callback)(plugin_id, struct block *));
extern size_t qemu_plugin_tb_n_insns(const struct block *block);
extern struct instruction *qemu_plugin_tb_get_insn(const struct block *block, size_t index);
extern uint64_t qemu_plugin_insn_vaddr(const struct instruction *instruction);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct instruction *instruction, void (*callback)(unsigned, void *), int flags,
                                                   void *data);

EXPORT int qemu_plugin_version = 1;

static FILE *out;
static uint64_t start, wanted, written, last;

static void executed(unsigned cpu, void *data) {
  (void)cpu;
  uint64_t address = (uint64_t)(uintptr_t)data;
  if (written == 0 ? address != start : address == last) return;
  last = address;
  fwrite(&address, sizeof address, 1, out);
  if (++written < wanted) return;
  fclose(out);
  _exit(0);
}

static void translated(plugin_id id, struct block *block) {
  (void)id;
  for (size_t n = 0; n < qemu_plugin_tb_n_insns(block); n++) {
    struct instruction *instruction = qemu_plugin_tb_get_insn(block, n);
    uint64_t address = qemu_plugin_insn_vaddr(instruction);
    qemu_plugin_register_vcpu_insn_exec_cb(instruction, executed, NO_REGISTERS, (void *)(uintptr_t)address);
  }
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
  (void)info;
  for (int n = 0; n < argc; n++) {
    if (strncmp(argv[n], "out=", 4) == 0) out = fopen(argv[n] + 4, "wb");
    if (strncmp(argv[n], "start=", 6) == 0) start = strtoull(argv[n] + 6, 0, 16);
    if (strncmp(argv[n], "count=", 6) == 0) wanted = strtoull(argv[n] + 6, 0, 10);
  }
  if (out == 0 || wanted == 0) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  return 0;
}
