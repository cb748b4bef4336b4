/* command_info.c: the commands `info` and `digest`: what is in a folder or a file.
 *
 *   folder or file --its kind, by name and content--> opened as that --> a table or JSON, or 64-bit digests
 *
 * Not here: reading them (the library). */
#include "arithmetic/rng.h"
#include "evaluation/classifier.h"
#include "evaluation/picture.h"
#include "files/npy.h"
#include "files/png.h"
#include "forget.h"
#include "gradients/gradient.h"
#include "program/messages.h"
#include "program/opening.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static list files;
static bool memory, all_tensors;

/* ---- kinds ---- */

static bool ends_with(const char *text, const char *tail)
{
    const size_t n = strlen(text), m = strlen(tail);
    return n >= m && !strcmp(text + n - m, tail);
}

static bool holds(const char *dir, const char *name)
{
    char path[1024];
    return io_join(path, sizeof path, dir, name) && io_exists(NULL, path);
}

static bool is_sae(const char *dir) { return holds(dir, "cfg.json"); }

/* A config.json at the top, and not beside a diffusers pipeline. */
static bool is_classifier(const char *dir)
{
    return holds(dir, "config.json") && !holds(dir, "scheduler/scheduler_config.json");
}

/* ---- tensors ---- */

/* A row of a table, or a JSON object; before: what stands before it. */
static void print_tensor(const tensor *t, const char *before)
{
    printf(as_json ? "%s{\"name\": " : "%s", before);
    print_text(t->name);
    printf(as_json ? ", \"dtype\": \"%s\", \"shape\": [" : "\t%s\t[", io_dtype_name(t->type));
    for (int i = 0; i < t->ndim; i++)
        printf("%s%zu", i ? ", " : "", t->shape[i]);
    printf(as_json ? "]}" : "]\n");
}

static size_t parameters(const tensors *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        n += f->list[i].count;
    return n;
}

static void print_network(const char *name, const tensors *f, bool all)
{
    size_t bytes = 0;
    for (size_t i = 0; i < f->file_count; i++)
        bytes += f->files[i].size;
    printf("%s\t%zu tensors\t%zu parameters\t%zu bytes\n", name, f->count, parameters(f), bytes);
    for (size_t i = 0; all && i < f->count; i++)
        print_tensor(&f->list[i], "  ");
}

/* "  key = value", or a member of a JSON object; before: the comma before that, or nothing. */
static void print_pair(const char *key, const char *value, const char *before)
{
    printf("%s", as_json ? before : "  ");
    print_text(key);
    printf(as_json ? ": " : " = ");
    print_text(value);
    printf(as_json ? "" : "\n");
}

static int info_tensors(const char *path, saeuron_error *err)
{
    tensors t;
    json key, value;
    const char *before = "";
    int code = tensors_open(&t, NULL, path, err);
    if (code)
        return code;
    const size_t room = (size_t)(t.metadata.end - t.metadata.at) + 1; /* of a key, of a value */
    char *k = io_alloc(NULL, room, 2);
    if (!k) {
        tensors_close(&t);
        return fail(err, SAEURON_ENOMEM, "%s: no memory for its metadata", path);
    }
    char *v = k + room;
    if (as_json) {
        printf("{\"file\": ");
        print_text(path);
        printf(", \"parameters\": %zu, \"tensors\": [", parameters(&t));
        for (size_t i = 0; i < t.count; i++)
            print_tensor(&t.list[i], i ? ", " : "");
        printf("], \"metadata\": {");
    } else {
        print_network(path, &t, true);
    }
    for (json_iter it = json_begin(t.metadata); json_next(&it, &key, &value);) {
        if (!json_string(key, k, room, NULL) || !json_string(value, v, room, NULL))
            continue;
        print_pair(k, v, before);
        before = ", ";
    }
    printf(as_json ? "}}\n" : "");
    io_free(NULL, k);
    tensors_close(&t);
    return SAEURON_OK;
}

/* ---- models ---- */

/* One hook: its width, its SAE and statistics if the model has them, the concepts that they know. */
static int print_hook(saeuron_context *x, const char *hook, saeuron_error *err)
{
    char  dir[1024], path[1100];
    sae   s;
    stats st;
    if (!sae_folder(x, hook, dir))
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", x->dir);
    snprintf(path, sizeof path, "%s/stats.safetensors", dir);
    printf("hook %s\twidth %zu", hook, unet_hook_width(&x->unet, hook, NULL));
    if (!io_exists(&x->host, path)) {
        printf("\n");
        return SAEURON_OK;
    }
    int code = sae_load(&s, &x->host, NULL, dir, err);
    if (code)
        return code;
    if ((code = stats_load(&st, &x->host, path, err)) == SAEURON_OK) {
        printf("\tSAE %zu latents, k %zu\tstatistics of %zu steps, concepts", s.n, s.k, st.steps);
        for (size_t j = 0; j < st.concepts; j++) {
            putchar(' ');
            print_text(stats_name(&st, j));
        }
        printf("\n");
        stats_unload(&st, &x->host);
    }
    sae_unload(&s, &x->host);
    return code;
}

/* An image as --steps, --height, --width and --batch have it, and the memory that it takes; back: that a
 * derivative takes beside the weights. */
typedef struct plan { size_t W, H, work, weights, back; } plan;

static void print_model_json(const saeuron_context *x, const plan *p)
{
    printf("{\"model\": ");
    print_text(x->dir);
    printf(", \"digest\": \"%016" PRIx64 "\", \"width\": %zu, \"height\": %zu, \"steps\": %zu, \"guidance\": "
           "%g, \"kernels\": \"%s\", \"threads\": %d, \"weights_bytes\": %zu, \"work_bytes\": %zu, "
           "\"gradient_bytes\": %zu}\n",
           saeuron_model_digest(x), p->W, p->H, x->default_steps, (double)x->default_guidance,
           saeuron_kernels(x), x->threads, p->weights, p->work, p->back);
}

static int print_model(saeuron_context *x, const plan *p, saeuron_error *err)
{
    char hook[96];
    int  code = SAEURON_OK;
    printf("model\t%s\ndigest\t%016" PRIx64 "\nimage\t%zu x %zu, %zu steps, guidance %g\n", x->dir,
           saeuron_model_digest(x), p->W, p->H, x->default_steps, (double)x->default_guidance);
    print_network("text_encoder", &x->text_file, all_tensors);
    print_network("unet", &x->unet_file, all_tensors);
    print_network("vae", &x->vae_file, all_tensors);
    for (size_t i = 0; !code && unet_hook_name(&x->unet, i, hook, sizeof hook); i++)
        code = print_hook(x, hook, err);
    printf("kernels\t%s (built in: %s), %d threads\nmemory\t%zu bytes of weights, %zu of work\n",
           saeuron_kernels(x), nn_isa_list(), x->threads, p->weights, p->work);
    return code;
}

/* dir NULL: the model that the options name. */
static int info_model(const char *dir, saeuron_error *err)
{
    saeuron_context *x = NULL;
    const char *prompt = "";
    saeuron_generate_options g = sampling();
    plan p = { 0 };
    int  code = open_model(&x, dir, err);
    if (code)
        return code;
    g.prompts = &prompt;
    g.count = g.batch ? g.batch : 1;
    code = saeuron_image_size(x, &g, &p.W, &p.H, err);
    if (!code)
        code = saeuron_memory(x, &g, &p.work, &p.weights, err);
    if (!code && (memory || as_json))
        code = gradient_memory(x, p.H / vae_scale(&x->vae), p.W / vae_scale(&x->vae), &p.back, err);
    if (!code && as_json)
        print_model_json(x, &p);
    else if (!code && memory)
        printf("weights\t%zu bytes, read where they lie\nwork\t%zu bytes, one allocation\n"
               "gradient\t%zu bytes, one allocation\n", p.weights, p.work, p.back);
    else if (!code)
        code = print_model(x, &p, err);
    saeuron_close(x);
    return code;
}

/* ---- SAEs, classifiers, pictures ---- */

/* The first line of what is told of a folder: `kind` and where it lies. */
static void print_kind(const char *kind, const char *dir)
{
    printf(as_json ? "{\"%s\": " : "%s\t", kind);
    print_text(dir);
}

static int info_sae(const char *dir, saeuron_error *err)
{
    sae s;
    const int code = sae_load(&s, NULL, NULL, dir, err);
    if (code)
        return code;
    print_kind(as_json ? "sae" : "SAE", dir);
    printf(as_json ? ", \"width\": %zu, \"latents\": %zu, \"k\": %zu, \"digest\": \"%016" PRIx64 "\"}\n"
                    : "\nwidth\t%zu\nlatents\t%zu\nk\t%zu\ndigest\t%016" PRIx64 "\n",
           s.d, s.n, s.k, s.digest);
    sae_unload(&s, NULL);
    return SAEURON_OK;
}

static void print_classes(const saeuron_classifier *k)
{
    const size_t n = k->name ? saeuron_classes(k) : 0;
    printf(as_json ? ", \"names\": [" : n ? "names\t" : "");
    for (size_t i = 0; i < n; i++) {
        printf("%s", i ? ", " : "");
        print_text(saeuron_class_name(k, i));
    }
    printf(as_json ? "]}\n" : n ? "\n" : "");
}

static int info_classifier(const char *dir, saeuron_error *err)
{
    saeuron_classifier *k;
    const int code = saeuron_classifier_open(&k, NULL, dir, err);
    if (code)
        return code;
    const vit *v = &k->net;
    print_kind("classifier", dir);
    printf(as_json ? ", \"image\": %zu, \"patch\": %zu, \"width\": %zu, \"layers\": %zu, \"heads\": %zu, "
                     "\"classes\": %zu, \"digest\": \"%016" PRIx64 "\""
                   : "\nimage\t%zu pixels a side, patches of %zu\nwidth\t%zu, %zu layers, %zu heads\n"
                     "classes\t%zu\ndigest\t%016" PRIx64 "\n",
           v->S, v->patch, v->D, v->layers, v->heads, saeuron_classes(k), saeuron_classifier_digest(k));
    print_classes(k);
    if (!as_json)
        print_network("weights", &k->file, all_tensors);
    saeuron_classifier_close(k);
    return SAEURON_OK;
}

static int info_png(const char *path, saeuron_error *err)
{
    static const char *const keys[] = {
        "prompt", "negative_prompt", "seed", "noise_index", "noise", "steps", "cfg", "size", "forget",
        "steer", "residual", "shared", "map_steps", "reconstruct", "inject", "model", "contract",
    };
    png_file f;
    int code = png_open(&f, NULL, path, err);
    if (code)
        return code;
    const size_t size = png_text_room(&f);
    char *text = io_alloc(NULL, size, 1);
    if (!text)
        code = fail(err, SAEURON_ENOMEM, "%s: no memory for its texts", path);
    else {
        printf(as_json ? "{\"file\": " : "");
        print_text(path);
        printf(as_json ? ", \"width\": %zu, \"height\": %zu" : "\t%zu x %zu\n", f.W, f.H);
    }
    for (size_t i = 0; !code && i < sizeof keys / sizeof *keys; i++)
        if (!png_text(&f, keys[i], text, size, NULL))
            print_pair(keys[i], text, ", ");
    printf(as_json && !code ? "}\n" : "");
    io_free(NULL, text);
    png_close(&f);
    return code;
}

/* ---- info ---- */

static const option info_options[] = {
    { "--memory", NULL, "the memory that an image takes, and that a derivative does (gradient)",
      .flag = &memory },
    { "--tensors", NULL, "every tensor: name, type, shape", .flag = &all_tensors },
    { .group = size_options }, { .group = batch_options },
    { .group = model_options }, { .group = synthetic_options },
    { .group = json_options }, { 0 },
};

static int run_info(saeuron_error *err)
{
    const char *path = files.count ? files.item[0] : NULL;
    if (files.count > 1)
        return fail(err, SAEURON_EUSAGE, "one folder or file at a time");
    if (path && ends_with(path, ".safetensors"))
        return info_tensors(path, err);
    if (path && ends_with(path, ".png"))
        return info_png(path, err);
    if (path && is_sae(path))
        return info_sae(path, err);
    if (path && is_classifier(path))
        return info_classifier(path, err);
    return info_model(path, err);
}

const command command_info = {
    "info", "[DIR|FILE]",
    "what is in a model, an SAE, a classifier, a safetensors file or a picture",
    info_options, &files, .run = run_info,
};

/* ---- digest ---- */

static const option digest_options[] = {
    { .group = json_options }, { 0 },
};

static void print_digest(uint64_t h, const char *path, const char *name)
{
    printf(as_json ? "{\"digest\": \"%016" PRIx64 "\", \"file\": " : "%016" PRIx64 "  ", h);
    print_text(path);
    printf("%s", as_json ? ", \"tensor\": " : *name ? "  " : "");
    print_text(name);
    printf(as_json ? "}\n" : "\n");
}

static int digest_tensors(const char *path, saeuron_error *err)
{
    tensors t;
    const int code = tensors_open(&t, NULL, path, err);
    if (code)
        return code;
    for (size_t i = 0; i < t.count; i++)
        print_digest(nn_hash(0, t.list[i].data, t.list[i].bytes), path, t.list[i].name);
    tensors_close(&t);
    return SAEURON_OK;
}

static int digest_png(const char *path, saeuron_error *err)
{
    unsigned char *rgb;
    size_t W, H;
    const int code = png_load(NULL, path, &rgb, &W, &H, err);
    if (code)
        return code;
    print_digest(nn_hash(0, rgb, W * H * 3), path, "");
    io_free(NULL, rgb);
    return SAEURON_OK;
}

static int digest_npy(const char *path, saeuron_error *err)
{
    float *values;
    size_t shape[TENSOR_DIMS], n = 1;
    int    ndim;
    const int code = npy_load(NULL, path, &values, shape, &ndim, err);
    if (code)
        return code;
    for (int i = 0; i < ndim; i++)
        n *= shape[i];
    print_digest(digest_floats(values, n), path, "");
    io_free(NULL, values);
    return SAEURON_OK;
}

static int digest_sae(const char *dir, saeuron_error *err)
{
    sae s;
    const int code = sae_load(&s, NULL, NULL, dir, err);
    if (code)
        return code;
    print_digest(s.digest, dir, "");
    sae_unload(&s, NULL);
    return SAEURON_OK;
}

static int digest_classifier(const char *dir, saeuron_error *err)
{
    saeuron_classifier *k;
    const int code = saeuron_classifier_open(&k, NULL, dir, err);
    if (code)
        return code;
    print_digest(saeuron_classifier_digest(k), dir, "");
    saeuron_classifier_close(k);
    return SAEURON_OK;
}

static int digest_one(const char *path, saeuron_error *err)
{
    if (ends_with(path, ".safetensors"))
        return digest_tensors(path, err);
    if (ends_with(path, ".png"))
        return digest_png(path, err);
    if (ends_with(path, ".npy"))
        return digest_npy(path, err);
    if (is_sae(path))
        return digest_sae(path, err);
    if (is_classifier(path))
        return digest_classifier(path, err);
    return fail(err, SAEURON_EUSAGE, "%s: digest reads .safetensors, .npy and .png files, and folders of "
                "SAEs and classifiers", path);
}

static int run_digest(saeuron_error *err)
{
    int code = SAEURON_OK;
    if (!files.count)
        return fail(err, SAEURON_EUSAGE, "no file is named");
    for (size_t i = 0; !code && i < files.count; i++)
        code = digest_one(files.item[i], err);
    return code;
}

const command command_digest = {
    "digest", "FILE...",
    "the 64-bit digest of tensors and of a picture's pixels", digest_options, &files, .run = run_digest,
};
