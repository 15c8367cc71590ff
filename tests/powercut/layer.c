/* LD_PRELOAD layer: writes down what a program does to the files below POWERCUT_ROOT, so that a test can replay it up to
 * any moment and leave out what was not synced. With POWERCUT_FULL_AT=n the n-th growing operation and
 * the POWERCUT_FULL_FOR-1 after it fail: the disk is full for a while.
 *
 * Record: op (1 byte), inode (8), offset (8), two lengths (4 each), then the two byte strings. Inodes, not paths, are the
 * identity of files: renames do not change it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_length;
static int log_fd = -1;
static long full_at = -1, full_for = 1, growths;

/* Read the environment; at the start, and again in a fork that has one of its own. */
void powercut_begin(void) {
    const char *log = getenv("POWERCUT_LOG"), *full = getenv("POWERCUT_FULL_AT");
    root = getenv("POWERCUT_ROOT");
    if (!root) return;
    root_length = strlen(root);
    if (full) full_at = atol(full);
    if (getenv("POWERCUT_FULL_FOR")) full_for = atol(getenv("POWERCUT_FULL_FOR"));
    if (log) log_fd = ((int (*)(const char *, int, ...))real("open"))(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

__attribute__((constructor)) static void at_start(void) { powercut_begin(); }

static int below(const char *path) {
    return root && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || !path[root_length]);
}

/* Absolute path of (dirfd, path); below() decides on it. */
static void absolute(int dirfd, const char *path, char *out) {
    if (path[0] == '/') { snprintf(out, PATH_MAX, "%s", path); return; }
    char base[PATH_MAX] = "", link[64];
    if (dirfd == AT_FDCWD) { if (!getcwd(base, sizeof base)) base[0] = 0; }
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
        ssize_t n = readlink(link, base, sizeof base - 1);
        base[n > 0 ? n : 0] = 0;
    }
    snprintf(out, PATH_MAX, "%s/%s", base, path);
}

static int path_of(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_MAX - 1);
    if (n <= 0) return 0;
    out[n] = 0;
    return below(out);
}

static void put(char op, uint64_t ino, uint64_t offset, const void *a, uint32_t na, const void *b, uint32_t nb) {
    if (log_fd < 0) return;
    char head[25];
    memcpy(head, &op, 1); memcpy(head + 1, &ino, 8); memcpy(head + 9, &offset, 8);
    memcpy(head + 17, &na, 4); memcpy(head + 21, &nb, 4);
    struct iovec parts[3] = {{head, 25}, {(void *)a, na}, {(void *)b, nb}};
    ssize_t ignored = ((ssize_t (*)(int, const struct iovec *, int))real("writev"))(log_fd, parts, 3);
    (void)ignored;
}

static uint64_t inode(int fd) { struct stat s; return fstat(fd, &s) ? 0 : (uint64_t)s.st_ino; }

static int full(void) {
    if (full_at < 0) return 0;
    long growth = growths++;
    if (growth < full_at || growth >= full_at + full_for) return 0;
    errno = ENOSPC;
    return 1;
}

static int opened(int dirfd, const char *path, int flags, mode_t mode) {
    char where[PATH_MAX];
    struct stat before;
    absolute(dirfd, path, where);
    int watched = below(where), existed = watched ? stat(where, &before) == 0 : 1;
    pthread_mutex_lock(&lock);
    if (watched && (flags & O_CREAT) && !existed && full()) { pthread_mutex_unlock(&lock); return -1; }
    int fd = ((int (*)(int, const char *, int, ...))real("openat"))(dirfd, path, flags, mode);
    if (fd >= 0 && watched) {
        int saved = errno;
        if (!existed) put('c', inode(fd), 0, where, strlen(where), "", 0);
        else if (flags & O_TRUNC) put('t', inode(fd), 0, "", 0, "", 0);
        errno = saved;
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list l; va_start(l, flags); mode = va_arg(l, mode_t); va_end(l); }
int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags | O_LARGEFILE, mode); }

ssize_t write(int fd, const void *data, size_t n) {
    char where[PATH_MAX];
    ssize_t (*really)(int, const void *, size_t) = real("write");
    if (!root || fd == log_fd || !path_of(fd, where)) return really(fd, data, n);
    pthread_mutex_lock(&lock);
    if (full()) { pthread_mutex_unlock(&lock); return -1; }
    off_t at = (fcntl(fd, F_GETFL) & O_APPEND) ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
    ssize_t done = really(fd, data, n);
    if (done > 0) put('w', inode(fd), at, data, done, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}

static ssize_t written_at(int fd, const void *data, size_t n, off_t at) {
    char where[PATH_MAX];
    ssize_t (*really)(int, const void *, size_t, off_t) = real("pwrite64");
    if (!root || !path_of(fd, where)) return really(fd, data, n, at);
    pthread_mutex_lock(&lock);
    if (full()) { pthread_mutex_unlock(&lock); return -1; }
    ssize_t done = really(fd, data, n, at);
    if (done > 0) put('w', inode(fd), at, data, done, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return written_at(fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { return written_at(fd, data, n, at); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    char where[PATH_MAX];
    if (!root || !path_of(fd, where))
        return ((ssize_t (*)(int, const struct iovec *, int))real("writev"))(fd, parts, count);
    ssize_t sum = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (done < 0) return sum ? sum : -1;
        sum += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return sum;
}

/* Copies inside the kernel show no data: callers fall back to read and write. */
ssize_t sendfile(int out, int in, off_t *at, size_t n) {
    char where[PATH_MAX];
    if (root && path_of(out, where)) { errno = ENOTSOCK; return -1; }
    return ((ssize_t (*)(int, int, off_t *, size_t))real("sendfile"))(out, in, at, n);
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t n) { return sendfile(out, in, at, n); }
ssize_t copy_file_range(int in, off64_t *a, int out, off64_t *b, size_t n, unsigned flags) {
    char where[PATH_MAX];
    if (root && path_of(out, where)) { errno = EXDEV; return -1; }
    return ((ssize_t (*)(int, off64_t *, int, off64_t *, size_t, unsigned))real("copy_file_range"))(in, a, out, b, n, flags);
}

static int truncated(int fd, off_t length) {
    char where[PATH_MAX];
    int (*really)(int, off_t) = real("ftruncate64");
    if (!root || !path_of(fd, where)) return really(fd, length);
    pthread_mutex_lock(&lock);
    int answer = really(fd, length);
    if (!answer) put('t', inode(fd), length, "", 0, "", 0);
    pthread_mutex_unlock(&lock);
    return answer;
}
int ftruncate(int fd, off_t length) { return truncated(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncated(fd, length); }

static int synced(int fd, const char *name) {
    char where[PATH_MAX];
    int (*really)(int) = real(name);
    if (!root || !path_of(fd, where)) return really(fd);
    struct stat s;
    pthread_mutex_lock(&lock);
    int answer = log_fd >= 0 ? 0 : really(fd); /* the replay decides what was durable */
    if (!answer && !fstat(fd, &s)) put(S_ISDIR(s.st_mode) ? 'd' : 's', s.st_ino, 0, where, strlen(where), "", 0);
    pthread_mutex_unlock(&lock);
    return answer;
}
int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }

static int renamed(int at_old, const char *old, int at_new, const char *new, unsigned flags) {
    char from[PATH_MAX], to[PATH_MAX];
    absolute(at_old, old, from);
    absolute(at_new, new, to);
    pthread_mutex_lock(&lock);
    int answer = ((int (*)(int, const char *, int, const char *, unsigned))real("renameat2"))(at_old, old, at_new, new, flags);
    if (!answer && (below(from) || below(to))) put('r', 0, 0, from, strlen(from), to, strlen(to));
    pthread_mutex_unlock(&lock);
    return answer;
}
int rename(const char *old, const char *new) { return renamed(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int a, const char *old, int b, const char *new) { return renamed(a, old, b, new, 0); }

static int removed(int at, const char *path, int flags) {
    char where[PATH_MAX];
    absolute(at, path, where);
    pthread_mutex_lock(&lock);
    int answer = ((int (*)(int, const char *, int))real("unlinkat"))(at, path, flags);
    if (!answer && below(where)) put('u', 0, 0, where, strlen(where), "", 0);
    pthread_mutex_unlock(&lock);
    return answer;
}
int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) { return removed(at, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }

static int made(int at, const char *path, mode_t mode) {
    char where[PATH_MAX];
    absolute(at, path, where);
    pthread_mutex_lock(&lock);
    int answer = ((int (*)(int, const char *, mode_t))real("mkdirat"))(at, path, mode);
    if (!answer && below(where)) put('m', 0, 0, where, strlen(where), "", 0);
    pthread_mutex_unlock(&lock);
    return answer;
}
int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int at, const char *path, mode_t mode) { return made(at, path, mode); }
