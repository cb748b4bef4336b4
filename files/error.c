/* error.c: the one line that says what went wrong.
 *
 * Not here: how the program shows it (program/messages.c). */
#include "files/error.h"
#include "files/print.h"
#include "files/utf8.h"

#include <stdarg.h>
#include <string.h>

/* Control characters (C0, DEL, and C1 as UTF-8) become '?'; a character cut in two by the buffer's end
 * goes. */
static void clean_line(char *text)
{
    size_t n = strlen(text), at = 0;
    while (at < n) {
        uint32_t c;
        const size_t used = io_utf8(text + at, n - at, &c);
        if (used == 0 && n - at < 4 && (unsigned char)text[at] >= 0xC0) {
            text[at] = 0;
            return;
        }
        if (used == 0 || c < 0x20 || (c >= 0x7F && c < 0xA0))
            memset(text + at, '?', used ? used : 1);
        at += used ? used : 1;
    }
}

int fail(saeuron_error *err, int code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        err->code = code;
        print_values(err->text, sizeof err->text, format, args);
        va_end(args);
        clean_line(err->text);
    }
    return code;
}

int need(const void *pointer, const char *argument, saeuron_error *err)
{
    return pointer ? SAEURON_OK : fail(err, SAEURON_EUSAGE, "%s must not be NULL", argument);
}
