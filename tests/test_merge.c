/* test_merge.c: parts of one run joined: the bytes of the whole run, however it was split; what does not
 * belong together refused by name; every allocation failing once.
 *
 * Not here: what the parts hold (test_collect.c, test_statistics.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "recorded.h"
#include "training/merge.h"

#include <stdio.h>
#include <string.h>

static const char *at(const char *name) { return suite_path("merge", name); }

/* Any split, more parts than prompts too, merged in any order, gives the bytes of the whole. */
static void parts_of_activations(void)
{
    const char *whole = at("whole.safetensors"), *merged = at("merged.safetensors");
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    CHECK(collected(x, (saeuron_generate_options){ .seed = 3 }, &whole, 1, (shard){ 0, 1 }, 2, 0, true,
                    DT_F16, &e) == SAEURON_OK, "%s", e.text);
    for (size_t n = 1; n <= 7; n++) {
        const char *part[7];
        for (size_t i = 0; i < n; i++) {
            char name[32];
            const size_t p = (3 * i + 1) % n; /* out of order; n = 3 and 6 come in order, as they may */
            snprintf(name, sizeof name, "part%zu", n % 3 ? p : i);
            part[i] = at(name);
            CHECK(collected(x, (saeuron_generate_options){ .seed = 3, .batch = 1 + i % 2 }, &part[i], 1,
                            (shard){ n % 3 ? p : i, n }, 2, 0, true, DT_F16, &e) == SAEURON_OK, "%s", e.text);
        }
        CHECK(merge_parts(&x->host, part, 0, merged, &e) == SAEURON_EUSAGE, "merged nothing");
        CHECK(merge_parts(NULL, part, n, merged, &e) == SAEURON_OK, "%zu parts: %s", n, e.text);
        CHECK(same_files(whole, merged), "%zu parts give other bytes", n);
    }
    done(x);
}

/* Split between concepts, merged: the same bytes, of the densities, too. Statistics of several runs are
 * joined, unless they disagree. */
static void parts_of_statistics(void)
{
    static const char one[] = "{\"Lake\": [\"a lake\", \"lakes\", \"the lake\"]}";
    concept_set c, lake;
    stats s;
    saeuron_error e = { 0 };
    const char *whole = at("whole.safetensors"), *dense = at("dense.safetensors");
    const char *merged = at("merged.safetensors");
    saeuron_context *x = fresh();
    tiny_text(&files, "mine.json", concept_file);
    tiny_text(&files, "lake.json", one);
    CHECK(concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 0, &e) == SAEURON_OK &&
          concepts_open(&lake, x, TINY_OBJECTS, "tiny/lake.json", 0, &e) == SAEURON_OK, "%s", e.text);
    for (int per_prompt = 0; per_prompt < 2; per_prompt++) {
        CHECK(counted(x, &c, TINY_OBJECTS, whole, dense, (shard){ 0, 1 }, DT_F16, per_prompt, 0,
                      &e) == SAEURON_OK, "%s", e.text);
        for (size_t n = 1; n <= 4; n++) {
            const char *part[4], *density[4];
            for (size_t i = 0; i < n; i++) {
                char name[32];
                snprintf(name, sizeof name, "part%zu", i);
                part[n - 1 - i] = at(name);
                snprintf(name, sizeof name, "density%zu", i);
                density[i] = at(name);
                CHECK(counted(x, &c, TINY_OBJECTS, part[n - 1 - i], density[i], (shard){ i, n }, DT_F16,
                              per_prompt, 0, &e) == SAEURON_OK, "%s", e.text);
            }
            CHECK(merge_parts(NULL, part, n, merged, &e) == SAEURON_OK, "%s", e.text);
            CHECK(same_files(whole, merged), "%zu parts of the statistics give other bytes", n);
            CHECK(merge_parts(NULL, density, n, merged, &e) == SAEURON_OK, "%s", e.text);
            CHECK(same_files(dense, merged), "%zu parts of the densities give other bytes", n);
        }
    }
    const char *both[2] = { at("whole.safetensors"), at("lake.safetensors") };
    CHECK(counted(x, &c, TINY_OBJECTS, both[0], NULL, (shard){ 0, 1 }, DT_F32, false, 0, &e) == SAEURON_OK &&
          counted(x, &lake, TINY_OBJECTS, both[1], NULL, (shard){ 0, 1 }, DT_F32, false, 0, &e) == SAEURON_OK,
          "%s", e.text);
    CHECK(merge_parts(NULL, both, 2, merged, &e) == SAEURON_OK &&
          stats_load(&s, NULL, merged, &e) == SAEURON_OK, "%s", e.text);
    CHECK(s.concepts == 4 && s.prompts[stats_find(&s, "Lake")] == 3 &&
          s.prompts[stats_find(&s, "Dogs")] == 1 && s.sae[0], "joined: %zu concepts", s.concepts);
    stats_unload(&s, NULL);
    const char *twice[2] = { both[0], both[0] };
    check_error("a concept twice", merge_parts(NULL, twice, 2, merged, &e), SAEURON_EUSAGE, &e,
                "two tensors|Cats");
    CHECK(counted(x, &lake, TINY_STYLES, both[1], NULL, (shard){ 0, 1 }, DT_F32, false, 0, &e) == SAEURON_OK,
          "%s", e.text);
    check_error("another hook", merge_parts(NULL, both, 2, merged, &e), SAEURON_EFORMAT, &e,
                "lake.safetensors|hook|" TINY_STYLES);
    concepts_close(&c, &x->host);
    concepts_close(&lake, &x->host);
    done(x);
}

/* Parts that do not belong together are refused by name, and the file that was there stays. */
static void parts_refused(void)
{
    saeuron_error e = { 0 };
    const char *a = at("p0"), *b = at("p1"), *c = at("p2"), *merged = at("keep");
    saeuron_context *x = fresh();
    const saeuron_generate_options g = { .seed = 3 }, other = { .seed = 4 };
    test_write_file(merged, "old", 3);
    CHECK(collected(x, g, &a, 1, (shard){ 0, 2 }, 1, 0, false, DT_F32, &e) == SAEURON_OK &&
          collected(x, g, &b, 1, (shard){ 1, 2 }, 1, 0, false, DT_F32, &e) == SAEURON_OK, "%s", e.text);
    check_error("a part missing", merge_parts(NULL, (const char *const[]){ a }, 1, merged, &e),
                SAEURON_EFORMAT, &e, "shard 1/2 is missing");
    check_error("the first part missing", merge_parts(NULL, (const char *const[]){ b }, 1, merged, &e),
                SAEURON_EFORMAT, &e, "shard 0/2 is missing");
    check_error("a part twice", merge_parts(NULL, (const char *const[]){ a, b, b }, 3, merged, &e),
                SAEURON_EFORMAT, &e, "p1|both shard 1/2");
    CHECK(collected(x, other, &c, 1, (shard){ 1, 2 }, 1, 0, false, DT_F32, &e) == SAEURON_OK, "%s", e.text);
    check_error("another seed", merge_parts(NULL, (const char *const[]){ a, c }, 2, merged, &e),
                SAEURON_EFORMAT, &e, "p2|seed \"4\"|p0|\"3\"");
    CHECK(collected(x, g, &c, 1, (shard){ 1, 2 }, 2, 0, false, DT_F32, &e) == SAEURON_OK, "%s", e.text);
    check_error("other steps", merge_parts(NULL, (const char *const[]){ a, c }, 2, merged, &e),
                SAEURON_EFORMAT, &e, "p2|timesteps");
    CHECK(collected(x, g, &c, 1, (shard){ 1, 2 }, 1, 0, false, DT_F16, &e) == SAEURON_OK, "%s", e.text);
    check_error("another type", merge_parts(NULL, (const char *const[]){ a, c }, 2, merged, &e),
                SAEURON_EFORMAT, &e, "p2|type");
    CHECK(collected(x, g, &c, 1, (shard){ 1, 3 }, 1, 0, false, DT_F32, &e) == SAEURON_OK, "%s", e.text);
    check_error("another split", merge_parts(NULL, (const char *const[]){ a, c }, 2, merged, &e),
                SAEURON_EFORMAT, &e, "p2|1/3|different runs");
    CHECK(collected(x, g, &c, 1, (shard){ 0, 1 }, 1, 0, false, DT_F32, &e) == SAEURON_OK, "%s", e.text);
    check_error("whole runs", merge_parts(NULL, (const char *const[]){ c, c }, 2, merged, &e),
                SAEURON_EFORMAT, &e, "p2|whole runs");
    check_error("no file", merge_parts(NULL, (const char *const[]){ a, at("none") }, 2, merged, &e),
                SAEURON_ENOENT, &e, "none");
    io_file f;
    CHECK(io_open(&f, NULL, b, &e) == SAEURON_OK, "%s", e.text);
    test_write_file(c, f.data, f.size - 5);
    io_close(&f);
    check_error("cut short", merge_parts(NULL, (const char *const[]){ a, c }, 2, merged, &e), SAEURON_EFORMAT,
                &e, "p2|cut short");
    test_write_file(c, tiny_find(&files, "sae/" TINY_STYLES "/sae.safetensors")->bytes,
                    tiny_find(&files, "sae/" TINY_STYLES "/sae.safetensors")->size);
    check_error("an SAE", merge_parts(NULL, (const char *const[]){ c }, 1, merged, &e), SAEURON_EFORMAT, &e,
                "p2|neither activations nor statistics");
    static const struct { const char *prompts, *words; } texts[] = {
        { "{", "p2: metadata \"prompts\": not valid JSON" }, { "0", "p2: metadata \"prompts\"|count" },
        { "{\"Dogs\": 1}", "p2|lacks concept Cats" }, { "-Infinity", "p2: metadata \"prompts\"|a count" },
    };
    static const float zeros[2] = { 0, 0 };
    const tensor_out cats = { "Cats", DT_F32, 2, { 1, 2 }, zeros };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *const facts[] = { "timesteps", "1", "prompts", texts[i].prompts, NULL };
        CHECK(tensors_save(NULL, c, &cats, 1, facts, &e) == SAEURON_OK, "%s", e.text);
        check_error(texts[i].prompts, merge_parts(NULL, (const char *const[]){ c }, 1, merged, &e),
                    SAEURON_EFORMAT, &e, texts[i].words);
    }
    static const float three[3][2] = { { 1, 2 }, { 3, 4 }, { 5, 6 } }; /* in the file's order, not by name */
    const tensor_out disorder[] = { { "b", DT_F32, 2, { 1, 2 }, three[0] },
                                    { "c", DT_F32, 2, { 1, 2 }, three[1] },
                                    { "a", DT_F32, 2, { 1, 2 }, three[2] } };
    const char *const when[] = { "timesteps", "1", "prompts", "1", NULL };
    CHECK(tensors_save(NULL, c, disorder, 3, when, &e) == SAEURON_OK &&
          merge_parts(NULL, (const char *const[]){ c }, 1, at("order"), &e) == SAEURON_OK &&
          same_files(c, at("order")), "other bytes: %s", e.text);
    static char keys[JSON_KEYS + 1][8];
    static const char *many[2 * (JSON_KEYS + 1) + 1]; /* ends with NULL */
    for (size_t i = 0; i <= JSON_KEYS; i++) {
        snprintf(keys[i], sizeof keys[i], "%zu", i);
        many[2 * i] = many[2 * i + 1] = keys[i];
    }
    many[0] = "timesteps";
    CHECK(tensors_save(NULL, c, &cats, 1, many, &e) == SAEURON_OK, "%s", e.text);
    check_error("many keys", merge_parts(NULL, (const char *const[]){ c }, 1, merged, &e), SAEURON_EFORMAT,
                &e, "p2: metadata of 1025 keys");
    static char huge[TOKENIZER_PROMPT_MAX + 2];
    for (size_t n = 0; n < 2; n++) { /* the longest that a run may have stays; a longer one is refused */
        const char *const facts[] = { "timesteps", "1", "negative_prompt", huge, NULL };
        memset(huge, 'n', TOKENIZER_PROMPT_MAX + n);
        CHECK(tensors_save(NULL, c, &cats, 1, facts, &e) == SAEURON_OK, "%s", e.text);
        const int code = merge_parts(NULL, (const char *const[]){ c }, 1, n ? merged : at("long"), &e);
        if (n)
            check_error("a value that would be lost", code, SAEURON_EFORMAT, &e,
                        "p2: metadata \"negative_prompt\"|1048576 bytes");
        else
            CHECK(code == SAEURON_OK && same_files(c, at("long")), "%s", e.text);
    }
    check_error("nowhere to go", merge_parts(NULL, (const char *const[]){ a, b }, 2, at("no/such/file"), &e),
                SAEURON_ENOENT, &e, "no/such/file");
    CHECK(io_open(&f, NULL, merged, &e) == SAEURON_OK && f.size == 3 && !memcmp(f.data, "old", 3),
          "a refused merge changed the file");
    io_close(&f);
    done(x);
}

static int merge_from_memory(saeuron_context *x, saeuron_error *e)
{
    return merge_parts(&x->host, (const char *const[]){ "tiny/m0", "tiny/m1" }, 2, at("e5"), e);
}

static void allocations_fail(void)
{
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    for (size_t i = 0; i < 2; i++) {
        const char *part = at("m");
        io_file f;
        CHECK(collected(x, (saeuron_generate_options){ .steps = 1 }, &part, 1, (shard){ i, 2 }, 1, 0, false,
                        DT_F32, &e) == SAEURON_OK && io_open(&f, NULL, part, &e) == SAEURON_OK, "%s", e.text);
        tiny_set(&files, i ? "m1" : "m0", f.data, f.size);
        io_close(&f);
    }
    each_allocation_fails(x, merge_from_memory);
    done(x);
}

const test_case merge_tests[] = {
    { "parts_of_activations", parts_of_activations }, { "parts_of_statistics", parts_of_statistics },
    { "parts_refused", parts_refused }, { "allocations_fail", allocations_fail }, { NULL, NULL },
};
