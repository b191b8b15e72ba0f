/*
 * What LEBench measures, one line per result:
 *   UKL-BENCH name=read-1 variant=call n=21000 ns=180.2 tsc=468.0 min=179.0 q1=179.9 q3=181.3 max=220.7
 * ns and tsc are for one operation, medians of batches, after a warm-up; min, q1, q3 and max are those of ns. The
 * static program makes system calls by SYSCALL (variant "syscall"); inside the kernel they are made by calling the
 * kernel's entry ("call") and, if the kernel has been built with UKL_BYPASS, as plain functions ("bypass").
 * The last batch of the warm-up is marked for whoever counts instructions, as region "name/variant"; with an argument
 * it is repeated for that many milliseconds, since an emulator that translates needs a while to get up to speed.
 */
#include "marker.h"
#include "runtime.h"

#include <asm/errno.h>
#include <asm/unistd.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/in.h>
#include <linux/mman.h>
#include <linux/poll.h>
#include <linux/time.h>

enum { PAGE = 4096, LARGEST = 16384, BATCHES = 21, WARM_UP = 3, MARKED = -1, WATCHED = 10 };
enum { AF_UNIX = 1, AF_INET = 2, SOCK_STREAM = 1, TCP_PORT = 5556, SIOCSIFFLAGS = 0x8914, IFF_UP = 1 };

/* The system calls that are measured, in the shape of C functions. */
struct calls {
  const char *variant;
  long (*getppid)(void);
  long (*read)(long fd, void *to, long size);
  long (*write)(long fd, const void *from, long size);
  long (*sendto)(long fd, const void *from, long size, long flags, void *address, long length);
  long (*recvfrom)(long fd, void *to, long size, long flags, void *address, long *length);
  long (*select)(long count, void *in, void *out, void *except, void *timeout);
  long (*poll)(void *set, long count, long timeout);
  long (*epoll_wait)(long fd, void *events, long count, long timeout);
  long (*mmap)(void *at, long size, long protection, long flags, long fd, long offset);
  long (*munmap)(void *at, long size);
};

/* One instruction makes the call, so that this is all the wrapper adds. */
#ifdef UKL
#define ENTER "call entry_SYSCALL_64"
#else
#define ENTER "syscall"
#endif

static inline long enter(long nr, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile(ENTER : "+a"(nr) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return nr;
}

static long enter_getppid(void) { return enter(__NR_getppid, 0, 0, 0, 0, 0, 0); }
static long enter_read(long fd, void *to, long size) { return enter(__NR_read, fd, (long)to, size, 0, 0, 0); }
static long enter_write(long fd, const void *from, long size) {
  return enter(__NR_write, fd, (long)from, size, 0, 0, 0);
}
static long enter_sendto(long fd, const void *from, long size, long flags, void *address, long length) {
  return enter(__NR_sendto, fd, (long)from, size, flags, (long)address, length);
}
static long enter_recvfrom(long fd, void *to, long size, long flags, void *address, long *length) {
  return enter(__NR_recvfrom, fd, (long)to, size, flags, (long)address, (long)length);
}
static long enter_select(long count, void *in, void *out, void *except, void *timeout) {
  return enter(__NR_select, count, (long)in, (long)out, (long)except, (long)timeout, 0);
}
static long enter_poll(void *set, long count, long timeout) {
  return enter(__NR_poll, (long)set, count, timeout, 0, 0, 0);
}
static long enter_epoll_wait(long fd, void *events, long count, long timeout) {
  return enter(__NR_epoll_wait, fd, (long)events, count, timeout, 0, 0);
}
static long enter_mmap(void *at, long size, long protection, long flags, long fd, long offset) {
  return enter(__NR_mmap, (long)at, size, protection, flags, fd, offset);
}
static long enter_munmap(void *at, long size) { return enter(__NR_munmap, (long)at, size, 0, 0, 0, 0); }

static const struct calls by_entry = {
    IS_UKL ? "call" : "syscall", enter_getppid, enter_read, enter_write,      enter_sendto, enter_recvfrom,
    enter_select,                enter_poll,    enter_epoll_wait, enter_mmap, enter_munmap,
};

#ifdef BYPASS
extern __typeof__(enter_getppid) sys_getppid;
extern __typeof__(enter_read) sys_read;
extern __typeof__(enter_write) sys_write;
extern __typeof__(enter_sendto) sys_sendto;
extern __typeof__(enter_recvfrom) sys_recvfrom;
extern __typeof__(enter_select) sys_select;
extern __typeof__(enter_poll) sys_poll;
extern __typeof__(enter_epoll_wait) sys_epoll_wait;
extern __typeof__(enter_mmap) sys_mmap;
extern __typeof__(enter_munmap) sys_munmap;

static const struct calls by_function = {
    "bypass",   sys_getppid, sys_read,       sys_write, sys_sendto, sys_recvfrom,
    sys_select, sys_poll,    sys_epoll_wait, sys_mmap,  sys_munmap,
};
#endif

static const struct calls *calls;
static char *buffer;

static long checked(const char *what, long result) {
  if (result < 0) die(what, result);
  return result;
}

/* Time is taken in pairs: the clock, and the processor's counter. */
struct stamp {
  uint64_t ns, tsc;
};

static struct stamp now(void) {
  struct timespec time;
  sys2(__NR_clock_gettime, CLOCK_MONOTONIC, &time);
  uint32_t low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
  return (struct stamp){time.tv_sec * 1000000000ull + time.tv_nsec, (uint64_t)high << 32 | low};
}

/* How long the warm-up of each operation lasts at least. */
static uint64_t warm_up_ns;

/* The number of the batch after this one; negative ones are warm-up. */
static int following(int batch, struct stamp began) {
  return batch == MARKED && now().ns - began.ns < warm_up_ns ? batch : batch + 1;
}

/* The elapsed times of the batches of one result, in tenths for one operation. */
struct series {
  unsigned count;
  uint64_t ns[BATCHES], tsc[BATCHES];
};

static void add(struct series *series, struct stamp from, struct stamp to, unsigned operations) {
  unsigned i = series->count++;
  series->ns[i] = (to.ns - from.ns) * 10 / operations;
  series->tsc[i] = (to.tsc - from.tsc) * 10 / operations;
}

static uint64_t median(uint64_t *values, unsigned count) {
  for (unsigned i = 1; i < count; i++)
    for (unsigned j = i; j > 0 && values[j - 1] > values[j]; j--) {
      uint64_t swapped = values[j];
      values[j] = values[j - 1];
      values[j - 1] = swapped;
    }
  return values[count / 2];
}

/* A value in tenths as decimal digits, in one of a few static buffers. */
static const char *tenths(uint64_t value) {
  static char buffers[8][24];
  static unsigned next;
  char *text = buffers[next++ % 8] + 23;
  *text = 0;
  *--text = '0' + value % 10;
  *--text = '.';
  do *--text = '0' + (value /= 10) % 10;
  while (value >= 10);
  return text;
}

static void report(const char *name, long size, struct series *series, unsigned operations) {
  unsigned last = series->count - 1;
  uint64_t *ns = series->ns, middle = median(ns, series->count), tsc = median(series->tsc, series->count);
  print("UKL-BENCH name=", name, size ? "-" : "", size ? number(size) : "", " variant=", calls->variant,
        " n=", number((uint64_t)series->count * operations), " ns=", tenths(middle), " tsc=", tenths(tsc),
        " min=", tenths(ns[0]), " q1=", tenths(ns[last / 4]), " q3=", tenths(ns[last * 3 / 4]),
        " max=", tenths(ns[last]), "\n", NULL);
}

/* The name of a marked region. */
struct label {
  char text[40];
};

static struct label region(const char *name, long size) {
  const char *parts[] = {name, size ? "-" : "", size ? number(size) : "", "/", calls->variant};
  struct label label = {0};
  unsigned used = 0;
  for (unsigned part = 0; part < sizeof parts / sizeof *parts; part++)
    for (const char *c = parts[part]; *c && used < sizeof label.text - 1; c++) label.text[used++] = *c;
  return label;
}

/* Runs a statement `operations` times a batch. */
#define MEASURE(name, size, operations, statement)                       \
  do {                                                                   \
    struct series series = {0};                                          \
    struct label label = region(name, size);                             \
    struct stamp began = now();                                          \
    for (int b = -WARM_UP; b < BATCHES; b = following(b, began)) {       \
      struct stamp from = now();                                         \
      if (b == MARKED) mark(MARKER_BEGIN, label.text, (operations));     \
      for (unsigned i = 0; i < (operations); i++) {                      \
        statement;                                                       \
        __asm__ volatile("" : : : "memory");                             \
      }                                                                  \
      if (b == MARKED) mark(MARKER_END, label.text, 0);                  \
      struct stamp to = now();                                           \
      if (b >= 0) add(&series, from, to, (operations));                  \
    }                                                                    \
    report(name, size, &series, (operations));                           \
  } while (0)

static void measure_files(void) {
  static const int sizes[] = {1, 64, 1024, 4096, LARGEST};
  long zero = checked("open /dev/zero", sys3(__NR_open, "/dev/zero", O_RDONLY, 0));
  long null = checked("open /dev/null", sys3(__NR_open, "/dev/null", O_WRONLY, 0));
  for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++)
    MEASURE("read", sizes[s], 500, calls->read(zero, buffer, sizes[s]));
  for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++)
    MEASURE("write", sizes[s], 500, calls->write(null, buffer, sizes[s]));
  sys1(__NR_close, zero);
  sys1(__NR_close, null);
}

/* Two ends of one connection over the loopback interface. */
static void connect_tcp(int ends[2]) {
  struct {
    char name[16];
    short flags;
    char rest[22];
  } loopback = {.name = "lo", .flags = IFF_UP};
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = __builtin_bswap16(TCP_PORT), .sin_addr = {__builtin_bswap32(0x7f000001)}};
  int on = 1;
  long listener = checked("socket", sys3(__NR_socket, AF_INET, SOCK_STREAM, 0));
  checked("loopback up", sys3(__NR_ioctl, listener, SIOCSIFFLAGS, &loopback));
  sys5(__NR_setsockopt, listener, 1 /* SOL_SOCKET */, 2 /* SO_REUSEADDR */, &on, sizeof on);
  checked("bind", sys3(__NR_bind, listener, &address, sizeof address));
  checked("listen", sys2(__NR_listen, listener, 1));
  ends[0] = checked("socket", sys3(__NR_socket, AF_INET, SOCK_STREAM, 0));
  checked("connect", sys3(__NR_connect, ends[0], &address, sizeof address));
  ends[1] = checked("accept", sys3(__NR_accept, listener, 0, 0));
  sys5(__NR_setsockopt, ends[0], IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
  sys1(__NR_close, listener);
}

/* So many messages are sent, then received, as surely fit into the socket's buffer. */
static void measure_socket(const char *send_name, const char *receive_name, int ends[2], int size) {
  enum { MESSAGES = 8, ROUNDS = 16 };
  struct series sent = {0}, received = {0};
  struct label send = region(send_name, size), receive = region(receive_name, size);
  struct stamp began = now();
  for (int batch = -WARM_UP; batch < BATCHES; batch = following(batch, began)) {
    struct stamp sending = {0}, receiving = {0};
    for (int round = 0; round < ROUNDS; round++) {
      struct stamp a = now();
      if (batch == MARKED) mark(MARKER_BEGIN, send.text, MESSAGES);
      for (int i = 0; i < MESSAGES; i++) calls->sendto(ends[0], buffer, size, 0, NULL, 0);
      if (batch == MARKED) mark(MARKER_END, send.text, 0);
      struct stamp b = now();
      if (batch == MARKED) mark(MARKER_BEGIN, receive.text, MESSAGES);
      for (int i = 0; i < MESSAGES; i++)
        for (long left = size; left > 0;) {
          long got = calls->recvfrom(ends[1], buffer, left, 0, NULL, NULL);
          if (got <= 0) die("recvfrom", got);
          left -= got;
        }
      if (batch == MARKED) mark(MARKER_END, receive.text, 0);
      struct stamp c = now();
      sending.ns += b.ns - a.ns, sending.tsc += b.tsc - a.tsc;
      receiving.ns += c.ns - b.ns, receiving.tsc += c.tsc - b.tsc;
    }
    if (batch < 0) continue;
    add(&sent, (struct stamp){0}, sending, MESSAGES * ROUNDS);
    add(&received, (struct stamp){0}, receiving, MESSAGES * ROUNDS);
  }
  report(send_name, size, &sent, MESSAGES * ROUNDS);
  report(receive_name, size, &received, MESSAGES * ROUNDS);
}

static void measure_sockets(void) {
  static const int sizes[] = {1, 1024, 4096};
  int tcp[2], local[2];
  connect_tcp(tcp);
  checked("socketpair", sys4(__NR_socketpair, AF_UNIX, SOCK_STREAM, 0, local));
  for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) measure_socket("send-tcp", "recv-tcp", tcp, sizes[s]);
  for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++)
    measure_socket("send-unix", "recv-unix", local, sizes[s]);
  for (int i = 0; i < 2; i++) sys1(__NR_close, tcp[i]), sys1(__NR_close, local[i]);
}

/* Ten sockets, all of which can be written to. */
static void measure_waiting(void) {
  int ends[WATCHED][2];
  struct pollfd set[WATCHED];
  struct epoll_event events[WATCHED];
  uint64_t writable[16] = {0};
  int highest = 0;
  long poller = checked("epoll_create", sys1(__NR_epoll_create, WATCHED));
  for (int i = 0; i < WATCHED; i++) {
    checked("socketpair", sys4(__NR_socketpair, AF_UNIX, SOCK_STREAM, 0, ends[i]));
    int fd = ends[i][0];
    set[i] = (struct pollfd){.fd = fd, .events = POLLOUT};
    struct epoll_event event = {.events = EPOLLOUT, .data = fd};
    checked("epoll_ctl", sys4(__NR_epoll_ctl, poller, EPOLL_CTL_ADD, fd, &event));
    writable[fd / 64] |= 1ull << fd % 64;
    if (fd > highest) highest = fd;
  }
  struct timespec immediately = {0, 0};
  MEASURE("select", WATCHED, 200, calls->select(highest + 1, NULL, writable, NULL, &immediately));
  MEASURE("poll", WATCHED, 200, calls->poll(set, WATCHED, 0));
  MEASURE("epoll", WATCHED, 200, calls->epoll_wait(poller, events, WATCHED, 0));
  for (int i = 0; i < WATCHED; i++) sys1(__NR_close, ends[i][0]), sys1(__NR_close, ends[i][1]);
  sys1(__NR_close, poller);
}

static char *map_pages(long pages) {
  return (char *)calls->mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void measure_mappings(void) {
  enum { MAPPINGS = 32, PAGES = 16 };
  struct series mapped = {0}, unmapped = {0}, touched = {0};
  struct label map = region("mmap", PAGES * PAGE), unmap = region("munmap", PAGES * PAGE);
  struct label touch = region("page-fault-heap", 0);
  struct stamp began = now();
  for (int batch = -WARM_UP; batch < BATCHES; batch = following(batch, began)) {
    char *at[MAPPINGS];
    struct stamp a = now();
    if (batch == MARKED) mark(MARKER_BEGIN, map.text, MAPPINGS);
    for (int i = 0; i < MAPPINGS; i++) at[i] = map_pages(PAGES);
    if (batch == MARKED) mark(MARKER_END, map.text, 0);
    struct stamp b = now();
    if (batch == MARKED) mark(MARKER_BEGIN, unmap.text, MAPPINGS);
    for (int i = 0; i < MAPPINGS; i++) calls->munmap(at[i], PAGES * PAGE);
    if (batch == MARKED) mark(MARKER_END, unmap.text, 0);
    struct stamp c = now();
    char *heap = map_pages(MAPPINGS * PAGES);
    if ((long)heap < 0 && (long)heap > -PAGE) die("mmap", (long)heap);
    struct stamp d = now();
    if (batch == MARKED) mark(MARKER_BEGIN, touch.text, MAPPINGS * PAGES);
    for (int i = 0; i < MAPPINGS * PAGES; i++) *(volatile char *)(heap + i * PAGE) = 1;
    if (batch == MARKED) mark(MARKER_END, touch.text, 0);
    struct stamp e = now();
    calls->munmap(heap, MAPPINGS * PAGES * PAGE);
    if (batch < 0) continue;
    add(&mapped, a, b, MAPPINGS);
    add(&unmapped, b, c, MAPPINGS);
    add(&touched, d, e, MAPPINGS * PAGES);
  }
  report("mmap", PAGES * PAGE, &mapped, MAPPINGS);
  report("munmap", PAGES * PAGE, &unmapped, MAPPINGS);
  report("page-fault-heap", 0, &touched, MAPPINGS * PAGES);
}

/* A frame a page: the call that opens the next one is what touches a new page. */
__attribute__((noinline)) static int descend(int frames) {
  volatile char frame[PAGE - 64];
  frame[0] = 1;
  return frames > 1 ? descend(frames - 1) + frame[0] : 1;
}

static void measure_stack(void) {
  enum { FRAMES = 128 };
  struct series touched = {0};
  struct label label = region("page-fault-stack", 0);
  char *here = __builtin_frame_address(0);
  char *below = (char *)((uintptr_t)here & -PAGE) - 2 * PAGE;
  descend(FRAMES + 4); /* grows the stack, so that there is something to give back */
  struct stamp began = now();
  for (int batch = -WARM_UP; batch < BATCHES; batch = following(batch, began)) {
    checked("madvise", sys3(__NR_madvise, below - FRAMES * PAGE, FRAMES * PAGE, MADV_DONTNEED));
    struct stamp from = now();
    if (batch == MARKED) mark(MARKER_BEGIN, label.text, FRAMES);
    descend(FRAMES);
    if (batch == MARKED) mark(MARKER_END, label.text, 0);
    struct stamp to = now();
    if (batch >= 0) add(&touched, from, to, FRAMES);
  }
  report("page-fault-stack", 0, &touched, FRAMES);
}

/* A byte goes back and forth between two processes; each way is a switch. */
static void measure_switch(void) {
  int there[2], back[2];
  char byte = 0;
  checked("pipe", sys1(__NR_pipe, there));
  checked("pipe", sys1(__NR_pipe, back));
  long child = checked("fork", sys0(__NR_fork));
  if (child == 0) {
    sys1(__NR_close, there[1]);
    while (calls->read(there[0], &byte, 1) == 1) calls->write(back[1], &byte, 1);
    for (;;) sys1(__NR_exit_group, 0);
  }
  sys1(__NR_close, there[0]);
  MEASURE("context-switch", 0, 200, if (i % 2) calls->read(back[0], &byte, 1); else calls->write(there[1], &byte, 1));
  sys1(__NR_close, there[1]);
  sys1(__NR_close, back[0]);
  sys1(__NR_close, back[1]);
  sys4(__NR_wait4, child, NULL, 0, NULL);
}

static void fork_and_wait(void) {
  long child = checked("fork", sys0(__NR_fork));
  if (child == 0)
    for (;;) sys1(__NR_exit_group, 0);
  checked("wait4", sys4(__NR_wait4, child, NULL, 0, NULL));
}

static void measure_all(const struct calls *variant) {
  calls = variant;
  MEASURE("empty-loop", 0, 20000, );
  MEASURE("getppid", 0, 1000, calls->getppid());
  measure_files();
  measure_sockets();
  measure_waiting();
  measure_mappings();
  measure_stack();
  measure_switch();
  MEASURE("fork-wait", 0, 8, fork_and_wait());
}

int main(int argc, char **argv) {
  unsigned milliseconds = 0;
  for (const char *c = argc > 1 ? argv[1] : ""; *c >= '0' && *c <= '9'; c++) milliseconds = milliseconds * 10 + *c - '0';
  warm_up_ns = milliseconds * 1000000ull;
  buffer = (char *)enter_mmap(NULL, LARGEST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if ((long)buffer < 0 && (long)buffer > -PAGE) die("mmap", (long)buffer);
  memset(buffer, 'u', LARGEST);
  measure_all(&by_entry);
#ifdef BYPASS
  measure_all(&by_function);
#endif
  print("UKL-BENCH done\n", NULL);
  return 0;
}
