/* bare.c: system.c's twin where there is no operating system, chosen by -DSAEURON_BARE: memory is what the
 * host allocates, files are what it maps, and nothing is written. The C library is asked for nothing.
 *
 *   path --saeuron_host.map--> bytes
 *
 * Not here: what the program wants beyond the library (clock, terminal, Ctrl-C): there is no program. */
#include "files/system.h"
#include "arithmetic/memory.h"

#ifdef SAEURON_BARE

int os_cores(void) { return 1; }

void *io_alloc(const saeuron_host *host, size_t count, size_t size)
{
    size_t n;
    return host && host->alloc && nn_mul(count, size, &n) ? host->alloc(host->user, n + (n == 0)) : NULL;
}

void io_free(const saeuron_host *host, void *p)
{
    if (p && host && host->free)
        host->free(host->user, p);
}

/* ---- files in ---- */

int io_open(io_file *f, const saeuron_host *host, const char *path, saeuron_error *err)
{
    *f = (io_file){ .host = host };
    const int code = io_copy_path(f->path, sizeof f->path, path, err);
    if (code)
        return code;
    if (!host || !host->map)
        return fail(err, SAEURON_EIO, "%s: this build knows no files: give saeuron_host.map", path);
    f->data = host->map(host->user, path, &f->size);
    if (!f->data)
        return fail(err, SAEURON_ENOENT, "%s: there is no such file", path);
    f->origin = IO_HOST;
    return SAEURON_OK;
}

void io_close(io_file *f)
{
    if (f->origin == IO_HOST && f->host->unmap)
        f->host->unmap(f->host->user, f->data, f->size);
    *f = (io_file){ .host = f->host };
}

void io_release(const io_file *f) { (void)f; }

int io_unchanged(const io_file *f, saeuron_error *err)
{
    (void)f, (void)err;
    return SAEURON_OK;
}

bool io_exists(const saeuron_host *host, const char *path)
{
    size_t size;
    const void *data = host && host->map ? host->map(host->user, path, &size) : NULL;
    if (data && host->unmap)
        host->unmap(host->user, data, size);
    return data != NULL;
}

/* ---- files out: there are none ---- */

int io_out_open(io_out *o, const char *path, saeuron_error *err)
{
    *o = (io_out){ .file = NULL };
    return fail(err, SAEURON_EIO, "%s: cannot be written: this build knows no files", path);
}

int io_out_write(io_out *o, const void *bytes, size_t n, saeuron_error *err)
{
    (void)bytes, (void)n;
    return io_out_open(o, o->path, err);
}

int  io_out_commit(io_out *o, saeuron_error *err) { return io_out_open(o, o->path, err); }
void io_out_abort(io_out *o) { (void)o; }

int io_write_file(const char *path, const void *bytes, size_t n, saeuron_error *err)
{
    io_out o;
    (void)bytes, (void)n;
    return io_out_open(&o, path, err);
}

#endif
