/* concepts.c: concepts and the prompts that show them, from concepts.json or a file.
 *
 *   {"NAME": ["prompt", ...], ...}, or a domain of concepts.json --filled twice--> concept_set
 *
 * Not here: what is measured on them (statistics.c).
 * Source: SAeUron, arXiv 2501.18052, section 4; released scripts/gather_sae_acts_ca_prompts{,_cls}.py. */
#include "training/concepts.h"
#include "files/print.h"
#include "files/sort.h"
#include "forget.h"

#include <string.h>

enum { PROMPT_BYTES = 16384, CONCEPT_BYTES = 95 };

/* The set is filled twice: once without memory (list NULL), to count; once with it. */
typedef struct filling {
    concept_entry *list;
    const char **prompt;
    char  *text;
    size_t concepts, prompts, bytes;    /* so far */
    const char *path;                   /* for messages */
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
        return fail(err, SAEURON_EFORMAT,
                    "%s: \"%.100s\" cannot name a concept: choose 1 to %d bytes without commas", f->path,
                    name, CONCEPT_BYTES);
    const char *own = put_string(f, name);
    if (f->list)
        f->list[f->concepts] = (concept_entry){ .name = own,
                                                .prompts = f->prompt + f->prompts,
                                                .first = f->prompts };
    f->concepts++;
    return SAEURON_OK;
}

/* One prompt of the concept begun last: line number `number` of those that the file lists under `whose`.
 * strip: white space at both ends of line is left out. style, if not NULL: one full stop at its end is left
 * out, then " in STYLE style." is added, STYLE's underscores being spaces (released
 * gather_sae_acts_ca_prompts.py). */
static int add_prompt(filling *f, json line, const char *whose, size_t number, bool strip, const char *style,
                      saeuron_error *err)
{
    char   text[PROMPT_BYTES + 2 * CONCEPT_BYTES], *from = text;
    size_t n;
    if (!json_string(line, text, PROMPT_BYTES, &n))
        return fail(err, SAEURON_EFORMAT, "%s: prompt %zu of \"%.95s\" is no text of fewer than %d bytes: "
                    "shorten it", f->path, number, whose, PROMPT_BYTES);
    while (strip && n && strchr(" \t\r\n\v\f", text[n - 1]))
        text[--n] = 0;
    while (strip && *from && strchr(" \t\r\n\v\f", *from))
        from++, n--;
    if (style) {
        n -= (size_t)(n && from[n - 1] == '.');
        const size_t more = print_into(from + n, 2 * CONCEPT_BYTES, " in %s style.", style);
        for (size_t i = 0; i < more; i++)
            from[n + i] = (char)(from[n + i] == '_' ? ' ' : from[n + i]);
    }
    const char *own = put_string(f, from);
    if (f->list) {
        f->prompt[f->prompts] = own;
        f->list[f->concepts - 1].count++;
    }
    f->prompts++;
    return SAEURON_OK;
}

/* ---- a file: {"NAME": ["prompt", ...], ...} ---- */

/* The first `lines` of a concept's prompts; 0: all. */
static int add_lines(filling *f, json array, const char *name, size_t lines, saeuron_error *err)
{
    json   line;
    size_t n = 0;
    int    code = SAEURON_OK;
    if (json_kind(array) != '[' || !json_length(array))
        return fail(err, SAEURON_EFORMAT,
                    "%s: concept %.95s has no list of prompts: {\"%.95s\": [\"a prompt\", ...]}", f->path,
                    name, name);
    for (json_iter it = json_begin(array); !code && (!lines || n < lines) && json_next(&it, NULL, &line); n++)
        code = add_prompt(f, line, name, n, false, NULL, err);
    return code;
}

static int fill_file(filling *f, json root, size_t lines, saeuron_error *err)
{
    json key, array;
    char name[512];
    int  code = SAEURON_OK;
    if (json_kind(root) != '{')
        return fail(err, SAEURON_EFORMAT, "%s: is no object {\"CONCEPT\": [\"a prompt\", ...], ...}",
                    f->path);
    for (json_iter it = json_begin(root); !code && json_next(&it, &key, &array);) {
        if (!json_string(key, name, sizeof name, NULL))
            return fail(err, SAEURON_EFORMAT,
                        "%s: the name of concept %zu is longer than %d bytes or holds a zero", f->path,
                        f->concepts, CONCEPT_BYTES);
        if ((code = begin_concept(f, name, err)) == SAEURON_OK)
            code = add_lines(f, array, name, lines, err);
    }
    return code;
}

/* ---- concepts.json ---- */

/* The domain whose hook is this one. *style: its concepts are styles. */
static bool find_domain(const saeuron_context *x, const char *hook, json *domain, bool *style)
{
    json domains, key;
    char own[96];
    if (!json_get(x->concepts, "domains", &domains))
        return false;
    for (json_iter it = json_begin(domains); json_next(&it, &key, domain);) {
        *style = json_equals(key, "style");
        if (hook_of_domain(x, *domain, own) && !strcmp(own, hook))
            return true;
    }
    return false;
}

/* "calibration" of concepts.json, by name. */
typedef struct calibrated { const char *name; json lines; } calibrated;
typedef struct calibration { calibrated *list; size_t count; } calibration;

/* One block of memory, c->list, for io_free: the list and its names. */
static int index_calibration(calibration *c, json object, const saeuron_host *host, const char *path,
                             saeuron_error *err)
{
    const size_t lists = json_length(object) * sizeof *c->list, room = (size_t)(object.end - object.at);
    json   key, lines;
    size_t used = 0, n;
    if (json_kind(object) != '{')
        return fail(err, SAEURON_EFORMAT, "%s: \"calibration\" is no object {\"OBJECT\": [\"a prompt\", "
                    "...], ...}", path);
    if (!(c->list = io_alloc(host, lists + room, 1)))
        return fail(err, SAEURON_ENOMEM, "%s: no memory for its \"calibration\"", path);
    char *names = (char *)c->list + lists; /* none is longer here than it is there, its NUL than its quote */
    for (json_iter it = json_begin(object); json_next(&it, &key, &lines); used += n + 1) {
        if (!json_string(key, names + used, room - used, &n))
            return fail(err, SAEURON_EFORMAT, "%s: name %zu of \"calibration\" holds a zero", path, c->count);
        c->list[c->count++] = (calibrated){ names + used, lines };
    }
    return SAEURON_OK;
}

/* Calibration prompts of one concept, the first `lines` (0: all): an object's own, of a list sorted by name;
 * a style's are the first line of every object, in the style, of a list as it stands in the file. */
static int add_calibration(filling *f, const calibration *c, const char *name, bool style, size_t lines,
                           saeuron_error *err)
{
    const size_t before = f->prompts;
    json line;
    int  code = SAEURON_OK;
    for (size_t i = 0; style && i < c->count && !code && (!lines || f->prompts - before < lines); i++) {
        json_iter it = json_begin(c->list[i].lines);
        if (json_next(&it, NULL, &line))
            code = add_prompt(f, line, c->list[i].name, 0, true, name, err);
    }
    const calibrated *own = style ? NULL : find_by_name(c->list, c->count, sizeof *c->list, name);
    json_iter it = json_begin(own ? own->lines : (json){ NULL, NULL });
    while (!code && (!lines || f->prompts - before < lines) && json_next(&it, NULL, &line))
        code = add_prompt(f, line, name, f->prompts - before, true, NULL, err);
    if (!code && f->prompts == before)
        return fail(err, SAEURON_EFORMAT,
                    "%s: \"calibration\" has no prompts for %.95s: add some, or name concept_file", f->path,
                    name);
    return code;
}

static int fill_domain(filling *f, const saeuron_context *x, const char *hook, size_t lines,
                       saeuron_error *err)
{
    json domain, object, concepts, concept_name;
    calibration c = { NULL, 0 };
    char name[512];
    bool style = false;
    const bool found = find_domain(x, hook, &domain, &style);
    if (!found || !json_get(x->concepts, "calibration", &object))
        return fail(err, SAEURON_EFORMAT, "%s: %s: name the concepts and their prompts in concept_file",
                    f->path, found ? "it has no \"calibration\"" : "none of its \"domains\" has this hook");
    if (!json_get(domain, "concepts", &concepts) || json_kind(concepts) != '[')
        return fail(err, SAEURON_EFORMAT, "%s: the domain of hook %s has no list \"concepts\"", f->path,
                    hook);
    int code = index_calibration(&c, object, &x->host, f->path, err);
    if (!style)
        sort_by_name(c.list, c.count, sizeof *c.list);
    for (json_iter it = json_begin(concepts); !code && json_next(&it, NULL, &concept_name);) {
        if (!json_string(concept_name, name, sizeof name, NULL))
            code = fail(err, SAEURON_EFORMAT, "%s: the name of concept %zu is no text of at most %d bytes",
                        f->path, f->concepts, CONCEPT_BYTES);
        if (!code && (code = begin_concept(f, name, err)) == SAEURON_OK)
            code = add_calibration(f, &c, name, style, lines, err);
    }
    io_free(&x->host, c.list);
    return code;
}

/* ---- both ---- */

/* Memory for what f counted, all in one block; f then begins again. */
static int take_memory(concept_set *c, filling *f, const saeuron_host *host, saeuron_error *err)
{
    const size_t lists = f->concepts * sizeof(concept_entry) + f->prompts * sizeof(char *);
    if (!(c->memory = io_alloc(host, lists + f->bytes, 1)))
        return fail(err, SAEURON_ENOMEM, "%s: no memory for its prompts", f->path);
    c->list = c->memory;
    c->count = f->concepts;
    c->prompts = f->prompts;
    *f = (filling){ .list = c->list, .prompt = (const char **)(void *)(c->list + f->concepts),
                    .text = (char *)c->memory + lists, .path = f->path };
    return SAEURON_OK;
}

static int check_names(const concept_set *c, const saeuron_host *host, const char *path, saeuron_error *err)
{
    const char *twice;
    if (find_twice(&twice, host, c->list, c->count, sizeof *c->list))
        return fail(err, SAEURON_ENOMEM, "%s: no memory for the names of its concepts", path);
    return twice ? fail(err, SAEURON_EFORMAT, "%s: concept %s is there twice: rename one", path, twice)
                 : SAEURON_OK;
}

int concepts_open(concept_set *c, const saeuron_context *x, const char *hook, const char *concept_file,
                  size_t lines, saeuron_error *err)
{
    char    name[96];
    io_file file;
    json    root;
    filling f = { .path = concept_file ? concept_file : x->concepts_file.path };
    int     code;
    memset(c, 0, sizeof *c);
    if ((code = hook_name(x, hook, name, err)) != SAEURON_OK)
        return code;
    if (!concept_file && !x->concepts.at)
        return fail(err, SAEURON_ENOENT,
                    "%.300s/concepts.json: there is none: name the concepts and their prompts in "
                    "concept_file",
                    x->dir);
    if (concept_file && (code = io_open(&file, &x->host, concept_file, err)) != SAEURON_OK)
        return code;
    if (concept_file)
        code = json_open(&root, (const char *)file.data, file.size, concept_file, err);
    for (int pass = 0; pass < 2 && !code; pass++) {
        if (pass)
            code = take_memory(c, &f, &x->host, err);
        if (!code)
            code = concept_file ? fill_file(&f, root, lines, err) : fill_domain(&f, x, name, lines, err);
        if (!code && !f.concepts)
            code = fail(err, SAEURON_EFORMAT, "%s: there is no concept in it", f.path);
    }
    if (concept_file)
        io_close(&file);
    if (!code)
        code = check_names(c, &x->host, f.path, err);
    if (code)
        concepts_close(c, &x->host);
    return code;
}

void concepts_close(concept_set *c, const saeuron_host *host)
{
    io_free(host, c->memory);
    memset(c, 0, sizeof *c);
}
