/* posix.c: the operating system of Unix and its kin (os.h, and the clock, terminal and Ctrl-C of system.h).
 *
 *   system.c --os_*--> the calls of POSIX, madvise, flock
 *
 * Not here: what is the same with every system (system.c). */
#define _DEFAULT_SOURCE /* POSIX, and madvise */
#define _FILE_OFFSET_BITS 64 /* files of more than 2 GB on 32 bits */
#include "files/system.h"

#if !defined(_WIN32) && !defined(SAEURON_PLAIN_C) && !defined(SAEURON_BARE)

#include "files/os.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted; /* a global, because a signal handler can reach nothing else */

bool os_interrupted(void) { return interrupted != 0; }

static void stamp(uint64_t out[4], const struct stat *s)
{
    out[0] = (uint64_t)s->st_dev;
    out[1] = (uint64_t)s->st_ino;
    out[2] = (uint64_t)s->st_mtim.tv_sec;
    out[3] = (uint64_t)s->st_mtim.tv_nsec;
}

bool os_written(const io_file *f)
{
    struct stat s;
    uint64_t now[4];
    if (stat(f->path, &s) != 0)
        return false;
    stamp(now, &s);
    return now[0] == f->stamp[0] && now[1] == f->stamp[1] &&
           ((size_t)s.st_size != f->size || now[2] != f->stamp[2] || now[3] != f->stamp[3]);
}

int os_open(io_file *f, FILE **in, size_t *most, saeuron_error *err)
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
    else if ((uintmax_t)s.st_size > SIZE_MAX)
        code = too_large(f->path, err);
    else if (s.st_size > 0) {
        void *data = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data != MAP_FAILED) {
            f->data = data;
            f->size = (size_t)s.st_size;
            f->origin = IO_MAPPED;
            stamp(f->stamp, &s);
        } else if (errno == ENOMEM) {           /* which a copy would want as well */
            code = too_large(f->path, err);
        }
    }
    if (!code && !f->data && !(*in = fdopen(fd, "rb")))
        code = read_failed(f->path, err);
    if (!*in)
        close(fd);
    return code;
}

bool os_absent(const char *path)
{
    struct stat s;
    return lstat(path, &s) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

void os_unmap(io_file *f) { munmap((void *)(uintptr_t)f->data, f->size); }

/* Only a hint: nothing depends on its success. The system's file cache keeps the pages. */
void os_release(const io_file *f)
{
#ifdef MADV_DONTNEED
    madvise((void *)(uintptr_t)f->data, f->size, MADV_DONTNEED);
#else
    (void)f;
#endif
}

/* Asks for larger pages for p [n]: the system then has fewer pages to clear and to look up. */
void os_expect(void *p, size_t n)
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

int os_kind(const char *path)
{
    struct stat s;
    return stat(path, &s) != 0 || S_ISREG(s.st_mode) ? OS_FILE : S_ISDIR(s.st_mode) ? OS_FOLDER : OS_DEVICE;
}

FILE *os_create(const char *path, bool fresh)
{
    if (!fresh)
        return fopen(path, "wb");
    const int fd = open_temporary(path);
    FILE *f = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (fd >= 0 && !f) {
        const int reason = errno;
        remove(path);
        close(fd);
        errno = reason;
    }
    return f;
}

int os_sync(FILE *f) { return fsync(fileno(f)); }

/* Closing gives the lock of open_temporary back, so it comes last. */
int os_finish(FILE *f, const char *from, const char *to)
{
    const int code = to ? rename(from, to) : remove(from), reason = errno;
    if (f)
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

double os_processor_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

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

char **os_arguments(int *argc, char **argv)
{
    (void)argc;
    return argv;
}

bool os_piped(void)
{
    struct stat s;
    return fstat(STDOUT_FILENO, &s) == 0 && S_ISFIFO(s.st_mode);
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
    const rlim_t  n = megabytes;
    struct rlimit most;
    if (getrlimit(RLIMIT_DATA, &most) == 0) {
        const rlim_t asked = n < (rlim_t)-1 / 1000000 ? n * 1000000 : most.rlim_max;
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

#endif
