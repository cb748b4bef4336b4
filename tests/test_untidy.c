/* test_untidy.c: model folders as people have them, on the tiny model of tiny.h: older names, other schedulers, keys that only
 * some versions write, half of the files twice. Each must load and draw the very bits of the tidy folder with the same numbers,
 * or be refused in one line that names what is wrong. And images that are not square.
 *
 * Not here: errors in folders that are simply broken (test_model.c), whether the bits are PyTorch's (test_golden.c, live.py).
 * Source of the keys: configs of runwayml/stable-diffusion-v1-5, CompVis/stable-diffusion-v1-4, stabilityai/stable-diffusion-2-1
 * and openai/clip-vit-large-patch14 as they were saved over the years; what diffusers does with each was read there and run. */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "tiny.h"
#include "arithmetic/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNET  "unet/diffusion_pytorch_model.safetensors"
#define VAE   "vae/diffusion_pytorch_model.safetensors"
#define TEXT  "text_encoder/model.safetensors"
#define SCHEDULER "scheduler/scheduler_config.json"
#define STYLES "sae/" TINY_STYLES

/* ---- help ---- */

static tiny files;      /* the folder at hand; each test makes and frees its own */
static tiny_list l;

typedef struct shot { float latents[TINY_LATENT]; unsigned char rgb[TINY_PIXELS]; } shot;

static bool same(const shot *a, const shot *b) { return !memcmp(a, b, sizeof *a); }

/* Opens the folder, forgets a style, draws one image; what fails is the test's failure, told with what. */
static void draw_with(const char *what, shot *s, const char *sae_hook, const char *sae_dir)
{
    static const char *const prompt = "An image of Cats in Sketch style.";
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    const saeuron_host host = tiny_host(&files);
    const saeuron_forget_options forget = { .name = "Sketch", .top = 60 };
    const saeuron_generate_options o = { .prompts = &prompt, .count = 1, .map_steps = 1, .latents = s->latents };
    memset(s, 0, sizeof *s);
    int code = saeuron_open(&x, &host, "tiny", &e);
    if (!code && sae_hook)
        code = saeuron_use_sae(x, sae_hook, sae_dir, NULL, &e);
    if (!code)
        code = saeuron_forget(x, &forget, &e);
    if (!code)
        code = saeuron_generate(x, &o, s->rgb, &e);
    CHECK(!code, "%s: %s", what, e.text);
    saeuron_close(x);
    CHECK(files.live == 0 && files.mapped == 0 && files.torn == 0, "%s: %ld blocks and %ld maps are left", what, files.live, files.mapped);
}

static void draw(const char *what, shot *s) { draw_with(what, s, NULL, NULL); }

/* The tidy folder's image; the folder stays, to be made untidy. */
static void tidy(shot *s)
{
    tiny_make(&files);
    draw("tidy", s);
}

static void must_be(const char *what, const shot *wanted)
{
    shot s;
    draw(what, &s);
    CHECK(same(wanted, &s), "%s changes the picture", what);
}

/* The folder must be refused, in one line that holds words. */
static void refused(const char *what, int wanted, const char *words)
{
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    const saeuron_host host = tiny_host(&files);
    const int code = saeuron_open(&x, &host, "tiny", &e);
    CHECK(code == wanted && !x && test_holds(e.text, words) && !strchr(e.text, '\n'), "%s: code %d (wanted %d), \"%s\" should hold %s", what, code, wanted, e.text, words);
    CHECK(files.live == 0 && files.mapped == 0, "%s: %ld blocks and %ld maps are left", what, files.live, files.mapped);
    saeuron_close(x);
}

static void rename_part(const char *from, const char *to)
{
    size_t found = 0;
    for (size_t i = 0; i < l.count; i++) {
        char rest[160], *at = strstr(l.at[i].name, from);
        if (!at)
            continue;
        snprintf(rest, sizeof rest, "%s", at + strlen(from));
        snprintf(at, sizeof l.at[i].name - (size_t)(at - l.at[i].name), "%s%s", to, rest);
        found++;
    }
    CHECK(found, "no tensor's name holds %s", from);
}

/* l under file's name into the folder, and forgotten. */
static void save(const char *file)
{
    tiny_save(&files, file, &l, 0, l.count, NULL);
    tiny_drop(&l);
}

/* ---- tensors ---- */

/* The VAE's attention before diffusers 0.18, in both shapes it had; a reader that takes 1x1 kernels for another shape fails here. */
static void vae_attention_names(void)
{
    shot plain;
    tidy(&plain);
    for (int as_conv = 0; as_conv < 2; as_conv++) {
        tiny_tensors(&l, "vae");
        rename_part("attentions.0.to_q.", "attentions.0.query.");
        rename_part("attentions.0.to_k.", "attentions.0.key.");
        rename_part("attentions.0.to_v.", "attentions.0.value.");
        rename_part("attentions.0.to_out.0.", "attentions.0.proj_attn.");
        for (size_t i = 0; i < l.count; i++)
            if (as_conv && strstr(l.at[i].name, "attentions.0.") && l.at[i].ndim == 2)
                l.at[i].shape[2] = l.at[i].shape[3] = 1, l.at[i].ndim = 4;
        save(VAE);
        must_be(as_conv ? "the old names as convolutions" : "the old names", &plain);
    }
    tiny_tensors(&l, "vae"); /* under both names: which one is meant? */
    tiny_tensor_add(&l, "decoder.mid_block.attentions.0.query.weight", DT_F32, 2, (size_t[]){ 16, 16 });
    save(VAE);
    refused("both names", SAEURON_EFORMAT, "attentions.0.query.weight|unknown");
    tiny_free(&files);
}

/* The buffer of positions, with and without text_model; nowhere else may such a name pass. */
static void position_ids(void)
{
    shot plain;
    tidy(&plain);
    for (int deep = 1; deep >= 0; deep--) {
        tiny_tensors(&l, "text_encoder");
        if (!deep)
            rename_part("text_model.", "");
        tiny_tensor_add(&l, deep ? "text_model.embeddings.position_ids" : "embeddings.position_ids", DT_I64, 2, (size_t[]){ 1, 16 });
        save(TEXT);
        must_be(deep ? "position_ids" : "position_ids without text_model", &plain);
    }
    tiny_tensors(&l, "vae");
    tiny_tensor_add(&l, "decoder.position_ids", DT_I64, 1, (size_t[]){ 4 });
    save(VAE);
    refused("position_ids of a VAE", SAEURON_EFORMAT, VAE "|decoder.position_ids|unknown");
    tiny_free(&files);
}

/* Files of a whole CLIPModel (OpenAI's own folder): its text half is used, under its nested config; the rest is passed over by name. */
static void whole_clip(void)
{
    static const char nested[] =
        "{\"architectures\": [\"CLIPModel\"], \"initializer_factor\": 1.0, \"logit_scale_init_value\": 2.6592, \"model_type\": \"clip\", \"projection_dim\": 16,\n"
        " \"text_config\": {\"_name_or_path\": \"\", \"add_cross_attention\": false, \"architectures\": null, \"attention_dropout\": 0.0, \"bad_words_ids\": null,\n"
        "  \"bos_token_id\": 0, \"chunk_size_feed_forward\": 0, \"cross_attention_hidden_size\": null, \"decoder_start_token_id\": null, \"diversity_penalty\": 0.0,\n"
        "  \"do_sample\": false, \"dropout\": 0.0, \"early_stopping\": false, \"encoder_no_repeat_ngram_size\": 0, \"eos_token_id\": 2, \"finetuning_task\": null,\n"
        "  \"forced_bos_token_id\": null, \"forced_eos_token_id\": null, \"hidden_act\": \"quick_gelu\", \"hidden_size\": 16, \"id2label\": {\"0\": \"LABEL_0\"},\n"
        "  \"initializer_factor\": 1.0, \"initializer_range\": 0.02, \"intermediate_size\": 32, \"is_decoder\": false, \"is_encoder_decoder\": false,\n"
        "  \"label2id\": {\"LABEL_0\": 0}, \"layer_norm_eps\": 1e-05, \"length_penalty\": 1.0, \"max_length\": 20, \"max_position_embeddings\": 16, \"min_length\": 0,\n"
        "  \"model_type\": \"clip_text_model\", \"no_repeat_ngram_size\": 0, \"num_attention_heads\": 2, \"num_beam_groups\": 1, \"num_beams\": 1,\n"
        "  \"num_hidden_layers\": 2, \"num_return_sequences\": 1, \"output_attentions\": false, \"output_hidden_states\": false, \"output_scores\": false,\n"
        "  \"pad_token_id\": 1, \"prefix\": null, \"problem_type\": null, \"projection_dim\": 16, \"pruned_heads\": {}, \"remove_invalid_values\": false,\n"
        "  \"repetition_penalty\": 1.0, \"return_dict\": true, \"return_dict_in_generate\": false, \"sep_token_id\": null, \"task_specific_params\": null,\n"
        "  \"temperature\": 1.0, \"tie_encoder_decoder\": false, \"tie_word_embeddings\": true, \"tokenizer_class\": null, \"top_k\": 50, \"top_p\": 1.0,\n"
        "  \"torch_dtype\": null, \"torchscript\": false, \"transformers_version\": \"4.16.0.dev0\", \"use_bfloat16\": false, \"vocab_size\": 525},\n"
        " \"text_config_dict\": null, \"torch_dtype\": \"float32\", \"transformers_version\": null, \"vision_config\": {\"hidden_size\": 9}, \"vision_config_dict\": null}\n";
    shot plain;
    tidy(&plain);
    tiny_text(&files, "text_encoder/config.json", nested);
    tiny_tensors(&l, "text_encoder");
    tiny_tensor_add(&l, "vision_model.embeddings.class_embedding", DT_F32, 1, (size_t[]){ 4 });
    tiny_tensor_add(&l, "vision_model.embeddings.position_ids", DT_I64, 2, (size_t[]){ 1, 5 });
    tiny_tensor_add(&l, "visual_projection.weight", DT_F16, 2, (size_t[]){ 2, 4 });
    tiny_tensor_add(&l, "text_projection.weight", DT_F16, 2, (size_t[]){ 2, 4 });
    tiny_tensor_add(&l, "logit_scale", DT_F32, 0, (size_t[]){ 1 });
    save(TEXT);
    must_be("a whole CLIPModel", &plain);
    tiny_edit(&files, "text_encoder/config.json", "\"pruned_heads\": {}", "\"pruned_heads\": {\"0\": [1]}");
    refused("pruned heads", SAEURON_EFORMAT, "text_encoder/config.json|pruned_heads");
    tiny_text(&files, "text_encoder/config.json", nested);
    tiny_edit(&files, "text_encoder/config.json", "\"text_config_dict\": null", "\"text_config_dict\": {\"hidden_size\": 32}");
    refused("two text configs", SAEURON_EFORMAT, "text_config_dict");
    tiny_text(&files, "text_encoder/config.json", nested);
    tiny_edit(&files, "text_encoder/config.json", "{", "{\"text_depth\": 2, ");
    refused("an unknown key beside text_config", SAEURON_EFORMAT, "text_depth|unknown");
    tiny_text(&files, "text_encoder/config.json", "{\"text_config\": []}");
    refused("a list for a config", SAEURON_EFORMAT, "text_config|object");
    tiny_free(&files);
}

/* ---- schedulers ---- */

#define BETAS "\"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\", \"beta_start\": 0.00085, \"num_train_timesteps\": 1000"

/* What DDIMScheduler.from_config makes of a saved scheduler, written out in full. */
static void as_ddim(const char *what, shot *s, int offset, bool to_one, const char *prediction)
{
    char text[512];
    snprintf(text, sizeof text, "{\"_class_name\": \"DDIMScheduler\", " BETAS ", \"clip_sample\": false, \"prediction_type\": \"%s\", \"rescale_betas_zero_snr\": false, "
             "\"set_alpha_to_one\": %s, %s\"thresholding\": false, \"timestep_spacing\": \"leading\", \"trained_betas\": null}",
             prediction, to_one ? "true" : "false", offset ? "\"steps_offset\": 1, " : "");
    tiny_text(&files, SCHEDULER, text);
    draw(what, s);
}

/* Schedulers as they were saved, and what DDIM makes of them. offset: of the timesteps; a key that is absent is not forced
 * by the pipeline (StableDiffusionPipeline sets it, from_config then drops what was no key of the file). */
static void schedulers(void)
{
    static const struct { const char *text; int offset; bool to_one, v; } cases[] = {
        /* SD 1.5 */
        { "\"_class_name\": \"PNDMScheduler\", \"_diffusers_version\": \"0.6.0\", " BETAS ", \"set_alpha_to_one\": false, \"skip_prk_steps\": true, \"steps_offset\": 1, \"trained_betas\": null, \"clip_sample\": false", 1, false, false },
        { "\"_class_name\": \"PNDMScheduler\", " BETAS ", \"clip_sample\": false, \"clip_sample_range\": 1.0, \"dynamic_thresholding_ratio\": 0.995, \"prediction_type\": \"epsilon\", "
          "\"sample_max_value\": 1.0, \"set_alpha_to_one\": false, \"skip_prk_steps\": true, \"steps_offset\": 1, \"thresholding\": false, \"trained_betas\": null", 1, false, false },
        /* SD 2.1, saved by Flax, loaded as DDIM; and 2.1-base */
        { "\"_class_name\": \"FlaxDDIMScheduler\", " BETAS ", \"clip_sample\": false, \"prediction_type\": \"v_prediction\", \"set_alpha_to_one\": false, \"skip_prk_steps\": true, \"steps_offset\": 1, \"trained_betas\": null", 1, false, true },
        { "\"_class_name\": \"EulerDiscreteScheduler\", " BETAS ", \"clip_sample\": false, \"interpolation_type\": \"linear\", \"prediction_type\": \"epsilon\", \"sample_max_value\": 1.0, "
          "\"set_alpha_to_one\": false, \"skip_prk_steps\": true, \"steps_offset\": 1, \"timestep_spacing\": \"leading\", \"trained_betas\": null, \"use_karras_sigmas\": true", 1, false, false },
        /* fine-tuned and re-saved */
        { "\"_class_name\": \"LMSDiscreteScheduler\", " BETAS ", \"clip_sample\": false, \"set_alpha_to_one\": false, \"timestep_values\": null, \"tensor_format\": \"pt\", \"trained_betas\": null", 0, false, false },
        { "\"_class_name\": \"PNDMScheduler\", " BETAS ", \"clip_sample\": false, \"skip_prk_steps\": true, \"trained_betas\": null", 0, true, false },
        { "\"_class_name\": \"DDPMScheduler\", " BETAS ", \"clip_sample\": true, \"variance_type\": \"fixed_small\", \"steps_offset\": 0", 1, true, false },
        { "\"_class_name\": \"DPMSolverMultistepScheduler\", " BETAS ", \"algorithm_type\": \"dpmsolver++\", \"clip_sample\": false, \"dynamic_thresholding_ratio\": 0.995, \"euler_at_final\": false, "
          "\"final_sigmas_type\": \"zero\", \"flow_shift\": 1.0, \"lower_order_final\": true, \"solver_order\": 2, \"solver_type\": \"midpoint\", "
          "\"steps_offset\": 1, \"thresholding\": false, \"use_lu_lambdas\": false, \"use_flow_sigmas\": false, \"variance_type\": null", 1, true, false },
        { "\"_class_name\": \"UniPCMultistepScheduler\", " BETAS ", \"clip_sample\": false, \"disable_corrector\": [], \"predict_x0\": true, \"solver_p\": null, \"solver_type\": \"bh2\", "
          "\"use_beta_sigmas\": false, \"use_exponential_sigmas\": false, \"set_alpha_to_one\": false, \"steps_offset\": 1", 1, false, false },
    };
    static char text[1024];
    shot wanted, plain;
    tiny_make(&files);
    as_ddim("DDIM", &plain, 1, false, "epsilon");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        as_ddim("DDIM in full", &wanted, cases[i].offset, cases[i].to_one, cases[i].v ? "v_prediction" : "epsilon");
        CHECK(same(&wanted, &plain) == (cases[i].offset && !cases[i].to_one && !cases[i].v), "case %zu draws what another schedule draws", i);
        snprintf(text, sizeof text, "{%s}", cases[i].text);
        tiny_text(&files, SCHEDULER, text);
        must_be(text, &wanted);
    }
    tiny_free(&files);
}

/* Statistics made under another offset are of other timesteps, in as many steps: the message must not ask for the same number. */
static void offset_of_statistics(void)
{
    static const char *const prompt = "cat";
    static unsigned char rgb[TINY_PIXELS];
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    tiny_make(&files);
    tiny_edit(&files, SCHEDULER, "\"steps_offset\": 1,", "");
    const saeuron_host host = tiny_host(&files);
    const saeuron_forget_options forget = { .name = "Sketch" };
    saeuron_generate_options o = { .prompts = &prompt, .count = 1 };
    int code = saeuron_open(&x, &host, "tiny", &e);
    code = code ? code : saeuron_forget(x, &forget, &e);
    code = code ? code : saeuron_generate(x, &o, rgb, &e);
    CHECK(code == SAEURON_EUSAGE && test_holds(e.text, TINY_STYLES "|timestep 751 at step 0|750|steps_offset|map_steps"), "%s", e.text);
    o.map_steps = 1;
    CHECK(x && saeuron_generate(x, &o, rgb, &e) == SAEURON_OK, "%s", e.text);
    saeuron_close(x);
    tiny_free(&files);
}

/* Models that DDIM cannot sample, and settings that would clip, are refused by name. */
static void schedulers_refused(void)
{
    static const struct { const char *text, *words; } cases[] = {
        { "\"_class_name\": \"FlowMatchEulerDiscreteScheduler\", \"num_train_timesteps\": 1000, \"shift\": 3.0, \"use_dynamic_shifting\": false", "FlowMatchEulerDiscreteScheduler" },
        { "\"_class_name\": \"LCMScheduler\", " BETAS ", \"clip_sample\": false, \"original_inference_steps\": 50", "LCMScheduler" },
        { "\"_class_name\": \"DDIMSchedulers\", " BETAS ", \"clip_sample\": false", "DDIMSchedulers" },
        { "\"_class_name\": [\"mine\", \"DDIMScheduler\"], " BETAS ", \"clip_sample\": false", "_class_name" },
        { "\"_class_name\": \"UniPCMultistepScheduler\", " BETAS ", \"clip_sample\": false, \"use_flow_sigmas\": true", "use_flow_sigmas" },
        { "\"_class_name\": \"UniPCMultistepScheduler\", " BETAS ", \"clip_sample\": false, \"prediction_type\": \"flow_prediction\"", "prediction_type|flow_prediction" },
        { "\"_class_name\": \"EulerDiscreteScheduler\", " BETAS ", \"clip_sample\": false, \"timestep_spacing\": \"linspace\"", "timestep_spacing" },
        { "\"_class_name\": \"DDIMScheduler\", " BETAS ", \"clip_sample\": false, \"prediction_type\": \"v_prediction\", \"trained_betas\": [0.1, 0.2]", "trained_betas" },
        { "\"_class_name\": \"DDIMScheduler\", " BETAS ", \"clip_sample\": false, \"prediction_type\": \"v_prediction\", \"rescale_betas_zero_snr\": true", "rescale_betas_zero_snr" },
        { "\"_class_name\": \"DPMSolverMultistepScheduler\", " BETAS ", \"clip_sample\": false, \"thresholding\": true", "thresholding" },
        { "\"_class_name\": \"PNDMScheduler\", " BETAS ", \"set_alpha_to_one\": false, \"skip_prk_steps\": true, \"steps_offset\": 1", "PNDMScheduler|clip_sample" }, /* CompVis v1-4, first saved */
        { "\"_class_name\": \"DDIMScheduler\", " BETAS ", \"steps_offset\": 1", "DDIMScheduler|clip_sample" },
        { "\"_class_name\": \"DDIMScheduler\", " BETAS ", \"clip_sample\": 0", "clip_sample" },
        { "\"_class_name\": \"PNDMScheduler\", " BETAS ", \"clip_sample\": false, \"steps_offset\": 2", "steps_offset" },
        { "\"_class_name\": \"PNDMScheduler\", " BETAS ", \"clip_sample\": false, \"skip_prk_stepz\": true", "skip_prk_stepz|unknown" },
        { "\"_class_name\": \"PNDMScheduler\", \"num_train_timesteps\": 1000, \"clip_sample\": false", "beta_schedule" },
        { "\"_class_name\": \"DPMSolverMultistepScheduler\", " BETAS ", \"clip_sample\": false, \"lambda_min_clipped\": -Infinity", "line 1" }, /* Python's, no JSON */
    };
    char text[512], words[128];
    tiny_make(&files);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "{%s}", cases[i].text);
        snprintf(words, sizeof words, SCHEDULER "|%s", cases[i].words);
        tiny_text(&files, SCHEDULER, text);
        refused(text, SAEURON_EFORMAT, words);
    }
    tiny_free(&files);
}

/* ---- configs ---- */

/* Keys that some version wrote and whose value here changes nothing; and the same keys where it would. */
static void config_keys(void)
{
    static const char u[] = "unet/config.json", v[] = "vae/config.json", t[] = "text_encoder/config.json";
    static const struct { const char *file, *keys; } harmless[] = {
        { u, "\"_class_name2\": \"x\", \"_diffusers_version\": \"0.17.0.dev0\", \"_name_or_path\": \"./unet\", \"addition_embed_type\": null, \"addition_embed_type_num_heads\": 64, "
             "\"addition_time_embed_dim\": null, \"attention_type\": \"default\", \"center_input_sample\": false, \"class_embed_type\": null, \"class_embeddings_concat\": false, "
             "\"conv_in_kernel\": 3, \"conv_out_kernel\": 3, \"cross_attention_norm\": null, \"downsample_padding\": 1, \"dropout\": 0.1, \"dual_cross_attention\": false, "
             "\"encoder_hid_dim\": null, \"encoder_hid_dim_type\": null, \"mid_block_only_cross_attention\": null, \"mid_block_scale_factor\": 1, \"mid_block_type\": \"UNetMidBlock2DCrossAttn\", "
             "\"num_attention_heads\": null, \"num_class_embeds\": null, \"only_cross_attention\": false, \"projection_class_embeddings_input_dim\": null, \"resnet_out_scale_factor\": 1.0, "
             "\"resnet_skip_time_act\": false, \"resnet_time_scale_shift\": \"default\", \"reverse_transformer_layers_per_block\": null, \"time_cond_proj_dim\": null, "
             "\"time_embedding_act_fn\": null, \"time_embedding_dim\": null, \"time_embedding_type\": \"positional\", \"timestep_post_act\": null, \"transformer_layers_per_block\": 1, "
             "\"upcast_attention\": true, \"use_linear_projection\": false, " },
        { u, "\"mid_block_only_cross_attention\": false, \"torch_dtype\": \"float16\", " },
        { v, "\"_diffusers_version\": \"0.6.0\", \"down_block_types\": [\"DownEncoderBlock2D\", \"DownEncoderBlock2D\"], \"in_channels\": 3, \"out_channels\": 3, \"sample_size\": 512, "
             "\"force_upcast\": true, \"latents_mean\": null, \"latents_std\": null, \"mid_block_add_attention\": true, \"shift_factor\": null, \"use_post_quant_conv\": true, \"use_quant_conv\": true, " },
        { t, "\"_name_or_path\": \"openai/clip-vit-large-patch14\", \"attention_dropout\": 0.0, \"bos_token_id\": 0, \"dropout\": 0.0, \"eos_token_id\": 2, \"initializer_factor\": 1.0, "
             "\"initializer_range\": 0.02, \"layer_norm_eps\": 1e-05, \"model_type\": \"clip_text_model\", \"pad_token_id\": 1, \"projection_dim\": 768, \"torch_dtype\": \"float32\", "
             "\"transformers_version\": \"4.23.1\", " },
        { t, "\"dtype\": \"float16\", \"output_attentions\": false, \"output_hidden_states\": false, \"return_dict\": true, \"chunk_size_feed_forward\": 0, \"is_encoder_decoder\": false, "
             "\"id2label\": {\"0\": \"LABEL_0\"}, \"label2id\": {\"LABEL_0\": 0}, \"problem_type\": null, \"pruned_heads\": {}, " },
    };
    static const struct { const char *file, *keys, *words; } harmful[] = {
        { u, "\"mid_block_only_cross_attention\": true, ", "mid_block_only_cross_attention" }, { u, "\"only_cross_attention\": true, ", "only_cross_attention" },
        { u, "\"encoder_hid_dim_type\": \"text_proj\", ", "encoder_hid_dim_type" }, { u, "\"time_cond_proj_dim\": 256, ", "time_cond_proj_dim" },
        { u, "\"resnet_time_scale_shift\": \"scale_shift\", ", "resnet_time_scale_shift" }, { u, "\"addition_embed_type\": \"text_time\", ", "addition_embed_type" },
        { u, "\"dual_cross_attention\": true, ", "dual_cross_attention" }, { u, "\"quantization_config\": {}, ", "quantization_config|unknown" },
        { v, "\"latents_mean\": [0.1, 0, 0, 0], ", "latents_mean" }, { v, "\"latents_std\": [1, 1, 1, 2], ", "latents_std" }, { v, "\"vq_embed_dim\": 4, ", "vq_embed_dim|unknown" },
        { t, "\"pruned_heads\": {\"1\": [0]}, ", "pruned_heads" }, { t, "\"position_embedding_type\": \"rope\", ", "position_embedding_type|unknown" },
    };
    char keys[2048], words[160];
    shot plain;
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
        snprintf(words, sizeof words, "%s|%.*s", harmful[i].file, (int)strcspn(harmful[i].words, "|"), harmful[i].words);
        tiny_edit(&files, harmful[i].file, "{", keys);
        refused(harmful[i].keys, SAEURON_EFORMAT, words);
        tiny_free(&files);
    }
}

/* A config saved by Flax (CompVis v1-4) holds few keys; what is absent is diffusers' default. */
static void absent_keys(void)
{
    shot plain;
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

/* ---- the folder ---- */

/* What lies beside the networks is not read: the pipeline's index with its safety checker, which SAeUron's authors switch off. */
static void beside_the_networks(void)
{
    static const char *const index[] = {
        "{\"_class_name\": \"StableDiffusionPipeline\", \"feature_extractor\": [\"transformers\", \"CLIPFeatureExtractor\"], \"requires_safety_checker\": true, "
        "\"safety_checker\": [\"stable_diffusion\", \"StableDiffusionSafetyChecker\"], \"scheduler\": [\"diffusers\", \"PNDMScheduler\"]}",
        "{\"feature_extractor\": [null, null], \"image_encoder\": [null, null], \"requires_safety_checker\": false, \"safety_checker\": [null, null]}",
    };
    shot plain;
    tidy(&plain);
    tiny_text(&files, "safety_checker/config.json", "{\"model_type\": \"clip\"}");
    tiny_text(&files, "safety_checker/model.safetensors", "not looked at");
    tiny_text(&files, "feature_extractor/preprocessor_config.json", "{\"crop_size\": 224}");
    tiny_text(&files, "v1-5-pruned.ckpt", "\x80\x02");
    for (size_t i = 0; i < 2; i++) {
        tiny_text(&files, "model_index.json", index[i]);
        must_be(index[i], &plain);
    }
    tiny_free(&files);
}

/* The file of a network under another name: NAME for its .safetensors ending; a stray twin would show in the picture. */
static void save_as(const char *network, const char *file, dtype type, float nudge)
{
    tiny_tensors(&l, network);
    for (size_t i = 0; i < l.count; i++) {
        l.at[i].type = type;
        if (l.at[i].ndim == 1)
            l.at[i].values[0] += nudge;
    }
    save(file);
}

/* network's tensors as two shards and their index. */
static void save_shards(const char *network, const char *index, const char *shard, float nudge)
{
    char name[160];
    static char text[65536];
    size_t at = (size_t)sprintf(text, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    tiny_tensors(&l, network);
    const size_t half = l.count / 2;
    for (size_t i = 0; i < l.count; i++) {
        if (l.at[i].ndim == 1)
            l.at[i].values[0] += nudge;
        at += (size_t)snprintf(text + at, sizeof text - at, "%s\"%s\": \"%s-0000%d-of-00002.safetensors\"", i ? ", " : "", l.at[i].name, shard, i < half ? 1 : 2);
    }
    snprintf(text + at, sizeof text - at, "}}");
    for (int n = 1; n <= 2; n++) {
        snprintf(name, sizeof name, "%s/%s-0000%d-of-00002.safetensors", network, shard, n);
        tiny_save(&files, name, &l, n == 1 ? 0 : half, n == 1 ? half : l.count, NULL);
    }
    tiny_drop(&l);
    snprintf(name, sizeof name, "%s/%s", network, index);
    tiny_text(&files, name, text);
}

/* Of several files for one network the one is taken that diffusers takes without a variant. The others hold other numbers. */
static void which_file(void)
{
    shot plain, other;
    tidy(&plain);
    save_as("unet", "unet/diffusion_pytorch_model.fp16.safetensors", DT_F16, 0.5f);
    save_as("unet", "unet/diffusion_pytorch_model.non_ema.safetensors", DT_F32, 0.5f);
    save_as("vae", "vae/diffusion_pytorch_model.fp16.safetensors", DT_F16, 0.5f);
    save_as("text_encoder", "text_encoder/model.fp16.safetensors", DT_F16, 0.5f);
    tiny_text(&files, "unet/diffusion_pytorch_model.bin", "\x80\x02");
    tiny_text(&files, "text_encoder/pytorch_model.bin", "\x80\x02");
    must_be("twins under variants' names", &plain);
    tiny_set(&files, UNET, NULL, 0);
    draw("the fp16 twin alone", &other);
    CHECK(!same(&plain, &other), "the twin is not read even when it is alone: this test sees nothing");
    tiny_free(&files);

    tiny_make(&files); /* diffusers takes the index before the whole file, transformers the whole file before the index */
    save_shards("unet", "diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model", 0);
    save_as("unet", UNET, DT_F32, 0.5f);
    save_shards("text_encoder", "model.safetensors.index.json", "model", 0.5f);
    must_be("an index and a whole file", &plain);
    tiny_set(&files, TEXT, NULL, 0);
    draw("the index alone", &other);
    CHECK(!same(&plain, &other), "the index is not read even when it is alone: this test sees nothing");
    tiny_free(&files);
}

/* Shards of a variant under the two spellings that diffusers has had, and transformers'. */
static void variant_shards(void)
{
    static const char *const indices[] = { "diffusion_pytorch_model.safetensors.index.fp16.json", "diffusion_pytorch_model.fp16.safetensors.index.json",
                                           "diffusion_pytorch_model.safetensors.fp16.index.json" };
    shot plain;
    tidy(&plain);
    tiny_free(&files);
    for (size_t i = 0; i < 3; i++) {
        tiny_make(&files);
        tiny_set(&files, UNET, NULL, 0);
        tiny_set(&files, TEXT, NULL, 0);
        save_shards("unet", indices[i], "diffusion_pytorch_model.fp16", 0);
        save_shards("text_encoder", "model.safetensors.index.fp16.json", "model.fp16", 0);
        must_be(indices[i], &plain);
        tiny_free(&files);
    }
}

/* Weights that are there in a form not read: the message says which file, and what to do. */
static void weights_not_read(void)
{
    static const struct { const char *gone, *there, *words; } cases[] = {
        { UNET, "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.bin|pickle|docs/convert.py" },
        { UNET, "unet/diffusion_pytorch_model.fp16.bin", "fp16.bin|pickle|docs/convert.py" },
        { UNET, "unet/diffusion_pytorch_model.bin.index.json", "bin.index.json|pickle|docs/convert.py" },
        { UNET, "unet/diffusion_pytorch_model.non_ema.safetensors", "non_ema|rename" },
        { VAE, "vae/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.bin|docs/convert.py" },
        { TEXT, "text_encoder/pytorch_model.bin", "text_encoder/pytorch_model.bin|pickle|docs/convert.py" },
        { TEXT, "text_encoder/pytorch_model.fp16.bin", "pytorch_model.fp16.bin|docs/convert.py" },
        { TEXT, "text_encoder/flax_model.msgpack", "model.safetensors|diffusers folder" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_make(&files);
        tiny_set(&files, cases[i].gone, NULL, 0);
        tiny_text(&files, cases[i].there, "\x80\x02");
        refused(cases[i].there, SAEURON_ENOENT, cases[i].words);
        tiny_free(&files);
    }
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    tiny_make(&files);
    tiny_text(&files, "sd-v1-4.ckpt", "\x80\x02");
    const saeuron_host host = tiny_host(&files);
    CHECK(saeuron_open(&x, &host, "tiny/sd-v1-4.ckpt", &e) == SAEURON_EFORMAT && test_holds(e.text, "sd-v1-4.ckpt|one file|docs/convert.py"), "%s", e.text);
    saeuron_close(x);
    tiny_free(&files);
}

/* Moves a folder of the table. */
static void move_folder(const char *from, const char *to)
{
    size_t moved = 0;
    for (size_t i = 0; i < files.count; i++) {
        char *name = files.file[i].path + 5, rest[160];
        if (strncmp(name, from, strlen(from)) || name[strlen(from)] != '/')
            continue;
        snprintf(rest, sizeof rest, "%s", name + strlen(from));
        snprintf(name, sizeof files.file[i].path - 5, "%s%.80s", to, rest);
        moved++;
    }
    CHECK(moved, "there is no %s", from);
}

/* The released SAEs: folders whose names begin with "unet.", and every key their cfg.json has. */
static void released_saes(void)
{
    static const char released[] = "{\"expansion_factor\": 4, \"normalize_decoder\": true, \"num_latents\": 0, \"k\": 8, \"batch_topk\": true, \"sample_topk\": false, "
                                   "\"input_unit_norm\": false, \"multi_topk\": false, \"d_in\": 32}";
    static const struct { const char *keys, *words; } harmful[] = {
        { "\"input_unit_norm\": true", "input_unit_norm" }, { "\"sample_topk\": true", "sample_topk" }, { "\"d_in\": 64", "d_in" }, { "\"transcode\": true", "transcode" },
        { "\"jumprelu\": true", "jumprelu" },
    };
    shot plain, s;
    saeuron_error e = { 0 };
    tidy(&plain);
    tiny_text(&files, STYLES "/cfg.json", released);
    must_be("the released cfg.json", &plain);
    move_folder(STYLES, "sae/unet." TINY_STYLES);
    must_be("a folder that begins with unet.", &plain);
    tiny_text(&files, STYLES "/README.md", "a folder without an SAE"); /* does not hide the other */
    must_be("an empty folder beside it", &plain);
    move_folder("sae/unet." TINY_STYLES, "elsewhere");
    draw_with("--sae unet.HOOK=DIR", &s, "unet." TINY_STYLES, "tiny/elsewhere");
    CHECK(same(&plain, &s), "--sae unet.HOOK=DIR changes the picture");
    move_folder("elsewhere", STYLES);
    for (size_t i = 0; i < sizeof harmful / sizeof *harmful; i++) {
        char text[128];
        saeuron_context *x = NULL;
        const saeuron_host host = tiny_host(&files);
        const saeuron_forget_options forget = { .name = "Sketch" };
        snprintf(text, sizeof text, "{\"expansion_factor\": 4, \"k\": 8, %s}", harmful[i].keys);
        tiny_text(&files, STYLES "/cfg.json", text);
        int code = saeuron_open(&x, &host, "tiny", &e);
        code = code ? code : saeuron_forget(x, &forget, &e);
        CHECK(code == SAEURON_EFORMAT && test_holds(e.text, "cfg.json") && test_holds(e.text, harmful[i].words), "%s: %s", harmful[i].keys, e.text);
        saeuron_close(x);
    }
    tiny_free(&files);
}

/* The released SAE lies in the model under its own name, its statistics elsewhere: `--stats FILE` alone finds it. */
static void stats_alone(void)
{
    static const char *const prompt = "An image of Cats in Sketch style.";
    shot plain, s = { 0 };
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    tidy(&plain);
    move_folder(STYLES, "sae/unet." TINY_STYLES);
    tiny_file *f = tiny_find(&files, "sae/unet." TINY_STYLES "/stats.safetensors");
    tiny_set(&files, "made/stats.safetensors", f->bytes, f->size);
    tiny_set(&files, "sae/unet." TINY_STYLES "/stats.safetensors", NULL, 0);
    const saeuron_host host = tiny_host(&files);
    const saeuron_forget_options forget = { .name = "Sketch", .top = 60 };
    const saeuron_generate_options o = { .prompts = &prompt, .count = 1, .latents = s.latents };
    int code = saeuron_open(&x, &host, "tiny", &e);
    code = code ? code : saeuron_use_sae(x, "unet." TINY_STYLES, NULL, "tiny/made/stats.safetensors", &e);
    code = code ? code : saeuron_forget(x, &forget, &e);
    code = code ? code : saeuron_generate(x, &o, s.rgb, &e);
    CHECK(!code && same(&plain, &s), "statistics beside a released SAE: %s", e.text);
    saeuron_close(x);
    tiny_free(&files);
}

/* The tokenizer files of SD 1.5, whose tokens are objects, and which say what the vocabulary says anyway. */
static void tokenizer_files(void)
{
    static const char token[] = "{\"__type\": \"AddedToken\", \"content\": \"%s\", \"lstrip\": false, \"normalized\": true, \"rstrip\": false, \"single_word\": false}";
    char text[2048], start[256], end[256];
    shot plain;
    tidy(&plain);
    snprintf(start, sizeof start, token, "<|startoftext|>");
    snprintf(end, sizeof end, token, "<|endoftext|>");
    snprintf(text, sizeof text, "{\"add_prefix_space\": false, \"bos_token\": %s, \"do_lower_case\": true, \"eos_token\": %s, \"errors\": \"replace\", \"model_max_length\": 16, "
             "\"name_or_path\": \"openai/clip-vit-large-patch14\", \"pad_token\": \"<|endoftext|>\", \"special_tokens_map_file\": \"./special_tokens_map.json\", "
             "\"tokenizer_class\": \"CLIPTokenizer\", \"unk_token\": %s}", start, end, end);
    tiny_text(&files, "tokenizer/tokenizer_config.json", text);
    snprintf(text, sizeof text, "{\"bos_token\": %s, \"eos_token\": %s, \"pad_token\": \"<|endoftext|>\", \"unk_token\": %s}",
             "{\"content\": \"<|startoftext|>\", \"lstrip\": false, \"normalized\": true, \"rstrip\": false, \"single_word\": false}",
             "{\"content\": \"<|endoftext|>\", \"lstrip\": false, \"normalized\": true, \"rstrip\": false, \"single_word\": false}",
             "{\"content\": \"<|endoftext|>\", \"lstrip\": false, \"normalized\": true, \"rstrip\": false, \"single_word\": false}");
    tiny_text(&files, "tokenizer/special_tokens_map.json", text);
    must_be("SD 1.5's tokenizer files", &plain);
    tiny_free(&files);
}

/* ---- images that are not square ---- */

#define WIDE   80                       /* latents 24 x 40, at the hooks 12 x 20 */
#define LOW    48
#define COUNT  3
#define VALUES (4 * 24 * 40)

typedef struct view { float latents[COUNT * VALUES]; unsigned char rgb[COUNT * LOW * WIDE * 3]; } view;

static const char *const prompts[COUNT] = { "An image of Cats in Sketch style.", "dog", "the sea" };

static int see_shapes(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    size_t *seen = user;
    (void)step, (void)first, (void)values;
    if (!strcmp(name, "unet." TINY_STYLES))
        seen[0] += shape[1] == 12 && shape[2] == 20 && kind == SAEURON_TAP_IMAGE;
    else if (!strcmp(name, "unet.conv_out"))
        seen[1] += shape[1] == 24 && shape[2] == 40;
    else if (!strcmp(name, "vae.decoder.conv_out"))
        seen[2] += shape[1] == LOW && shape[2] == WIDE;
    else if (!strcmp(name, "unet." TINY_STYLES ".transformer_blocks.0.attn1"))
        seen[3] += shape[1] == 12 * 20 && shape[2] == 1;
    return 0;
}

/* Opens the tiny model with both a style and an object forgotten, and draws o at LOW x WIDE. */
static void view_with(int threads, saeuron_generate_options o, view *v)
{
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    saeuron_host host = tiny_host(&files);
    const saeuron_forget_options style = { .name = "Sketch" }, object = { .name = "Cats" };
    host.threads = threads;
    memset(v, 0, sizeof *v);
    o.prompts = o.prompts ? o.prompts : prompts;
    o.count = o.count ? o.count : COUNT;
    o.steps = 2;
    o.map_steps = 1;
    o.height = LOW;
    o.width = WIDE;
    o.latents = v->latents;
    int code = saeuron_open(&x, &host, "tiny", &e);
    code = code ? code : saeuron_forget(x, &style, &e);
    code = code ? code : saeuron_forget(x, &object, &e);
    code = code ? code : saeuron_generate(x, &o, v->rgb, &e);
    CHECK(!code, "%s", e.text);
    saeuron_close(x);
}

/* Height taken for width, rows for columns, or a plan made for a square shows in some bit or shape. */
static void not_square(void)
{
    static view one, many;
    static float noise[COUNT * VALUES];
    size_t seen[4] = { 0 };
    tiny_make(&files);
    view_with(1, (saeuron_generate_options){ .seed = 3, .batch = 1 }, &one);
    for (int threads = 1; threads <= 3; threads++) {
        const size_t batch = threads == 2 ? 3 : 2;
        view_with(threads, (saeuron_generate_options){ .seed = 3, .batch = batch }, &many);
        CHECK(!memcmp(&one, &many, sizeof one), "%d threads, batches of %zu draw other bits", threads, batch);
    }
    view_with(1, (saeuron_generate_options){ .seed = 3, .noise_index = 2, .prompts = prompts + 2, .count = 1, .tap = see_shapes, .tap_user = seen }, &many);
    CHECK(!memcmp(one.latents + 2 * VALUES, many.latents, VALUES * sizeof(float)), "image 2 differs when made alone");
    CHECK(seen[0] == 2 && seen[1] == 2 && seen[2] == 1 && seen[3] == 2, "shapes are not height before width: %zu %zu %zu %zu", seen[0], seen[1], seen[2], seen[3]);
    CHECK(rng_randn(noise, 3, COUNT * VALUES, 0, COUNT * VALUES), "randn refused");
    view_with(1, (saeuron_generate_options){ .noise = noise }, &many);
    CHECK(!memcmp(&one, &many, sizeof one), "the same noise, handed in, draws other bits");
    CHECK(files.live == 0 && files.torn == 0, "%ld blocks are left, %ld torn", files.live, files.torn);
    tiny_free(&files);
}

/* Sizes: odd multiples of the least one, one side given alone, and what cannot be. */
static void sides(void)
{
    static const struct { size_t width, height, got_width, got_height; } good[] = {
        { 12, 20, 12, 20 }, { 20, 12, 20, 12 }, { 4, 36, 4, 36 }, { 0, 24, 16, 24 }, { 24, 0, 24, 16 }, { 8, 8, 8, 8 }, { 4, 8, 4, 8 },
    };
    static const struct { size_t width, height; const char *words; } bad[] = {
        { 10, 16, "multiples of 4" }, { 16, 18, "multiples of 4" }, { 2, 16, "multiples of 4" }, { 16, 1, "multiples of 4" }, { 8196, 16, "at most 8192" }, { 16, 9000, "at most 8192" },
        { (size_t)-4, 16, "at most 8192" },
    };
    static unsigned char rgb[64 * 64 * 3];
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    tiny_make(&files);
    const saeuron_host host = tiny_host(&files);
    CHECK(saeuron_open(&x, &host, "tiny", &e) == SAEURON_OK, "%s", e.text);
    for (size_t i = 0; x && i < sizeof good / sizeof *good; i++) {
        const saeuron_generate_options o = { .prompts = prompts, .count = 1, .steps = 1, .width = good[i].width, .height = good[i].height };
        size_t W = 0, H = 0;
        CHECK(saeuron_image_size(x, &o, &W, &H, &e) == SAEURON_OK && W == good[i].got_width && H == good[i].got_height, "%zu x %zu is %zu x %zu", good[i].width, good[i].height, W, H);
        CHECK(saeuron_generate(x, &o, rgb, &e) == SAEURON_OK, "%zu x %zu: %s", good[i].width, good[i].height, e.text);
    }
    for (size_t i = 0; x && i < sizeof bad / sizeof *bad; i++) {
        const saeuron_generate_options o = { .prompts = prompts, .count = 1, .steps = 1, .width = bad[i].width, .height = bad[i].height };
        CHECK(saeuron_generate(x, &o, rgb, &e) == SAEURON_EUSAGE && test_holds(e.text, bad[i].words), "%zu x %zu: %s", bad[i].width, bad[i].height, e.text);
    }
    saeuron_close(x);
    CHECK(files.live == 0 && files.torn == 0, "%ld blocks are left, %ld torn", files.live, files.torn);
    tiny_free(&files);
}

const test_case untidy_tests[] = {
    { "vae_attention_names", vae_attention_names }, { "position_ids", position_ids }, { "whole_clip", whole_clip }, { "schedulers", schedulers },
    { "offset_of_statistics", offset_of_statistics }, { "schedulers_refused", schedulers_refused }, { "config_keys", config_keys }, { "absent_keys", absent_keys }, { "beside_the_networks", beside_the_networks },
    { "which_file", which_file }, { "variant_shards", variant_shards }, { "weights_not_read", weights_not_read }, { "released_saes", released_saes },
    { "stats_alone", stats_alone }, { "tokenizer_files", tokenizer_files }, { "not_square", not_square }, { "sides", sides }, { NULL, NULL },
};
