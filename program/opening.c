/* opening.c: the options that several commands take alike, and the library's arguments made of them.
 *
 *   --model, --steps, --forget, ... --> variables here --> saeuron_open, saeuron_generate, saeuron_forget
 *
 * Not here: the options of one command (command_*.c). */
#include "program/opening.h"
#include "context.h"
#include "evaluation/picture.h"
#include "files/decimal.h"
#include "files/npy.h"
#include "forget.h"
#include "program/messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the machine and the model ---- */

/* Where `make install` puts the small model: the Makefile says it, from PREFIX. */
#ifndef SAEURON_SHARE
#define SAEURON_SHARE "/usr/local/share/saeuron"
#endif
#define MODEL_HERE "weights/emojicanvas"
#define MODEL_INSTALLED SAEURON_SHARE "/emojicanvas"
#define PACK ((size_t)256 << 20) /* bytes that a small model's weights may take once more, for speed */

static size_t threads;
static const char *isa, *model, *architecture;

const option machine_options[] = {
    { "--threads", "N", "threads (default: all cores); no bit depends on them", .count = &threads },
    { "--isa", "NAME", "kernels to use (default: SAEURON_ISA, else the best here)", .text = &isa },
    { 0 },
};

const option model_options[] = {
    { "--model", "DIR", "a diffusers pipeline folder (default: SAEURON_MODEL, else " MODEL_HERE ", else "
                        MODEL_INSTALLED ")", .brief = "-m", .text = &model },
    { .group = machine_options }, { 0 },
};

const option synthetic_options[] = {
    { "--synthetic", "sd15", "instead of a folder: Stable Diffusion 1.5's architecture, filled by a hash, "
                             "2.2 GB of memory", .text = &architecture },
    { 0 },
};

static const char *unless_empty(const char *text) { return text && *text ? text : NULL; }

static const char *kernels(void) { return isa ? isa : unless_empty(getenv("SAEURON_ISA")); }

void machine(int *n, const char **use)
{
    *n = !threads ? os_cores() : threads > 1024 ? 1024 : (int)threads;
    *use = kernels();
}

/* What --model or SAEURON_MODEL names, else the first place where a model is; NULL: there is none. */
static const char *find_model(void)
{
    static const char *const places[] = { MODEL_HERE, MODEL_INSTALLED };
    const char *named = model ? model : unless_empty(getenv("SAEURON_MODEL"));
    char path[1024];
    for (size_t i = 0; !named && i < sizeof places / sizeof *places; i++)
        if (io_join(path, sizeof path, places[i], "scheduler/scheduler_config.json") && io_exists(NULL, path))
            named = places[i];
    return named;
}

int open_model(saeuron_context **x, const char *folder, saeuron_error *err)
{
    const saeuron_host host = { .progress = show_progress, .threads = threads > 1024 ? 1024 : (int)threads,
                                .isa = kernels(), .pack = PACK };
    expect(1, 0, 1);
    if (!folder && architecture)
        return saeuron_open_synthetic(x, &host, architecture, err);
    if (!folder && !(folder = find_model()))
        return fail(err, SAEURON_ENOENT, "there is no model at %s nor at %s: name a diffusers folder with "
                                         "--model DIR or in SAEURON_MODEL", MODEL_HERE, MODEL_INSTALLED);
    return saeuron_open(x, &host, folder, err);
}

/* ---- sampling ---- */

static saeuron_generate_options asked; /* as far as the options below are its fields */
static const char *noise_path;
static bool map_steps;

const option size_options[] = {
    { "--steps", "T", "sampling steps (default: the model's)", .count = &asked.steps },
    { "--height", "PIXELS", "of an image (default: the model's)", .count = &asked.height },
    { "--width", "PIXELS", "of an image (default: the model's)", .count = &asked.width },
    { 0 },
};

const option sampling_options[] = {
    { "--negative", "TEXT", "what to steer away from (default: nothing)", .brief = "-n",
      .text = &asked.negative_prompt },
    { "--cfg", "G", "classifier-free guidance (default: the model's); at most 1: none",
      .real = &asked.guidance },
    { .group = size_options }, { 0 },
};

const option batch_options[] = {
    { "--batch", "N", "images at a time: speed and memory change, no bit does", .count = &asked.batch },
    { 0 },
};

const option start_options[] = {
    { "--seed", "S", "the seed of torch.randn (default 0)", .whole = &asked.seed },
    { "--noise-index", "J", "place of the first image in the seed's stream (default 0)",
      .whole = &asked.noise_index },
    { "--noise", "FILE.npy", "start from this noise [B,4,h,w] instead of the seed", .text = &noise_path },
    { 0 },
};

saeuron_generate_options sampling(void)
{
    saeuron_generate_options g = asked;
    g.has_guidance = given("--cfg");
    g.map_steps = map_steps;
    return g;
}

int read_noise(saeuron_generate_options *g, const saeuron_context *x, float **noise, saeuron_error *err)
{
    size_t shape[TENSOR_DIMS], want[4] = { g->count, x->unet.in_channels }, width, height;
    int    ndim, code;
    if (!noise_path)
        return SAEURON_OK;
    if ((code = saeuron_image_size(x, g, &width, &height, err)) != SAEURON_OK ||
        (code = npy_load(&x->host, noise_path, noise, shape, &ndim, err)) != SAEURON_OK)
        return code;
    want[2] = height >> (x->vae.levels - 1);
    want[3] = width >> (x->vae.levels - 1);
    if (ndim != 4 || memcmp(shape, want, sizeof want))
        return fail(err, SAEURON_EFORMAT, "%s: the noise must have shape [%zu, %zu, %zu, %zu]", noise_path,
                    want[0], want[1], want[2], want[3]);
    g->noise = *noise;
    return SAEURON_OK;
}

/* Cuts text [size] into lines, each of which must be a prompt; a byte-order mark is none, nor is a carriage
 * return at the end of a line. */
static int split_lines(prompt_lines *p, size_t size, const char *path, saeuron_error *err)
{
    char *const end = p->text + size;
    char   name[1100];
    saeuron_error why;
    size_t number = 1;
    for (char *at = p->text + (strncmp(p->text, "\xEF\xBB\xBF", 3) ? 0 : 3); at < end; number++) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        snprintf(name, sizeof name, "%s: line %zu", path, number);
        if (memchr(at, 0, (size_t)(stop - at)))
            return fail(err, SAEURON_EFORMAT, "%s has a NUL byte: save the file as UTF-8 text", name);
        *stop = 0;
        if (stop > at && stop[-1] == '\r')
            stop[-1] = 0;
        if (tokenizer_check(at, name, &why))
            return fail(err, SAEURON_EFORMAT, "%s", why.text);
        if (*at)
            p->line[p->count++] = at;
        at = stop + 1;
    }
    if (!p->count)
        return fail(err, SAEURON_EFORMAT, "%s: there is no prompt in it: write one a line", path);
    return SAEURON_OK;
}

int read_prompts(prompt_lines *p, const char *path, const saeuron_host *host, saeuron_error *err)
{
    io_file f;
    int     code = io_open(&f, host, path, err);
    size_t  lines = 1;
    if (code)
        return code;
    for (size_t i = 0; i < f.size; i++)
        lines += f.data[i] == '\n';
    p->text = io_alloc(host, f.size + 1, 1);
    p->line = io_alloc(host, lines, sizeof *p->line);
    if (!p->text || !p->line) {
        code = fail(err, SAEURON_ENOMEM, "%s: no memory for its prompts", path);
    } else {
        memcpy(p->text, f.data, f.size);
        p->text[f.size] = 0;
        code = split_lines(p, f.size, path, err);
    }
    io_close(&f);
    return code;
}

void free_prompts(prompt_lines *p, const saeuron_host *host)
{
    io_free(host, p->line);
    io_free(host, p->text);
}

void remark_if_cut(const saeuron_context *x, const char *prompt)
{
    const size_t length = saeuron_text_length(x);
    size_t   cut = 0;
    int32_t *ids = io_alloc(&x->host, length, sizeof *ids);
    if (ids && !saeuron_tokenize(x, prompt, ids, NULL, &cut, NULL) && cut)
        remark("the prompt is %zu tokens longer than the text encoder's %zu: its end is cut off",
               cut, length);
    io_free(&x->host, ids);
}

/* ---- SAEs, and what is forgotten ---- */

static list saes, statistics;
static const char *concepts;
static saeuron_forget_options choice_asked;
static const char *window;

const option sae_options[] = {
    { "--sae", "HOOK=DIR", "the SAE of a hook, when not in MODEL/sae/HOOK", .list = &saes },
    { 0 },
};

const option edit_options[] = {
    { "--residual", "paper|released|none", "how the SAE's error returns (docs/audit.md A1; default paper)",
      .choice = &asked.residual },
    { "--map-steps", NULL, "statistics of another number of steps: take the nearest timestep's",
      .flag = &map_steps },
    { .group = sae_options },
    { "--stats", "FILE", "statistics, when not beside their SAE", .list = &statistics },
    { 0 },
};

const option choice_options[] = {
    { "--top", "K", "ablate the K best-scored latents of each step", .count = &choice_asked.top },
    { "--percentile", "P", "instead: those scored above this percentile", .real = &choice_asked.percentile },
    { "--strength", "G", "multiply them by G times their mean (default, with none of these three: the choice "
                         "kept beside the SAE)", .real = &choice_asked.strength },
    { "--min-lift", "R", "of latents whose mean on the concept is R times their mean over all concepts at "
                         "least", .real = &choice_asked.min_lift },
    { "--window", "A-B", "only at steps A (from 0) to B - 1 of the statistics", .text = &window },
    { "--half", "both|conditional|unconditional", "only in this half of the guided batch (docs/audit.md A10)",
      .choice = &choice_asked.half },
    { 0 },
};

const option forget_options[] = {
    { "--forget", "A[,B...]", "concepts to unlearn, styles and objects alike; HOOK:A where two hooks know A",
      .text = &concepts },
    { .group = choice_options },
    { "--min-density", "SHARE", "select latents that fire at this share of the concept's tokens at least "
                                "(docs/audit.md A3)", .real = &choice_asked.min_density },
    { "--shared", "largest|released", "which of several concepts edits a latent that they share "
                                      "(docs/audit.md A5; default largest)", .choice = &asked.shared },
    { .group = edit_options }, { 0 },
};

/* --sae HOOK=DIR. */
static int place_sae(saeuron_context *x, const char *text, saeuron_error *err)
{
    char hook[96];
    const char  *equals = strchr(text, '=');
    const size_t n = equals ? (size_t)(equals - text) : sizeof hook;
    if (n >= sizeof hook)
        return fail(err, SAEURON_EUSAGE, "--sae wants HOOK=DIR, as up_blocks.1.attentions.2=my-sae");
    snprintf(hook, sizeof hook, "%.*s", (int)n, text);
    return saeuron_use_sae(x, hook, equals + 1, NULL, err);
}

/* --stats FILE, whose metadata names its hook; the SAE stays where it was. */
static int place_statistics(saeuron_context *x, const char *path, saeuron_error *err)
{
    stats s;
    char  hook[96];
    const char *dir = NULL;
    const int code = stats_load(&s, &x->host, path, err);
    if (code)
        return code;
    memcpy(hook, s.hook, sizeof hook);
    if (!strncmp(hook, "unet.", 5))
        memmove(hook, hook + 5, strlen(hook + 5) + 1);
    stats_unload(&s, &x->host);
    if (!unet_hook_width(&x->unet, hook, NULL))
        return fail(err, SAEURON_EFORMAT, "%s: its metadata names %s%s: which hook is it for?", path,
                    *hook ? "no hook of this UNet, but " : "no hook", hook);
    for (size_t i = 0; i < x->places; i++)
        if (!strcmp(x->place[i]->hook, hook))
            dir = x->place[i]->dir;
    return saeuron_use_sae(x, hook, dir, path, err);
}

int place_saes(saeuron_context *x, saeuron_error *err)
{
    int code = SAEURON_OK;
    for (size_t i = 0; !code && i < saes.count; i++)
        code = place_sae(x, saes.item[i], err);
    for (size_t i = 0; !code && i < statistics.count; i++)
        code = place_statistics(x, statistics.item[i], err);
    return code;
}

bool read_window(const char *text, size_t *first, size_t *end)
{
    uint64_t a, b;
    if (!io_parse_pair(text, '-', &a, &b) || a >= b || b > 1000)
        return false;
    *first = (size_t)a;
    *end = (size_t)b;
    return true;
}

int read_choice(saeuron_forget_options *f, saeuron_error *err)
{
    *f = choice_asked;
    f->has_window = window != NULL;
    if (window && !read_window(window, &f->first_step, &f->end_step))
        return fail(err, SAEURON_EUSAGE, "--window wants A-B, steps from 0 with A below B, as 0-20; not "
                    "\"%.40s\"", window);
    if (given("--min-lift") && !(f->min_lift > 0))
        return fail(err, SAEURON_EUSAGE, "--min-lift must be above 0; for latents of any lift leave it out "
                    "and give --top or --percentile");
    f->has_strength = given("--strength");
    f->has_half = given("--half");
    if (given("--percentile") && f->top)
        return fail(err, SAEURON_EUSAGE, "--top and --percentile exclude each other");
    if (given("--percentile") && !(f->percentile > 0 && f->percentile <= 100))
        return fail(err, SAEURON_EUSAGE, "--percentile must be above 0 and at most 100");
    return SAEURON_OK;
}

/* "HOOK:NAME", as --steer has it, or a name that may hold a colon itself. */
static void split_hook(saeuron_forget_options *f, const saeuron_context *x, char *text)
{
    char *colon = strchr(text, ':');
    f->hook = NULL;
    f->name = text;
    if (!colon)
        return;
    *colon = 0;
    if (unet_hook_width(&x->unet, unet_bare_hook(text), NULL)) {
        f->hook = text;
        f->name = colon + 1;
    } else {
        *colon = ':';
    }
}

const char *choice_given(void)
{
    static const char *const names[] = { "--top", "--percentile", "--strength", "--min-lift", "--window",
                                         "--half", "--min-density", "--shared", NULL };
    return first_given(names);
}

const char *forget_asked(void) { return concepts; }

int forget_all(saeuron_context *x, saeuron_error *err)
{
    saeuron_forget_options f;
    char name[192];
    int  code = place_saes(x, err);
    if (!code)
        code = read_choice(&f, err);
    if (!code && !concepts && choice_given())
        code = fail(err, SAEURON_EUSAGE, "%s does nothing without --forget", choice_given());
    if (!code && concepts && !*concepts)
        code = fail(err, SAEURON_EUSAGE, "--forget names no concept");
    for (const char *p = concepts; !code && p && *p;) {
        const size_t n = strcspn(p, ",");
        if (n >= sizeof name)
            return fail(err, SAEURON_EUSAGE, "--forget: %.40s... is no concept", p);
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        split_hook(&f, x, name);
        code = saeuron_forget(x, &f, err);
        p += n + (p[n] == ',');
    }
    return code;
}

#define GROWN 1.5 /* growth from which on forgetting is remarked on (docs/results.md, How far an edit goes) */

/* "; forget.json has NAME top 1 strength -0.05", where that is milder than what is done; else "". */
static void tell_milder(char out[320], const saeuron_context *x, const char *hook, const selection *done)
{
    sae_place at;
    choice usual;
    char how[192];
    *out = 0;
    if (find_concept(x, done->concept, hook, &at, NULL) ||
        usual_choice(x, &at, done->concept, &usual, NULL) ||
        usual.strength * usual.strength >= done->how.strength * done->how.strength)
        return;
    describe_choice(how, &usual);
    snprintf(out, 320, "; forget.json has %s %s", done->concept, how);
}

void remark_growth(const saeuron_context *x, double growth)
{
    char milder[320] = "";
    if (growth <= GROWN)
        return;
    for (size_t i = 0; i < x->hooks && !*milder; i++)
        for (size_t j = 0; j < x->hook[i]->count && !*milder; j++)
            tell_milder(milder, x, x->hook[i]->hook, &x->hook[i]->forget[j]);
    remark("forgetting makes activations up to %.1f times as long as any before it, such as the SAE never "
           "saw: there may be no picture left; a weaker --strength keeps more%s", growth, milder);
}

/* ---- values of options ---- */

int read_shard(const char *text, size_t *i, size_t *n, saeuron_error *err)
{
    return io_parse_part(text, i, n) ? SAEURON_OK
         : fail(err, SAEURON_EUSAGE, "--shard wants I/N with I from 0 to N-1, as 0/4; not \"%.40s\"", text);
}

bool is_folder(const char *path)
{
    return *path && !path[io_folder(path)];
}

int output_path(char path[1024], const char *folder, const char *name, saeuron_error *err)
{
    if (name ? io_join(path, 1024, folder, name) : (size_t)snprintf(path, 1024, "%s", folder) < 1024)
        return SAEURON_OK;
    return fail(err, SAEURON_EUSAGE, "--out: the path is too long");
}
