/* A preloaded library that counts a program's operations on files and makes the Nth of them go wrong.
 *
 *   cc -shared -fPIC -O2 -o iofault.so iofault.c -ldl
 *   IOFAULT_MATCH=/srv/data IOFAULT_LOG=points LD_PRELOAD=./iofault.so prog     only counts and names the points
 *   IOFAULT_AT=17 IOFAULT_MODE=kill IOFAULT_MATCH=… LD_PRELOAD=./iofault.so prog
 *
 * IOFAULT_MATCH   counts only operations whose absolute path holds this text; without it every path counts but those
 *                 under /dev and /proc. Either name of a rename or a link is enough.
 * IOFAULT_AT      which operation goes wrong, from 1; without it none does.
 * IOFAULT_MODE    kill    SIGKILL before the operation
 *                 torn    half of a write is done, then SIGKILL; anything else: like kill
 *                 short   half of a write is done and reported as such; anything else is done as asked
 *                 enospc  what needs room fails with ENOSPC, a sync with EIO (as where allocation is delayed);
 *                         what gives room back is done as asked
 *                 eio     the operation fails with EIO
 * IOFAULT_STICKY  1: the fault stays from that operation on, as on a disk that is full or broken.
 * IOFAULT_LOG     a file that gets a line "N operation path" for each counted operation before it is carried out, and
 *                 a line "! N" for each one that did not go as asked.
 *
 * Counted: what changes a file's bytes or a directory's names, and syncs. An open counts only if it makes or empties
 * a file: SQLite passes O_CREAT for files that are there. Standard input, output and error never count. A child
 * process counts for itself. 64-bit Linux with glibc.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { NONE, KILL, TORN, SHORT, FULL, BROKEN };
/* What a mode does with an operation depends on what the operation needs. */
enum kind { WRITE, NEEDS_ROOM, GIVES_ROOM, SYNC };
enum verdict { GO, HALF, HALF_THEN_DIE, FAIL };

static struct {
    enum mode mode;
    long at;
    int sticky;
    const char *match;
    int log;
} conf = {NONE, -1, 0, NULL, -1};
static atomic_long seen;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#define PATH_SPACE 4096

/* The library's own input and output goes by system call, past the functions that it stands in for. */
static void read_settings(void) {
    static const struct { const char *name; enum mode mode; } modes[] = {
        {"kill", KILL}, {"torn", TORN}, {"short", SHORT}, {"enospc", FULL}, {"eio", BROKEN}};
    const char *at = getenv("IOFAULT_AT"), *mode = getenv("IOFAULT_MODE"), *log = getenv("IOFAULT_LOG");
    const char *sticky = getenv("IOFAULT_STICKY");
    conf.match = getenv("IOFAULT_MATCH");
    conf.at = at ? atol(at) : -1;
    conf.sticky = sticky && !strcmp(sticky, "1");
    for (size_t i = 0; mode && i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(mode, modes[i].name)) conf.mode = modes[i].mode;
    if (log && *log)
        conf.log = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void say(const char *line, int length) {
    if (conf.log >= 0 && length > 0) (void)!syscall(SYS_write, conf.log, line, (size_t)length);
}

static void die(void) {
    for (;;) syscall(SYS_kill, getpid(), SIGKILL);
}

static int path_of_fd(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_SPACE - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return path[0] == '/';
}

static int absolute(int dir, const char *name, char *path) {
    if (!name) return 0;
    if (name[0] == '/') {
        snprintf(path, PATH_SPACE, "%s", name);
        return 1;
    }
    char base[PATH_SPACE];
    if (dir == AT_FDCWD ? syscall(SYS_getcwd, base, sizeof base) < 0 : !path_of_fd(dir, base)) return 0;
    return snprintf(path, PATH_SPACE, "%s/%s", base, name) > 0;
}

static int matches(const char *path) {
    if (conf.match && *conf.match) return strstr(path, conf.match) != NULL;
    return strncmp(path, "/dev/", 5) != 0 && strncmp(path, "/proc/", 6) != 0;
}

/* Counts an operation on a path and says what is to become of it; errno is set where it is to fail. */
static enum verdict judge(const char *operation, enum kind kind, const char *path) {
    long n = atomic_fetch_add(&seen, 1) + 1;
    char line[PATH_SPACE + 64];
    int length = snprintf(line, sizeof line, "%ld %s %s\n", n, operation, path);
    say(line, length < (int)sizeof line ? length : (int)sizeof line - 1);
    if (conf.at < 1 || n < conf.at || (n > conf.at && !conf.sticky)) return GO;

    enum verdict verdict = GO;
    int error = 0, dies = 0;
    switch (conf.mode) {
        case NONE: break;
        case KILL: dies = 1; break;
        case TORN:
            dies = kind != WRITE;
            verdict = HALF_THEN_DIE;
            break;
        case SHORT: verdict = kind == WRITE ? HALF : GO; break;
        case FULL:
            verdict = kind == GIVES_ROOM ? GO : FAIL;
            error = kind == SYNC ? EIO : ENOSPC;
            break;
        case BROKEN: verdict = FAIL; error = EIO; break;
    }
    if (dies || verdict != GO) say(line, snprintf(line, sizeof line, "! %ld\n", n));
    if (dies) die();
    if (verdict == FAIL) errno = error;
    return verdict;
}

static enum verdict on_fd(const char *operation, enum kind kind, int fd) {
    char path[PATH_SPACE];
    int saved = errno;
    pthread_once(&once, read_settings);
    int counts = fd > 2 && fd != conf.log && path_of_fd(fd, path) && matches(path);
    errno = saved;
    return counts ? judge(operation, kind, path) : GO;
}

static enum verdict on_path(const char *operation, enum kind kind, int dir, const char *name) {
    char path[PATH_SPACE];
    int saved = errno;
    pthread_once(&once, read_settings);
    int counts = absolute(dir, name, path) && matches(path);
    errno = saved;
    return counts ? judge(operation, kind, path) : GO;
}

static enum verdict on_two(const char *operation, int from_dir, const char *from, int to_dir, const char *to) {
    char source[PATH_SPACE], target[PATH_SPACE];
    int saved = errno;
    pthread_once(&once, read_settings);
    int have_source = absolute(from_dir, from, source), have_target = absolute(to_dir, to, target);
    errno = saved;
    if (have_target && matches(target)) return judge(operation, NEEDS_ROOM, target);
    if (have_source && matches(source)) return judge(operation, NEEDS_ROOM, source);
    return GO;
}

/* The real function behind the one of the same name here. Racing callers store the same pointer. */
#define REAL(name)                                                 \
    static __typeof__(&name) real;                                 \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)

/* Half of a write: of one byte there is no half, so it is done whole. */
static size_t half(size_t length) { return length > 1 ? length / 2 : length; }

#define WRITE_LIKE(result_type, operation, fd, whole, part) \
    switch (on_fd(operation, WRITE, fd)) {                  \
        case FAIL: return -1;                               \
        case HALF: return part;                             \
        case HALF_THEN_DIE: {                               \
            result_type written = part;                     \
            (void)written;                                  \
            die();                                          \
        }                                                   \
        /* fall through */                                  \
        case GO: break;                                     \
    }                                                       \
    return whole

#define OTHERWISE(judged, call) return (judged) == FAIL ? -1 : (call)

ssize_t write(int fd, const void *data, size_t length) {
    REAL(write);
    WRITE_LIKE(ssize_t, "write", fd, real(fd, data, length), real(fd, data, half(length)));
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    REAL(pwrite);
    WRITE_LIKE(ssize_t, "pwrite", fd, real(fd, data, length, offset), real(fd, data, half(length), offset));
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    REAL(pwrite64);
    WRITE_LIKE(ssize_t, "pwrite64", fd, real(fd, data, length, offset), real(fd, data, half(length), offset));
}
/* Half of a vector is its first half of buffers, or half of the only one. */
static struct iovec half_vector(const struct iovec *vector) {
    struct iovec first = vector[0];
    first.iov_len = half(first.iov_len);
    return first;
}
ssize_t writev(int fd, const struct iovec *vector, int count) {
    REAL(writev);
    struct iovec first = count > 0 ? half_vector(vector) : (struct iovec){NULL, 0};
    WRITE_LIKE(ssize_t, "writev", fd, real(fd, vector, count),
               count > 1 ? real(fd, vector, count / 2) : real(fd, &first, count));
}
ssize_t pwritev(int fd, const struct iovec *vector, int count, off_t offset) {
    REAL(pwritev);
    struct iovec first = count > 0 ? half_vector(vector) : (struct iovec){NULL, 0};
    WRITE_LIKE(ssize_t, "pwritev", fd, real(fd, vector, count, offset),
               count > 1 ? real(fd, vector, count / 2, offset) : real(fd, &first, count, offset));
}
ssize_t pwritev64(int fd, const struct iovec *vector, int count, off64_t offset) {
    REAL(pwritev64);
    struct iovec first = count > 0 ? half_vector(vector) : (struct iovec){NULL, 0};
    WRITE_LIKE(ssize_t, "pwritev64", fd, real(fd, vector, count, offset),
               count > 1 ? real(fd, vector, count / 2, offset) : real(fd, &first, count, offset));
}
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t length, unsigned flags) {
    REAL(copy_file_range);
    WRITE_LIKE(ssize_t, "copy_file_range", out, real(in, in_at, out, out_at, length, flags),
               real(in, in_at, out, out_at, half(length), flags));
}
/* <sys/sendfile.h> is left out: it declares only one of the two. */
ssize_t sendfile(int out, int in, off_t *offset, size_t length);
ssize_t sendfile(int out, int in, off_t *offset, size_t length) {
    REAL(sendfile);
    WRITE_LIKE(ssize_t, "sendfile", out, real(out, in, offset, length), real(out, in, offset, half(length)));
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t length);
ssize_t sendfile64(int out, int in, off64_t *offset, size_t length) {
    REAL(sendfile64);
    WRITE_LIKE(ssize_t, "sendfile64", out, real(out, in, offset, length), real(out, in, offset, half(length)));
}

/* Cutting gives room back; growing this way leaves a hole, which needs none. */
int ftruncate(int fd, off_t length) {
    REAL(ftruncate);
    OTHERWISE(on_fd("ftruncate", GIVES_ROOM, fd), real(fd, length));
}
int ftruncate64(int fd, off64_t length) {
    REAL(ftruncate64);
    OTHERWISE(on_fd("ftruncate64", GIVES_ROOM, fd), real(fd, length));
}
int truncate(const char *path, off_t length) {
    REAL(truncate);
    OTHERWISE(on_path("truncate", GIVES_ROOM, AT_FDCWD, path), real(path, length));
}
int truncate64(const char *path, off64_t length) {
    REAL(truncate64);
    OTHERWISE(on_path("truncate64", GIVES_ROOM, AT_FDCWD, path), real(path, length));
}
int fallocate(int fd, int how, off_t offset, off_t length) {
    REAL(fallocate);
    OTHERWISE(on_fd("fallocate", NEEDS_ROOM, fd), real(fd, how, offset, length));
}
int fallocate64(int fd, int how, off64_t offset, off64_t length) {
    REAL(fallocate64);
    OTHERWISE(on_fd("fallocate64", NEEDS_ROOM, fd), real(fd, how, offset, length));
}
/* These two return the error and leave errno alone. */
int posix_fallocate(int fd, off_t offset, off_t length) {
    REAL(posix_fallocate);
    return on_fd("posix_fallocate", NEEDS_ROOM, fd) == FAIL ? errno : real(fd, offset, length);
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    REAL(posix_fallocate64);
    return on_fd("posix_fallocate64", NEEDS_ROOM, fd) == FAIL ? errno : real(fd, offset, length);
}

int fsync(int fd) {
    REAL(fsync);
    OTHERWISE(on_fd("fsync", SYNC, fd), real(fd));
}
int fdatasync(int fd) {
    REAL(fdatasync);
    OTHERWISE(on_fd("fdatasync", SYNC, fd), real(fd));
}
int syncfs(int fd) {
    REAL(syncfs);
    OTHERWISE(on_fd("syncfs", SYNC, fd), real(fd));
}
int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    REAL(sync_file_range);
    OTHERWISE(on_fd("sync_file_range", SYNC, fd), real(fd, offset, length, flags));
}

int rename(const char *from, const char *to) {
    REAL(rename);
    OTHERWISE(on_two("rename", AT_FDCWD, from, AT_FDCWD, to), real(from, to));
}
int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    REAL(renameat);
    OTHERWISE(on_two("renameat", from_dir, from, to_dir, to), real(from_dir, from, to_dir, to));
}
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    REAL(renameat2);
    OTHERWISE(on_two("renameat2", from_dir, from, to_dir, to), real(from_dir, from, to_dir, to, flags));
}
int link(const char *from, const char *to) {
    REAL(link);
    OTHERWISE(on_two("link", AT_FDCWD, from, AT_FDCWD, to), real(from, to));
}
int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    REAL(linkat);
    OTHERWISE(on_two("linkat", from_dir, from, to_dir, to), real(from_dir, from, to_dir, to, flags));
}
int symlink(const char *target, const char *name) {
    REAL(symlink);
    OTHERWISE(on_path("symlink", NEEDS_ROOM, AT_FDCWD, name), real(target, name));
}
int symlinkat(const char *target, int dir, const char *name) {
    REAL(symlinkat);
    OTHERWISE(on_path("symlinkat", NEEDS_ROOM, dir, name), real(target, dir, name));
}
int unlink(const char *name) {
    REAL(unlink);
    OTHERWISE(on_path("unlink", GIVES_ROOM, AT_FDCWD, name), real(name));
}
int unlinkat(int dir, const char *name, int flags) {
    REAL(unlinkat);
    OTHERWISE(on_path("unlinkat", GIVES_ROOM, dir, name), real(dir, name, flags));
}
int rmdir(const char *name) {
    REAL(rmdir);
    OTHERWISE(on_path("rmdir", GIVES_ROOM, AT_FDCWD, name), real(name));
}
int mkdir(const char *name, mode_t mode) {
    REAL(mkdir);
    OTHERWISE(on_path("mkdir", NEEDS_ROOM, AT_FDCWD, name), real(name, mode));
}
int mkdirat(int dir, const char *name, mode_t mode) {
    REAL(mkdirat);
    OTHERWISE(on_path("mkdirat", NEEDS_ROOM, dir, name), real(dir, name, mode));
}

/* An open counts where it makes a file or empties one. */
static enum verdict on_open(const char *operation, int dir, const char *name, int flags) {
    struct stat there;
    int saved = errno;
    int makes = (flags & O_TMPFILE) == O_TMPFILE;
    if (!makes && (flags & (O_CREAT | O_TRUNC))) {
        int exists = fstatat(dir, name, &there, 0) == 0;
        makes = exists ? (flags & O_TRUNC) && S_ISREG(there.st_mode) : (flags & O_CREAT) != 0;
    }
    errno = saved;
    return makes ? on_path(operation, NEEDS_ROOM, dir, name) : GO;
}

#define MODE_ARGUMENT(flags)                                     \
    mode_t mode = 0;                                             \
    if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) { \
        va_list rest;                                            \
        va_start(rest, flags);                                   \
        mode = va_arg(rest, mode_t);                             \
        va_end(rest);                                            \
    }

int open(const char *name, int flags, ...) {
    REAL(open);
    MODE_ARGUMENT(flags)
    OTHERWISE(on_open("open", AT_FDCWD, name, flags), real(name, flags, mode));
}
int open64(const char *name, int flags, ...) {
    REAL(open64);
    MODE_ARGUMENT(flags)
    OTHERWISE(on_open("open64", AT_FDCWD, name, flags), real(name, flags, mode));
}
int openat(int dir, const char *name, int flags, ...) {
    REAL(openat);
    MODE_ARGUMENT(flags)
    OTHERWISE(on_open("openat", dir, name, flags), real(dir, name, flags, mode));
}
int openat64(int dir, const char *name, int flags, ...) {
    REAL(openat64);
    MODE_ARGUMENT(flags)
    OTHERWISE(on_open("openat64", dir, name, flags), real(dir, name, flags, mode));
}
int creat(const char *name, mode_t mode) {
    REAL(creat);
    OTHERWISE(on_open("creat", AT_FDCWD, name, O_CREAT | O_TRUNC), real(name, mode));
}
int creat64(const char *name, mode_t mode) {
    REAL(creat64);
    OTHERWISE(on_open("creat64", AT_FDCWD, name, O_CREAT | O_TRUNC), real(name, mode));
}
