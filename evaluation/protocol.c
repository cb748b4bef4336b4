/* protocol.c: what an evaluation draws and what each of its numbers counts, as data.
 *
 *   concepts.json, classifiers --> classes;  a name or a JSON file --> places, seeds, rules
 *
 * Not here: counting by the rules (metrics.c), drawing and judging (drawing.c).
 * Source: SAeUron, arXiv 2501.18052, section 4; released code scripts/accuracy_unlearncanvas_*.py,
 * avg_accuracy_*.py at commit 1a4302a; UnlearnCanvas, arXiv 2402.11846. Where they part: docs/audit.md A7,
 * A11, A15 to A17, A22. */
#include "evaluation/protocol.h"
#include "files/print.h"

#include <inttypes.h>
#include <string.h>

const char *const domain_names[DOMAINS] = { "style", "object" };
const char *const metric_names[METRICS] = { "UA", "IRA", "CRA", "CRA_own" };
static const char *const of_names[] = { "forgotten", "others", "all" };
static const char *const mean_names[] = { "images", "styles", "objects" };

/* ---- the named protocols ---- */

#define HALF (-1.0) /* plain weight: as many as there are styles, so that unstyled images weigh half */
static const uint64_t test_seeds[] = { 188, 288, 588, 688, 888 };

/* AUDIT A16: the released code writes each unstyled image once a style, over itself, so that the last style's
 * noise survives; here it is one image, at its own place of the list. AUDIT A15: the released code saves JPEG
 * of quality 75 before it classifies; here PNG. AUDIT A17: the released tables of sequential unlearning
 * overwrite RA, so that row i < 5 is scored on the last model; here every list of forgotten concepts has a
 * folder and counts of its own. AUDIT A7: UnlearnCanvas' own prompts are worded otherwise; here they are
 * concepts.json's templates in every protocol, or what a protocol file says. */
static const struct named {
    const char *name;
    size_t steps;
    double guidance;
    bool   disjoint;    /* AUDIT A22: the paper's statistics have seed 188, which is also a test seed */
    rule   rules[DOMAINS][METRICS];
} named_protocols[] = {
    { "emojicanvas", 0, 0, true,
      { { { STYLE, OF_FORGOTTEN, MEAN_IMAGES, 1, 0 },
          { STYLE, OF_OTHERS, MEAN_STYLES, 1, 0 },
          { OBJECT, OF_OTHERS, MEAN_IMAGES, 1, 0 },
          { OBJECT, OF_FORGOTTEN, MEAN_IMAGES, 1, 0 } },
        { { OBJECT, OF_FORGOTTEN, MEAN_IMAGES, 1, 1 },
          { OBJECT, OF_OTHERS, MEAN_OBJECTS, 1, 1 },
          { STYLE, OF_OTHERS, MEAN_IMAGES, 1, 1 },
          { STYLE, OF_FORGOTTEN, MEAN_IMAGES, 1, 1 } } } },
    /* Objects as scored before October 2025: the unstyled image of an object and seed is listed once a style.
     * CRA of objects is over all objects, the forgotten one too. */
    { "paper", 100, 9, false,
      { { { STYLE, OF_FORGOTTEN, MEAN_IMAGES, 1, 0 },
          { STYLE, OF_OTHERS, MEAN_STYLES, 1, 0 },
          { OBJECT, OF_ALL, MEAN_IMAGES, 0, 1 },
          { OBJECT, OF_FORGOTTEN, MEAN_IMAGES, 1, 0 } },
        { { OBJECT, OF_FORGOTTEN, MEAN_IMAGES, 1, HALF },
          { OBJECT, OF_OTHERS, MEAN_OBJECTS, 1, HALF },
          { STYLE, OF_ALL, MEAN_STYLES, 1, 0 },
          { STYLE, OF_FORGOTTEN, MEAN_IMAGES, 1, 0 } } } },
    { "released", 100, 9, false,
      { { { STYLE, OF_FORGOTTEN, MEAN_IMAGES, 1, 0 },
          { STYLE, OF_OTHERS, MEAN_STYLES, 1, 0 },
          { OBJECT, OF_ALL, MEAN_IMAGES, 0, 1 },
          { OBJECT, OF_FORGOTTEN, MEAN_IMAGES, 1, 0 } },
        { { OBJECT, OF_FORGOTTEN, MEAN_IMAGES, 1, 1 },
          { OBJECT, OF_OTHERS, MEAN_OBJECTS, 1, 1 },
          { STYLE, OF_ALL, MEAN_STYLES, 1, 0 },
          { STYLE, OF_FORGOTTEN, MEAN_IMAGES, 1, 0 } } } },
    { "unlearncanvas", 100, 9, false,
      { { { STYLE, OF_FORGOTTEN, MEAN_IMAGES, 1, 0 },
          { STYLE, OF_OTHERS, MEAN_STYLES, 1, 0 },
          { OBJECT, OF_FORGOTTEN, MEAN_IMAGES, 1, 0 },
          { OBJECT, OF_FORGOTTEN, MEAN_IMAGES, 1, 0 } },
        { { OBJECT, OF_FORGOTTEN, MEAN_IMAGES, 1, 1 },
          { OBJECT, OF_OTHERS, MEAN_OBJECTS, 1, 1 },
          { STYLE, OF_ALL, MEAN_STYLES, 1, 0 },
          { STYLE, OF_FORGOTTEN, MEAN_IMAGES, 1, 0 } } } },
};
#define NAMED (sizeof named_protocols / sizeof *named_protocols)

/* ---- classes ---- */

uint32_t label_find(const labels *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (!strcmp(l->name[i], name))
            return (uint32_t)i;
    return NO_LABEL;
}

uint32_t concept_find(const labels *l, const char *name)
{
    const uint32_t c = label_find(l, name);
    return c != NO_LABEL && l->concept[c] ? c : NO_LABEL;
}

void concept_text(char out[128], int domain, const char *name)
{
    print_into(out, 128, "%.100s%s", name, domain == STYLE ? " style" : "");
    for (char *at = out; *at; at++)
        if (*at == '_')
            *at = ' ';
}

int name_texts(concept_texts *t, const protocol *p, const forgotten *f, saeuron_error *err)
{
    const size_t most = p->label[STYLE].count + p->label[OBJECT].count;
    size_t n = 0;
    *t = (concept_texts){ io_alloc(p->host, most, sizeof *t->text),
                          io_alloc(p->host, most, sizeof *t->erase),
                          io_alloc(p->host, most, sizeof *t->keep), 0, 0 };
    if (!t->text || !t->erase || !t->keep)
        return fail(err, SAEURON_ENOMEM, "no memory for the names of %zu concepts", most);
    for (int d = 0; d < DOMAINS; d++)
        for (size_t c = 0; c < p->label[d].count; c++) {
            if (!p->label[d].concept[c])
                continue;
            concept_text(t->text[n], d, p->label[d].name[c]);
            *(f->has[d][c] ? &t->erase[t->erased++] : &t->keep[t->kept++]) = t->text[n];
            n++;
        }
    return SAEURON_OK;
}

void free_texts(concept_texts *t, const saeuron_host *host)
{
    io_free(host, t->text);
    io_free(host, (void *)t->erase);
    io_free(host, (void *)t->keep);
    *t = (concept_texts){ NULL, NULL, NULL, 0, 0 };
}

void join_texts(text_out *out, const concept_texts *t)
{
    for (size_t i = 0; i < t->erased; i++)
        text_add(out, "%s%s", i ? ", " : "", t->erase[i]);
}

/* n bytes of the pool; NULL would be a bug, since the pool is measured first. */
static char *pool_take(protocol *p, size_t n)
{
    char *at = p->pool + p->pool_used;
    if (n > p->pool_size - p->pool_used)
        return NULL;
    p->pool_used += n;
    return at;
}

/* A JSON string into the pool, which has room for every string of its file. */
static const char *pool_string(protocol *p, json v)
{
    size_t n = 0;
    char  *at = p->pool + p->pool_used;
    if (!json_string(v, at, p->pool_size - p->pool_used, &n))
        return NULL;
    return pool_take(p, n + 1);
}

/* Prompts and names stand in tables: some text without control characters. */
static bool is_line(const char *s)
{
    const char *at = s;
    while ((unsigned char)*at >= 32 && *at != 127)
        at++;
    return *s && !*at;
}

/* Concepts name folders and columns: a line without slashes, no leading dot, not "none". */
static bool name_ok(const char *s)
{
    return is_line(s) && strlen(s) <= 90 && *s != '.' && strcmp(s, "none") && !strpbrk(s, "/\\");
}

/* The classes of a domain as concepts.json lists them: "classes", else "concepts"; marked are "concepts". */
static int read_classes(protocol *p, int d, json domain, const char *path, saeuron_error *err)
{
    labels *l = &p->label[d];
    json    list, one;
    if ((!json_get(domain, "classes", &list) && !json_get(domain, "concepts", &list)) ||
        json_kind(list) != '[')
        return fail(err, SAEURON_EFORMAT, "%s: domain %s has no list \"classes\", nor \"concepts\"", path,
                    domain_names[d]);
    for (json_iter it = json_begin(list); json_next(&it, NULL, &one);) {
        const char *name = l->count < LABELS ? pool_string(p, one) : NULL;
        if (!name || !name_ok(name) || label_find(l, name) != NO_LABEL)
            return fail(err, SAEURON_EFORMAT, "%s: \"classes\" of domain %s must be at most %d names, no two "
                        "alike, without slashes; element %zu is not", path, domain_names[d], LABELS,
                        l->count);
        l->name[l->count++] = name;
    }
    if (!json_get(domain, "concepts", &list))
        list = (json){ NULL, NULL };
    else if (json_kind(list) != '[')
        return fail(err, SAEURON_EFORMAT, "%s: \"concepts\" of domain %s must be a list of names", path,
                    domain_names[d]);
    for (json_iter it = json_begin(list); json_next(&it, NULL, &one);) {
        const char *name = pool_string(p, one);
        const uint32_t i = name ? label_find(l, name) : NO_LABEL;
        if (i == NO_LABEL)
            return fail(err, SAEURON_EFORMAT, "%s: concept %.80s of domain %s is none of its classes", path,
                        name ? name : "?", domain_names[d]);
        l->concept[i] = true;
    }
    if (!l->count)
        return fail(err, SAEURON_EFORMAT, "%s: domain %s has no classes", path, domain_names[d]);
    return SAEURON_OK;
}

/* Without concepts.json: the classes that the classifier names itself; all but Seed_Images can be
 * forgotten. */
static int take_classes(protocol *p, int d, const saeuron_classifier *k, saeuron_error *err)
{
    labels *l = &p->label[d];
    for (size_t i = 0; k && i < saeuron_classes(k) && i < LABELS; i++) {
        const char *name = saeuron_class_name(k, i);
        if (!name || !name_ok(name) || label_find(l, name) != NO_LABEL)
            break;
        const size_t n = strlen(name) + 1;
        char *copy = pool_take(p, n);
        if (!copy)
            break;
        l->name[l->count] = memcpy(copy, name, n);
        l->concept[l->count++] = strcmp(name, PLAIN_STYLE) != 0;
    }
    if (!k || l->count != saeuron_classes(k))
        return fail(err, SAEURON_EFORMAT, "the %s classes are unknown: the model has no concepts.json, and "
                    "the %s classifier's config.json no usable label_names: add one of them", domain_names[d],
                    domain_names[d]);
    return SAEURON_OK;
}

/* The classifier's own names for its outputs, where it has any, must be these. */
static int match_classes(const labels *l, int d, const saeuron_classifier *k, const char *path,
                         saeuron_error *err)
{
    if (saeuron_classes(k) != l->count)
        return fail(err, SAEURON_EFORMAT, "%s: domain %s has %zu classes, its classifier %zu: they belong to "
                    "different models", path, domain_names[d], l->count, saeuron_classes(k));
    for (size_t i = 0; i < l->count; i++) {
        const char *name = saeuron_class_name(k, i);
        if (name && strcmp(name, l->name[i]))
            return fail(err, SAEURON_EFORMAT, "%s: class %zu of domain %s is %.80s, its classifier's "
                        "label_names say %.80s: they belong to different models", path, i, domain_names[d],
                        l->name[i], name);
    }
    return SAEURON_OK;
}

static int open_classes(protocol *p, const saeuron_context *x, saeuron_classifier *const k[DOMAINS],
                        saeuron_error *err)
{
    json domains, domain;
    for (int d = 0; d < DOMAINS; d++) {
        const bool listed = json_get(x->concepts, "domains", &domains) &&
                            json_get(domains, domain_names[d], &domain);
        int code = listed ? read_classes(p, d, domain, x->concepts_file.path, err)
                          : take_classes(p, d, k[d], err);
        if (!code && listed && k[d])
            code = match_classes(&p->label[d], d, k[d], x->concepts_file.path, err);
        if (code)
            return code;
    }
    return SAEURON_OK;
}

/* ---- the list of a named protocol ---- */

enum { TEMPLATE = 1024 };

/* A template of concepts.json, or its default. */
static int read_template(const saeuron_context *x, const char *key, const char *absent, char out[TEMPLATE],
                         saeuron_error *err)
{
    json v;
    print_into(out, TEMPLATE, "%s", absent);
    const bool given = json_get(x->concepts, "templates", &v) && json_get(v, key, &v);
    if (given && !(json_string(v, out, TEMPLATE, NULL) && is_line(out)))
        return fail(err, SAEURON_EFORMAT, "%s: template \"%s\" must be a text of fewer than %d bytes without "
                    "control characters", x->concepts_file.path, key, TEMPLATE);
    return SAEURON_OK;
}

/* The template with {object} and {style} filled in, into out (NULL: only measured); underscores of a style
 * become spaces. Returns its length. */
static size_t fill_template(char *out, const char *template, const char *object, const char *style)
{
    size_t n = 0;
    while (*template) {
        const bool is_object = !strncmp(template, "{object}", 8), is_style = !strncmp(template, "{style}", 7);
        const char *from = is_object ? object : is_style ? style : template;
        const size_t count = is_object || is_style ? strlen(from) : 1;
        for (size_t i = 0; i < count; i++, n++)
            if (out)
                out[n] = is_style && from[i] == '_' ? ' ' : from[i];
        template += is_object ? 8 : is_style ? 7 : 1;
    }
    if (out)
        out[n] = 0;
    return n;
}

/* The places, into out (NULL: only counted): every object in every style that can be forgotten, and in none.
 * Objects are outermost; styles stand in the order of their classes, unstyled images where Seed_Images stands
 * there, else last. Returns how many places there are; *bytes: of their prompts. */
static size_t list_places(protocol *p, entry *out, size_t *bytes, const char *styled, const char *plain)
{
    const labels *styles = &p->label[STYLE], *objects = &p->label[OBJECT];
    const uint32_t none = label_find(styles, PLAIN_STYLE);
    size_t n = 0;
    *bytes = 0;
    for (uint32_t o = 0; o < objects->count; o++)
        for (uint32_t s = 0; s < styles->count + (none == NO_LABEL); s++) {
            const bool is_plain = s == none || s == styles->count;
            if (!objects->concept[o] || (!is_plain && !styles->concept[s]))
                continue;
            const char *template = is_plain ? plain : styled, *style = is_plain ? "" : styles->name[s];
            const size_t length = fill_template(NULL, template, objects->name[o], style) + 1;
            if (out) {
                char *prompt = pool_take(p, length);
                fill_template(prompt, template, objects->name[o], style);
                out[n] = (entry){ prompt, .style = is_plain ? none : s, .object = o, .plain = is_plain };
            }
            *bytes += length;
            n++;
        }
    return n;
}

/* Makes room for more in the pool; the names that lie in it move along. */
static bool pool_grow(protocol *p, size_t more)
{
    char *pool = io_alloc(p->host, p->pool_size + more, 1);
    if (!pool)
        return false;
    memcpy(pool, p->pool, p->pool_used);
    for (int d = 0; d < DOMAINS; d++)
        for (size_t i = 0; i < p->label[d].count; i++)
            p->label[d].name[i] = pool + (p->label[d].name[i] - p->pool);
    io_free(p->host, p->pool);
    p->pool = pool;
    p->pool_size += more;
    return true;
}

static int build_named(protocol *p, const saeuron_context *x, const struct named *n, saeuron_error *err)
{
    char   styled[TEMPLATE], plain[TEMPLATE];
    size_t bytes, styles = 0;
    int    code = read_template(x, "styled", "An image of {object} in {style} style.", styled, err);
    if (!code)
        code = read_template(x, "plain", "An image of {object}.", plain, err);
    if (code)
        return code;
    p->entries = list_places(p, NULL, &bytes, styled, plain);
    if (!p->entries)
        return fail(err, SAEURON_EFORMAT, "%s: there is no object to draw", x->dir);
    if (!pool_grow(p, bytes) || !(p->entry = io_alloc(p->host, p->entries, sizeof *p->entry)))
        return fail(err, SAEURON_ENOMEM, "no memory for a protocol of %zu places", p->entries);
    list_places(p, p->entry, &bytes, styled, plain);
    for (size_t i = 0; i < p->label[STYLE].count; i++)
        styles += p->label[STYLE].concept[i] && strcmp(p->label[STYLE].name[i], PLAIN_STYLE);
    print_into(p->name, sizeof p->name, "%s", n->name);
    p->steps = n->steps;
    p->guidance = n->guidance;
    p->has_guidance = n->steps > 0;
    p->disjoint = n->disjoint;
    p->seeds = sizeof test_seeds / sizeof *test_seeds;
    memcpy(p->seed, test_seeds, sizeof test_seeds);
    memcpy(p->rules, n->rules, sizeof p->rules);
    for (int d = 0; d < DOMAINS; d++) {
        p->measured[d] = true;
        for (int m = 0; m < METRICS; m++)
            if (p->rules[d][m].plain < 0)
                p->rules[d][m].plain = (double)styles;
    }
    return SAEURON_OK;
}

/* ---- a protocol file ---- */

/* Where the text under key stands among the names; anything else is an error. */
static int one_of(config *c, const char *key, const char *const *names, int count)
{
    char word[16];
    config_string(c, key, "", word, sizeof word);
    for (int i = 0; i < count; i++)
        if (!strcmp(word, names[i]))
            return i;
    if (!c->code)
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" must be %s%s%s or %s", c->path, key, names[0],
                       count > 2 ? ", " : "", count > 2 ? names[1] : "", names[count - 1]);
    return 0;
}

/* where: the file and the rule, for messages. */
static int read_rule(rule *r, json v, const char *where, saeuron_error *err)
{
    static const char *const keys[] = { "judge", "of", "mean", "styled", "plain", NULL };
    config c = { .object = v, .path = where, .err = err };
    config_known(&c, keys, NULL);
    r->judge = one_of(&c, "judge", domain_names, DOMAINS);
    r->of = one_of(&c, "of", of_names, 3);
    r->mean = one_of(&c, "mean", mean_names, 3);
    r->styled = config_double(&c, "styled", 1);
    r->plain = config_double(&c, "plain", 1);
    const bool in_range = r->styled >= 0 && r->styled <= 1e6 && r->plain >= 0 && r->plain <= 1e6;
    if (!c.code && !(in_range && r->styled + r->plain > 0))
        c.code = fail(err, SAEURON_EFORMAT, "%s: the weights \"styled\" and \"plain\" must be from 0 to 1e6, "
                      "not both 0", where);
    return c.code;
}

static int read_rules(protocol *p, json object, const char *path, saeuron_error *err)
{
    json domains = { NULL, NULL }, domain, v;
    char where[1100];
    json_get(object, "domains", &domains);
    for (int d = 0; d < DOMAINS; d++) {
        p->measured[d] = json_get(domains, domain_names[d], &domain);
        for (int m = 0; p->measured[d] && m < METRICS; m++) {
            print_into(where, sizeof where, "%s: domains.%s.%s", path, domain_names[d], metric_names[m]);
            const bool given = json_get(domain, metric_names[m], &v);
            if (!given && m != CRA_OWN)
                return fail(err, SAEURON_EFORMAT, "%s is missing", where);
            p->rules[d][m] = named_protocols[0].rules[d][m];
            const int code = given ? read_rule(&p->rules[d][m], v, where, err) : SAEURON_OK;
            if (code)
                return code;
        }
    }
    if (p->measured[STYLE] || p->measured[OBJECT])
        return SAEURON_OK;
    return fail(err, SAEURON_EFORMAT, "%s: \"domains\" must hold style, object or both, each with UA, IRA "
                "and CRA", path);
}

static int read_seeds(protocol *p, json object, const char *path, saeuron_error *err)
{
    json list, one;
    if (!json_get(object, "seeds", &list) || json_kind(list) != '[')
        return fail(err, SAEURON_EFORMAT, "%s: \"seeds\" must be a list of whole numbers", path);
    for (json_iter it = json_begin(list); json_next(&it, NULL, &one);) {
        int64_t s;
        bool    fresh = p->seeds < SEEDS && json_integer(one, &s) && s >= 0;
        for (size_t i = 0; fresh && i < p->seeds; i++)
            fresh = p->seed[i] != (uint64_t)s;
        if (!fresh)
            return fail(err, SAEURON_EFORMAT, "%s: \"seeds\" must be at most %d whole numbers from 0, no two "
                        "alike", path, SEEDS);
        p->seed[p->seeds++] = (uint64_t)s;
    }
    return p->seeds ? SAEURON_OK : fail(err, SAEURON_EFORMAT, "%s: \"seeds\" is empty", path);
}

/* One {"prompt", "object", "style"}; style absent, null or Seed_Images: unstyled. */
static int read_entry(protocol *p, entry *e, json v, size_t number, const char *path, saeuron_error *err)
{
    json one, names[2];
    char where[1100];
    saeuron_error why;
    print_into(where, sizeof where, "%s: image %zu: \"prompt\"", path, number);
    if (!json_get(v, "prompt", &one) || !(e->prompt = pool_string(p, one)) || !is_line(e->prompt))
        return fail(err, SAEURON_EFORMAT, "%s must be a text without control characters", where);
    if (tokenizer_check(e->prompt, where, &why))
        return fail(err, SAEURON_EFORMAT, "%s", why.text);
    uint32_t *const to[DOMAINS] = { &e->style, &e->object };
    for (int d = 0; d < DOMAINS; d++) {
        const bool given = json_get(v, domain_names[d], &names[d]) && json_kind(names[d]) != 'n';
        const char *name = given ? pool_string(p, names[d]) : NULL;
        *to[d] = name ? label_find(&p->label[d], name) : NO_LABEL;
        if (given && *to[d] == NO_LABEL)
            return fail(err, SAEURON_EFORMAT, "%s: image %zu: \"%s\": %.80s is no class of the %s classifier",
                        path, number, domain_names[d], name ? name : "?", domain_names[d]);
    }
    if (e->style == NO_LABEL)
        e->style = label_find(&p->label[STYLE], PLAIN_STYLE);
    e->plain = e->style == label_find(&p->label[STYLE], PLAIN_STYLE);
    return SAEURON_OK;
}

static int read_entries(protocol *p, json object, const char *path, saeuron_error *err)
{
    json   list, one;
    size_t n = 0;
    int    code = SAEURON_OK;
    if (!json_get(object, "images", &list) || json_kind(list) != '[' || !(p->entries = json_length(list)) ||
        p->entries > 1000000)
        return fail(err, SAEURON_EFORMAT, "%s: \"images\" must be a list of 1 to 1000000 objects, each with "
                    "prompt, object and style", path);
    if (!(p->entry = io_alloc(p->host, p->entries, sizeof *p->entry)))
        return fail(err, SAEURON_ENOMEM, "%s: no memory for its %zu images", path, p->entries);
    for (json_iter it = json_begin(list); !code && json_next(&it, NULL, &one); n++)
        code = read_entry(p, &p->entry[n], one, n, path, err);
    return code;
}

static int build_from_file(protocol *p, json object, const char *path, saeuron_error *err)
{
    static const char *const keys[] = { "name", "seeds", "steps", "guidance", "disjoint", "domains", "images",
                                        NULL };
    config c = { .object = object, .path = path, .err = err };
    json   v;
    int    code;
    if (json_kind(object) != '{')
        return fail(err, SAEURON_EFORMAT, "%s: a protocol is a JSON object with seeds, domains and images",
                    path);
    config_known(&c, keys, NULL);
    config_string(&c, "name", "file", p->name, sizeof p->name);
    p->steps = config_size(&c, "steps", 0, 1, 999);
    p->has_guidance = config_has(&c, "guidance");
    p->guidance = config_double(&c, "guidance", 0);
    p->disjoint = config_bool(&c, "disjoint", true);
    if (!c.code && p->has_guidance && !(p->guidance >= 0 && p->guidance <= 10000))
        c.code = fail(err, SAEURON_EFORMAT, "%s: \"guidance\" must be from 0 to 10000", path);
    if (!c.code && json_get(object, "name", &v) && !name_ok(p->name))
        c.code = fail(err, SAEURON_EFORMAT, "%s: \"name\" must be a short text without slashes", path);
    if ((code = c.code) != SAEURON_OK || (code = read_seeds(p, object, path, err)) != SAEURON_OK ||
        (code = read_rules(p, object, path, err)) != SAEURON_OK)
        return code;
    return read_entries(p, object, path, err);
}

/* ---- opening and printing ---- */

/* Room for the strings of concepts.json, of the classifiers and of a protocol file: no string is longer here
 * than it is written there. */
static size_t pool_bytes(const saeuron_context *x, saeuron_classifier *const k[DOMAINS], const io_file *f)
{
    size_t n = 2 * x->concepts_file.size + f->size + 64;
    for (int d = 0; d < DOMAINS; d++)
        for (size_t i = 0; k[d] && i < saeuron_classes(k[d]); i++)
            n += saeuron_class_name(k[d], i) ? strlen(saeuron_class_name(k[d], i)) + 1 : 0;
    return n;
}

int protocol_open(protocol *p, const saeuron_context *x, saeuron_classifier *const k[DOMAINS],
                  const char *named, saeuron_error *err)
{
    char    name[64] = "emojicanvas";
    io_file f = { .data = NULL };
    json    object, v;
    int     code = SAEURON_OK;
    const struct named *found = NULL;
    memset(p, 0, sizeof *p);
    p->host = &x->host;
    if (!named && json_get(x->concepts, "protocol", &v) && !json_string(v, name, sizeof name, NULL))
        return fail(err, SAEURON_EFORMAT, "%s: \"protocol\" must be the name of a protocol",
                    x->concepts_file.path);
    for (size_t i = 0; i < NAMED; i++)
        if (!strcmp(named ? named : name, named_protocols[i].name))
            found = &named_protocols[i];
    if (!found && (!named || (!strchr(named, '.') && !io_folder(named))))
        return fail(err, SAEURON_EUSAGE, "there is no protocol %.60s: emojicanvas, paper, released, "
                    "unlearncanvas, or a JSON file", named ? named : name);
    if (!found && (code = io_open(&f, &x->host, named, err)) != SAEURON_OK)
        return code;
    if (!found)
        code = json_open(&object, (const char *)f.data, f.size, f.path, err);
    p->pool_size = pool_bytes(x, k, &f);
    if (!code && !(p->pool = io_alloc(p->host, p->pool_size, 1)))
        code = fail(err, SAEURON_ENOMEM, "no memory for a protocol");
    if (!code)
        code = open_classes(p, x, k, err);
    if (!code)
        code = found ? build_named(p, x, found, err) : build_from_file(p, object, f.path, err);
    if (f.data)
        io_close(&f);
    if (code)
        protocol_close(p);
    return code;
}

void protocol_close(protocol *p)
{
    io_free(p->host, p->entry);
    io_free(p->host, p->pool);
    p->entry = NULL;
    p->pool = NULL;
}

forgotten forgotten_one(int domain, uint32_t concept)
{
    forgotten f = { { { false } } };
    f.has[domain][concept] = true;
    return f;
}

bool forgotten_any(const forgotten *f, int domain)
{
    bool any = false;
    for (size_t c = 0; c < LABELS; c++)
        any |= f->has[domain][c];
    return any;
}

static uint32_t class_of(const entry *e, int domain) { return domain == STYLE ? e->style : e->object; }

double rule_weight(const rule *r, const entry *e, int domain, const forgotten *f)
{
    const uint32_t asked = class_of(e, r->judge);
    const bool own = place_is_own(e, domain, f);
    if (asked == NO_LABEL || (r->of == OF_FORGOTTEN && !own) || (r->of == OF_OTHERS && own) ||
        (r->judge != domain && f->has[r->judge][asked]))
        return 0;
    return e->plain ? r->plain : r->styled;
}

bool place_is_own(const entry *e, int domain, const forgotten *f)
{
    const uint32_t c = class_of(e, domain);
    return c != NO_LABEL && f->has[domain][c];
}

void places_like(bool *like, const protocol *p, int domain, const forgotten *f)
{
    bool has[LABELS + 1] = { false }; /* classes that own images have; the last: none */
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < p->entries; i++) {
            const entry   *e = &p->entry[i];
            const uint32_t other = class_of(e, other_domain(domain));
            bool *at = &has[other == NO_LABEL ? LABELS : other];
            if (!pass)
                *at |= place_is_own(e, domain, f);
            else
                like[i] = *at && !place_is_own(e, domain, f);
        }
}

bool place_counts(const protocol *p, const entry *e, int domain, const forgotten *f)
{
    bool counts = false;
    for (int m = 0; m < METRICS; m++)
        counts |= rule_weight(&p->rules[domain][m], e, domain, f) > 0;
    return counts;
}

bool place_is_quick(const protocol *p, const entry *e)
{
    const size_t style = e->style == NO_LABEL ? p->label[STYLE].count : e->style;
    const size_t object = e->object == NO_LABEL ? 0 : e->object;
    return (style + object) % 3 == 0;
}

void rule_print(const protocol *p, int domain, int metric, text_out *out)
{
    const rule *r = &p->rules[domain][metric];
    const char *some = r->plain <= 0 ? "styled " : r->styled <= 0 ? "unstyled " : "";
    text_add(out, "%saccuracy of the %s classifier on %s%simages", metric == UA ? "1 - " : "",
             domain_names[r->judge], r->of == OF_ALL ? "all " : "", some);
    if (r->of != OF_ALL)
        text_add(out, r->of == OF_FORGOTTEN ? " of the forgotten %s" : " of the other %ss",
                 domain_names[domain]);
    if (r->styled > 0 && r->plain > 0 && r->styled < r->plain)
        text_add(out, " (unstyled ones weighing %g times as much)", r->plain / r->styled);
    else if (r->styled > 0 && r->plain > 0 && r->styled > r->plain)
        text_add(out, " (styled ones weighing %g times as much)", r->styled / r->plain);
    text_add(out, r->mean == MEAN_IMAGES ? ", mean over images" : ", unweighted mean over %s",
             mean_names[r->mean]);
}

void protocol_print(const protocol *p, text_out *out)
{
    text_add(out, "{\"name\": ");
    text_quote(out, p->name);
    text_add(out, ",\n \"seeds\": [");
    for (size_t i = 0; i < p->seeds; i++)
        text_add(out, "%s%" PRIu64, i ? ", " : "", p->seed[i]);
    text_add(out, "],\n");
    if (p->steps)
        text_add(out, " \"steps\": %zu,\n", p->steps);
    if (p->has_guidance)
        text_add(out, " \"guidance\": %g,\n", p->guidance);
    text_add(out, " \"disjoint\": %s,\n \"domains\": {", p->disjoint ? "true" : "false");
    for (int d = 0, first = 1; d < DOMAINS; d++) {
        if (!p->measured[d])
            continue;
        text_add(out, "%s\"%s\": {", first ? "" : ",\n  ", domain_names[d]);
        for (int m = 0; m < METRICS; m++) {
            const rule *r = &p->rules[d][m];
            text_add(out, "%s\"%s\": {\"judge\": \"%s\", \"of\": \"%s\", \"mean\": \"%s\", \"styled\": %g, "
                     "\"plain\": %g}", m ? ",\n   " : "\n   ", metric_names[m], domain_names[r->judge],
                     of_names[r->of], mean_names[r->mean], r->styled, r->plain);
        }
        text_add(out, "}");
        first = 0;
    }
    text_add(out, "},\n \"images\": [\n");
    for (size_t i = 0; i < p->entries; i++) {
        const entry *e = &p->entry[i];
        text_add(out, "  {\"prompt\": ");
        text_quote(out, e->prompt);
        if (e->object != NO_LABEL) {
            text_add(out, ", \"object\": ");
            text_quote(out, p->label[OBJECT].name[e->object]);
        }
        if (e->style != NO_LABEL) {
            text_add(out, ", \"style\": ");
            text_quote(out, p->label[STYLE].name[e->style]);
        }
        text_add(out, "}%s\n", i + 1 < p->entries ? "," : "");
    }
    text_add(out, " ]}\n");
}
