/* os.h: what system.c asks of the operating system. One file a system defines it: posix.c, windows.c, plain.c
 * (-DSAEURON_PLAIN_C), which knows C99 alone, or bare.c (-DSAEURON_BARE), which knows of no system. With it
 * come the clock, terminal and Ctrl-C of system.h.
 *
 *   system.c --os_*--> posix.c, windows.c, plain.c or bare.c --> the system
 *
 * Not here: what everybody else may ask for (system.h). */
#ifndef SAEURON_OS_H
#define SAEURON_OS_H

#include "files/system.h"

/* The bytes of f->path into f, where no host maps files: system.c has it of os_open, bare.c refuses. */
int  os_read(io_file *f, saeuron_error *err);
void os_unmap(io_file *f);
void os_release(const io_file *f);
/* Whether the file that f maps is still at f->path, and was written to since. */
bool os_written(const io_file *f);
/* Whether nothing has this path; opens nothing. */
bool os_absent(const char *path);

#ifndef SAEURON_BARE /* which reads and writes nothing itself */

#include <stdio.h>

#define STREAM_MOST ((size_t)256 << 20) /* bytes of a pipe or device: some have no end */

/* Opens f->path, once: a regular file is mapped into f; of anything else *in is a stream to read, which may
 * give *most bytes. */
int  os_open(io_file *f, FILE **in, size_t *most, saeuron_error *err);
/* What has this path: a folder; a device or pipe, which is written to directly; a file, or nothing yet. */
enum { OS_FILE, OS_FOLDER, OS_DEVICE };
int  os_kind(const char *path);
/* A stream to write path with. fresh: a new file, or what a killed process left of one; else what is there.
 * NULL with errno, which is EEXIST when the file is somebody's. */
FILE *os_create(const char *path, bool fresh);
/* Asks the system to put on the disk what the C library was told to. 0, or -1 with errno. */
int  os_sync(FILE *f);
/* Closes f (NULL: it is closed), whose path is from, and renames it over what is at to; or removes it when to
 * is NULL. 0, or -1 with errno. */
int  os_finish(FILE *f, const char *from, const char *to);
/* Says that p [n] is large, and will be used soon. */
void os_expect(void *p, size_t n);

/* What system.c has for them: the error of a read whose reason is in errno, and of a file that no memory can
 * hold. */
int  read_failed(const char *path, saeuron_error *err);
int  too_large(const char *path, saeuron_error *err);

#endif

#endif
