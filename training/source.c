/* source.c: what an SAE is trained and measured on, as one list of maps: in files, or sampled when they are
 * needed.
 *
 *   files, mapped --> map [N,d], widened         an epoch's order: all rows, shuffled
 *   prompts --sampler_maps--> a window's maps    an epoch's order: prompts shuffled, then each window's maps
 *
 * Not here: the sampling itself (collect.c), what is done with a map (run.c, measure.c).
 * Source: SAeUron, arXiv 2501.18052, section 4; released scripts/train.py, which stores all maps and shuffles
 * their rows once.
 * Letters: N tokens of a map, d its width, T maps of a prompt. A window is some prompts that are sampled
 * together. */
#include "training/source.h"
#include "arithmetic/rng.h"
#include "files/print.h"
#include "files/sort.h"

#include <inttypes.h>
#include <string.h>

/* ---- the order ---- */

/* Streams of random numbers (contract 6): of the maps of window w, and of the prompts. Files are window 0. */
static uint64_t map_stream(size_t w) { return nn_hash(w, "shuffle", 7); }
static uint64_t prompt_stream(void)  { return nn_hash(0, "prompts", 7); }

int source_shuffle(map_source *s, uint64_t seed, saeuron_error *err)
{
    const size_t n = s->buffer ? s->prompts : s->rows;
    s->seed = seed;
    if (n > UINT32_MAX)
        return fail(err, SAEURON_EUSAGE, "%zu maps are more than can be shuffled: at most 4,294,967,295", n);
    if (!s->order && !(s->order = io_alloc(s->host, n, sizeof *s->order)))
        return fail(err, SAEURON_ENOMEM, "no memory for the order of %zu maps", n);
    rng_shuffle(s->order, n, seed, s->buffer ? prompt_stream() : map_stream(0));
    return SAEURON_OK;
}

/* ---- files ---- */

/* Metadata in which files must be alike. They may hold other steps of the sampling: more maps
 * of its first steps make an SAE that tells concepts apart where pictures begin. */
static const char *const alike[] = { "hook", "model", "diff", "steps", "size", "cfg", "negative_prompt" };

#define TEXT_BYTES (TOKENIZER_PROMPT_MAX + 1) /* a negative prompt may be the longest value */

/* text: room for a value. */
static int open_file(activation_file *f, const saeuron_host *host, const char *path, char *text,
                     saeuron_error *err)
{
    json v;
    const int code = tensors_open(&f->t, host, path, err);
    if (code)
        return code;
    for (size_t k = 0; k < sizeof alike / sizeof *alike; k++)
        if (json_get(f->t.metadata, alike[k], &v) && !json_string(v, text, TEXT_BYTES, NULL))
            return fail(err, SAEURON_EFORMAT, "%s: metadata \"%s\" is no text of at most %d bytes: "
                        "collect it again", path, alike[k], TEXT_BYTES - 1);
    f->a = tensors_find(&f->t, "activations");
    if (!metadata_is(f->t.metadata, "format", ACTIVATIONS_FORMAT) || f->t.count != 1 || !f->a)
        return fail(err, SAEURON_EFORMAT, "%s: holds no activations: name files that collect wrote", path);
    if (f->a->ndim != 3 || (f->a->type != DT_F32 && f->a->type != DT_F16))
        return fail(err, SAEURON_EFORMAT,
                    "%s: tensor activations must be [rows, tokens, width] in F32 or F16", path);
    if (!f->a->shape[0] || !f->a->shape[1] || !f->a->shape[2])
        return fail(err, SAEURON_EFORMAT, "%s: tensor activations is empty: collect some first", path);
    return SAEURON_OK;
}

/* Refuses file i if it is of another hook, model or sampling than the first; text has room for two values. */
static int compare_files(const map_source *s, size_t i, char *text, saeuron_error *err)
{
    const activation_file *a = &s->file[0], *b = &s->file[i];
    char *const other = text + TEXT_BYTES;
    for (size_t k = 0; k < sizeof alike / sizeof *alike; k++) {
        metadata_get(a->t.metadata, alike[k], text, TEXT_BYTES);
        metadata_get(b->t.metadata, alike[k], other, TEXT_BYTES);
        if (strcmp(text, other))
            return fail(err, SAEURON_EFORMAT,
                        "%s: its metadata has %s \"%.60s\", but that of %s has \"%.60s\": "
                        "they cannot be mixed; name files of one kind",
                        b->t.path, alike[k], other, a->t.path, text);
    }
    if (b->a->shape[1] != a->a->shape[1] || b->a->shape[2] != a->a->shape[2])
        return fail(err, SAEURON_EFORMAT,
                    "%s: its maps are %zu x %zu, but those of %s are %zu x %zu: they cannot be mixed",
                    b->t.path, b->a->shape[1], b->a->shape[2], a->t.path, a->a->shape[1], a->a->shape[2]);
    return SAEURON_OK;
}

/* The file that holds row number `row`. */
static activation_file *find_row(map_source *s, size_t row)
{
    size_t low = 0, high = s->files;
    if (row >= s->file[s->last].first && row - s->file[s->last].first < s->file[s->last].a->shape[0])
        return &s->file[s->last];
    while (high - low > 1) { /* file[low].first <= row < file[high].first */
        const size_t middle = low + (high - low) / 2;
        *(s->file[middle].first <= row ? &low : &high) = middle;
    }
    s->last = low;
    return &s->file[low];
}

#define DIGESTED 1024 /* rows that the digest looks at */

/* Of hook, model, sampling, the maps' size, and of the bytes of at most DIGESTED rows, evenly spread. The
 * same however the rows are cut into files. */
static void digest_files(map_source *s, char *text)
{
    const size_t some = s->rows < DIGESTED ? s->rows : DIGESTED;
    uint64_t h = 0;
    for (size_t k = 0; k < sizeof alike / sizeof *alike; k++) {
        metadata_get(s->file[0].t.metadata, alike[k], text, TEXT_BYTES);
        h = nn_hash(h, text, strlen(text));
    }
    print_into(text, TEXT_BYTES, "%zu %zu %zu", s->rows, s->N, s->d);
    h = nn_hash(h, text, strlen(text));
    for (size_t i = 0; i < some; i++) {
        const size_t row = i * (s->rows / some) + i * (s->rows % some) / some;
        const activation_file *f = find_row(s, row);
        const size_t bytes = s->N * s->d * dtype_size(f->a->type);
        h = nn_hash(h, f->a->data + (row - f->first) * bytes, bytes);
    }
    s->digest = h;
}

int source_open(map_source *s, const saeuron_host *host, const char *const *paths, size_t count,
                saeuron_error *err)
{
    char *text = NULL;
    int   code = SAEURON_OK;
    *s = (map_source){ .host = host };
    if (!count)
        return fail(err, SAEURON_EUSAGE, "there are no activations: name files that collect wrote");
    s->file = io_alloc(host, count, sizeof *s->file);
    text = io_alloc(host, 2, TEXT_BYTES);
    if (!s->file || !text)
        code = fail(err, SAEURON_ENOMEM, "no memory for a list of %zu files", count);
    for (size_t i = 0; i < count && !code; i++) {
        memset(&s->file[i], 0, sizeof *s->file);
        s->files = i + 1;
        if ((code = open_file(&s->file[i], host, paths[i], text, err)) == SAEURON_OK)
            code = compare_files(s, i, text, err);
        if (!code) {
            s->file[i].first = s->rows;
            s->rows += s->file[i].a->shape[0]; /* rows of files that are mapped: no sum of theirs wraps */
        }
    }
    if (!code) {
        s->N = s->file[0].a->shape[1];
        s->d = s->file[0].a->shape[2];
        if (!metadata_get(s->file[0].t.metadata, "hook", s->hook, sizeof s->hook) || !*s->hook ||
            !metadata_get(s->file[0].t.metadata, "model", s->model, sizeof s->model))
            code = fail(err, SAEURON_EFORMAT, "%s: metadata \"hook\" or \"model\" is missing or too long: "
                        "collect it again", s->file[0].t.path);
        s->diff = metadata_is(s->file[0].t.metadata, "diff", "1");
        if (!code)
            digest_files(s, text);
    }
    io_free(host, text);
    return code;
}

#define RELEASE ((size_t)256 << 20) /* bytes read, after which mapped pages are given back */

int source_row(map_source *s, float *x, size_t row, saeuron_error *err)
{
    const activation_file *f = find_row(s, row);
    const size_t n = s->N * s->d;
    nn_widen(x, (weight){ .data = f->a->data, .type = f->a->type }, (row - f->first) * n, n);
    const size_t bad = nn_first_bad(x, n);
    if (bad < n)
        return fail(err, SAEURON_ENAN,
                    "%s: tensor activations: row %zu, token %zu, channel %zu is not finite: collect it again",
                    f->t.path, row - f->first, bad / s->d, bad % s->d);
    s->read += n * dtype_size(f->a->type);
    if (s->read > RELEASE) {
        for (size_t i = 0; i < s->files; i++)
            tensors_release(&s->file[i].t);
        s->read = 0;
    }
    return SAEURON_OK;
}

/* ---- sampling ---- */

int source_open_online(map_source *s, saeuron_context *x, const sampler_options *o, size_t buffer,
                       saeuron_error *err)
{
    sampler_facts f;
    size_t values;
    char   text[96];
    *s = (map_source){ .host = &x->host };
    int code = sampler_open(&s->sampler, x, o, &f, err);
    if (code)
        return code;
    if (buffer < f.rows)
        return fail(err, SAEURON_EUSAGE,
                    "a buffer of %zu maps cannot hold one prompt's %zu: buffer must be at least that", buffer,
                    f.rows);
    memcpy(s->hook, f.hook, sizeof s->hook);
    print_into(s->model, sizeof s->model, "%016" PRIx64, f.model);
    s->diff = o->diff;
    s->prompts = f.prompts;
    s->T = f.rows;
    s->N = f.N;
    s->d = f.d;
    s->buffer = buffer;
    s->window = buffer / f.rows < f.prompts ? buffer / f.rows : f.prompts;
    print_into(text, sizeof text, "window %zu", s->window);
    s->digest = nn_hash(f.digest, text, strlen(text));
    if (!nn_mul(s->prompts, s->T, &s->rows) || !nn_mul(s->window * s->T, s->N * s->d, &values) ||
        !(s->maps = io_alloc(s->host, values, sizeof(float))) ||
        !(s->place = io_alloc(s->host, s->window * s->T, sizeof *s->place)))
        return fail(err, SAEURON_ENOMEM,
                    "no memory for %zu maps, %zu x %zu each: a smaller buffer needs less", s->window * s->T,
                    s->N, s->d);
    return SAEURON_OK;
}

static bool is_less(const void *a, const void *b) { return *(const uint32_t *)a < *(const uint32_t *)b; }

/* Samples window w: prompts [w W, (w+1) W) of their order, W being s->window, by ascending number: one window
 * of all prompts then has the order of files. */
static int fill_window(map_source *s, size_t w, saeuron_error *err)
{
    const size_t first = w * s->window,
                 count = s->prompts - first < s->window ? s->prompts - first : s->window;
    uint32_t *const now = s->place; /* first the prompts' numbers, which fit: window <= window T */
    memcpy(now, s->order + first, count * sizeof *now);
    sort_list(now, count, sizeof *now, is_less);
    s->held = 0;
    const int code = sampler_maps(s->sampler, s->maps, now, count, err);
    if (code)
        return code;
    rng_shuffle(s->place, count * s->T, s->seed, map_stream(w));
    s->held = w + 1;
    return SAEURON_OK;
}

int source_next(map_source *s, float *x, size_t place, saeuron_error *err)
{
    if (!s->buffer)
        return source_row(s, x, s->order[place], err);
    const size_t n = s->N * s->d, w = place / (s->window * s->T), at = place - w * s->window * s->T;
    int code = s->held == w + 1 ? SAEURON_OK : fill_window(s, w, err);
    if (code)
        return code;
    memcpy(x, s->maps + s->place[at] * n, n * sizeof *x);
    const size_t bad = nn_first_bad(x, n);
    return bad < n ? fail(err, SAEURON_ENAN,
                          "the activations at %s are not finite: token %zu, channel %zu of a map", s->hook,
                          bad / s->d, bad % s->d)
                   : SAEURON_OK;
}

size_t source_tail(const map_source *s)
{
    return s->buffer ? (s->rows - 1) / (s->window * s->T) * (s->window * s->T) : 0;
}

int source_unchanged(const map_source *s, saeuron_error *err)
{
    int code = SAEURON_OK;
    for (size_t i = 0; i < s->files && !code; i++)
        code = tensors_unchanged(&s->file[i].t, err);
    return code;
}

void source_close(map_source *s)
{
    for (size_t i = 0; i < s->files; i++)
        tensors_close(&s->file[i].t);
    sampler_close(s->sampler);
    io_free(s->host, s->file);
    io_free(s->host, s->order);
    io_free(s->host, s->place);
    io_free(s->host, s->maps);
    *s = (map_source){ .host = s->host };
}
