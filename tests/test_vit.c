/* test_vit.c: the classifier through its public interface, on a tiny one in memory: the same logits however they are made, both
 * layouts of a config, every error named, every allocation failing once.
 *
 * Not here: whether the logits are timm's and the resized bytes Pillow's (test_golden.c), accuracies (eval.c). */
#include "test.h"
#include "tiny.h"
#include "arithmetic/rng.h"
#include "evaluation/classifier.h"

#include <fenv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG "judge/config.json"
#define MODEL  "judge/model.safetensors"
enum { MOST = 35, W = 17, H = 14, PICTURE = 3 * W * H };

static tiny files; /* each test makes and frees its own */
static const char *const names[TINY_CLASSES] = { "Cats", "Dogs", "Sea", "Flame", "\xC3\x84pfel" };

static void make(void)
{
    memset(&files, 0, sizeof files);
    tiny_add_classifier(&files, "judge", TINY_CLASSES, names);
}

static saeuron_classifier *opened_on(const saeuron_host *host)
{
    saeuron_classifier *k = NULL;
    saeuron_error e = { 0 };
    CHECK(saeuron_classifier_open(&k, host, "tiny/judge", &e) == SAEURON_OK, "%s", e.text);
    return k;
}

static saeuron_classifier *opened(const char *isa, int threads, size_t pack)
{
    saeuron_host host = tiny_host(&files);
    host.isa = isa;
    host.threads = threads;
    host.pack = pack;
    return opened_on(&host);
}

/* Closes, and checks that nothing stays. */
static void done(saeuron_classifier *k)
{
    saeuron_classifier_close(k);
    CHECK(files.live == 0 && files.mapped == 0 && files.torn == 0, "%ld blocks and %ld maps are left, %ld blocks torn", files.live, files.mapped, files.torn);
    tiny_free(&files);
}

static const unsigned char *pictures(void)
{
    static unsigned char rgb[MOST * PICTURE];
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (unsigned char)(rng_value(3, 5, i) >> 56);
    return rgb;
}

typedef struct verdict { float logits[MOST * TINY_CLASSES]; } verdict;

static void must_classify(saeuron_classifier *k, size_t first, size_t count, verdict *v)
{
    saeuron_error e = { 0 };
    memset(v, 0, sizeof *v);
    if (k)
        CHECK(saeuron_classify(k, pictures() + first * PICTURE, count, W, H, v->logits, &e) == SAEURON_OK, "%s", e.text);
}

static bool same(const verdict *a, const verdict *b) { return !memcmp(a, b, sizeof *a); }

static void check_error(const char *what, int code, int wanted, const saeuron_error *e, const char *words)
{
    CHECK(code == wanted && e->code == wanted && test_holds(e->text, words) && !strchr(e->text, '\n') && strlen(e->text) > 8,
          "%s: code %d (wanted %d), \"%s\" should hold %s", what, code, wanted, e->text, words);
}

/* Opening must fail, leave nothing behind, and say so. */
static void open_fails(const char *what, int wanted, const char *words)
{
    saeuron_classifier *k = (saeuron_classifier *)(void *)&files;
    saeuron_error e = { 0 };
    const saeuron_host host = tiny_host(&files);
    const int code = saeuron_classifier_open(&k, &host, "tiny/judge", &e);
    check_error(what, code, wanted, &e, words);
    CHECK(code == SAEURON_OK || (!k && files.live == 0 && files.mapped == 0), "%s: %ld blocks and %ld maps are left", what, files.live, files.mapped);
    if (!code)
        saeuron_classifier_close(k);
}

/* Threads, packed weights and every set of kernels: the reference's bits. Kernels that split qkv otherwise, or threads that share
 * scratch, would show in some picture. */
static void same_bits(void)
{
    verdict reference, v;
    char list[128];
    make();
    saeuron_classifier *k = opened("reference", 1, 0);
    must_classify(k, 0, MOST, &reference);
    saeuron_classifier_close(k);
    for (int threads = 1; threads <= 3; threads++)
        for (size_t pack = 0; pack <= 1000000; pack += 1000000) {
            k = opened(NULL, threads, pack);
            must_classify(k, 0, MOST, &v);
            CHECK(same(&reference, &v), "%d threads, %s: other logits", threads, pack ? "packed" : "not packed");
            saeuron_classifier_close(k);
        }
    snprintf(list, sizeof list, "%s", nn_isa_list());
    for (char *isa = strtok(list, ","); isa; isa = strtok(NULL, ",")) {
        nn c;
        if (!nn_init(&c, isa, 1, NULL))
            continue;
        k = opened(isa, 2, 1000000);
        must_classify(k, 0, MOST, &v);
        CHECK(same(&reference, &v), "%s: other logits", isa);
        saeuron_classifier_close(k);
    }
    done(NULL);
}

/* A picture's logits depend on no other picture: one at a time, and more than VIT_IMAGES with a ragged end. */
static void alone(void)
{
    verdict all, one;
    make();
    saeuron_classifier *k = opened(NULL, 1, 0);
    must_classify(k, 0, MOST, &all);
    for (size_t i = 0; i < MOST; i++) {
        must_classify(k, i, 1, &one);
        CHECK(!memcmp(one.logits, all.logits + i * TINY_CLASSES, TINY_CLASSES * sizeof *one.logits), "picture %zu alone has other logits", i);
    }
    CHECK(memcmp(all.logits, all.logits + TINY_CLASSES, TINY_CLASSES * sizeof *all.logits), "two pictures have the same logits");
    done(k);
}

/* One allocation a call, all of which is used; progress is told of every VIT_IMAGES pictures, and stops it. */
static void memory_and_progress(void)
{
    verdict all, v;
    saeuron_error e = { 0 };
    make();
    saeuron_classifier *k = opened(NULL, 1, 0);
    const long before = files.allocs;
    files.largest = 0;
    must_classify(k, 0, MOST, &all);
    CHECK(files.allocs == before + 1 && files.touched > files.largest / 2, "%ld allocations; of %zu bytes %zu were used", files.allocs - before, files.largest, files.touched);
    CHECK(files.progressed == 3, "progress came %ld times", files.progressed);
    files.cancel_at = files.progressed + 2;
    int code = saeuron_classify(k, pictures(), MOST, W, H, v.logits, &e);
    check_error("a stop", code, SAEURON_ECANCEL, &e, "32 of 35");
    files.cancel_at = 0;
    must_classify(k, 0, MOST, &v);
    CHECK(same(&all, &v), "after a stop the logits are others");
    unsigned char *tall = calloc(3 * 30000, 3); /* resizing it takes more than the network does */
    e = (saeuron_error){ 0 };
    CHECK(tall && k && saeuron_classify(k, tall, 1, 3, 30000, v.logits, &e) == SAEURON_OK, "a picture of 3 x 30000: %s", e.text);
    free(tall);
    done(k);
}

/* Every allocation fails once: one line that says memory, nothing leaks, and the same classifier goes on. */
static void allocations_fail(void)
{
    verdict good, v;
    saeuron_error e;
    make();
    saeuron_host host = tiny_host(&files);
    host.pack = 1000000;
    saeuron_classifier *k = opened_on(&host);
    must_classify(k, 0, MOST, &good);
    saeuron_classifier_close(k);
    const long all = files.allocs;
    CHECK(all >= 5 && files.live == 0, "%ld allocations, %ld left", all, files.live);
    for (long n = 1; n <= all; n++) {
        files.allocs = 0;
        files.fail_at = n;
        e = (saeuron_error){ 0 };
        int code = saeuron_classifier_open(&k, &host, "tiny/judge", &e);
        if (!code)
            code = saeuron_classify(k, pictures(), MOST, W, H, v.logits, &e);
        check_error("an allocation", code, SAEURON_ENOMEM, &e, "memory");
        if (k) {
            must_classify(k, 0, MOST, &v);
            CHECK(same(&good, &v), "after the failure of allocation %ld the logits are others", n);
        }
        saeuron_classifier_close(k);
        CHECK(files.live == 0 && files.mapped == 0 && files.torn == 0, "allocation %ld: %ld blocks and %ld maps are left", n, files.live, files.mapped);
    }
    test_note("%ld allocations", all);
    done(NULL);
}

/* Names in order, UTF-8 kept; none where the config names none, and none beyond the last. */
static void class_names(void)
{
    make();
    saeuron_classifier *k = opened(NULL, 1, 0);
    CHECK(saeuron_classes(k) == TINY_CLASSES, "%zu classes", saeuron_classes(k));
    for (size_t i = 0; i < TINY_CLASSES; i++)
        CHECK(saeuron_class_name(k, i) && !strcmp(saeuron_class_name(k, i), names[i]), "class %zu is %s", i, saeuron_class_name(k, i));
    CHECK(!saeuron_class_name(k, TINY_CLASSES), "there is a class too many");
    saeuron_classifier_close(k);
    tiny_edit(&files, CONFIG, "\"label_names\": [\"Cats\", \"Dogs\", \"Sea\", \"Flame\", \"\xC3\x84pfel\"]", "\"label_names\": null");
    k = opened(NULL, 1, 0);
    CHECK(!saeuron_class_name(k, 0), "a class has a name from nowhere");
    done(k);
}

/* The same network said in timm's hub layout, with keys that mean nothing here; sizes of a named architecture overridden; the values in F16
 * and BF16: the same logits, and another digest only where the bytes are others. */
static void layouts(void)
{
    static const char *const texts[] = {
        "{\"architecture\": \"vit_large_patch16_224\", \"num_classes\": 5, \"num_features\": 16, \"global_pool\": \"token\",\n"
        " \"label_names\": [\"a\", \"b\", \"c\", \"d\", \"e\"], \"label_descriptions\": {\"a\": \"the first\"},\n"
        " \"model_args\": {\"img_size\": [12, 12], \"patch_size\": 4, \"embed_dim\": 16, \"depth\": 2, \"num_heads\": 2, \"mlp_ratio\": 2.5, \"drop_path_rate\": 0.1, \"weight_init\": \"jax\"},\n"
        " \"pretrained_cfg\": {\"tag\": \"x\", \"custom_load\": false, \"input_size\": [3, 12, 12], \"fixed_input_size\": true, \"interpolation\": \"bilinear\", \"crop_pct\": 1.0,\n"
        " \"crop_mode\": \"center\", \"mean\": [0.5, 0.25, 0.5], \"std\": [0.5, 0.5, 0.25], \"num_classes\": 1000, \"pool_size\": null, \"first_conv\": \"patch_embed.proj\",\n"
        " \"classifier\": \"head\", \"license\": \"mit\", \"test_input_size\": [3, 288, 288], \"label_offset\": null}}",
        /* what model_args says wins over the top, and the top over pretrained_cfg */
        "{\"architecture\": \"vit_tiny_patch16_224\", \"num_classes\": 5, \"num_heads\": 4, \"model_args\": {\"embed_dim\": 16, \"depth\": 2, \"num_heads\": 2, \"patch_size\": [4, 4], \"mlp_ratio\": 2.5},\n"
        " \"pretrained_cfg\": {\"input_size\": [3, 12, 12], \"num_classes\": 7, \"mean\": [0.5, 0.25, 0.5], \"std\": [0.5, 0.5, 0.25]}}",
        /* the layout of timm's own older files: all in one object, null for absent */
        "{\"architecture\": \"vision_transformer\", \"img_size\": 12, \"input_size\": [3, 24, 24], \"patch_size\": 4, \"embed_dim\": 16, \"depth\": 2.0, \"num_heads\": 2, \"mlp_ratio\": 2.5, \"num_classes\": 5,\n"
        " \"mean\": [0.5, 0.25, 5e-1], \"std\": [0.5, 0.5, 0.25], \"fc_norm\": null, \"qkv_bias\": null, \"reg_tokens\": 0, \"_note\": \"x\", \"torch_dtype\": \"float16\", \"dynamic_img_size\": true}",
    };
    static tiny_list l;
    verdict first, v;
    make();
    saeuron_classifier *k = opened(NULL, 1, 0);
    must_classify(k, 0, MOST, &first);
    const uint64_t digest = k ? saeuron_classifier_digest(k) : 0;
    saeuron_classifier_close(k);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tiny_text(&files, CONFIG, texts[i]);
        k = opened(NULL, 1, 0);
        must_classify(k, 0, MOST, &v);
        CHECK(same(&first, &v) && k && saeuron_classifier_digest(k) == digest, "layout %zu: other logits, or another digest", i);
        saeuron_classifier_close(k);
    }
    for (int type = DT_F16; type <= DT_BF16; type++) {
        tiny_tensors(&l, "classifier");
        for (size_t i = 0; i < l.count; i++)
            l.at[i].type = (dtype)type;
        tiny_save(&files, MODEL, &l, 0, l.count, NULL);
        k = opened(NULL, 1, type == DT_F16 ? 1000000 : 0);
        must_classify(k, 0, MOST, &v);
        CHECK(same(&first, &v) && k && saeuron_classifier_digest(k) != digest, "%s: other logits, or the digest of F32", io_dtype_name((dtype)type));
        saeuron_classifier_close(k);
        tiny_drop(&l);
    }
    done(NULL);
}

/* Every option of the network that has tensors of its own is found to have them: with the other's file opening fails by name. */
static void variants(void)
{
    static const struct { const char *from, *to, *words; } cases[] = {
        { "\"qkv_bias\": true", "\"qkv_bias\": false", "attn.qkv.bias|unknown" },
        { "\"class_token\": true", "\"class_token\": false, \"fc_norm\": true", "class_token" },
        { "\"global_pool\": \"token\"", "\"global_pool\": \"avg\"", "fc_norm.weight|missing" },
        { "\"global_pool\": \"token\"", "\"global_pool\": \"token\", \"fc_norm\": true", "fc_norm.weight|missing" },
        { "\"class_token\": true", "\"class_token\": null", NULL },
        { "\"global_pool\": \"token\"", "\"global_pool\": \"avg\", \"fc_norm\": false", NULL },
        { "\"mlp_ratio\": 2.5", "\"mlp_ratio\": 2.56", NULL }, /* int(40.96) is 40 */
        { "\"norm_eps\": 1e-06", "\"norm_eps\": 0.5", NULL },
    };
    verdict first, v;
    make();
    saeuron_classifier *k = opened(NULL, 1, 0);
    must_classify(k, 0, MOST, &first);
    done(k);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make();
        tiny_edit(&files, CONFIG, cases[i].from, cases[i].to);
        if (cases[i].words) {
            open_fails(cases[i].to, SAEURON_EFORMAT, cases[i].words);
            done(NULL);
            continue;
        }
        k = opened(NULL, 1, 0);
        must_classify(k, 0, MOST, &v);
        CHECK(same(&first, &v) == (strstr(cases[i].to, "null") || strstr(cases[i].to, "2.56")), "%s: the logits are %s", cases[i].to, same(&first, &v) ? "the same" : "others");
        done(k);
    }
}

/* Each key with a wrong type, an unsupported value, or unknown: the message names file and key. */
static void config_errors(void)
{
    static const struct { const char *from, *to, *words; } cases[] = {
        { "\"architecture\": \"vision_transformer\"", "\"arch\": 1", "\"architecture\"|no classifier" },
        { "\"vision_transformer\"", "\"resnet50\"", "\"architecture\" resnet50|vit_{tiny" },
        { "\"vision_transformer\"", "\"vit_base_patch16_clip_224\"", "\"architecture\" vit_base_patch16_clip_224" },
        { "\"vision_transformer\"", "7", "\"architecture\"|string" },
        { "\"img_size\": 12", "\"img_size\": 0", "\"img_size\"" },
        { "\"img_size\": 12", "\"img_size\": [12, 16]", "\"img_size\"|square" },
        { "\"img_size\": 12", "\"img_size\": [12]", "\"img_size\"" },
        { "\"img_size\": 12", "\"img_size\": \"12\"", "\"img_size\"" },
        { "\"img_size\": 12", "\"img_size\": 1000000", "\"img_size\"|4096" },
        { "\"img_size\": 12", "\"img_size\": 16", "tensor pos_embed has shape [1, 10, 16]|[1, 17, 16]" },
        { "\"img_size\": 12", "\"input_size\": [1, 12, 12]", "\"input_size\"|3 channels" },
        { "\"img_size\": 12", "\"img_size\": 18446744073709551615", "\"img_size\"" },
        { "\"img_size\": 12", "\"img_size\": 3", "\"patch_size\" 4 exceeds" },
        { "\"patch_size\": 4", "\"patch_size\": 0", "\"patch_size\"" },
        { "\"patch_size\": 4", "\"patch_size\": [4, 2]", "\"patch_size\"|square" },
        { "\"patch_size\": 4", "\"patch_size\": 2", "pos_embed|[1, 37, 16]" },
        { "\"in_chans\": 3", "\"in_chans\": 1", "\"in_chans\" is not 3" },
        { "\"embed_dim\": 16", "\"embed_dim\": 15", "\"embed_dim\" 15|\"num_heads\" 2" },
        { "\"embed_dim\": 16", "\"embed_dim\": 99999999999", "\"embed_dim\"" },
        { "\"embed_dim\": 16", "\"embed_dim\": 32", "has shape|asks for" },
        { "\"depth\": 2", "\"depth\": 65", "\"depth\"|64" },
        { "\"depth\": 2", "\"depth\": 3", "blocks.2.norm1.weight|missing" },
        { "\"depth\": 2", "\"depth\": 1", "blocks.1.|unknown" },
        { "\"depth\": 2", "\"depth\": -1", "\"depth\"" },
        { "\"num_heads\": 2", "\"num_heads\": 0", "\"num_heads\"" },
        { "\"mlp_ratio\": 2.5", "\"mlp_ratio\": 0", "\"mlp_ratio\"" },
        { "\"mlp_ratio\": 2.5", "\"mlp_ratio\": 1e20", "\"mlp_ratio\"" },
        { "\"mlp_ratio\": 2.5", "\"mlp_ratio\": 4", "mlp.fc1.weight|[64, 16]" },
        { "\"qkv_bias\": true", "\"qkv_bias\": 1", "\"qkv_bias\"|true or false" },
        { "\"class_token\": true", "\"class_token\": \"yes\"", "\"class_token\"" },
        { "\"global_pool\": \"token\"", "\"global_pool\": \"map\"", "\"global_pool\" is map" },
        { "\"global_pool\": \"token\"", "\"global_pool\": \"\"", "\"global_pool\"" },
        { "\"norm_eps\": 1e-06", "\"norm_eps\": \"small\"", "\"norm_eps\"" },
        { "[0.5, 0.25, 0.5]", "[0.5, 0.25]", "\"mean\"|three numbers" },
        { "[0.5, 0.25, 0.5]", "[0.5, 0.25, 0.5, 0.5]", "\"mean\"|three numbers" },
        { "[0.5, 0.25, 0.5]", "[0.5, null, 0.5]", "\"mean\"|three numbers" },
        { "[0.5, 0.25, 0.5]", "0.5", "\"mean\"|three numbers" },
        { "\"mean\": [0.5, 0.25, 0.5],", "", "\"mean\"|three numbers|0.5" },
        { "[0.5, 0.5, 0.25]", "null", "\"std\"|three numbers|0.5" },
        { "[0.5, 0.5, 0.25]", "[0.5, 0, 0.25]", "\"std\" must be above 0" },
        { "[0.5, 0.5, 0.25]", "[0.5, 1e300, 0.25]", "\"std\"" },
        { "\"bilinear\"", "\"bicubic\"", "\"interpolation\" is bicubic|write bilinear" },
        { "\"depth\": 2", "\"depth\": 2, \"crop_pct\": 0.9", "\"crop_pct\" is not 1|write 1" },
        { "\"depth\": 2", "\"depth\": 2, \"qk_norm\": true", "\"qk_norm\"" },
        { "\"depth\": 2", "\"depth\": 2, \"init_values\": 1e-5", "\"init_values\"" },
        { "\"depth\": 2", "\"depth\": 2, \"reg_tokens\": 4", "\"reg_tokens\"" },
        { "\"depth\": 2", "\"depth\": 2, \"act_layer\": \"quick_gelu\"", "\"act_layer\"" },
        { "\"depth\": 2", "\"depth\": 2, \"rope\": true", "\"rope\" is unknown" },
        { "\"depth\": 2", "\"depth\": 2, \"model_args\": [1]", "\"model_args\" must be an object" },
        { "\"depth\": 2", "\"depth\": 2, \"model_args\": {\"pre_norm\": true}", "\"pre_norm\"" },
        { "\"depth\": 2", "\"depth\": 2, \"model_args\": {\"depth\": \"two\"}", "\"depth\"" },
        { "\"depth\": 2", "\"depth\": 2, \"pretrained_cfg\": {\"hidden\": 1}", "\"hidden\" is unknown" },
        { "\"num_classes\": 5", "\"num_classes\": 0", "\"num_classes\"|from 1" },
        { "\"num_classes\": 5", "\"num_classes\": 100000", "\"num_classes\"" },
        { "\"num_classes\": 5", "\"num_classes\": 4", "\"label_names\" has 5 names for 4 classes" },
        { "\"Sea\", \"Flame\"", "\"Sea\"", "\"label_names\" has 4 names for 5 classes" },
        { "\"Sea\"", "7", "\"label_names\" must be a list" },
        { "[\"Cats\", \"Dogs\", \"Sea\", \"Flame\", \"\xC3\x84pfel\"]", "{\"0\": \"Cats\"}", "\"label_names\"" },
        { "\"num_classes\": 5,\n  \"label_names\": [\"Cats\", \"Dogs\", \"Sea\", \"Flame\", \"\xC3\x84pfel\"]", "\"num_classes\": 6", "head.weight has shape [5, 16]|[6, 16]" },
        { "\"num_classes\": 5,", "\"num_classes\": 5", "line" },
        { "\"depth\": 2", "\"depth\": 2, \"depth\": 2", "twice" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char words[256];
        make();
        tiny_edit(&files, CONFIG, cases[i].from, cases[i].to);
        snprintf(words, sizeof words, "tiny/judge/|%s", cases[i].words);
        open_fails(cases[i].to, SAEURON_EFORMAT, words);
        tiny_free(&files);
    }
}

/* Cuts a file to n bytes. */
static void cut(const char *name, size_t n)
{
    const tiny_file *f = tiny_find(&files, name);
    CHECK(f && n < f->size, "%s has no %zu bytes", name, n);
    if (f)
        tiny_set(&files, name, f->bytes, n);
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
        make();
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
        tiny_save(&files, MODEL, &l, 0, l.count, NULL);
        snprintf(words, sizeof words, MODEL "|%s|%s", cases[i].tensor, cases[i].words);
        open_fails(cases[i].tensor, cases[i].code, words);
        tiny_drop(&l);
        tiny_free(&files);
    }
    make();
    cut(MODEL, 2000);
    open_fails("a cut model", SAEURON_EFORMAT, MODEL);
    cut(MODEL, 5);
    open_fails("a model of five bytes", SAEURON_EFORMAT, MODEL);
    tiny_set(&files, MODEL, NULL, 0);
    open_fails("no model", SAEURON_ENOENT, "tiny/judge|model.safetensors");
    tiny_text(&files, "judge/pytorch_model.bin", "x");
    open_fails("a pickle", SAEURON_ENOENT, "judge/pytorch_model.bin|pickle");
    cut(CONFIG, 30);
    open_fails("a cut config", SAEURON_EFORMAT, CONFIG);
    tiny_set(&files, CONFIG, NULL, 0);
    open_fails("no config", SAEURON_ENOENT, CONFIG);
    tiny_free(&files);
}

/* Sizes that no picture has; kernels that do not exist; a path that is too long. After each the classifier goes on. */
static void call_errors(void)
{
    static const struct { size_t count, width, height; } sizes[] = { { 0, W, H }, { 1, 0, H }, { 1, W, 0 }, { 1, 32769, 1 }, { 1, 1, 32769 }, { SIZE_MAX / 4, 32768, 32768 } };
    char path[1200];
    verdict first, v;
    saeuron_error e = { 0 };
    make();
    saeuron_classifier *k = opened(NULL, 1, 0), *other = NULL;
    must_classify(k, 0, 2, &first);
    for (size_t i = 0; k && i < sizeof sizes / sizeof *sizes; i++)
        check_error("a size", saeuron_classify(k, pictures(), sizes[i].count, sizes[i].width, sizes[i].height, v.logits, &e), SAEURON_EUSAGE, &e, "cannot be classified|32768");
    must_classify(k, 0, 2, &v);
    CHECK(same(&first, &v), "after errors the logits are others");
    saeuron_host host = tiny_host(&files);
    host.isa = "abacus";
    check_error("kernels", saeuron_classifier_open(&other, &host, "tiny/judge", &e), SAEURON_EUSAGE, &e, "abacus");
    host.isa = NULL;
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = 0;
    check_error("a long path", saeuron_classifier_open(&other, &host, path, &e), SAEURON_EUSAGE, &e, "too long");
    path[1020] = 0;
    check_error("a path too long for its files", saeuron_classifier_open(&other, &host, path, &e), SAEURON_EUSAGE, &e, "too long");
    CHECK(!other && saeuron_classifier_open(&other, &host, "tiny/nowhere", NULL) == SAEURON_ENOENT, "without an error to fill the code is another");
    saeuron_classifier_close(NULL);
    done(k);
}

/* Logits that overflow are an error that counts the pictures before. */
static void not_finite(void)
{
    static tiny_list l;
    verdict v;
    saeuron_error e = { 0 };
    make();
    tiny_tensors(&l, "classifier");
    tiny_tensor *w = tiny_tensor_named(&l, "head.weight");
    for (size_t i = 0; i < w->count; i++)
        w->values[i] = 3e38f;
    tiny_save(&files, MODEL, &l, 0, l.count, NULL);
    tiny_drop(&l);
    saeuron_classifier *k = opened(NULL, 1, 0);
    if (k)
        check_error("overflow", saeuron_classify(k, pictures(), 2, W, H, v.logits, &e), SAEURON_ENAN, &e, "tiny/judge|picture |not finite");
    done(k);
}

/* Another rounding is refused by both entries, before anything is done. */
static void environment(void)
{
    verdict v;
    saeuron_error e[2] = { { 0 }, { 0 } };
    make();
    saeuron_classifier *k = opened(NULL, 1, 0), *other = NULL;
    const saeuron_host host = tiny_host(&files);
    fesetround(FE_UPWARD);
    const int open = saeuron_classifier_open(&other, &host, "tiny/judge", &e[0]), judged = k ? saeuron_classify(k, pictures(), 1, W, H, v.logits, &e[1]) : 0;
    fesetround(FE_TONEAREST);
    check_error("opening", open, SAEURON_EENV, &e[0], "floating-point environment");
    check_error("classifying", judged, SAEURON_EENV, &e[1], "floating-point environment");
    done(k);
}

/* Bytes by hand: a picture of the same size is the same bytes; a pixel becomes any number of its like; of two that become one the mean, halves
 * rounded up; and a side alone is left as it is. */
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
    CHECK(y[0] == 0 && y[3] == 25 && y[6] == 75 && y[9] == 100 && y[10] == 200 && y[11] == 40, "two pixels to four: %d %d %d %d", y[0], y[3], y[6], y[9]);
    resize_bilinear(&c, y, 2, 3, (const unsigned char[]){ 1, 2, 3, 4, 5, 6 }, 2, 1);
    for (size_t i = 0; i < 18; i++)
        CHECK(y[i] == i % 6 + 1, "a row repeated is %d at %zu", y[i], i);
    CHECK(!work.failed && !work.used, "memory is kept");
}

const test_case vit_tests[] = {
    { "same_bits", same_bits }, { "alone", alone }, { "memory_and_progress", memory_and_progress }, { "allocations_fail", allocations_fail },
    { "class_names", class_names }, { "layouts", layouts }, { "variants", variants }, { "config_errors", config_errors }, { "model_errors", model_errors },
    { "call_errors", call_errors }, { "not_finite", not_finite }, { "environment", environment }, { "resizes", resizes }, { NULL, NULL },
};
