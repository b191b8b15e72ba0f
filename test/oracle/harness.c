/*
 * Runs single instructions on the host CPU from a complete given user state and
 * returns the complete state after them, or the exception they raised.
 *
 * Protocol on stdin/stdout (little endian, structures below):
 *   start   out: struct hello; in: the background of the data window and of the read-only page
 *   batch   in:  u32 count, u32 bytes, then `count` cases one after another
 *           out: u32 count, u32 bytes, then `count` results one after another
 * End of file on stdin ends the process.
 *
 * Everything below 4 GiB except CODE_BASE, DATA_BASE, READONLY_BASE and the blob
 * is unmapped (the executable is position independent and so sits high), so a
 * wild 32-bit address faults here as it does in an emulator with these mappings.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>
#include <asm/ldt.h>

#define CODE_BASE 0x10000000UL
#define CODE_SIZE 0x2000
#define DATA_BASE 0x20000000UL
#define DATA_SIZE 0x2000
#define READONLY_BASE 0x20004000UL
#define READONLY_SIZE 0x1000
#define LINE 64
#define FX_BYTES 160 /* the x87 part of an FXSAVE image: header and eight registers */

#define BLOB_BASE 0x0e57a000UL /* nothing that a generated value is likely to be */
#define BLOB_SIZE 0x1000
#define USER_CS32 0x23
#define USER_CS64 0x33
#define USER_DS 0x2b

#define FLAG_TF 0x100u
#define FLAG_RF 0x10000u

enum { CASE_STEP = 1, CASE_X87 = 2 };
enum { OUTCOME_OK = 0, OUTCOME_FAULT = 1, OUTCOME_TIMEOUT = 2 };

struct patch {
    uint16_t offset, length, reserved[2]; /* followed by the bytes, padded to a multiple of 8 */
};
struct test_case {
    uint8_t flags, mode, code_length, patches;
    uint16_t code_offset, reserved;
    uint8_t code[64]; /* one instruction, or several in a row */
    uint64_t rflags, fs_base, gs_base;
    uint32_t mxcsr, size; /* size: this structure with its patches */
    uint64_t gpr[16];
    uint8_t ymm[16][32];
    uint8_t fx[FX_BYTES];
};
struct result {
    uint8_t outcome, vector;
    uint16_t lines; /* changed lines of the data window: u64 index, then LINE bytes, each */
    uint32_t error, mxcsr, size;
    uint64_t rip, cr2, rflags, fs_base, gs_base;
    uint64_t gpr[16];
    uint8_t ymm[16][32];
    uint8_t fx[FX_BYTES];
    uint16_t selectors[8]; /* ES CS SS DS FS GS */
};
struct hello {
    char magic[8];
    char vendor[16], brand[48];
    uint32_t signature, xcr0, case_size, result_size;
};

struct xsave {
    uint8_t legacy[512];
    uint64_t xstate_bv, header[7];
    uint8_t ymm_high[16][16];
};

/* The page after the blob's code. The offsets are repeated as D_* in the assembly. */
struct blob_data {
    uint64_t host_rsp, host_fs, host_gs, in_guest; /* 000 */
    uint64_t data_selector, fs_base, gs_base, fs_selector; /* 020 */
    uint64_t rip, cs, rflags, rsp, ss, pad0[3]; /* 040: the IRETQ frame */
    uint64_t in[16], out[16]; /* 080, 100 */
    uint64_t out_rflags, out_fs, out_gs, out_signal; /* 180 */
    uint64_t out_es, out_ss, out_ds, out_fs_selector, out_gs_selector, pad1[7]; /* 1a0 */
    uint64_t stack[32]; /* 200 */
    uint64_t pad2[32]; /* 300 */
    struct xsave xin; /* 400 */
    uint8_t pad3[0x400 - sizeof(struct xsave)];
    struct xsave xout; /* 800 */
};
_Static_assert(offsetof(struct blob_data, in) == 0x80, "layout");
_Static_assert(offsetof(struct blob_data, out_rflags) == 0x180, "layout");
_Static_assert(offsetof(struct blob_data, stack) == 0x200, "layout");
_Static_assert(offsetof(struct blob_data, xin) == 0x400, "layout");
_Static_assert(offsetof(struct blob_data, xout) == 0x800, "layout");
_Static_assert(sizeof(struct test_case) % 8 == 0 && sizeof(struct result) % 8 == 0, "alignment");

/*
 * The blob is copied to BLOB_BASE. It refers only to itself and to its data page,
 * RIP-relative, because a case may leave nothing usable in any register.
 */
__asm__(
    ".intel_syntax noprefix\n"
    ".text\n.balign 64\n"
    ".set D, blob_start + 0x1000\n"
    "blob_start:\n"
    /* uint64_t enter(void): 0 = the case reached its stub, else the ucontext of the signal. */
    "  push rbx\n  push rbp\n  push r12\n  push r13\n  push r14\n  push r15\n"
    "  mov [rip + D + 0x00], rsp\n"
    "  rdfsbase rax\n  mov [rip + D + 0x08], rax\n"
    "  rdgsbase rax\n  mov [rip + D + 0x10], rax\n"
    "  mov qword ptr [rip + D + 0x18], 1\n"
    "  mov eax, 7\n  xor edx, edx\n"
    "  xrstor64 [rip + D + 0x400]\n"
    "  mov rax, [rip + D + 0x20]\n  mov ds, eax\n  mov es, eax\n"
    "  mov ecx, fs\n  mov rax, [rip + D + 0x38]\n  cmp eax, ecx\n  je 1f\n  mov fs, eax\n"
    "1: mov ecx, gs\n  cmp eax, ecx\n  je 1f\n  mov gs, eax\n"
    "1: mov rax, [rip + D + 0x28]\n  wrfsbase rax\n"
    "  mov rax, [rip + D + 0x30]\n  wrgsbase rax\n"
    "  mov rax, [rip + D + 0x80]\n  mov rcx, [rip + D + 0x88]\n"
    "  mov rdx, [rip + D + 0x90]\n  mov rbx, [rip + D + 0x98]\n"
    "  mov rbp, [rip + D + 0xa8]\n  mov rsi, [rip + D + 0xb0]\n"
    "  mov rdi, [rip + D + 0xb8]\n  mov r8, [rip + D + 0xc0]\n"
    "  mov r9, [rip + D + 0xc8]\n  mov r10, [rip + D + 0xd0]\n"
    "  mov r11, [rip + D + 0xd8]\n  mov r12, [rip + D + 0xe0]\n"
    "  mov r13, [rip + D + 0xe8]\n  mov r14, [rip + D + 0xf0]\n"
    "  mov r15, [rip + D + 0xf8]\n"
    "  lea rsp, [rip + D + 0x40]\n"
    "  iretq\n"

    "blob_exit32:\n.code32\n"
    "  .byte 0xea\n  .long 0x0e57a000 + blob_exit - blob_start\n  .word 0x33\n"
    ".code64\n"

    "blob_exit:\n"
    "  mov [rip + D + 0x100], rax\n  mov [rip + D + 0x120], rsp\n"
    "  lea rsp, [rip + D + 0x300]\n"
    "  pushfq\n  pop qword ptr [rip + D + 0x180]\n"
    "  push 0x202\n  popfq\n"
    "  mov [rip + D + 0x108], rcx\n  mov [rip + D + 0x110], rdx\n"
    "  mov [rip + D + 0x118], rbx\n  mov [rip + D + 0x128], rbp\n"
    "  mov [rip + D + 0x130], rsi\n  mov [rip + D + 0x138], rdi\n"
    "  mov [rip + D + 0x140], r8\n  mov [rip + D + 0x148], r9\n"
    "  mov [rip + D + 0x150], r10\n  mov [rip + D + 0x158], r11\n"
    "  mov [rip + D + 0x160], r12\n  mov [rip + D + 0x168], r13\n"
    "  mov [rip + D + 0x170], r14\n  mov [rip + D + 0x178], r15\n"
    "  mov eax, 7\n  xor edx, edx\n"
    "  xsave64 [rip + D + 0x800]\n"
    "  xor edx, edx\n"
    "blob_leave:\n" /* rdx = result */
    "  mov qword ptr [rip + D + 0x18], 0\n"
    "  mov eax, es\n  mov [rip + D + 0x1a0], rax\n"
    "  mov eax, ss\n  mov [rip + D + 0x1a8], rax\n"
    "  mov eax, ds\n  mov [rip + D + 0x1b0], rax\n"
    "  mov eax, fs\n  mov [rip + D + 0x1b8], rax\n"
    "  mov eax, gs\n  mov [rip + D + 0x1c0], rax\n"
    "  rdfsbase rax\n  mov [rip + D + 0x188], rax\n"
    "  rdgsbase rax\n  mov [rip + D + 0x190], rax\n"
    "  mov rax, [rip + D + 0x08]\n  wrfsbase rax\n"
    "  mov rax, [rip + D + 0x10]\n  wrgsbase rax\n"
    "  mov rsp, [rip + D + 0x00]\n"
    "  mov rax, rdx\n"
    "  pop r15\n  pop r14\n  pop r13\n  pop r12\n  pop rbp\n  pop rbx\n"
    "  ret\n"

    /* Signal handler (edi signal, rdx ucontext): leaves for good, without sigreturn. The kernel
       clears DF and TF for a handler but not AC. */
    "blob_signal:\n"
    "  cmp qword ptr [rip + D + 0x18], 0\n"
    "  je 2f\n"
    "  push 0x202\n  popfq\n"
    "  mov [rip + D + 0x198], rdi\n"
    "  jmp blob_leave\n"
    "2: cmp edi, 14\n" /* SIGALRM outside of a case means nothing; anything else is a bug here */
    "  jne 3f\n"
    "  ret\n"
    "3: mov eax, 60\n  mov edi, 99\n  syscall\n"
    "blob_end:\n"
    ".att_syntax\n");
extern const uint8_t blob_start[], blob_exit[], blob_exit32[], blob_signal[], blob_end[];

static struct blob_data *const blob = (struct blob_data *)(BLOB_BASE + BLOB_SIZE);
static uint8_t *code_alias; /* writable view of the code pages */
static uint8_t background[DATA_SIZE], shadow[DATA_SIZE];
static uint8_t *const data = (uint8_t *)DATA_BASE;
static unsigned long thread_selector;

static void die(const char *what) {
    fprintf(stderr, "harness: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* libc's string functions may use AVX-512 and so enlarge every signal frame. */
static inline void copy(void *to, const void *from, size_t n) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}
static inline void fill(void *to, uint8_t value, size_t n) {
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
}
typedef uint64_t v4 __attribute__((vector_size(32), aligned(8), may_alias));
static inline void copy32(void *to, const void *from, size_t n) {
    for (size_t i = 0; i < n; i += 32) *(v4 *)((char *)to + i) = *(const v4 *)((const char *)from + i);
}
static inline int line_differs(const uint8_t *a, const uint8_t *b) {
    v4 x = (((const v4 *)a)[0] ^ ((const v4 *)b)[0]) | (((const v4 *)a)[1] ^ ((const v4 *)b)[1]);
    return (x[0] | x[1] | x[2] | x[3]) != 0;
}

static void *map_at(unsigned long address, size_t size, int protection, int fd) {
    int flags = MAP_FIXED_NOREPLACE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
    void *p = mmap((void *)address, size, protection, flags, fd, 0);
    if (p != (void *)address) die("cannot map a fixed address below 4 GiB");
    return p;
}

static void read_all(void *to, size_t n) {
    while (n > 0) {
        ssize_t got = read(0, to, n);
        if (got == 0) exit(0);
        if (got < 0 && errno != EINTR) die("read");
        if (got > 0) to = (char *)to + got, n -= got;
    }
}
static void write_all(const void *from, size_t n) {
    while (n > 0) {
        ssize_t put = write(1, from, n);
        if (put < 0 && errno != EINTR) die("write");
        if (put > 0) from = (const char *)from + put, n -= put;
    }
}

static void set_up(void) {
    if (!(getauxval(AT_HWCAP2) & 2)) errno = ENOTSUP, die("the kernel does not enable FSGSBASE");
    int fd = memfd_create("code", 0);
    if (fd < 0 || ftruncate(fd, CODE_SIZE) < 0) die("memfd");
    map_at(CODE_BASE, CODE_SIZE, PROT_READ | PROT_EXEC, fd);
    code_alias = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (code_alias == MAP_FAILED) die("mmap");
    fill(code_alias, 0xcc, CODE_SIZE);
    map_at(DATA_BASE, DATA_SIZE, PROT_READ | PROT_WRITE, -1);
    map_at(READONLY_BASE, READONLY_SIZE, PROT_READ | PROT_WRITE, -1);
    map_at(BLOB_BASE, BLOB_SIZE, PROT_READ | PROT_WRITE, -1);
    copy((void *)BLOB_BASE, blob_start, blob_end - blob_start);
    if (mprotect((void *)BLOB_BASE, BLOB_SIZE, PROT_READ | PROT_EXEC) < 0) die("mprotect");
    map_at(BLOB_BASE + BLOB_SIZE, 0x1000, PROT_READ | PROT_WRITE, -1);

    /* A flat data descriptor for FS and GS in 32-bit code, whose base WRFSBASE then replaces. Only the
       32-bit system call exists; its argument must lie below 4 GiB. */
    struct user_desc *descriptor = (struct user_desc *)DATA_BASE;
    *descriptor = (struct user_desc){.entry_number = -1, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1};
    long status;
    __asm__ volatile("int $0x80" : "=a"(status) : "a"(243L), "b"(descriptor) : "memory", "r8", "r9", "r10", "r11");
    if ((int)status == 0) thread_selector = descriptor->entry_number * 8 + 3;

    static uint8_t stack[65536] __attribute__((aligned(64)));
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    if (sigaltstack(&alternate, NULL) < 0) die("sigaltstack");
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART};
    action.sa_sigaction = (void (*)(int, siginfo_t *, void *))(BLOB_BASE + (blob_signal - blob_start));
    const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
}

static void say_hello(void) {
    struct hello hello = {.magic = "SILICON1", .case_size = sizeof(struct test_case), .result_size = sizeof(struct result)};
    unsigned a, b, c, d, high;
    __cpuid(0, a, b, c, d);
    memcpy(hello.vendor, &b, 4), memcpy(hello.vendor + 4, &d, 4), memcpy(hello.vendor + 8, &c, 4);
    __cpuid(1, hello.signature, b, c, d);
    for (unsigned i = 0; i < 3; i++) {
        unsigned *part = (unsigned *)(hello.brand + 16 * i);
        __cpuid(0x80000002 + i, part[0], part[1], part[2], part[3]);
    }
    __asm__("xgetbv" : "=a"(hello.xcr0), "=d"(high) : "c"(0));
    write_all(&hello, sizeof hello);
    read_all(background, DATA_SIZE);
    copy(shadow, background, DATA_SIZE);
    copy(data, background, DATA_SIZE);
    read_all((void *)READONLY_BASE, READONLY_SIZE);
    if (mprotect((void *)READONLY_BASE, READONLY_SIZE, PROT_READ) < 0) die("mprotect");
}

static void load_state(const struct test_case *test) {
    int wide = test->mode == 64;
    copy32(blob->in, test->gpr, sizeof test->gpr);
    blob->rip = CODE_BASE + test->code_offset;
    blob->cs = wide ? USER_CS64 : USER_CS32;
    blob->rflags = (test->rflags & ~(uint64_t)FLAG_TF) | (test->flags & CASE_STEP ? FLAG_TF : 0);
    blob->rsp = test->gpr[4];
    blob->ss = USER_DS;
    blob->data_selector = wide ? 0 : USER_DS;
    blob->fs_selector = wide ? 0 : thread_selector;
    blob->fs_base = test->fs_base;
    blob->gs_base = test->gs_base;
    struct xsave *x = &blob->xin;
    if (test->flags & CASE_X87) {
        copy32(x->legacy, test->fx, FX_BYTES);
    } else {
        fill(x->legacy, 0, FX_BYTES);
        x->legacy[0] = 0x7f, x->legacy[1] = 3;
    }
    memcpy(x->legacy + 24, &test->mxcsr, 4);
    memcpy(x->legacy + 28, "\0\0\0", 4);
    for (int i = 0; i < 16; i++) {
        memcpy(x->legacy + 160 + 16 * i, test->ymm[i], 16);
        memcpy(x->ymm_high[i], test->ymm[i] + 16, 16);
    }
    x->xstate_bv = 7;
}

/* A component in its initial configuration is not in the image: XSTATE_BV says so (SDM vol. 1, 13.6). */
static void store_vectors(struct result *r, const uint8_t *legacy, uint64_t xstate_bv, const uint8_t *ymm_high) {
    for (int i = 0; i < 16; i++) {
        if (xstate_bv & 2) memcpy(r->ymm[i], legacy + 160 + 16 * i, 16);
        else memset(r->ymm[i], 0, 16);
        if (xstate_bv & 4) memcpy(r->ymm[i] + 16, ymm_high + 16 * i, 16);
        else memset(r->ymm[i] + 16, 0, 16);
    }
    if (xstate_bv & 1) {
        copy32(r->fx, legacy, FX_BYTES);
    } else {
        fill(r->fx, 0, FX_BYTES);
        r->fx[0] = 0x7f, r->fx[1] = 3;
    }
    fill(r->fx + 24, 0, 8);
    memcpy(&r->mxcsr, legacy + 24, 4);
}

static void store_signal(struct result *r, const struct test_case *test, const ucontext_t *context) {
    static const uint8_t order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                      REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    const greg_t *g = context->uc_mcontext.gregs;
    for (int i = 0; i < 16; i++) r->gpr[i] = g[order[i]];
    r->selectors[1] = g[REG_CSGSFS];
    r->selectors[2] = (uint64_t)g[REG_CSGSFS] >> 48;
    r->rip = g[REG_RIP];
    r->rflags = g[REG_EFL] & ~(uint64_t)FLAG_RF;
    if (test->flags & CASE_STEP) r->rflags &= ~(uint64_t)FLAG_TF;
    r->vector = g[REG_TRAPNO];
    r->error = g[REG_ERR];
    r->cr2 = r->vector == 14 ? g[REG_CR2] : 0;
    r->outcome = OUTCOME_FAULT;
    const uint8_t *image = (const uint8_t *)context->uc_mcontext.fpregs;
    uint64_t xstate_bv;
    memcpy(&xstate_bv, image + 512, 8);
    store_vectors(r, image, xstate_bv, image + 576);

    uint64_t start = CODE_BASE + test->code_offset, end = start + test->code_length;
    if (test->flags & CASE_STEP && r->vector == 1) {
        r->outcome = OUTCOME_OK;
    } else if (r->vector == 1) {
        r->outcome = OUTCOME_OK, r->rip = end; /* the instruction set TF: the trap came after the stub's jump */
    } else if (r->vector == 3 && (r->rip <= start || r->rip > end)) {
        r->outcome = OUTCOME_OK, r->rip -= 1; /* landed on the 0xCC filling */
    } else if (r->vector == 14 && r->rip == end && r->cr2 == end && end == CODE_BASE + CODE_SIZE) {
        r->outcome = OUTCOME_OK; /* no room for a stub: ran off the mapped code */
    }
    if (r->outcome == OUTCOME_OK) r->vector = 0, r->error = 0, r->cr2 = 0;
}

static const struct patch *next_patch(const struct patch *p) {
    return p + 1 + (p->length + 7) / 8;
}

/* Returns the end of the result. */
static uint8_t *run_case(const struct test_case *test, struct result *r) {
    const struct patch *patches = (const struct patch *)(test + 1);
    const struct patch *p = patches;
    for (int i = 0; i < test->patches; i++, p = next_patch(p)) {
        copy(data + p->offset, p + 1, p->length);
        copy(shadow + p->offset, p + 1, p->length);
    }

    uint8_t *code = code_alias + test->code_offset;
    size_t room = CODE_SIZE - test->code_offset, length = test->code_length, used = length;
    copy(code, test->code, length < room ? length : room);
    if (!(test->flags & CASE_STEP) && length + 5 <= room) {
        uint64_t target = BLOB_BASE + ((test->mode == 64 ? blob_exit : blob_exit32) - blob_start);
        int32_t relative = target - (CODE_BASE + test->code_offset + length + 5);
        code[length] = 0xe9;
        memcpy(code + length + 1, &relative, 4);
        used += 5;
    }

    for (int attempt = 0;; attempt++) {
        load_state(test);
        const ucontext_t *context = ((const ucontext_t *(*)(void))BLOB_BASE)();
        if (context == NULL) {
            copy32(r->gpr, blob->out, sizeof r->gpr);
            r->rip = CODE_BASE + test->code_offset + test->code_length;
            r->rflags = blob->out_rflags;
            r->selectors[1] = blob->cs;
            r->selectors[2] = blob->out_ss;
            r->vector = 0, r->error = 0, r->cr2 = 0, r->outcome = OUTCOME_OK;
            store_vectors(r, blob->xout.legacy, blob->xout.xstate_bv, (const uint8_t *)blob->xout.ymm_high);
        } else {
            store_signal(r, test, context);
            if (blob->out_signal == SIGALRM) {
                r->outcome = OUTCOME_TIMEOUT;
                if (attempt < 2) {
                    copy(data, shadow, DATA_SIZE);
                    continue;
                }
            }
        }
        break;
    }
    if (test->mode == 32) {
        for (int i = 0; i < 8; i++) r->gpr[i] &= 0xffffffff; /* upper halves are undefined after a mode switch */
    }
    r->selectors[0] = blob->out_es;
    r->selectors[3] = blob->out_ds;
    r->selectors[4] = blob->out_fs_selector;
    r->selectors[5] = blob->out_gs_selector;
    r->selectors[6] = r->selectors[7] = 0;
    r->fs_base = blob->out_fs;
    r->gs_base = blob->out_gs;
    fill(code, 0xcc, used < room ? used : room);

    uint8_t *out = (uint8_t *)(r + 1);
    r->lines = 0;
    for (uint64_t i = 0; i < DATA_SIZE / LINE; i++) {
        uint8_t *now = data + LINE * i, *before = shadow + LINE * i;
        if (!line_differs(now, before)) continue;
        memcpy(out, &i, 8);
        copy32(out + 8, now, LINE);
        copy32(now, before, LINE);
        out += 8 + LINE;
        r->lines++;
    }
    p = patches;
    for (int i = 0; i < test->patches; i++, p = next_patch(p)) {
        copy(data + p->offset, background + p->offset, p->length);
        copy(shadow + p->offset, background + p->offset, p->length);
    }
    r->size = out - (uint8_t *)r;
    return out;
}

int main(void) {
    set_up();
    say_hello();
    const struct itimerval on = {{0, 100000}, {0, 100000}}, off = {{0, 0}, {0, 0}};
    uint8_t *in = NULL, *out = NULL;
    size_t in_size = 0, out_size = 0;
    for (;;) {
        uint32_t header[2];
        read_all(header, sizeof header);
        if (header[1] > in_size) in = realloc(in, in_size = header[1]);
        if (in == NULL) die("memory");
        read_all(in, header[1]);

        const uint8_t *cursor = in;
        size_t used = 8;
        setitimer(ITIMER_REAL, &on, NULL);
        for (uint32_t i = 0; i < header[0]; i++) {
            const struct test_case *test = (const struct test_case *)cursor;
            size_t worst = used + sizeof(struct result) + DATA_SIZE / LINE * (LINE + 8);
            if (worst > out_size) out = realloc(out, out_size = worst * 2);
            if (out == NULL) die("memory");
            used = run_case(test, (struct result *)(out + used)) - out;
            cursor += test->size;
        }
        setitimer(ITIMER_REAL, &off, NULL);
        uint32_t answer[2] = {header[0], used - 8};
        memcpy(out, answer, 8);
        write_all(out, used);
    }
}
