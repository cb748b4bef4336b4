/* command_info.c: the commands `info` and `digest`. */
#include "arithmetic/rng.h"
#include "evaluation/classifier.h"
#include "evaluation/picture.h"
#include "files/npy.h"
#include "files/png.h"
#include "forget.h"
#include "program/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- info, digest ---- */

static void print_shape(const tensor *t)
{
    putchar('[');
    for (int i = 0; i < t->ndim; i++)
        printf("%s%zu", i ? ", " : "", t->shape[i]);
    putchar(']');
}

static void print_tensor(const tensor *t, const char *before)
{
    printf("%s", before);
    print_name(t->name);
    printf("\t%s\t", io_dtype_name(t->type));
    print_shape(t);
    putchar('\n');
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

/* The SAEs of a model, hook by hook: sizes and concepts. */
static int print_saes(saeuron_context *x, saeuron_error *err)
{
    char hook[96], dir[1024], path[1100];
    for (size_t i = 0; unet_hook_name(&x->unet, i, hook, sizeof hook); i++) {
        sae   s;
        stats st;
        if (!sae_folder(x, hook, dir))
            return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", x->dir);
        snprintf(path, sizeof path, "%s/stats.safetensors", dir);
        printf("hook %s\twidth %zu", hook, unet_hook_width(&x->unet, hook, NULL));
        if (!io_exists(&x->host, path)) {
            printf("\n");
            continue;
        }
        int code = sae_load(&s, &x->host, NULL, dir, err);
        if (!code && (code = stats_load(&st, &x->host, path, err)) != SAEURON_OK)
            sae_unload(&s, &x->host);
        if (code)
            return code;
        printf("\tSAE %zu latents, k %zu\tstatistics of %zu steps, concepts", s.n, s.k, st.steps);
        for (size_t j = 0; j < st.concepts; j++) {
            putchar(' ');
            print_name(stats_name(&st, j));
        }
        printf("\n");
        stats_unload(&st, &x->host);
        sae_unload(&s, &x->host);
    }
    return SAEURON_OK;
}

static int info_model(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error err = { 0 };
    talk t;
    const char *prompt = "";
    saeuron_generate_options g = { .prompts = &prompt, .count = o->batch ? (size_t)o->batch : 1, .batch = (size_t)o->batch,
                               .steps = (size_t)o->steps, .height = (size_t)o->height, .width = (size_t)o->width };
    size_t W, H, work, weights;
    int code = open_model(&x, o, &t);
    if (code)
        return code;
    code = saeuron_image_size(x, &g, &W, &H, &err);
    if (!code)
        code = saeuron_memory(x, &g, &work, &weights, &err);
    if (!code && o->json) {
        printf("{\"model\": ");
        print_json_string(x->dir);
        printf(", \"digest\": \"%016" PRIx64 "\", \"width\": %zu, \"height\": %zu, \"steps\": %zu, \"guidance\": %g, \"kernels\": \"%s\", "
               "\"threads\": %d, \"weights_bytes\": %zu, \"work_bytes\": %zu}\n",
               saeuron_model_digest(x), W, H, x->default_steps, (double)x->default_guidance, saeuron_kernels(x), x->threads, weights, work);
    } else if (!code && o->memory) {
        printf("weights\t%zu bytes, read where they lie\nwork\t%zu bytes, one allocation\n", weights, work);
    } else if (!code) {
        printf("model\t%s\ndigest\t%016" PRIx64 "\nimage\t%zu x %zu, %zu steps, guidance %g\n", x->dir, saeuron_model_digest(x), W, H,
               x->default_steps, (double)x->default_guidance);
        print_network("text_encoder", &x->text_file, o->tensors);
        print_network("unet", &x->unet_file, o->tensors);
        print_network("vae", &x->vae_file, o->tensors);
        code = print_saes(x, &err);
        printf("kernels\t%s (built in: %s), %d threads\nmemory\t%zu bytes of weights, %zu of work\n", saeuron_kernels(x), nn_isa_list(), x->threads, weights, work);
    }
    saeuron_close(x);
    return code ? complain(&err) : 0;
}

static bool ends_with(const char *text, const char *tail)
{
    const size_t n = strlen(text), m = strlen(tail);
    return n >= m && !strcmp(text + n - m, tail);
}

/* "  key = value", or a member of a JSON object. */
static void print_pair(const char *key, const char *value, const char *before, bool as_json)
{
    printf("%s", as_json ? before : "  ");
    (as_json ? print_json_string : print_name)(key);
    printf(as_json ? ": " : " = ");
    (as_json ? print_json_string : print_name)(value);
    printf(as_json ? "" : "\n");
}

static void print_tensor_json(const tensor *t, const char *before)
{
    printf("%s{\"name\": ", before);
    print_json_string(t->name);
    printf(", \"dtype\": \"%s\", \"shape\": ", io_dtype_name(t->type));
    print_shape(t);
    putchar('}');
}

static int info_tensors(const char *path, bool as_json, saeuron_error *err)
{
    tensors t;
    json key, value;
    const char *before = "";
    int code = tensors_open(&t, NULL, path, err);
    if (code)
        return code;
    if (as_json) {
        printf("{\"file\": ");
        print_json_string(path);
        printf(", \"parameters\": %zu, \"tensors\": [", parameters(&t));
        for (size_t i = 0; i < t.count; i++)
            print_tensor_json(&t.list[i], i ? ", " : "");
        printf("], \"metadata\": {");
    } else {
        print_network(path, &t, true);
    }
    for (json_iter it = json_begin(t.metadata); json_next(&it, &key, &value);) {
        char k[256], v[4096];
        if (!json_string(key, k, sizeof k, NULL) || !json_string(value, v, sizeof v, NULL))
            continue;
        print_pair(k, v, before, as_json);
        before = ", ";
    }
    if (as_json)
        printf("}}\n");
    tensors_close(&t);
    return SAEURON_OK;
}

static int info_png(const char *path, bool as_json, saeuron_error *err)
{
    static const char *const keys[] = { "prompt", "negative_prompt", "seed", "noise_index", "noise", "steps", "cfg", "size", "forget", "steer", "residual", "shared", "map_steps", "reconstruct", "inject", "model", "contract" };
    unsigned char *rgb;
    size_t W, H;
    int code = png_load(NULL, path, &rgb, &W, &H, err);
    if (code)
        return code;
    io_free(NULL, rgb);
    if (as_json) {
        printf("{\"file\": ");
        print_json_string(path);
        printf(", \"width\": %zu, \"height\": %zu", W, H);
    } else {
        print_name(path);
        printf("\t%zu x %zu\n", W, H);
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char text[16384];
        if (!png_text(NULL, path, keys[i], text, sizeof text, NULL))
            print_pair(keys[i], text, ", ", as_json);
    }
    if (as_json)
        printf("}\n");
    return SAEURON_OK;
}

static int info_sae(const char *dir, bool as_json, saeuron_error *err)
{
    sae s;
    const int code = sae_load(&s, NULL, NULL, dir, err);
    if (code)
        return code;
    if (as_json) {
        printf("{\"sae\": ");
        print_json_string(dir);
    } else {
        printf("SAE\t");
        print_name(dir);
    }
    printf(as_json ? ", \"width\": %zu, \"latents\": %zu, \"k\": %zu, \"digest\": \"%016" PRIx64 "\"}\n"
                   : "\nwidth\t%zu\nlatents\t%zu\nk\t%zu\ndigest\t%016" PRIx64 "\n", s.d, s.n, s.k, s.digest);
    sae_unload(&s, NULL);
    return SAEURON_OK;
}

/* A config.json at the top, and not beside a diffusers pipeline. */
static bool is_classifier(const char *dir)
{
    char path[1024];
    return io_join(path, sizeof path, dir, "config.json") && io_exists(NULL, path) &&
           io_join(path, sizeof path, dir, "scheduler/scheduler_config.json") && !io_exists(NULL, path);
}

static int info_classifier(const char *dir, bool as_json, bool all, saeuron_error *err)
{
    saeuron_classifier *k;
    const int code = saeuron_classifier_open(&k, NULL, dir, err);
    if (code)
        return code;
    const vit *v = &k->net;
    const char *before = "";
    if (as_json) {
        printf("{\"classifier\": ");
        print_json_string(dir);
    } else {
        printf("classifier\t");
        print_name(dir);
    }
    printf(as_json ? ", \"image\": %zu, \"patch\": %zu, \"width\": %zu, \"layers\": %zu, \"heads\": %zu, \"classes\": %zu, \"digest\": \"%016" PRIx64 "\""
                   : "\nimage\t%zu pixels a side, patches of %zu\nwidth\t%zu, %zu layers, %zu heads\nclasses\t%zu\ndigest\t%016" PRIx64 "\n",
           v->S, v->patch, v->D, v->layers, v->heads, saeuron_classes(k), saeuron_classifier_digest(k));
    printf(!as_json ? "%s" : ", \"names\": [", k->name ? "names" : "");
    for (size_t i = 0; k->name && i < saeuron_classes(k); i++, before = ", ") {
        printf("%s", as_json ? before : i ? ", " : "\t");
        (as_json ? print_json_string : print_name)(saeuron_class_name(k, i));
    }
    printf(as_json ? "]}\n" : k->name ? "\n" : "");
    if (!as_json)
        print_network("weights", &k->file, all);
    saeuron_classifier_close(k);
    return SAEURON_OK;
}

int run_info(const options *o)
{
    saeuron_error err = { 0 };
    char path[1024];
    if (o->rest.count > 1)
        return usage("info", "%s", "one folder or file at a time");
    if (!o->rest.count)
        return info_model(o);
    const char *what = o->rest.item[0];
    if (ends_with(what, ".safetensors"))
        return info_tensors(what, o->json, &err) ? complain(&err) : 0;
    if (ends_with(what, ".png"))
        return info_png(what, o->json, &err) ? complain(&err) : 0;
    if (io_join(path, sizeof path, what, "cfg.json") && io_exists(NULL, path))
        return info_sae(what, o->json, &err) ? complain(&err) : 0;
    if (is_classifier(what))
        return info_classifier(what, o->json, o->tensors, &err) ? complain(&err) : 0;
    options with = *o;
    with.model = what;
    return info_model(&with);
}

static void print_digest(uint64_t h, const char *path, const char *name, bool as_json)
{
    if (!as_json) {
        printf("%016" PRIx64 "  ", h);
        print_name(path);
        printf("%s", *name ? "  " : "");
        print_name(name);
        putchar('\n');
        return;
    }
    printf("{\"digest\": \"%016" PRIx64 "\", \"file\": ", h);
    print_json_string(path);
    printf(", \"tensor\": ");
    print_json_string(name);
    printf("}\n");
}

/* The one digest of an SAE's folder or a classifier's; *known: it was one. */
static int digest_folder(const char *dir, bool as_json, bool *known, saeuron_error *err)
{
    char path[1024];
    sae  s;
    saeuron_classifier *k;
    int  code = SAEURON_OK;
    *known = true;
    if (io_join(path, sizeof path, dir, "cfg.json") && io_exists(NULL, path)) {
        if ((code = sae_load(&s, NULL, NULL, dir, err)) == SAEURON_OK) {
            print_digest(s.digest, dir, "", as_json);
            sae_unload(&s, NULL);
        }
    } else if (is_classifier(dir)) {
        if ((code = saeuron_classifier_open(&k, NULL, dir, err)) == SAEURON_OK) {
            print_digest(saeuron_classifier_digest(k), dir, "", as_json);
            saeuron_classifier_close(k);
        }
    } else {
        *known = false;
    }
    return code;
}

static int digest_file(const char *path, bool as_json, saeuron_error *err)
{
    tensors t;
    unsigned char *rgb;
    float *values;
    size_t W, H, shape[TENSOR_DIMS], n = 1;
    int ndim, code;
    if (ends_with(path, ".png")) {
        if ((code = png_load(NULL, path, &rgb, &W, &H, err)) == SAEURON_OK) {
            print_digest(nn_hash(0, rgb, W * H * 3), path, "", as_json);
            io_free(NULL, rgb);
        }
        return code;
    }
    if (ends_with(path, ".npy")) {
        if ((code = npy_load(NULL, path, &values, shape, &ndim, err)) == SAEURON_OK) {
            for (int i = 0; i < ndim; i++)
                n *= shape[i];
            print_digest(digest_floats(values, n), path, "", as_json);
            io_free(NULL, values);
        }
        return code;
    }
    if (!ends_with(path, ".safetensors")) {
        bool known;
        if ((code = digest_folder(path, as_json, &known, err)) != SAEURON_OK || known)
            return code;
        return fail(err, SAEURON_EUSAGE, "%s: digest reads .safetensors, .npy and .png files, and folders of SAEs and classifiers", path);
    }
    if ((code = tensors_open(&t, NULL, path, err)) != SAEURON_OK)
        return code;
    for (size_t i = 0; i < t.count; i++)
        print_digest(nn_hash(0, t.list[i].data, t.list[i].bytes), path, t.list[i].name, as_json);
    tensors_close(&t);
    return SAEURON_OK;
}

int run_digest(const options *o)
{
    saeuron_error err = { 0 };
    if (!o->rest.count)
        return usage("digest", "%s", "no file is named");
    for (size_t i = 0; i < o->rest.count; i++)
        if (digest_file(o->rest.item[i], o->json, &err))
            return complain(&err);
    return 0;
}
