/* said.h: a text that a picture's file carries.
 * Not here: PNG (files/png.h). */
#ifndef SAEURON_SAID_H
#define SAEURON_SAID_H

#include "files/png.h"

/* png_text of the file at path. */
static inline int said_of(const saeuron_host *host, const char *path, const char *keyword, char *out,
                          size_t size, saeuron_error *err)
{
    png_file f;
    int code = png_open(&f, host, path, err);
    if (code)
        return code;
    code = png_text(&f, keyword, out, size, err);
    png_close(&f);
    return code;
}

#endif
