/* tiny.c: makes the model of tiny.h. */
#define _POSIX_C_SOURCE 200809L
#include "tiny.h"
#include "test.h"
#include "arithmetic/rng.h"
#include "evaluation/vit.h"
#include "files/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED 7

static const char unet_config[] =
    "{\n  \"_class_name\": \"UNet2DConditionModel\",\n  \"act_fn\": \"silu\",\n  \"attention_head_dim\": 2,\n"
    "  \"block_out_channels\": [16, 32],\n  \"cross_attention_dim\": 16,\n"
    "  \"down_block_types\": [\"DownBlock2D\", \"CrossAttnDownBlock2D\"],\n  \"flip_sin_to_cos\": true,\n"
    "  \"freq_shift\": 0,\n  \"in_channels\": 4,\n  \"layers_per_block\": 2,\n  \"norm_eps\": 1e-05,\n"
    "  \"norm_num_groups\": 4,\n  \"out_channels\": 4,\n  \"sample_size\": 8,\n"
    "  \"up_block_types\": [\"CrossAttnUpBlock2D\", \"UpBlock2D\"]\n}\n";
static const char vae_config[] =
    "{\n  \"_class_name\": \"AutoencoderKL\",\n  \"act_fn\": \"silu\",\n  \"block_out_channels\": [8, 16],\n"
    "  \"latent_channels\": 4,\n  \"layers_per_block\": 1,\n  \"norm_num_groups\": 4,\n"
    "  \"scaling_factor\": 0.5,\n  \"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\"]\n}\n";
static const char scheduler_config[] =
    "{\n  \"_class_name\": \"PNDMScheduler\",\n  \"beta_end\": 0.012,\n"
    "  \"beta_schedule\": \"scaled_linear\",\n  \"beta_start\": 0.00085,\n  \"clip_sample\": false,\n"
    "  \"num_train_timesteps\": 1000,\n  \"set_alpha_to_one\": false,\n  \"skip_prk_steps\": true,\n"
    "  \"steps_offset\": 1,\n  \"trained_betas\": null\n}\n";
static const char sae_config[] =
    "{\"expansion_factor\": 4, \"k\": 8, \"batch_topk\": true, \"activation\": \"topk\"}\n";
/* The number of classes and their names follow. */
static const char vit_config[] =
    "{\n  \"architecture\": \"vision_transformer\",\n  \"class_token\": true,\n  \"depth\": 2,\n"
    "  \"embed_dim\": 16,\n  \"global_pool\": \"token\",\n  \"img_size\": 12,\n  \"in_chans\": 3,\n"
    "  \"interpolation\": \"bilinear\",\n  \"mean\": [0.5, 0.25, 0.5],\n  \"mlp_ratio\": 2.5,\n"
    "  \"norm_eps\": 1e-06,\n  \"num_heads\": 2,\n  \"patch_size\": 4,\n  \"qkv_bias\": true,\n"
    "  \"std\": [0.5, 0.5, 0.25],\n  \"num_classes\": ";
static const char concepts[] =
    "{\"steps\": 4, \"guidance\": 3,\n \"domains\": {"
    "\"style\": {\"hook\": \"" TINY_STYLES "\", \"concepts\": [\"Sketch\", \"Van Gogh\", \"Watercolor\"]},\n"
    "  \"object\": {\"hook\": \"" TINY_OBJECTS "\", \"concepts\": [\"Cats\", \"Dogs\", \"Sea\"]}}}\n";

static const char *const names_of[2][3] = {
    { "Sketch", "Van Gogh", "Watercolor" }, { "Cats", "Dogs", "Sea" }
};
static const char *const merges[] = {
    "c a", "ca t</w>", "d o", "do g</w>", "a n</w>", "i n</w>", "s k", "sk e", "t c", "tc h</w>",
    "ske tch</w>"
};
#define MERGES (sizeof merges / sizeof *merges)
#define VOCAB  (512 + MERGES + 2)

/* ---- the table of files ---- */

tiny_file *tiny_find(tiny *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (!strcmp(t->file[i].path + 5, name)) /* after "tiny/" */
            return &t->file[i];
    return NULL;
}

void tiny_set(tiny *t, const char *name, const void *bytes, size_t size)
{
    tiny_file *f = tiny_find(t, name);
    if (f && !bytes) {
        free(f->bytes);
        *f = t->file[--t->count];
        return;
    }
    CHECK(bytes && t->count < sizeof t->file / sizeof *t->file, "%s cannot be put into the table", name);
    if (!bytes)
        return;
    if (!f) {
        f = &t->file[t->count++];
        snprintf(f->path, sizeof f->path, "tiny/%s", name);
        f->bytes = NULL;
    }
    unsigned char *copy = malloc(size + 1);
    memcpy(copy, bytes, size);
    free(f->bytes);
    f->bytes = copy;
    f->size = size;
}

void tiny_text(tiny *t, const char *name, const char *text) { tiny_set(t, name, text, strlen(text)); }

void tiny_edit(tiny *t, const char *name, const char *from, const char *to)
{
    const tiny_file *f = tiny_find(t, name);
    const size_t n = strlen(from), m = strlen(to);
    for (size_t i = 0; f && i + n <= f->size; i++)
        if (!memcmp(f->bytes + i, from, n)) {
            unsigned char *text = malloc(f->size + m);
            memcpy(text, f->bytes, i);
            memcpy(text + i, to, m);
            memcpy(text + i + m, f->bytes + i + n, f->size - i - n);
            tiny_set(t, name, text, f->size - n + m);
            free(text);
            return;
        }
    CHECK(false, "%s holds no %s", name, from);
}

void tiny_free(tiny *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->file[i].bytes);
    t->count = 0;
}

void tiny_write(const tiny *t, const char *dir)
{
    char path[1400], parent[1400];
    for (size_t i = 0; i < t->count; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, t->file[i].path + 5);
        memcpy(parent, path, sizeof parent);
        *strrchr(parent, '/') = 0;
        io_make_dir(parent, NULL);
        FILE *f = fopen(path, "wb");
        CHECK(f && fwrite(t->file[i].bytes, 1, t->file[i].size, f) == t->file[i].size, "cannot write %s",
              path);
        if (f)
            fclose(f);
    }
}

/* ---- the host ---- */

#define GUARD 64 /* bytes before and after each block; the first hold its size */

static void *guarded_alloc(void *user, size_t size)
{
    tiny *t = user;
    unsigned char *p;
    if (++t->allocs == t->fail_at || size > SIZE_MAX - 2 * GUARD || !(p = malloc(size + 2 * GUARD)))
        return NULL;
    memset(p, 0xA5, size + 2 * GUARD);
    memcpy(p, &size, sizeof size);
    t->live++;
    return p + GUARD;
}

static void guarded_free(void *user, void *block)
{
    tiny *t = user;
    unsigned char *p = (unsigned char *)block - GUARD;
    size_t size, used;
    bool   whole = true;
    memcpy(&size, p, sizeof size);
    for (size_t i = sizeof size; i < GUARD; i++)
        whole &= p[i] == 0xA5;
    for (size_t i = 0; i < GUARD; i++)
        whole &= p[GUARD + size + i] == 0xA5;
    for (used = size; used && p[GUARD + used - 1] == 0xA5; used--)
        ;
    if (size > t->largest) {
        t->largest = size;
        t->touched = used;
    }
    t->torn += !whole;
    t->live--;
    free(p);
}

static const void *map_table(void *user, const char *path, size_t *size)
{
    tiny *t = user;
    const tiny_file *f = strncmp(path, "tiny/", 5) ? NULL : tiny_find(t, path + 5);
    if (!f)
        return NULL;
    t->mapped++;
    *size = f->size;
    return f->bytes;
}

static void unmap_table(void *user, const void *data, size_t size)
{
    tiny *t = user;
    for (size_t i = 0; i < t->count; i++)
        if (data == t->file[i].bytes && size == t->file[i].size)
            t->mapped--;
}

static int count_progress(void *user, const char *stage, size_t done, size_t total)
{
    tiny *t = user;
    CHECK(stage && done >= 1 && done <= total, "progress reports %zu of %zu", done, total);
    return ++t->progressed == t->cancel_at;
}

saeuron_host tiny_host(tiny *t)
{
    return (saeuron_host){ .user = t,
                           .alloc = guarded_alloc,
                           .free = guarded_free,
                           .map = map_table,
                           .unmap = unmap_table,
                           .progress = count_progress,
                           .threads = 1 };
}

/* ---- tensors ---- */

/* A multiple of 1/256, or of 1/128 from 1 to 2: at most 8 bits, which BF16 and F16 hold too. */
static float short_value(float x)
{
    const float unit = x >= 1 || x <= -1 ? 128.0f : 256.0f;
    const int   n = (int)(x * unit + (x < 0 ? -0.5f : 0.5f));
    return (float)n / unit;
}

tiny_tensor *tiny_tensor_add(tiny_list *l, const char *name, dtype type, int ndim, const size_t *shape)
{
    tiny_tensor *x = &l->at[l->count];
    CHECK(l->count < sizeof l->at / sizeof *l->at && ndim <= 4, "too many tensors");
    l->count++;
    snprintf(x->name, sizeof x->name, "%s", name);
    x->type = type;
    x->ndim = ndim;
    x->count = 1;
    for (int i = 0; i < ndim; i++)
        x->count *= x->shape[i] = shape[i];
    x->values = calloc(x->count + 1, sizeof *x->values);
    return x;
}

static void note(void *user, const char *name, const void *field, int ndim, const size_t *shape)
{
    tiny_tensor *x = tiny_tensor_add(user, name, DT_F32, ndim, shape);
    (void)field;
    for (size_t i = 0; i < x->count; i++)
        x->values[i] = short_value(hash_weight(SEED, name, ndim, shape, i));
}

static json parsed(const char *text)
{
    json v = { NULL, NULL };
    saeuron_error e = { 0 };
    CHECK(json_open(&v, text, strlen(text), "tiny", &e) == SAEURON_OK, "%s", e.text);
    return v;
}

static void text_config(char *out, size_t size)
{
    snprintf(out, size,
             "{\n  \"architectures\": [\"CLIPTextModel\"],\n  \"hidden_act\": \"quick_gelu\",\n  "
             "\"hidden_size\": 16,\n  \"intermediate_size\": 32,\n  \"max_position_embeddings\": 16,\n  "
             "\"num_attention_heads\": 2,\n  \"num_hidden_layers\": 2,\n  \"vocab_size\": %zu\n}\n",
             VOCAB);
}

static void classifier_config(char *out, size_t size, size_t classes, const char *const *names)
{
    size_t at = (size_t)snprintf(out, size, "%s%zu", vit_config, classes);
    for (size_t i = 0; names && i < classes; i++)
        at += (size_t)snprintf(out + at, size - at, "%s\"%s\"%s", i ? ", " : ",\n  \"label_names\": [",
                               names[i], i + 1 < classes ? "" : "]");
    snprintf(out + at, size - at, "\n}\n");
}

/* The tensors of a classifier of so many classes. */
static int classifier_tensors(binder *b, size_t classes, saeuron_error *e)
{
    static vit v;
    char json_text[1024];
    classifier_config(json_text, sizeof json_text, classes, NULL);
    const int code = vit_configure(&v, parsed(json_text), "tiny", e);
    vit_bind(b, &v);
    return code;
}

void tiny_tensors(tiny_list *l, const char *network)
{
    static clip text;
    static unet u;
    static vae  v;
    char   json_text[512];
    sae    s = { .d = 32, .n = 128, .k = 8 };
    arena  keep = { 0 };
    binder b = { .seed = SEED, .keep = &keep, .list = note, .list_user = l };
    saeuron_error e = { 0 };
    int code = SAEURON_OK;
    l->count = 0;
    if (!strcmp(network, "unet")) {
        code = unet_configure(&u, parsed(unet_config), "tiny", &e);
        unet_bind(&b, &u);
    } else if (!strcmp(network, "vae")) {
        code = vae_configure(&v, parsed(vae_config), "tiny", &e);
        vae_bind(&b, &v);
    } else if (!strcmp(network, "text_encoder")) {
        text_config(json_text, sizeof json_text);
        code = clip_configure(&text, parsed(json_text), "tiny", &e);
        clip_bind(&b, &text);
    } else if (!strcmp(network, "classifier")) {
        code = classifier_tensors(&b, TINY_CLASSES, &e);
    } else {
        sae_bind(&b, &s);
    }
    CHECK(!code && l->count, "%s: %s", network, e.text);
}

void tiny_drop(tiny_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->at[i].values);
    l->count = 0;
}

tiny_tensor *tiny_tensor_named(tiny_list *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (!strcmp(l->at[i].name, name))
            return &l->at[i];
    CHECK(false, "no tensor is called %s", name);
    return &l->at[0];
}

static void little(unsigned char *p, uint64_t x, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++, x >>= 8)
        p[i] = (unsigned char)(x & 255);
}

static void put_value(unsigned char *p, dtype type, float x)
{
    uint16_t half = 0;
    uint32_t bits;
    uint64_t wide;
    const double d = (double)x;
    memcpy(&bits, &x, 4);
    memcpy(&wide, &d, 8);
    if (type == DT_F16)
        half = nn_f32_to_f16(&half, x) ? half : 0x7e00; /* NaN stays one */
    little(p,
           type == DT_F16    ? half
           : type == DT_BF16 ? bits >> 16
           : type == DT_F64  ? wide
           : type == DT_I64  ? (uint64_t)x
                             : bits,
           dtype_size(type));
}

static const char *type_name(dtype type)
{
    return type == DT_F32    ? "F32"
           : type == DT_F16  ? "F16"
           : type == DT_BF16 ? "BF16"
           : type == DT_F64  ? "F64"
                             : "I64";
}

void tiny_save(tiny *t, const char *name, const tiny_list *l, size_t first, size_t last, const char *metadata)
{
    size_t at = 0, data = 0, room = 4096 + 400 * (last - first);
    for (size_t i = first; i < last; i++)
        room += l->at[i].count * dtype_size(l->at[i].type);
    char *header = calloc(room, 1);
    at = (size_t)snprintf(header + 8, room - 8, "{%s%s%s", metadata ? "\"__metadata__\":" : "",
                          metadata ? metadata : "", metadata ? "," : "");
    for (size_t i = first; i < last; i++) {
        const tiny_tensor *x = &l->at[i];
        const size_t bytes = x->count * dtype_size(x->type);
        at += (size_t)sprintf(header + 8 + at, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i > first ? "," : "",
                              x->name, type_name(x->type));
        for (int d = 0; d < x->ndim; d++)
            at += (size_t)sprintf(header + 8 + at, "%s%zu", d ? "," : "", x->shape[d]);
        at += (size_t)sprintf(header + 8 + at, "],\"data_offsets\":[%zu,%zu]}", data, data + bytes);
        data += bytes;
    }
    header[8 + at++] = '}';
    while (at % 8)
        header[8 + at++] = ' ';
    little((unsigned char *)header, at, 8);
    for (size_t i = first, place = 8 + at; i < last; i++)
        for (size_t j = 0; j < l->at[i].count; j++, place += dtype_size(l->at[i].type))
            put_value((unsigned char *)header + place, l->at[i].type, l->at[i].values[j]);
    tiny_set(t, name, header, 8 + at + data);
    free(header);
}

/* ---- the parts ---- */

/* CLIP's alphabet for bytes: printable ones stand for themselves, the others from U+0100 on. */
static uint32_t byte_letter(size_t byte)
{
    uint32_t next = 256;
    for (size_t b = 0; b <= byte; b++) {
        const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        if (b == byte)
            return printable ? (uint32_t)b : next;
        next += !printable;
    }
    return 0;
}

static void add_tokenizer(tiny *t)
{
    char  *text = malloc(32768), letter[8];
    size_t at = (size_t)sprintf(text, "{");
    for (size_t id = 0; id < 512; id++) {
        const size_t b = id % 256, n = io_utf8_put(letter, byte_letter(b));
        letter[n] = 0;
        at += (size_t)sprintf(text + at, "\"%s%s%s\": %zu, ", b == '"' || b == '\\' ? "\\" : "", letter,
                              id < 256 ? "" : "</w>", id);
    }
    for (size_t i = 0; i < MERGES; i++) {
        const size_t n = strcspn(merges[i], " ");
        at += (size_t)sprintf(text + at, "\"%.*s%s\": %zu, ", (int)n, merges[i], merges[i] + n + 1, 512 + i);
    }
    sprintf(text + at, "\"<|startoftext|>\": %zu, \"<|endoftext|>\": %zu}\n", VOCAB - 2, VOCAB - 1);
    tiny_text(t, "tokenizer/vocab.json", text);
    at = (size_t)sprintf(text, "#version: 0.2\n");
    for (size_t i = 0; i < MERGES; i++)
        at += (size_t)sprintf(text + at, "%s\n", merges[i]);
    tiny_text(t, "tokenizer/merges.txt", text);
    tiny_text(t, "tokenizer/tokenizer_config.json",
              "{\"model_max_length\": 16, \"tokenizer_class\": \"CLIPTokenizer\"}\n");
    free(text);
}

/* mu [4,128] a concept: all latents faint, every third its own concept's and strong. */
void tiny_add_statistics(tiny *t, const char *hook, const char *const concept[3])
{
    static const size_t shape[2] = { TINY_STEPS, 128 };
    tiny_list *l = calloc(1, sizeof *l);
    char name[160], metadata[512];
    for (size_t c = 0; c < 3; c++) {
        tiny_tensor *x = tiny_tensor_add(l, concept[c], DT_F32, 2, shape);
        for (size_t i = 0; i < x->count; i++) {
            const float u = rng_uniform(SEED, nn_hash(0, concept[c], strlen(concept[c])), i);
            x->values[i] = 0.01f * u + (i % 128 % 3 == c ? 0.3f * u : 0.0f);
        }
    }
    snprintf(metadata, sizeof metadata,
             "{\"hook\":\"unet.%s\",\"steps\":\"4\",\"timesteps\":\"751, 501, 251, "
             "1\",\"seed\":\"0\",\"cfg\":\"3\",\"prompts\":\"{\\\"%s\\\": 2, \\\"%s\\\": 3, \\\"%s\\\": "
             "4}\"}",
             hook, concept[0], concept[1], concept[2]);
    snprintf(name, sizeof name, "sae/%s/stats.safetensors", hook);
    tiny_save(t, name, l, 0, 3, metadata);
    tiny_drop(l);
    free(l);
}

static void add_sae(tiny *t, const char *hook, const char *const *concept, const char *forget)
{
    char folder[96], name[160];
    tiny_list *l = calloc(1, sizeof *l);
    snprintf(folder, sizeof folder, "sae/%s", hook);
    tiny_tensors(l, "sae");
    for (size_t i = 0; i < 128; i++) /* the two SAEs are not the same */
        tiny_tensor_named(l, "encoder.bias")->values[i] += hook[strlen(hook) - 1] == '2' ? 0.125f : 0.0f;
    snprintf(name, sizeof name, "%s/sae.safetensors", folder);
    tiny_save(t, name, l, 0, l->count, NULL);
    snprintf(name, sizeof name, "%s/cfg.json", folder);
    tiny_text(t, name, sae_config);
    snprintf(name, sizeof name, "%s/forget.json", folder);
    tiny_text(t, name, forget);
    tiny_add_statistics(t, hook, concept);
    tiny_drop(l);
    free(l);
}

static void add_network(tiny *t, const char *network, const char *json_text, const char *file)
{
    char name[160];
    tiny_list *l = calloc(1, sizeof *l);
    tiny_tensors(l, network);
    snprintf(name, sizeof name, "%s/%s", network, file);
    tiny_save(t, name, l, 0, l->count, NULL);
    snprintf(name, sizeof name, "%s/config.json", network);
    tiny_text(t, name, json_text);
    tiny_drop(l);
    free(l);
}

void tiny_add_classifier(tiny *t, const char *folder, size_t classes, const char *const *names)
{
    char name[160], text[4096];
    tiny_list *l = calloc(1, sizeof *l);
    arena  keep = { 0 };
    binder b = { .seed = SEED, .keep = &keep, .list = note, .list_user = l };
    saeuron_error e = { 0 };
    CHECK(!classifier_tensors(&b, classes, &e), "%s", e.text);
    snprintf(name, sizeof name, "%s/model.safetensors", folder);
    tiny_save(t, name, l, 0, l->count, NULL);
    classifier_config(text, sizeof text, classes, names);
    snprintf(name, sizeof name, "%s/config.json", folder);
    tiny_text(t, name, text);
    tiny_drop(l);
    free(l);
}

void tiny_add_judges(tiny *t)
{
    static const char *const styles[] = {
        "Seed_Images", "Sketch", "Van Gogh", "Watercolor" }, *const objects[] = { "Cats", "Dogs", "Sea"
    };
    tiny_edit(t, "concepts.json", "\"concepts\": [\"Sketch\"",
              "\"classes\": [\"Seed_Images\", \"Sketch\", \"Van Gogh\", \"Watercolor\"], \"concepts\": "
              "[\"Sketch\"");
    tiny_add_classifier(t, "classifier/style", 4, styles);
    tiny_add_classifier(t, "classifier/object", 3, objects);
}

static void build(tiny *t)
{
    char text[512];
    text_config(text, sizeof text);
    tiny_text(t, "scheduler/scheduler_config.json", scheduler_config);
    tiny_text(t, "concepts.json", concepts);
    add_tokenizer(t);
    add_network(t, "text_encoder", text, "model.safetensors");
    add_network(t, "unet", unet_config, "diffusion_pytorch_model.safetensors");
    add_network(t, "vae", vae_config, "diffusion_pytorch_model.safetensors");
    add_sae(t, TINY_STYLES, names_of[0],
            "{\"Sketch\": {\"top\": 24, \"strength\": -4}, \"Watercolor\": {\"percentile\": 70.1}}\n");
    add_sae(t, TINY_OBJECTS, names_of[1],
            "{\"Cats\": {\"percentile\": 80.1, \"strength\": -5.5}, \"Dogs\": {\"top\": 30, \"strength\": "
            "-2}}\n");
}

/* Built once a run; each test gets its own copy. */
void tiny_make(tiny *t)
{
    static tiny master;
    if (!master.count)
        build(&master);
    memset(t, 0, sizeof *t);
    for (size_t i = 0; i < master.count; i++)
        tiny_set(t, master.file[i].path + 5, master.file[i].bytes, master.file[i].size);
}
