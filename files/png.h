/* png.h: PNG: 8-bit RGB out; 8-bit grey, RGB, RGBA and palette in; the texts that a picture carries.
 * Not here: what a picture's texts say (evaluation/picture.h). Source: the PNG specification, third edition. */
#ifndef SAEURON_PNG_H
#define SAEURON_PNG_H

#include <stddef.h>

#include "files/error.h"

/* rgb [H,W,3]. texts: keyword, UTF-8 text, ..., NULL; a text that is not ASCII goes to iTXt. Nothing is compressed
 * (docs/formats.md, "PNG"), so the same pixels and texts give the same bytes on every machine. */
int png_save(const saeuron_host *host, const char *path, const unsigned char *rgb, size_t W, size_t H, const char *const *texts, saeuron_error *err);
/* *rgb [H,W,3] allocated by host; free with io_free. Refuses interlaced or 16-bit files by name; checks CRCs. */
int png_load(const saeuron_host *host, const char *path, unsigned char **rgb, size_t *W, size_t *H, saeuron_error *err);

/* The text under keyword in a PNG (tEXt or uncompressed iTXt), as UTF-8 ended with NUL, into out [size].
 * SAEURON_ENOENT when the picture has none, SAEURON_EUSAGE when size is too small. */
int png_text(const saeuron_host *host, const char *path, const char *keyword, char *out, size_t size, saeuron_error *err);

#endif
