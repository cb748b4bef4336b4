/* png.h: pictures as PNG: 8-bit RGB out; 8-bit and smaller grey, RGB, alpha and palette in; the texts they
 * carry.
 * Not here: what a picture's texts say (evaluation/picture.h). Source: PNG (W3C Recommendation, third
 * edition). */
#ifndef SAEURON_PNG_H
#define SAEURON_PNG_H

#include <stddef.h>

#include "files/system.h"

/* rgb [H,W,3]. texts (or NULL): keyword, UTF-8 text, ..., NULL. A text in ASCII goes to a tEXt chunk, any
 * other to iTXt. Nothing is compressed (docs/formats.md, "PNG"): the same pixels and texts are the same bytes
 * on every machine. */
int png_save(const saeuron_host *host, const char *path, const unsigned char *rgb, size_t W, size_t H,
             const char *const *texts, saeuron_error *err);

/* A picture's file, whose chunks were checked: its size, and all that reading its pixels takes. */
typedef struct png_file {
    io_file f;
    size_t W, H;
    int    bits, colour, channels;  /* bits a sample, colour type, samples a pixel */
    unsigned char palette[256][4];  /* RGBA */
    int    palette_size;
    int    key[3];                  /* a transparent colour of a picture without alpha; -1: none */
    size_t packed;                  /* compressed bytes */
} png_file;

/* Checks the header and, once, the length and CRC of every chunk; no pixel is looked at, and nothing is
 * allocated but the file. Refuses files that are interlaced, have 16 bits a sample, or fewer compressed bytes
 * than their pixels take at least; the message says which. For png_close; after an error it needs none. */
int png_open(png_file *p, const saeuron_host *host, const char *path, saeuron_error *err);
void png_close(png_file *p);
/* *rgb [H,W,3], transparent pixels over white, is allocated by host: io_free. NULL after an error. */
int png_pixels(const png_file *p, unsigned char **rgb, saeuron_error *err);
/* The text under keyword (tEXt, or iTXt that is not compressed), as UTF-8 ended with NUL, into out [size].
 * SAEURON_ENOENT when the picture has none, SAEURON_EUSAGE when size is too small. */
int png_text(const png_file *p, const char *keyword, char *out, size_t size, saeuron_error *err);
/* A size that every text of the picture fits. */
size_t png_text_room(const png_file *p);
/* The pixels of the picture at path, as png_pixels gives them. */
int png_load(const saeuron_host *host, const char *path, unsigned char **rgb, size_t *W, size_t *H,
             saeuron_error *err);

#endif
