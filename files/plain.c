/* plain.c: the operating system as C99 knows it, chosen by -DSAEURON_PLAIN_C: files are read, never mapped;
 * no folders, terminals or cores are known of.
 *
 *   system.c --os_*--> fopen, rename, remove, signal, time
 *
 * Not here: what is the same with every system (system.c). */
#include "files/system.h"

#if defined(SAEURON_PLAIN_C) && !defined(SAEURON_BARE)

#include "files/os.h"

#include <errno.h>
#include <time.h>

int os_open(io_file *f, FILE **in, size_t *most, saeuron_error *err)
{
    (void)most;
    errno = EIO;
    *in = fopen(f->path, "rb");
    return *in ? SAEURON_OK : read_failed(f->path, err);
}

/* C99 can only try to open it, and errno is all that tells why that failed. */
bool os_absent(const char *path)
{
    errno = 0;
    FILE *f = fopen(path, "rb");
    if (f)
        fclose(f);
    return !f && (errno == 0 || errno == ENOENT);
}

void os_unmap(io_file *f) { (void)f; }
bool os_written(const io_file *f)
{
    (void)f;
    return false;
}
void os_release(const io_file *f) { (void)f; }
void os_expect(void *p, size_t n) { (void)p, (void)n; }

int os_kind(const char *path)
{
    (void)path;
    return OS_FILE;
}

FILE *os_create(const char *path, bool fresh)
{
    (void)fresh;
    errno = EIO;
    return fopen(path, "wb");
}

int os_sync(FILE *f)
{
    (void)f;
    return 0;
}

/* C99 leaves open whether rename replaces a file; where it does not, the old one goes first. */
int os_finish(FILE *f, const char *from, const char *to)
{
    const int code = f ? fclose(f) : 0;
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
bool os_piped(void) { return false; }
void os_open_standard(void) { }

char **os_arguments(int *argc, char **argv)
{
    (void)argc;
    return argv;
}

#ifdef __wasi__ /* which has less than C99: no signals, no time of a process */

double os_processor_seconds(void) { return os_seconds(); }
bool os_interrupted(void) { return false; }
void os_catch_signals(void (*lost)(const char *path)) { (void)lost; }

#else

#include <signal.h>

static volatile sig_atomic_t interrupted; /* a global, because a signal handler can reach nothing else */

double os_processor_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }
bool os_interrupted(void) { return interrupted != 0; }

static void on_interrupt(int number)
{
    interrupted = 1;
    signal(number, SIG_DFL);
}

void os_catch_signals(void (*lost)(const char *path))
{
    (void)lost;
    if (signal(SIGINT, SIG_IGN) != SIG_IGN)
        signal(SIGINT, on_interrupt);
}

#endif

#endif
