/* measure.h: an SAE measured on activations that it has not seen: FVU, L0, dead latents, densities.
 *
 *   maps of a source --measure_sae: block by block--> measure_add --> measure_result --> measurement
 *
 * Not here: training (train.h, run.h), where maps come from (source.h). Bits: docs/contract.md, section 6. */
#ifndef SAEURON_MEASURE_H
#define SAEURON_MEASURE_H

#include "files/text.h"
#include "sae.h"
#include "training/source.h"

#define DENSITY_BINS 18             /* never; below 1e-8; then half decades up to 1 */
typedef struct measurement {
    size_t maps, tokens, n, k;      /* maps: 0, but of measure_sae */
    double fvu;                     /* sum (x^ - x)^2 / sum (x - mean)^2, mean a channel over all tokens */
    double l0;                      /* latents above 0, a token */
    size_t dead;                    /* latents that fire at no token */
    size_t bin[DENSITY_BINS];       /* latents by density: the share of tokens at which they fire */
} measurement;

/* ---- any activations ---- */

/* An SAE at use (TopK a token) over any number of tokens, in blocks; how they are cut changes no bit. */
typedef struct measure measure;
/* s stays the caller's. isa NULL: the best for this CPU. After an error *m is NULL; else measure_close. */
int  measure_open(measure **m, const saeuron_host *host, const sae *s, int threads, const char *isa,
                  saeuron_error *err);
/* Adds x [M,d], any M. A value that is not finite is an error that names its token, counted from the first of
 * all, and channel; nothing of x then counts. */
int  measure_add(measure *m, const float *x, size_t M, saeuron_error *err);
/* An error if all tokens so far are alike: FVU has no denominator. */
int  measure_result(const measure *m, measurement *r, saeuron_error *err);
/* [n]: tokens at which each latent fired; until measure_close. */
const uint64_t *measure_fired(const measure *m);
void measure_close(measure *m);

/* ---- maps of a source ---- */

/* Maps [first, first + count) of the source, in the order of an epoch if ordered (else rows of files as they
 * lie), through the SAE in dir. Bits depend on the maps alone. host (may be NULL) hears of progress. */
typedef struct measure_options {
    const char *dir;
    size_t first, count;
    bool   ordered;
    int    threads;
    const char *isa;
} measure_options;
int  measure_sae(measurement *m, map_source *s, const saeuron_host *host, const measure_options *o,
                 saeuron_error *err);

/* ---- in words ---- */

/* The histogram as a table: low, high, latents. */
void density_table(const measurement *m, text_out *t);
/* Names and numbers of m as members of a JSON object, without its braces. */
void measurement_json(const measurement *m, text_out *t);

#endif
