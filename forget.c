/* forget.c: from a concept's name, or a hook's, to what is done there: find, load, set to work.
 *
 *   concept --find_concept--> hook, its SAE's folder --usual_choice--> choice --forget--> ctx->hook[]
 *   hook, latent, factor --steer--> ctx->hook[]         hook --reconstruct--> ctx->hook[]
 *
 * Not here: the arithmetic of selection and ablation (select.c), the model's own files (context.c), the
 * public entries (saeuron.c). Files: docs/formats.md. */
#include "forget.h"
#include "files/print.h"

#include <inttypes.h>
#include <string.h>

/* ---- hooks and their folders ---- */

int hook_name(const saeuron_context *ctx, const char *hook, char name[96], saeuron_error *err)
{
    hook = unet_bare_hook(hook);
    if (!unet_hook_width(&ctx->unet, hook, NULL))
        return fail(err, SAEURON_EUSAGE,
                    "there is no hook %.80s in this UNet: hooks are its attentions, as "
                    "up_blocks.1.attentions.2",
                    hook);
    memcpy(name, hook, strlen(hook) + 1); /* short: a name that the UNet has */
    return SAEURON_OK;
}

bool sae_folder(const saeuron_context *ctx, const char *hook, char dir[1024])
{
    static const char *const spelling[] = { "", "unet.", "" }; /* the last counts when neither is there */
    char name[128], all[1024], path[1024];
    for (size_t i = 0; i < 3; i++) {
        print_into(name, sizeof name, "%s%.96s", spelling[i], hook);
        if (!io_join(all, sizeof all, ctx->dir, "sae") || !io_join(dir, 1024, all, name) ||
            !io_join(path, sizeof path, dir, "cfg.json"))
            return false;
        if (io_exists(&ctx->host, path))
            break;
    }
    return true;
}

int use_sae(saeuron_context *ctx, const char *hook, const char *sae_dir, const char *stats_path,
            saeuron_error *err)
{
    char name[96];
    const int code = hook_name(ctx, hook, name, err);
    if (code)
        return code;
    if (ctx->places == PLACES)
        return fail(err, SAEURON_EUSAGE, "too many SAEs named: at most %d", PLACES);
    sae_place *p = io_alloc(&ctx->host, 1, sizeof *p);
    if (!p)
        return fail(err, SAEURON_ENOMEM, "no memory to note an SAE's folder");
    memcpy(p->hook, name, sizeof name);
    bool fits = sae_dir ? strlen(sae_dir) < sizeof p->dir : sae_folder(ctx, name, p->dir);
    if (sae_dir && fits)
        memcpy(p->dir, sae_dir, strlen(sae_dir) + 1);
    if (stats_path && (fits = fits && strlen(stats_path) < sizeof p->stats))
        memcpy(p->stats, stats_path, strlen(stats_path) + 1);
    else if (!stats_path)
        fits = fits && io_join(p->stats, sizeof p->stats, p->dir, "stats.safetensors");
    if (!fits) {
        io_free(&ctx->host, p);
        return fail(err, SAEURON_EUSAGE, "the path of the SAE for %.80s is too long", name);
    }
    ctx->place[ctx->places++] = p;
    return SAEURON_OK;
}

/* Where the SAE of hook is: as use_sae named it last (*named), else in the model's folder. */
static bool find_place(const saeuron_context *ctx, const char *hook, sae_place *at, bool *named)
{
    for (size_t i = ctx->places; i-- > 0;)
        if (!strcmp(ctx->place[i]->hook, hook)) {
            *at = *ctx->place[i];
            *named = true;
            return true;
        }
    *named = false;
    memcpy(at->hook, hook, strlen(hook) + 1);
    return sae_folder(ctx, hook, at->dir) &&
           io_join(at->stats, sizeof at->stats, at->dir, "stats.safetensors");
}

int hook_folder(const saeuron_context *ctx, const char *hook, char dir[1024], saeuron_error *err)
{
    sae_place at;
    char path[1024];
    bool named;
    if (!find_place(ctx, hook, &at, &named))
        return fail(err, SAEURON_EUSAGE, "the path of the SAE for %.80s is too long", hook);
    if (!named && !(io_join(path, sizeof path, at.dir, "cfg.json") && io_exists(&ctx->host, path)))
        return fail(err, SAEURON_ENOENT,
                    "%.300s/: there is no SAE for this hook; name its folder with saeuron_use_sae", at.dir);
    memcpy(dir, at.dir, sizeof at.dir);
    return SAEURON_OK;
}

/* ---- the hook of a concept ---- */

/* Insertions, deletions and changes between two names of up to 63 letters, case ignored. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b) < 63 ? strlen(b) : 63;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i] && i < 63; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            const size_t same = corner + ((a[i] | 32) != (b[j] | 32));
            const size_t side = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            corner = row[j + 1];
            row[j + 1] = same < side ? same : side;
        }
    }
    return row[n];
}

/* The name that comes nearest to the one asked for. */
typedef struct nearest { char name[96]; size_t distance; } nearest;

/* Whether the statistics of one hook know the concept, by their tensors' names: no value is read. */
static int look_at_hook(const saeuron_context *ctx, const char *hook, const char *concept, sae_place *at,
                        bool *knows, nearest *near, saeuron_error *err)
{
    tensors t;
    bool    named;
    *knows = false;
    if (!find_place(ctx, hook, at, &named) || (!named && !io_exists(&ctx->host, at->stats)))
        return SAEURON_OK; /* a hook without statistics; but a file that use_sae named must be there */
    const int code = tensors_open(&t, &ctx->host, at->stats, err);
    if (code)
        return code;
    *knows = tensors_find(&t, concept) != NULL;
    for (size_t i = 0; i < t.count; i++) {
        const size_t d = distance(concept, t.list[i].name);
        if (d < near->distance) {
            near->distance = d;
            print_into(near->name, sizeof near->name, "%.90s", t.list[i].name);
        }
    }
    tensors_close(&t);
    return SAEURON_OK;
}

bool hook_of_domain(const saeuron_context *ctx, json domain, char hook[96])
{
    json v;
    char text[96];
    return json_get(domain, "hook", &v) && json_string(v, text, sizeof text, NULL) &&
           hook_name(ctx, text, hook, NULL) == SAEURON_OK;
}

bool domain_hook(const saeuron_context *ctx, const char *domain, char hook[96])
{
    json domains, one;
    return json_get(ctx->concepts, "domains", &domains) && json_get(domains, domain, &one) &&
           hook_of_domain(ctx, one, hook);
}

/* Whether a domain of concepts.json with this hook lists the concept. */
static bool listed_at(const saeuron_context *ctx, const char *hook, const char *concept)
{
    json domains, domain, concepts, one;
    char own[96];
    if (!json_get(ctx->concepts, "domains", &domains))
        return false;
    for (json_iter d = json_begin(domains); json_next(&d, NULL, &domain);)
        if (hook_of_domain(ctx, domain, own) && !strcmp(own, hook) && json_get(domain, "concepts", &concepts))
            for (json_iter c = json_begin(concepts); json_next(&c, NULL, &one);)
                if (json_equals(one, concept))
                    return true;
    return false;
}

/* How much speaks for a hook whose statistics know the concept. */
static int claim(const saeuron_context *ctx, const char *hook, const char *concept)
{
    for (size_t i = 0; i < ctx->places; i++)
        if (!strcmp(ctx->place[i]->hook, hook))
            return 3;
    return listed_at(ctx, hook, concept) ? 2 : 1;
}

/* The hook named, or all in the UNet's order: of those that know the concept the one with the best claim. */
int find_concept(const saeuron_context *ctx, const char *concept, const char *only, sae_place *at,
                 saeuron_error *err)
{
    nearest near = { .distance = SIZE_MAX };
    char hook[96], named[96] = "", rival[96] = "";
    int  best = 0, code = only ? hook_name(ctx, only, named, err) : SAEURON_OK;
    for (size_t i = 0; !code && unet_hook_name(&ctx->unet, i, hook, sizeof hook); i++) {
        sae_place here;
        bool knows = false;
        if (only && strcmp(hook, named))
            continue;
        code = look_at_hook(ctx, hook, concept, &here, &knows, &near, err);
        const int own = !code && knows ? claim(ctx, hook, concept) : 0;
        if (own > best)
            *at = here;
        if (own && own >= best)
            print_into(rival, sizeof rival, "%s", own > best ? "" : hook);
        best = own > best ? own : best;
    }
    if (code)
        return code;
    if (*rival)
        return fail(err, SAEURON_EUSAGE, "concept %.80s is in the statistics of %s and of %s: say which in "
                    "saeuron_forget_options.hook", concept, at->hook, rival);
    if (best)
        return SAEURON_OK;
    if (near.distance == SIZE_MAX)
        return fail(err, SAEURON_ENOENT,
                    "%.200s/sae/: no hook has statistics here, so nothing can be forgotten; name an SAE with "
                    "saeuron_use_sae",
                    ctx->dir);
    return fail(err, SAEURON_EUSAGE, "concept %.80s is in no statistics of this model; did you mean %s?",
                concept, near.name);
}

/* ---- loading ---- */

int hook_sae(const saeuron_context *ctx, const char *hook, const char *dir, sae *s, saeuron_error *err)
{
    const size_t width = unet_hook_width(&ctx->unet, hook, NULL);
    nn  c;
    int code;
    nn_init(&c, ctx->host.isa, ctx->threads, NULL);
    code = sae_load(s, &ctx->host, ctx->unet.conv_in.w.packed ? &c : NULL, dir, err);
    if (!code && s->d != width)
        code = fail(err, SAEURON_EFORMAT,
                    "%s: the SAE is %zu wide, the activation at %s is %zu: it was trained for another model "
                    "or hook",
                    s->file.path, s->d, hook, width);
    if (!code && s->diff)
        code = fail(err, SAEURON_EFORMAT,
                    "%.300s/cfg.json: \"diff\" is true: this SAE knows the hook's output less its input, and "
                    "%s has the output: train one on activations collected without diff", dir, hook);
    return code;
}

static void unload(saeuron_context *ctx, ablation *a)
{
    ablation_free(a, &ctx->host);
    io_free(&ctx->host, a);
}

/* The ablation at a hook; its SAE is loaded from dir unless it is loaded already. */
static int load_sae(saeuron_context *ctx, const char *hook, const char *dir, ablation **out,
                    saeuron_error *err)
{
    ablation *a;
    int code;
    for (size_t i = 0; i < ctx->hooks; i++)
        if (!strcmp(ctx->hook[i]->hook, hook)) {
            *out = ctx->hook[i];
            return SAEURON_OK;
        }
    if (!(a = io_alloc(&ctx->host, 1, sizeof *a)))
        return fail(err, SAEURON_ENOMEM, "no memory for the SAE of %s", hook);
    memset(a, 0, sizeof *a);
    memcpy(a->hook, hook, strlen(hook) + 1);
    code = hook_sae(ctx, hook, dir, &a->sae, err);
    if (code) {
        unload(ctx, a);
        return code;
    }
    ctx->hook[ctx->hooks++] = *out = a;
    return SAEURON_OK;
}

/* The statistics of a hook, unless they are loaded already; they must be of its SAE. */
static int load_stats(saeuron_context *ctx, ablation *a, const char *path, saeuron_error *err)
{
    stats *s = &a->stats;
    char digest[24];
    int  code;
    if (s->steps)
        return SAEURON_OK;
    code = stats_load(s, &ctx->host, path, err);
    if (!code && s->n != a->sae.n)
        code = fail(err, SAEURON_EFORMAT,
                    "%s: statistics of %zu latents for an SAE of %zu: make them again with this SAE",
                    s->file.path, s->n, a->sae.n);
    print_into(digest, sizeof digest, "%016" PRIx64, a->sae.digest);
    if (!code && s->sae[0] && strcmp(s->sae, digest))
        code = fail(err, SAEURON_EFORMAT,
                    "%s: made with an SAE of digest %s, but the one beside it has %s: make them again",
                    s->file.path, s->sae, digest);
    if (!code && s->hook[0] && strcmp(unet_bare_hook(s->hook), a->hook))
        code = fail(err, SAEURON_EFORMAT, "%s: its metadata says hook %.80s, but it lies at %s", s->file.path,
                    s->hook, a->hook);
    if (code)
        stats_unload(s, &ctx->host);
    return code;
}

/* density.safetensors beside the statistics of a hook, unless it is loaded already. */
static int load_density(saeuron_context *ctx, ablation *a, const char *stats_path, saeuron_error *err)
{
    char path[1024];
    if (print_into(path, sizeof path, "%.*sdensity.safetensors", (int)io_folder(stats_path), stats_path)
        >= sizeof path)
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", stats_path);
    if (a->stats.density.file_count)
        return SAEURON_OK;
    if (!io_exists(&ctx->host, path))
        return fail(err, SAEURON_ENOENT,
                    "%s: there is no such file, which min_density reads: make it with the statistics", path);
    return stats_load_density(&a->stats, &ctx->host, path, err);
}

void unload_idle(saeuron_context *ctx)
{
    size_t kept = 0;
    for (size_t i = 0; i < ctx->hooks; i++)
        if (ablation_active(ctx->hook[i]))
            ctx->hook[kept++] = ctx->hook[i];
        else
            unload(ctx, ctx->hook[i]);
    ctx->hooks = kept;
}

void rest_hooks(saeuron_context *ctx)
{
    for (size_t i = 0; i < ctx->hooks; i++)
        ablation_rest(ctx->hook[i], &ctx->host);
}

void unload_hooks(saeuron_context *ctx)
{
    rest_hooks(ctx);
    unload_idle(ctx);
}

/* ---- set to work ---- */

#define STRENGTH_MAX 1e6
#define LIFT_MAX     1e6

/* A number from low to high. */
static double read_range(config *c, const char *key, double absent, double low, double high)
{
    const double x = config_double(c, key, absent);
    if (!c->code && !(x >= low && x <= high))
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" must be from %g to %g", c->path, key, low,
                       high);
    return x;
}

/* "window": [first, end]: steps, of which there is one at least. */
static void read_window(config *c, choice *how)
{
    int64_t both[2] = { 0, 0 };
    json    list, v;
    size_t  n = 0;
    if (c->code || !config_has(c, "window") || !json_get(c->object, "window", &list))
        return;
    for (json_iter it = json_begin(list); json_next(&it, NULL, &v); n++)
        if (n >= 2 || !json_integer(v, &both[n]))
            n = 2;
    if (json_kind(list) != '[' || n != 2 || both[0] < 0 || both[0] >= both[1] || both[1] > 1000)
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"window\" must be two steps, the first and the one "
                       "after the last, as [0, 20]", c->path);
    how->first = (size_t)both[0];
    how->end = (size_t)both[1];
}

/* "half": "both", "conditional" or "unconditional". */
static void read_half(config *c, choice *how)
{
    char text[16];
    config_string(c, "half", half_name[SAEURON_HALF_BOTH], text, sizeof text);
    for (how->half = 0; how->half < HALVES && strcmp(text, half_name[how->half]);)
        how->half++;
    if (!c->code && how->half == HALVES)
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"half\" must be both, conditional or unconditional",
                       c->path);
}

/* forget.json: {CONCEPT: {"top": K | "percentile": P, "min_lift": R, "window": [A, B], "half": H,
 * "strength": G}}. */
int usual_choice(const saeuron_context *ctx, const sae_place *at, const char *concept, choice *how,
                 saeuron_error *err)
{
    static const char *const read[] = { "top", "percentile", "min_lift", "strength", "window",
                                        "half", NULL };
    char    path[1024], where[1200];
    io_file f;
    json    object, entry;
    int     code;
    *how = (choice){ .top = 0, .percentile = 99.999, .strength = -1 };
    if (!io_join(path, sizeof path, at->dir, "forget.json") || !io_exists(&ctx->host, path))
        return SAEURON_OK;
    if ((code = open_config(&f, &object, &ctx->host, at->dir, "forget.json", err)) != SAEURON_OK)
        return code;
    if (json_get(object, concept, &entry)) {
        config c = { .object = entry, .path = where, .err = err };
        print_into(where, sizeof where, "%s: %.80s", f.path, concept);
        if (json_kind(entry) != '{')
            c.code = fail(err, SAEURON_EFORMAT,
                          "%s: the entry is no object {\"top\" or \"percentile\", \"strength\"}", where);
        config_known(&c, read, NULL);
        if (!c.code && config_has(&c, "top") && config_has(&c, "percentile"))
            c.code = fail(err, SAEURON_EFORMAT, "%s: \"top\" and \"percentile\" exclude each other: keep one",
                          where);
        how->top = config_size(&c, "top", 0, 1, 1u << 26);
        how->percentile = read_range(&c, "percentile", how->percentile, 0, 100);
        how->min_lift = read_range(&c, "min_lift", 0, 0, LIFT_MAX);
        how->strength = (float)read_range(&c, "strength", (double)how->strength, -STRENGTH_MAX, STRENGTH_MAX);
        read_window(&c, how);
        read_half(&c, how);
        code = c.code;
    }
    io_close(&f);
    return code;
}

static int check_choice(const choice *how, saeuron_error *err)
{
    if (!how->top && !(how->percentile >= 0 && how->percentile <= 100))
        return fail(err, SAEURON_EUSAGE, "percentile must be from 0 to 100");
    if (!((double)how->strength >= -STRENGTH_MAX && (double)how->strength <= STRENGTH_MAX))
        return fail(err, SAEURON_EUSAGE, "strength must be a number from %g to %g", -STRENGTH_MAX,
                    STRENGTH_MAX);
    if (!(how->min_density >= 0 && how->min_density <= 1))
        return fail(err, SAEURON_EUSAGE, "min_density must be from 0 to 1: a share of tokens");
    if (!(how->min_lift >= 0 && how->min_lift <= LIFT_MAX))
        return fail(err, SAEURON_EUSAGE, "min_lift must be from 0 to %g: a multiple of the mean", LIFT_MAX);
    if (how->end && how->first >= how->end)
        return fail(err, SAEURON_EUSAGE, "the window must hold a step: its first is %zu, its end %zu",
                    how->first, how->end);
    if (how->half < 0 || how->half >= HALVES)
        return fail(err, SAEURON_EUSAGE, "half must be both, conditional or unconditional");
    return SAEURON_OK;
}

int forget(saeuron_context *ctx, const sae_place *at, const char *concept, choice how, saeuron_error *err)
{
    ablation *a = NULL;
    int code = check_choice(&how, err);
    if (!code)
        code = load_sae(ctx, at->hook, at->dir, &a, err);
    if (!code)
        code = load_stats(ctx, a, at->stats, err);
    if (!code && how.min_density > 0)
        code = load_density(ctx, a, at->stats, err);
    return code ? code : ablation_forget(a, &ctx->host, concept, how, err);
}

/* The ablation of a hook that the caller named, its SAE loaded. */
static int open_hook(saeuron_context *ctx, const char *hook, ablation **a, saeuron_error *err)
{
    char name[96], dir[1024];
    int  code;
    if ((code = hook_name(ctx, hook, name, err)) != SAEURON_OK ||
        (code = hook_folder(ctx, name, dir, err)) != SAEURON_OK)
        return code;
    return load_sae(ctx, name, dir, a, err);
}

int steer(saeuron_context *ctx, const char *hook, size_t latent, double factor, saeuron_error *err)
{
    ablation *a = NULL;
    const int code = open_hook(ctx, hook, &a, err);
    return code ? code : ablation_steer(a, latent, factor, err);
}

int reconstruct(saeuron_context *ctx, const char *hook, saeuron_error *err)
{
    ablation *a = NULL;
    const int code = open_hook(ctx, hook, &a, err);
    return code ? code : ablation_reconstruct(a, err);
}
