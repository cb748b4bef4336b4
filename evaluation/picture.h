/* picture.h: what a picture says about how it was made, and whether a file says the same.
 *
 *   what saeuron_generate is given, what the context forgets --picture_describe--> texts of a PNG
 *   a PNG, the texts it should have --picture_load--> its pixels, or an error that names what differs
 *
 * Not here: PNG itself (png.h), where pictures go (drawing.h, program/). Keywords: docs/formats.md, PNG. */
#ifndef SAEURON_PICTURE_H
#define SAEURON_PICTURE_H

#include "context.h"

typedef struct picture {
    const char *texts[40];          /* keyword, text, ..., NULL, for png_save; some lie below */
    char seed[24], index[24], noise[24], steps[24], cfg[32], model[24], contract[16], size[48];
    char *forget, *steer, *reconstruct;
} picture;

/* The texts of image j of a call, W x H pixels, of the model with this digest. also: more of them, keyword,
 * text, ..., NULL, kept and not copied; or NULL. The texts are enough to make the image again to the byte,
 * and never speak of the program's version, threads, paths or time. To be freed. */
int picture_describe(picture *p, const saeuron_context *x, const saeuron_generate_options *g, size_t j,
                     size_t W, size_t H, uint64_t digest, const char *const *also, saeuron_error *err);
void picture_free(picture *p, const saeuron_context *x);

/* Loads the pixels at path (rgb for io_free), whose texts must be p's and whose size W x H. SAEURON_EFORMAT
 * names what differs or is damaged, and what to do. */
int picture_load(const picture *p, const saeuron_host *host, const char *path, size_t W, size_t H,
                 unsigned char **rgb, saeuron_error *err);

/* "top 3" or "percentile 99.99", with " min-density 0.5", " min-lift 3", " window 0-20" and " half
 * conditional" where these are asked for, " strength -1". */
void describe_choice(char out[192], const choice *how);
void describe_selection(char out[160], const choice *how);  /* without the strength */

/* The digest of values as float32, little-endian. */
uint64_t digest_floats(const float *v, size_t n);

#endif
