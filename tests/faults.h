/* faults.h: stands before files/system.c and files/posix.c when they are compiled for the faulty program
 * (build/tests/faulty), and gives each call of the system that can fail the name of its double in faults.c.
 *
 *   system.c, posix.c --open, fwrite, malloc, ...--> FAULT --> the system, or its error
 *
 * Not here: which call fails (the environment of faults.c), what must then hold (test_faults.c). */
#ifndef SAEURON_FAULTS_H
#define SAEURON_FAULTS_H

#define _DEFAULT_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#undef _DEFAULT_SOURCE /* posix.c defines it, too */

/* Whether the call that is about to be made fails instead, with errno set to reason. */
int fault_now(const char *name, int reason);
/* The stream that a read has failed of: its ferror is true. */
extern FILE *fault_unread;

#define FAULT(name, reason, failed, call) (fault_now(name, reason) ? (failed) : (call))

#define malloc(n)         FAULT("malloc", ENOMEM, NULL, (malloc)(n))
#define open(...)         FAULT("open", EMFILE, -1, (open)(__VA_ARGS__))
#define fopen(path, mode) FAULT("fopen", EMFILE, NULL, (fopen)(path, mode))
#define fdopen(fd, mode)  FAULT("fdopen", ENOMEM, NULL, (fdopen)(fd, mode))
#define stat(path, s)     FAULT("stat", EACCES, -1, (stat)(path, s))
#define lstat(path, s)    FAULT("lstat", EACCES, -1, (lstat)(path, s))
#define fstat(fd, s)      FAULT("fstat", EIO, -1, (fstat)(fd, s))
#define flock(fd, how)    FAULT("flock", ENOLCK, -1, (flock)(fd, how))
#define ftruncate(fd, n)  FAULT("ftruncate", EIO, -1, (ftruncate)(fd, n))
#define mkdir(path, mode) FAULT("mkdir", EROFS, -1, (mkdir)(path, mode))
#define mmap(a, n, p, how, fd, at) FAULT("mmap", ENODEV, MAP_FAILED, (mmap)(a, n, p, how, fd, at))
#define fread(p, size, n, f)  FAULT("fread", EIO, (fault_unread = (f), (size_t)0), (fread)(p, size, n, f))
#define ferror(f)             ((f) == fault_unread || (ferror)(f))
/* half of it is written, as on a disk that fills */
#define fwrite(p, size, n, f) FAULT("fwrite", ENOSPC, (fwrite)(p, size, (n) / 2, f), (fwrite)(p, size, n, f))
#define fflush(f)         FAULT("fflush", ENOSPC, EOF, (fflush)(f))
#define fsync(fd)         FAULT("fsync", EIO, -1, (fsync)(fd))
#define rename(from, to)  FAULT("rename", EACCES, -1, (rename)(from, to))
#define remove(path)      FAULT("remove", EACCES, -1, (remove)(path))
#define fclose(f)         FAULT("fclose", EIO, ((fclose)(f), EOF), (fclose)(f))

#endif
