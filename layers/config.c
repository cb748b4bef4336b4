/* config.c: a network's config.json, field by field. The first error stays, and every later reader returns
 * its default. Not here: what the shapes mean (the networks). */
#include "layers/config.h"
#include "files/decimal.h"
#include "files/print.h"

#include <string.h>

bool config_has(const config *c, const char *key)
{
    json v;
    return json_get(c->object, key, &v) && json_kind(v) != 'n';
}

/* The value of key, if it is there, is not null and nothing failed before. Infinities are an error. */
static bool config_get(config *c, const char *key, json *v)
{
    if (c->code || !json_get(c->object, key, v) || json_kind(*v) == 'n')
        return false;
    if (json_kind(*v) == 'N')
        c->code = fail(c->err, SAEURON_EFORMAT,
                       "%s: \"%s\" is infinite or no number: write its value, or null for the default",
                       c->path, key);
    return !c->code;
}

size_t config_size(config *c, const char *key, size_t absent, size_t low, size_t high)
{
    json    v;
    int64_t x;
    if (!config_get(c, key, &v))
        return absent;
    if (!json_integer(v, &x) || x < 0 || (uint64_t)x < low || (uint64_t)x > high) {
        c->code = low == high
                ? fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" must be %zu", c->path, key, low)
                : fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" must be a whole number from %zu to %zu",
                       c->path, key, low, high);
        return absent;
    }
    return (size_t)x;
}

double config_double(config *c, const char *key, double absent)
{
    json   v;
    double x;
    if (!config_get(c, key, &v))
        return absent;
    if (!json_number(v, &x) || !(x > -1e30 && x < 1e30)) {
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" must be a number", c->path, key);
        return absent;
    }
    return x;
}

float config_float(config *c, const char *key, float absent)
{
    return (float)config_double(c, key, (double)absent);
}

float config_positive(config *c, const char *key, float absent)
{
    const float x = config_float(c, key, absent);
    if (c->code || x > 0)
        return x;
    c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" must be above 0", c->path, key);
    return absent;
}

bool config_bool(config *c, const char *key, bool absent)
{
    json v;
    bool x;
    if (!config_get(c, key, &v))
        return absent;
    if (!json_bool(v, &x)) {
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" must be true or false", c->path, key);
        return absent;
    }
    return x;
}

void config_string(config *c, const char *key, const char *absent, char *out, size_t size)
{
    json v;
    print_into(out, size, "%s", absent);
    if (config_get(c, key, &v) && !json_string(v, out, size, NULL)) {
        print_into(out, size, "%s", absent);
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" must be a string of fewer than %zu bytes",
                       c->path, key, size);
    }
}

size_t config_sizes(config *c, const char *key, size_t absent, size_t out[LEVELS], size_t n)
{
    json v, element;
    size_t found = 0;
    for (size_t i = 0; i < LEVELS; i++)
        out[i] = absent;
    if (!config_get(c, key, &v))
        return n;
    if (json_kind(v) != '[') {
        const size_t x = config_size(c, key, absent, 1, 1u << 20);
        for (size_t i = 0; i < LEVELS; i++)
            out[i] = x;
        return n;
    }
    json_iter it = json_begin(v);
    while (json_next(&it, NULL, &element)) {
        int64_t x;
        if (found >= LEVELS || !json_integer(element, &x) || x < 1 || x > 1 << 20) {
            c->code = fail(c->err, SAEURON_EFORMAT,
                           "%s: \"%s\" must be a list of at most %d positive whole numbers",
                           c->path, key, LEVELS);
            return n;
        }
        out[found++] = (size_t)x;
    }
    if (!found || (n && found != n))
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" has %zu entries, not one for each level",
                       c->path, key, found);
    return found;
}

void config_only(config *c, const char *key, const char *only)
{
    json v;
    if (!config_get(c, key, &v))
        return;
    const size_t n = strlen(only);
    if ((size_t)(v.end - v.at) >= n && !memcmp(v.at, only, n) &&
        (only[0] == '"' || (size_t)(v.end - v.at) == n || !strchr("0123456789.eE", v.at[n])))
        return;
    double number, wanted;
    if (json_number(v, &number) && io_parse_double(only, &wanted) && number == wanted)
        return;
    c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" is not %s: this variant is not supported",
                   c->path, key, only);
}

static bool listed(const char *const *list, json key)
{
    for (; list && *list; list++)
        if (json_equals(key, *list))
            return true;
    return false;
}

void config_known(config *c, const char *const *read, const char *const *ignored)
{
    /* Any config may carry these, and none changes the arithmetic: who saved it, as what class, and the type
     * that from_pretrained gives the weights (which are widened exactly, whatever it is). */
    static const char *const everywhere[] = {
        "torch_dtype", "dtype", "transformers_version", "architectures", "model_type", NULL
    };
    json key, value;
    json_iter it = json_begin(c->object);
    while (!c->code && json_next(&it, &key, &value)) {
        char name[128];
        if (!json_string(key, name, sizeof name, NULL))
            print_into(name, sizeof name, "(a long name)");
        if (name[0] == '_' || listed(read, key) || listed(ignored, key) || listed(everywhere, key))
            continue;
        c->code = fail(c->err, SAEURON_EFORMAT,
                       "%s: \"%s\" is unknown, and ignoring it could change the result: "
                       "remove it if it means nothing",
                       c->path, name);
    }
}
