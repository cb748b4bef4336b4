/* system.c: memory, whole files in and out, and the only lines that touch the operating system.
 *
 *   path --io_open: mapped, read, or the host's--> bytes
 *   bytes --io_out_*: a temporary file, renamed--> path
 *
 * Not here: what the bytes mean (tensors.c, npy.c, png.c, json.c).
 * Everything but the last section is C99; that one has a plain C99 twin, chosen by -DSAEURON_PLAIN_C. */
#ifndef SAEURON_PLAIN_C
#define _DEFAULT_SOURCE /* POSIX, and madvise */
#define _FILE_OFFSET_BITS 64 /* files of more than 2 GB on 32 bits */
#endif
#include "files/system.h"
#include "arithmetic/memory.h"
#include "files/print.h"

#include <string.h>

/* ---- paths ---- */

bool io_join(char *out, size_t size, const char *dir, const char *name)
{
    const size_t n = strlen(dir);
    const char  *slash = n > 0 && dir[n - 1] != '/' ? "/" : "";
    return print_into(out, size, "%s%s%s", dir, slash, name) < size;
}

int io_copy_path(char *out, size_t size, const char *path, saeuron_error *err)
{
    const size_t n = strlen(path);
    if (n >= size)
        return fail(err, SAEURON_EUSAGE, "%.60s...: this path is %zu bytes long, at most %zu are possible",
                    path, n, size - 1);
    memcpy(out, path, n + 1);
    return SAEURON_OK;
}

#ifndef SAEURON_BARE /* else bare.c is the rest */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifndef SAEURON_PLAIN_C
#include <fcntl.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

/* ---- memory through the host ---- */

static void os_expect(void *p, size_t n);

#define LARGE ((size_t)8 << 20) /* bytes of a block that is worth larger pages */

void *io_alloc(const saeuron_host *host, size_t count, size_t size)
{
    size_t n;
    if (!nn_mul(count, size, &n))
        return NULL;
    n += n == 0;
    if (host && host->alloc)
        return host->alloc(host->user, n);
    void *p = malloc(n);
    if (p && n >= LARGE)
        os_expect(p, n);
    return p;
}

void io_free(const saeuron_host *host, void *p)
{
    if (p && host && host->alloc && host->free)
        host->free(host->user, p);
    else if (!host || !host->alloc)
        free(p);
}

/* ---- the operating system: declared here, defined at the end ---- */

/* Opens f->path, once: a regular file is mapped into f; of anything else *in is a stream to read, which may
 * give *most bytes. */
static int os_open(io_file *f, FILE **in, size_t *most, saeuron_error *err);
static void os_unmap(io_file *f);
static void os_release(const io_file *f);
/* Whether the file that f maps is still at f->path, and was written to since. */
static bool os_written(const io_file *f);
/* Whether nothing has this path; opens nothing. */
static bool os_absent(const char *path);
/* Creates o->temporary beside o->path and opens it, or o->path itself when it is a device. */
static int os_create(io_out *o, saeuron_error *err);
/* Asks the system to put on the disk what the C library was told to. 0, or -1 with errno. */
static int os_sync(FILE *f);
/* Closes f, whose path is from, and renames it over what is at to; or removes it when to is NULL. 0, or -1
 * with errno. */
static int os_finish(FILE *f, const char *from, const char *to);

/* ---- reading a file ---- */

#define STREAM_MOST ((size_t)256 << 20) /* bytes of a pipe or device: some have no end */

static int read_failed(const char *path, saeuron_error *err)
{
    const int reason = errno;
    if (reason == ENOENT && os_absent(path))
        return fail(err, SAEURON_ENOENT, "%s: there is no such file", path);
    if (reason == ENOENT)
        return fail(err, SAEURON_EIO,
                    "%s: is a link to a file that is not there: fetch that file, or remove the link", path);
    return fail(err, SAEURON_EIO, "%s: cannot be read: %s", path, strerror(reason));
}

/* Reads a whole stream of unknown length, at most `most` bytes, into memory that doubles as it goes. */
static int read_stream(io_file *f, FILE *in, size_t most, saeuron_error *err)
{
    size_t room = 0, n = 0, got;
    unsigned char *data = NULL;
    do {
        if (n == room) {
            const size_t more = room ? 2 * room : 65536;
            unsigned char *grown = more > room ? io_alloc(f->host, more, 1) : NULL;
            if (!grown) {
                io_free(f->host, data);
                return fail(err, SAEURON_ENOMEM, "%s: not enough memory for the file's content", f->path);
            }
            if (n)
                memcpy(grown, data, n);
            io_free(f->host, data);
            data = grown;
            room = more;
        }
        errno = EIO;
        got = fread(data + n, 1, room - n, in);
        n += got;
    } while (got > 0 && n <= most);
    if (ferror(in) || n > most) {
        io_free(f->host, data);
        return ferror(in) ? read_failed(f->path, err) :
            fail(err, SAEURON_EIO,
                 "%s: is no regular file, and gives more than %zu bytes: save them as a file first", f->path,
                 most);
    }
    f->data = data;
    f->size = n;
    f->origin = IO_READ;
    return SAEURON_OK;
}

/* The bytes of f->path into f, by whichever way there is. */
static int read_file(io_file *f, saeuron_error *err)
{
    const saeuron_host *host = f->host;
    if (host && host->map) {
        f->data = host->map(host->user, f->path, &f->size);
        if (!f->data)
            return fail(err, SAEURON_ENOENT, "%s: there is no such file", f->path);
        f->origin = IO_HOST;
        return SAEURON_OK;
    }
    FILE  *in = NULL;
    size_t most = SIZE_MAX;
    int    code = os_open(f, &in, &most, err);
    if (code || f->data)
        return code;
    code = read_stream(f, in, most, err);
    fclose(in);
    return code;
}

/* Whether f begins with these words, capital letters or not. */
static bool begins_with(const io_file *f, const char *words)
{
    size_t i = 0;
    while (words[i] && i < f->size && (f->data[i] == words[i] || (f->data[i] | 32) == words[i]))
        i++;
    return !words[i];
}

/* What is often found in a file's place: a Git LFS pointer, of a clone without LFS, and the page of a web
 * site about the file. No format that is read begins so. */
static int check_stand_in(const io_file *f, saeuron_error *err)
{
    if (begins_with(f, "version https://git-lfs.github.com/spec/v1"))
        return fail(err, SAEURON_EFORMAT, "%s: is a Git LFS pointer, not the file itself: run git lfs pull "
                    "in its folder", f->path);
    if (begins_with(f, "<!doctype") || begins_with(f, "<html"))
        return fail(err, SAEURON_EFORMAT, "%s: is a web page (HTML), not the file itself: download the file "
                    "by its own link", f->path);
    return SAEURON_OK;
}

int io_open(io_file *f, const saeuron_host *host, const char *path, saeuron_error *err)
{
    *f = (io_file){ .host = host };
    int code = io_copy_path(f->path, sizeof f->path, path, err);
    if (!code)
        code = read_file(f, err);
    if (!code && (code = check_stand_in(f, err)) != SAEURON_OK)
        io_close(f);
    return code;
}

void io_close(io_file *f)
{
    if (f->origin == IO_HOST && f->host->unmap)
        f->host->unmap(f->host->user, f->data, f->size);
    if (f->origin == IO_MAPPED)
        os_unmap(f);
    if (f->origin == IO_READ)
        io_free(f->host, (void *)(uintptr_t)f->data);
    *f = (io_file){ .host = f->host };
}

void io_release(const io_file *f)
{
    if (f->origin == IO_MAPPED)
        os_release(f);
}

int io_unchanged(const io_file *f, saeuron_error *err)
{
    if (f->origin != IO_MAPPED || !os_written(f))
        return SAEURON_OK;
    return fail(err, SAEURON_EIO,
                "%s: was written to while it was in use: run again while nothing writes to it", f->path);
}

bool io_exists(const saeuron_host *host, const char *path)
{
    if (host && host->map) {
        size_t size;
        const void *data = host->map(host->user, path, &size);
        if (data && host->unmap)
            host->unmap(host->user, data, size);
        return data != NULL;
    }
    return !os_absent(path);
}

/* ---- writing a file: all or nothing ---- */

/* Closes and removes what was written so far; the error is in errno. */
static int write_failed(io_out *o, saeuron_error *err)
{
    const int reason = errno;
    io_out_abort(o);
    if (reason == ENOSPC)
        return fail(err, SAEURON_EIO,
                    "%s: disk full (%s): free some space and run again; nothing was changed", o->path,
                    strerror(reason));
    return fail(err, SAEURON_EIO, "%s: cannot be written: %s", o->path, strerror(reason));
}

int io_out_open(io_out *o, const char *path, saeuron_error *err)
{
    *o = (io_out){ .file = NULL };
    const int code = io_copy_path(o->path, sizeof o->path, path, err);
    return code ? code : os_create(o, err);
}

int io_out_write(io_out *o, const void *bytes, size_t n, saeuron_error *err)
{
    errno = EIO;
    if (!o->file || (n > 0 && fwrite(bytes, 1, n, o->file) != n))
        return write_failed(o, err);
    return SAEURON_OK;
}

int io_out_commit(io_out *o, saeuron_error *err)
{
    errno = EIO;
    if (!o->file || fflush(o->file) != 0)
        return write_failed(o, err);
    if (o->temporary[0] && os_sync(o->file) != 0)
        return write_failed(o, err);
    FILE *f = o->file;
    o->file = NULL;
    if (o->temporary[0] ? os_finish(f, o->temporary, o->path) : fclose(f))
        return write_failed(o, err);
    o->temporary[0] = 0;
    return SAEURON_OK;
}

void io_out_abort(io_out *o)
{
    if (o->file && o->temporary[0])
        os_finish(o->file, o->temporary, NULL);
    else if (o->file)
        fclose(o->file);
    else if (o->temporary[0])
        remove(o->temporary);
    o->file = NULL;
    o->temporary[0] = 0;
}

int io_write_file(const char *path, const void *bytes, size_t n, saeuron_error *err)
{
    io_out o;
    int code = io_out_open(&o, path, err);
    if (!code)
        code = io_out_write(&o, bytes, n, err);
    return code ? code : io_out_commit(&o, err);
}

/* ---- the operating system ---- */

static volatile sig_atomic_t interrupted; /* a global, because a signal handler can reach nothing else */

bool os_interrupted(void) { return interrupted != 0; }

#ifndef SAEURON_PLAIN_C

static void stamp(uint64_t out[4], const struct stat *s)
{
    out[0] = (uint64_t)s->st_dev;
    out[1] = (uint64_t)s->st_ino;
    out[2] = (uint64_t)s->st_mtim.tv_sec;
    out[3] = (uint64_t)s->st_mtim.tv_nsec;
}

static bool os_written(const io_file *f)
{
    struct stat s;
    uint64_t now[4];
    if (stat(f->path, &s) != 0)
        return false;
    stamp(now, &s);
    return now[0] == f->stamp[0] && now[1] == f->stamp[1] &&
           ((size_t)s.st_size != f->size || now[2] != f->stamp[2] || now[3] != f->stamp[3]);
}

static int os_open(io_file *f, FILE **in, size_t *most, saeuron_error *err)
{
    struct stat s;
    const int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return read_failed(f->path, err);
    int code = SAEURON_OK;
    if (fstat(fd, &s) != 0)
        code = read_failed(f->path, err);
    else if (S_ISDIR(s.st_mode))
        code = fail(err, SAEURON_EIO, "%s: is a folder, a file was expected", f->path);
    else if (!S_ISREG(s.st_mode))
        *most = STREAM_MOST;
    else if (s.st_size > 0 && (uintmax_t)s.st_size <= SIZE_MAX) {
        void *data = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data != MAP_FAILED) {
            f->data = data;
            f->size = (size_t)s.st_size;
            f->origin = IO_MAPPED;
            stamp(f->stamp, &s);
        }
    }
    if (!code && !f->data && !(*in = fdopen(fd, "rb")))
        code = read_failed(f->path, err);
    if (!*in)
        close(fd);
    return code;
}

static bool os_absent(const char *path)
{
    struct stat s;
    return lstat(path, &s) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

static void os_unmap(io_file *f) { munmap((void *)(uintptr_t)f->data, f->size); }

/* Only a hint: nothing depends on its success. The system's file cache keeps the pages. */
static void os_release(const io_file *f)
{
#ifdef MADV_DONTNEED
    madvise((void *)(uintptr_t)f->data, f->size, MADV_DONTNEED);
#else
    (void)f;
#endif
}

/* Asks for larger pages for p [n]: the system then has fewer pages to clear and to look up. */
static void os_expect(void *p, size_t n)
{
#ifdef MADV_HUGEPAGE
    const uintptr_t page = 4096, at = (uintptr_t)p, from = (at + page - 1) / page * page;
    madvise((void *)from, (at + n) / page * page - from, MADV_HUGEPAGE);
#else
    (void)p, (void)n;
#endif
}

/* A new file; or one that a killed process left, known by its lock: a living one's is held until it is
 * renamed. -1 with errno EEXIST when it is somebody's. */
static int open_temporary(const char *path)
{
    struct stat s, named;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK))
        return fd;                              /* ours, also where no file can be locked */
    if (fd < 0 && errno == EEXIST)
        fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    else if (fd < 0)
        return -1;
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &s) == 0 && lstat(path, &named) == 0 &&
        s.st_ino == named.st_ino && s.st_dev == named.st_dev && S_ISREG(s.st_mode) && s.st_nlink == 1 &&
        s.st_uid == geteuid() && ftruncate(fd, 0) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    errno = EEXIST;
    return -1;
}

static int os_create(io_out *o, saeuron_error *err)
{
    struct stat s;
    if (stat(o->path, &s) == 0 && !S_ISREG(s.st_mode)) {
        if (S_ISDIR(s.st_mode))
            return fail(err, SAEURON_EIO, "%s: is a folder, a file was expected", o->path);
        o->file = fopen(o->path, "wb");
        return o->file ? SAEURON_OK : write_failed(o, err);
    }
    for (int i = 0; i < 1000; i++) {
        print_into(o->temporary, sizeof o->temporary, "%s.tmp-%d", o->path, i);
        const int fd = open_temporary(o->temporary);
        if (fd >= 0) {
            o->file = fdopen(fd, "wb");
            if (o->file)
                return SAEURON_OK;
            close(fd);
            return write_failed(o, err);
        }
        if (errno != EEXIST)
            break;
    }
    o->temporary[0] = 0; /* not ours to remove */
    if (errno == ENOENT)
        return fail(err, SAEURON_ENOENT, "%s: cannot be written: its folder does not exist", o->path);
    return write_failed(o, err);
}

static int os_sync(FILE *f) { return fsync(fileno(f)); }

/* Closing gives the lock of open_temporary back, so it comes last. */
static int os_finish(FILE *f, const char *from, const char *to)
{
    const int code = to ? rename(from, to) : remove(from), reason = errno;
    fclose(f);
    errno = reason;
    return code;
}

int io_make_dir(const char *path, saeuron_error *err)
{
    char part[1024];
    struct stat s;
    int code = io_copy_path(part, sizeof part, path, err);
    if (code)
        return code;
    for (char *p = part + 1; *part; p++) {
        const char c = *p;
        if (c != '/' && c != 0)
            continue;
        *p = 0;
        const int reason = mkdir(part, 0777) == 0 ? 0 : errno;
        if (reason && reason != EEXIST && !(stat(part, &s) == 0 && S_ISDIR(s.st_mode)))
            return fail(err, SAEURON_EIO, "%s: the folder cannot be made: %s", part, strerror(reason));
        *p = c;
        if (!c)
            break;
    }
    if (*part && stat(part, &s) == 0 && !S_ISDIR(s.st_mode))
        return fail(err, SAEURON_EIO, "%s: is a file, a folder was expected", path);
    return SAEURON_OK;
}

double os_seconds(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_MONOTONIC, &t) == 0 ? (double)t.tv_sec + 1e-9 * (double)t.tv_nsec : 0;
}

int os_terminal_width(void)
{
    struct winsize w;
    return isatty(STDERR_FILENO) && ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 ? (w.ws_col ? w.ws_col : 80)
        : 0;
}

void os_open_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY); /* gets the lowest: fd */
}

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* The path of the mapping that address lies in, out of Linux' /proc/self/maps ("FROM-TO ... /PATH"), into
 * out [size]; elsewhere "". Calls only what a signal handler may. */
static void path_mapped_at(uintptr_t address, char *out, size_t size)
{
    uintptr_t end[2] = { 0, 0 };
    size_t    n = 0, from = 0;          /* letters of the path; which of FROM and TO is read */
    char      c;
    bool      path = false;
    const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && read(fd, &c, 1) == 1) {
        const char *digits = "0123456789abcdef", *digit = c ? strchr(digits, c) : NULL;
        path = path || c == '/';
        if (c == '\n' && end[0] <= address && address < end[1])
            break;
        if (c == '\n') {
            end[0] = end[1] = n = from = 0;
            path = false;
        } else if (path) {
            if (n + 1 < size)
                out[n++] = c;
        } else if (from < 2) {
            if (digit)
                end[from] = end[from] * 16 + (uintptr_t)(digit - digits);
            else
                from++;
        }
    }
    out[n] = 0;
    if (fd >= 0)
        close(fd);
}

static void (*lost_file)(const char *path);

static void on_lost_page(int number, siginfo_t *info, void *context)
{
    char path[1024];
    (void)number, (void)context;
    path_mapped_at((uintptr_t)info->si_addr, path, sizeof path);
    lost_file(path);
}

void os_catch_signals(void (*lost)(const char *path))
{
    static const int stops[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction a, was;
    memset(&a, 0, sizeof a);
    a.sa_handler = on_interrupt;
    a.sa_flags = (int)SA_RESETHAND; /* the second one finds the default again */
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        if (sigaction(stops[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN) /* nohup, a job of a script */
            sigaction(stops[i], &a, NULL);
    lost_file = lost;
    a.sa_sigaction = on_lost_page;
    a.sa_flags = (int)(SA_RESETHAND | SA_SIGINFO);
    sigaction(SIGBUS, &a, NULL);
#ifdef SIGXFSZ
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a failed write, which can be reported */
#endif
}

int os_limit_memory(size_t megabytes, saeuron_error *err)
{
    struct rlimit most;
    if (getrlimit(RLIMIT_DATA, &most) == 0) {
        const rlim_t asked = megabytes < (rlim_t)-1 / 1000000 ? (rlim_t)megabytes * 1000000 : most.rlim_max;
        most.rlim_cur = asked < most.rlim_max ? asked : most.rlim_max;
        if (setrlimit(RLIMIT_DATA, &most) == 0)
            return SAEURON_OK;
    }
    return fail(err, SAEURON_EUSAGE, "no limit of %zu MB can be set: %s", megabytes, strerror(errno));
}

int os_cores(void)
{
#ifdef _SC_NPROCESSORS_ONLN
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 && n < 100000 ? (int)n : 1;
#else
    return 1;
#endif
}

long os_load_start(void)
{
    const pid_t parent = getpid(), load = fork();
    if (load == 0)
        while (getppid() == parent)
            for (volatile long i = 0; i < 10000000; i++)
                ;
    if (load == 0)
        kill(getpid(), SIGKILL); /* nothing of the parent's is to be ended twice */
    return load > 0 ? (long)load : 0;
}

void os_load_stop(long process)
{
    kill((pid_t)process, SIGKILL);
    waitpid((pid_t)process, NULL, 0);
}

#else /* plain C99: files are read, never mapped; no folders, terminals or cores are known of */

static int os_open(io_file *f, FILE **in, size_t *most, saeuron_error *err)
{
    (void)most;
    errno = EIO;
    *in = fopen(f->path, "rb");
    return *in ? SAEURON_OK : read_failed(f->path, err);
}

/* C99 can only try to open it, and errno is all that tells why that failed. */
static bool os_absent(const char *path)
{
    errno = 0;
    FILE *f = fopen(path, "rb");
    if (f)
        fclose(f);
    return !f && (errno == 0 || errno == ENOENT);
}

static void os_unmap(io_file *f) { (void)f; }
static bool os_written(const io_file *f)
{
    (void)f;
    return false;
}
static void os_release(const io_file *f) { (void)f; }
static void os_expect(void *p, size_t n) { (void)p, (void)n; }

static int os_create(io_out *o, saeuron_error *err)
{
    print_into(o->temporary, sizeof o->temporary, "%s.tmp-0", o->path);
    errno = EIO;
    o->file = fopen(o->temporary, "wb");
    if (o->file)
        return SAEURON_OK;
    o->temporary[0] = 0;
    return write_failed(o, err);
}

static int os_sync(FILE *f)
{
    (void)f;
    return 0;
}

/* C99 leaves open whether rename replaces a file; where it does not, the old one goes first. */
static int os_finish(FILE *f, const char *from, const char *to)
{
    const int code = fclose(f);
    if (!to)
        return remove(from);
    if (code != 0)
        return -1;
    if (rename(from, to) == 0)
        return 0;
    remove(to);
    return rename(from, to);
}

/* C99 cannot make a folder: the person must. A file written and removed tells whether it is there. */
int io_make_dir(const char *path, saeuron_error *err)
{
    char probe[1024];
    FILE *f = io_join(probe, sizeof probe, path, "saeuron.tmp") ? fopen(probe, "wb") : NULL;
    if (!f)
        return fail(err, SAEURON_EIO,
                    "%s: no file can be made in this folder: make the folder first (this build cannot)",
                    path);
    fclose(f);
    remove(probe);
    return SAEURON_OK;
}

int os_limit_memory(size_t megabytes, saeuron_error *err)
{
    return fail(err, SAEURON_EUSAGE, "no limit of %zu MB can be set: this build knows only C99", megabytes);
}

double os_seconds(void) { return (double)time(NULL); }
int os_terminal_width(void) { return 0; }
int os_cores(void) { return 1; }
long os_load_start(void) { return 0; }
void os_load_stop(long process) { (void)process; }

static void on_interrupt(int number)
{
    interrupted = 1;
    signal(number, SIG_DFL);
}

void os_open_standard(void) { }

void os_catch_signals(void (*lost)(const char *path))
{
    (void)lost;
    if (signal(SIGINT, SIG_IGN) != SIG_IGN)
        signal(SIGINT, on_interrupt);
}

#endif

#endif
