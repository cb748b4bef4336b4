/* metadata.c: key and value lists for the headers of safetensors files, and single values read back.
 *
 * Not here: the header itself (tensors.c). */
#include "files/metadata.h"
#include "files/decimal.h"
#include "files/print.h"

#include <stdarg.h>

void metadata_text(metadata *m, const char *key, const char *text)
{
    if (m->n == METADATA_PAIRS) {
        m->pair[1] = NULL;
        return;
    }
    m->pair[2 * m->n] = key;
    m->pair[2 * m->n + 1] = text;
    m->pair[2 * ++m->n] = NULL;
}

void metadata_add(metadata *m, const char *key, const char *format, ...)
{
    char *value = m->value[m->n < METADATA_PAIRS ? m->n : 0];
    va_list args;
    va_start(args, format);
    const size_t n = print_values(value, METADATA_VALUE, format, args);
    va_end(args);
    metadata_text(m, key, value);
    if (n >= METADATA_VALUE)
        m->pair[1] = NULL;
}

bool metadata_get(json m, const char *key, char *out, size_t size)
{
    json v;
    if (json_get(m, key, &v) && json_string(v, out, size, NULL))
        return true;
    out[0] = 0;
    return false;
}

bool metadata_uint(json m, const char *key, uint64_t *x)
{
    char digits[24];
    return metadata_get(m, key, digits, sizeof digits) && io_parse_uint(digits, x);
}

bool metadata_is(json m, const char *key, const char *text)
{
    json v;
    return json_get(m, key, &v) && json_equals(v, text);
}
