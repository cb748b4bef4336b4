/* system.h: the operating system: memory, whole files in and out, clock, terminal, Ctrl-C, another process.
 * Only posix.c and windows.c call it.
 *
 *   path --io_open: mapped, read, or the host's--> bytes           bytes --io_out_*: all or nothing--> path
 *
 * Not here: what the bytes mean (the other files of this room). All of it can be built of C99 alone
 * (-DSAEURON_PLAIN_C): docs/porting.md says what is then missing. host may be NULL everywhere: malloc and the
 * operating system. */
#ifndef SAEURON_SYSTEM_H
#define SAEURON_SYSTEM_H

#include <stdbool.h>

#include "files/error.h"

/* ---- memory through the host ---- */

void *io_alloc(const saeuron_host *host, size_t count, size_t size); /* count * size bytes; or NULL */
void  io_free(const saeuron_host *host, void *p);

/* ---- paths ---- */

/* Bytes of the folder that path begins with, its separator included; 0: it names none. The separator is '/',
 * and on Windows the backslash, too. */
size_t io_folder(const char *path);
/* "dir/name" into out [size]; false when it does not fit. */
bool io_join(char *out, size_t size, const char *dir, const char *name);
/* path into out [size]; SAEURON_EUSAGE when it does not fit. */
int  io_copy_path(char *out, size_t size, const char *path, saeuron_error *err);

/* ---- whole files in ---- */

/* A whole file held in memory: mapped, read, or the caller's own (saeuron_host.map). */
typedef struct io_file {
    const unsigned char *data;
    size_t size;
    char   path[1024];      /* for messages */
    const saeuron_host *host;
    enum { IO_NONE, IO_HOST, IO_MAPPED, IO_READ } origin; /* how io_close gives the bytes back */
    uint64_t stamp[4];      /* of a mapped file: device, inode, when it was last written to (s, ns) */
} io_file;

/* Opens path, once. SAEURON_ENOENT when absent; SAEURON_EIO when unreadable, a folder, a link to nothing, or
 * a pipe or device that gives more than 256 MB; SAEURON_EFORMAT when a Git LFS pointer or a web page stands
 * in the file's place. host must outlive f. After an error f needs no io_close, and may have one. */
int  io_open(io_file *f, const saeuron_host *host, const char *path, saeuron_error *err);
void io_close(io_file *f);
/* Says that a mapped file is not needed for now: its pages leave this process until they are read again. */
void io_release(const io_file *f);
/* SAEURON_EIO when the file that f maps was written to since io_open, so that bytes may have changed between
 * two looks at them. Another file in its place (as io_out_commit leaves it) does no harm. */
int  io_unchanged(const io_file *f, saeuron_error *err);
/* Something has this path, be it a file that cannot be read; nothing is opened. */
bool io_exists(const saeuron_host *host, const char *path);

/* ---- whole files out ---- */

/* A file being written, all or nothing. Bytes go to a temporary file beside path; commit flushes it to the
 * disk and renames it over path. After any error, and after abort, the temporary file is gone, path is as it
 * was, and writes and commits only fail again. What a killed process left of its temporary file, the next one
 * that writes to path takes. A path that exists and is no regular file (/dev/stdout) is written directly. */
typedef struct io_out { void *file; char path[1024], temporary[1088]; } io_out;
int  io_out_open(io_out *o, const char *path, saeuron_error *err);
int  io_out_write(io_out *o, const void *bytes, size_t n, saeuron_error *err);
int  io_out_commit(io_out *o, saeuron_error *err);
void io_out_abort(io_out *o);       /* does nothing after commit */
/* The whole file at once. */
int io_write_file(const char *path, const void *bytes, size_t n, saeuron_error *err);
int io_make_dir(const char *path, saeuron_error *err);  /* and the folders above it; fine when it exists */

/* ---- clock, terminal, Ctrl-C, another process ---- */

double os_seconds(void);                 /* from some moment on, never back if the system has such a clock */
double os_processor_seconds(void);       /* of this process alone: other programs do not count */
int    os_terminal_width(void);          /* of stderr; 0 when it is no terminal */
/* Descriptors 0, 1 and 2 that the caller closed are opened, so that no file gets their number: reading from
 * them and writing to them fails. */
void   os_open_standard(void);
/* main's arguments as UTF-8, and getenv gives UTF-8 from now on; NULL without memory. */
char **os_arguments(int *argc, char **argv);
bool   os_piped(void);                   /* stdout is a pipe: writing fails when nobody reads it any more */
/* Ctrl-C, SIGTERM and SIGHUP set a flag from now on, unless they were ignored; a second one ends the program.
 * lost is called, within a signal handler, when a mapped file has become shorter and its end is read; path is
 * "" where the system does not tell. It must end the program. */
void   os_catch_signals(void (*lost)(const char *path));
bool   os_interrupted(void);
/* From now on memory of this process beyond so many megabytes (1e6 bytes) is refused, mapped files not
 * counted. SAEURON_EUSAGE where the system has no such limit. */
int    os_limit_memory(size_t megabytes, saeuron_error *err);
int    os_cores(void);
long   os_load_start(void);              /* a process that keeps a core busy while this one runs; or 0 */
void   os_load_stop(long process);

#endif
