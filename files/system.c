/* system.c: memory, whole files in and out, as far as they are the same with every operating system.
 *
 *   path --io_open: mapped, read, or the host's--> bytes
 *   bytes --io_out_*: a temporary file, renamed--> path
 *
 * Not here: what the bytes mean (tensors.c, npy.c, png.c, json.c), what each system has its own calls for
 * (os.h). */
#include "files/os.h"
#include "arithmetic/memory.h"
#include "files/print.h"

#include <string.h>

/* ---- paths ---- */

#ifdef _WIN32
static const char separators[] = "/\\";
#else
static const char separators[] = "/";
#endif

size_t io_folder(const char *path)
{
    size_t n = strlen(path);
    while (n > 0 && !strchr(separators, path[n - 1]))
        n--;
    return n;
}

bool io_join(char *out, size_t size, const char *dir, const char *name)
{
    const char *slash = dir[io_folder(dir)] ? "/" : "";
    return print_into(out, size, "%s%s%s", dir, slash, name) < size;
}

int io_copy_path(char *out, size_t size, const char *path, saeuron_error *err)
{
    const size_t n = strlen(path);
    if (n >= size)
        return fail(err, SAEURON_EUSAGE, "%.60s...: this path is %zu bytes long, at most %zu are possible",
                    path, n, size - 1);
    memcpy(out, path, n + 1);
    return SAEURON_OK;
}

/* ---- whole files in ---- */

/* The bytes of f->path into f, by whichever way there is. */
static int read_file(io_file *f, saeuron_error *err)
{
    const saeuron_host *host = f->host;
    if (!host || !host->map)
        return os_read(f, err);
    f->data = host->map(host->user, f->path, &f->size);
    if (!f->data)
        return fail(err, SAEURON_ENOENT, "%s: there is no such file", f->path);
    f->origin = IO_HOST;
    return SAEURON_OK;
}

/* Whether f begins with these words, capital letters or not. */
static bool begins_with(const io_file *f, const char *words)
{
    size_t i = 0;
    while (words[i] && i < f->size && (f->data[i] == words[i] || (f->data[i] | 32) == words[i]))
        i++;
    return !words[i];
}

/* What is often found in a file's place: a Git LFS pointer, of a clone without LFS, and the page of a web
 * site about the file. No format that is read begins so. */
static int check_stand_in(const io_file *f, saeuron_error *err)
{
    if (begins_with(f, "version https://git-lfs.github.com/spec/v1"))
        return fail(err, SAEURON_EFORMAT, "%s: is a Git LFS pointer, not the file itself: run git lfs pull "
                    "in its folder", f->path);
    if (begins_with(f, "<!doctype") || begins_with(f, "<html"))
        return fail(err, SAEURON_EFORMAT, "%s: is a web page (HTML), not the file itself: download the file "
                    "by its own link", f->path);
    return SAEURON_OK;
}

int io_open(io_file *f, const saeuron_host *host, const char *path, saeuron_error *err)
{
    *f = (io_file){ .host = host };
    int code = io_copy_path(f->path, sizeof f->path, path, err);
    if (!code)
        code = read_file(f, err);
    if (!code && (code = check_stand_in(f, err)) != SAEURON_OK)
        io_close(f);
    return code;
}

void io_close(io_file *f)
{
    if (f->origin == IO_HOST && f->host->unmap)
        f->host->unmap(f->host->user, f->data, f->size);
    if (f->origin == IO_MAPPED)
        os_unmap(f);
    if (f->origin == IO_READ)
        io_free(f->host, (void *)(uintptr_t)f->data);
    *f = (io_file){ .host = f->host };
}

void io_release(const io_file *f)
{
    if (f->origin == IO_MAPPED)
        os_release(f);
}

int io_unchanged(const io_file *f, saeuron_error *err)
{
    if (f->origin != IO_MAPPED || !os_written(f))
        return SAEURON_OK;
    return fail(err, SAEURON_EIO,
                "%s: was written to while it was in use: run again while nothing writes to it", f->path);
}

bool io_exists(const saeuron_host *host, const char *path)
{
    if (host && host->map) {
        size_t size;
        const void *data = host->map(host->user, path, &size);
        if (data && host->unmap)
            host->unmap(host->user, data, size);
        return data != NULL;
    }
    return !os_absent(path);
}

#ifndef SAEURON_BARE /* else bare.c is the rest */

#include <errno.h>
#include <stdlib.h>

/* ---- memory through the host ---- */

#define LARGE ((size_t)8 << 20) /* bytes of a block that is worth larger pages */

void *io_alloc(const saeuron_host *host, size_t count, size_t size)
{
    size_t n;
    if (!nn_mul(count, size, &n))
        return NULL;
    n += n == 0;
    if (host && host->alloc)
        return host->alloc(host->user, n);
    void *p = malloc(n);
    if (p && n >= LARGE)
        os_expect(p, n);
    return p;
}

void io_free(const saeuron_host *host, void *p)
{
    if (p && host && host->alloc && host->free)
        host->free(host->user, p);
    else if (!host || !host->alloc)
        free(p);
}

/* ---- reading a file that no host maps ---- */

int read_failed(const char *path, saeuron_error *err)
{
    const int reason = errno;
    if (reason == ENOENT && os_absent(path))
        return fail(err, SAEURON_ENOENT, "%s: there is no such file", path);
    if (reason == ENOENT)
        return fail(err, SAEURON_EIO,
                    "%s: is a link to a file that is not there: fetch that file, or remove the link", path);
    return fail(err, SAEURON_EIO, "%s: cannot be read: %s", path, strerror(reason));
}

int too_large(const char *path, saeuron_error *err)
{
    return fail(err, SAEURON_ENOMEM, "%s: not enough memory for the file's content", path);
}

/* Reads a whole stream of unknown length, at most `most` bytes, into memory that doubles as it goes. */
static int read_stream(io_file *f, FILE *in, size_t most, saeuron_error *err)
{
    size_t room = 0, n = 0, got;
    unsigned char *data = NULL;
    do {
        if (n == room) {
            const size_t more = room ? 2 * room : 65536;
            unsigned char *grown = more > room ? io_alloc(f->host, more, 1) : NULL;
            if (!grown) {
                io_free(f->host, data);
                return too_large(f->path, err);
            }
            if (n)
                memcpy(grown, data, n);
            io_free(f->host, data);
            data = grown;
            room = more;
        }
        errno = EIO;
        got = fread(data + n, 1, room - n, in);
        n += got;
    } while (got > 0 && n <= most);
    if (ferror(in) || n > most) {
        io_free(f->host, data);
        return ferror(in) ? read_failed(f->path, err) :
            fail(err, SAEURON_EIO,
                 "%s: is no regular file, and gives more than %zu bytes: save them as a file first", f->path,
                 most);
    }
    f->data = data;
    f->size = n;
    f->origin = IO_READ;
    return SAEURON_OK;
}

int os_read(io_file *f, saeuron_error *err)
{
    FILE  *in = NULL;
    size_t most = SIZE_MAX;
    int    code = os_open(f, &in, &most, err);
    if (code || f->data)
        return code;
    code = read_stream(f, in, most, err);
    fclose(in);
    return code;
}

/* ---- writing a file: all or nothing ---- */

/* The error of a write whose reason is in errno. What was written so far is closed and removed. */
static int write_failed(io_out *o, saeuron_error *err)
{
    const int reason = errno;
    io_out_abort(o);
    if (reason == ENOSPC)
        return fail(err, SAEURON_EIO,
                    "%s: disk full (%s): free some space and run again; nothing was changed", o->path,
                    strerror(reason));
    return fail(err, SAEURON_EIO, "%s: cannot be written: %s", o->path, strerror(reason));
}

/* Creates o->temporary beside o->path and opens it, or o->path itself when it is a device. */
static int create(io_out *o, saeuron_error *err)
{
    const int kind = os_kind(o->path);
    if (kind == OS_FOLDER)
        return fail(err, SAEURON_EIO, "%s: is a folder, a file was expected", o->path);
    if (kind == OS_DEVICE) {
        o->file = os_create(o->path, false);
        return o->file ? SAEURON_OK : write_failed(o, err);
    }
    for (int i = 0; i < 1000; i++) {
        print_into(o->temporary, sizeof o->temporary, "%s.tmp-%d", o->path, i);
        o->file = os_create(o->temporary, true);
        if (o->file)
            return SAEURON_OK;
        if (errno != EEXIST)
            break;
    }
    o->temporary[0] = 0; /* not ours to remove */
    if (errno == ENOENT)
        return fail(err, SAEURON_ENOENT, "%s: cannot be written: its folder does not exist", o->path);
    return write_failed(o, err);
}

int io_out_open(io_out *o, const char *path, saeuron_error *err)
{
    *o = (io_out){ .file = NULL };
    const int code = io_copy_path(o->path, sizeof o->path, path, err);
    return code ? code : create(o, err);
}

int io_out_write(io_out *o, const void *bytes, size_t n, saeuron_error *err)
{
    errno = EIO;
    if (!o->file || (n > 0 && fwrite(bytes, 1, n, o->file) != n))
        return write_failed(o, err);
    return SAEURON_OK;
}

int io_out_commit(io_out *o, saeuron_error *err)
{
    errno = EIO;
    if (!o->file || fflush(o->file) != 0)
        return write_failed(o, err);
    if (o->temporary[0] && os_sync(o->file) != 0)
        return write_failed(o, err);
    FILE *f = o->file;
    o->file = NULL;
    if (o->temporary[0] ? os_finish(f, o->temporary, o->path) : fclose(f))
        return write_failed(o, err);
    o->temporary[0] = 0;
    return SAEURON_OK;
}

void io_out_abort(io_out *o)
{
    if (o->temporary[0])
        os_finish(o->file, o->temporary, NULL);
    else if (o->file)
        fclose(o->file);
    o->file = NULL;
    o->temporary[0] = 0;
}

int io_write_file(const char *path, const void *bytes, size_t n, saeuron_error *err)
{
    io_out o;
    int code = io_out_open(&o, path, err);
    if (!code)
        code = io_out_write(&o, bytes, n, err);
    return code ? code : io_out_commit(&o, err);
}

#endif
