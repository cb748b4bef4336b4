/* test_clip.c: the text encoder: transformers' last_hidden_state in float64, and its files as people have
 * them.
 *
 * Not here: the tokenizer (test_tokenizer.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "goldens.h"
#include "shots.h"
#include "arithmetic/rng.h"
#include "clip.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const saeuron_host host; /* malloc and files */
static saeuron_error err;

typedef struct text_run { clip t; watcher w; size_t B, N; } text_run;

static void run_text(nn *c, void *user)
{
    const text_run *r = user;
    const size_t mark = arena_mark(c->work);
    const tap seen = { watch, (void *)&r->w, true };
    const int32_t *ids = input_ids(c->work, r->B * r->N, r->t.vocab, r->w.network);
    float *y = arena_floats(c->work, r->B * r->N * r->t.D);
    clip_forward(c, &r->t, y, ids, r->B, r->N, &seen);
    if (y)
        check_truth(r->w.g, r->w.network, y, r->B * r->N * r->t.D);
    arena_release(c->work, mark);
}

/* SD 1.5's kind (quick_gelu) and SD 2.x's (gelu); short and full length. */
static void text(void)
{
    static const struct { const char *name; size_t B, N; } cases[] = {
        { "text15", 2, 77 }, { "text2", 3, 20 }
    };
    tensors g;
    if (!golden_open(&g, "text"))
        return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        text_run r = { .w = { &g, cases[i].name }, .B = cases[i].B, .N = cases[i].N };
        io_file f;
        void *memory = NULL;
        const json v = config_open(&f, cases[i].name);
        if (clip_configure(&r.t, v, cases[i].name, &err) ||
            bind_hashed(&host, GOLDEN_SEED, DT_F32, 1, clip_bind, &r.t, &memory, &err))
            CHECK(false, "%s", err.text);
        else
            planned(run_text, &r);
        io_free(&host, memory);
        io_close(&f);
    }
    golden_close(&g);
}

/* The buffer of positions, with and without text_model; nowhere else may such a name pass. */
static void position_ids(void)
{
    static tiny_list l;
    picture plain;
    tidy(&plain);
    for (int deep = 1; deep >= 0; deep--) {
        tiny_tensors(&l, "text_encoder");
        if (!deep)
            rename_part(&l, "text_model.", "");
        tiny_tensor_add(&l, deep ? "text_model.embeddings.position_ids" : "embeddings.position_ids", DT_I64,
                        2, (size_t[]){ 1, 16 });
        save(&l, TEXT);
        must_be(deep ? "position_ids" : "position_ids without text_model", &plain);
    }
    tiny_tensors(&l, "vae");
    tiny_tensor_add(&l, "decoder.position_ids", DT_I64, 1, (size_t[]){ 4 });
    save(&l, VAE);
    open_fails("position_ids of a VAE", SAEURON_EFORMAT, VAE "|decoder.position_ids|unknown");
    tiny_free(&files);
}

/* Clip skip as people write it into a folder: the config's number of layers lowered, the file as it was.
 * Layers beyond are passed over, with text_model. and without; names that only resemble a layer's are not. */
static void fewer_layers(void)
{
    static tiny_list l;
    static const char *const strange[] = {
        "text_model.encoder.layers.x.mlp.fc1.bias", "text_model.encoder.layers.1x.mlp.fc1.bias",
        "encoder.layer.1.mlp.fc1.bias",
    };
    picture plain, one;
    tidy(&plain);
    tiny_edit(&files, "text_encoder/config.json", "\"num_hidden_layers\": 2",
              "\"num_hidden_layers\": 1");
    tiny_tensors(&l, "text_encoder");
    for (size_t i = 0; i < l.count; i++)
        if (strstr(l.at[i].name, "layers.1.")) {
            free(l.at[i].values);
            l.at[i--] = l.at[--l.count];
        }
    save(&l, TEXT);
    draw("one layer", &one);
    CHECK(!same_picture(&one, &plain), "the second layer changes nothing");
    for (int deep = 1; deep >= 0; deep--) {
        tiny_tensors(&l, "text_encoder");
        if (!deep)
            rename_part(&l, "text_model.", "");
        save(&l, TEXT);
        must_be(deep ? "a layer too many" : "a layer too many, without text_model", &one);
    }
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        tiny_tensors(&l, "text_encoder");
        tiny_tensor_add(&l, strange[i], DT_F32, 1, (size_t[]){ 4 });
        save(&l, TEXT);
        open_fails(strange[i], SAEURON_EFORMAT, "unknown");
    }
    tiny_free(&files);
}

/* Files of a whole CLIPModel (OpenAI's own folder): its text half is used, under its nested config; the rest
 * is passed over by name. */
static void whole_clip(void)
{
    static tiny_list l;
    static const char nested[] = "{\"architectures\": [\"CLIPModel\"], \"initializer_factor\": 1.0, "
                                 "\"logit_scale_init_value\": 2.6592, \"model_type\": \"clip\", "
                                 "\"projection_dim\": 16,\n \"text_config\": {\"_name_or_path\": \"\", "
                                 "\"add_cross_attention\": false, \"architectures\": null, "
                                 "\"attention_dropout\": 0.0, \"bad_words_ids\": null,\n  \"bos_token_id\": "
                                 "0, \"chunk_size_feed_forward\": 0, \"cross_attention_hidden_size\": null, "
                                 "\"decoder_start_token_id\": null, \"diversity_penalty\": 0.0,\n  "
                                 "\"do_sample\": false, \"dropout\": 0.0, \"early_stopping\": false, "
                                 "\"encoder_no_repeat_ngram_size\": 0, \"eos_token_id\": 2, "
                                 "\"finetuning_task\": null,\n  \"forced_bos_token_id\": null, "
                                 "\"forced_eos_token_id\": null, \"hidden_act\": \"quick_gelu\", "
                                 "\"hidden_size\": 16, \"id2label\": {\"0\": \"LABEL_0\"},\n  "
                                 "\"initializer_factor\": 1.0, \"initializer_range\": 0.02, "
                                 "\"intermediate_size\": 32, \"is_decoder\": false, \"is_encoder_decoder\": "
                                 "false,\n  \"label2id\": {\"LABEL_0\": 0}, \"layer_norm_eps\": 1e-05, "
                                 "\"length_penalty\": 1.0, \"max_length\": 20, \"max_position_embeddings\": "
                                 "16, \"min_length\": 0,\n  \"model_type\": \"clip_text_model\", "
                                 "\"no_repeat_ngram_size\": 0, \"num_attention_heads\": 2, "
                                 "\"num_beam_groups\": 1, \"num_beams\": 1,\n  \"num_hidden_layers\": 2, "
                                 "\"num_return_sequences\": 1, \"output_attentions\": false, "
                                 "\"output_hidden_states\": false, \"output_scores\": false,\n  "
                                 "\"pad_token_id\": 1, \"prefix\": null, \"problem_type\": null, "
                                 "\"projection_dim\": 16, \"pruned_heads\": {}, \"remove_invalid_values\": "
                                 "false,\n  \"repetition_penalty\": 1.0, \"return_dict\": true, "
                                 "\"return_dict_in_generate\": false, \"sep_token_id\": null, "
                                 "\"task_specific_params\": null,\n  \"temperature\": 1.0, "
                                 "\"tie_encoder_decoder\": false, \"tie_word_embeddings\": true, "
                                 "\"tokenizer_class\": null, \"top_k\": 50, \"top_p\": 1.0,\n  "
                                 "\"torch_dtype\": null, \"torchscript\": false, \"transformers_version\": "
                                 "\"4.16.0.dev0\", \"use_bfloat16\": false, \"vocab_size\": 525},\n "
                                 "\"text_config_dict\": null, \"torch_dtype\": \"float32\", "
                                 "\"transformers_version\": null, \"vision_config\": {\"hidden_size\": 9}, "
                                 "\"vision_config_dict\": null}\n";
    picture plain;
    tidy(&plain);
    tiny_text(&files, "text_encoder/config.json", nested);
    tiny_tensors(&l, "text_encoder");
    tiny_tensor_add(&l, "vision_model.embeddings.class_embedding", DT_F32, 1, (size_t[]){ 4 });
    tiny_tensor_add(&l, "vision_model.embeddings.position_ids", DT_I64, 2, (size_t[]){ 1, 5 });
    tiny_tensor_add(&l, "visual_projection.weight", DT_F16, 2, (size_t[]){ 2, 4 });
    tiny_tensor_add(&l, "text_projection.weight", DT_F16, 2, (size_t[]){ 2, 4 });
    tiny_tensor_add(&l, "logit_scale", DT_F32, 0, (size_t[]){ 1 });
    save(&l, TEXT);
    must_be("a whole CLIPModel", &plain);
    tiny_edit(&files, "text_encoder/config.json", "\"pruned_heads\": {}", "\"pruned_heads\": {\"0\": [1]}");
    open_fails("pruned heads", SAEURON_EFORMAT, "text_encoder/config.json|pruned_heads");
    tiny_text(&files, "text_encoder/config.json", nested);
    tiny_edit(&files, "text_encoder/config.json", "\"text_config_dict\": null",
              "\"text_config_dict\": {\"hidden_size\": 32}");
    open_fails("two text configs", SAEURON_EFORMAT, "text_config_dict");
    tiny_text(&files, "text_encoder/config.json", nested);
    tiny_edit(&files, "text_encoder/config.json", "{", "{\"text_depth\": 2, ");
    open_fails("an unknown key beside text_config", SAEURON_EFORMAT, "text_depth|unknown");
    tiny_text(&files, "text_encoder/config.json", "{\"text_config\": []}");
    open_fails("a list for a config", SAEURON_EFORMAT, "text_config|object");
    tiny_free(&files);
}

const test_case clip_tests[] = {
    { "text", text }, { "position_ids", position_ids }, { "fewer_layers", fewer_layers },
    { "whole_clip", whole_clip }, { NULL, NULL },
};
