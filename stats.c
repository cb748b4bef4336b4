/* stats.c: a file of statistics: how strongly each latent answers to each concept, step by step.
 *
 *   stats.safetensors (formats.md) --stats_load--> mu(c,t) by concept and step, thresholds(t) --> select.c
 *   density.safetensors ------stats_load_density--> the share of tokens at which each latent fires --> select.c
 *
 * Not here: how statistics are made (training/statistics.h), scores and selection (select.c).
 * Source: SAeUron, arXiv 2501.18052, section 3.3; released code SAE/unlearning_utils.py.
 * Letters: T sampling steps, n latents, c a concept. */
#include "stats.h"
#include "arithmetic/nn.h"
#include "arithmetic/rng.h"
#include "files/json.h"

#include <string.h>

/* The metadata string KEY into out; false when it is absent or too long. */
static bool metadata(const stats *s, const char *key, char *out, size_t size)
{
    json v;
    return s->file.metadata.at && json_get(s->file.metadata, key, &v) && json_string(v, out, size, NULL);
}

/* Whole numbers out of "981, 961" or "[981, 961]". Returns how many, or size + 1 when there are more or other things. */
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
        int x = 0;
        for (; *p >= '0' && *p <= '9'; p++)
            x = x < 1000000 ? 10 * x + (*p - '0') : x;
        if (n == size)
            return size + 1;
        out[n++] = x;
    }
    return n;
}

/* Prompts a concept: "20" for all of them, or {"Cats": 80, ...}. Absent: 1 each, which weighs all alike. */
static int read_prompts(stats *s, saeuron_error *err)
{
    char text[16384];
    json object, v;
    for (size_t i = 0; i < s->concepts; i++)
        s->prompts[i] = 1;
    if (!s->file.metadata.at || !json_get(s->file.metadata, "prompts", &v))
        return SAEURON_OK;
    if (!metadata(s, "prompts", text, sizeof text))
        return fail(err, SAEURON_EFORMAT, "%s: metadata \"prompts\" must be a string of fewer than %zu bytes", s->file.path, sizeof text);
    int code = json_open(&object, text, strlen(text), s->file.path, err);
    for (size_t i = 0; !code && i < s->concepts; i++) {
        const bool one = json_kind(object) != '{';
        if (!one && !json_get(object, s->file.list[i].name, &v))
            code = fail(err, SAEURON_EFORMAT, "%s: metadata \"prompts\" lacks concept %.80s", s->file.path, s->file.list[i].name);
        else if (!json_number(one ? object : v, &s->prompts[i]) || !(s->prompts[i] >= 1))
            code = fail(err, SAEURON_EFORMAT, "%s: metadata \"prompts\" must be a count of at least 1, or one for each concept", s->file.path);
    }
    return code;
}

/* The hash of every tensor's bytes, in file order: other numbers, another digest, whatever the file is called. */
static uint64_t digest_of(const tensors *t)
{
    uint64_t h = 0;
    for (size_t i = 0; i < t->count; i++)
        h = nn_hash(h, t->list[i].data, t->list[i].bytes);
    return h;
}

static int check_tensors(stats *s, saeuron_error *err)
{
    const tensor *first = s->file.list;
    if (!s->file.count)
        return fail(err, SAEURON_EFORMAT, "%s: no tensor in it: statistics hold one [steps, latents] tensor a concept", s->file.path);
    for (size_t i = 0; i < s->file.count; i++) {
        const tensor *t = &s->file.list[i];
        if (t->ndim != 2 || t->shape[0] != first->shape[0] || t->shape[1] != first->shape[1] || !t->shape[0] || t->shape[0] > 1000 || !t->shape[1] ||
            (t->type != DT_F32 && t->type != DT_F16))
            return fail(err, SAEURON_EFORMAT, "%s: tensor %.80s is not an F32 or F16 [steps, latents] of the others' shape", s->file.path, t->name);
    }
    s->steps = first->shape[0];
    s->n = first->shape[1];
    s->concepts = s->file.count;
    return SAEURON_OK;
}

static int check_timesteps(stats *s, saeuron_error *err)
{
    char text[8192];
    if (!metadata(s, "hook", s->hook, sizeof s->hook))
        s->hook[0] = 0;
    if (!metadata(s, "sae", s->sae, sizeof s->sae))
        s->sae[0] = 0;
    if (!metadata(s, "timesteps", text, sizeof text) || read_numbers(text, s->timesteps, 1000) != s->steps)
        return fail(err, SAEURON_EFORMAT, "%s: metadata \"timesteps\" must list the %zu timesteps of its rows", s->file.path, s->steps);
    return SAEURON_OK;
}

/* threshold(t) = mean over concepts of mu(c,t), c itself included: released code, and not the mean of the others. */
static int make_thresholds(stats *s, float *mu, saeuron_error *err)
{
    for (size_t t = 0; t < s->steps; t++) {
        double *sum = (double *)(void *)(mu + s->n + s->n % 2);
        for (size_t i = 0; i < s->n; i++)
            sum[i] = 0;
        for (size_t c = 0; c < s->concepts; c++) {
            stats_mu(s, mu, c, t);
            if (nn_first_bad(mu, s->n) < s->n)
                return fail(err, SAEURON_ENAN, "%s: tensor %.80s is not finite at step %zu", s->file.path, stats_name(s, c), t);
            for (size_t i = 0; i < s->n; i++)
                sum[i] += (double)mu[i];
        }
        for (size_t i = 0; i < s->n; i++)
            s->threshold[t * s->n + i] = (float)(sum[i] / (double)s->concepts);
    }
    return SAEURON_OK;
}

int stats_load(stats *s, const saeuron_host *host, const char *path, saeuron_error *err)
{
    float *scratch = NULL;
    size_t bytes = 0;
    int    code;
    memset(s, 0, sizeof *s);
    if ((code = tensors_open(&s->file, host, path, err)) != SAEURON_OK)
        return code;
    if (!(code = check_tensors(s, err)))
        code = check_timesteps(s, err);
    if (!code) {
        if (nn_mul(s->steps, s->n, &bytes) && bytes < SIZE_MAX / 8 - 8 * s->concepts) {
            s->memory = io_alloc(host, bytes * sizeof(float) + (s->concepts + 1) * sizeof(double), 1);
            scratch = io_alloc(host, 4 * s->n + 8, sizeof *scratch);
        }
        if (!s->memory || !scratch)
            code = fail(err, SAEURON_ENOMEM, "%s: no memory for its thresholds", path);
    }
    if (!code) {
        s->prompts = s->memory;
        s->threshold = (float *)(void *)(s->prompts + s->concepts);
        code = read_prompts(s, err);
    }
    if (!code)
        code = make_thresholds(s, scratch, err);
    io_free(host, scratch);
    if (code)
        stats_unload(s, host);
    else
        s->digest = digest_of(&s->file);
    return code;
}

int stats_load_density(stats *s, const saeuron_host *host, const char *path, saeuron_error *err)
{
    char text[8192], sae_digest[24];
    int  timesteps[1000];
    json v;
    int  code = tensors_open(&s->density, host, path, err);
    if (code)
        return code;
    const stats as_read = { .file = s->density };
    if (!metadata(&as_read, "what", text, sizeof text) || strcmp(text, "density"))
        code = fail(err, SAEURON_EFORMAT, "%s: its metadata does not say \"what\": \"density\": it is no file of stats --density", path);
    else if (!metadata(&as_read, "timesteps", text, sizeof text) || read_numbers(text, timesteps, 1000) != s->steps || memcmp(timesteps, s->timesteps, s->steps * sizeof *timesteps))
        code = fail(err, SAEURON_EFORMAT, "%s: its timesteps are not those of %.200s: make both in one run", path, s->file.path);
    else if (s->sae[0] && json_get(s->density.metadata, "sae", &v) && json_string(v, sae_digest, sizeof sae_digest, NULL) && strcmp(sae_digest, s->sae))
        code = fail(err, SAEURON_EFORMAT, "%s: made with an SAE of digest %s, but %.200s with %s: make both in one run", path, sae_digest, s->file.path, s->sae);
    for (size_t i = 0; i < s->concepts && !code; i++) {
        const tensor *t = tensors_find(&s->density, stats_name(s, i));
        if (!t || t->ndim != 2 || t->shape[0] != s->steps || t->shape[1] != s->n || (t->type != DT_F32 && t->type != DT_F16))
            code = fail(err, SAEURON_EFORMAT, "%s: tensor %.80s is not there as F32 or F16 [%zu, %zu]", path, stats_name(s, i), s->steps, s->n);
    }
    if (code)
        tensors_close(&s->density);
    else
        s->density_digest = digest_of(&s->density);
    return code;
}

void stats_unload(stats *s, const saeuron_host *host)
{
    tensors_close(&s->density);
    tensors_close(&s->file);
    io_free(host, s->memory);
    memset(s, 0, sizeof *s);
}

int stats_find(const stats *s, const char *concept)
{
    for (size_t i = 0; i < s->concepts; i++)
        if (!strcmp(s->file.list[i].name, concept))
            return (int)i;
    return -1;
}

const char *stats_name(const stats *s, size_t concept) { return s->file.list[concept].name; }

void stats_mu(const stats *s, float *mu, size_t concept, size_t step)
{
    const tensor *t = &s->file.list[concept];
    nn_widen(mu, (weight){ .data = t->data, .type = t->type }, step * s->n, s->n);
}
