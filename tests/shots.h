/* shots.h: tests that draw: the tiny model of tiny.h opened, asked to forget, and what a call of
 * saeuron_generate gives.
 *
 *   tiny_make(&files) --opened--> context --must_forget--> --shoot--> shot --same?--> --done: nothing is left
 *
 * Not here: the files themselves (tiny.h), what each suite looks for. */
#ifndef SAEURON_SHOTS_H
#define SAEURON_SHOTS_H

#include "opened.h"

#define MOST 6 /* images of one call */
#define UNET "unet/diffusion_pytorch_model.safetensors"
#define VAE  "vae/diffusion_pytorch_model.safetensors"
#define TEXT "text_encoder/model.safetensors"
#define SCHEDULER "scheduler/scheduler_config.json"
#define STYLES "sae/" TINY_STYLES
#define ROWS (SAE_TOKENS + 6) /* more than the encoder's block of tokens */

extern const char *const prompts[MOST];

/* saeuron_open of the folder must fail, leave nothing behind, and say so. */
void open_fails(const char *what, int wanted, const char *words);

int  try_forget(saeuron_context *x, const char *concept, size_t top, double percentile, saeuron_error *e);
void must_forget(saeuron_context *x, const char *concept, size_t top);

/* What a call draws of prompts, or of o.prompts. */
typedef struct shot { float latents[MOST * TINY_LATENT]; unsigned char rgb[MOST * TINY_PIXELS]; } shot;
int  shoot(saeuron_context *x, saeuron_generate_options o, shot *s, saeuron_error *e);
void must_shoot(saeuron_context *x, saeuron_generate_options o, shot *s);
bool same(const shot *a, const shot *b);

/* The moments [8,8,8] of a made-up picture of 16 x 16 pixels. */
int  made_up_moments(saeuron_context *x, float *moments, saeuron_error *e);

/* ---- the tiny SAEs ---- */

/* Made-up activations. */
void random_input(float *v, size_t n);
/* The SAE in double, by the definition. f [128]: the eight largest of relu(W_enc (x - b_dec) + b_enc), the
 * rest 0. */
typedef struct plain_sae { float we[128][32], be[128], wd[128][32], bd[32]; } plain_sae;
void plain_load(plain_sae *p, const sae *s);
void plain_encode(const plain_sae *p, double f[128], const float *x);
void plain_decode(const plain_sae *p, double y[32], const double f[128], bool bias);
/* An edit_observer that keeps what it hears. */
typedef struct edit_log { edit at[64]; size_t count; } edit_log;
void note_edit(void *user, const edit *e);

/* ---- one picture of a folder that a test has made untidy ---- */

typedef struct picture { float latents[TINY_LATENT]; unsigned char rgb[TINY_PIXELS]; } picture;
bool same_picture(const picture *a, const picture *b);
/* Opens the folder, forgets a style, draws one image; what fails is the test's failure, told with what. */
void draw(const char *what, picture *s);
void draw_with(const char *what, picture *s, const char *sae_hook, const char *sae_dir);
/* Makes the tidy folder and draws its picture; the folder stays, to be made untidy. */
void tidy(picture *s);
/* The folder at hand draws the wanted picture. */
void must_be(const char *what, const picture *wanted);
/* In every tensor's name in l that holds `from`, `to` in its place. */
void rename_part(tiny_list *l, const char *from, const char *to);
/* l under file's name into the folder, and dropped. */
void save(tiny_list *l, const char *file);

#endif
