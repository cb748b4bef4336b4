/* test_metadata.c: metadata.c: what is written comes back, and a list that lost something is never written.
 * Not here: the header of a safetensors file (test_tensors.c). */
#include "test.h"
#include "scratch.h"
#include "files/metadata.h"
#include "files/tensors.h"

#include <inttypes.h>
#include <string.h>

/* Texts, whole numbers, reals and formatted values through a file and back. A copy of the list must hold
 * them, too. */
static void round_trip(void)
{
    metadata m = { .n = 0 };
    saeuron_error e;
    tensors t;
    char text[64];
    uint64_t x = 1;
    metadata_text(&m, "prompt", "Stra\xC3\x9F" "e \"a\"\n");
    metadata_add(&m, "seed", "%" PRIu64, UINT64_MAX);
    metadata_add(&m, "lr", "%g", 0.1);
    metadata copy = m;
    metadata_add(&copy, "shard", "%d/%d", 3, 7);
    CHECK(tensors_save(NULL, at("metadata.safetensors"), NULL, 0, copy.pair, &e) == SAEURON_OK, "%s", e.text);
    CHECK(tensors_open(&t, NULL, at("metadata.safetensors"), &e) == SAEURON_OK, "%s", e.text);
    CHECK(json_length(t.metadata) == 4, "%zu pairs", json_length(t.metadata));
    CHECK(metadata_get(t.metadata, "prompt", text, sizeof text) && !strcmp(text, "Stra\xC3\x9F" "e \"a\"\n"),
          "%s", text);
    CHECK(metadata_get(t.metadata, "lr", text, sizeof text) && !strcmp(text, "0.1"), "%s", text);
    CHECK(metadata_uint(t.metadata, "seed", &x) && x == UINT64_MAX, "%" PRIu64, x);
    CHECK(metadata_is(t.metadata, "shard", "3/7") && !metadata_is(t.metadata, "shard", "3/"), "shard");
    tensors_close(&t);
}

/* What is not there, is no text, does not fit or is no number: false, the text empty, the number as it
 * was. */
static void absent(void)
{
    static const char object[] =
        "{\"a\": \"12x\", \"b\": 12, \"c\": \"longer than it may be\", \"d\": \"18446744073709551616\"}";
    const json none = { NULL, NULL };
    char text[8] = "before";
    uint64_t x = 5;
    saeuron_error e;
    json m;
    CHECK(json_open(&m, object, strlen(object), "object", &e) == SAEURON_OK, "%s", e.text);
    CHECK(!metadata_get(none, "a", text, sizeof text) && !*text, "no metadata at all");
    CHECK(!metadata_get(m, "b", text, sizeof text) && !*text, "a number is no text");
    CHECK(metadata_get(m, "a", text, sizeof text), "a");
    CHECK(!metadata_get(m, "c", text, sizeof text) && !*text, "too long: %s", text);
    CHECK(!metadata_uint(m, "a", &x) && !metadata_uint(m, "b", &x) && !metadata_uint(m, "d", &x) &&
          !metadata_uint(m, "e", &x) && x == 5, "%" PRIu64, x);
    CHECK(!metadata_is(m, "e", "") && !metadata_is(none, "e", "") && metadata_is(m, "a", "12x"), "is");
}

/* A pair too many, or a value cut short, would be a file that lies about how it was made. */
static void overflow(void)
{
    static const char long_text[] = "0123456789012345678901234567890123456789012345678";
    metadata m = { .n = 0 };
    saeuron_error e;
    for (int i = 0; i < METADATA_PAIRS; i++)
        metadata_add(&m, "key", "%d", i);
    CHECK(m.n == METADATA_PAIRS && !strcmp(m.pair[2 * METADATA_PAIRS - 1], "31") &&
          !m.pair[2 * METADATA_PAIRS], "not full");
    CHECK(tensors_save(NULL, at("full.safetensors"), NULL, 0, m.pair, &e) == SAEURON_OK, "%s", e.text);
    metadata_text(&m, "one", "more");
    CHECK(tensors_save(NULL, at("never.safetensors"), NULL, 0, m.pair, &e) == SAEURON_EUSAGE,
          "a pair too many is written");
    m = (metadata){ .n = 0 };
    metadata_text(&m, "first", "is fine");
    metadata_add(&m, "long", "%s", long_text + 2);
    CHECK(tensors_save(NULL, at("full.safetensors"), NULL, 0, m.pair, &e) == SAEURON_OK, "%s", e.text);
    metadata_add(&m, "longer", "%s", long_text + 1);
    CHECK(tensors_save(NULL, at("never.safetensors"), NULL, 0, m.pair, &e) == SAEURON_EUSAGE,
          "a value cut short is written");
    CHECK(files_like("never") == 0, "a file is left");
}

const test_case metadata_tests[] = {
    { "round_trip", round_trip }, { "absent", absent }, { "overflow", overflow }, { NULL, NULL },
};
