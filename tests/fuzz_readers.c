/* fuzz_readers.c: the table of fuzzed readers, and of each what must hold of what it accepted: values can be
 * walked, networks run, what we write reads back the same (fuzz.h).
 *
 * options.c is included whole: what was given on a command line stands there in a list that the program fills
 * once, and a target again and again. */
#include "fuzz.h"
#include "slow_crc.h"
#include "arithmetic/rng.h"
#include "evaluation/sweep.h"
#include "files/bytes.h"
#include "files/deflate.h"
#include "files/npy.h"
#include "files/png.h"
#include "forget.h"
#include "program/opening.h"
#include "program/options.c"
#include "training/concepts.h"
#include "training/merge.h"
#include "training/run.h"

#include <stdlib.h>

#define STYLES "tiny/sae/" TINY_STYLES
#define JUDGE  "tiny/classifier/style"

/* ---- files/ ---- */

/* The input as JSON; its beginning as a number, and as a text that becomes JSON. */
static void fuzz_json(void)
{
    char text[512], quoted[4096];
    json v;
    saeuron_error e;
    if (accepted(json_open(&v, (const char *)input, input_size, "input", &e), &e))
        walk(v, 0);
    snprintf(text, sizeof text, "%.*s", (int)(input_size < 511 ? input_size : 511), (const char *)input);
    check_number(text);
    const size_t length = json_quote(quoted, sizeof quoted, text);
    require(length <= sizeof quoted && json_open(&v, quoted, length, "quoted", NULL) == SAEURON_OK,
            "a quoted text is JSON");
}

static void fuzz_tensors_at(const char *path)
{
    tensors t;
    saeuron_error e;
    if (accepted(tensors_open(&t, &host, path, &e), &e)) {
        for (size_t i = 0; i < t.count; i++) {
            require(t.list[i].bytes == t.list[i].count * dtype_size(t.list[i].type), "bytes");
            require(tensors_find(&t, t.list[i].name) == &t.list[i], "a tensor is found by its name");
        }
        tensors_digest(0, &t); /* reads every byte */
    }
    tensors_close(&t);
}

static void fuzz_tensors(void) { fuzz_tensors_at("tiny/input.safetensors"); }
static void fuzz_index(void)   { fuzz_tensors_at("tiny/set/a.safetensors.index.json"); }

static void fuzz_npy(void)
{
    float *values;
    size_t shape[TENSOR_DIMS], n = 1;
    int ndim;
    saeuron_error e;
    if (accepted(npy_load(&host, "tiny/input.npy", &values, shape, &ndim, &e), &e)) {
        for (int i = 0; i < ndim; i++)
            n *= shape[i];
        nn_first_bad(values, n);
    }
    io_free(&host, values);
}

static void load_png(void)
{
    unsigned char *rgb;
    size_t W, H;
    saeuron_error e;
    if (accepted(png_load(&host, "tiny/input.png", &rgb, &W, &H, &e), &e))
        require(W > 0 && H > 0 && memchr(rgb, rgb[3 * W * H - 1], 3 * W * H), "pixels are there");
    io_free(&host, rgb);
}

/* What the texts of the picture must be, so that an evaluation keeps it. */
const char *const picture_texts[] = { "prompt", "An image of Cats.", "seed", "7", "noise_index", "3", "steps",
                                      "50", "cfg", "7.5", "size", "4x4", "model", "0123456789abcdef",
                                      "contract", "1", NULL };

static void keep_picture(void)
{
    picture p = { .texts = { NULL } };
    unsigned char *rgb;
    saeuron_error e;
    for (size_t i = 0; picture_texts[i]; i++)
        p.texts[i] = picture_texts[i];
    if (accepted(picture_load(&p, &host, "tiny/input.png", 4, 4, &rgb, &e), &e))
        require(memchr(rgb, rgb[47], 48) != NULL, "pixels are there");
    io_free(&host, rgb);
}

static void fuzz_png(void)
{
    static const char *const keys[] = { "prompt", "title", "a", "" };
    png_file f;
    saeuron_error e;
    load_png();
    keep_picture();
    if (!accepted(png_open(&f, &host, "tiny/input.png", &e), &e))
        return;
    char *text = malloc(png_text_room(&f));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const int code = png_text(&f, keys[i], text, png_text_room(&f), &e);
        require(code != SAEURON_EUSAGE, "the room is enough for every text");
        accepted(code, &e);
    }
    free(text);
    png_close(&f);
}

static size_t put_chunk(unsigned char *to, const char *type, const unsigned char *data, size_t n)
{
    put_be32(to, (uint32_t)n);
    memcpy(to + 4, type, 4);
    if (n)
        memcpy(to + 8, data, n);
    put_be32(to + 8 + n, slow_crc(to + 4, n + 4));
    return n + 12;
}

/* The input as a picture whose lengths and checksums are right: kind, width, height, how long palette and
 * transparency are; then these; then the rows, each with a filter that there is. What is missing is 0. */
static void fuzz_pixels(void)
{
    static const struct { unsigned char bits, colour, channels; } kinds[] = {
        { 1, 0, 1 }, { 2, 0, 1 }, { 4, 0, 1 }, { 8, 0, 1 }, { 1, 3, 1 }, { 2, 3, 1 }, { 4, 3, 1 },
        { 8, 3, 1 }, { 8, 2, 3 }, { 8, 4, 2 }, { 8, 6, 4 },
    };
    unsigned char head[13] = { 0 }, rest[16000] = { 0 }, packed[16000], file[18000];
    if (input_size < 5)
        return;
    const size_t kind = input[0] % (sizeof kinds / sizeof *kinds), W = 1 + input[1] % 60,
                 H = 1 + input[2] % 60, clear = input[4],
                 colours = 3 * (size_t)input[3] + input[0] / (sizeof kinds / sizeof *kinds);
    const size_t row = 1 + (W * kinds[kind].bits * kinds[kind].channels + 7) / 8, n = H * row;
    unsigned char *const rows = rest + colours + clear;
    memcpy(rest, input + 5, least(input_size - 5, sizeof rest));
    for (size_t y = 0; y < H; y++)
        rows[y * row] %= 5;
    put_be32(head, (uint32_t)W);
    put_be32(head + 4, (uint32_t)H);
    head[8] = kinds[kind].bits;
    head[9] = kinds[kind].colour;
    memcpy(file, "\x89PNG\r\n\x1A\n", 8);
    size_t at = 8 + put_chunk(file + 8, "IHDR", head, sizeof head);
    at += colours ? put_chunk(file + at, "PLTE", rest, colours) : 0;
    at += clear ? put_chunk(file + at, "tRNS", rest + colours, clear) : 0;
    at += put_chunk(file + at, "IDAT", packed, deflate_stored(packed, rows, n));
    at += put_chunk(file + at, "IEND", NULL, 0);
    give_out("tiny/input.png", file, at);
    load_png();
}

/* Two bytes that say how long the data is, and a zlib stream; then the same bytes as data. */
static void fuzz_deflate(void)
{
    if (input_size < 2)
        return;
    const size_t n = (size_t)get_le(input, 2), size = deflate_stored_size(input_size);
    unsigned char *out = malloc(n + 1), *packed = malloc(size), *again = malloc(input_size);
    inflate_zlib(out, n, input + 2, input_size - 2);
    require(deflate_stored(packed, input, input_size) == size, "a stored stream is as long as it says");
    require(inflate_zlib(again, input_size, packed, size) && !memcmp(again, input, input_size),
            "a stored stream reads back");
    free(out);
    free(packed);
    free(again);
}

/* ---- a model's folder ---- */

static void encode(const tokenizer *t, const char *text)
{
    const size_t length = tokenizer_max_length(t);
    int32_t *ids = malloc(length * sizeof *ids);
    size_t count;
    saeuron_error e;
    if (accepted(tokenizer_encode(t, ids, &count, NULL, text, &e), &e)) {
        require(count <= length, "as many ids as there is room for");
        for (size_t i = 0; i < length; i++)
            require(tokenizer_piece(t, ids[i]) != NULL, "an id has a piece");
    }
    free(ids);
}

static void fuzz_tokenizer(void)
{
    tokenizer *t;
    saeuron_error e;
    if (accepted(tokenizer_open(&t, &host, "tiny/tokenizer", &e), &e)) {
        encode(t, "An image of Cats in Van Gogh style.");
        encode(t, "<|startoftext|>do<x> dog\xC3\xA9 \xCC\x81<|endoftext|> 12's");
    }
    tokenizer_close(t);
}

static void fuzz_prompts(void)
{
    prompt_lines p = { NULL, NULL, 0 };
    saeuron_error e;
    if (accepted(read_prompts(&p, "tiny/prompts.txt", &host, &e), &e))
        for (size_t i = 0; i < p.count; i++)
            encode(model()->tokenizer, p.line[i]);
    free_prompts(&p, &host);
}

/* Opens the tiny folder, if the input is an object at least: of what is none the target json tries many more.
 * NULL: it does not open. */
static saeuron_context *open_tiny(void)
{
    saeuron_context *x = NULL;
    saeuron_error e;
    json v;
    if (json_open_object(&v, (const char *)input, input_size, "input", &e) == SAEURON_OK)
        accepted(saeuron_open(&x, &host, "tiny", &e), &e);
    return x;
}

/* A folder that opens plans a picture, and one in eight draws it, or says why not. */
static void fuzz_model(void)
{
    static const char *const prompt[] = { "a cat" };
    static unsigned char rgb[16 * 16 * 3];
    const saeuron_generate_options g = { .prompts = prompt, .count = 1, .steps = 1, .height = 16,
                                         .width = 16 };
    saeuron_context *x = open_tiny();
    saeuron_error e;
    size_t work, weights;
    if (x && accepted(saeuron_memory(x, &g, &work, &weights, &e), &e) &&
        nn_hash(0, input, input_size) % 8 == 0)
        accepted(saeuron_generate(x, &g, rgb, &e), &e);
    if (x)
        saeuron_close(x);
}

/* A folder that opens judges a picture: every size that its config gave was checked against a tensor's. */
static void fuzz_classifier(void)
{
    static const unsigned char rgb[3 * 5 * 7] = { 1, 2, 3, 255 };
    saeuron_classifier *k = NULL;
    saeuron_error e;
    if (!accepted(saeuron_classifier_open(&k, &host, JUDGE, &e), &e)) {
        require(!k, "what did not open is NULL");
        return;
    }
    float *logits = malloc(saeuron_classes(k) * sizeof *logits);
    accepted(saeuron_classify(k, rgb, 1, 5, 7, logits, &e), &e);
    for (size_t i = 0; i < saeuron_classes(k); i++)
        require(!saeuron_class_name(k, i) || strlen(saeuron_class_name(k, i)) < 256, "a name is a text");
    free(logits);
    saeuron_classifier_close(k);
}

/* ---- SAEs, statistics, concepts ---- */

static void fuzz_sae(void)
{
    sae s;
    saeuron_error e;
    if (!accepted(sae_load(&s, &host, NULL, STYLES, &e), &e))
        return;
    float    *z = calloc(s.n, sizeof *z), *val = malloc(s.k * sizeof *val),
             *row = malloc(2 * s.d * sizeof *row + 1), *y = malloc(s.d * sizeof *y + 1);
    uint32_t *idx = malloc(s.k * sizeof *idx);
    for (size_t i = 0; i < s.n; i += 3)
        z[i] = (float)(i % 7) - 1;
    const uint32_t count = sae_top_latents(&s, idx, val, z);
    require(count <= s.k, "k latents at most");
    sae_decode_sparse(&s, y, idx, val, count, row);
    free(z);
    free(val);
    free(row);
    free(y);
    free(idx);
    sae_unload(&s, &host);
}

static void select_by(const stats *s, choice how)
{
    selection sel;
    saeuron_error e;
    accepted(selection_make(&sel, &host, s, s->concepts - 1, how, &e), &e);
    selection_free(&sel, &host);
}

/* The input as statistics, and as the densities beside valid ones. */
static void fuzz_statistics(void)
{
    stats s;
    saeuron_error e;
    if (accepted(stats_load(&s, &host, "tiny/input.safetensors", &e), &e)) {
        for (size_t i = 0; i < s.concepts; i++)
            require(stats_find(&s, stats_name(&s, i)) == (int)i, "a concept is found by its name");
        select_by(&s, (choice){ .top = 3, .strength = -1 });
        select_by(&s, (choice){ .percentile = 99, .strength = -1, .min_lift = 1.5, .end = 1 });
        stats_unload(&s, &host);
    }
    require(stats_load(&s, &host, STYLES "/stats.safetensors", &e) == SAEURON_OK, "valid statistics load");
    if (accepted(stats_load_density(&s, &host, "tiny/input.safetensors", &e), &e))
        select_by(&s, (choice){ .percentile = 50, .strength = -1, .min_density = 0.5 });
    stats_unload(&s, &host);
}

/* What forget.json says is told in a picture's texts, and selects. */
static void fuzz_forget(void)
{
    sae_place at;
    choice    how;
    stats     s;
    char      told[192];
    saeuron_error e;
    if (!accepted(find_concept(model(), "Sketch", NULL, &at, &e), &e) ||
        !accepted(usual_choice(model(), &at, "Sketch", &how, &e), &e))
        return;
    describe_choice(told, &how);
    require(strlen(told) < sizeof told - 1 && strstr(told, " strength "), "a choice is told whole");
    require(stats_load(&s, &host, at.stats, NULL) == SAEURON_OK, "valid statistics load");
    select_by(&s, how);
    stats_unload(&s, &host);
}

static void walk_concepts(saeuron_context *x, const char *hook, const char *file)
{
    concept_set c;
    saeuron_error e;
    size_t n = 0;
    if (!accepted(concepts_open(&c, x, hook, file, 0, &e), &e))
        return;
    for (size_t i = 0; i < c.count; i++) {
        require(*c.list[i].name && c.list[i].first == n, "concepts follow one another");
        for (size_t j = 0; j < c.list[i].count; j++, n++)
            require(strlen(c.list[i].prompts[j]) < 32768, "a prompt is a text");
    }
    require(n == c.prompts, "all prompts are a concept's");
    concepts_close(&c, &host);
}

static void fuzz_captions(void) { walk_concepts(model(), TINY_STYLES, "tiny/mine.json"); }

/* A protocol that opens is printed, and reads back as it was. */
static void check_protocol(saeuron_context *x, const char *named)
{
    protocol p, q;
    text_out t = { .host = &host }, u = { .host = &host };
    saeuron_error e;
    if (!accepted(protocol_open(&p, x, judges(), named, &e), &e))
        return;
    protocol_print(&p, &t);
    give_out("tiny/printed.json", t.at, t.n);
    if (accepted(protocol_open(&q, x, judges(), "tiny/printed.json", &e), &e)) {
        protocol_print(&q, &u);
        require(t.n == u.n && !memcmp(t.at, u.at, t.n), "a printed protocol is read back as it was");
        protocol_close(&q);
    } else {
        require(false, e.text);
    }
    text_free(&t);
    text_free(&u);
    protocol_close(&p);
}

static void fuzz_protocol(void) { check_protocol(model(), "tiny/protocol.json"); }

static void fuzz_concepts(void)
{
    saeuron_context *x = open_tiny();
    if (!x)
        return;
    check_protocol(x, NULL);
    walk_concepts(x, TINY_STYLES, NULL);
    walk_concepts(x, TINY_OBJECTS, NULL);
    saeuron_close(x);
}

/* ---- what training and evaluation go on from ---- */

static void read_maps(void)
{
    static const char *const paths[] = { "tiny/input.safetensors", "tiny/maps.safetensors" };
    map_source s;
    saeuron_error e;
    if (accepted(source_open(&s, &host, paths, 2, &e), &e)) {
        float *x = malloc(s.N * s.d * sizeof *x);
        for (size_t i = 0; i < s.rows; i++)
            accepted(source_row(&s, x, i, &e), &e);
        free(x);
    }
    source_close(&s);
}

/* The input as maps to train on, and as a part to merge with a valid one. */
static void fuzz_parts(void)
{
    static const char *const statistics[] = { "tiny/input.safetensors", "tiny/part1.safetensors" },
                      *const maps[] = { "tiny/input.safetensors", "tiny/maps1.safetensors" };
    saeuron_error e;
    read_maps();
    accepted(merge_parts(&host, statistics, 2, "/dev/null", &e), &e);
    accepted(merge_parts(&host, maps, 2, "/dev/null", &e), &e);
}

static int stop_training(void *user, const training_step *s)
{
    (void)user, (void)s;
    return 1;
}

int train_a_step(saeuron_error *e)
{
    static const char *const paths[] = { "tiny/maps.safetensors" };
    training_options o = { .epochs = 1, .checkpoint_every = 9, .log_every = 1, .type = DT_F32, .dir = RUN_DIR,
                           .resume = true, .threads = 1, .watch = stop_training };
    map_source s;
    train_defaults(&o.config, 4);
    o.config.n = 8;
    o.config.k = 2;
    o.config.batch = 2;
    int code = source_open(&s, &host, paths, 1, e);
    if (!code)
        code = training_run(&s, &host, &o, e);
    source_close(&s);
    return code;
}

static void fuzz_checkpoint(void)
{
    saeuron_error e;
    accepted(train_a_step(&e), &e);
}

static int stop_sweep(void *user, size_t images, size_t there)
{
    (void)user, (void)images, (void)there;
    return 1;
}

int sweep(bool draw, saeuron_error *e)
{
    static const bool concept[DOMAINS][LABELS] = { { false, true }, { false } };
    static sweep_options o;
    saeuron_classifier *const *k = judges();
    protocol p;
    int code = protocol_open(&p, model(), k, "tiny/protocol.json", e);
    if (code)
        return code;
    o = (sweep_options){
        .e = { .p = &p, .k = { k[STYLE], k[OBJECT] }, .dir = SWEEP_DIR,
               .concept = { concept[STYLE], concept[OBJECT] },
               .watch = { .plan = draw ? NULL : stop_sweep } },
        .domain = STYLE, .retained = 1, .finalists = 1, .rule = { SWEEP_PAPER, 0 },
        .selection = { { .top = 8 }, { .percentile = 90, .min_lift = 2 } }, .selections = 2,
        .strength = { -1 }, .strengths = 1,
    };
    code = sweep_run(model(), &o, NULL, e);
    unload_hooks(model());
    protocol_close(&p);
    return code;
}

static void fuzz_sweep(void)
{
    saeuron_error e;
    require(!accepted(sweep(false, &e), &e), "a sweep that is stopped says so");
}

/* ---- the command line ---- */

static void forget_words(const option *table)
{
    for (const option *o = table; !ends(o); o++) {
        if (o->group)
            forget_words(o->group);
        if (o->text)
            *o->text = NULL;
        if (o->list) {
            free(o->list->item);
            *o->list = (list){ NULL, 0 };
        }
    }
}

/* The input's lines as words, the first a command. */
static void fuzz_command(void)
{
    static const command *const commands[] = {
        &command_generate, &command_tokenize, &command_encode, &command_select, &command_collect,
        &command_train, &command_measure, &command_stats, &command_merge, &command_eval, &command_sweep,
        &command_attack, &command_rival, &command_gradient, &command_info, &command_digest, &command_selftest,
        &command_bench,
    };
    const command *c = commands[0];
    char  *words = malloc(input_size + 1), *argv[64], saeuron[] = "saeuron";
    int    argc = 0;
    size_t i, n;
    saeuron_error e;
    saeuron_forget_options f;
    if (input_size)
        memcpy(words, input, input_size);
    words[input_size] = 0;
    argv[argc++] = saeuron;
    for (char *at = words; at <= words + input_size && argc < 64; at += strlen(at) + 1) {
        at[strcspn(at, "\n")] = 0;
        argv[argc++] = at;
    }
    for (size_t j = 0; j < sizeof commands / sizeof *commands; j++)
        if (!strcmp(argv[1], commands[j]->name))
            c = commands[j];
    if (accepted(parse(c, argc, argv, &e), &e))
        accepted(read_choice(&f, &e), &e);
    for (int j = 1; j < argc; j++) {
        read_window(argv[j], &i, &n);
        if (strchr(argv[j], '/'))
            accepted(read_shard(argv[j], &i, &n, &e), &e);
    }
    forget_words(c->options);
    if (c->words) {
        free(c->words->item);
        *c->words = (list){ NULL, 0 };
    }
    free(seen.item);
    seen = (list){ NULL, 0 };
    free(words);
}

/* ---- the table ---- */

const target targets[] = {
    { "json", { NULL }, fuzz_json },
    { "tensors", { "tiny/input.safetensors" }, fuzz_tensors },
    { "index", { "tiny/set/a.safetensors.index.json", "tiny/set/1.safetensors" }, fuzz_index },
    { "npy", { "tiny/input.npy" }, fuzz_npy },
    { "png", { "tiny/input.png" }, fuzz_png },
    { "pixels", { NULL }, fuzz_pixels },
    { "deflate", { NULL }, fuzz_deflate },
    { "vocab", { "tiny/tokenizer/vocab.json", "tiny/tokenizer/merges.txt" }, fuzz_tokenizer },
    { "tokenizer", { "tiny/tokenizer/tokenizer.json" }, fuzz_tokenizer },
    { "tokens", { "tiny/tokenizer/tokenizer_config.json", "tiny/tokenizer/special_tokens_map.json",
                  "tiny/tokenizer/added_tokens.json" }, fuzz_tokenizer },
    { "prompts", { "tiny/prompts.txt" }, fuzz_prompts },
    { "text", { "tiny/text_encoder/config.json" }, fuzz_model },
    { "unet", { "tiny/unet/config.json" }, fuzz_model },
    { "vae", { "tiny/vae/config.json" }, fuzz_model },
    { "scheduler", { "tiny/scheduler/scheduler_config.json" }, fuzz_model },
    { "classifier", { JUDGE "/config.json", JUDGE "/model.safetensors" }, fuzz_classifier },
    { "sae", { STYLES "/cfg.json", STYLES "/sae.safetensors" }, fuzz_sae },
    { "statistics", { "tiny/input.safetensors" }, fuzz_statistics },
    { "forget", { STYLES "/forget.json" }, fuzz_forget },
    { "concepts", { "tiny/concepts.json" }, fuzz_concepts },
    { "captions", { "tiny/mine.json" }, fuzz_captions },
    { "protocol", { "tiny/protocol.json" }, fuzz_protocol },
    { "parts", { "tiny/input.safetensors" }, fuzz_parts },
    { "checkpoint", { RUN_DIR "/checkpoint.safetensors" }, fuzz_checkpoint },
    { "sweep", { SWEEP_DIR "/results.tsv", SWEEP_DIR "/forget.json" }, fuzz_sweep },
    { "command", { NULL }, fuzz_command },
    { NULL, { NULL }, NULL },
};
