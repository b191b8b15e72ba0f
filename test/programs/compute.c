/*
 * A compute load in the manner of CoreMark, of our own: linked lists, a matrix, a state machine over text and a CRC.
 * Compiled twice from this source: as a program of the host (with main) and as a bare-metal ELF for the emulator
 * (BARE: entered in long mode with paging on, or by Multiboot with -m32; no libraries, result through ports 0xe9 and 0xf4).
 */
#include <stdint.h>

#define LIST 64
#define SIDE 16

struct node {
  struct node *next;
  int16_t key, value;
};
static struct node nodes[LIST];
static int32_t matrix_a[SIDE][SIDE], matrix_b[SIDE][SIDE], matrix_c[SIDE][SIDE];
static const char text[] = "12,-7,3.5,1e9,+4,0x,99,-1.25e-3,abc,7,,8.";

static uint16_t crc16(uint16_t crc, uint32_t data) {
  for (int i = 0; i < 32; i++) {
    uint16_t bit = (crc ^ data) & 1;
    crc >>= 1;
    if (bit) crc ^= 0xa001;
    data >>= 1;
  }
  return crc;
}

static struct node *merge(struct node *a, struct node *b) {
  struct node head, *tail = &head;
  while (a && b) {
    struct node **smaller = a->key <= b->key ? &a : &b;
    tail->next = *smaller;
    tail = *smaller;
    *smaller = (*smaller)->next;
  }
  tail->next = a ? a : b;
  return head.next;
}
static struct node *sort(struct node *list) {
  if (!list || !list->next) return list;
  struct node *slow = list, *fast = list->next;
  while (fast && fast->next) {
    slow = slow->next;
    fast = fast->next->next;
  }
  struct node *second = slow->next;
  slow->next = 0;
  return merge(sort(list), sort(second));
}
static uint16_t lists(uint16_t crc, uint32_t seed) {
  for (int i = 0; i < LIST; i++) {
    seed = seed * 1103515245u + 12345u;
    nodes[i].key = (int16_t)(seed >> 16);
    nodes[i].value = (int16_t)i;
    nodes[i].next = i + 1 < LIST ? &nodes[i + 1] : 0;
  }
  for (struct node *n = sort(nodes); n; n = n->next) crc = crc16(crc, (uint32_t)(n->key * 31 + n->value));
  return crc;
}
static uint16_t matrices(uint16_t crc, uint32_t seed) {
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      matrix_a[i][j] = (int32_t)(seed + i * j);
      matrix_b[i][j] = (int32_t)(seed ^ (i - j));
    }
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      int32_t sum = 0;
      for (int k = 0; k < SIDE; k++) sum += matrix_a[i][k] * matrix_b[k][j];
      matrix_c[i][j] = sum;
    }
  for (int i = 0; i < SIDE; i++) crc = crc16(crc, (uint32_t)matrix_c[i][(i * 7) % SIDE]);
  return crc;
}
static uint16_t states(uint16_t crc) {
  enum { start, sign, integer, point, exponent, invalid } state = start;
  uint32_t count[6] = {0};
  for (const char *p = text; *p; p++) {
    char c = *p;
    if (c == ',') {
      count[state]++;
      state = start;
      continue;
    }
    switch (state) {
      case start: state = c == '-' || c == '+' ? sign : c >= '0' && c <= '9' ? integer : invalid; break;
      case sign: state = c >= '0' && c <= '9' ? integer : invalid; break;
      case integer: state = c == '.' ? point : c == 'e' ? exponent : c >= '0' && c <= '9' ? integer : invalid; break;
      case point: state = c == 'e' ? exponent : c >= '0' && c <= '9' ? point : invalid; break;
      case exponent: state = c == '-' || (c >= '0' && c <= '9') ? exponent : invalid; break;
      default: break;
    }
  }
  for (int i = 0; i < 6; i++) crc = crc16(crc, count[i]);
  return crc;
}
static uint32_t workload(uint32_t rounds) {
  uint16_t crc = 0xffff;
  for (uint32_t i = 0; i < rounds; i++) {
    crc = lists(crc, i);
    crc = matrices(crc, i);
    crc = states(crc);
  }
  return crc;
}

#ifdef BARE
static inline void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
void start_c(void) {
  uint32_t result = workload(ROUNDS);
  for (int shift = 12; shift >= 0; shift -= 4) out8(0xe9, "0123456789abcdef"[result >> shift & 15]);
  out8(0xe9, '\n');
  out8(0xf4, 0);
  for (;;) __asm__ volatile("cli; hlt");
}
#ifdef __i386__
/* Multiboot, so that QEMU boots it, too (scripts/trace-qemu.ts). */
__asm__(".section .boot, \"ax\"\n.balign 4\n.long 0x1badb002, 0, -0x1badb002\n.text\n"
        ".globl _start\n_start:\n  mov $stack_top, %esp\n  call start_c\n"
        ".bss\n.balign 16\n.skip 65536\nstack_top:\n.text\n");
#else
__asm__(".globl _start\n_start:\n  lea stack_top(%rip), %rsp\n  call start_c\n"
        ".bss\n.balign 16\n.skip 65536\nstack_top:\n.text\n");
#endif
#else
#include <stdio.h>
int main(void) {
  printf("%04x\n", workload(ROUNDS));
  return 0;
}
#endif
