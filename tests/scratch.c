/* scratch.c: help for tests of files. */
#define _POSIX_C_SOURCE 200809L
#include "scratch.h"
#include "test.h"
#include "arithmetic/rng.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

const char *at(const char *name)
{
    static char paths[4][1200];
    static int  next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", test_tmp(), name);
    return path;
}

int shell(const char *line)
{
    const int status = system(line);
    return status == -1 || !WIFEXITED(status) ? 128 + (status & 127) : WEXITSTATUS(status);
}

unsigned char *read_bytes(const char *path, size_t *n)
{
    unsigned char *p = malloc(1 << 22);
    FILE *f = fopen(path, "rb");
    *n = f ? fread(p, 1, 1 << 22, f) : 0;
    if (f)
        fclose(f);
    return p;
}

int files_like(const char *part)
{
    int n = 0;
    DIR *d = opendir(test_tmp());
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        n += strstr(e->d_name, part) != NULL;
    if (d)
        closedir(d);
    return n;
}

void le(unsigned char *p, uint64_t x, int n)
{
    for (int i = 0; i < n; i++, x >>= 8)
        p[i] = (unsigned char)(x & 255);
}

void be32(unsigned char *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(x >> (24 - 8 * i) & 255);
}

void *count_alloc(void *user, size_t size)
{
    counting *c = user;
    if (++c->calls == c->fail_at)
        return NULL;
    void *p = malloc(size);
    c->live += p != NULL;
    return p;
}

void count_free(void *user, void *p)
{
    counting *c = user;
    c->live -= p != NULL;
    free(p);
}

const void *map_one(void *user, const char *path, size_t *size)
{
    one_file *f = user;
    if (strcmp(path, "memory"))
        return NULL;
    f->mapped++;
    *size = f->size;
    return f->data;
}

void unmap_one(void *user, const void *data, size_t size)
{
    one_file *f = user;
    f->mapped -= data == f->data && size == f->size;
}

uint64_t random_bits(void)
{
    static uint64_t n;
    return rng_mix(++n);
}

void write_text(const char *name, const char *text) { test_write_file(at(name), text, strlen(text)); }

long allocations_fail_by_one(counting *c, int (*run)(void *, saeuron_error *), void *user, long most)
{
    const long before = c->live;
    bool done = false;
    for (long n = 1; n < most && !done; n++) {
        saeuron_error e = { 0 };
        c->calls = 0;
        c->fail_at = n;
        const int code = run(user, &e);
        done = c->calls < n; /* it needed fewer: this run was the good one */
        CHECK(code == (done ? SAEURON_OK : SAEURON_ENOMEM) && (done || strstr(e.text, "memory")),
              "allocation %ld: code %d, %s", n, code, e.text);
        CHECK(c->live == before, "allocation %ld: %ld pieces were not freed", n, c->live - before);
    }
    CHECK(done, "it still failed at allocation %ld", most - 1);
    c->fail_at = 0;
    return c->calls;
}

/* A run that opens a host of its own. */
typedef struct opening { int (*run)(const saeuron_host *, saeuron_error *); saeuron_host host; } opening;
static int open_and_run(void *user, saeuron_error *err)
{
    const opening *o = user;
    return o->run(&o->host, err);
}

void every_allocation_fails(int (*run)(const saeuron_host *, saeuron_error *), long least)
{
    counting c = { 0, 0, 0 };
    opening  o = { run, { .user = &c, .alloc = count_alloc, .free = count_free } };
    const long used = allocations_fail_by_one(&c, open_and_run, &o, 100);
    CHECK(used >= least, "it used %ld allocations", used);
    CHECK(files_like(".tmp-") == 0, "half-written files were left");
}
