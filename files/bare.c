/* bare.c: no operating system at all (os.h), chosen by -DSAEURON_BARE: memory is what the host allocates,
 * files are what it maps, and nothing is written. The C library is asked for nothing.
 *
 *   path --saeuron_host.map--> bytes
 *
 * Not here: what the program wants beyond the library (clock, terminal, Ctrl-C): there is no program. */
#include "files/os.h"
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

/* ---- files in: the host's alone ---- */

int os_read(io_file *f, saeuron_error *err)
{
    return fail(err, SAEURON_EIO, "%s: this build knows no files: give saeuron_host.map", f->path);
}

void os_unmap(io_file *f) { (void)f; }
void os_release(const io_file *f) { (void)f; }

bool os_written(const io_file *f)
{
    (void)f;
    return false;
}

bool os_absent(const char *path)
{
    (void)path;
    return true;
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
