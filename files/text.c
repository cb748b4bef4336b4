/* text.c: text being built in memory: tables and JSON.
 *
 *   text_add, text_quote --> one block of memory that doubles --text_save--> path
 *
 * Not here: reading JSON (json.c) and numbers (decimal.c), the bytes' way to the disk (system.c). */
#include "files/text.h"
#include "files/json.h"
#include "files/print.h"
#include "files/system.h"

#include <stdarg.h>
#include <string.h>

/* Room for n more bytes and a NUL. */
static bool text_room(text_out *t, size_t n)
{
    if (t->failed || n > SIZE_MAX / 4 || t->n > SIZE_MAX / 4)
        return !(t->failed = true);
    if (t->n + n + 1 <= t->size)
        return true;
    const size_t size = 2 * (t->n + n + 512);
    char *more = io_alloc(t->host, size, 1);
    if (!more)
        return !(t->failed = true);
    if (t->n)
        memcpy(more, t->at, t->n);
    io_free(t->host, t->at);
    t->at = more;
    t->size = size;
    return true;
}

void text_add(text_out *t, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const size_t n = print_values(NULL, 0, format, args);
    if (text_room(t, n)) {
        print_values(t->at + t->n, n + 1, format, again);
        t->n += n;
    }
    va_end(again);
    va_end(args);
}

void text_quote(text_out *t, const char *s)
{
    const size_t n = json_quote(NULL, 0, s);
    if (text_room(t, n)) {
        json_quote(t->at + t->n, n, s);
        t->n += n;
        t->at[t->n] = 0;
    }
}

void text_free(text_out *t)
{
    io_free(t->host, t->at);
    *t = (text_out){ .host = t->host };
}

int text_save(text_out *t, const char *path, saeuron_error *err)
{
    const int code = t->failed ? fail(err, SAEURON_ENOMEM, "%s: no memory to write it", path)
        : io_write_file(path, t->at ? t->at : "", t->n, err);
    text_free(t);
    return code;
}
