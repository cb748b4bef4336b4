/* concepts.c: concepts and the prompts that show them, from concepts.json or a file.
 *
 *   concepts.json's domain, or {"NAME": ["prompt", ...], ...} --twice: measured, kept--> concept_set
 *
 * Not here: what is measured on them (statistics.c).
 * Source: SAeUron, arXiv 2501.18052, section 4; released scripts/gather_sae_acts_ca_prompts.py and _cls.py. */
#include "training/concepts.h"
#include "forget.h"

#include <stdio.h>
#include <string.h>

#define PROMPT_BYTES 16384
enum { CONCEPT_BYTES = 95 };

/* Filled twice: once to measure (list NULL), once with memory. */
typedef struct filling {
    concept_entry *list;
    const char **prompt;
    char  *text;
    size_t concepts, prompts, bytes;
    const char *path;
} filling;

static const char *put_string(filling *f, const char *text)
{
    char *to = f->text ? f->text + f->bytes : NULL;
    f->bytes += strlen(text) + 1;
    return to ? strcpy(to, text) : NULL;
}

static int begin_concept(filling *f, const char *name, saeuron_error *err)
{
    if (!*name || strlen(name) > CONCEPT_BYTES || strchr(name, ',') || !strncmp(name, "__", 2))
        return fail(err, SAEURON_EFORMAT, "%s: \"%.100s\" cannot name a concept: choose 1 to %d bytes without commas", f->path, name, CONCEPT_BYTES);
    for (size_t i = 0; f->list && i < f->concepts; i++)
        if (!strcmp(f->list[i].name, name))
            return fail(err, SAEURON_EFORMAT, "%s: concept %s is there twice", f->path, name);
    const char *own = put_string(f, name);
    if (f->list)
        f->list[f->concepts] = (concept_entry){ .name = own, .prompts = f->prompt + f->prompts, .first = f->prompts };
    f->concepts++;
    return SAEURON_OK;
}

/* One prompt of the concept begun last: line as it stands, without white space at its ends if it is a calibration line; styled: one
 * final full stop dropped, then " in STYLE style.", STYLE's underscores being spaces (released gather_sae_acts_ca_prompts.py). */
static int add_prompt(filling *f, json line, bool strip, const char *style, saeuron_error *err)
{
    char   text[PROMPT_BYTES + 2 * CONCEPT_BYTES], *from = text;
    size_t n;
    if (!json_string(line, text, PROMPT_BYTES, &n))
        return fail(err, SAEURON_EFORMAT, "%s: a prompt is no text of fewer than %d bytes", f->path, PROMPT_BYTES);
    while (strip && n && strchr(" \t\r\n\v\f", text[n - 1]))
        text[--n] = 0;
    while (strip && *from && strchr(" \t\r\n\v\f", *from))
        from++, n--;
    if (style) {
        n -= (size_t)(n && from[n - 1] == '.');
        const int more = snprintf(from + n, 2 * CONCEPT_BYTES, " in %s style.", style);
        for (int i = 0; i < more; i++)
            from[n + (size_t)i] = (char)(from[n + (size_t)i] == '_' ? ' ' : from[n + (size_t)i]);
    }
    const char *own = put_string(f, from);
    if (f->list) {
        f->prompt[f->prompts] = own;
        f->list[f->concepts - 1].count++;
    }
    f->prompts++;
    return SAEURON_OK;
}

/* The first `lines` of an array of prompts. */
static int add_lines(filling *f, json array, const char *concept_name, size_t lines, saeuron_error *err)
{
    json   line;
    size_t n = 0;
    int    code = SAEURON_OK;
    if (json_kind(array) != '[' || !json_length(array))
        return fail(err, SAEURON_EFORMAT, "%s: concept %.95s has no list of prompts: {\"%.95s\": [\"a prompt\", ...]}", f->path, concept_name, concept_name);
    for (json_iter it = json_begin(array); !code && (!lines || n < lines) && json_next(&it, NULL, &line); n++)
        code = add_prompt(f, line, false, NULL, err);
    return code;
}

/* A file of our own: {"NAME": ["prompt", ...], ...}. */
static int fill_file(filling *f, json root, size_t lines, saeuron_error *err)
{
    json key, array;
    char name[512];
    int  code = SAEURON_OK;
    if (json_kind(root) != '{')
        return fail(err, SAEURON_EFORMAT, "%s: is no object {\"CONCEPT\": [\"a prompt\", ...], ...}", f->path);
    for (json_iter it = json_begin(root); !code && json_next(&it, &key, &array);) {
        if (!json_string(key, name, sizeof name, NULL))
            return fail(err, SAEURON_EFORMAT, "%s: the name of concept %zu is longer than %d bytes or holds a zero", f->path, f->concepts, CONCEPT_BYTES);
        if ((code = begin_concept(f, name, err)) == SAEURON_OK)
            code = add_lines(f, array, name, lines, err);
    }
    return code;
}

/* concepts.json's domain at hook: objects take their own calibration lines, styles the first line of every object. */
static int fill_domain(filling *f, json root, const char *hook, size_t lines, saeuron_error *err)
{
    const json none = { NULL, NULL };
    json domains = none, domain = none, key, value = none, calibration = none, array, line;
    char name[512], at[96];
    bool style = false, found = false;
    int  code = SAEURON_OK;
    json_get(root, "calibration", &calibration);
    json_get(root, "domains", &domains);
    for (json_iter it = json_begin(domains); !found && json_next(&it, &key, &domain);) {
        found = json_get(domain, "hook", &value) && json_string(value, at, sizeof at, NULL) && !strcmp(strncmp(at, "unet.", 5) ? at : at + 5, hook);
        style = json_equals(key, "style");
    }
    if (!found || !calibration.at)
        return fail(err, SAEURON_EFORMAT, "%s: %s: name the concepts and their prompts with --concepts FILE", f->path,
                    found ? "it has no \"calibration\"" : "none of its \"domains\" has this hook");
    value = none;
    json_get(domain, "concepts", &value);
    for (json_iter it = json_begin(value); !code && json_next(&it, NULL, &key);) {
        if (!json_string(key, name, sizeof name, NULL))
            return fail(err, SAEURON_EFORMAT, "%s: the name of concept %zu is no text of at most %d bytes", f->path, f->concepts, CONCEPT_BYTES);
        if ((code = begin_concept(f, name, err)) != SAEURON_OK)
            return code;
        const size_t before = f->prompts;
        if (!style && json_get(calibration, name, &array))
            for (json_iter l = json_begin(array); !code && (!lines || f->prompts - before < lines) && json_next(&l, NULL, &line);)
                code = add_prompt(f, line, true, NULL, err);
        for (json_iter o = json_begin(style ? calibration : none); !code && (!lines || f->prompts - before < lines) && json_next(&o, NULL, &array);) {
            json_iter l = json_begin(array);
            if (json_next(&l, NULL, &line))
                code = add_prompt(f, line, true, name, err);
        }
        if (!code && f->prompts == before)
            code = fail(err, SAEURON_EFORMAT, "%s: \"calibration\" has no prompts for %.95s: name them with --concepts FILE", f->path, name);
    }
    return code;
}

int concepts_open(concept_set *c, const saeuron_context *x, const char *hook, const char *path, size_t lines, saeuron_error *err)
{
    char    name[96];
    io_file file;
    json    root = x->concepts;
    filling f = { .path = path ? path : x->concepts_file.path };
    int     code;
    memset(c, 0, sizeof *c);
    if ((code = hook_name(x, hook, name, err)) != SAEURON_OK)
        return code;
    if (!path && !root.at)
        return fail(err, SAEURON_ENOENT, "%.300s/concepts.json: there is none, so name the concepts and their prompts with --concepts FILE", x->dir);
    if (path && (code = io_open(&file, &x->host, path, err)) != SAEURON_OK)
        return code;
    if (path)
        code = json_open(&root, (const char *)file.data, file.size, path, err);
    for (int pass = 0; pass < 2 && !code; pass++) { /* once to measure, once to keep */
        if (pass) {
            const size_t lists = f.concepts * sizeof(concept_entry) + f.prompts * sizeof(char *);
            if (!(c->memory = io_alloc(&x->host, lists + f.bytes, 1))) {
                code = fail(err, SAEURON_ENOMEM, "%s: no memory for its prompts", f.path);
                break;
            }
            c->list = c->memory;
            c->count = f.concepts;
            c->prompts = f.prompts;
            f = (filling){ .list = c->list, .prompt = (const char **)(void *)(c->list + f.concepts), .text = (char *)c->memory + lists, .path = f.path };
        }
        code = path ? fill_file(&f, root, lines, err) : fill_domain(&f, root, name, lines, err);
        if (!code && !f.concepts)
            code = fail(err, SAEURON_EFORMAT, "%s: there is no concept in it", f.path);
    }
    if (path)
        io_close(&file);
    if (code)
        concepts_close(c, &x->host);
    return code;
}

void concepts_close(concept_set *c, const saeuron_host *host)
{
    io_free(host, c->memory);
    memset(c, 0, sizeof *c);
}
