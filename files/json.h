/* json.h: JSON, read where it lies, without an allocation; and strings written as JSON.
 *
 *   bytes --json_open: checked once--> views --json_get, json_next, json_number--> values
 *
 * Not here: which keys a file may have (layers/config.h, the readers of each file). */
#ifndef SAEURON_JSON_H
#define SAEURON_JSON_H

#include <stdbool.h>

#include "files/error.h"

/* A value inside a checked text: its first byte and the text's end. */
typedef struct json { const char *at, *end; } json;

/* Checks that text[0..size) is one whole JSON value (RFC 8259, UTF-8, depth at most 64, no key twice among the first
 * JSON_KEYS of an object and those it lies in) and returns a view of it, valid while text is. path is for messages. */
#define JSON_KEYS 1024
int  json_open(json *v, const char *text, size_t size, const char *path, saeuron_error *err);
/* A view with at == NULL, "there is none", is allowed everywhere below; it has kind 0 and holds nothing. */
char json_kind(json v);                        /* '{' '[' '"' '0' 't' 'f' 'n' */
bool json_get(json object, const char *key, json *value);          /* false when absent or not an object */
/* Walks an object's members or an array's elements: `for (json_iter it = json_begin(v); json_next(&it, &key, &value);)`.
 * key and value may be NULL; key is only set for objects. false at the end, at once for anything else. */
typedef struct json_iter { json at; bool started, object; } json_iter;
json_iter json_begin(json container);
bool json_next(json_iter *it, json *key, json *value);
/* A string, unescaped to UTF-8 and ended with NUL; *length (may be NULL) excludes it. false when it is no string,
 * holds U+0000, or needs more than size bytes. */
bool json_string(json v, char *out, size_t size, size_t *length);
bool json_equals(json string, const char *text);
bool json_number(json v, double *x);           /* correctly rounded, no locale; false when too large for a double */
bool json_integer(json v, int64_t *x);         /* exact; 3.0 and 1e2 count, 3.5 does not */
bool json_bool(json v, bool *x);
size_t json_length(json v);                    /* members or elements */
/* text as a JSON string with its quotes, escaped, into out [size] (NULL measures); returns its length, without a NUL.
 * text must be UTF-8; bytes that are not become U+FFFD. Nothing is written beyond size. */
size_t json_quote(char *out, size_t size, const char *text);

#endif
