/*
 * A TCP echo server on port 5555, with the system calls of the sample in the Unikernel Linux patches. It sends back
 * what it receives until the peer closes, then closes too; a peer that does not read stops being read from.
 */
#include "runtime.h"

#include <asm/errno.h>
#include <asm/unistd.h>
#include <linux/eventpoll.h>
#include <linux/in.h>
#include <linux/tcp.h>

enum { PORT = 5555, BACKLOG = 512, EVENTS = 64, CONNECTIONS = 1024, CHUNK = 2048 };
enum { SOCK_STREAM = 1, SOCK_NONBLOCK = 04000, AF_INET = 2, MSG_NOSIGNAL = 0x4000, SHUT_WR = 1 };

/* What has been received on a connection but not yet sent back; the index is the file descriptor. */
static struct connection {
  unsigned begin, end;
  char data[CHUNK];
} connections[CONNECTIONS];

static int poller, listener;

static void watch(int fd, unsigned events) {
  struct epoll_event event = {.events = events, .data = fd};
  long error = sys4(__NR_epoll_ctl, poller, EPOLL_CTL_ADD, fd, &event);
  if (error < 0) die("epoll_ctl", error);
}

static void accept_all(void) {
  for (;;) {
    long fd = sys4(__NR_accept4, listener, 0, 0, SOCK_NONBLOCK);
    if (fd == -EAGAIN || fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) return;
    if (fd < 0) continue; /* that connection died before we took it */
    if (fd >= CONNECTIONS) {
      sys1(__NR_close, fd);
      continue;
    }
    connections[fd].begin = connections[fd].end = 0;
    watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
  }
}

static void hang_up(int fd) {
  sys2(__NR_shutdown, fd, SHUT_WR);
  sys1(__NR_close, fd);
  accept_all(); /* one may have been waiting for a free descriptor, and its event came long ago */
}

/* Edge-triggered: goes on until the socket has nothing more to give or takes nothing more. */
static void serve(int fd) {
  struct connection *c = &connections[fd];
  for (;;) {
    while (c->begin < c->end) {
      long sent = sys6(__NR_sendto, fd, c->data + c->begin, c->end - c->begin, MSG_NOSIGNAL, 0, 0);
      if (sent == -EAGAIN) return;
      if (sent == -EINTR) continue;
      if (sent < 0) return hang_up(fd);
      c->begin += sent;
    }
    long received = sys6(__NR_recvfrom, fd, c->data, CHUNK, 0, 0, 0);
    if (received == -EAGAIN) return;
    if (received == -EINTR) continue;
    if (received <= 0) return hang_up(fd);
    c->begin = 0;
    c->end = received;
  }
}

int main(int argc, char **argv) {
  (void)argc, (void)argv;
  listener = sys3(__NR_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (listener < 0) die("socket", listener);
  int on = 1;
  sys5(__NR_setsockopt, listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = __builtin_bswap16(PORT)};
  long error = sys3(__NR_bind, listener, &address, sizeof address);
  if (error < 0) die("bind", error);
  error = sys2(__NR_listen, listener, BACKLOG);
  if (error < 0) die("listen", error);
  print("UKL-EMU: ready\n", NULL);

  poller = sys1(__NR_epoll_create, EVENTS);
  if (poller < 0) die("epoll_create", poller);
  watch(listener, EPOLLIN | EPOLLET);
  for (;;) {
    struct epoll_event events[EVENTS];
    long count = sys4(__NR_epoll_wait, poller, events, EVENTS, -1);
    if (count == -EINTR) continue;
    if (count < 0) die("epoll_wait", count);
    for (long i = 0; i < count; i++) {
      int fd = (int)events[i].data;
      if (fd == listener) accept_all();
      else serve(fd);
    }
  }
}
