/* os.h: what system.c asks of the operating system. One file a system defines it: posix.c, windows.c, or
 * plain.c (-DSAEURON_PLAIN_C), which knows C99 alone. With it come the clock, terminal and Ctrl-C of
 * system.h.
 *
 *   system.c --os_*--> posix.c, windows.c or plain.c --> the system
 *
 * Not here: what everybody else may ask for (system.h), a build without any system (bare.c). */
#ifndef SAEURON_OS_H
#define SAEURON_OS_H

#include <stdio.h>

#include "files/system.h"

#define STREAM_MOST ((size_t)256 << 20) /* bytes of a pipe or device: some have no end */

/* Opens f->path, once: a regular file is mapped into f; of anything else *in is a stream to read, which may
 * give *most bytes. */
int  os_open(io_file *f, FILE **in, size_t *most, saeuron_error *err);
void os_unmap(io_file *f);
void os_release(const io_file *f);
/* Whether the file that f maps is still at f->path, and was written to since. */
bool os_written(const io_file *f);
/* Whether nothing has this path; opens nothing. */
bool os_absent(const char *path);
/* Creates o->temporary beside o->path and opens it, or o->path itself when it is a device. */
int  os_create(io_out *o, saeuron_error *err);
/* Asks the system to put on the disk what the C library was told to. 0, or -1 with errno. */
int  os_sync(FILE *f);
/* Closes f (NULL: it is closed), whose path is from, and renames it over what is at to; or removes it when to
 * is NULL. 0, or -1 with errno. */
int  os_finish(FILE *f, const char *from, const char *to);
/* Says that p [n] is large, and will be used soon. */
void os_expect(void *p, size_t n);

/* ---- what system.c has for them ---- */

/* The error of a read or write whose reason is in errno; write_failed closes and removes what was written so
 * far. */
int read_failed(const char *path, saeuron_error *err);
int write_failed(io_out *o, saeuron_error *err);

#endif
