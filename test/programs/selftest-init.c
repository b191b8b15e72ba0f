/* PID 1 of an initrd with the kernel's self-tests: runs each file of /tests, says how it ended, and powers off. */
#define _GNU_SOURCE
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECONDS 120

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }
static int is_test(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static void run(const char *name) {
  printf("@@ start %s\n", name);
  pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    alarm(SECONDS);
    execl(name, name, (char *)0);
    _exit(127);
  }
  int status;
  while (waitpid(child, &status, 0) < 0) {}
  kill(-child, SIGKILL);
  if (WIFSIGNALED(status)) printf("@@ end %s signal %d\n", name, WTERMSIG(status));
  else printf("@@ end %s exit %d\n", name, WEXITSTATUS(status));
}

int main(void) {
  mkdir("/proc", 0755), mkdir("/sys", 0755), mkdir("/dev", 0755), mkdir("/tmp", 01777);
  mount("proc", "/proc", "proc", 0, "");
  mount("sysfs", "/sys", "sysfs", 0, "");
  mount("devtmpfs", "/dev", "devtmpfs", 0, "");
  mount("tmpfs", "/tmp", "tmpfs", 0, "");
  setvbuf(stdout, 0, _IOLBF, 0);
  FILE *info = fopen("/proc/cpuinfo", "r");
  char line[4096];
  while (info && fgets(line, sizeof line, info))
    if (strncmp(line, "flags", 5) == 0 || strncmp(line, "model name", 10) == 0) printf("@@ cpu %s", line);
  if (chdir("/tests") == 0) {
    struct dirent **tests;
    int count = scandir(".", &tests, is_test, by_name);
    for (int i = 0; i < count; i++) run(tests[i]->d_name);
  }
  printf("@@ done\n");
  sync();
  reboot(RB_POWER_OFF);
  for (;;) pause();
}
