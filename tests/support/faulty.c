/* A library to preload: calls on chosen files fail, are short, or wait, as on a failing disk.
 *
 * FAULT_PATH   text that the path of a file must hold; empty for every file
 * FAULT_CALLS  of read, write, sync, lock, open, time: which kinds of calls
 * FAULT_ERRNO  the error they give; 0 to make reads and writes short
 * FAULT_SKIP   how many such calls of a process go well before
 * FAULT_WAIT   microseconds that each such call waits instead
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

static int number(const char *name) {
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

static int chosen(const char *kind, const char *path) {
    static __thread int seen;
    const char *kinds = getenv("FAULT_CALLS"), *part = getenv("FAULT_PATH");
    if (!kinds || !strstr(kinds, kind) || (part && *part && !strstr(path, part))) return 0;
    if (seen < number("FAULT_SKIP")) { seen++; return 0; }
    if (number("FAULT_WAIT")) { usleep(number("FAULT_WAIT")); return 0; }
    return 1;
}

static int faulty(const char *kind, int file) {
    char link[64], path[4096];
    const char *kinds = getenv("FAULT_CALLS");
    if (!kinds || !strstr(kinds, kind)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return chosen(kind, path);
}

/* -1 with errno for a failing call; else how many of the bytes are asked for. */
static ssize_t allowed(size_t bytes) {
    int error = number("FAULT_ERRNO");
    if (error) { errno = error; return -1; }
    return bytes > 1 ? bytes / 2 : bytes;
}

#define BYTES(kind, name, ...) \
    ssize_t name(int file, DATA *data, size_t bytes OFFSET) { \
        REAL(name); \
        if (faulty(kind, file)) { \
            ssize_t some = allowed(bytes); \
            if (some < 0) return -1; \
            bytes = some; \
        } \
        return real(file, data, bytes PASSED); \
    }
#define DATA void
#define OFFSET
#define PASSED
BYTES("read", read)
#undef OFFSET
#undef PASSED
#define OFFSET , off_t offset
#define PASSED , offset
BYTES("read", pread)
BYTES("read", pread64)
#undef DATA
#define DATA const void
BYTES("write", pwrite)
BYTES("write", pwrite64)
#undef OFFSET
#undef PASSED
#define OFFSET
#define PASSED
BYTES("write", write)

/* Of several buffers a short call fills the first half of those, or half of the one there is. */
static int shorten(struct iovec *some, const struct iovec *all, int count) {
    int kept = count > 1 ? count / 2 : count;
    memcpy(some, all, kept * sizeof *all);
    if (count == 1 && some->iov_len > 1) some->iov_len /= 2;
    return kept;
}

#define VECTORS(kind, name, OFFSET, PASSED) \
    ssize_t name(int file, const struct iovec *all, int count OFFSET) { \
        REAL(name); \
        struct iovec some[1024]; \
        if (count > 0 && faulty(kind, file)) { \
            if (allowed(2) < 0) return -1; \
            count = shorten(some, all, count); \
            all = some; \
        } \
        return real(file, all, count PASSED); \
    }
#define COMMA ,
#define AT COMMA off_t offset
#define GIVEN COMMA offset
VECTORS("read", readv, , )
VECTORS("read", preadv, AT, GIVEN)
VECTORS("read", preadv64, AT, GIVEN)
#define FLAGGED AT COMMA int flags
#define FLAGS GIVEN COMMA flags
VECTORS("read", preadv2, FLAGGED, FLAGS)
VECTORS("read", preadv64v2, FLAGGED, FLAGS)
VECTORS("write", pwritev2, FLAGGED, FLAGS)
VECTORS("write", pwritev64v2, FLAGGED, FLAGS)
VECTORS("write", writev, , )
VECTORS("write", pwritev, AT, GIVEN)
VECTORS("write", pwritev64, AT, GIVEN)

#define FAILS(kind, name, PARAMETERS, ARGUMENTS) \
    int name PARAMETERS { \
        REAL(name); \
        if (faulty(kind, file)) { errno = number("FAULT_ERRNO"); return -1; } \
        return real ARGUMENTS; \
    }
FAILS("sync", fsync, (int file), (file))
FAILS("sync", fdatasync, (int file), (file))
FAILS("lock", flock, (int file, int kind), (file, kind))

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        int mode = va_arg(rest, int); \
        va_end(rest); \
        if (chosen("open", path)) { errno = number("FAULT_ERRNO"); return -1; } \
        return real(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

/* The clock of the day jumps back and forth by a day at each look. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int turn;
    REAL(clock_gettime);
    int code = real(clock, now);
    if (clock == CLOCK_REALTIME && chosen("time", "")) now->tv_sec += (turn ^= 1) ? 86400 : -86400;
    return code;
}
