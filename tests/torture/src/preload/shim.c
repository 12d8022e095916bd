/* Fails calls of one thread below the C library's names: preloaded into `torture faults --preload`.
 *
 * Each thread has a count of its own; calls count between fault_begin and fault_end only, so that the program's own output is left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { READ, WRITE, ALLOCATE, LENGTH, OPEN, CREATE, SYNC, LINK, UNLINK };
#define KEPT (1 << 16)

static __thread int active;
static __thread long calls, at, until;
static __thread int with;
static __thread unsigned char kinds[KEPT];

/* From now on calls count. Call number `first` fails with an errno, and so do those up to `last` that this errno can meet. */
void fault_begin(long first, long last, int number) {
    calls = 0, at = first, until = last, with = number, active = 1;
}

long fault_end(void) {
    active = 0;
    return calls;
}

void fault_heal(void) { until = at = -1; }
long fault_calls(void) { return calls; }
int fault_kind(long call) { return call >= 0 && call < KEPT ? kinds[call] : -1; }

static int meets(int kind) {
    switch (with) {
    case ENOSPC: case EDQUOT: return kind == WRITE || kind == ALLOCATE || kind == LENGTH || kind == CREATE || kind == LINK;
    case EROFS: return kind != READ && kind != OPEN && kind != SYNC;
    case EMFILE: return kind == OPEN || kind == CREATE;
    default: return 1;
    }
}

/* Whether this call fails. */
static int fails(int kind) {
    if (!active) return 0;
    long call = calls++;
    if (call < KEPT) kinds[call] = kind;
    if (at < 0 || call < at || (call > at && (call > until || !meets(kind)))) return 0;
    errno = with;
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define PASS(name, kind, failed, ...) do { \
    static __typeof__(&name) next; \
    if (!next) next = NEXT(name); \
    return fails(kind) ? failed : next(__VA_ARGS__); } while (0)

ssize_t read(int fd, void *to, size_t len) { PASS(read, READ, -1, fd, to, len); }
ssize_t pread64(int fd, void *to, size_t len, off64_t at) { PASS(pread64, READ, -1, fd, to, len, at); }
ssize_t write(int fd, const void *from, size_t len) { PASS(write, WRITE, -1, fd, from, len); }
ssize_t pwrite64(int fd, const void *from, size_t len, off64_t at) { PASS(pwrite64, WRITE, -1, fd, from, len, at); }
ssize_t pwritev64(int fd, const struct iovec *from, int count, off64_t at) { PASS(pwritev64, WRITE, -1, fd, from, count, at); }
ssize_t pwritev(int fd, const struct iovec *from, int count, off_t at) { return pwritev64(fd, from, count, at); }
int fallocate64(int fd, int mode, off64_t at, off64_t len) { PASS(fallocate64, ALLOCATE, -1, fd, mode, at, len); }
int ftruncate64(int fd, off64_t len) { PASS(ftruncate64, LENGTH, -1, fd, len); }
int fsync(int fd) { PASS(fsync, SYNC, -1, fd); }
int fdatasync(int fd) { PASS(fdatasync, SYNC, -1, fd); }
int linkat(int from, const char *old, int to, const char *new, int flags) { PASS(linkat, LINK, -1, from, old, to, new, flags); }
int unlinkat(int in, const char *name, int flags) { PASS(unlinkat, UNLINK, -1, in, name, flags); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) { PASS(renameat2, LINK, -1, from, old, to, new, flags); }

#define MODE mode_t mode = 0; if (flags & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int openat64(int in, const char *path, int flags, ...) {
    MODE
    static __typeof__(&openat64) next;
    if (!next) next = NEXT(openat64);
    return fails(flags & O_CREAT ? CREATE : OPEN) ? -1 : next(in, path, flags, mode);
}

int openat(int in, const char *path, int flags, ...) {
    MODE
    return openat64(in, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE
    return openat64(AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    MODE
    return openat64(AT_FDCWD, path, flags, mode);
}
