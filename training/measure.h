/* measure.h: an SAE measured on activations that it has not seen: FVU, L0, dead latents, densities.
 * Not here: training (train.h, run.h), where maps come from (source.h). */
#ifndef SAEURON_MEASURE_H
#define SAEURON_MEASURE_H

#include "files/text.h"
#include "train.h"
#include "training/source.h"

#define DENSITY_BINS 18             /* never; below 1e-8; then half decades up to 1 */
typedef struct measurement {
    size_t maps, tokens, n, k;
    double fvu, l0;                 /* of measure_report (train.h) */
    size_t dead;                    /* latents that fire at no token */
    size_t bin[DENSITY_BINS];       /* latents by the share of tokens at which they fire */
} measurement;

/* Maps [first, first + count) of the source, in the order of an epoch if ordered (else rows of files as they lie), through the SAE in
 * dir as it is used: TopK a token. Bits depend on the maps alone. progress (may be NULL) as saeuron_host's. */
typedef struct measure_options { const char *dir; size_t first, count; bool ordered; int threads; const char *isa; } measure_options;
int  measure_sae(measurement *m, map_source *s, const saeuron_host *host, const measure_options *o, saeuron_error *err);
/* Lower and upper end of bin i (i > 0), the lower one included; of the last the upper one, too. */
void density_bin(size_t i, double *low, double *high);
/* The histogram as a table: low, high, latents. */
void density_table(const measurement *m, text_out *t);
/* Names and numbers of m as members of a JSON object, without its braces. */
void measurement_json(const measurement *m, text_out *t);

#endif
