/* collect.h: activations recorded while sampling: into files, or into memory for training that samples.
 *
 *   all prompts --collect_run--> a file a hook      some prompts --sampler_maps--> the same maps, in memory
 *
 * Not here: the recording itself (recording.h), training on them (source.h), statistics (statistics.h).
 * Files: docs/formats.md. Letters: N tokens of a map, d its width. */
#ifndef SAEURON_COLLECT_H
#define SAEURON_COLLECT_H

#include "training/recording.h"

#define ACTIVATIONS_FORMAT "saeuron-activations-1"
#define TEXT_HOOK          "text_encoder"   /* not in the UNet: text states, last_hidden_state */

/* ---- into files ---- */

typedef struct collect_options {
    saeuron_generate_options sampling;  /* prompts, count: of all parts; noise_index is that of prompt 0 */
    shard   part;
    const char *const *hooks;       /* at least one */
    const char *const *paths;       /* where the activations of each go */
    size_t  hook_count;
    bool    diff;                   /* the hook's output less its input (released output_or_diff="diff") */
    size_t  every;                  /* steps 0, every, 2 every, ... are kept; 0 is 1 */
    size_t  first;                  /* only so many steps are sampled, from the first; 0: all */
    dtype   type;                   /* DT_F32 or DT_F16 */
} collect_options;

/* Samples the part's prompts and writes each hook's activations [rows,N,d] of the conditional half: a row
 * is one map, of a prompt at a step, steps innermost. Prompt j starts from the same noise in every part.
 * After an error there is none of these files that was not there before.
 * hooks TEXT_HOOK, alone: a row is a prompt's text states [N,D]; nothing is sampled, so that diff, every and
 * first are refused. */
int collect_run(saeuron_context *x, const collect_options *o, saeuron_error *err);

/* ---- into memory ---- */

typedef struct sampler sampler;
typedef struct sampler_options {
    saeuron_generate_options sampling;  /* prompts, count: all of them; they must outlive the sampler */
    const char *hook;
    bool    diff;
    size_t  every;                  /* as of collect_options */
} sampler_options;

typedef struct sampler_facts {
    char     hook[96];
    size_t   prompts, rows, N, d;   /* rows: maps of a prompt */
    uint64_t model, digest;         /* of the model; of all that decides what is sampled, the prompts too */
} sampler_facts;

/* Plans the sampling and takes its memory. x must outlive *s. For sampler_close, after an error too; *s
 * may then be NULL. */
int  sampler_open(sampler **s, saeuron_context *x, const sampler_options *o, sampler_facts *facts,
                  saeuron_error *err);
/* maps [count,rows,N,d] of the prompts with these numbers: of each the rows that collect_run would write,
 * to the bit. */
int  sampler_maps(sampler *s, float *maps, const uint32_t *prompt, size_t count, saeuron_error *err);
void sampler_close(sampler *s);

#endif
