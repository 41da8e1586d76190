/* Preloaded into a host, it ends one of its workers at a call, or lets that call fail; every other process goes on as
   it would. FAULT_CALLS  the calls that count, each between commas: ",rename,mkdir," FAULT_AT     which of them,
   counted in each worker by itself FAULT_KIND   "before" or "after": SIGKILL before or after the call; otherwise the
   number of the error that it gives FAULT_MARK   a file that the process makes that strikes: only one does */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char* calls;
static const char* kind;
static const char* mark;
static long strike_at;
static atomic_long counted;

__attribute__((constructor)) static void set_up(void) {
  char words[256] = "";
  const int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  const ssize_t size = read(file, words, sizeof(words) - 1);
  close(file);
  const size_t first = strlen(words);
  if (size <= (ssize_t)first + 1 || strcmp(words + first + 1, "worker") != 0) return;
  kind = getenv("FAULT_KIND");
  mark = getenv("FAULT_MARK");
  const char* at = getenv("FAULT_AT");
  strike_at = at ? atol(at) : 0;
  if (kind && mark && at) calls = getenv("FAULT_CALLS");
}

static int is_counted(const char* call) {
  if (!calls) return 0;
  char name[32] = ",";
  strcat(strcat(name, call), ",");
  return strstr(calls, name) != NULL;
}

static int strikes(const char* call) {
  if (!is_counted(call) || atomic_fetch_add(&counted, 1) + 1 != strike_at) return 0;
  return syscall(SYS_open, mark, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644) >= 0;
}

static void end_process(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

#define INTERPOSE(type, name, parameters, arguments)               \
  type name parameters {                                           \
    static type(*next) parameters;                                 \
    if (!next) next = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
    if (!strikes(#name)) return next arguments;                    \
    if (strcmp(kind, "before") == 0) end_process();                \
    if (strcmp(kind, "after") == 0) {                              \
      next arguments;                                              \
      end_process();                                               \
    }                                                              \
    errno = atoi(kind);                                            \
    return -1;                                                     \
  }

INTERPOSE(int, rename, (const char* from, const char* to), (from, to))
INTERPOSE(int, fsync, (int descriptor), (descriptor))
INTERPOSE(int, fdatasync, (int descriptor), (descriptor))
INTERPOSE(ssize_t, write, (int descriptor, const void* bytes, size_t size), (descriptor, bytes, size))
INTERPOSE(ssize_t, send, (int descriptor, const void* bytes, size_t size, int flags), (descriptor, bytes, size, flags))
INTERPOSE(int, unlink, (const char* file), (file))
INTERPOSE(int, rmdir, (const char* folder), (folder))
INTERPOSE(int, mkdir, (const char* folder, mode_t mode), (folder, mode))
