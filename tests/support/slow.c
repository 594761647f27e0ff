/* A library to preload: opens, looks at files and listings wait, as on a disk far away.
 *
 * SLOW_PATH   text that the path of a file must hold
 * SLOW_WAIT   microseconds that each such call waits
 * SLOW_COUNTS a file of numbers (struct counts) that all processes share, or nothing
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define NAMES_IN_A_READ 256 /* of a folder: so many come from the disk together */

/* For opens, looks and listings: how many wait now, how many did at once, how many there were. */
struct counts { int now[3], most[3], all[3]; };
enum kind { OPEN, LOOK, LIST };

static struct counts *counts(void) {
    static struct counts *shared, own;
    const char *path = getenv("SLOW_COUNTS");
    if (shared || !path) return shared ? shared : &own;
    int file = syscall(SYS_openat, AT_FDCWD, path, O_RDWR, 0);
    void *map = file < 0 ? MAP_FAILED
        : mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    return shared = map == MAP_FAILED ? &own : map;
}

static void slow(enum kind kind, const char *path) {
    const char *part = getenv("SLOW_PATH"), *wait = getenv("SLOW_WAIT");
    if (!part || !wait || !path || !strstr(path, part)) return;
    struct counts *c = counts();
    int now = __atomic_add_fetch(&c->now[kind], 1, __ATOMIC_SEQ_CST);
    int most = __atomic_load_n(&c->most[kind], __ATOMIC_SEQ_CST);
    while (now > most && !__atomic_compare_exchange_n(&c->most[kind], &most, now, 0,
                                                      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
    __atomic_add_fetch(&c->all[kind], 1, __ATOMIC_SEQ_CST);
    struct timespec time = {0, atoi(wait) * 1000L};
    nanosleep(&time, NULL);
    __atomic_sub_fetch(&c->now[kind], 1, __ATOMIC_SEQ_CST);
}

/* The same for a name in an open folder. */
static void slow_at(enum kind kind, int folder, const char *name) {
    char link[64], path[8192];
    if (name[0] == '/' || folder == AT_FDCWD) { slow(kind, name); return; }
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, path, 4095);
    if (length < 0) return;
    snprintf(path + length, sizeof path - length, "/%s", name);
    slow(kind, path);
}

#define MODE(flags) \
    va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest)
#define OPENS(name, at) \
    int name(const char *path, int flags, ...) { \
        REAL(name); MODE(flags); slow(OPEN, path); return real(path, flags, mode); \
    } \
    int at(int folder, const char *path, int flags, ...) { \
        REAL(at); MODE(flags); slow_at(OPEN, folder, path); \
        return real(folder, path, flags, mode); \
    }
OPENS(open, openat)
OPENS(open64, openat64)

#define LOOKS(name, TYPE) \
    int name(const char *path, TYPE *found) { REAL(name); slow(LOOK, path); return real(path, found); }
LOOKS(stat, struct stat)
LOOKS(stat64, struct stat64)
LOOKS(lstat, struct stat)
LOOKS(lstat64, struct stat64)
#define LOOKS_AT(name, TYPE) \
    int name(int folder, const char *path, TYPE *found, int flags) { \
        REAL(name); slow_at(LOOK, folder, path); return real(folder, path, found, flags); \
    }
LOOKS_AT(fstatat, struct stat)
LOOKS_AT(fstatat64, struct stat64)
int statx(int folder, const char *path, int flags, unsigned mask, struct statx *found) {
    REAL(statx); slow_at(LOOK, folder, path); return real(folder, path, flags, mask, found);
}
int access(const char *path, int mode) { REAL(access); slow(LOOK, path); return real(path, mode); }
int faccessat(int folder, const char *path, int mode, int flags) {
    REAL(faccessat); slow_at(LOOK, folder, path); return real(folder, path, mode, flags);
}

/* A folder waits when it is opened, and each time that more names come. */
DIR *opendir(const char *path) { REAL(opendir); slow(OPEN, path); return real(path); }
#define LISTS(name, TYPE) \
    TYPE *name(DIR *folder) { \
        REAL(name); \
        static __thread int seen; static __thread DIR *last; \
        if (folder != last) { last = folder; seen = 0; } \
        if (seen++ % NAMES_IN_A_READ == 0) slow_at(LIST, dirfd(folder), ""); \
        TYPE *entry = real(folder); \
        if (!entry) last = NULL; \
        return entry; \
    }
LISTS(readdir, struct dirent)
LISTS(readdir64, struct dirent64)
