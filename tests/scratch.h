/* scratch.h: help for tests of files: paths and bytes, numbers as bytes, and hosts whose memory fails or
 * whose one file is a buffer.
 * Not here: the harness (test.h). */
#ifndef SAEURON_SCRATCH_H
#define SAEURON_SCRATCH_H

#include "saeuron_host.h"

#include <stddef.h>
#include <stdint.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* A path in this run's folder; the result of the last four calls stays valid. */
const char *at(const char *name);
/* Runs a line of shell; its exit code, or 128 and the signal that ended it. */
int shell(const char *line);
/* The whole file, to be freed. */
unsigned char *read_bytes(const char *path, size_t *n);
void write_text(const char *name, const char *text);    /* into this run's folder */
int  files_like(const char *part);                      /* files of this folder whose name contains part */

void le(unsigned char *p, uint64_t x, int n);           /* n bytes, little-endian */
void be32(unsigned char *p, uint32_t x);
uint64_t random_bits(void);

/* A host whose memory counts, and fails at the allocation number fail_at (from 1; 0: never). */
typedef struct counting { long calls, live, fail_at; } counting;
void *count_alloc(void *user, size_t size);
void  count_free(void *user, void *p);
/* Runs `run` on a host that counts, failing its first, second, ... allocation, until one run needs no more
 * (fewer than `most`): each must say so, none may leave memory. run frees what it made. Comes back: how many
 * allocations it needed. */
long allocations_fail_by_one(counting *c, int (*run)(void *user, saeuron_error *err), void *user, long most);
/* The same from the opening of a host on, which may leave no half-written files either. least: allocations
 * that it must have needed. */
void every_allocation_fails(int (*run)(const saeuron_host *host, saeuron_error *err), long least);

/* A host whose only file is a buffer called "memory". */
typedef struct one_file { const void *data; size_t size; int mapped; } one_file;
const void *map_one(void *user, const char *path, size_t *size);
void unmap_one(void *user, const void *data, size_t size);

#endif
