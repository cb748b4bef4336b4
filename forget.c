/* forget.c: from a concept's name to what is done at a hook: SAE and statistics found, loaded, and set to work.
 *
 *   concept --find_hook--> hook, its SAE's folder --load_sae, load_stats, forget.json--> ablation (select.c) --> saeuron.c
 *
 * Not here: the arithmetic of selection and ablation (select.c), the model's own files (context.c). */
#include "forget.h"
#include "arithmetic/nn.h"

#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- forgetting ---- */

static void unload_hook(saeuron_context *x, ablation *a)
{
    for (size_t j = 0; j < a->count; j++)
        selection_free(&a->forget[j], &x->host);
    stats_unload(&a->stats, &x->host);
    sae_unload(&a->sae, &x->host);
    io_free(&x->host, a);
}

/* Unloads the hooks at which nothing is asked for: those that an error leaves. */
static void drop_idle(saeuron_context *x)
{
    size_t kept = 0;
    for (size_t i = 0; i < x->hooks; i++)
        if (ablation_active(x->hook[i]))
            x->hook[kept++] = x->hook[i];
        else
            unload_hook(x, x->hook[i]);
    x->hooks = kept;
}

void pipeline_rest(saeuron_context *x)
{
    for (size_t i = 0; i < x->hooks; i++) {
        ablation *a = x->hook[i];
        while (a->count)
            selection_free(&a->forget[--a->count], &x->host);
        a->steers = 0;
        a->reconstruct = false;
    }
}

void saeuron_remember(saeuron_context *x)
{
    for (size_t i = 0; i < x->hooks; i++)
        unload_hook(x, x->hook[i]);
    x->hooks = 0;
}

static const char *bare(const char *hook) { return strncmp(hook, "unet.", 5) ? hook : hook + 5; }

static int check_hook(const saeuron_context *x, const char *hook, saeuron_error *err)
{
    return unet_hook_width(&x->unet, hook, NULL) ? SAEURON_OK :
        fail(err, SAEURON_EUSAGE, "there is no hook %.80s in this UNet: hooks are its attentions, as up_blocks.1.attentions.2", hook);
}

bool sae_folder(const saeuron_context *x, const char *hook, char dir[1024])
{
    static const char *const spelling[] = { "", "unet.", "" };
    char name[128], all[1024], path[1024];
    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%.96s", spelling[i], hook);
        if (!io_join(all, sizeof all, x->dir, "sae") || !io_join(dir, 1024, all, name) || !io_join(path, sizeof path, dir, "cfg.json"))
            return false;
        if (io_exists(&x->host, path))
            break;
    }
    return true;
}

int saeuron_use_sae(saeuron_context *x, const char *hook, const char *sae_dir, const char *stats_path, saeuron_error *err)
{
    const int code = check_hook(x, hook = bare(hook), err);
    if (code)
        return code;
    if (x->places == sizeof x->place / sizeof *x->place)
        return fail(err, SAEURON_EUSAGE, "too many SAEs named: at most %zu", x->places);
    sae_place *p = io_alloc(&x->host, 1, sizeof *p);
    if (!p)
        return fail(err, SAEURON_ENOMEM, "no memory to note an SAE's folder");
    const int n = snprintf(p->hook, sizeof p->hook, "%s", hook);
    const int m = sae_dir ? snprintf(p->dir, sizeof p->dir, "%s", sae_dir) : sae_folder(x, hook, p->dir) ? 0 : -1;
    const int q = stats_path ? snprintf(p->stats, sizeof p->stats, "%s", stats_path) : snprintf(p->stats, sizeof p->stats, "%s/stats.safetensors", p->dir);
    if (n < 0 || m < 0 || q < 0 || (size_t)n >= sizeof p->hook || (size_t)m >= sizeof p->dir || (size_t)q >= sizeof p->stats) {
        io_free(&x->host, p);
        return fail(err, SAEURON_EUSAGE, "the path of the SAE for %.80s is too long", hook);
    }
    x->place[x->places++] = p;
    return SAEURON_OK;
}

/* Where the SAE of hook is, into dir and path: as named by saeuron_use_sae (the last wins; *named), else in the model's folder. */
static bool find_place(const saeuron_context *x, const char *hook, char dir[1024], char path[1024], bool *named)
{
    *named = true;
    for (size_t i = x->places; i-- > 0;)
        if (!strcmp(x->place[i]->hook, hook)) {
            memcpy(dir, x->place[i]->dir, sizeof x->place[i]->dir);
            memcpy(path, x->place[i]->stats, sizeof x->place[i]->stats);
            return true;
        }
    *named = false;
    return sae_folder(x, hook, dir) && io_join(path, 1024, dir, "stats.safetensors");
}

/* Insertions, deletions and changes between two names, case ignored: for "did you mean". At most 63 letters count. */
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

/* The hook whose statistics know the concept. near: the closest name seen, for the message. */
typedef struct found { char hook[96], dir[1024], stats[1024], near[96]; size_t near_distance; bool any; } found;

/* Looks for concept among the statistics of one hook: their tensors' names, without reading a value. */
static int look_at_hook(const saeuron_context *x, const char *hook, const char *concept, found *at, bool *yes, saeuron_error *err)
{
    char    dir[1024], path[1024];
    tensors t;
    int     code;
    bool    named;
    *yes = false;
    if (!find_place(x, hook, dir, path, &named) || (!named && !io_exists(&x->host, path)))
        return SAEURON_OK; /* a hook without statistics; but those that were asked for by name must be there */
    if ((code = tensors_open(&t, &x->host, path, err)) != SAEURON_OK)
        return code;
    at->any |= t.count > 0;
    *yes = tensors_find(&t, concept) != NULL;
    for (size_t i = 0; i < t.count; i++) {
        const size_t d = distance(concept, t.list[i].name);
        if (d < at->near_distance) {
            at->near_distance = d;
            snprintf(at->near, sizeof at->near, "%.90s", t.list[i].name);
        }
    }
    tensors_close(&t);
    if (*yes) {
        memcpy(at->hook, hook, strlen(hook) + 1);
        memcpy(at->dir, dir, sizeof dir);
        memcpy(at->stats, path, sizeof path);
    }
    return SAEURON_OK;
}

static int find_hook(const saeuron_context *x, const char *concept, found *at, saeuron_error *err)
{
    char hook[96];
    bool yes = false;
    memset(at, 0, sizeof *at);
    at->near_distance = (size_t)-1;
    for (size_t i = 0; !yes && unet_hook_name(&x->unet, i, hook, sizeof hook); i++) {
        const int code = look_at_hook(x, hook, concept, at, &yes, err);
        if (code)
            return code;
    }
    if (yes)
        return SAEURON_OK;
    if (!at->any)
        return fail(err, SAEURON_ENOENT, "%.200s/sae/: no hook has statistics here, so nothing can be forgotten; name an SAE with --sae HOOK=DIR", x->dir);
    return fail(err, SAEURON_EUSAGE, "concept %.80s is in no statistics of this model; did you mean %s?", concept, at->near);
}

int hook_sae(const saeuron_context *x, const char *hook, const char *dir, bool pack, sae *s, saeuron_error *err)
{
    const size_t width = unet_hook_width(&x->unet, hook, NULL);
    nn  c;
    int code;
    nn_init(&c, x->host.isa, x->threads, NULL);
    code = sae_load(s, &x->host, pack && x->unet.conv_in.w.packed ? &c : NULL, dir, err); /* a small model's SAE is small */
    if (!code && s->d != width)
        code = fail(err, SAEURON_EFORMAT, "%s: the SAE is %zu wide, the activation at %s is %zu: it was trained for another model or hook", s->file.path, s->d, hook, width);
    return code;
}

/* The ablation of a hook with the SAE of folder dir, loaded if it was not. */
static int load_sae(saeuron_context *x, const char *hook, const char *dir, ablation **out, saeuron_error *err)
{
    ablation *a;
    int code;
    for (size_t i = 0; i < x->hooks; i++)
        if (!strcmp(x->hook[i]->hook, hook)) {
            *out = x->hook[i];
            return SAEURON_OK;
        }
    if (!(a = io_alloc(&x->host, 1, sizeof *a)))
        return fail(err, SAEURON_ENOMEM, "no memory for the SAE of %s", hook);
    memset(a, 0, sizeof *a);
    memcpy(a->hook, hook, strlen(hook) + 1); /* a name that unet_hook_width knows: short */
    code = hook_sae(x, hook, dir, true, &a->sae, err);
    if (code) {
        unload_hook(x, a);
        return code;
    }
    x->hook[x->hooks++] = *out = a;
    return SAEURON_OK;
}

/* The statistics of a hook, loaded if they were not. */
static int load_stats(saeuron_context *x, ablation *a, const char *path, saeuron_error *err)
{
    char digest[24];
    int  code;
    if (a->stats.steps)
        return SAEURON_OK;
    code = stats_load(&a->stats, &x->host, path, err);
    if (!code && a->stats.n != a->sae.n)
        code = fail(err, SAEURON_EFORMAT, "%s: statistics of %zu latents for an SAE of %zu: make them again with this SAE", a->stats.file.path, a->stats.n, a->sae.n);
    snprintf(digest, sizeof digest, "%016" PRIx64, a->sae.digest);
    if (!code && a->stats.sae[0] && strcmp(a->stats.sae, digest))
        code = fail(err, SAEURON_EFORMAT, "%s: made with an SAE of digest %s, but the one beside it has %s: make them again", a->stats.file.path, a->stats.sae, digest);
    if (!code && a->stats.hook[0] && strcmp(bare(a->stats.hook), a->hook))
        code = fail(err, SAEURON_EFORMAT, "%s: its metadata says hook %.80s, but it lies at %s", a->stats.file.path, a->stats.hook, a->hook);
    if (code)
        stats_unload(&a->stats, &x->host);
    return code;
}

/* density.safetensors beside the statistics of a hook, loaded if it was not. */
static int load_density(saeuron_context *x, ablation *a, const char *stats_path, saeuron_error *err)
{
    char path[1024];
    const char *slash = strrchr(stats_path, '/');
    const int n = snprintf(path, sizeof path, "%.*sdensity.safetensors", slash ? (int)(slash - stats_path) + 1 : 0, stats_path);
    if (n < 0 || (size_t)n >= sizeof path)
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", stats_path);
    if (a->stats.density.file_count)
        return SAEURON_OK;
    if (!io_exists(&x->host, path))
        return fail(err, SAEURON_ENOENT, "%s: there is no such file, which --min-density reads: make it with stats --density", path);
    return stats_load_density(&a->stats, &x->host, path, err);
}

/* forget.json's entry for concept: {"top": K | "percentile": P, "strength": G}; what it lacks stays as it is in *how. */
static int read_forget_json(const saeuron_context *x, const char *dir, const char *concept, choice *how, saeuron_error *err)
{
    static const char *const read[] = { "top", "percentile", "strength", NULL };
    char    path[1024];
    io_file f;
    json    object, entry;
    int     code;
    if (!io_join(path, sizeof path, dir, "forget.json") || !io_exists(&x->host, path))
        return SAEURON_OK;
    if ((code = open_config(&f, &object, &x->host, dir, "forget.json", err)) != SAEURON_OK)
        return code;
    if (json_get(object, concept, &entry)) {
        config c = { .object = entry, .path = f.path, .err = err };
        if (json_kind(entry) != '{')
            c.code = fail(err, SAEURON_EFORMAT, "%s: the entry of %.80s is no object {\"top\" or \"percentile\", \"strength\"}", f.path, concept);
        config_known(&c, read, NULL);
        how->top = config_size(&c, "top", 0, 0, 1u << 26);
        how->percentile = config_double(&c, "percentile", how->percentile);
        how->strength = config_float(&c, "strength", how->strength);
        code = c.code;
    }
    io_close(&f);
    return code;
}

static int check_choice(const choice *how, saeuron_error *err)
{
    if (!how->top && !(how->percentile >= 0 && how->percentile <= 100))
        return fail(err, SAEURON_EUSAGE, "the percentile must be from 0 to 100");
    if (!(how->strength >= -1e6f && how->strength <= 1e6f))
        return fail(err, SAEURON_EUSAGE, "the strength must be a number from -1e6 to 1e6");
    if (!(how->min_density >= 0 && how->min_density <= 1))
        return fail(err, SAEURON_EUSAGE, "the least density must be from 0 to 1: a share of tokens");
    return SAEURON_OK;
}

static int forget(saeuron_context *x, const saeuron_forget_options *o, saeuron_error *err)
{
    found     at;
    ablation *a = NULL;
    choice    how = { .top = 0, .percentile = 99.999, .strength = -1 };
    int       code;
    if ((code = find_hook(x, o->name, &at, err)) != SAEURON_OK || (code = load_sae(x, at.hook, at.dir, &a, err)) != SAEURON_OK ||
        (code = load_stats(x, a, at.stats, err)) != SAEURON_OK || (code = read_forget_json(x, at.dir, o->name, &how, err)) != SAEURON_OK)
        return code;
    if (o->top)
        how.top = o->top;
    else if (o->percentile != 0) {
        how.top = 0;
        how.percentile = o->percentile;
    }
    if (o->has_strength)
        how.strength = (float)o->strength;
    how.min_density = o->min_density;
    if ((code = check_choice(&how, err)) != SAEURON_OK || (how.min_density > 0 && (code = load_density(x, a, at.stats, err)) != SAEURON_OK))
        return code;
    if (a->reconstruct)
        return fail(err, SAEURON_EUSAGE, "concept %.80s is forgotten at %s, which is reconstructed alone: choose one", o->name, a->hook);
    if (a->count == FORGETS)
        return fail(err, SAEURON_EUSAGE, "at most %d concepts can be forgotten at one hook", FORGETS);
    for (size_t i = 0; i < a->count; i++)
        if (!strcmp(a->forget[i].concept, o->name))
            return fail(err, SAEURON_EUSAGE, "concept %.80s is named twice", o->name);
    if ((code = selection_make(&a->forget[a->count], &x->host, &a->stats, (size_t)stats_find(&a->stats, o->name), how, err)) == SAEURON_OK)
        a->count++;
    return code;
}

int hook_name(const saeuron_context *x, const char *hook, char name[96], saeuron_error *err)
{
    const int code = check_hook(x, bare(hook), err);
    if (!code)
        memcpy(name, bare(hook), strlen(bare(hook)) + 1); /* a name that unet_hook_width knows: short */
    return code;
}

int hook_folder(const saeuron_context *x, const char *hook, char dir[1024], saeuron_error *err)
{
    char stats_path[1024];
    bool named;
    if (!find_place(x, hook, dir, stats_path, &named))
        return fail(err, SAEURON_EUSAGE, "the path of the SAE for %.80s is too long", hook);
    if (!named && !(io_join(stats_path, sizeof stats_path, dir, "cfg.json") && io_exists(&x->host, stats_path)))
        return fail(err, SAEURON_ENOENT, "%.300s/: there is no SAE for this hook; name its folder with --sae HOOK=DIR", dir);
    return SAEURON_OK;
}

/* The ablation of a hook named by the caller, its SAE loaded. */
static int open_hook(saeuron_context *x, const char *hook, ablation **a, saeuron_error *err)
{
    char dir[1024];
    int  code;
    if ((code = check_hook(x, hook, err)) != SAEURON_OK || (code = hook_folder(x, hook, dir, err)) != SAEURON_OK)
        return code;
    return load_sae(x, hook, dir, a, err);
}

static int steer(saeuron_context *x, const char *hook, size_t latent, double factor, saeuron_error *err)
{
    ablation *a = NULL;
    const int code = open_hook(x, bare(hook), &a, err);
    if (code)
        return code;
    if (latent >= a->sae.n)
        return fail(err, SAEURON_EUSAGE, "there is no latent %zu at %s: its SAE has %zu, counted from 0", latent, a->hook, a->sae.n);
    if (!(factor >= -(double)FLT_MAX && factor <= (double)FLT_MAX)) /* false for NaN */
        return fail(err, SAEURON_EUSAGE, "the factor of latent %zu at %s must be a number within float32's range", latent, a->hook);
    if (a->reconstruct)
        return fail(err, SAEURON_EUSAGE, "latent %zu is steered at %s, which is reconstructed alone: choose one", latent, a->hook);
    for (size_t i = 0; i < a->steers; i++)
        if (a->steer[i].latent == latent)
            return fail(err, SAEURON_EUSAGE, "latent %zu at %s is steered twice", latent, a->hook);
    if (a->steers == STEERS)
        return fail(err, SAEURON_EUSAGE, "at most %d latents can be steered at one hook", STEERS);
    a->steer[a->steers++] = (steering){ (uint32_t)latent, (float)factor };
    return SAEURON_OK;
}

static int reconstruct(saeuron_context *x, const char *hook, saeuron_error *err)
{
    ablation *a = NULL;
    const int code = open_hook(x, bare(hook), &a, err);
    if (code)
        return code;
    if (a->count || a->steers)
        return fail(err, SAEURON_EUSAGE, "%s is reconstructed alone, but %s there: choose one", a->hook, a->count ? "concepts are forgotten" : "latents are steered");
    a->reconstruct = true;
    return SAEURON_OK;
}

/* What each of the three entries begins and ends with. */
static int enter(const char *named, const char *what, saeuron_error *err)
{
    if (!nn_environment_ok())
        return fail(err, SAEURON_EENV, "the floating-point environment flushes subnormals or does not round to nearest");
    return named && *named ? SAEURON_OK : fail(err, SAEURON_EUSAGE, "no %s is named", what);
}

static int leave(saeuron_context *x, int code)
{
    if (code)
        drop_idle(x);
    return code;
}

int saeuron_forget(saeuron_context *x, const saeuron_forget_options *o, saeuron_error *err)
{
    const int code = enter(o->name, "concept", err);
    return code ? code : leave(x, forget(x, o, err));
}

int saeuron_steer(saeuron_context *x, const char *hook, size_t latent, double factor, saeuron_error *err)
{
    const int code = enter(hook, "hook", err);
    return code ? code : leave(x, steer(x, hook, latent, factor, err));
}

int saeuron_reconstruct(saeuron_context *x, const char *hook, saeuron_error *err)
{
    const int code = enter(hook, "hook", err);
    return code ? code : leave(x, reconstruct(x, hook, err));
}
