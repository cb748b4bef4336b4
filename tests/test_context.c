/* test_context.c: a model's folder: which of its files are read, parts that do not fit, everything that lies
 * beside them.
 *
 * Not here: configs (test_config.c), tensors (test_bind.c), SAEs (test_forget.c).
 * Source of the files: those of runwayml/stable-diffusion-v1-5, CompVis/stable-diffusion-v1-4,
 * stabilityai/stable-diffusion-2-1 and openai/clip-vit-large-patch14 over the years; what diffusers does with
 * each was read there and run. */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "scratch.h"
#include "shots.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Gives dimension 1 of every tensor whose name holds part another size, with zeros. */
static void widen(tiny_list *l, const char *part, size_t size)
{
    for (size_t i = 0; i < l->count; i++)
        if (strstr(l->at[i].name, part)) {
            tiny_tensor *v = &l->at[i];
            v->count = v->count / v->shape[1] * size;
            v->shape[1] = size;
            free(v->values);
            v->values = calloc(v->count, sizeof *v->values);
        }
}

/* Parts that are each sound but belong to different models. */
static void parts_do_not_fit(void)
{
    static tiny_list l;
    for (int kind = 0; kind < 3; kind++) {
        tiny_make(&files);
        tiny_tensors(&l, "unet");
        if (kind == 0) {
            widen(&l, "attn2.to_k.weight", 24);
            widen(&l, "attn2.to_v.weight", 24);
            tiny_edit(&files, "unet/config.json", "\"cross_attention_dim\": 16",
                      "\"cross_attention_dim\": 24");
        } else if (kind == 1) {
            widen(&l, "conv_in.weight", 8);
            tiny_edit(&files, "unet/config.json", "\"in_channels\": 4", "\"in_channels\": 8");
        } else {
            tiny_edit(&files, "tokenizer/vocab.json", "{", "{\"new\": 525, ");
        }
        tiny_save(&files, UNET, &l, 0, l.count, NULL);
        tiny_drop(&l);
        open_fails("parts of two models", SAEURON_EFORMAT,
                   kind == 0   ? "24|16|cross_attention_dim"
                   : kind == 1 ? "in_channels|latent_channels"
                               : "tokenizer|526|525|vocab_size");
        tiny_free(&files);
    }
}

/* Without concepts.json: 50 steps and guidance 7.5. */
static void defaults(void)
{
    shot a, b;
    tiny_make(&files);
    tiny_set(&files, "concepts.json", NULL, 0);
    saeuron_context *x = opened(NULL, 1);
    files.progressed = 0;
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &a);
    CHECK(files.progressed == 50, "the default is %ld steps", files.progressed);
    must_shoot(x, (saeuron_generate_options){ .count = 1, .steps = 50, .guidance = 7.5, .has_guidance = 1 },
               &b);
    CHECK(same(&a, &b), "the default guidance is not 7.5");
    done(x);
}

/* A folder whose path leaves no room for its files' names. */
static void long_path(void)
{
    static char path[2000];
    saeuron_context *x;
    saeuron_error e;
    memset(path, 'a', sizeof path - 1);
    check_error("2000 letters", saeuron_open(&x, NULL, path, &e), SAEURON_EUSAGE, &e,
                "aaa...: the path is too long");
}

static void *small_alloc(void *user, size_t size)
{
    return size > 64 << 20 ? NULL : count_alloc(user, size);
}

/* The model without weights: a name that there is, and a line where memory ends, at first or later. */
static void synthetic_model(void)
{
    saeuron_context *x;
    saeuron_error e = { 0 };
    counting few = { 0 };
    saeuron_host host = { .user = &few, .alloc = small_alloc, .free = count_free };
    check_error("sd16", saeuron_open_synthetic(&x, &host, "sd16", &e), SAEURON_EUSAGE, &e, "sd16|sd15");
    check_error("a small memory", saeuron_open_synthetic(&x, &host, "sd15", &e), SAEURON_ENOMEM, &e,
                "no memory");
    CHECK(few.calls >= 3, "memory ended at call %ld", few.calls);
    host.alloc = count_alloc;
    for (few.fail_at = 1; few.fail_at < 4; few.fail_at++) {
        few.calls = 0;
        check_error("none", saeuron_open_synthetic(&x, &host, "sd15", &e), SAEURON_ENOMEM, &e, "no memory");
        CHECK(!x && few.live == 0, "%ld blocks are left", few.live);
    }
}

/* Two contexts do not know of each other. */
static void two_contexts(void)
{
    shot a, b;
    saeuron_context *x = fresh(), *y = opened(NULL, 1);
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &a);
    must_forget(y, "Sketch", 60);
    must_shoot(y, (saeuron_generate_options){ .count = 1 }, &b);
    CHECK(!same(&a, &b), "forgetting changes nothing");
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &b);
    CHECK(same(&a, &b), "what one context forgets, the other forgets");
    CHECK(saeuron_model_digest(x) == saeuron_model_digest(y) &&
              saeuron_contract() == SAEURON_CONTRACT_VERSION,
          "digests differ");
    saeuron_close(y);
    done(x);
}

/* The model's digest is of all its weights: one bit of any network changes it. */
static void digest_of_all_weights(void)
{
    static const char *const parts[] = { TEXT, UNET, VAE };
    saeuron_context *x = fresh();
    const uint64_t whole = saeuron_model_digest(x);
    done(x);
    for (size_t i = 0; i < COUNT(parts); i++) {
        tiny_make(&files);
        tiny_file *f = tiny_find(&files, parts[i]);
        f->bytes[f->size - 4] ^= 1; /* the last value's lowest bit */
        x = opened(NULL, 1);
        CHECK(saeuron_model_digest(x) != whole, "another weight of %s has the same digest", parts[i]);
        done(x);
    }
}

/* What lies beside the networks is not read: the pipeline's index with its safety checker, which SAeUron's
 * authors switch off. */
static void beside_the_networks(void)
{
    static const char *const index[] = {
        "{\"_class_name\": \"StableDiffusionPipeline\", \"feature_extractor\": [\"transformers\", "
        "\"CLIPFeatureExtractor\"], \"requires_safety_checker\": true, "
        "\"safety_checker\": [\"stable_diffusion\", \"StableDiffusionSafetyChecker\"], \"scheduler\": "
        "[\"diffusers\", \"PNDMScheduler\"]}",
        "{\"feature_extractor\": [null, null], \"image_encoder\": [null, null], \"requires_safety_checker\": "
        "false, \"safety_checker\": [null, null]}",
    };
    picture plain;
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

/* The file of a network under another name: NAME for its .safetensors ending; a stray twin would show in the
 * picture. */
static void save_as(const char *network, const char *file, dtype type, float nudge)
{
    static tiny_list l;
    tiny_tensors(&l, network);
    for (size_t i = 0; i < l.count; i++) {
        l.at[i].type = type;
        if (l.at[i].ndim == 1)
            l.at[i].values[0] += nudge;
    }
    save(&l, file);
}

/* network's tensors as two shards and their index. */
static void save_shards(const char *network, const char *index, const char *shard, float nudge)
{
    static tiny_list l;
    char name[160];
    static char text[65536];
    size_t at = (size_t)sprintf(text, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    tiny_tensors(&l, network);
    const size_t half = l.count / 2;
    for (size_t i = 0; i < l.count; i++) {
        if (l.at[i].ndim == 1)
            l.at[i].values[0] += nudge;
        at += (size_t)snprintf(text + at, sizeof text - at, "%s\"%s\": \"%s-0000%d-of-00002.safetensors\"",
                               i ? ", " : "", l.at[i].name, shard, i < half ? 1 : 2);
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

/* Of several files for one network the one is taken that diffusers takes without a variant. The others hold
 * other numbers. */
static void which_file(void)
{
    picture plain, other;
    tidy(&plain);
    save_as("unet", "unet/diffusion_pytorch_model.fp16.safetensors", DT_F16, 0.5f);
    save_as("unet", "unet/diffusion_pytorch_model.non_ema.safetensors", DT_F32, 0.5f);
    save_as("vae", "vae/diffusion_pytorch_model.fp16.safetensors", DT_F16, 0.5f);
    save_as("text_encoder", "text_encoder/model.fp16.safetensors", DT_F16, 0.5f);
    tiny_text(&files, "unet/diffusion_pytorch_model.bin", "\x80\x02");
    tiny_text(&files, "text_encoder/pytorch_model.bin", "\x80\x02");
    must_be("twins under variants' names", &plain);
    tiny_set(&files, UNET, NULL, 0);
    open_fails("a pickle before the variants", SAEURON_ENOENT, "unet/diffusion_pytorch_model.bin|diffusers");
    tiny_set(&files, "unet/diffusion_pytorch_model.bin", NULL, 0);
    draw("the fp16 twin alone", &other);
    CHECK(!same_picture(&plain, &other), "the twin is not read even when it is alone: this test sees "
                                         "nothing");
    tiny_free(&files);

    /* diffusers takes the index before the whole file, transformers the whole file before the index */
    tiny_make(&files);
    save_shards("unet", "diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model", 0);
    save_as("unet", UNET, DT_F32, 0.5f);
    save_shards("text_encoder", "model.safetensors.index.json", "model", 0.5f);
    must_be("an index and a whole file", &plain);
    tiny_set(&files, TEXT, NULL, 0);
    draw("the index alone", &other);
    CHECK(!same_picture(&plain, &other), "the index is not read even when it is alone: this test sees "
                                         "nothing");
    tiny_free(&files);
}

/* The one advice about a file's name: the weights meant by it are read. */
static void renamed(void)
{
    picture plain;
    tidy(&plain);
    tiny_set(&files, UNET, NULL, 0);
    save_as("unet", "unet/diffusion_pytorch_model.non_ema.safetensors", DT_F32, 0);
    open_fails("training's own weights", SAEURON_ENOENT, "rename it to diffusion_pytorch_model.safetensors");
    save_as("unet", UNET, DT_F32, 0);
    tiny_set(&files, "unet/diffusion_pytorch_model.non_ema.safetensors", NULL, 0);
    must_be("renamed", &plain);
    tiny_free(&files);
}

/* Shards of a variant under the two spellings that diffusers has had, and transformers'. */
static void variant_shards(void)
{
    static const char *const indices[] = {
        "diffusion_pytorch_model.safetensors.index.fp16.json",
        "diffusion_pytorch_model.fp16.safetensors.index.json",
        "diffusion_pytorch_model.safetensors.fp16.index.json"
    };
    picture plain;
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
        { UNET, "unet/diffusion_pytorch_model.bin",
          "unet/diffusion_pytorch_model.bin|pickle|docs/convert.py" },
        { UNET, "unet/diffusion_pytorch_model.fp16.bin", "fp16.bin|pickle|docs/convert.py" },
        { UNET, "unet/diffusion_pytorch_model.bin.index.json", "bin.index.json|pickle|docs/convert.py" },
        { UNET, "unet/diffusion_pytorch_model.non_ema.safetensors", "non_ema|rename" },
        { UNET, "unet/diffusion_pytorch_model.non_ema.bin", "non_ema|rename|model.bin|docs/convert.py" },
        { UNET, "unet/diffusion_pytorch_model.bin.index.fp16.json", "index.fp16.json|docs/convert.py" },
        { TEXT, "text_encoder/pytorch_model.bin.index.json", "bin.index.json|docs/convert.py" },
        { VAE, "vae/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.bin|docs/convert.py" },
        { TEXT, "text_encoder/pytorch_model.bin", "text_encoder/pytorch_model.bin|pickle|docs/convert.py" },
        { TEXT, "text_encoder/pytorch_model.fp16.bin", "pytorch_model.fp16.bin|docs/convert.py" },
        { TEXT, "text_encoder/flax_model.msgpack", "model.safetensors|diffusers folder" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_make(&files);
        tiny_set(&files, cases[i].gone, NULL, 0);
        tiny_text(&files, cases[i].there, "\x80\x02");
        open_fails(cases[i].there, SAEURON_ENOENT, cases[i].words);
        tiny_free(&files);
    }
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    tiny_make(&files);
    tiny_text(&files, "sd-v1-4.ckpt", "\x80\x02");
    const saeuron_host host = tiny_host(&files);
    CHECK(saeuron_open(&x, &host, "tiny/sd-v1-4.ckpt", &e) == SAEURON_EFORMAT &&
              test_holds(e.text, "sd-v1-4.ckpt|one file|docs/convert.py"),
          "%s", e.text);
    saeuron_close(x);
    tiny_free(&files);
}

/* The tokenizer files of SD 1.5, whose tokens are objects, and which say what the vocabulary says anyway. */
static void tokenizer_files(void)
{
    static const char token[] = "{\"__type\": \"AddedToken\", \"content\": \"%s\", \"lstrip\": false, "
                                "\"normalized\": true, \"rstrip\": false, \"single_word\": false}";
    char text[2048], start[256], end[256];
    picture plain;
    tidy(&plain);
    snprintf(start, sizeof start, token, "<|startoftext|>");
    snprintf(end, sizeof end, token, "<|endoftext|>");
    snprintf(text, sizeof text,
             "{\"add_prefix_space\": false, \"bos_token\": %s, \"do_lower_case\": true, \"eos_token\": %s, "
             "\"errors\": \"replace\", \"model_max_length\": 16, \"name_or_path\": "
             "\"openai/clip-vit-large-patch14\", \"pad_token\": \"<|endoftext|>\", "
             "\"special_tokens_map_file\": \"./special_tokens_map.json\", \"tokenizer_class\": "
             "\"CLIPTokenizer\", \"unk_token\": %s}",
             start, end, end);
    tiny_text(&files, "tokenizer/tokenizer_config.json", text);
    snprintf(text, sizeof text,
             "{\"bos_token\": %s, \"eos_token\": %s, \"pad_token\": \"<|endoftext|>\", \"unk_token\": %s}",
             "{\"content\": \"<|startoftext|>\", \"lstrip\": false, \"normalized\": true, \"rstrip\": false, "
             "\"single_word\": false}",
             "{\"content\": \"<|endoftext|>\", \"lstrip\": false, \"normalized\": true, \"rstrip\": false, "
             "\"single_word\": false}",
             "{\"content\": \"<|endoftext|>\", \"lstrip\": false, \"normalized\": true, \"rstrip\": false, "
             "\"single_word\": false}");
    tiny_text(&files, "tokenizer/special_tokens_map.json", text);
    must_be("SD 1.5's tokenizer files", &plain);
    tiny_free(&files);
}

/* A file written to while the model is open: what was drawn is of no one model, whichever file it was. Put in
 * its place whole, as a download does it, another does no harm. */
static void written_while_open(void)
{
    static const struct { const char *file, *command; bool harm; } cases[] = {
        { TEXT, "printf x | dd of=%s bs=1 seek=3000 conv=notrunc 2>/dev/null", true },
        { UNET, "printf x >> %s", true }, { VAE, "touch %s", true },
        { STYLES "/sae.safetensors", "touch %s", true }, { STYLES "/stats.safetensors", "touch %s", true },
        { TEXT, "cp %s $F.new; mv $F.new $F", false }, { UNET, "rm %s", false },
    };
    char dir[1024], path[1300], line[1500];
    shot s;
    snprintf(dir, sizeof dir, "%s", at("open"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        saeuron_error e = { 0 };
        saeuron_context *x = NULL;
        tiny_make(&files);
        tiny_write(&files, dir);
        tiny_free(&files);
        snprintf(path, sizeof path, "%s/%s", dir, cases[i].file);
        setenv("F", path, 1);
        snprintf(line, sizeof line, "touch -d 2001-01-01 %s", path);
        CHECK(system(line) == 0 && saeuron_open(&x, NULL, dir, &e) == SAEURON_OK, "%s", e.text);
        must_forget(x, "Sketch", 8);
        must_shoot(x, (saeuron_generate_options){ .steps = TINY_STEPS, .count = 1 }, &s);
        snprintf(line, sizeof line, cases[i].command, path);
        CHECK(system(line) == 0, "%s", line);
        const int code = shoot(x, (saeuron_generate_options){ .steps = TINY_STEPS, .count = 1 }, &s, &e);
        if (cases[i].harm)
            check_error(cases[i].command, code, SAEURON_EIO, &e, "was written to|saeuron");
        else
            CHECK(code == SAEURON_OK, "%s: %s", cases[i].command, e.text);
        saeuron_close(x);
    }
}

const test_case context_tests[] = {
    { "parts_do_not_fit", parts_do_not_fit }, { "defaults", defaults }, { "long_path", long_path },
    { "synthetic", synthetic_model },
    { "two_contexts", two_contexts }, { "digest_of_all_weights", digest_of_all_weights },
    { "beside_the_networks", beside_the_networks }, { "which_file", which_file }, { "renamed", renamed },
    { "variant_shards", variant_shards }, { "weights_not_read", weights_not_read },
    { "tokenizer_files", tokenizer_files }, { "written_while_open", written_while_open }, { NULL, NULL },
};
