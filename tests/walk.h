/* walk.h: what must hold of JSON that was accepted, for the programs that try hostile bytes.
 * Not here: which bytes they try (fuzz_readers.c, prove.c). */
#ifndef SAEURON_WALK_H
#define SAEURON_WALK_H

#include "files/decimal.h"
#include "files/json.h"

/* Ends the program where something does not hold; each program has its own. */
void require(bool holds, const char *what);

static inline void check_number(const char *text)
{
    char out[32];
    double x, y;
    if (!io_parse_double(text, &x))
        return;
    io_format_double(out, sizeof out, x);
    require(io_parse_double(out, &y) && x == y, "a number printed reads back");
}

/* Touches everything in v; returns how many values there are. */
static inline size_t walk(json v, int depth)
{
    char text[64];
    double x;
    int64_t n;
    bool b;
    json key, value;
    size_t count = 1, members = 0;
    require(depth <= 64, "depth");
    require(v.at < v.end, "a view lies in its text");
    if (json_string(v, text, sizeof text, NULL))
        check_number(text);
    json_bool(v, &b);
    json_integer(v, &n);
    if (json_number(v, &x)) {
        io_format_double(text, sizeof text, x);
        check_number(text);
    }
    for (json_iter it = json_begin(v); json_next(&it, &key, &value); members++) {
        if (json_kind(v) == '{') {
            require(json_kind(key) == '"', "a key is a string");
            if (json_string(key, text, sizeof text, NULL))
                require(members >= JSON_KEYS || json_get(v, text, &key), "a key is found");
        }
        count += walk(value, depth + 1);
    }
    require(members == json_length(v), "length");
    return count;
}

#endif
