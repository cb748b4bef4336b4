/* png.h: pictures as PNG: 8-bit RGB out; 8-bit and smaller grey, RGB, alpha and palette in; the texts they
 * carry.
 * Not here: what a picture's texts say (evaluation/picture.h). Source: PNG (W3C Recommendation, third
 * edition). */
#ifndef SAEURON_PNG_H
#define SAEURON_PNG_H

#include <stddef.h>

#include "files/error.h"

/* rgb [H,W,3]. texts (or NULL): keyword, UTF-8 text, ..., NULL. A text in ASCII goes to a tEXt chunk, any
 * other to iTXt. Nothing is compressed (docs/formats.md, "PNG"): the same pixels and texts are the same bytes
 * on every machine. */
int png_save(const saeuron_host *host, const char *path, const unsigned char *rgb, size_t W, size_t H,
             const char *const *texts, saeuron_error *err);
/* *rgb [H,W,3], transparent pixels over white, is allocated by host: io_free. Checks CRCs. Refuses files that
 * are interlaced or have 16 bits a sample; the message says which. */
int png_load(const saeuron_host *host, const char *path, unsigned char **rgb, size_t *W, size_t *H,
             saeuron_error *err);
/* The text under keyword (tEXt, or iTXt that is not compressed), as UTF-8 ended with NUL, into out [size].
 * SAEURON_ENOENT when the picture has none, SAEURON_EUSAGE when size is too small. */
int png_text(const saeuron_host *host, const char *path, const char *keyword, char *out, size_t size,
             saeuron_error *err);

#endif
