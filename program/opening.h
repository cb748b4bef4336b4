/* opening.h: what several commands take alike: which model and SAEs, how is sampled, what is forgotten;
 * their options, and functions that give what these say as the library takes it.
 *
 *   a command's table --.group--> options here --open_model, sampling, forget_all--> the library's arguments
 *
 * Not here: options that one command has for itself (command_*.c). */
#ifndef SAEURON_OPENING_H
#define SAEURON_OPENING_H

#include "program/options.h"
#include "saeuron.h"

/* ---- the machine and the model ---- */

extern const option machine_options[];      /* --threads, --isa */
extern const option model_options[];        /* --model, and machine_options */
extern const option synthetic_options[];    /* --synthetic */

/* For work without a model: --threads, else all cores; --isa, else SAEURON_ISA, else NULL. */
void machine(int *threads, const char **isa);
/* folder NULL: what the options name, else SAEURON_MODEL, else the first model found. It reports progress. */
int  open_model(saeuron_context **x, const char *folder, saeuron_error *err);

/* ---- sampling ---- */

extern const option size_options[];         /* --steps, --height, --width */
extern const option sampling_options[];     /* --negative, --cfg, and size_options */
extern const option batch_options[];        /* --batch */
extern const option start_options[];        /* --seed, --noise-index, --noise */

/* What all these options and --residual, --map-steps, --shared say, but --noise; without prompts. */
saeuron_generate_options sampling(void);
/* --noise, if given, as g->noise, which must have the shape of g's images; *noise is the caller's to free. */
int  read_noise(saeuron_generate_options *g, const saeuron_context *x, float **noise, saeuron_error *err);

/* The lines of a file of prompts, without empty ones; each is checked (tokenizer_check). The caller frees
 * them, after an error, too. */
typedef struct prompt_lines { char *text; const char **line; size_t count; } prompt_lines;
int  read_prompts(prompt_lines *p, const char *path, const saeuron_host *host, saeuron_error *err);
void free_prompts(prompt_lines *p, const saeuron_host *host);
/* Remarks that the text encoder reads only the first tokens of a prompt, if so. */
void remark_if_cut(const saeuron_context *x, const char *prompt);

/* ---- SAEs, and what is forgotten ---- */

extern const option sae_options[];          /* --sae */
extern const option edit_options[];         /* --residual, --map-steps, --stats, sae_options */
extern const option choice_options[];       /* of a choice: --top, --strength, --half and the like */
extern const option forget_options[];       /* --forget, --min-density, --shared, and the two above */

/* saeuron_use_sae for --sae and --stats. */
int  place_saes(saeuron_context *x, saeuron_error *err);
/* "A-B", A below B; false: it is something else. */
bool read_window(const char *text, size_t *first, size_t *end);
/* What choice_options and --min-density say; without a name. */
int  read_choice(saeuron_forget_options *f, saeuron_error *err);
/* The first option given that only means something to an SAE's choice: those, and --shared; or NULL. */
const char *choice_given(void);
/* --forget's text, "A,B,C", or NULL. */
const char *forget_asked(void);
/* place_saes, then saeuron_forget for every concept of --forget. */
int  forget_all(saeuron_context *x, saeuron_error *err);
/* A remark where pictures were drawn with so large a growth (saeuron_growth) that there may be none left,
 * with the milder pair that forget.json has. */
void remark_growth(const saeuron_context *x, double growth);

/* ---- values of options ---- */

/* "I/N": part I, from 0, of N. */
int  read_shard(const char *text, size_t *i, size_t *n, saeuron_error *err);
/* folder/name, or folder alone as a file's path; an error when it does not fit. */
int  output_path(char path[1024], const char *folder, const char *name, saeuron_error *err);
bool is_folder(const char *path);           /* it ends in '/' */

#endif
