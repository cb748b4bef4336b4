/* clip.c: the CLIP text encoder.
 *
 *   tokenizer.c --ids [B,N]--> embeddings --layers--> last_hidden_state [B,N,D] --> unet.c: keys and values
 *
 * Not here: the tokenizer (tokenizer.c), CLIP's image half, the pooled projection (Stable Diffusion uses
 * neither).
 * Source: transformers.models.clip.modeling_clip (CLIPTextTransformer and below it).
 * Letters: B prompts, N tokens, D hidden_size, F intermediate_size. */
#include "clip.h"
#include "layers/config.h"

#include <string.h>

int clip_configure(clip *t, json object, const char *path, saeuron_error *err)
{
    static const char *const read[] = {
        "vocab_size", "max_position_embeddings", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "layer_norm_eps", "hidden_act", "pruned_heads", NULL
    };
    static const char *const ignored[] = {
        /* training and initialisation */
        "attention_dropout", "dropout", "initializer_factor", "initializer_range", "gradient_checkpointing",
        /* the pooled output, which Stable Diffusion does not read; ids that the tokenizer knows */
        "bos_token_id", "eos_token_id", "pad_token_id", "projection_dim",
        /* the form of results, how attention is computed, names of classes: no value depends on them */
        "use_cache", "use_return_dict", "return_dict", "output_attentions", "output_hidden_states",
        "attn_implementation", "problem_type", "id2label", "label2id", "torchscript", "use_bfloat16",
        "tf_legacy_loss", "finetuning_task", "task_specific_params", "tokenizer_class", "prefix",
        /* PretrainedConfig before transformers 5 wrote every model's options into every config: decoders,
         * cross-attention, generation, classification heads. CLIPTextTransformer reads none of them. */
        "tie_word_embeddings", "is_decoder", "add_cross_attention", "chunk_size_feed_forward",
        "is_encoder_decoder", "cross_attention_hidden_size", "tie_encoder_decoder", "decoder_start_token_id",
        "sep_token_id", "max_length", "min_length", "do_sample", "early_stopping", "num_beams",
        "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p",
        "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size",
        "bad_words_ids", "num_return_sequences", "output_scores", "return_dict_in_generate",
        "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
        "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens", NULL
    };
    /* A CLIPConfig, as OpenAI's folders hold: CLIPTextConfig.from_pretrained takes its text_config alone. */
    static const char *const whole[] = {
        "text_config", "text_config_dict", "vision_config", "vision_config_dict", "logit_scale_init_value",
        "initializer_factor", "projection_dim", NULL
    };
    config c = { .object = object, .path = path, .err = err };
    json part;
    char act[32];

    memset(t, 0, sizeof *t);
    if (json_get(object, "text_config", &part)) {
        config_known(&c, whole, NULL);
        /* It overrides text_config in CLIPConfig, but not in CLIPTextConfig: so it must be absent or null. */
        config_only(&c, "text_config_dict", "null");
        if (!c.code && json_kind(part) != '{')
            c.code = fail(err, SAEURON_EFORMAT, "%s: \"text_config\" must be an object", path);
        c.object = part;
    }
    config_known(&c, read, ignored);
    config_only(&c, "pruned_heads", "{}"); /* anything else takes heads out of the network */
    t->vocab     = config_size(&c, "vocab_size", 49408, 1, 1u << 24);
    t->positions = config_size(&c, "max_position_embeddings", 77, 1, 1u << 16);
    t->D         = config_size(&c, "hidden_size", 512, 1, 1u << 16);
    t->F         = config_size(&c, "intermediate_size", 2048, 1, 1u << 18);
    t->layers    = config_size(&c, "num_hidden_layers", 12, 1, CLIP_LAYERS);
    t->heads     = config_size(&c, "num_attention_heads", 8, 1, 1024);
    t->eps       = config_positive(&c, "layer_norm_eps", 1e-5f);
    config_string(&c, "hidden_act", "quick_gelu", act, sizeof act);
    t->act = strcmp(act, "gelu") ? ACT_QUICK_GELU : ACT_GELU;
    if (!c.code && strcmp(act, "gelu") && strcmp(act, "quick_gelu"))
        c.code = fail(err, SAEURON_EFORMAT, "%s: \"hidden_act\" is %.20s; quick_gelu and gelu are supported",
                      path, act);
    if (!c.code && t->D % t->heads)
        c.code = fail(err, SAEURON_EFORMAT,
                      "%s: \"hidden_size\" %zu is no multiple of \"num_attention_heads\" %zu", path, t->D,
                      t->heads);
    return c.code;
}

static void bind_layer(binder *b, clip_layer *l, size_t D, size_t F)
{
    size_t mark;
    bind_norm(b, "layer_norm1", &l->layer_norm1, D);
    mark = bind_push(b, "self_attn");
    bind_linear(b, "q_proj", &l->q_proj, D, D);
    bind_linear(b, "k_proj", &l->k_proj, D, D);
    bind_linear(b, "v_proj", &l->v_proj, D, D);
    bind_linear(b, "out_proj", &l->out_proj, D, D);
    bind_pop(b, mark);
    bind_norm(b, "layer_norm2", &l->layer_norm2, D);
    mark = bind_push(b, "mlp");
    bind_linear(b, "fc1", &l->fc1, D, F);
    bind_linear(b, "fc2", &l->fc2, F, D);
    bind_pop(b, mark);
}

/* The number of the layer that a tensor such as "text_model.encoder.layers.11.mlp.fc1.bias" belongs to; 0 for
 * one outside the layers. */
static size_t layer_of(const char *name)
{
    static const char path[] = "encoder.layers.";
    size_t number = 0;
    name += strncmp(name, "text_model.", 11) ? 0 : 11;
    if (strncmp(name, path, sizeof path - 1))
        return 0;
    for (name += sizeof path - 1; *name >= '0' && *name <= '9'; name++)
        number = number < 1000000 ? 10 * number + (size_t)(*name - '0') : number;
    return *name == '.' ? number : 0;
}

/* Marks what CLIPTextModel leaves unread: layers beyond num_hidden_layers (clip skip, written into the
 * config) and, of a whole CLIPModel, the image half and both projections. */
static void skip_unread(tensors *file, size_t layers)
{
    static const char *const unread[] = {
        "logit_scale", "text_projection.weight", "visual_projection.weight"
    };
    for (size_t i = 0; i < file->count; i++) {
        tensor *t = &file->list[i];
        t->used |= !strncmp(t->name, "vision_model.", 13) || layer_of(t->name) >= layers;
        for (size_t j = 0; j < sizeof unread / sizeof *unread; j++)
            t->used |= !strcmp(t->name, unread[j]);
    }
}

void clip_bind(binder *b, void *network)
{
    clip  *t = network;
    size_t root = b->at, mark;
    if (b->file)
        skip_unread(b->file, t->layers);
    /* transformers before version 5 saves the encoder one module deeper; hash-filled models use that name. */
    if (!b->file || tensors_find(b->file, "text_model.final_layer_norm.weight"))
        root = bind_push(b, "text_model");
    mark = bind_push(b, "embeddings");
    bind_matrix(b, "token_embedding.weight", &t->token_embedding, t->vocab, t->D);
    bind_matrix(b, "position_embedding.weight", &t->position_embedding, t->positions, t->D);
    bind_pop(b, mark);
    for (size_t i = 0; i < t->layers; i++) {
        mark = bind_push(b, "encoder.layers.%zu", i);
        bind_layer(b, &t->layer[i], t->D, t->F);
        bind_pop(b, mark);
    }
    bind_norm(b, "final_layer_norm", &t->final_layer_norm, t->D);
    bind_pop(b, root);
}

void clip_embed(const clip *t, float *y, float *row, const int32_t *ids, size_t B, size_t N)
{
    if (!y)
        return;
    for (size_t i = 0; i < B * N; i++, y += t->D) {
        nn_widen(y, t->token_embedding, (size_t)ids[i] * t->D, t->D);
        nn_widen(row, t->position_embedding, i % N * t->D, t->D);
        for (size_t j = 0; j < t->D; j++)
            y[j] = y[j] + row[j];
    }
}

/* x += self_attn(layer_norm1(x)), then x += mlp(layer_norm2(x))   (CLIPEncoderLayer.forward) x [B,N,D]. */
static void encoder_layer(nn *c, const clip *t, const clip_layer *l, float *x, size_t B, size_t N)
{
    const size_t D = t->D, M = B * N, mark = arena_mark(c->work);
    float *h = arena_floats(c->work, M * D);
    float *q = arena_floats(c->work, M * D);
    float *k = arena_floats(c->work, M * D);
    float *v = arena_floats(c->work, M * D);
    float *f = arena_floats(c->work, M * t->F);

    nn_layer_norm(c, h, x, l->layer_norm1.gamma, l->layer_norm1.beta, M, D, t->eps);
    apply_linear(c, q, h, &l->q_proj, M);
    apply_linear(c, k, h, &l->k_proj, M);
    apply_linear(c, v, h, &l->v_proj, M);
    nn_attention(c, h, q, k, v, B, N, N, t->heads, D / t->heads, true);
    apply_linear(c, q, h, &l->out_proj, M);
    nn_add(c, x, x, q, M * D);

    nn_layer_norm(c, h, x, l->layer_norm2.gamma, l->layer_norm2.beta, M, D, t->eps);
    apply_linear(c, f, h, &l->fc1, M);
    if (t->act == ACT_GELU)
        nn_gelu(c, f, f, M * t->F);
    else
        nn_quick_gelu(c, f, f, M * t->F);
    apply_linear(c, h, f, &l->fc2, M);
    nn_add(c, x, x, h, M * D);
    arena_release(c->work, mark);
}

/* What clip_forward was asked for. */
typedef struct clip_job { const clip *t; float *y; const int32_t *ids; size_t N; const tap *watch; } clip_job;

/* EQ 2: embeddings, layers, final_layer_norm; of B prompts from `first` on */
static void clip_rows(nn *c, void *user, size_t first, size_t B)
{
    const clip_job *job = user;
    const clip *t = job->t;
    const bool planned = !c->work->base;
    const size_t D = t->D, N = job->N, mark = arena_mark(c->work);
    float *x   = arena_floats(c->work, B * N * D);
    float *row = arena_floats(c->work, D);
    float *y   = planned ? NULL : job->y + first * N * D;
    listener watch = { .c = c, .tap = job->watch, .first = first };

    clip_embed(t, x, row, planned ? NULL : job->ids + first * N, B, N);
    for (size_t i = 0; i < t->layers && !watch.stop; i++) {
        encoder_layer(c, t, &t->layer[i], x, B, N);
        report(&watch, x, B, N, 1, D, SAEURON_TAP_TOKENS, "encoder.layers.%zu", i);
    }
    nn_layer_norm(c, y, x, t->final_layer_norm.gamma, t->final_layer_norm.beta, B * N, D, t->eps);
    arena_release(c->work, mark);
}

void clip_forward(nn *c, const clip *t, float *y, const int32_t *ids, size_t B, size_t N, const tap *watch)
{
    clip_job job = { t, y, ids, N, watch };
    by_rows(c, t->layer[0].fc1.w.packed, watch, B, clip_rows, &job);
}
