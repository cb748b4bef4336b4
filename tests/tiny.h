/* tiny.h: a whole diffusers folder small enough to run in a millisecond a step, made in memory.
 *
 *   the networks' own walks --names, shapes--> hash-filled values --tiny_save--> files in a table
 *   files in a table --tiny_host--> saeuron_open, or --tiny_write--> a folder on the disk
 *
 * Every weight is a multiple of 1/256 (1/128 above 1), so F32, F16 and BF16 hold the same values. UNet 16 and
 * 32 wide, attention at the lower level only, latents [4,8,8], images 16 x 16; text encoder 16 wide, 16
 * tokens; two SAEs 32 -> 128, k 8: styles at TINY_STYLES, objects at TINY_OBJECTS; statistics of TINY_STEPS
 * steps. */
#ifndef SAEURON_TINY_H
#define SAEURON_TINY_H

#include "context.h"

#define TINY_STYLES  "up_blocks.0.attentions.2" /* Sketch, Van Gogh, Watercolor */
#define TINY_OBJECTS "up_blocks.0.attentions.1" /* Cats, Dogs, Sea */
#define TINY_STEPS   4
#define TINY_LATENT  256        /* values of one image's latents, [4,8,8] */
#define TINY_PIXELS  (16 * 16 * 3)

typedef struct tiny_file { char path[160]; unsigned char *bytes; size_t size; } tiny_file;

/* The folder "tiny/..." as a table of files, and what a host counts while it serves them. */
typedef struct tiny {
    tiny_file file[48];
    size_t count;
    long   mapped;                  /* maps not given back */
    /* calls of alloc; those not freed; the call that gets NULL (from 1; 0: none) */
    long   allocs, live, fail_at;
    long   torn;                    /* blocks whose surroundings were written to */
    size_t largest, touched;        /* the largest block freed so far, and up to where it was written */
    long   progressed, cancel_at;   /* calls of progress; the call that stops (from 1; 0: none) */
} tiny;

void tiny_make(tiny *t);
void tiny_free(tiny *t);
tiny_file *tiny_find(tiny *t, const char *name);            /* "unet/config.json"; NULL when absent */
/* adds or replaces; bytes NULL removes */
void tiny_set(tiny *t, const char *name, const void *bytes, size_t size);
void tiny_text(tiny *t, const char *name, const char *text);
/* the first `from` in it; fails the test when absent */
void tiny_edit(tiny *t, const char *name, const char *from, const char *to);
/* A host that has these files and no others, whose memory counts and is surrounded by canaries. */
saeuron_host tiny_host(tiny *t);
/* Adds FOLDER/config.json and FOLDER/model.safetensors: a ViT that looks at 12 x 12 pixels, 16 wide, its
 * outputs named. */
#define TINY_CLASSES 5              /* of tiny_tensors(.., "classifier") */
void tiny_add_classifier(tiny *t, const char *folder, size_t classes, const char *const *names);
/* Adds both classifiers, and their classes to concepts.json: Seed_Images and three styles, three objects. */
void tiny_add_judges(tiny *t);
/* Puts statistics of these concepts beside the SAE of hook. */
void tiny_add_statistics(tiny *t, const char *hook, const char *const concept[3]);
/* The whole table as files below dir ("DIR/unet/config.json"). */
void tiny_write(const tiny *t, const char *dir);

/* ---- tensors to alter before they go into a file ---- */

typedef struct tiny_tensor {
    char name[160];
    dtype type;
    int ndim;
    size_t shape[4], count;
    float *values;
} tiny_tensor;
typedef struct tiny_list { tiny_tensor at[512]; size_t count; } tiny_list;

/* The tensors of "unet", "vae", "text_encoder", "classifier" or "sae" as the networks' walks name them. To be
 * freed with tiny_drop. */
void tiny_tensors(tiny_list *l, const char *network);
void tiny_drop(tiny_list *l);
tiny_tensor *tiny_tensor_named(tiny_list *l, const char *name);     /* fails the test when absent */
/* zeros */
tiny_tensor *tiny_tensor_add(tiny_list *l, const char *name, dtype type, int ndim, const size_t *shape);
/* A .safetensors file of l's tensors first..last-1 into t; metadata is the JSON object of strings, or
 * NULL. */
void tiny_save(tiny *t, const char *name, const tiny_list *l, size_t first, size_t last,
               const char *metadata);

#endif
