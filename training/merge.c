/* merge.c: the parts of one run joined to the file that one run would have written, to the byte.
 * Not here: who makes parts (collect.c, statistics.c). */
#include "training/merge.h"
#include "files/decimal.h"
#include "training/collect.h"
#include "training/statistics.h"

#include <stdio.h>
#include <string.h>

/* ---- parts ---- */

/* An open part: its tensors in the file's order, its place among the parts. */
typedef struct part_file { tensors t; size_t *order; shard s; } part_file;

static int open_part(part_file *p, const saeuron_host *host, const char *path, saeuron_error *err)
{
    json v;
    char text[64], format[64];
    int  code = tensors_open(&p->t, host, path, err);
    if (code)
        return code;
    if (!(p->order = io_alloc(host, p->t.count, sizeof *p->order)))
        return fail(err, SAEURON_ENOMEM, "%s: no memory for the order of its tensors", path);
    for (size_t j = 0; j < p->t.count; j++) { /* by place; `tensors` sorts by name */
        size_t at = j;
        for (; at && p->t.list[p->order[at - 1]].data > p->t.list[j].data; at--)
            p->order[at] = p->order[at - 1];
        p->order[at] = j;
    }
    metadata_get(p->t.metadata, "format", format, sizeof format);
    if (strcmp(format, ACTIVATIONS_FORMAT) && strcmp(format, STATISTICS_FORMAT) && (*format || !json_get(p->t.metadata, "timesteps", &v)))
        return fail(err, SAEURON_EFORMAT, "%s: holds neither activations nor statistics: merge joins what collect and stats write", path);
    metadata_get(p->t.metadata, "shard", text, sizeof text);
    p->s = (shard){ 0, 1 };
    if (*text && !io_parse_part(text, &p->s.i, &p->s.N))
        return fail(err, SAEURON_EFORMAT, "%s: metadata \"shard\" is \"%.40s\", not I/N", path, text);
    return SAEURON_OK;
}

/* Puts the parts in order; every one must be there, once. whole: they are no parts of one run, but runs. */
static int order_parts(part_file *p, size_t count, bool *whole, saeuron_error *err)
{
    *whole = true;
    for (size_t i = 0; i < count; i++)
        *whole &= p[i].s.N == 1;
    for (size_t i = 0; i < count && !*whole; i++) {
        if (p[i].s.N != p[0].s.N)
            return fail(err, SAEURON_EFORMAT, "%s is shard %zu/%zu, but %s is of %zu: they are of different runs", p[i].t.path, p[i].s.i, p[i].s.N, p[0].t.path, p[0].s.N);
        for (size_t j = i; j && p[j - 1].s.i >= p[j].s.i; j--) {
            if (p[j - 1].s.i == p[j].s.i)
                return fail(err, SAEURON_EFORMAT, "%s and %s are both shard %zu/%zu", p[j - 1].t.path, p[j].t.path, p[j].s.i, p[j].s.N);
            const part_file swap = p[j];
            p[j] = p[j - 1];
            p[j - 1] = swap;
        }
    }
    for (size_t i = 0; i < count && !*whole; i++)
        if (p[i].s.i != i || (i + 1 == count && count != p[0].s.N))
            return fail(err, SAEURON_EFORMAT, "shard %zu/%zu is missing: %zu parts were given, all %zu are needed", p[i].s.i != i ? i : count, p[0].s.N, count, p[0].s.N);
    return SAEURON_OK;
}

/* Keys that may differ between parts of one run: their sums and the whole's values stand in the merged file. */
static bool own_key(json key) { return json_equals(key, "shard") || json_equals(key, "prompts") || json_equals(key, "first_prompt"); }

/* Keys in which runs joined as wholes must agree, where both say something; all keys are kept where all agree. */
static bool binding_key(json key)
{
    static const char *const keys[] = { "what", "hook", "sae", "model", "cfg", "steps", "timesteps", "size", "half", "negative_prompt" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (json_equals(key, keys[i]))
            return true;
    return false;
}

#define META_BYTES 32768

/* Whether all parts have what the first has under key, unless the key is a part's own; *all: they do. */
static int compare_key(const part_file *p, size_t count, json key, bool whole, bool *all, char *a, char *b, saeuron_error *err)
{
    char name[64];
    *all = true;
    if (!json_string(key, name, sizeof name, NULL))
        return fail(err, SAEURON_EFORMAT, "%s: its metadata has a key longer than %zu bytes", p[0].t.path, sizeof name - 1);
    metadata_get(p[0].t.metadata, name, a, META_BYTES);
    for (size_t i = 1; i < count; i++) {
        metadata_get(p[i].t.metadata, name, b, META_BYTES);
        if (!strcmp(a, b))
            continue;
        *all = false;
        if (!own_key(key) && (!whole || (binding_key(key) && *a && *b)))
            return fail(err, SAEURON_EFORMAT, "%s: its metadata has %s \"%.60s\", but that of %s has \"%.60s\": they are of different runs", p[i].t.path, name, b, p[0].t.path, a);
    }
    return SAEURON_OK;
}

/* Prompts of one part's concept `name`, from metadata "prompts". */
static int concept_prompts(const part_file *p, const char *text, const char *name, size_t *count, saeuron_error *err)
{
    json    v, n;
    int64_t x;
    int code = json_open(&v, text, strlen(text), p->t.path, err);
    if (code)
        return code;
    if (json_kind(v) == '{' && !json_get(v, name, &n))
        return fail(err, SAEURON_EFORMAT, "%s: metadata \"prompts\" lacks concept %.80s", p->t.path, name);
    if (!json_integer(json_kind(v) == '{' ? n : v, &x) || x < 1)
        return fail(err, SAEURON_EFORMAT, "%s: metadata \"prompts\" must be a count of at least 1, or one for each concept", p->t.path);
    *count = (size_t)x;
    return SAEURON_OK;
}

typedef struct merging {
    const saeuron_host *host;
    const char *path;               /* of the merged file */
    part_file *part;
    size_t parts, tensors, pairs;
    bool   whole, activations;
    tensor_out *list;
    const char **name;
    size_t *counts;
    const char **pair;
    char  *text, *a, *b, *prompts;  /* the metadata's texts; room to compare two */
} merging;

/* Every part's tensors, in order: the list of the merged file. */
static int list_tensors(merging *w, saeuron_error *err)
{
    json   v;
    size_t at = 0, all = 0;
    int    code = SAEURON_OK;
    for (size_t i = 0; i < w->parts; i++) {
        const part_file *p = &w->part[i];
        if (!metadata_get(p->t.metadata, "prompts", w->a, META_BYTES) && json_get(p->t.metadata, "prompts", &v))
            return fail(err, SAEURON_EFORMAT, "%s: metadata \"prompts\" is longer than %d bytes", p->t.path, META_BYTES);
        for (size_t j = 0; j < p->t.count; j++, at++) {
            const tensor *t = &p->t.list[p->order[j]], *f = w->part[0].t.count ? &w->part[0].t.list[w->part[0].order[0]] : t;
            if (t->ndim < 2 || t->ndim > 3 || (t->type != DT_F32 && t->type != DT_F16) || (w->activations && (p->t.count != 1 || strcmp(t->name, "activations"))))
                return fail(err, SAEURON_EFORMAT, "%s: tensor %.80s is nothing that collect or stats write", p->t.path, t->name);
            if (t->type != f->type || t->ndim != f->ndim || t->shape[t->ndim - 1] != f->shape[f->ndim - 1] || t->shape[t->ndim - 2] != f->shape[f->ndim - 2])
                return fail(err, SAEURON_EFORMAT, "%s: tensor %.80s has another type or shape than %s has: they are of different runs", p->t.path, t->name, w->part[0].t.path);
            w->list[at] = (tensor_out){ .name = t->name, .type = t->type, .ndim = t->ndim, .shape = { t->shape[0], t->shape[1], t->ndim == 3 ? t->shape[2] : 0 } };
            w->name[at] = t->name;
            all += t->shape[0];
            if (!w->activations && (code = concept_prompts(p, *w->a ? w->a : "1", t->name, &w->counts[at], err)) != SAEURON_OK)
                return code;
        }
        if (w->activations && !p->t.count)
            return fail(err, SAEURON_EFORMAT, "%s: tensor activations is missing", p->t.path);
    }
    w->tensors = w->activations ? 1 : at;
    if (w->activations)
        w->list[0].shape[0] = all;
    return SAEURON_OK;
}

/* The merged file's metadata: the first part's, in its order, as a whole run would have written it. */
static int merge_metadata(merging *w, saeuron_error *err)
{
    json   key, v;
    size_t at = 0, room = 0;
    bool   all;
    int    code = SAEURON_OK;
    for (size_t i = 0; i < w->parts; i++) { /* none may have keys that the first lacks */
        json_iter it = json_begin(w->part[i].t.metadata);
        while (!w->whole && json_next(&it, &key, NULL)) {
            char name[64];
            if (json_string(key, name, sizeof name, NULL) && !json_get(w->part[0].t.metadata, name, &v))
                return fail(err, SAEURON_EFORMAT, "%s: its metadata has %s, which that of %s lacks: they are of different runs", w->part[i].t.path, name, w->part[0].t.path);
        }
    }
    room = (size_t)(w->part[0].t.metadata.end - w->part[0].t.metadata.at) + META_BYTES;
    w->pair = io_alloc(w->host, 2 * json_length(w->part[0].t.metadata) + 1, sizeof *w->pair);
    w->text = io_alloc(w->host, room, 1);
    w->prompts = w->activations ? NULL : describe_counts(w->host, w->name, w->counts, w->tensors);
    if (!w->pair || !w->text || (!w->activations && !w->prompts))
        return fail(err, SAEURON_ENOMEM, "no memory for the merged file's header");
    if (w->prompts && strlen(w->prompts) >= COUNTS_BYTES)
        return too_many(w->path, err);
    for (json_iter it = json_begin(w->part[0].t.metadata); !code && json_next(&it, &key, NULL);) {
        if ((code = compare_key(w->part, w->parts, key, w->whole, &all, w->a, w->b, err)) != SAEURON_OK)
            return code;
        const char *value = w->a;
        if (json_equals(key, "shard"))
            value = "0/1";
        else if (json_equals(key, "first_prompt"))
            value = "0";
        else if (json_equals(key, "prompts") && w->activations)
            metadata_get(w->part[0].t.metadata, "all_prompts", w->a, META_BYTES);
        else if (json_equals(key, "prompts"))
            value = w->prompts;
        else if (json_equals(key, "all_concepts"))
            snprintf(w->a, META_BYTES, "%zu", w->tensors);
        else if (!all)
            continue;
        w->pair[w->pairs++] = w->text + at;
        json_string(key, w->text + at, room - at, NULL);
        at += strlen(w->text + at) + 1;
        w->pair[w->pairs++] = value == w->prompts ? value : w->text + at;
        if (value != w->prompts) {
            if (at + strlen(value) + 1 > room)
                return fail(err, SAEURON_EFORMAT, "%s: its metadata is longer than its header", w->part[0].t.path);
            strcpy(w->text + at, value);
            at += strlen(value) + 1;
        }
    }
    w->pair[w->pairs] = NULL;
    return code;
}

static int merge(merging *w, const char *const *paths, saeuron_error *err)
{
    size_t all = 0;
    char   format[64];
    io_out out;
    int    code = SAEURON_OK;
    for (size_t i = 0; i < w->parts && !code; i++) {
        code = open_part(&w->part[i], w->host, paths[i], err);
        all += w->part[i].t.count;
    }
    if (code || (code = order_parts(w->part, w->parts, &w->whole, err)) != SAEURON_OK)
        return code;
    metadata_get(w->part[0].t.metadata, "format", format, sizeof format);
    w->activations = !strcmp(format, ACTIVATIONS_FORMAT);
    if (w->activations && w->whole && w->parts > 1)
        return fail(err, SAEURON_EFORMAT, "%s and %s hold the activations of whole runs, no parts of one: train takes several files", w->part[0].t.path, w->part[1].t.path);
    w->list = io_alloc(w->host, all, sizeof *w->list);
    w->name = io_alloc(w->host, all, sizeof *w->name);
    w->counts = io_alloc(w->host, all, sizeof *w->counts);
    w->a = io_alloc(w->host, META_BYTES, 2);
    if (!w->list || !w->name || !w->counts || !w->a)
        return fail(err, SAEURON_ENOMEM, "no memory for the list of %zu tensors", all);
    w->b = w->a + META_BYTES;
    if ((code = list_tensors(w, err)) != SAEURON_OK || (code = merge_metadata(w, err)) != SAEURON_OK)
        return code;
    code = tensors_begin(&out, w->host, w->path, w->list, w->tensors, w->pair, err);
    for (size_t i = 0; i < w->parts && !code; i++) {
        const part_file *p = &w->part[i];
        for (size_t j = 0; j < p->t.count && !code; j++)
            code = io_out_write(&out, p->t.list[p->order[j]].data, p->t.list[p->order[j]].bytes, err);
        tensors_release(&p->t);
    }
    if (!code)
        code = io_out_commit(&out, err);
    io_out_abort(&out);
    return code;
}

int merge_parts(const saeuron_host *host, const char *const *paths, size_t count, const char *out, saeuron_error *err)
{
    merging w = { .host = host, .path = out, .parts = count };
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
    io_free(host, w.name);
    io_free(host, w.counts);
    io_free(host, w.pair);
    io_free(host, w.text);
    io_free(host, w.a);
    io_free(host, w.prompts);
    return code;
}
