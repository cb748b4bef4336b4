/* shots.c: tests that draw: the tiny model opened, asked to forget, and what a call gives. See shots.h. */
#include "test.h"
#include "shots.h"
#include "arithmetic/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int try_forget(saeuron_context *x, const char *concept, size_t top, double percentile, saeuron_error *e)
{
    const saeuron_forget_options o = { .name = concept, .top = top, .percentile = percentile };
    return saeuron_forget(x, &o, e);
}

void must_forget(saeuron_context *x, const char *concept, size_t top)
{
    saeuron_error e = { 0 };
    CHECK(try_forget(x, concept, top, 0, &e) == SAEURON_OK, "%s", e.text);
}

const char *const prompts[MOST] = {
    "An image of Cats in Sketch style.", "dog", "the sea", "An image of Dogs.", "", "in Van Gogh style"
};

int shoot(saeuron_context *x, saeuron_generate_options o, shot *s, saeuron_error *e)
{
    memset(s, 0, sizeof *s);
    if (!o.prompts)
        o.prompts = prompts;
    o.latents = s->latents;
    return saeuron_generate(x, &o, s->rgb, e);
}

void must_shoot(saeuron_context *x, saeuron_generate_options o, shot *s)
{
    saeuron_error e = { 0 };
    CHECK(shoot(x, o, s, &e) == SAEURON_OK, "%s", e.text);
}

bool same(const shot *a, const shot *b) { return !memcmp(a, b, sizeof *a); }

void open_fails(const char *what, int wanted, const char *words)
{
    saeuron_context *x = (saeuron_context *)(void *)&files;
    saeuron_error e = { 0 };
    const saeuron_host host = tiny_host(&files);
    const int code = saeuron_open(&x, &host, "tiny", &e);
    check_error(what, code, wanted, &e, words);
    CHECK(code == SAEURON_OK || (!x && files.live == 0 && files.mapped == 0),
          "%s: %ld blocks and %ld maps are left", what, files.live, files.mapped);
    if (!code)
        saeuron_close(x);
}

void random_input(float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i] = rng_symmetric(99, 1, i, 2.0f);
}

bool same_picture(const picture *a, const picture *b) { return !memcmp(a, b, sizeof *a); }

void draw_with(const char *what, picture *s, const char *sae_hook, const char *sae_dir)
{
    static const char *const prompt = "An image of Cats in Sketch style.";
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    const saeuron_host host = tiny_host(&files);
    const saeuron_forget_options forget = { .name = "Sketch", .top = 60 };
    const saeuron_generate_options o = {
        .prompts = &prompt, .count = 1, .map_steps = 1, .latents = s->latents
    };
    memset(s, 0, sizeof *s);
    int code = saeuron_open(&x, &host, "tiny", &e);
    if (!code && sae_hook)
        code = saeuron_use_sae(x, sae_hook, sae_dir, NULL, &e);
    if (!code)
        code = saeuron_forget(x, &forget, &e);
    if (!code)
        code = saeuron_generate(x, &o, s->rgb, &e);
    CHECK(!code, "%s: %s", what, e.text);
    saeuron_close(x);
    CHECK(files.live == 0 && files.mapped == 0 && files.torn == 0, "%s: %ld blocks and %ld maps are left",
          what, files.live, files.mapped);
}

void draw(const char *what, picture *s) { draw_with(what, s, NULL, NULL); }

void tidy(picture *s)
{
    tiny_make(&files);
    draw("tidy", s);
}

void must_be(const char *what, const picture *wanted)
{
    picture s;
    draw(what, &s);
    CHECK(same_picture(wanted, &s), "%s changes the picture", what);
}

void rename_part(tiny_list *l, const char *from, const char *to)
{
    size_t found = 0;
    for (size_t i = 0; i < l->count; i++) {
        char rest[160], *at = strstr(l->at[i].name, from);
        if (!at)
            continue;
        snprintf(rest, sizeof rest, "%s", at + strlen(from));
        snprintf(at, sizeof l->at[i].name - (size_t)(at - l->at[i].name), "%s%s", to, rest);
        found++;
    }
    CHECK(found, "no tensor's name holds %s", from);
}

void save(tiny_list *l, const char *file)
{
    tiny_save(&files, file, l, 0, l->count, NULL);
    tiny_drop(l);
}

/* ---- SAEs ---- */

void plain_load(plain_sae *p, const sae *s)
{
    nn_widen(p->we[0], s->encoder.w, 0, 128 * 32);
    nn_widen(p->wd[0], s->W_dec, 0, 128 * 32);
    memcpy(p->be, s->encoder.bias, sizeof p->be);
    memcpy(p->bd, s->b_dec, sizeof p->bd);
}

/* f [128]: the eight largest of relu(W_enc (x - b_dec) + b_enc), the rest 0. */
void plain_encode(const plain_sae *p, double f[128], const float *x)
{
    double z[128];
    for (size_t i = 0; i < 128; i++) {
        z[i] = (double)p->be[i];
        for (size_t j = 0; j < 32; j++)
            z[i] += (double)p->we[i][j] * ((double)x[j] - (double)p->bd[j]);
        z[i] = z[i] > 0 ? z[i] : 0;
    }
    for (size_t i = 0; i < 128; i++) {
        size_t larger = 0;
        for (size_t j = 0; j < 128; j++)
            larger += z[j] > z[i] || (z[j] == z[i] && j < i);
        f[i] = larger < 8 ? z[i] : 0;
    }
}

void plain_decode(const plain_sae *p, double y[32], const double f[128], bool bias)
{
    for (size_t j = 0; j < 32; j++) {
        y[j] = bias ? (double)p->bd[j] : 0;
        for (size_t i = 0; i < 128; i++)
            y[j] += f[i] * (double)p->wd[i][j];
    }
}

void note_edit(void *user, const edit *e)
{
    edit_log *l = user;
    if (l->count < 64)
        l->at[l->count] = *e;
    l->count++;
}

/* The moments [8,8,8] of a made-up picture of 16 x 16 pixels. */
int made_up_moments(saeuron_context *x, float *moments, saeuron_error *e)
{
    unsigned char rgb[TINY_PIXELS];
    for (size_t i = 0; i < TINY_PIXELS; i++)
        rgb[i] = (unsigned char)rng_value(2, 3, i);
    return saeuron_encode_image(x, rgb, 16, 16, moments, e);
}
