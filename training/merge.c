/* merge.c: the parts of one run joined to the file that one run would have written, to the byte.
 *
 *   paths --opened, put in order--> list of tensors, metadata --tensors_begin, bytes as they are--> path
 *
 * Not here: who makes parts (collect.c, statistics.c). */
#include "training/merge.h"
#include "files/decimal.h"
#include "files/print.h"
#include "files/sort.h"
#include "training/collect.h"
#include "training/statistics.h"

#include <string.h>

/* A part: its tensors, also in the file's order, and its place among the parts. */
typedef struct part_file { tensors t; const tensor **order; shard s; } part_file;

typedef struct merging {
    const saeuron_host *host;
    const char *path;               /* of the merged file */
    part_file *part;
    size_t  parts;
    bool    whole;                  /* they are whole runs, no parts of one */
    bool    activations;            /* else statistics */
    tensor_out *list;               /* of the merged file: count tensors */
    size_t  count, *prompts;        /* prompts of each tensor's concept */
    text_out described;             /* these as metadata "prompts" */
    const char **pair;              /* its metadata; the texts lie in text [room], of which used are taken */
    char   *text;
    size_t  pairs, room, used;
    char   *a, *b;                  /* [META_BYTES] each, to compare values */
} merging;

#define META_BYTES (TOKENIZER_PROMPT_MAX + 1) /* of a value: a negative prompt may be the longest */

/* ---- parts ---- */

/* Statistics that were converted or made by others need no "format", but have timesteps. */
static bool can_be_merged(json facts)
{
    json v;
    if (!json_get(facts, "format", &v))
        return json_get(facts, "timesteps", &v);
    return json_equals(v, ACTIVATIONS_FORMAT) || json_equals(v, STATISTICS_FORMAT);
}

/* As they lie in the file; empty ones at the same byte by name. */
static bool by_place(const void *a, const void *b)
{
    const tensor *x = *(const tensor *const *)a, *y = *(const tensor *const *)b;
    return x->data != y->data ? x->data < y->data : strcmp(x->name, y->name) < 0;
}

static int open_part(part_file *p, const saeuron_host *host, const char *path, saeuron_error *err)
{
    char text[64];
    int  code = tensors_open(&p->t, host, path, err);
    if (code)
        return code;
    if (!(p->order = io_alloc(host, p->t.count, sizeof *p->order)))
        return fail(err, SAEURON_ENOMEM, "%s: no memory for the order of its tensors", path);
    for (size_t j = 0; j < p->t.count; j++)
        p->order[j] = &p->t.list[j];
    sort_list(p->order, p->t.count, sizeof *p->order, by_place);
    if (!can_be_merged(p->t.metadata))
        return fail(err, SAEURON_EFORMAT,
                    "%s: holds neither activations nor statistics: merge joins what collect and stats write",
                    path);
    if (json_length(p->t.metadata) > JSON_KEYS)
        return fail(err, SAEURON_EFORMAT, "%s: metadata of %zu keys is nothing that collect or stats write",
                    path, json_length(p->t.metadata));
    p->s = (shard){ 0, 1 };
    if (metadata_get(p->t.metadata, "shard", text, sizeof text) && !io_parse_part(text, &p->s.i, &p->s.N))
        return fail(err, SAEURON_EFORMAT, "%s: metadata \"shard\" is \"%.40s\", not I/N", path, text);
    return SAEURON_OK;
}

/* Puts the parts of one run in order; every one must be there, once. */
static int order_parts(part_file *p, size_t count, saeuron_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (p[i].s.N != p[0].s.N)
            return fail(err, SAEURON_EFORMAT,
                        "%s is shard %zu/%zu, but %s is of %zu: they are of different runs", p[i].t.path,
                        p[i].s.i, p[i].s.N, p[0].t.path, p[0].s.N);
        for (size_t j = i; j && p[j - 1].s.i >= p[j].s.i; j--) {
            if (p[j - 1].s.i == p[j].s.i)
                return fail(err, SAEURON_EFORMAT, "%s and %s are both shard %zu/%zu", p[j - 1].t.path,
                            p[j].t.path, p[j].s.i, p[j].s.N);
            const part_file swap = p[j];
            p[j] = p[j - 1];
            p[j - 1] = swap;
        }
    }
    size_t i = 0;
    while (i < count && p[i].s.i == i)
        i++;
    if (i < p[0].s.N)
        return fail(err, SAEURON_EFORMAT,
                    "shard %zu/%zu is missing: %zu parts were given, all %zu are needed", i, p[0].s.N, count,
                    p[0].s.N);
    return SAEURON_OK;
}

static int open_parts(merging *w, const char *const *paths, saeuron_error *err)
{
    int code = SAEURON_OK;
    w->whole = true;
    for (size_t i = 0; i < w->parts && !code; i++) {
        code = open_part(&w->part[i], w->host, paths[i], err);
        w->whole &= w->part[i].s.N == 1;
    }
    if (!code && !w->whole)
        code = order_parts(w->part, w->parts, err);
    if (code)
        return code;
    w->activations = metadata_is(w->part[0].t.metadata, "format", ACTIVATIONS_FORMAT);
    if (w->activations && w->whole && w->parts > 1)
        return fail(err, SAEURON_EFORMAT,
                    "%s and %s hold the activations of whole runs, no parts of one: train takes several "
                    "files",
                    w->part[0].t.path, w->part[1].t.path);
    return SAEURON_OK;
}

/* ---- tensors ---- */

/* The value under key of a part's metadata into out [META_BYTES]; "" when there is none. */
static int read_value(const part_file *p, const char *key, char *out, saeuron_error *err)
{
    json v;
    if (metadata_get(p->t.metadata, key, out, META_BYTES) || !json_get(p->t.metadata, key, &v))
        return SAEURON_OK;
    return fail(err, SAEURON_EFORMAT, "%s: metadata \"%s\" is no text of at most %d bytes: make the part "
                "again", p->t.path, key, META_BYTES - 1);
}

/* The prompts of concept `name`, from v, a part's metadata "prompts". */
static int concept_prompts(const part_file *p, json v, const char *name, size_t *prompts, saeuron_error *err)
{
    json    n;
    int64_t x;
    if (json_kind(v) == '{' && !json_get(v, name, &n))
        return fail(err, SAEURON_EFORMAT, "%s: metadata \"prompts\" lacks concept %.80s", p->t.path, name);
    if (!json_integer(json_kind(v) == '{' ? n : v, &x) || x < 1)
        return fail(err, SAEURON_EFORMAT,
                    "%s: metadata \"prompts\" must be a count of at least 1, or one for each concept",
                    p->t.path);
    *prompts = (size_t)x;
    return SAEURON_OK;
}

/* Whether t may be in the file whose first tensor is f: the number of rows or prompts, its first of three
 * dimensions, may differ. */
static bool alike(const tensor *t, const tensor *f)
{
    return t->type == f->type && t->ndim == f->ndim && t->shape[t->ndim - 1] == f->shape[f->ndim - 1] &&
           t->shape[t->ndim - 2] == f->shape[f->ndim - 2];
}

static int list_part(merging *w, const part_file *p, saeuron_error *err)
{
    const part_file *first = &w->part[0];
    char where[1100];
    json counts;
    int  code = read_value(p, "prompts", w->a, err);
    print_into(where, sizeof where, "%s: metadata \"prompts\"", p->t.path);
    if (!code && !*w->a)
        strcpy(w->a, "1");
    if (!code && !w->activations)
        code = json_open(&counts, w->a, strlen(w->a), where, err);
    if (code)
        return code;
    if (w->activations && !p->t.count)
        return fail(err, SAEURON_EFORMAT, "%s: tensor activations is missing", p->t.path);
    for (size_t j = 0; j < p->t.count; j++, w->count++) {
        const tensor *t = p->order[j], *f = first->t.count ? first->order[0] : t;
        if (t->ndim < 2 || t->ndim > 3 || (t->type != DT_F32 && t->type != DT_F16) ||
            (w->activations && (p->t.count != 1 || strcmp(t->name, "activations"))))
            return fail(err, SAEURON_EFORMAT, "%s: tensor %.80s is nothing that collect or stats write",
                        p->t.path, t->name);
        if (!alike(t, f))
            return fail(err, SAEURON_EFORMAT,
                        "%s: tensor %.80s has another type or shape than %s has: they are of different runs",
                        p->t.path, t->name, first->t.path);
        w->list[w->count] = (tensor_out){ .name = t->name,
                                          .type = t->type,
                                          .ndim = t->ndim,
                                          .shape = { t->shape[0], t->shape[1],
                                                     t->ndim == 3 ? t->shape[2] : 0 } };
        if (!w->activations && concept_prompts(p, counts, t->name, &w->prompts[w->count], err))
            return SAEURON_EFORMAT;
    }
    return SAEURON_OK;
}

/* The merged file's tensors: statistics' one after the other, activations' rows as one. */
static int list_tensors(merging *w, saeuron_error *err)
{
    size_t all = 0;
    int    code = SAEURON_OK;
    for (size_t i = 0; i < w->parts; i++)
        all += w->part[i].t.count;
    w->list = io_alloc(w->host, all, sizeof *w->list);
    w->prompts = io_alloc(w->host, all, sizeof *w->prompts);
    w->a = io_alloc(w->host, META_BYTES, 2);
    if (!w->list || !w->prompts || !w->a)
        return fail(err, SAEURON_ENOMEM, "no memory for the list of %zu tensors", all);
    w->b = w->a + META_BYTES;
    for (size_t i = 0; i < w->parts && !code; i++)
        code = list_part(w, &w->part[i], err);
    for (; w->activations && !code && w->count > 1; w->count--)
        w->list[0].shape[0] += w->list[w->count - 1].shape[0];
    return code;
}

/* ---- metadata ---- */

static bool is_one_of(const char *key, const char *const *keys)
{
    while (*keys && strcmp(key, *keys))
        keys++;
    return *keys;
}

/* Parts of one run may differ in these keys; the merged file has the whole run's values. */
static const char *const own_keys[] = { "shard", "prompts", "first_prompt", NULL };

/* Whole runs must agree in these keys, where both have them. Of others only those are kept in which all
 * agree. */
static const char *const binding_keys[] = { "what",      "hook", "sae",  "model",           "cfg", "steps",
                                            "timesteps", "size", "half", "negative_prompt", NULL };

/* Copies text to where the merged file's metadata lies. */
static int keep(merging *w, const char *text, saeuron_error *err)
{
    const size_t n = strlen(text) + 1;
    if (n > w->room - w->used)
        return fail(err, SAEURON_EFORMAT, "%s: its metadata is longer than its header", w->part[0].t.path);
    w->pair[w->pairs++] = memcpy(w->text + w->used, text, n);
    w->used += n;
    return SAEURON_OK;
}

/* One key of the first part: compared with the others', then kept with the value that a whole run would have.
 * */
static int merge_key(merging *w, json key, saeuron_error *err)
{
    const tensors *first = &w->part[0].t;
    const char *value = w->a;
    bool same = true;
    char name[64];
    if (!json_string(key, name, sizeof name, NULL))
        return fail(err, SAEURON_EFORMAT, "%s: its metadata has a key longer than %zu bytes", first->path,
                    sizeof name - 1);
    int code = read_value(&w->part[0], name, w->a, err);
    for (size_t i = 1; i < w->parts && !code; i++) {
        code = read_value(&w->part[i], name, w->b, err);
        if (code || !strcmp(w->a, w->b))
            continue;
        same = false;
        if (!is_one_of(name, own_keys) && (!w->whole || (is_one_of(name, binding_keys) && *w->a && *w->b)))
            return fail(err, SAEURON_EFORMAT,
                        "%s: its metadata has %s \"%.60s\", but that of %s has \"%.60s\": they are of "
                        "different runs",
                        w->part[i].t.path, name, w->b, first->path, w->a);
    }
    if (code)
        return code;
    if (!strcmp(name, "shard"))
        value = "0/1";
    else if (!strcmp(name, "first_prompt"))
        value = "0";
    else if (!strcmp(name, "prompts") && w->activations)
        metadata_get(first->metadata, "all_prompts", w->a, META_BYTES);
    else if (!strcmp(name, "prompts"))
        value = w->described.at;
    else if (!strcmp(name, "all_concepts"))
        print_into(w->a, META_BYTES, "%zu", w->count);
    else if (!same)
        return SAEURON_OK;
    code = keep(w, name, err);
    return code ? code : keep(w, value, err);
}

/* The merged file's metadata: the first part's keys in their order. */
static int merge_metadata(merging *w, saeuron_error *err)
{
    const tensors *first = &w->part[0].t;
    json key, v;
    char name[64];
    int  code = SAEURON_OK;
    for (size_t i = 0; i < w->parts && !w->whole; i++) /* no part of one run has keys that the first lacks */
        for (json_iter it = json_begin(w->part[i].t.metadata); json_next(&it, &key, NULL);)
            if (json_string(key, name, sizeof name, NULL) && !json_get(first->metadata, name, &v))
                return fail(err, SAEURON_EFORMAT,
                            "%s: its metadata has %s, which that of %s lacks: they are of different runs",
                            w->part[i].t.path, name, first->path);
    if (!w->activations)
        code = describe_prompts(&w->described, w->path, w->list, w->prompts, w->count, err);
    if (code)
        return code;
    w->room = (size_t)(first->metadata.end - first->metadata.at) + META_BYTES;
    w->pair = io_alloc(w->host, 2 * json_length(first->metadata) + 1, sizeof *w->pair);
    w->text = io_alloc(w->host, w->room, 1);
    if (!w->pair || !w->text)
        return fail(err, SAEURON_ENOMEM, "no memory for the merged file's header");
    for (json_iter it = json_begin(first->metadata); !code && json_next(&it, &key, NULL);)
        code = merge_key(w, key, err);
    w->pair[w->pairs] = NULL;
    return code;
}

/* ---- the whole ---- */

static int merge(merging *w, const char *const *paths, saeuron_error *err)
{
    io_out out;
    int    code;
    if ((code = open_parts(w, paths, err)) != SAEURON_OK || (code = list_tensors(w, err)) != SAEURON_OK ||
        (code = merge_metadata(w, err)) != SAEURON_OK)
        return code;
    code = tensors_begin(&out, w->host, w->path, w->list, w->count, w->pair, err);
    for (size_t i = 0; i < w->parts && !code; i++) {
        const part_file *p = &w->part[i];
        for (size_t j = 0; j < p->t.count && !code; j++)
            code = io_out_write(&out, p->order[j]->data, p->order[j]->bytes, err);
        tensors_release(&p->t);
    }
    if (!code)
        code = io_out_commit(&out, err);
    io_out_abort(&out);
    return code;
}

int merge_parts(const saeuron_host *host, const char *const *paths, size_t count, const char *out,
                saeuron_error *err)
{
    merging w = { .host = host, .path = out, .parts = count, .described = { .host = host } };
    int code;
    if (!count)
        return fail(err, SAEURON_EUSAGE, "there is nothing to merge");
    if (!(w.part = io_alloc(host, count, sizeof *w.part)))
        return fail(err, SAEURON_ENOMEM, "no memory for %zu parts", count);
    memset(w.part, 0, count * sizeof *w.part);
    code = merge(&w, paths, err);
    for (size_t i = 0; i < count; i++) {
        tensors_close(&w.part[i].t);
        io_free(host, w.part[i].order);
    }
    io_free(host, w.part);
    io_free(host, w.list);
    io_free(host, w.prompts);
    text_free(&w.described);
    io_free(host, w.pair);
    io_free(host, w.text);
    io_free(host, w.a);
    return code;
}
