/* test_vit.c: config.json in every layout that timm writes; each of its faults named. On the tiny classifier
 * of judges.h.
 *
 * Not here: the folder, the pictures and the public entries (test_classifier.c), whether the logits are
 * timm's (test_golden.c). */
#include "test.h"
#include "judges.h"

#include <stdio.h>
#include <string.h>

/* The same network said in timm's hub layout, with keys that mean nothing here; sizes of a named architecture
 * overridden; the values in F16 and BF16: the same logits, and another digest only where the bytes are
 * others. */
static void layouts(void)
{
    static const char *const texts[] = {
        "{\"architecture\": \"vit_large_patch16_224\", \"num_classes\": 5, \"num_features\": 16, "
        "\"global_pool\": \"token\",\n"
        " \"label_names\": [\"a\", \"b\", \"c\", \"d\", \"e\"], \"label_descriptions\": {\"a\": \"the "
        "first\"},\n"
        " \"model_args\": {\"img_size\": [12, 12], \"patch_size\": 4, \"embed_dim\": 16, \"depth\": 2, "
        "\"num_heads\": 2, \"mlp_ratio\": 2.5, \"drop_path_rate\": 0.1, \"weight_init\": \"jax\"},\n"
        " \"pretrained_cfg\": {\"tag\": \"x\", \"custom_load\": false, \"input_size\": [3, 12, 12], "
        "\"fixed_input_size\": true, \"interpolation\": \"bilinear\", \"crop_pct\": 1.0,\n"
        " \"crop_mode\": \"center\", \"mean\": [0.5, 0.25, 0.5], \"std\": [0.5, 0.5, 0.25], \"num_classes\": "
        "1000, \"pool_size\": null, \"first_conv\": \"patch_embed.proj\",\n"
        " \"classifier\": \"head\", \"license\": \"mit\", \"test_input_size\": [3, 288, 288], "
        "\"label_offset\": null}}",
        /* what model_args says wins over the top, and the top over pretrained_cfg */
        "{\"architecture\": \"vit_tiny_patch16_224\", \"num_classes\": 5, \"num_heads\": 4, \"model_args\": "
        "{\"embed_dim\": 16, \"depth\": 2, \"num_heads\": 2, \"patch_size\": [4, 4], \"mlp_ratio\": 2.5},\n"
        " \"pretrained_cfg\": {\"input_size\": [3, 12, 12], \"num_classes\": 7, \"mean\": [0.5, 0.25, 0.5], "
        "\"std\": [0.5, 0.5, 0.25]}}",
        /* the layout of timm's own older files: all in one object, null for absent */
        "{\"architecture\": \"vision_transformer\", \"img_size\": 12, \"input_size\": [3, 24, 24], "
        "\"patch_size\": 4, \"embed_dim\": 16, \"depth\": 2.0, \"num_heads\": 2, \"mlp_ratio\": 2.5, "
        "\"num_classes\": 5,\n"
        " \"mean\": [0.5, 0.25, 5e-1], \"std\": [0.5, 0.5, 0.25], \"fc_norm\": null, \"qkv_bias\": null, "
        "\"reg_tokens\": 0, \"_note\": \"x\", \"torch_dtype\": \"float16\", \"dynamic_img_size\": true}",
    };
    static tiny_list l;
    verdict first, v;
    judge_make();
    saeuron_classifier *k = judge_opened(NULL, 1, 0);
    judge_must(k, 0, MOST, &first);
    const uint64_t digest = k ? saeuron_classifier_digest(k) : 0;
    saeuron_classifier_close(k);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tiny_text(&judge_files, JUDGE_CONFIG, texts[i]);
        k = judge_opened(NULL, 1, 0);
        judge_must(k, 0, MOST, &v);
        CHECK(judge_same(&first, &v) && k && saeuron_classifier_digest(k) == digest,
              "layout %zu: other logits, or another digest", i);
        saeuron_classifier_close(k);
    }
    for (int type = DT_F16; type <= DT_BF16; type++) {
        tiny_tensors(&l, "classifier");
        for (size_t i = 0; i < l.count; i++)
            l.at[i].type = (dtype)type;
        tiny_save(&judge_files, JUDGE_MODEL, &l, 0, l.count, NULL);
        k = judge_opened(NULL, 1, type == DT_F16 ? 1000000 : 0);
        judge_must(k, 0, MOST, &v);
        CHECK(judge_same(&first, &v) && k && saeuron_classifier_digest(k) != digest,
              "%s: other logits, or the digest of F32", io_dtype_name((dtype)type));
        saeuron_classifier_close(k);
        tiny_drop(&l);
    }
    judge_done(NULL);
}

/* Every option of the network that has tensors of its own is found to have them: with the other's file
 * opening fails by name. */
static void variants(void)
{
    static const struct { const char *from, *to, *words; } cases[] = {
        { "\"qkv_bias\": true", "\"qkv_bias\": false", "attn.qkv.bias|unknown" },
        { "\"class_token\": true", "\"class_token\": false, \"fc_norm\": true", "class_token" },
        { "\"global_pool\": \"token\"", "\"global_pool\": \"avg\"", "fc_norm.weight|missing" },
        { "\"global_pool\": \"token\"", "\"global_pool\": \"token\", \"fc_norm\": true",
          "fc_norm.weight|missing" },
        { "\"class_token\": true", "\"class_token\": null", NULL },
        { "\"global_pool\": \"token\"", "\"global_pool\": \"avg\", \"fc_norm\": false", NULL },
        { "\"mlp_ratio\": 2.5", "\"mlp_ratio\": 2.56", NULL }, /* int(40.96) is 40 */
        { "\"norm_eps\": 1e-06", "\"norm_eps\": 0.5", NULL },
    };
    verdict first, v;
    judge_make();
    saeuron_classifier *k = judge_opened(NULL, 1, 0);
    judge_must(k, 0, MOST, &first);
    judge_done(k);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        judge_make();
        tiny_edit(&judge_files, JUDGE_CONFIG, cases[i].from, cases[i].to);
        if (cases[i].words) {
            judge_open_fails(cases[i].to, SAEURON_EFORMAT, cases[i].words);
            judge_done(NULL);
            continue;
        }
        k = judge_opened(NULL, 1, 0);
        judge_must(k, 0, MOST, &v);
        CHECK(judge_same(&first, &v) == (strstr(cases[i].to, "null") || strstr(cases[i].to, "2.56")),
              "%s: the logits are %s", cases[i].to, judge_same(&first, &v) ? "the same" : "others");
        judge_done(k);
    }
}

/* Each key with a wrong type, an unsupported value, or unknown: the message names file and key. */
static void config_errors(void)
{
    static const struct { const char *from, *to, *words; } cases[] = {
        { "\"architecture\": \"vision_transformer\"", "\"arch\": 1", "\"architecture\"|no classifier" },
        { "\"vision_transformer\"", "\"resnet50\"", "\"architecture\" resnet50|vit_{tiny" },
        { "\"vision_transformer\"", "\"vit_base_patch16_clip_224\"",
          "\"architecture\" vit_base_patch16_clip_224" },
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
        { "[\"Cats\", \"Dogs\", \"Sea\", \"Flame\", \"\xC3\x84pfel\"]", "{\"0\": \"Cats\"}",
          "\"label_names\"" },
        { "\"num_classes\": 5,\n  \"label_names\": [\"Cats\", \"Dogs\", \"Sea\", \"Flame\", "
          "\"\xC3\x84pfel\"]",
          "\"num_classes\": 6", "head.weight has shape [5, 16]|[6, 16]" },
        { "\"num_classes\": 5,", "\"num_classes\": 5", "line" },
        { "\"depth\": 2", "\"depth\": 2, \"depth\": 2", "twice" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char words[256];
        judge_make();
        tiny_edit(&judge_files, JUDGE_CONFIG, cases[i].from, cases[i].to);
        snprintf(words, sizeof words, "tiny/judge/|%s", cases[i].words);
        judge_open_fails(cases[i].to, SAEURON_EFORMAT, words);
        tiny_free(&judge_files);
    }
}

const test_case vit_tests[] = {
    { "layouts", layouts }, { "variants", variants }, { "config_errors", config_errors }, { NULL, NULL },
};
