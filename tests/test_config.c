/* test_config.c: config.json of every network: wrong types, unsupported values and unknown keys are refused
 * by name; what many versions of diffusers wrote is accepted.
 *
 * Not here: schedulers (test_ddim.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "scratch.h"
#include "shots.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each key with a wrong type, an unsupported value, or unknown: the message names file and key. */
static void config_errors(void)
{
    static const char u[] = "unet/config.json", v[] = "vae/config.json", t[] = "text_encoder/config.json";
    static const char s[] = "scheduler/scheduler_config.json", c[] = "concepts.json";
    static const struct { const char *file, *from, *to, *words; } cases[] = {
        { u, "\"norm_eps\"", "\"norm_epsilon\"", "norm_epsilon|unknown" },
        { u, "1e-05", "\"small\"", "norm_eps|number" }, { u, "1e-05", "-1", "norm_eps|above 0" },
        { u, "1e-05", "0", "norm_eps|above 0" }, { u, "1e-05", "1e-60", "norm_eps|above 0" },
        { u, "\"freq_shift\": 0", "\"freq_shift\": 8", "freq_shift" },
        { u, "\"silu\"", "\"gelu\"", "act_fn|silu" },
        { u, "\"layers_per_block\": 2", "\"layers_per_block\": 2.5", "layers_per_block" },
        { u, "\"layers_per_block\": 2", "\"layers_per_block\": 9", "layers_per_block" },
        { u, "\"layers_per_block\": 2", "\"layers_per_block\": [2, 2]", "layers_per_block" },
        { u, "[16, 32]", "[16, 30]", "block_out_channels|30" }, { u, "[16, 32]", "16", "block_out_channels" },
        { u, "[16, 32]", "[]", "block_out_channels" }, { u, "[16, 32]", "[16, 32, 32]", "down_block_types" },
        { u, "[16, 32]", "[16, -32]", "block_out_channels" },
        { u, "[16, 32]", "[16, 1048577]", "block_out_channels" },
        { u, "[16, 32]", "[16, 1.5]", "block_out_channels" },
        { u, "[16, 32]", "[15, 32]", "block_out_channels" },
        { u, "[16, 32]", "[16,16,16,16,16,16,16,16,16]", "block_out_channels" },
        { u, "\"DownBlock2D\"", "\"AttnDownBlock2D\"", "down_block_types" },
        { u, "\"UpBlock2D\"", "3", "up_block_types" }, { u, ", \"UpBlock2D\"", "", "up_block_types" },
        { u, "\"up_block_types\"", "\"_up\"", "up_block_types|missing" },
        { u, "true", "\"yes\"", "flip_sin_to_cos|true or false" },
        { u, "\"attention_head_dim\": 2", "\"attention_head_dim\": 5", "heads" },
        { u, "\"attention_head_dim\": 2", "\"attention_head_dim\": [2]", "attention_head_dim" },
        { u, "\"attention_head_dim\": 2", "\"attention_head_dim\": 0", "attention_head_dim" },
        { u, "\"freq_shift\": 0", "\"freq_shift\": 0, \"class_embed_type\": \"timestep\"",
          "class_embed_type" },
        { u, "\"freq_shift\": 0", "\"freq_shift\": 0, \"transformer_layers_per_block\": 12",
          "transformer_layers_per_block" },
        { u, "\"cross_attention_dim\": 16", "\"cross_attention_dim\": 24", "to_k.weight" },
        { u, "\"in_channels\": 4", "\"in_channels\": 9", "conv_in.weight" },
        { u, "\"norm_num_groups\": 4", "\"norm_num_groups\": 0", "norm_num_groups" },
        { v, "\"norm_num_groups\": 4", "\"norm_num_groups\": 0", "norm_num_groups" },
        { u, "{", "", "unet/config.json" }, { u, "}", "", "unet/config.json" },
        { u, "{", "[{", "unet/config.json" }, { v, "\"act_fn\": \"silu\"", "\"act_fn\": \"relu\"", "act_fn" },
        { v, "[8, 16]", "8", "block_out_channels" },
        { v, "[8, 16]", "[8, 18]", "block_out_channels|18|no multiple" },
        { v, "0.5", "0", "scaling_factor" }, { v, "0.5", "-1", "scaling_factor" },
        { v, "\"UpDecoderBlock2D\"", "\"AttnUpDecoderBlock2D\"", "up_block_types" },
        { v, "\"latent_channels\": 4", "\"latent_channels\": 8", "encoder.conv_out.weight" },
        { v, "{", "{\"down_block_types\": [\"DownEncoderBlock2D\", \"AttnDownEncoderBlock2D\"],",
          "down_block_types|DownEncoderBlock2D" },
        { v, "{", "{\"down_block_types\": [\"DownEncoderBlock2D\"],", "down_block_types|2 blocks" },
        { v, "{", "{\"down_block_types\": \"DownEncoderBlock2D\",", "down_block_types|2 blocks" },
        { v, "{", "{\"in_channels\": 4,", "in_channels|3" },
        { v, "{", "{\"use_quant_conv\": 1,", "use_quant_conv|true or false" },
        { v, "{", "{\"use_quant_conv\": false,", "tensor quant_conv.|unknown" },
        { v, "\"layers_per_block\"", "\"layers\"", "layers|unknown" },
        { t, "{", "{\"layer_norm_eps\": -1,", "layer_norm_eps|above 0" },
        { t, "quick_gelu", "gelu_new", "hidden_act|gelu_new" },
        { t, "\"num_attention_heads\": 2", "\"num_attention_heads\": 3", "num_attention_heads" },
        { t, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 200", "num_hidden_layers" },
        { t, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "encoder.layers.2" },
        { t, "\"vocab_size\": 5", "\"vocab_size\": 4", "token_embedding.weight" },
        { t, "\"hidden_size\"", "\"hidden_sise\"", "hidden_sise|unknown" },
        { s, "scaled_linear", "linear", "beta_schedule" },
        { s, "\"trained_betas\": null", "\"trained_betas\": [0.1]", "trained_betas" },
        { s, "\"num_train_timesteps\": 1000", "\"num_train_timesteps\": 500",
          "\"num_train_timesteps\" must be 1000" },
        { s, "\"steps_offset\": 1", "\"prediction_type\": \"sample\"", "prediction_type|sample" },
        { s, "\"steps_offset\": 1", "\"timestep_spacing\": \"log\"", "timestep_spacing" },
        { s, "\"steps_offset\": 1", "\"rescale_betas_zero_snr\": true", "rescale_betas_zero_snr" },
        { s, "\"steps_offset\": 1", "\"steps_ofset\": 1", "steps_ofset|unknown" },
        { s, "\"clip_sample\": false,", "", "clip_sample|PNDMScheduler" },
        { s, "0.00085", "-1", "beta_start" }, { s, "0.012", "2", "beta_end" },
        { s, "0.012", "0.0001", "beta_end" }, { s, "0.012", "1e31", "beta_end" },
        { s, "0.012", "-1e31", "beta_end" },
        { s, "0.012", "\"a\"", "beta_end" }, { s, "\"beta_schedule\"", "\"_beta\"", "beta_schedule|missing" },
        { c, "\"steps\": 4", "\"steps\": 0", "concepts.json|steps" },
        { c, "\"guidance\": 3", "\"guidance\": \"3\"", "concepts.json|guidance" },
        { c, "\"guidance\": 3", "\"guidance\": -3", "concepts.json|guidance" },
        { c, "\"domains\": {", "\"domains\": [], \"_\": {", "concepts.json|\"domains\"" },
        { c, "\"style\": {", "\"style\": 3, \"_\": {", "concepts.json|domain style" },
        { c, TINY_STYLES, "up_blocks.7.attentions.1", "concepts.json|domain style|up_blocks.7.attentions.1" },
        { c, TINY_STYLES, TINY_STYLES TINY_STYLES TINY_STYLES TINY_STYLES,
          "concepts.json|\"hook\"|96 bytes" },
        { "tokenizer/vocab.json", "{", "[", "vocab.json" },
        { "tokenizer/vocab.json", "\"a\": 97", "\"a\": 9999", "vocab.json" },
        { "tokenizer/merges.txt", "c a", "c", "merges.txt" },
        { "tokenizer/tokenizer_config.json", "16", "-2", "tokenizer_config.json|model_max_length" },
    };
    char folder[128];
    static const char *const gone[] = {
        "unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json",
        "tokenizer/vocab.json", "tokenizer/merges.txt", UNET, VAE, TEXT
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_make(&files);
        tiny_edit(&files, cases[i].file, cases[i].from, cases[i].to);
        open_fails(cases[i].to, SAEURON_EFORMAT, cases[i].words);
        tiny_free(&files);
    }
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        tiny_make(&files);
        tiny_set(&files, gone[i], NULL, 0);
        snprintf(folder, sizeof folder, "%.*s|%s", (int)strcspn(gone[i], "/"), gone[i],
                 strchr(gone[i], '/') + 1);
        open_fails(gone[i], SAEURON_ENOENT, folder);
        tiny_free(&files);
    }
}

/* A root that is no object would be one without a key: every default, without a word. */
static void no_objects(void)
{
    static const char *const names[] = {
        "unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json",
        "tokenizer/vocab.json", "tokenizer/tokenizer_config.json", "tokenizer/added_tokens.json",
        "concepts.json",
    };
    static const char *const roots[] = { "[]", "3", "null", "\"{}\"" };
    char words[96];
    for (size_t i = 0; i < COUNT(names) * COUNT(roots); i++) {
        const char *name = names[i / COUNT(roots)];
        tiny_make(&files);
        tiny_text(&files, name, roots[i % COUNT(roots)]);
        snprintf(words, sizeof words, "%s|must hold a JSON object", name);
        open_fails(roots[i % COUNT(roots)], SAEURON_EFORMAT, words);
        tiny_free(&files);
    }
}

/* Draws with the tidy folder, of which a file is edited; whether it opened. */
static bool draw_edited(const char *file, const char *from, const char *to, shot *s)
{
    tiny_make(&files);
    tiny_edit(&files, file, from, to);
    saeuron_context *x = opened(NULL, 1);
    const bool open = x != NULL;
    if (open)
        must_shoot(x, (saeuron_generate_options){ .count = 1 }, s);
    done(x);
    return open;
}

/* Advice followed to its end: a file is spoilt, refused with the advice, mended as the advice says, and then
 * draws what the tiny model draws. */
static void advice(void)
{
    static const char s[] = "scheduler/scheduler_config.json", k[] = "tokenizer/tokenizer_config.json";
    static const struct { const char *file, *from, *to, *words, *mended; } cases[] = {
        { s, "\"clip_sample\": false,", "", "add \"clip_sample\": false", "\"clip_sample\": false," },
        { s, "\"steps_offset\": 1", "\"steps_offset\": 1, \"prediction_type\": NaN",
          "or null for the default", "\"steps_offset\": 1, \"prediction_type\": null" },
        { s, "\"steps_offset\": 1", "\"steps_offset\": 1, \"note\": 1", "remove it if it means nothing",
          "\"steps_offset\": 1" },
        { "unet/config.json", "{", "\xEF\xBB\xBF{", "save it as UTF-8 without one", "{" },
        { k, "{", "{\"mask_token\": \"a\", ", "take it out", "{" },
        { k, "{", "{\"padding_side\": \"left\", ", "take it out", "{" },
    };
    shot plain, got;
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    done(x);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_make(&files);
        tiny_edit(&files, cases[i].file, cases[i].from, cases[i].to);
        open_fails(cases[i].to, SAEURON_EFORMAT, cases[i].words);
        tiny_free(&files);
        CHECK(draw_edited(cases[i].file, cases[i].from, cases[i].mended, &got) && same(&plain, &got),
              "\"%s\" was followed, and does not help", cases[i].words);
    }
}

/* What other files may carry without meaning anything, and keys that only their default may have. */
static void configs_accepted(void)
{
    static const struct { const char *file, *from, *to; } cases[] = {
        { "unet/config.json", "{",
          "{\"_name_or_path\": \"x\", \"torch_dtype\": \"float16\", \"dropout\": 0.0, "
          "\"class_embed_type\": null, \"dual_cross_attention\": false," },
        { "unet/config.json", "\"attention_head_dim\": 2",
          "\"attention_head_dim\": [4, 2], \"num_attention_heads\": null, \"downsample_padding\": 1.0" },
        { "unet/config.json", "\"attention_head_dim\": 2",
          "\"attention_head_dim\": 8, \"num_attention_heads\": 2" },
        { "vae/config.json", "{",
          "{\"force_upcast\": true, \"latents_mean\": null, \"in_channels\": 3, \"down_block_types\": "
          "[\"DownEncoderBlock2D\", \"DownEncoderBlock2D\"]," },
        { "text_encoder/config.json", "{",
          "{\"transformers_version\": \"5\", \"projection_dim\": 16, \"dropout\": 0.0, \"bos_token_id\": "
          "0," },
        /* the pipeline forces 1 */
        { "scheduler/scheduler_config.json", "\"steps_offset\": 1", "\"steps_offset\": 0" },
        /* and false */
        { "scheduler/scheduler_config.json", "\"clip_sample\": false", "\"clip_sample\": true" },
        { "scheduler/scheduler_config.json", "PNDMScheduler", "DDIMScheduler" },
        { "concepts.json", "{", "{\"note\": 1," },
    };
    shot plain, s;
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    done(x);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(draw_edited(cases[i].file, cases[i].from, cases[i].to, &s) && same(&plain, &s),
              "%s: %s changes the picture", cases[i].file, cases[i].to);
    }
}

/* Keys that some version wrote and whose value here changes nothing; and the same keys where it would. */
static void config_keys(void)
{
    static const char u[] = "unet/config.json", v[] = "vae/config.json", t[] = "text_encoder/config.json";
    static const struct { const char *file, *keys; } harmless[] = {
        { u, "\"_class_name2\": \"x\", \"_diffusers_version\": \"0.17.0.dev0\", \"_name_or_path\": "
          "\"./unet\", \"addition_embed_type\": null, \"addition_embed_type_num_heads\": 64, "
          "\"addition_time_embed_dim\": null, \"attention_type\": \"default\", \"center_input_sample\": "
          "false, \"class_embed_type\": null, \"class_embeddings_concat\": false, " "\"conv_in_kernel\": "
          "3, \"conv_out_kernel\": 3, \"cross_attention_norm\": null, \"downsample_padding\": 1, "
          "\"dropout\": 0.1, \"dual_cross_attention\": false, " "\"encoder_hid_dim\": null, "
          "\"encoder_hid_dim_type\": null, \"mid_block_only_cross_attention\": null, "
          "\"mid_block_scale_factor\": 1, \"mid_block_type\": \"UNetMidBlock2DCrossAttn\", "
          "\"num_attention_heads\": null, \"num_class_embeds\": null, \"only_cross_attention\": false, "
          "\"projection_class_embeddings_input_dim\": null, \"resnet_out_scale_factor\": 1.0, "
          "\"resnet_skip_time_act\": false, \"resnet_time_scale_shift\": \"default\", "
          "\"reverse_transformer_layers_per_block\": null, \"time_cond_proj_dim\": null, "
          "\"time_embedding_act_fn\": null, \"time_embedding_dim\": null, \"time_embedding_type\": "
          "\"positional\", \"timestep_post_act\": null, \"transformer_layers_per_block\": 1, "
          "\"upcast_attention\": true, \"use_linear_projection\": false, " },
        { u, "\"mid_block_only_cross_attention\": false, \"torch_dtype\": \"float16\", " },
        { v, "\"_diffusers_version\": \"0.6.0\", \"down_block_types\": [\"DownEncoderBlock2D\", "
          "\"DownEncoderBlock2D\"], \"in_channels\": 3, \"out_channels\": 3, \"sample_size\": 512, "
          "\"force_upcast\": true, \"latents_mean\": null, \"latents_std\": null, "
          "\"mid_block_add_attention\": true, \"shift_factor\": null, \"use_post_quant_conv\": true, "
          "\"use_quant_conv\": true, " },
        /* other pipelines' */
        { v, "\"shift_factor\": 0.25, \"latents_mean\": [0.1, 0, 0, 0], \"latents_std\": [1, 1, 1, 2], " },
        { t, "\"_name_or_path\": \"openai/clip-vit-large-patch14\", \"attention_dropout\": 0.0, "
          "\"bos_token_id\": 0, \"dropout\": 0.0, \"eos_token_id\": 2, \"initializer_factor\": 1.0, "
          "\"initializer_range\": 0.02, \"layer_norm_eps\": 1e-05, \"model_type\": \"clip_text_model\", "
          "\"pad_token_id\": 1, \"projection_dim\": 768, \"torch_dtype\": \"float32\", "
          "\"transformers_version\": \"4.23.1\", " },
        { t, "\"dtype\": \"float16\", \"output_attentions\": false, \"output_hidden_states\": false, "
          "\"return_dict\": true, \"chunk_size_feed_forward\": 0, \"is_encoder_decoder\": false, "
          "\"id2label\": {\"0\": \"LABEL_0\"}, \"label2id\": {\"LABEL_0\": 0}, \"problem_type\": null, "
          "\"pruned_heads\": {}, " },
    };
    static const struct { const char *file, *keys, *words; } harmful[] = {
        { u, "\"mid_block_only_cross_attention\": true, ", "mid_block_only_cross_attention" },
        { u, "\"only_cross_attention\": true, ", "only_cross_attention" },
        { u, "\"encoder_hid_dim_type\": \"text_proj\", ", "encoder_hid_dim_type" },
        { u, "\"time_cond_proj_dim\": 256, ", "time_cond_proj_dim" },
        { u, "\"resnet_time_scale_shift\": \"scale_shift\", ", "resnet_time_scale_shift" },
        { u, "\"addition_embed_type\": \"text_time\", ", "addition_embed_type" },
        { u, "\"dual_cross_attention\": true, ", "dual_cross_attention" },
        { u, "\"quantization_config\": {}, ", "quantization_config|unknown" },
        { v, "\"vq_embed_dim\": 4, ", "vq_embed_dim|unknown" },
        { t, "\"pruned_heads\": {\"1\": [0]}, ", "pruned_heads" },
        { t, "\"position_embedding_type\": \"rope\", ", "position_embedding_type|unknown" },
    };
    char keys[2048], words[160];
    picture plain;
    tidy(&plain);
    tiny_free(&files);
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
        tiny_make(&files);
        snprintf(keys, sizeof keys, "{%s", harmless[i].keys);
        tiny_edit(&files, harmless[i].file, "{", keys);
        must_be(harmless[i].keys, &plain);
        tiny_free(&files);
    }
    for (size_t i = 0; i < sizeof harmful / sizeof *harmful; i++) {
        tiny_make(&files);
        snprintf(keys, sizeof keys, "{%s", harmful[i].keys);
        snprintf(words, sizeof words, "%s|%.*s", harmful[i].file, (int)strcspn(harmful[i].words, "|"),
                 harmful[i].words);
        tiny_edit(&files, harmful[i].file, "{", keys);
        open_fails(harmful[i].keys, SAEURON_EFORMAT, words);
        tiny_free(&files);
    }
}

/* StableDiffusionPipeline draws 64 latents a side where an old UNet's sample_size is smaller. */
static void old_sample_size(void)
{
    static const struct { const char *version; size_t side; } cases[] = {
        { "0.2.4", 128 }, { "0.8.1", 128 }, { "0.9.0", 16 }, { "0.10.2", 16 }, { "0.42.1", 16 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[64];
        size_t W, H;
        saeuron_error e = { 0 };
        const saeuron_generate_options o = { .count = 1 };
        snprintf(text, sizeof text, "{\"_diffusers_version\": \"%s\",", cases[i].version);
        tiny_make(&files);
        tiny_edit(&files, "unet/config.json", "{", text);
        saeuron_context *x = opened(NULL, 1);
        CHECK(!saeuron_image_size(x, &o, &W, &H, &e) && W == cases[i].side && H == W, "%s: %zu pixels",
              cases[i].version, W);
        done(x);
    }
}

/* A config saved by Flax (CompVis v1-4) holds few keys; what is absent is diffusers' default. */
static void absent_keys(void)
{
    picture plain;
    tiny_make(&files);
    tiny_edit(&files, "unet/config.json", "\"flip_sin_to_cos\": true,", "");
    tiny_edit(&files, "unet/config.json", "\"act_fn\": \"silu\",", "");
    tiny_edit(&files, "unet/config.json", "\"norm_eps\": 1e-05,", "\"dropout\": 0.0,");
    tiny_edit(&files, "unet/config.json", "UNet2DConditionModel", "FlaxUNet2DConditionModel");
    tiny_edit(&files, "vae/config.json", "AutoencoderKL", "FlaxAutoencoderKL");
    tiny_edit(&files, "vae/config.json", "\"scaling_factor\": 0.5,", ""); /* 0.18215 */
    draw("few keys", &plain);
    tiny_free(&files);
    tiny_make(&files);
    tiny_edit(&files, "vae/config.json", "0.5", "0.18215");
    must_be("few keys", &plain);
    tiny_free(&files);
}

/* What each network takes for absent keys: the defaults of diffusers' and transformers' classes. */
static void defaults(void)
{
    static unet u;
    static vae  v;
    clip t;
    ddim d;
    json empty, blocks;
    saeuron_error e = { 0 };
    static const char nothing[] = "{}", few[] = "{\"block_out_channels\": [64], \"down_block_types\": "
        "[\"DownBlock2D\"], \"up_block_types\": [\"UpBlock2D\"]}";
    static const char encoder[] = "{\"block_out_channels\": [64], \"down_block_types\": "
        "[\"DownEncoderBlock2D\"], \"up_block_types\": [\"UpDecoderBlock2D\"]}";
    CHECK(!json_open(&empty, nothing, strlen(nothing), "empty", &e), "%s", e.text);
    CHECK(!clip_configure(&t, empty, "empty", &e), "%s", e.text);
    CHECK(t.vocab == 49408 && t.positions == 77 && t.D == 512 && t.F == 2048 && t.layers == 12 &&
              t.heads == 8 && t.eps == 1e-5f && t.act == ACT_QUICK_GELU, "CLIPTextConfig()");
    CHECK(!json_open(&blocks, few, strlen(few), "few", &e) && !unet_configure(&u, blocks, "few", &e), "%s",
          e.text);
    CHECK(u.in_channels == 4 && u.out_channels == 4 && u.sample_size == 64 && u.layers == 2 &&
              u.groups == 32 && u.eps == 1e-5f && u.text_width == 1280 && u.flip_sin_to_cos &&
              u.freq_shift == 0 && u.heads[0] == 8, "UNet2DConditionModel()");
    CHECK(!json_open(&blocks, encoder, strlen(encoder), "few", &e) && !vae_configure(&v, blocks, "few", &e),
          "%s", e.text);
    CHECK(v.latent_channels == 4 && v.layers == 1 && v.groups == 32 && v.scaling_factor == 0.18215f &&
              v.quant && v.post_quant && v.mid_attention, "AutoencoderKL()");
    /* DDIMScheduler()'s betas are "linear", which is refused. */
    static const char betas[] = "{\"beta_schedule\": \"scaled_linear\", \"clip_sample\": false}";
    CHECK(!json_open(&blocks, betas, strlen(betas), "betas", &e) && !ddim_configure(&d, blocks, "betas", &e),
          "%s", e.text);
    CHECK(d.train_steps == 1000 && d.set_alpha_to_one && d.steps_offset == 0 && d.spacing == LEADING &&
              d.prediction == PREDICT_EPSILON && fabs((double)d.alphas_cumprod[0] - 0.9999) < 1e-6,
          "DDIMScheduler()");
}

const test_case config_tests[] = {
    { "config_errors", config_errors }, { "no_objects", no_objects }, { "advice", advice },
    { "configs_accepted", configs_accepted }, { "config_keys", config_keys }, { "absent_keys", absent_keys },
    { "defaults", defaults },
    { "old_sample_size", old_sample_size }, { NULL, NULL },
};
