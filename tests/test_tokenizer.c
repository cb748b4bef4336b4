/* test_tokenizer.c: our ids against transformers' CLIPTokenizer, by the file that tests/golden/make_tokens.py
 * wrote; hostile files; hostile prompts; every allocation refused once.
 *
 *   tokens.safetensors --texts--> tokenizer_encode --compare--> its ids
 *
 * Not here: random strings and every code point, live against transformers (tests/check_tokenizer.py). */
#include "test.h"
#include "arithmetic/rng.h"
#include "files/metadata.h"
#include "files/tensors.h"
#include "files/utf8.h"
#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN "tests/golden/tokens.safetensors"
#define MADE   "tests/golden/tokenizer" /* our small vocabulary */
#define PADDING_MAX 512

static saeuron_error err;

/* ---- a host whose files and memory are ours ---- */

enum { VOCAB, MERGES, CONFIG, MAP, ADDED, WHOLE, FILES };
static const char *const names[FILES] = {
    "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "tokenizer.json",
};

/* The files of a folder "/t": texts, or absent. alloc fails after `refuse` blocks. */
typedef struct world {
    const char *text[FILES];
    char    *owned[FILES]; /* texts to be freed */
    size_t refuse, asked, live; /* live: blocks not yet given back */
    saeuron_host host;
} world;

static const void *world_map(void *user, const char *path, size_t *size)
{
    const world *w = user;
    for (int i = 0; i < FILES; i++)
        if (!strncmp(path, "/t/", 3) && !strcmp(path + 3, names[i]) && w->text[i]) {
            *size = strlen(w->text[i]);
            return w->text[i];
        }
    return NULL;
}

static void *world_alloc(void *user, size_t size)
{
    world *w = user;
    if (w->asked++ >= w->refuse)
        return NULL;
    w->live++;
    return malloc(size);
}

static void world_free(void *user, void *p)
{
    world *w = user;
    w->live--;
    free(p);
}

static void world_init(world *w)
{
    memset(w, 0, sizeof *w);
    w->refuse = SIZE_MAX;
    w->host = (saeuron_host){ .user = w, .alloc = world_alloc, .free = world_free, .map = world_map };
}

/* Every block must have come back. */
static void world_close(world *w, const char *what)
{
    CHECK(w->live == 0, "%s: %zu blocks of memory were not given back", what, w->live);
    for (int i = 0; i < FILES; i++)
        free(w->owned[i]);
}

/* A whole file, ended with NUL, to be freed; NULL when it cannot be read. */
static char *slurp(const char *path)
{
    io_file f;
    char *text = NULL;
    if (!io_open(&f, NULL, path, &err) && (text = malloc(f.size + 1)) != NULL) {
        memcpy(text, f.data, f.size);
        text[f.size] = 0;
    }
    io_close(&f);
    return text;
}

static void give(world *w, int file, char *text)
{
    w->text[file] = w->owned[file] = text;
}

/* A world with the vocabulary of MADE. */
static void made_world(world *w)
{
    world_init(w);
    give(w, VOCAB, slurp(MADE "/vocab.json"));
    give(w, MERGES, slurp(MADE "/merges.txt"));
}

/* ---- goldens ---- */

static long short_at(const tensor *t, size_t i)
{
    return (long)t->data[2 * i] | (long)t->data[2 * i + 1] << 8;
}

/* Text i of the golden whose first text is at s. */
static const char *next_text(const char *s) { return s + strlen(s) + 1; }

static tensor *set_tensor(const tensors *g, const char *set, const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", set, what);
    tensor *t = tensors_find(g, name);
    CHECK(t && t->type == DT_I16, "%s has no %s of I16: run tests/golden/make_tokens.py", GOLDEN, name);
    return t && t->type == DT_I16 ? t : NULL;
}

/* The word at *s, ended by a blank or the end; moves past it. */
static const char *word(char **s)
{
    char *first = *s, *blank = strchr(first, ' ');
    if (blank)
        *blank++ = 0;
    *s = blank ? blank : first + strlen(first);
    return first;
}

/* One string: ids [count] of the golden, then the padding. */
static bool same(const tokenizer *t, const char *text, const tensor *ids, size_t at, size_t count, size_t cut,
                 long pad)
{
    int32_t got[PADDING_MAX];
    size_t  n, dropped;
    const size_t length = tokenizer_max_length(t);
    if (length > PADDING_MAX || tokenizer_encode(t, got, &n, &dropped, text, &err) || n != count ||
        dropped != cut)
        return false;
    for (size_t i = 0; i < length; i++)
        if (got[i] != (i < count ? short_at(ids, at + i) : pad))
            return false;
    return true;
}

/* Compares every string of a set. */
static void compare(const tensors *g, const char *set, const tokenizer *t, size_t length, long pad)
{
    const tensor *texts = tensors_find(g, "text"), *ids = set_tensor(g, set, "ids");
    const tensor *counts = set_tensor(g, set, "count"), *cuts = set_tensor(g, set, "cut");
    CHECK(tokenizer_max_length(t) == length, "%s: length %zu, transformers %zu", set, tokenizer_max_length(t),
          length);
    if (!texts || !ids || !counts || !cuts || tokenizer_max_length(t) != length)
        return;
    const char *text = (const char *)texts->data;
    size_t at = 0;
    for (size_t i = 0; i < counts->count; i++, text = next_text(text)) {
        const size_t count = (size_t)short_at(counts, i);
        CHECK(same(t, text, ids, at, count, (size_t)short_at(cuts, i), pad),
              "%s: string %zu, \"%.60s\", has other ids than transformers gives it", set, i, text);
        at += count;
    }
    CHECK(at == ids->count, "%s: %zu ids, the golden has %zu", set, at, ids->count);
    test_note("%s: %zu strings, %zu ids", set, counts->count, ids->count);
}

/* Length and padding of a set, from the golden's metadata "FOLDER LENGTH PAD". */
static bool set_facts(const tensors *g, const char *set, size_t *length, long *pad)
{
    char said[128], *s = said;
    if (!metadata_get(g->metadata, set, said, sizeof said))
        return false;
    word(&s);
    *length = strtoul(word(&s), NULL, 10);
    *pad = strtol(word(&s), NULL, 10);
    return true;
}

/* The set of a folder on disk. */
static void golden_folder(const char *set, const char *folder)
{
    tensors g;
    tokenizer *t;
    size_t length = 0;
    long   pad = 0;
    const int code = tensors_open(&g, NULL, GOLDEN, &err);
    CHECK(code == SAEURON_OK, "%s", err.text);
    if (code)
        return;
    if (!set_facts(&g, set, &length, &pad)) {
        test_skip("%s has no set %s: run tests/golden/make_tokens.py where %s is", GOLDEN, set, folder);
    } else if (tokenizer_open(&t, NULL, folder, &err)) {
        CHECK(false, "%s", err.text);
    } else {
        compare(&g, set, t, length, pad);
        tokenizer_close(t);
    }
    tensors_close(&g);
}

/* A wrong table of Unicode, a merge out of order, a cut one id off: any of them changes some of 2,000
 * strings. */
static void golden_made(void) { golden_folder("made", MADE); }

static const char *clip_folder(void)
{
    const char *dir = getenv("CLIP_DIR");
    return dir ? dir : "../shared/clip";
}

static bool have(const char *folder)
{
    char path[1024];
    const bool found = io_join(path, sizeof path, folder, "vocab.json") && io_exists(NULL, path);
    if (!found)
        test_skip("there is no %s/vocab.json", folder);
    return found;
}

/* The same with the real vocabulary, whose merges are 48,894. */
static void golden_clip(void)
{
    if (have(clip_folder()))
        golden_folder("clip", clip_folder());
}

static void golden_emojicanvas(void)
{
    if (have("weights/emojicanvas/tokenizer"))
        golden_folder("emojicanvas", "weights/emojicanvas/tokenizer");
}

/* The text of a metadata entry, to be freed, or NULL. */
static char *config_of(const tensors *g, const char *set, const char *file)
{
    enum { ROOM = 1 << 14 };
    char key[128], *text = malloc(ROOM);
    snprintf(key, sizeof key, "%s.%s", set, file);
    if (text && metadata_get(g->metadata, key, text, ROOM))
        return text;
    free(text);
    return NULL;
}

/* One set "made_CONFIG": the golden carries its config files. */
static void golden_config(const tensors *g, const char *config, size_t length, long pad)
{
    world w;
    char  set[80];
    tokenizer *t;
    made_world(&w);
    give(&w, CONFIG, config_of(g, config, names[CONFIG]));
    give(&w, MAP, config_of(g, config, names[MAP]));
    snprintf(set, sizeof set, "made_%s", config);
    CHECK(w.text[CONFIG] || w.text[MAP], "%s: no files for %s", GOLDEN, set);
    if (tokenizer_open(&t, &w.host, "/t", &err)) {
        CHECK(false, "%s: %s", set, err.text);
    } else {
        compare(g, set, t, length, pad);
        tokenizer_close(t);
    }
    world_close(&w, set);
}

/* "!" that pads, tokens found before or after lowercase, added tokens, a length of 8: each config changes the
 * ids. */
static void golden_configs(void)
{
    tensors g;
    json key, value;
    int  seen = 0;
    const int code = tensors_open(&g, NULL, GOLDEN, &err);
    CHECK(code == SAEURON_OK, "%s", err.text);
    if (code)
        return;
    for (json_iter it = json_begin(g.metadata); json_next(&it, &key, &value);) {
        char   set[80];
        size_t length;
        long   pad;
        if (json_string(key, set, sizeof set, NULL) && !strncmp(set, "made_", 5) &&
            set_facts(&g, set, &length, &pad)) {
            golden_config(&g, set + 5, length, pad);
            seen++;
        }
    }
    CHECK(seen >= 10, "%d configs in %s", seen, GOLDEN);
    tensors_close(&g);
}

/* ---- small vocabularies ---- */

#define MERGES_AB "#version: 0.2\na b</w>\n"
/* a, b, a</w>, b</w>, ab</w>, !</w> and the two special tokens. */
static const char tiny[] =
    "{\"a\":0,\"b\":1,\"a</w>\":2,\"b</w>\":3,\"ab</w>\":4,\"!</w>\":5,"
    "\"<|startoftext|>\":6,\"<|endoftext|>\":7}";

static tokenizer *open_tiny(world *w)
{
    tokenizer *t;
    world_init(w);
    w->text[VOCAB] = tiny;
    w->text[MERGES] = MERGES_AB;
    const int code = tokenizer_open(&t, &w->host, "/t", &err);
    CHECK(code == SAEURON_OK, "%s", err.text);
    return t;
}

/* Worked by hand: start, "ab" merged, "!" a word, "x" unknown, end; then the padding, 77 ids in all; pieces
 * by id. */
static void by_hand(void)
{
    world w;
    tokenizer *t = open_tiny(&w);
    if (!t)
        return;
    int32_t ids[77];
    size_t  count, cut;
    CHECK(tokenizer_max_length(t) == 77 && tokenizer_size(t) == 8, "length %zu, size %zu",
          tokenizer_max_length(t), tokenizer_size(t));
    CHECK(!tokenizer_encode(t, ids, &count, &cut, "AB!xba", &err) && count == 7 && cut == 0,
          "count %zu, cut %zu", count, cut);
    static const int32_t want[] = { 6, 4, 5, 7, 1, 2, 7, 7 };
    for (size_t i = 0; i < 8; i++)
        CHECK(ids[i] == want[i], "id %zu is %d, not %d", i, (int)ids[i], (int)want[i]);
    CHECK(ids[76] == 7, "the last id is %d", (int)ids[76]);
    CHECK(!strcmp(tokenizer_piece(t, 4), "ab</w>") && !tokenizer_piece(t, 8) && !tokenizer_piece(t, -1),
          "pieces");
    tokenizer_close(t);
    tokenizer_close(NULL);
    world_close(&w, "by_hand");
}

/* The same vocabulary as tokenizer.json, which goes before the other files: merges as texts or as pairs, an
 * added token. */
static void one_file(void)
{
    static const char *const merges[] = { "\"a b</w>\"", "[\"a\",\"b</w>\"]" };
    for (size_t i = 0; i < 2; i++) {
        world w;
        tokenizer *t;
        int32_t ids[77];
        size_t  count;
        char    whole[512];
        snprintf(whole, sizeof whole,
                 "{\"added_tokens\":[{\"id\":8,\"content\":\"<X>\",\"normalized\":true}],"
                 "\"model\":{\"vocab\":%s,\"merges\":[%s]}}", tiny, merges[i]);
        world_init(&w);
        w.text[WHOLE] = whole;
        w.text[VOCAB] = "not looked at";
        CHECK(!tokenizer_open(&t, &w.host, "/t", &err), "%s", err.text);
        CHECK(t && !tokenizer_encode(t, ids, &count, NULL, "AB<x>", &err) && count == 4 && ids[1] == 4 &&
              ids[2] == 8 && ids[3] == 7,
              "merges as %s", merges[i]);
        tokenizer_close(t);
        world_close(&w, "one_file");
    }
}

/* Added tokens in each file that may hold them, and each of their flags: what transformers 5.23 makes of the
 * tiny vocabulary with them. */
static void added_tokens(void)
{
#define DECODER(tokens) "{\"added_tokens_decoder\":{" tokens "}}"
    static const struct {
        const char *config, *map, *added, *prompt;
        int32_t ids[19];
        size_t  count;
    } cases[] = {
        /* as transformers 4.34 to 4.57 save a placeholder token: twice */
        { DECODER("\"8\":{\"content\":\"<x>\",\"lstrip\":false,\"normalized\":true,"
                  "\"rstrip\":false,\"single_word\":false,\"special\":false}"), NULL, "{\"<x>\":8}", "a <X>b",
          { 6, 2, 8, 3, 7 }, 5 },
        /* and before; those that are called special are not normalized */
        { NULL, NULL, "{\"<y>\":9,\"<x>\":8}", "a <X><y>", { 6, 2, 8, 9, 7 }, 5 },
        { "{\"extra_special_tokens\":[\"<y>\"]}", NULL, "{\"<x>\":8,\"<y>\":9}", "<X><y><Y>",
          { 6, 8, 9, 7, 7, 7, 7 }, 7 },
        { "{\"additional_special_tokens\":[\"<y>\"]}", NULL, "{\"<x>\":8,\"<y>\":9}", "<X><y><Y>",
          { 6, 8, 9, 7, 7, 7, 7 }, 7 },
        { NULL, "{\"additional_special_tokens\":[\"<x>\"]}", "{\"<x>\":8}", "<X>", { 6, 8, 7 }, 3 },
        { NULL, "{\"pad_token\":\"<x>\"}", "{\"<x>\":8}", "<x><X>", { 6, 8, 7, 7, 7, 7 }, 6 },
        { "{\"additional_special_tokens\":[\"<x>\",\"<y>\"]}", NULL, NULL, "<y><x><X>",
          { 6, 9, 8, 7, 7, 7, 7 }, 7 },
        { "{\"additional_special_tokens\":[\"<x>\"]}", "{\"additional_special_tokens\":[\"<y>\"]}", NULL,
          "<y><x>", { 6, 7, 7, 7, 8, 7 }, 6 },
        { DECODER("\"8\":{\"content\":\"xx\",\"single_word\":true,\"normalized\":false}"), NULL, NULL,
          "xx xxa _xx xx! axx \xCC\x81xx xx",
          { 6, 8, 7, 7, 2, 7, 7, 7, 8, 5, 0, 7, 7, 7, 7, 7, 7, 8, 7 }, 19 },
        { DECODER("\"8\":{\"content\":\"xx\",\"single_word\":true,\"normalized\":true}"), NULL, NULL,
          "XX\xC3\xA9XX \xC2\xBDXX-xX7", { 6, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 7, 7, 7, 7 }, 15 },
        { DECODER("\"8\":{\"content\":\"<x>\",\"lstrip\":true,\"rstrip\":true,\"normalized\":false},"
                  "\"9\":{\"content\":\" y \",\"normalized\":true}"), NULL, NULL, "a <x> y b y <x>y y ",
          { 6, 2, 8, 7, 3, 7, 8, 7, 9, 7 }, 10 },
        { "{\"padding_side\":\"right\",\"extra_special_tokens\":{},\"model_max_length\":null}", NULL,
          "{\"<x>\":8}", "a<x>", { 6, 2, 8, 7 }, 4 },
        { DECODER("\"8\":{\"content\":\"<x>\",\"lstrip\":true,\"rstrip\":true,\"normalized\":false}"),
          NULL, NULL, "  <x>  ", { 6, 8, 7 }, 3 },
        { DECODER("\"8\":{\"content\":\"<x>\",\"rstrip\":true,\"normalized\":false},"
                  "\"9\":{\"content\":\" y\",\"normalized\":false}"), NULL, NULL, "a<x> y b<x>  y",
          { 6, 2, 8, 9, 3, 8, 9, 7 }, 8 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world w;
        tokenizer *t;
        int32_t ids[77];
        size_t  count = 0;
        world_init(&w);
        w.text[VOCAB] = tiny;
        w.text[MERGES] = MERGES_AB;
        w.text[CONFIG] = cases[i].config;
        w.text[MAP] = cases[i].map;
        w.text[ADDED] = cases[i].added;
        CHECK(!tokenizer_open(&t, &w.host, "/t", &err), "case %zu: %s", i, err.text);
        CHECK(t && !tokenizer_encode(t, ids, &count, NULL, cases[i].prompt, &err) &&
                  count == cases[i].count && !memcmp(ids, cases[i].ids, count * sizeof *ids),
              "case %zu: \"%s\" becomes %zu other ids", i, cases[i].prompt, count);
        tokenizer_close(t);
        world_close(&w, "added_tokens");
    }
#undef DECODER
}

/* 256 added tokens are found; one more is refused. */
static void many_added(void)
{
    for (int n = 256; n <= 257; n++) {
        world w;
        tokenizer *t;
        int32_t ids[77];
        char   text[8192];
        size_t used = 0;
        world_init(&w);
        for (int i = 0; i < n; i++)
            used += (size_t)snprintf(text + used, sizeof text - used, "%c\"<%d>\":%d", i ? ',' : '{', i,
                                     8 + i);
        snprintf(text + used, sizeof text - used, "}");
        w.text[VOCAB] = tiny;
        w.text[MERGES] = MERGES_AB;
        w.text[ADDED] = text;
        const int code = tokenizer_open(&t, &w.host, "/t", &err);
        CHECK(n == 256 ? !code : code == SAEURON_EFORMAT && strstr(err.text, "257 added tokens"), "%d: %s", n,
              err.text);
        CHECK(!t || (!tokenizer_encode(t, ids, NULL, NULL, "<255><7>", &err) && ids[1] == 263 &&
                     ids[2] == 15), "the last of many");
        tokenizer_close(t);
        world_close(&w, "many_added");
    }
}

/* Start and end stay when all else is cut; a length of 1 has no room for them. */
static void lengths(void)
{
    world w;
    tokenizer *t = open_tiny(&w);
    if (!t)
        return;
    int32_t ids[4] = { -1, -1, -1, -1 };
    size_t  count, cut;
    CHECK(tokenizer_set_max_length(t, 1, &err) == SAEURON_EUSAGE && strstr(err.text, "1 ids"), "%s",
          err.text);
    CHECK(tokenizer_set_max_length(t, TOKENIZER_LENGTH_MAX + 1, &err) == SAEURON_EUSAGE, "too long");
    CHECK(tokenizer_max_length(t) == 77, "a refused length was kept: %zu", tokenizer_max_length(t));
    for (size_t n = 2; n <= 3; n++) {
        CHECK(!tokenizer_set_max_length(t, n, &err) && !tokenizer_encode(t, ids, &count, &cut, "a a a", &err),
              "%s", err.text);
        CHECK(count == n && cut == 5 - n && ids[0] == 6 && ids[n - 1] == 7 && ids[n] == -1,
              "length %zu: count %zu, cut %zu", n, count, cut);
    }
    tokenizer_close(t);
}

/* ---- hostile prompts ---- */

/* Each way not to be UTF-8, and where: a check that only looks at lead bytes lets half of them through. */
static void not_utf8(void)
{
    static const struct { const char *text; const char *at; } bad[] = {
        { "\x80", "byte 0 (0x80)" },           { "ab\xC3", "byte 2 (0xC3)" },
                { "\xC0\xAF", "byte 0 (0xC0)" },
        { "a\xE0\x80\xAF", "byte 1 (0xE0)" },  { "\xED\xA0\x80", "byte 0 (0xED)" },
          { "\xF4\x90\x80\x80", "byte 0 (0xF4)" },
        { "\xF0\x9F\x98", "byte 0 (0xF0)" },   { "\xFF", "byte 0 (0xFF)" },
                  { "\xF8\x88\x80\x80\x80", "byte 0 (0xF8)" },
        { "\xC3\xA9\xC3\xA9 \xE9t\xE9", "byte 5 (0xE9)" },
    };
    world w;
    tokenizer *t = open_tiny(&w);
    int32_t ids[77];
    for (size_t i = 0; t && i < sizeof bad / sizeof *bad; i++)
        CHECK(tokenizer_encode(t, ids, NULL, NULL, bad[i].text, &err) == SAEURON_EUSAGE &&
              strstr(err.text, bad[i].at), "%s: %s", bad[i].at, err.text);
    CHECK(t && !tokenizer_encode(t, ids, NULL, NULL, "a", &err), "not usable after an error: %s", err.text);
    tokenizer_close(t);
}

/* n bytes that repeat s, or what fits of it whole. */
static char *repeated(const char *s, size_t n)
{
    const size_t k = strlen(s);
    char *text = malloc(n + 1);
    if (!text)
        return NULL;
    for (size_t i = 0; i < n / k; i++)
        memcpy(text + i * k, s, k);
    text[n / k * k] = 0;
    return text;
}

/* The worst of each kind: an insertion sort of marks, or a merge that searches the whole word for its next
 * pair, takes minutes for a megabyte; a word longer than its memory is seen by the sanitizers. */
static void long_prompts(void)
{
    enum { MB = TOKENIZER_PROMPT_MAX, KB = MB / 1024 };
    static const struct { const char *text; size_t n; } worst[] = {
        { "aaab", MB }, { "\xCD\x85\xCC\xA1", MB }, { "ab ", 32 * KB }, { "\xF0\x9D\x85\xA0", 32 * KB },
        { "<|endoftext|>", 32 * KB },
        { "\xCE\x90", 32 * KB }, { "\xEA\xB0\x81", 32 * KB }, { "'s", 32 * KB },
        { "<|startoftext|>!", 32 * KB }
    };
    world w;
    tokenizer *t;
    int32_t ids[77];
    size_t  count, cut;
    made_world(&w);
    if (tokenizer_open(&t, &w.host, "/t", &err)) {
        CHECK(false, "%s", err.text);
        return;
    }
    const double start = os_seconds();
    for (size_t i = 0; i < sizeof worst / sizeof *worst; i++) {
        char *text = repeated(worst[i].text, worst[i].n);
        CHECK(text && !tokenizer_encode(t, ids, &count, &cut, text, &err) && count == 77 && cut > 1000,
              "prompt %zu: %s", i, err.text);
        free(text);
    }
    test_note("two prompts of 1 MiB and more in %.2f s", os_seconds() - start);
    CHECK(os_seconds() - start < 60, "%.0f s", os_seconds() - start);
    char *text = repeated("a", TOKENIZER_PROMPT_MAX + 1);
    CHECK(text && tokenizer_encode(t, ids, NULL, NULL, text, &err) == SAEURON_EUSAGE &&
          strstr(err.text, "too long"), "%s", err.text);
    free(text);
    tokenizer_close(t);
    world_close(&w, "long_prompts");
}

/* ---- hostile files ---- */

typedef struct hostile { const char *text[FILES]; int code; const char *says; } hostile;

#define CONFIG_ONLY(config, says) { { tiny, MERGES_AB, config, NULL, NULL, NULL }, SAEURON_EFORMAT, says }
#define VOCAB_ONLY(vocab, says)   { { vocab, MERGES_AB, NULL, NULL, NULL, NULL }, SAEURON_EFORMAT, says }
#define MERGES_ONLY(merges, says) { { tiny, merges, NULL, NULL, NULL, NULL }, SAEURON_EFORMAT, says }
#define WHOLE_ONLY(whole, says)   { { tiny, MERGES_AB, NULL, NULL, NULL, whole }, SAEURON_EFORMAT, says }

static const hostile bad_files[] = {
    { { NULL, MERGES_AB, NULL, NULL, NULL, NULL }, SAEURON_ENOENT, "/t/vocab.json: there is no such file" },
    { { tiny, NULL, NULL, NULL, NULL, NULL }, SAEURON_ENOENT, "/t/merges.txt: there is no such file" },
    VOCAB_ONLY("", "/t/vocab.json"),
    VOCAB_ONLY("[]", "must hold a JSON object"),
    VOCAB_ONLY("{}", "must have an object of 1"),
    VOCAB_ONLY("{\"a\":0,\"b\":1", "/t/vocab.json"),
    VOCAB_ONLY("{\"a\":0,\"b\":0}", "the pieces \"a\" and \"b\" have the same id 0"),
    VOCAB_ONLY("{\"a\":0,\"b\":2}", "the id of piece \"b\" must be a whole number from 0 to 1"),
    VOCAB_ONLY("{\"a\":-1}", "the id of piece \"a\""),
    VOCAB_ONLY("{\"a\":0.5}", "the id of piece \"a\""),
    VOCAB_ONLY("{\"a\":1e300}", "the id of piece \"a\""),
    VOCAB_ONLY("{\"a\":\"0\"}", "the id of piece \"a\""),
    VOCAB_ONLY("{\"a\\u0000\":0}", "piece number 1 holds U+0000"),
    VOCAB_ONLY("{\"a\":0,\"b</w>\":1}", "needs the piece \"ab</w>\""),
    VOCAB_ONLY("{\"b</w>\":0,\"a\":1}", "needs the piece \"ab</w>\""),
    { { "{\"a\":0,\"<|endoftext|>\":1}", "", NULL, NULL, NULL, NULL }, SAEURON_EFORMAT,
      "the bos_token \"<|startoftext|>\" is no piece" },
    { { "{\"a\":0,\"<|startoftext|>\":1}", "", NULL, NULL, NULL, NULL }, SAEURON_EFORMAT,
      "the eos_token \"<|endoftext|>\" is no piece" },
    MERGES_ONLY("#version: 0.2\na b</w> x\n", "merge 2 must be two pieces"),
    MERGES_ONLY("a\n", "merge 1 must be two pieces"),
    MERGES_ONLY("a b</w>\n\na b</w>\n", "merge 2 must be two pieces"),
    MERGES_ONLY("a c</w>\n", "merge 1 needs the piece \"c</w>\""),
    MERGES_ONLY("b a</w>\n", "merge 1 needs the piece \"ba</w>\""),
    MERGES_ONLY("#version\r\na b</w>\r\n\x01 b</w>\r\n", "merge 3 needs the piece \"?\""),
    CONFIG_ONLY("[1]", "must hold a JSON object"),
    CONFIG_ONLY("", "/t/tokenizer_config.json"),
    CONFIG_ONLY("{", "/t/tokenizer_config.json"),
    CONFIG_ONLY("{\"pad_token\":\"<pad>\"}", "the pad_token \"<pad>\" is no piece of the vocabulary"),
    CONFIG_ONLY("{\"pad_token\":null}", "pad_token must be a text"),
    CONFIG_ONLY("{\"pad_token\":\"\"}", "pad_token must be a text"),
    CONFIG_ONLY("{\"pad_token\":{}}", "pad_token has no \"content\""),
    CONFIG_ONLY("{\"pad_token\":{\"content\":7}}", "pad_token must be a text"),
    CONFIG_ONLY("{\"pad_token\":{\"content\":\"a\",\"normalized\":1}}",
                "normalized of pad_token must be true or false"),
    CONFIG_ONLY("{\"pad_token\":{\"content\":\"a\",\"lstrip\":1}}", "lstrip of pad_token must be true"),
    CONFIG_ONLY("{\"pad_token\":\"0123456789012345678901234567890123456789012345678901234567890123\"}",
                "1 to 63 bytes"),
    CONFIG_ONLY("{\"mask_token\":\"a\"}", "mask_token has a value that this program does not support"),
    CONFIG_ONLY("{\"additional_special_tokens\":[7]}", "additional_special_tokens must be a text"),
    CONFIG_ONLY("{\"extra_special_tokens\":[\"a\",{}]}", "extra_special_tokens has no \"content\""),
    CONFIG_ONLY("{\"extra_special_tokens\":{\"image_token\":\"a\"}}", "extra_special_tokens has a value"),
    CONFIG_ONLY("{\"extra_special_tokens\":\"a\"}", "extra_special_tokens has a value"),
    CONFIG_ONLY("{\"split_special_tokens\":true}", "split_special_tokens has a value"),
    CONFIG_ONLY("{\"padding_side\":\"left\"}", "padding_side has a value"),
    CONFIG_ONLY("{\"truncation_side\":\"left\"}", "truncation_side has a value"),
    CONFIG_ONLY("{\"add_eos_token\":false}", "add_eos_token has a value"),
    CONFIG_ONLY("{\"add_bos_token\":false}", "add_bos_token has a value"),
    CONFIG_ONLY("{\"max_len\":1}", "model_max_length must be a whole number from 2"),
    CONFIG_ONLY("{\"model_max_length\":1}", "model_max_length must be a whole number from 2"),
    CONFIG_ONLY("{\"model_max_length\":77.5}", "model_max_length must be a whole number from 2"),
    CONFIG_ONLY("{\"model_max_length\":\"77\"}", "model_max_length must be a whole number from 2"),
    CONFIG_ONLY("{\"model_max_length\":100000000}", "model_max_length must be a whole number from 2"),
    CONFIG_ONLY("{\"added_tokens_decoder\":{\"x\":\"a\"}}", "an added token has no id"),
    CONFIG_ONLY("{\"added_tokens_decoder\":[\"a\"]}", "an added token has no id"),
    CONFIG_ONLY("{\"added_tokens_decoder\":{\"1\":\"a\"}}",
                "the added token \"a\" cannot have the id 1, it has 0"),
    CONFIG_ONLY("{\"added_tokens_decoder\":{\"9\":\"<x>\"}}", "must go on from 8 without a hole"),
    CONFIG_ONLY("{\"added_tokens_decoder\":{\"8\":\"<x>\",\"9\":\"<x>\"}}",
                "\"<x>\" cannot have the id 9, it has 8"),
    WHOLE_ONLY("", "/t/tokenizer.json"),
    WHOLE_ONLY("{}", "/t/tokenizer.json: has no model with vocab and merges"),
    WHOLE_ONLY("{\"model\":{\"vocab\":[[\"a\",0]],\"merges\":[]}}", "must have an object of 1"),
    WHOLE_ONLY("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", "merge 1 must be two pieces"),
    WHOLE_ONLY("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", "merge 1 needs the piece \"b\""),
    WHOLE_ONLY("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[{\"content\":\"a\"}]}",
               "an added token has no id"),
    WHOLE_ONLY("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},"
               "\"added_tokens\":[{\"content\":\"b\",\"id\":-1}]}", "must go on from 1"),
    { { tiny, MERGES_AB, NULL, "{\"pad_token\":\"<pad>\"}", NULL, NULL }, SAEURON_EFORMAT,
      "/t/special_tokens_map.json: the pad_token" },
    { { tiny, MERGES_AB, NULL, NULL, "{\"<x>\":9}", NULL }, SAEURON_EFORMAT,
      "/t/added_tokens.json: the new ids of added tokens must go on from 8" },
    { { tiny, MERGES_AB, NULL, NULL, "{\"<x>\":\"8\"}", NULL }, SAEURON_EFORMAT,
      "/t/added_tokens.json: an added token has no id" },
    { { tiny, MERGES_AB, NULL, NULL, "[8]", NULL }, SAEURON_EFORMAT,
      "/t/added_tokens.json: must hold a JSON object" },
    { { tiny, MERGES_AB, NULL, NULL, "{\"b\":8}", NULL }, SAEURON_EFORMAT,
      "/t/added_tokens.json: the added token \"b\" cannot have the id 8, it has 1" },
};

/* Each file says what is wrong with it, where, in one line; nothing is left behind. */
static void hostile_files(void)
{
    for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; i++) {
        world w;
        tokenizer *t;
        world_init(&w);
        memcpy(w.text, bad_files[i].text, sizeof w.text);
        const int code = tokenizer_open(&t, &w.host, "/t", &err);
        CHECK(code == bad_files[i].code && strstr(err.text, bad_files[i].says),
              "file %zu: code %d, \"%s\" should say \"%s\"", i, code, code ? err.text : "",
              bad_files[i].says);
        CHECK(!code || (!t && !strchr(err.text, '\n')), "file %zu: \"%s\"", i, err.text);
        tokenizer_close(t);
        world_close(&w, bad_files[i].says);
    }
}

/* The hash of tokenizer.c, to make pieces that collide. */
static uint64_t piece_hash(const char *s)
{
    uint64_t h = 0xCBF29CE484222325u;
    while (*s)
        h = (h ^ (unsigned char)*s++) * 0x100000001B3u;
    return rng_mix(h);
}

/* A thousand pieces for one place of the table: without a bound on probing a million of them would take
 * days. */
static void colliding_pieces(void)
{
    enum { PIECES = 1000, SLOTS = 2048 };
    world  w;
    tokenizer *t;
    size_t used = 1;
    char  *vocab = malloc(PIECES * 24 + 2);
    if (!vocab)
        return;
    vocab[0] = '{';
    for (unsigned i = 0, n = 0; n < PIECES; i++) {
        char piece[16];
        snprintf(piece, sizeof piece, "%u", i);
        if (piece_hash(piece) % SLOTS == 7)
            used += (size_t)snprintf(vocab + used, 24, "%s\"%s\":%u", n ? "," : "", piece, n), n++;
    }
    vocab[used] = '}';
    vocab[used + 1] = 0;
    world_init(&w);
    give(&w, VOCAB, vocab);
    w.text[MERGES] = "";
    CHECK(tokenizer_open(&t, &w.host, "/t", &err) == SAEURON_EFORMAT && strstr(err.text, "collide"), "%s",
          err.text);
    world_close(&w, "colliding_pieces");
}

/* A duplicate among many keys: json.c looks for it only among few. */
static void duplicate_among_many(void)
{
    enum { PIECES = 3000 };
    world  w;
    tokenizer *t;
    size_t used = 0;
    char  *vocab = malloc(PIECES * 24 + 2);
    if (!vocab)
        return;
    for (unsigned i = 0; i < PIECES; i++)
        used += (size_t)snprintf(vocab + used, 24, "%c\"%u\":%u", i ? ',' : '{', i == 2900 ? 17 : i, i);
    vocab[used] = '}';
    vocab[used + 1] = 0;
    world_init(&w);
    give(&w, VOCAB, vocab);
    w.text[MERGES] = "";
    CHECK(tokenizer_open(&t, &w.host, "/t", &err) == SAEURON_EFORMAT &&
          strstr(err.text, "\"17\" is there twice, as 17 and 2900"), "%s", err.text);
    world_close(&w, "duplicate_among_many");
}

/* Opens a folder whose file is text [n] with byte at replaced; encodes if it opened. */
static void open_damaged(const char *const *texts, int file, size_t n, size_t at, char byte)
{
    world w;
    tokenizer *t;
    int32_t ids[77];
    world_init(&w);
    memcpy(w.text, texts, sizeof w.text);
    give(&w, file, malloc(n + 1));
    if (w.owned[file]) {
        memcpy(w.owned[file], texts[file], n);
        w.owned[file][n] = 0;
        if (at < n)
            w.owned[file][at] = byte;
        if (!tokenizer_open(&t, &w.host, "/t", &err) && !tokenizer_set_max_length(t, 77, &err))
            CHECK(!tokenizer_encode(t, ids, NULL, NULL, "ab <x> ba", &err), "%s of %zu bytes: %s",
                  names[file], n, err.text);
        tokenizer_close(t);
    }
    world_close(&w, names[file]);
}

/* Cut short anywhere, or with one byte another, a file is an error or still a tokenizer, never a crash (the
 * sanitizers watch). */
static void damaged_files(void)
{
    static const char bytes[] = "\"{}[],: 09-.e\\u\x7F";
    static const char *const two[FILES] = { tiny, MERGES_AB,
        "{\"pad_token\":{\"content\":\"a\",\"normalized\":true},"
        "\"added_tokens_decoder\":{\"8\":{\"content\":\"<x>\"}}}", "{}", "{}", NULL };
    static const char *const older[FILES] = { tiny, MERGES_AB, "{\"extra_special_tokens\":[\"<x>\"]}",
        "{\"additional_special_tokens\":[\"<y>\"],\"pad_token\":{\"content\":\"a\"}}", "{\"<x>\":8}",
        NULL };
    static const char *const one[FILES] = { NULL, NULL, "{\"model_max_length\":16}", NULL, NULL,
        "{\"added_tokens\":[{\"id\":5,\"content\":\"<x>\"}],"
        "\"model\":{\"vocab\":{\"a\":0,\"ab</w>\":1,\"b</w>\":3,\"<|startoftext|>\":2,\"<|endoftext|>\":4},"
        "\"merges\":[[\"a\",\"b</w>\"]]}}" };
    const char *const *const folders[] = { one, two, older };
    for (size_t f = 0; f < 3; f++)
        for (int file = 0; file < FILES; file++) {
            const char *const *texts = folders[f];
            for (size_t n = 0; texts[file] && n <= strlen(texts[file]); n++) {
                open_damaged(texts, file, n, n, 0);
                for (size_t i = 0; bytes[i] && texts[file][n]; i++)
                    open_damaged(texts, file, strlen(texts[file]), n, bytes[i]);
            }
        }
}

/* ---- memory ---- */

/* Allocation n refused, for all n: SAEURON_ENOMEM, nothing kept, and the next call works. */
static void memory_refused(void)
{
    world w;
    tokenizer *t = NULL;
    int32_t ids[77];
    made_world(&w);
    for (w.refuse = 0; w.refuse < 100; w.refuse++) {
        w.asked = 0;
        const int code = tokenizer_open(&t, &w.host, "/t", &err);
        if (!code)
            break;
        CHECK(code == SAEURON_ENOMEM && !t && w.live == 0,
              "open with %zu blocks: code %d, %zu not given back", w.refuse, code, w.live);
    }
    CHECK(t && w.refuse > 0, "nothing was refused on opening");
    const size_t held = w.live;
    size_t refused = 0;
    for (size_t n = 0; t && n < 100; n++) {
        w.refuse = n; /* tokenizer_open copied the host, whose user is this world */
        w.asked = 0;
        const int code = tokenizer_encode(t, ids, NULL, NULL, "An image of <|endoftext|> cats<|endoftext|>!",
                                          &err);
        CHECK(w.live == held, "encode with %zu blocks: %zu not given back", n, w.live - held);
        if (!code)
            break;
        CHECK(code == SAEURON_ENOMEM, "encode with %zu blocks: code %d", n, code);
        refused++;
    }
    CHECK(refused >= 4, "only %zu allocations were refused: the prompt, and three texts between special "
          "tokens", refused);
    tokenizer_close(t);
    world_close(&w, "memory_refused");
}

/* ---- speed ---- */

/* Opening is linear in the files. */
static void opens_fast(void)
{
    tokenizer *t;
    if (!have(clip_folder()))
        return;
    const double start = os_seconds();
    const int code = tokenizer_open(&t, NULL, clip_folder(), &err);
    const double seconds = os_seconds() - start;
    CHECK(code == SAEURON_OK, "%s", err.text);
    test_note("CLIP's vocabulary opens in %.1f ms", 1e3 * seconds);
    CHECK(seconds < 5, "CLIP's vocabulary took %.1f s to open", seconds);
    tokenizer_close(t);
}

/* The id of the piece that is one byte: of 0x80 to 0xA0 the characters from U+0122 on, of the others here
 * their own. */
static int32_t id_of_byte(const tokenizer *t, unsigned b)
{
    char piece[8] = "";
    int32_t id = 0;
    io_utf8_put(piece, b >= 0x80 && b <= 0xA0 ? 0x122 + b - 0x80 : b);
    while (tokenizer_piece(t, id) && strcmp(tokenizer_piece(t, id), piece))
        id++;
    return id;
}

/* Texts of ids: blanks where words end, U+FFFD for what is no UTF-8, one for a character that was cut short;
 * a text that was encoded comes back. Random ids against transformers: check_tokenizer.py. */
static void decodes(void)
{
    static const struct { const char *bytes, *text; } raw[] = {
        { "\xE2\x82", "\xEF\xBF\xBD" }, { "\xE2\x28", "\xEF\xBF\xBD(" },
        { "\xF0\x9F\x98", "\xEF\xBF\xBD" }, { "\xF0\x9F\x41", "\xEF\xBF\xBD" "A" },
        { "\xED\xA0", "\xEF\xBF\xBD\xEF\xBF\xBD" }, { "\xE2\x82\xAC", "\xE2\x82\xAC" },
    };
    saeuron_error e;
    tokenizer *t;
    int32_t ids[32];
    size_t n;
    CHECK(tokenizer_open(&t, NULL, "weights/emojicanvas/tokenizer", &e) == SAEURON_OK, "%s", e.text);
    CHECK(tokenizer_encode(t, ids, &n, NULL, " A  Cat's caf\xC3\xA9 ", &e) == SAEURON_OK, "%s", e.text);
    char *text = tokenizer_decode(t, ids, n, &e);
    CHECK(text && !strcmp(text, "<|startoftext|>a cat 's caf\xC3\xA9 <|endoftext|>"), "\"%s\"", text);
    io_free(NULL, text);
    for (size_t i = 0; i < sizeof raw / sizeof *raw; i++) {
        for (n = 0; raw[i].bytes[n]; n++)
            ids[n] = id_of_byte(t, (unsigned char)raw[i].bytes[n]);
        text = tokenizer_decode(t, ids, n, &e);
        CHECK(text && !strcmp(text, raw[i].text), "%zu: \"%s\"", i, text);
        io_free(NULL, text);
    }
    text = tokenizer_decode(t, ids, 0, &e);
    CHECK(text && !*text, "no ids: \"%s\"", text);
    io_free(NULL, text);
    ids[1] = (int32_t)tokenizer_size(t);
    CHECK(!tokenizer_decode(t, ids, 2, &e) && e.code == SAEURON_EUSAGE, "%s", e.text);
    CHECK(tokenizer_is_end(t, ids[1] - 1) && !tokenizer_is_end(t, 0), "ends");
    tokenizer_close(t);
}

const test_case tokenizer_tests[] = {
    { "golden_made", golden_made },
    { "golden_clip", golden_clip },
    { "golden_emojicanvas", golden_emojicanvas },
    { "golden_configs", golden_configs },
    { "by_hand", by_hand },
    { "one_file", one_file },
    { "added_tokens", added_tokens },
    { "many_added", many_added },
    { "lengths", lengths },
    { "not_utf8", not_utf8 },
    { "long_prompts", long_prompts },
    { "hostile_files", hostile_files },
    { "colliding_pieces", colliding_pieces },
    { "duplicate_among_many", duplicate_among_many },
    { "damaged_files", damaged_files },
    { "memory_refused", memory_refused },
    { "decodes", decodes }, { "opens_fast", opens_fast },
    { NULL, NULL }
};
