/* goldens.h: the files that tests/golden/make.py wrote, and how a result is compared with them, declared.
 *
 * A golden's dtype says how it is compared: F64 is the truth, and our distance to it must stay within
 * contract 9's bars around PyTorch's own (NAME.distance); F32 bits, I64 integers and U8 pixels are equal. A
 * golden that no test reads is a failure.
 * Not here: what is computed (test_forward.c, test_clip.c, test_unet.c and so on). */
#ifndef SAEURON_GOLDENS_H
#define SAEURON_GOLDENS_H

#include "context.h"

#define GOLDENS       "tests/golden"
#define GOLDEN_SEED   1
#define GOLDEN_SAMPLE 1500 /* elements of a golden that holds only some of a tensor: make.py */

double  f64_at(const tensor *t, size_t i);
float   f32_at(const tensor *t, size_t i);
int64_t i64_at(const tensor *t, size_t i);

/* PART.safetensors; false is a failure already. Closing finds the goldens that no test read. */
bool golden_open(tensors *g, const char *part);
void golden_close(tensors *g);
/* The golden NAME of this type, marked as read; NULL (a failure) when there is none. */
const tensor *golden(tensors *g, dtype type, const char *name);

/* One float32 ulp of the largest magnitude: what a correctly rounded result may miss by, twice over. */
double ulp_of(double largest);
/* Contract 9: y [count] against the float64 golden NAME and PyTorch's distance to it. */
void check_truth(tensors *g, const char *name, const float *y, size_t count);
/* Bits: y [count] equals the float32 golden NAME. */
void check_bits(tensors *g, const char *name, const float *y, size_t count);

/* configs/NAME.json; its keys' values, or what stands for an absent one. */
json   config_open(io_file *f, const char *name);
double number(json object, const char *key, double absent);
size_t size_at(json object, const char *key);
bool   flag(json object, const char *key);
void   text_at(json object, const char *key, char *out, size_t size);

/* ---- inputs, as make.py draws them ---- */

/* Input NAME, n elements in +-bound; NULL while planning. */
float *input(arena *a, size_t n, float bound, const char *name);
float  unit(void);      /* sqrt(3): +-unit has variance 1 */
/* The same as a map: drawn as [B,C,P], as PyTorch has it, and turned to [B,P,C]. */
float *input_map(arena *a, size_t B, size_t C, size_t P, const char *name);
/* n token ids of a text encoder, drawn as NETWORK.ids; NULL while planning. */
int32_t *input_ids(arena *a, size_t n, size_t vocab, const char *network);
/* Bytes of the hash: make.py's picture. */
void   fill_picture(unsigned char *rgb, size_t n, const char *name);

/* ---- runs ---- */

/* Runs once on an arena without memory, then on as much as that planned: all of which is used (planned), or
 * at most. */
void planned(void (*run)(nn *c, void *user), void *user);
void planned_for(void (*run)(nn *c, void *user), void *user, bool all);

/* A tap that compares each output with the golden NETWORK.NAME. */
typedef struct watcher { tensors *g; const char *network; } watcher;
int  watch(void *user, nn *c, const module_output *o);

/* The SAE of the goldens with its statistics, and its activations: configs/sae.json. */
typedef struct sae_run {
    io_file file;
    json    v;          /* configs/sae.json */
    tensors g;
    ablation a;
    size_t  M;
    size_t  t;          /* the sampling step at hand */
    char    name[64];   /* the golden at hand */
} sae_run;
bool sae_open_goldens(sae_run *r);
/* Finds goldens of this prefix that no test read. */
void sae_close_goldens(sae_run *r, const char *prefix);
/* The activations, [M,d]; NULL while planning. */
float *activations(nn *c, sae_run *r);

/* The trained model. Whether it is the one that the goldens were made with: it may have been trained again
 * since. */
#define MODEL "weights/emojicanvas"
bool same_model(tensors *g);

#endif
