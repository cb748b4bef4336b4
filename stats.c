/* stats.c: a file of statistics: how strongly each latent fires on each concept, step by step.
 *
 *   stats.safetensors --stats_load--> mu(c,t) by concept and step, threshold(t) --> select.c
 *   density.safetensors --stats_load_density--> the share of tokens at which each latent fires --> select.c
 *
 * Not here: how statistics are made (training/statistics.h), scores and selection (select.c).
 * Source: SAeUron, arXiv 2501.18052, sections 3.3 and 3.4; the files: docs/formats.md.
 * Letters: T sampling steps, n latents, c a concept. */
#include "stats.h"
#include "arithmetic/nn.h"
#include "files/json.h"
#include "files/print.h"

#include <string.h>

enum { PROMPTS_MAX = 1000000000 };

/* ---- metadata ---- */

/* The metadata string KEY into out; false when it is absent or too long. */
static bool metadata(const tensors *t, const char *key, char *out, size_t size)
{
    json v;
    return t->metadata.at && json_get(t->metadata, key, &v) && json_string(v, out, size, NULL);
}

/* Timesteps out of "981, 961" or "[981, 961]". Returns how many; size + 1: more, or other things. */
static size_t read_numbers(const char *text, int *out, size_t size)
{
    size_t n = 0;
    for (const char *p = text; *p;) {
        if (*p < '0' || *p > '9') {
            if (!strchr("[], ", *p))
                return size + 1;
            p++;
            continue;
        }
        int number = 0;
        for (; *p >= '0' && *p <= '9' && number < 1000; p++)
            number = 10 * number + (*p - '0');
        if (n == size || number >= 1000)
            return size + 1;
        out[n++] = number;
    }
    return n;
}

/* Prompts a concept: "20" for all of them, or {"Cats": 80, ...}. Absent: 1 each, so that all weigh alike. */
static int read_prompts(stats *s, saeuron_error *err)
{
    const char *path = s->file.path;
    char text[16384], where[1100];
    json object, v;
    int64_t count;
    for (size_t i = 0; i < s->concepts; i++)
        s->prompts[i] = 1;
    if (!s->file.metadata.at || !json_get(s->file.metadata, "prompts", &v))
        return SAEURON_OK;
    if (!metadata(&s->file, "prompts", text, sizeof text))
        return fail(err, SAEURON_EFORMAT, "%s: metadata \"prompts\" must be a string of fewer than %zu bytes",
                    path, sizeof text);
    print_into(where, sizeof where, "%s: metadata \"prompts\"", path);
    int code = json_open(&object, text, strlen(text), where, err);
    for (size_t i = 0; !code && i < s->concepts; i++) {
        const bool one = json_kind(object) != '{';
        if (!one && !json_get(object, stats_name(s, i), &v))
            code = fail(err, SAEURON_EFORMAT, "%s: metadata \"prompts\" lacks concept %.80s", path,
                        stats_name(s, i));
        else if (!json_integer(one ? object : v, &count) || count < 1 || count > PROMPTS_MAX)
            code = fail(err, SAEURON_EFORMAT,
                        "%s: metadata \"prompts\" must be a count from 1 to %d, or one for each concept",
                        path, PROMPTS_MAX);
        else
            s->prompts[i] = (double)count;
    }
    return code;
}

/* ---- statistics ---- */

static bool is_map(const tensor *t, size_t steps, size_t n)
{
    return t->ndim == 2 && t->shape[0] == steps && t->shape[1] == n &&
           (t->type == DT_F32 || t->type == DT_F16);
}

static int check_tensors(stats *s, saeuron_error *err)
{
    const tensor *first = s->file.list;
    if (!s->file.count)
        return fail(err, SAEURON_EFORMAT,
                    "%s: no tensor in it: statistics hold one [steps, latents] tensor a concept",
                    s->file.path);
    s->steps = first->ndim == 2 ? first->shape[0] : 0;
    s->n = first->ndim == 2 ? first->shape[1] : 0;
    s->concepts = s->file.count;
    for (size_t i = 0; i < s->concepts; i++)
        if (!s->steps || s->steps > 1000 || !s->n || !is_map(&s->file.list[i], s->steps, s->n))
            return fail(err, SAEURON_EFORMAT,
                        "%s: tensor %.80s is not an F32 or F16 [steps, latents] of the others' shape",
                        s->file.path, stats_name(s, i));
    return SAEURON_OK;
}

static int check_metadata(stats *s, saeuron_error *err)
{
    const struct { const char *key; char *out; size_t size; } texts[] = {
        { "hook", s->hook, sizeof s->hook }, { "sae", s->sae, sizeof s->sae },
    };
    char text[8192];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json v;
        texts[i].out[0] = 0;
        if (s->file.metadata.at && json_get(s->file.metadata, texts[i].key, &v) &&
            !json_string(v, texts[i].out, texts[i].size, NULL))
            return fail(err, SAEURON_EFORMAT, "%s: metadata \"%s\" must be a text of fewer than %zu bytes",
                        s->file.path, texts[i].key, texts[i].size);
    }
    if (!metadata(&s->file, "timesteps", text, sizeof text) ||
        read_numbers(text, s->timesteps, 1000) != s->steps)
        return fail(err, SAEURON_EFORMAT,
                    "%s: metadata \"timesteps\" must list the %zu timesteps of its rows, each from 0 to 999",
                    s->file.path, s->steps);
    return SAEURON_OK;
}

/* EQ 29: threshold(t) = mean over concepts of mu(c,t), c itself included: released code, and not the mean of
 * the others. scratch [2n]. */
static int make_thresholds(stats *s, double *scratch, saeuron_error *err)
{
    const size_t n = s->n;
    double *sum = scratch;
    float  *mu = (float *)(void *)(scratch + n);
    for (size_t t = 0; t < s->steps; t++) {
        for (size_t i = 0; i < n; i++)
            sum[i] = 0;
        for (size_t c = 0; c < s->concepts; c++) {
            stats_mu(s, mu, c, t);
            if (nn_first_bad(mu, n) < n)
                return fail(err, SAEURON_ENAN, "%s: tensor %.80s is not finite at step %zu", s->file.path,
                            stats_name(s, c), t);
            for (size_t i = 0; i < n; i++)
                sum[i] += (double)mu[i];
        }
        for (size_t i = 0; i < n; i++)
            s->threshold[t * n + i] = (float)(sum[i] / (double)s->concepts);
    }
    return SAEURON_OK;
}

/* Room for prompts and thresholds, and what the metadata and the tensors say of them. */
static int fill(stats *s, const saeuron_host *host, saeuron_error *err)
{
    size_t values;
    const bool fits = nn_mul(s->steps, s->n, &values) && values < SIZE_MAX / 8 - 8 * s->concepts;
    s->memory = fits ? io_alloc(host, values * sizeof(float) + (s->concepts + 1) * sizeof(double), 1) : NULL;
    double *scratch = s->memory ? io_alloc(host, s->n, 2 * sizeof *scratch) : NULL;
    if (!scratch)
        return fail(err, SAEURON_ENOMEM, "%s: no memory for its thresholds", s->file.path);
    s->prompts = s->memory;
    s->threshold = (float *)(void *)(s->prompts + s->concepts);
    int code = read_prompts(s, err);
    if (!code)
        code = make_thresholds(s, scratch, err);
    io_free(host, scratch);
    return code;
}

int stats_load(stats *s, const saeuron_host *host, const char *path, saeuron_error *err)
{
    memset(s, 0, sizeof *s);
    int code = tensors_open(&s->file, host, path, err);
    if (code)
        return code;
    code = check_tensors(s, err);
    if (!code)
        code = check_metadata(s, err);
    if (!code)
        code = fill(s, host, err);
    if (code)
        stats_unload(s, host);
    else
        s->digest = tensors_digest(0, &s->file);
    return code;
}

void stats_unload(stats *s, const saeuron_host *host)
{
    tensors_close(&s->density);
    tensors_close(&s->file);
    io_free(host, s->memory);
    memset(s, 0, sizeof *s);
}

/* ---- densities ---- */

/* Whether the densities of d belong to the statistics of s. */
static int check_density(const stats *s, const tensors *d, saeuron_error *err)
{
    char text[8192], sae[24];
    int  timesteps[1000];
    if (!metadata(d, "what", text, sizeof text) || strcmp(text, "density"))
        return fail(err, SAEURON_EFORMAT,
                    "%s: its metadata does not say \"what\": \"density\": it holds no densities", d->path);
    if (!metadata(d, "timesteps", text, sizeof text) || read_numbers(text, timesteps, 1000) != s->steps ||
        memcmp(timesteps, s->timesteps, s->steps * sizeof *timesteps))
        return fail(err, SAEURON_EFORMAT, "%s: its timesteps are not those of %.200s: make both in one run",
                    d->path, s->file.path);
    if (s->sae[0] && metadata(d, "sae", sae, sizeof sae) && strcmp(sae, s->sae))
        return fail(err, SAEURON_EFORMAT,
                    "%s: made with an SAE of digest %s, but %.200s with %s: make both in one run", d->path,
                    sae, s->file.path, s->sae);
    for (size_t i = 0; i < s->concepts; i++) {
        const tensor *t = tensors_find(d, stats_name(s, i));
        if (!t || !is_map(t, s->steps, s->n))
            return fail(err, SAEURON_EFORMAT, "%s: tensor %.80s is not there as F32 or F16 [%zu, %zu]",
                        d->path, stats_name(s, i), s->steps, s->n);
    }
    return SAEURON_OK;
}

int stats_load_density(stats *s, const saeuron_host *host, const char *path, saeuron_error *err)
{
    int code = tensors_open(&s->density, host, path, err);
    if (code)
        return code;
    if ((code = check_density(s, &s->density, err)) != SAEURON_OK)
        tensors_close(&s->density);
    else
        s->density_digest = tensors_digest(0, &s->density);
    return code;
}

/* ---- what is asked of them ---- */

int stats_find(const stats *s, const char *concept)
{
    for (size_t i = 0; i < s->concepts; i++)
        if (!strcmp(stats_name(s, i), concept))
            return (int)i;
    return -1;
}

const char *stats_name(const stats *s, size_t concept) { return s->file.list[concept].name; }

static int apart(int a, int b) { return a < b ? b - a : a - b; }

size_t stats_row(const stats *s, int timestep)
{
    size_t best = 0;
    for (size_t r = 1; r < s->steps; r++)
        if (apart(s->timesteps[r], timestep) < apart(s->timesteps[best], timestep))
            best = r;
    return best;
}

void stats_mu(const stats *s, float *mu, size_t concept, size_t step)
{
    const tensor *t = &s->file.list[concept];
    nn_widen(mu, (weight){ .data = t->data, .type = t->type }, step * s->n, s->n);
}
