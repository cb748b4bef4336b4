/* test_classifier.c: the classifier through its public interface, on the tiny one of judges.h: the same
 * logits however they are made, every damaged folder named, every allocation failing once; resized bytes by
 * hand.
 *
 * Not here: config.json (test_vit.c), whether the logits are timm's and the resized bytes Pillow's
 * (test_vit.c). */
#include "test.h"
#include "judges.h"
#include "arithmetic/rng.h"

#include <fenv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Threads, packed weights and every set of kernels: the reference's bits. Kernels that split qkv otherwise,
 * or threads that share scratch, would show in some picture. */
static void same_bits(void)
{
    verdict reference, v;
    char list[128];
    judge_make();
    saeuron_classifier *k = judge_opened("reference", 1, 0);
    judge_must(k, 0, MOST, &reference);
    saeuron_classifier_close(k);
    for (int threads = 1; threads <= 3; threads++)
        for (size_t pack = 0; pack <= 1000000; pack += 1000000) {
            k = judge_opened(NULL, threads, pack);
            judge_must(k, 0, MOST, &v);
            CHECK(judge_same(&reference, &v), "%d threads, %s: other logits", threads,
                  pack ? "packed" : "not packed");
            saeuron_classifier_close(k);
        }
    snprintf(list, sizeof list, "%s", nn_isa_list());
    for (char *isa = strtok(list, ","); isa; isa = strtok(NULL, ",")) {
        nn c;
        if (!nn_init(&c, isa, 1, NULL))
            continue;
        k = judge_opened(isa, 2, 1000000);
        judge_must(k, 0, MOST, &v);
        CHECK(judge_same(&reference, &v), "%s: other logits", isa);
        saeuron_classifier_close(k);
    }
    judge_done(NULL);
}

/* A picture's logits depend on no other picture: one at a time, or more than VIT_IMAGES, the last batch
 * short. */
static void alone(void)
{
    verdict all, one;
    judge_make();
    saeuron_classifier *k = judge_opened(NULL, 1, 0);
    judge_must(k, 0, MOST, &all);
    for (size_t i = 0; i < MOST; i++) {
        judge_must(k, i, 1, &one);
        CHECK(!memcmp(one.logits, all.logits + i * TINY_CLASSES, TINY_CLASSES * sizeof *one.logits),
              "picture %zu alone has other logits", i);
    }
    CHECK(memcmp(all.logits, all.logits + TINY_CLASSES, TINY_CLASSES * sizeof *all.logits),
          "two pictures have the same logits");
    judge_done(k);
}

/* One allocation a call, all of it used. Progress is told after every VIT_IMAGES pictures, and can stop
 * it. */
static void memory_and_progress(void)
{
    verdict all, v;
    saeuron_error e = { 0 };
    judge_make();
    saeuron_classifier *k = judge_opened(NULL, 1, 0);
    const long before = judge_files.allocs;
    judge_files.largest = 0;
    judge_must(k, 0, MOST, &all);
    CHECK(judge_files.allocs == before + 1 && judge_files.touched > judge_files.largest / 2,
          "%ld allocations; of %zu bytes %zu were used", judge_files.allocs - before, judge_files.largest,
          judge_files.touched);
    CHECK(judge_files.progressed == 3, "progress came %ld times", judge_files.progressed);
    judge_files.cancel_at = judge_files.progressed + 2;
    int code = saeuron_classify(k, judge_pictures(), MOST, WIDE, HIGH, v.logits, &e);
    judges_error("a stop", code, SAEURON_ECANCEL, &e, "32 of 35");
    judge_files.cancel_at = 0;
    judge_must(k, 0, MOST, &v);
    CHECK(judge_same(&all, &v), "after a stop the logits are others");
    unsigned char *tall = calloc(3 * 30000, 3); /* resizing it takes more than the network does */
    e = (saeuron_error){ 0 };
    CHECK(tall && k && saeuron_classify(k, tall, 1, 3, 30000, v.logits, &e) == SAEURON_OK,
          "a picture of 3 x 30000: %s", e.text);
    free(tall);
    judge_done(k);
}

/* Every allocation fails once: one line that says memory, nothing leaks, and the same classifier goes on. */
static void allocations_fail(void)
{
    verdict good, v;
    saeuron_error e;
    judge_make();
    saeuron_host host = tiny_host(&judge_files);
    host.pack = 1000000;
    saeuron_classifier *k = judge_opened_on(&host);
    judge_must(k, 0, MOST, &good);
    saeuron_classifier_close(k);
    const long all = judge_files.allocs;
    CHECK(all >= 5 && judge_files.live == 0, "%ld allocations, %ld left", all, judge_files.live);
    for (long n = 1; n <= all; n++) {
        judge_files.allocs = 0;
        judge_files.fail_at = n;
        e = (saeuron_error){ 0 };
        int code = saeuron_classifier_open(&k, &host, "tiny/judge", &e);
        if (!code)
            code = saeuron_classify(k, judge_pictures(), MOST, WIDE, HIGH, v.logits, &e);
        judges_error("an allocation", code, SAEURON_ENOMEM, &e, "memory");
        if (k) {
            judge_must(k, 0, MOST, &v);
            CHECK(judge_same(&good, &v), "after the failure of allocation %ld the logits are others", n);
        }
        saeuron_classifier_close(k);
        CHECK(judge_files.live == 0 && judge_files.mapped == 0 && judge_files.torn == 0,
              "allocation %ld: %ld blocks and %ld maps are left", n, judge_files.live, judge_files.mapped);
    }
    test_note("%ld allocations", all);
    judge_done(NULL);
}

/* Names in order, UTF-8 kept; none where the config names none, and none beyond the last. */
static void class_names(void)
{
    judge_make();
    saeuron_classifier *k = judge_opened(NULL, 1, 0);
    CHECK(saeuron_classes(k) == TINY_CLASSES, "%zu classes", saeuron_classes(k));
    for (size_t i = 0; i < TINY_CLASSES; i++)
        CHECK(saeuron_class_name(k, i) && !strcmp(saeuron_class_name(k, i), judge_names[i]),
              "class %zu is %s", i, saeuron_class_name(k, i));
    CHECK(!saeuron_class_name(k, TINY_CLASSES), "there is a class too many");
    saeuron_classifier_close(k);
    tiny_edit(&judge_files, JUDGE_CONFIG,
              "\"label_names\": [\"Cats\", \"Dogs\", \"Sea\", \"Flame\", \"\xC3\x84pfel\"]",
              "\"label_names\": null");
    k = judge_opened(NULL, 1, 0);
    CHECK(!saeuron_class_name(k, 0), "a class has a name from nowhere");
    judge_done(k);
}

/* Cuts a file to n bytes. */
static void cut(const char *name, size_t n)
{
    const tiny_file *f = tiny_find(&judge_files, name);
    CHECK(f && n < f->size, "%s has no %zu bytes", name, n);
    if (f)
        tiny_set(&judge_files, name, f->bytes, n);
}

/* Missing, cut, of another shape or type, not finite, unknown: named with the file and the tensor. */
static void model_errors(void)
{
    static const struct { const char *tensor, *words; int kind, code; } cases[] = {
        { "blocks.1.attn.qkv.weight", "missing|[48, 16]", 0, SAEURON_EFORMAT },
        { "surplus.weight", "unknown", 1, SAEURON_EFORMAT },
        { "pos_embed", "has shape", 2, SAEURON_EFORMAT },
        { "cls_token", "has shape", 2, SAEURON_EFORMAT },
        { "patch_embed.proj.weight", "has shape", 2, SAEURON_EFORMAT },
        { "head.weight", "F32, F16 or BF16", 3, SAEURON_EFORMAT },
        { "pos_embed", "not finite at element 3", 4, SAEURON_ENAN },
        { "cls_token", "not finite at element 3", 5, SAEURON_ENAN },
        { "head.bias", "not finite at element 3", 4, SAEURON_ENAN },
        { "blocks.0.mlp.fc2.weight", "not finite at element 3", 5, SAEURON_ENAN },
    };
    static tiny_list l;
    char words[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        judge_make();
        tiny_tensors(&l, "classifier");
        if (cases[i].kind == 1)
            tiny_tensor_add(&l, cases[i].tensor, DT_F32, 1, (size_t[]){ 3 });
        tiny_tensor *v = tiny_tensor_named(&l, cases[i].tensor);
        if (cases[i].kind == 0)
            strcpy(v->name, "renamed");
        else if (cases[i].kind == 2) {
            const size_t row = v->count / v->shape[0];
            v->shape[0]++;
            v->count += row;
            v->values = realloc(v->values, v->count * sizeof *v->values);
            memset(v->values + v->count - row, 0, row * sizeof *v->values);
        } else if (cases[i].kind == 3)
            v->type = DT_F64;
        else if (cases[i].kind == 4)
            v->values[3] = NAN;
        else if (cases[i].kind == 5)
            v->values[3] = -INFINITY, v->type = DT_BF16;
        tiny_save(&judge_files, JUDGE_MODEL, &l, 0, l.count, NULL);
        snprintf(words, sizeof words, JUDGE_MODEL "|%s|%s", cases[i].tensor, cases[i].words);
        judge_open_fails(cases[i].tensor, cases[i].code, words);
        tiny_drop(&l);
        tiny_free(&judge_files);
    }
    judge_make();
    cut(JUDGE_MODEL, 2000);
    judge_open_fails("a cut model", SAEURON_EFORMAT, JUDGE_MODEL);
    cut(JUDGE_MODEL, 5);
    judge_open_fails("a model of five bytes", SAEURON_EFORMAT, JUDGE_MODEL);
    tiny_set(&judge_files, JUDGE_MODEL, NULL, 0);
    judge_open_fails("no model", SAEURON_ENOENT, "tiny/judge|model.safetensors");
    tiny_text(&judge_files, "judge/pytorch_model.bin", "x");
    judge_open_fails("a pickle", SAEURON_ENOENT, "judge/pytorch_model.bin|pickle");
    cut(JUDGE_CONFIG, 30);
    judge_open_fails("a cut config", SAEURON_EFORMAT, JUDGE_CONFIG);
    tiny_set(&judge_files, JUDGE_CONFIG, NULL, 0);
    judge_open_fails("no config", SAEURON_ENOENT, JUDGE_CONFIG);
    tiny_free(&judge_files);
}

/* Sizes that no picture has; kernels that do not exist; a path that is too long. After each the classifier
 * goes on. */
static void call_errors(void)
{
    static const struct { size_t count, width, height; } sizes[] = {
        { 0, WIDE, HIGH }, { 1, 0, HIGH }, { 1, WIDE, 0 }, { 1, 32769, 1 }, { 1, 1, 32769 },
        { SIZE_MAX / 4, 32768, 32768 },
    };
    char path[1200];
    verdict first, v;
    saeuron_error e = { 0 };
    judge_make();
    saeuron_classifier *k = judge_opened(NULL, 1, 0), *other = NULL;
    judge_must(k, 0, 2, &first);
    for (size_t i = 0; k && i < sizeof sizes / sizeof *sizes; i++)
        judges_error("a size", saeuron_classify(k, judge_pictures(), sizes[i].count, sizes[i].width,
                     sizes[i].height, v.logits, &e), SAEURON_EUSAGE, &e, "cannot be classified|32768");
    judge_must(k, 0, 2, &v);
    CHECK(judge_same(&first, &v), "after errors the logits are others");
    saeuron_host host = tiny_host(&judge_files);
    host.isa = "abacus";
    judges_error("kernels", saeuron_classifier_open(&other, &host, "tiny/judge", &e), SAEURON_EUSAGE, &e,
                 "abacus");
    host.isa = NULL;
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = 0;
    judges_error("a long path", saeuron_classifier_open(&other, &host, path, &e), SAEURON_EUSAGE, &e,
                 "too long");
    path[1020] = 0;
    judges_error("a path too long for its files", saeuron_classifier_open(&other, &host, path, &e),
                 SAEURON_EUSAGE, &e, "too long");
    CHECK(!other && saeuron_classifier_open(&other, &host, "tiny/nowhere", NULL) == SAEURON_ENOENT,
          "without an error to fill the code is another");
    saeuron_classifier_close(NULL);
    judge_done(k);
}

/* Logits that overflow are an error that counts the pictures before. */
static void not_finite(void)
{
    static tiny_list l;
    verdict v;
    saeuron_error e = { 0 };
    judge_make();
    tiny_tensors(&l, "classifier");
    tiny_tensor *w = tiny_tensor_named(&l, "head.weight");
    for (size_t i = 0; i < w->count; i++)
        w->values[i] = 3e38f;
    tiny_save(&judge_files, JUDGE_MODEL, &l, 0, l.count, NULL);
    tiny_drop(&l);
    saeuron_classifier *k = judge_opened(NULL, 1, 0);
    if (k)
        judges_error("overflow", saeuron_classify(k, judge_pictures(), 2, WIDE, HIGH, v.logits, &e),
                     SAEURON_ENAN, &e, "tiny/judge|picture |not finite");
    judge_done(k);
}

/* Another rounding is refused by both entries, before anything is done. */
static void environment(void)
{
    verdict v;
    saeuron_error e[2] = { { 0 }, { 0 } };
    judge_make();
    saeuron_classifier *k = judge_opened(NULL, 1, 0), *other = NULL;
    const saeuron_host host = tiny_host(&judge_files);
    fesetround(FE_UPWARD);
    const int open = saeuron_classifier_open(&other, &host, "tiny/judge", &e[0]);
    const int judged = k ? saeuron_classify(k, judge_pictures(), 1, WIDE, HIGH, v.logits, &e[1]) : 0;
    fesetround(FE_TONEAREST);
    judges_error("opening", open, SAEURON_EENV, &e[0], "floating-point environment");
    judges_error("classifying", judged, SAEURON_EENV, &e[1], "floating-point environment");
    judge_done(k);
}

/* Bytes by hand: a picture of the same size is the same bytes; a pixel becomes any number of its like; of two
 * that become one the mean, halves rounded up; and a side alone is left as it is. */
static void resizes(void)
{
    static unsigned char x[3 * 32 * 32], y[3 * 32 * 32];
    static double memory[1 << 13];
    arena work = { .base = (unsigned char *)memory, .size = sizeof memory };
    nn    c;
    CHECK(nn_init(&c, NULL, 1, &work), "nn_init failed");
    for (size_t i = 0; i < sizeof x; i++)
        x[i] = (unsigned char)(rng_value(3, 6, i) >> 56);
    resize_bilinear(&c, y, 32, 32, x, 32, 32);
    CHECK(!memcmp(x, y, sizeof x), "a picture of the same size changes");
    resize_bilinear(&c, y, 7, 9, x, 1, 1);
    for (size_t i = 0; i < 3 * 63; i++)
        CHECK(y[i] == x[i % 3], "a pixel enlarged is %d, not %d", y[i], x[i % 3]);
    resize_bilinear(&c, y, 1, 1, (const unsigned char[]){ 0, 10, 255, 1, 20, 255 }, 2, 1);
    CHECK(y[0] == 1 && y[1] == 15 && y[2] == 255, "the mean of two pixels is %d, %d, %d", y[0], y[1], y[2]);
    resize_bilinear(&c, y, 4, 1, (const unsigned char[]){ 0, 0, 0, 100, 200, 40 }, 2, 1);
    CHECK(y[0] == 0 && y[3] == 25 && y[6] == 75 && y[9] == 100 && y[10] == 200 && y[11] == 40,
          "two pixels to four: %d %d %d %d", y[0], y[3], y[6], y[9]);
    resize_bilinear(&c, y, 2, 3, (const unsigned char[]){ 1, 2, 3, 4, 5, 6 }, 2, 1);
    for (size_t i = 0; i < 18; i++)
        CHECK(y[i] == i % 6 + 1, "a row repeated is %d at %zu", y[i], i);
    CHECK(!work.failed && !work.used, "memory is kept");
}

const test_case classifier_tests[] = {
    { "same_bits", same_bits }, { "alone", alone }, { "memory_and_progress", memory_and_progress },
    { "allocations_fail", allocations_fail }, { "class_names", class_names },
    { "model_errors", model_errors }, { "call_errors", call_errors }, { "not_finite", not_finite },
    { "environment", environment }, { "resizes", resizes }, { NULL, NULL },
};
