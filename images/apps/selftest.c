/*
 * Tries every part of what the kernel does for an application inside it, one line per part:
 *   UKL-TEST name=signal ok
 * It is linked into a kernel of its own, which the build makes only for the comparison with QEMU. With the argument
 * "walk" it only walks down its stack.
 */
#include "runtime.h"

#include <asm/errno.h>
#include <asm/prctl.h>
#include <asm/sigcontext.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/time.h>

enum { PAGE = 4096, SIGILL = 4, SIGFPE = 8, SIGUSR1 = 10, SIGSEGV = 11, SIGALRM = 14, SIGCHLD = 17 };
enum { SA_SIGINFO = 4, SA_ONSTACK = 0x08000000, SA_RESTORER = 0x04000000, SA_RESTART = 0x10000000 };

static int failures;

static void result(const char *name, int ok) {
  if (!ok) failures++;
  print("UKL-TEST name=", name, ok ? " ok\n" : " FAILED\n", NULL);
}

static char *map(long size, int protection) {
  return (char *)sys6(__NR_mmap, NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* ---- start-up: constructors, a function chosen at start, thread-local data */

static int order[2], constructed;
__attribute__((constructor(101))) static void first(void) { order[constructed++] = 1; }
__attribute__((constructor(102))) static void second(void) { order[constructed++] = 2; }

static int chosen_one(void) { return 77; }
__attribute__((used)) static int (*choose(void))(void) { return chosen_one; }
static int chosen(void) __attribute__((ifunc("choose")));

static __thread int local_set = 42;
static __thread int local_zero;

/* ---- signals */

struct action {
  void (*handler)(int, void *, void *);
  unsigned long flags;
  void (*restorer)(void);
  unsigned long mask;
};

static volatile int signals, pipe_to_fill;
static char *volatile protected_page;

static void count_signal(int signal, void *info, void *context) {
  (void)signal, (void)info, (void)context;
  signals++;
  if (pipe_to_fill) sys3(__NR_write, pipe_to_fill, "x", 1);
}

static void unprotect(int signal, void *info, void *context) {
  (void)signal, (void)info, (void)context;
  signals++;
  sys3(__NR_mprotect, protected_page, PAGE, PROT_READ | PROT_WRITE);
}

static void handle(int signal, void (*handler)(int, void *, void *), unsigned long flags) {
  struct action action = {handler, flags | SA_SIGINFO | SA_RESTORER, signal_return, 0};
  sys4(__NR_rt_sigaction, signal, &action, NULL, 8);
}

static void alarm_after(long microseconds) {
  long timer[4] = {0, 0, 0, microseconds};
  sys3(__NR_setitimer, 0, timer, NULL);
}

static void test_signals(void) {
  handle(SIGUSR1, count_signal, 0);
  signals = 0;
  sys2(__NR_kill, sys0(__NR_getpid), SIGUSR1);
  result("signal-from-call", signals == 1);

  handle(SIGALRM, count_signal, 0);
  signals = 0;
  alarm_after(20000);
  for (long i = 0; i < 4000000000 && !signals; i++) __asm__ volatile("pause");
  result("signal-while-running", signals == 1);

  signals = 0;
  protected_page = map(PAGE, PROT_READ);
  handle(SIGSEGV, unprotect, 0);
  *protected_page = 1;
  handle(SIGSEGV, NULL, 0);
  result("signal-from-fault", signals == 1 && *protected_page == 1);

  int ends[2];
  char byte;
  sys1(__NR_pipe, ends);
  signals = 0;
  alarm_after(20000);
  result("call-interrupted", sys3(__NR_read, ends[0], &byte, 1) == -EINTR && signals == 1);
  extern long sys_read(long fd, void *to, long size);
  signals = 0;
  alarm_after(20000);
  result("bypass-interrupted", sys_read(ends[0], &byte, 1) == -EINTR && signals == 1);
  handle(SIGALRM, count_signal, SA_RESTART);
  pipe_to_fill = ends[1];
  signals = 0;
  alarm_after(20000);
  result("call-restarted", sys3(__NR_read, ends[0], &byte, 1) == 1 && byte == 'x' && signals == 1);
  pipe_to_fill = 0;

  struct {
    char *at;
    int flags;
    long size;
  } stack = {map(8 * PAGE, PROT_READ | PROT_WRITE), 0, 8 * PAGE};
  sys2(__NR_sigaltstack, &stack, NULL);
  handle(SIGUSR1, count_signal, SA_ONSTACK);
  signals = 0;
  sys2(__NR_kill, sys0(__NR_getpid), SIGUSR1);
  result("signal-stack", signals == 1);
}

/* ---- processes: what a child does must end the way it should, and the kernel must survive it */

static int status_of(void (*body)(void)) {
  int status = -1;
  long child = sys0(__NR_fork);
  if (child == 0) {
    body();
    for (;;) sys1(__NR_exit_group, 9);
  }
  return sys4(__NR_wait4, child, &status, 0, NULL) == child ? status : -1;
}

static void leave(void) { sys1(__NR_exit_group, 7); }
static void execute(void) {
  const char *arguments[] = {"sh", "-c", "exit 5", NULL};
  sys3(__NR_execve, "/bin/sh", arguments, NULL);
}
static char *volatile nowhere;
static void use_null(void) { nowhere[8] = 1; }
static void write_text(void) { *(volatile char *)(uintptr_t)leave = 1; }
static void undefined(void) { __asm__ volatile("ud2"); }
static void divide(void) { __asm__ volatile("divl %0" : : "r"(0), "a"(1), "d"(0)); }
static void jump_nowhere(void) { ((void (*)(void))0x123456789abcdef0)(); }
static void handle_nowhere(void) {
  handle(SIGUSR1, (void (*)(int, void *, void *))0x123456789abcdef0, 0);
  sys2(__NR_kill, sys0(__NR_getpid), SIGUSR1);
}
__attribute__((noinline)) static int recurse(int depth) {
  volatile char frame[512];
  frame[0] = (char)depth;
  return depth < 0 ? 0 : recurse(depth + 1) + frame[0];
}
static void overflow(void) { recurse(0); }
static void stack_nowhere(void) {
  __asm__ volatile("movabsq $0x7ffffffff000, %%rsp; pushq $1" : : : "memory");
}

static void test_processes(void) {
  result("fork", status_of(leave) == 7 << 8);
  result("exec", status_of(execute) == 5 << 8);
  result("null-pointer", (status_of(use_null) & 127) == SIGSEGV);
  result("write-to-text", (status_of(write_text) & 127) == SIGSEGV);
  result("undefined-instruction", (status_of(undefined) & 127) == SIGILL);
  result("divide-by-zero", (status_of(divide) & 127) == SIGFPE);
  result("jump-nowhere", (status_of(jump_nowhere) & 127) == SIGSEGV);
  result("handler-nowhere", (status_of(handle_nowhere) & 127) == SIGSEGV);
  result("stack-overflow", (status_of(overflow) & 127) == SIGSEGV);
  result("stack-nowhere", (status_of(stack_nowhere) & 127) == SIGSEGV);
}

/* ---- threads */

static volatile int thread_done, thread_saw;
static volatile int futex_word;

extern char __tdata_start[], __tdata_end[], __tls_size[], __tls_align[];

/* A block as the ABI wants it: the data, and above it a pointer to itself, where FS points. */
static long new_thread_block(void) {
  uintptr_t align = (uintptr_t)__tls_align;
  uintptr_t size = ((uintptr_t)__tls_size + align - 1) & -align;
  char *pointer = map(PAGE, PROT_READ | PROT_WRITE) + size;
  memcpy(pointer - size, __tdata_start, __tdata_end - __tdata_start);
  *(char **)pointer = pointer;
  return (long)pointer;
}

static void thread_body(void) {
  sys2(__NR_arch_prctl, ARCH_SET_FS, new_thread_block());
  thread_saw = local_set == 42 && local_zero == 0;
  local_set = 1;
  thread_done = 1;
  futex_word = 1;
  sys3(__NR_futex, &futex_word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
  for (;;) sys1(__NR_exit, 0);
}

static long start_thread(char *stack_top) {
  long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  *(void (**)(void))(stack_top -= 16) = thread_body;
  long child = __NR_clone;
  __asm__ volatile(
      "call entry_SYSCALL_64\n"
      "test %%rax, %%rax\n"
      "jnz 1f\n"
      "xorl %%ebp, %%ebp\n"
      "call *(%%rsp)\n"
      "1:"
      : "+a"(child)
      : "D"(flags), "S"(stack_top), "d"(0)
      : "rcx", "r8", "r9", "r10", "r11", "memory");
  return child;
}

static void test_threads(void) {
  char *stack = map(16 * PAGE, PROT_READ | PROT_WRITE);
  sys2(__NR_arch_prctl, ARCH_SET_FS, new_thread_block());
  local_zero = 5;
  result("tls", local_set == 42 && local_zero == 5);
  long thread = start_thread(stack + 16 * PAGE);
  while (!futex_word) sys4(__NR_futex, &futex_word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, NULL);
  result("thread", thread > 0 && thread_done && thread_saw);
  result("tls-of-its-own", local_set == 42 && local_zero == 5);
}

/* ---- what a system call leaves alone: every register but rax, the flags, the vector registers */

long registers_changed(void);
__asm__(
    "registers_changed:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "movl $1, %ebx; movl $2, %ecx; movl $3, %edx; movl $4, %esi; movl $5, %edi; movl $6, %ebp; movl $8, %r8d\n"
    "movl $9, %r9d; movl $10, %r10d; movl $11, %r11d; movl $12, %r12d; movl $13, %r13d; movl $14, %r14d\n"
    "movl $15, %r15d; movl $39, %eax; stc\n"
    "call entry_SYSCALL_64\n"
    "sbbl %eax, %eax; notl %eax\n" /* 0 if the carry is still set */
    "xorl $1, %ebx; xorl $2, %ecx; xorl $3, %edx; xorl $4, %esi; xorl $5, %edi; xorl $6, %ebp; xorl $8, %r8d\n"
    "xorl $9, %r9d; xorl $10, %r10d; xorl $11, %r11d; xorl $12, %r12d; xorl $13, %r13d; xorl $14, %r14d\n"
    "xorl $15, %r15d\n"
    "orl %ebx, %eax; orl %ecx, %eax; orl %edx, %eax; orl %esi, %eax; orl %edi, %eax; orl %ebp, %eax; orl %r8d, %eax\n"
    "orl %r9d, %eax; orl %r10d, %eax; orl %r11d, %eax; orl %r12d, %eax; orl %r13d, %eax; orl %r14d, %eax\n"
    "orl %r15d, %eax\n"
    "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "ret\n");

static void pause_briefly(void) {
  struct timespec time = {0, 1000000};
  sys2(__NR_nanosleep, &time, NULL);
}

/* Two processes hold different values in the same vector register while each lets the other run. */
static int vector_kept(long value) {
  long now;
  __asm__ volatile("movq %0, %%xmm7" : : "r"(value));
  for (int i = 0; i < 5; i++) pause_briefly();
  __asm__ volatile("movq %%xmm7, %0" : "=r"(now));
  return now == value;
}

static void test_registers(void) {
  result("registers", registers_changed() == 0);
  int status = 0;
  long child = sys0(__NR_fork);
  if (child == 0)
    for (;;) sys1(__NR_exit_group, vector_kept(2222) ? 3 : 4);
  int kept = vector_kept(1111);
  sys4(__NR_wait4, child, &status, 0, NULL);
  result("vector-registers", kept && status == 3 << 8);
}

/* ---- memory */

__attribute__((noinline)) static int descend(int frames) {
  volatile char frame[PAGE - 64];
  frame[0] = 1;
  return frames > 1 ? descend(frames - 1) + frame[0] : 1;
}

/*
 * Leaves the stack pointer where there is no page, and waits for interrupts: their frames do not fit. None may get
 * lost, or the clock stands still.
 */
static void test_interrupts_without_stack(void) {
  enum { ROUNDS = 40, GAP = 64 * PAGE };
  char *below = (char *)((uintptr_t)__builtin_frame_address(0) & -PAGE) - 2 * PAGE;
  descend(GAP / PAGE + 4);
  handle(SIGALRM, count_signal, 0);
  signals = 0;
  for (int i = 0; i < ROUNDS; i++) {
    sys3(__NR_madvise, below - GAP, GAP, MADV_DONTNEED);
    alarm_after(3000);
    int before = signals;
    uintptr_t kept;
    __asm__ volatile(
        "movq %%rsp, %[kept]; subq %[gap], %%rsp\n"
        "1: pause; decq %[count]; jz 2f; cmpl %[before], %[signals]; je 1b\n"
        "2: movq %[kept], %%rsp"
        : [kept] "=&r"(kept), [signals] "+m"(signals)
        : [gap] "i"(GAP / 2), [before] "r"(before), [count] "r"(400000000l)
        : "memory", "cc");
  }
  result("interrupts-without-stack", signals == ROUNDS);
}

static char static_buffer[64];

static void test_memory(void) {
  long zero = sys3(__NR_open, "/dev/zero", O_RDONLY, 0);
  memset(static_buffer, 1, sizeof static_buffer);
  long got = sys3(__NR_read, zero, static_buffer, sizeof static_buffer);
  result("static-data-in-calls", zero >= 0 && got == sizeof static_buffer && static_buffer[63] == 0);
  result("bad-address", sys3(__NR_read, zero, (char *)0x1000, 8) == -EFAULT);

  char *heap = (char *)sys1(__NR_brk, 0);
  char *grown = (char *)sys1(__NR_brk, heap + 64 * PAGE);
  heap[63 * PAGE] = 1;
  result("heap", grown == heap + 64 * PAGE && (uintptr_t)heap < 1ull << 47);

  char *code = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
  memcpy(code, "\xb8\x2a\0\0\0\xc3", 6); /* mov $42, %eax; ret */
  result("code-in-user-page", ((int (*)(void))code)() == 42);
}

int main(int argc, char **argv) {
  /* First of all, so that the stack is as the kernel made it: 104 frames of a page. */
  int frames = descend(104);
  result("stack-walk", frames == 104);
  result("arguments", argc >= 1 && argv[0][0] == '/' && argv[argc] == NULL);
  if (argc > 1 && argv[1][0] == 'w') return 0;
  result("constructors", constructed == 2 && order[0] == 1 && order[1] == 2);
  result("chosen-function", chosen() == 77);
  test_memory();
  test_registers();
  test_signals();
  test_threads();
  test_processes();
  test_interrupts_without_stack();
  print("UKL-TEST done failures=", number(failures), "\n", NULL);
  return failures != 0;
}
