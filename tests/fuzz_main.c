/* fuzz_main.c: what stands around a fuzzed reader: libFuzzer's entries, the host, the mutator; main without
 * libFuzzer (fuzz.h).
 *
 * Not here: the readers (fuzz_readers.c), valid files (fuzz_seeds.c). */
#include "fuzz.h"
#include "slow_crc.h"
#include "files/bytes.h"
#include "test.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_LIMIT ((size_t)256 << 20) /* bytes of one block */

const unsigned char *input;
size_t input_size;
tiny files;
static const target *chosen;            /* by the environment's FUZZ */
static struct { const char *path; const unsigned char *bytes; size_t size; } given_out[4];
static size_t given_count;
static long live, mapped;               /* blocks not freed, files not given back */

/* ---- verdicts ---- */

void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

bool accepted(int code, const saeuron_error *e)
{
    require(!code || (e->code == code && *e->text && !strchr(e->text, '\n')), "a refusal is one line");
#ifdef FUZZ_STANDALONE
    if (code)
        printf("%s\n", e->text);
#endif
    return !code;
}

/* What tests/tiny.c says when it cannot make its files. */
void test_failed(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, args);
    va_end(args);
    require(false, "the valid files are made");
}

/* ---- the host ---- */

void give_out(const char *path, const void *bytes, size_t size)
{
    require(given_count < sizeof given_out / sizeof *given_out, "there is room for one more file");
    given_out[given_count].path = path;
    given_out[given_count].bytes = bytes;
    given_out[given_count++].size = size;
}

static const void *map(void *user, const char *path, size_t *size)
{
    const tiny_file *f = strncmp(path, "tiny/", 5) ? NULL : tiny_find(&files, path + 5);
    (void)user;
    for (size_t i = given_count; i-- > 0;)
        if (!strcmp(path, given_out[i].path)) {
            mapped++;
            *size = given_out[i].size;
            return given_out[i].bytes;
        }
    if (!f)
        return NULL;
    mapped++;
    *size = f->size;
    return f->bytes;
}

static void unmap(void *user, const void *data, size_t size)
{
    (void)user, (void)data, (void)size;
    mapped--;
}

static void *limited_alloc(void *user, size_t size)
{
    void *p = size > MEMORY_LIMIT ? NULL : malloc(size);
    (void)user;
    live += p != NULL;
    return p;
}

static void counted_free(void *user, void *p)
{
    (void)user;
    live--;
    free(p);
}

saeuron_host host = { .map = map, .unmap = unmap, .alloc = limited_alloc, .free = counted_free,
                      .threads = 1 };

saeuron_context *model(void)
{
    static saeuron_context *x;
    const long before = live, maps = mapped;
    if (!x)
        require(saeuron_open(&x, &host, "tiny", NULL) == SAEURON_OK, "the valid model opens");
    live = before;
    mapped = maps;
    return x;
}

saeuron_classifier *const *judges(void)
{
    static saeuron_classifier *k[DOMAINS];
    const long before = live, maps = mapped;
    if (!k[STYLE])
        require(saeuron_classifier_open(&k[STYLE], &host, "tiny/classifier/style", NULL) == SAEURON_OK &&
                saeuron_classifier_open(&k[OBJECT], &host, "tiny/classifier/object", NULL) == SAEURON_OK,
                "the valid classifiers open");
    live = before;
    mapped = maps;
    return k;
}

/* ---- one input ---- */

static void choose(void)
{
    const char *name = getenv("FUZZ");
    for (chosen = targets; chosen->name && (!name || strcmp(chosen->name, name)); chosen++)
        ;
    if (!chosen->name) {
        fprintf(stderr, "FUZZ must be one of");
        for (const target *t = targets; t->name; t++)
            fprintf(stderr, " %s", t->name);
        fprintf(stderr, "\n");
        exit(2);
    }
    add_surroundings();
}

static size_t path_count(const target *t)
{
    size_t n = 0;
    while (n < 3 && t->path[n])
        n++;
    return n;
}

/* Where part number `number` of the bytes lies: *from to *to; false: there is no such part. */
static bool find_part(const uint8_t *data, size_t size, size_t number, size_t *from, size_t *to)
{
    const size_t parts = path_count(chosen);
    *from = 0;
    for (size_t i = 0;; i++) {
        const uint8_t *zero = i + 1 < parts && size > *from ? memchr(data + *from, 0, size - *from) : NULL;
        *to = zero ? (size_t)(zero - data) : size;
        if (i == number)
            return true;
        if (!zero)
            return false;
        *from = *to + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *part[3] = { NULL };
    if (!chosen)
        choose();
    unsigned char *whole = malloc(size ? size : 1);
    if (size)
        memcpy(whole, data, size);
    input = whole;
    input_size = size;
    given_count = 0;
    for (size_t i = 0, from, to; i < path_count(chosen) && find_part(data, size, i, &from, &to); i++) {
        part[i] = malloc(to > from ? to - from : 1);
        memcpy(part[i], whole + from, to - from);
        give_out(chosen->path[i], part[i], to - from);
    }
    const long before = live, maps = mapped;
    chosen->run();
    require(live == before && mapped == maps, "every block and file is given back");
    for (size_t i = 0; i < 3; i++)
        free(part[i]);
    free(whole);
    return 0;
}

/* ---- mutations that keep lengths and checksums right ---- */

#ifndef FUZZ_STANDALONE

static void mend_crcs(uint8_t *p, size_t size)
{
    for (size_t at = 8, n; size >= 12 && at <= size - 12; at += 12 + n) {
        if ((n = get_be32(p + at)) > size - 12 - at)
            return;
        put_be32(p + at + 8 + n, slow_crc(p + at + 4, n + 4));
    }
}

static bool ends_with(const char *path, const char *end)
{
    const size_t n = path ? strlen(path) : 0, m = strlen(end);
    return n >= m && !strcmp(path + n - m, end);
}

/* The length of the text, number or word of JSON at p; 0: it is something else. */
static size_t token_length(const uint8_t *p, size_t size)
{
    size_t n = 0;
    if (size && *p == '"') {
        for (n = 1; n < size && p[n] != '"'; n++)
            n += p[n] == '\\';
        return n < size ? n + 1 : 0;
    }
    while (n < size && p[n] > ' ' && !strchr(",:{}[]\"", p[n]))
        n++;
    return n;
}

/* Where token `number` of p begins, *at, and its length, *n; returns how many tokens there are up to it. */
static size_t find_token(const uint8_t *p, size_t size, size_t number, size_t *at, size_t *n)
{
    size_t count = 0;
    *at = *n = 0;
    for (size_t i = 0, length; i < size && count <= number; i += length ? length : 1)
        if ((length = token_length(p + i, size - i)) != 0) {
            *at = i;
            *n = length;
            count++;
        }
    return count;
}

/* Two tokens of the JSON in p change places: names, types and sizes stay such as there are. false: it has
 * fewer than two. */
static bool swap_tokens(uint8_t *p, size_t size, size_t seed)
{
    size_t a, n, b, m;
    const size_t count = find_token(p, size, SIZE_MAX, &a, &n), first = count > 1 ? seed % (count - 1) : 0;
    if (count < 2)
        return false;
    find_token(p, size, first, &a, &n);
    find_token(p, size, first + 1 + seed / (count - 1) % (count - 1 - first), &b, &m);
    uint8_t *copy = malloc(size);
    memcpy(copy, p, size);
    memcpy(p + a, copy + b, m);
    memcpy(p + a + m, copy + a + n, b - a - n);
    memcpy(p + b + m - n, copy + a, n);
    free(copy);
    return true;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
/* Mutates one file of the input; of safetensors, three times in four, the header alone. One time in four two
 * tokens of JSON change places. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    const size_t parts = path_count(chosen), number = parts ? seed % parts : 0;
    const char *path = chosen->path[number];
    size_t from, to;
    if (size > max || !find_part(data, size, number, &from, &to))
        return LLVMFuzzerMutate(data, size, max);
    const bool header = ends_with(path, ".safetensors") && seed / 4 % 4 && to - from >= 8 &&
                        get_le(data + from, 8) <= to - from - 8;
    if (header) {
        to = from + 8 + (size_t)get_le(data + from, 8);
        from += 8;
    }
    if (seed / 16 % 4 == 0 && to > from && data[from] == '{' &&
        swap_tokens(data + from, to - from, seed / 64))
        return size;
    const size_t room = max - (size - (to - from));
    uint8_t *middle = malloc(room + 1);
    memcpy(middle, data + from, to - from);
    const size_t n = room ? LLVMFuzzerMutate(middle, to - from, room) : 0;
    memmove(data + from + n, data + to, size - to);
    memcpy(data + from, middle, n);
    free(middle);
    if (header)
        put_le(data + from - 8, n, 8);
    size = size - (to - from) + n;
    if (ends_with(path, ".png"))
        mend_crcs(data + from, size - from);
    return size;
}

#else

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--seeds")) {
        add_surroundings();
        return write_seeds(argv[2]);
    }
    for (int i = 1; i < argc; i++) {
        io_file f;
        saeuron_error e;
        if (io_open(&f, NULL, argv[i], &e)) {
            fprintf(stderr, "%s\n", e.text);
            return 1;
        }
        LLVMFuzzerTestOneInput(f.data, f.size);
        io_close(&f);
    }
    printf("%d files replayed\n", argc - 1);
    return 0;
}

#endif
