/* json.h: JSON, read where it lies, without an allocation; and strings written as JSON.
 *
 *   bytes --json_open: checked once--> views --json_get, json_next, json_number--> values
 *
 * Not here: which keys a file may have (layers/config.h, the readers of each file). */
#ifndef SAEURON_JSON_H
#define SAEURON_JSON_H

#include <stdbool.h>

#include "files/error.h"

/* A value inside a checked text: its first byte and the text's end. at == NULL means that there is none: this
 * is allowed everywhere below, has kind 0 and holds nothing. */
typedef struct json { const char *at, *end; } json;

/* Checks that text[0..size) is one JSON value in UTF-8 (RFC 8259, and Python's NaN, Infinity, -Infinity), at
 * most 64 deep, and returns a view of it, valid while text is. A key must not stand twice in an object; this
 * is checked for the first JSON_KEYS keys of an object and of those around it together. path is for
 * messages. */
#define JSON_KEYS 1024
int  json_open(json *v, const char *text, size_t size, const char *path, saeuron_error *err);
/* The same of a file that must hold an object. */
int  json_open_object(json *v, const char *text, size_t size, const char *path, saeuron_error *err);
char json_kind(json v);                        /* '{' '[' '"' '0' 't' 'f' 'n'; 'N': NaN, Infinity */
bool json_get(json object, const char *key, json *value);          /* false when absent or not an object */
size_t json_length(json v);                    /* members or elements */

/* Walks the members of an object or the elements of an array:
 *     for (json_iter it = json_begin(v); json_next(&it, &key, &value);)
 * key and value may be NULL; key is set for objects only. false at the end, and at once for anything else. */
typedef struct json_iter { json at; bool started, object; } json_iter;
json_iter json_begin(json container);
bool json_next(json_iter *it, json *key, json *value);

/* A string, unescaped to UTF-8 and ended with NUL; *length (may be NULL) excludes it. false when it is no
 * string, holds U+0000, or needs more than size bytes. */
bool json_string(json v, char *out, size_t size, size_t *length);
bool json_equals(json string, const char *text);
bool json_number(json v, double *x);           /* correctly rounded; false when too large for a double */
bool json_integer(json v, int64_t *x);         /* exact; 3.0 and 1e2 count, 3.5 does not */
bool json_bool(json v, bool *x);

/* text as a JSON string with its quotes, escaped, into out [size] (NULL measures); returns its length,
 * without a NUL. text should be UTF-8; bytes that are not become U+FFFD. Nothing is written beyond size. */
size_t json_quote(char *out, size_t size, const char *text);

#endif
