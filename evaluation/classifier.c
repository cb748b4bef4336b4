/* classifier.c: a classifier's folder opened; pictures resized, normalised and judged; saeuron_classif*.
 *
 *   pixels [H,W,3] --resize_bilinear--> [S,S,3] --vit_pixels--> x in about [-1,1] --vit_forward--> logits
 *
 * Not here: the network and its config.json (vit.c), what answers are counted for (metrics.c). Training:
 * weights/train/classifier.py.
 * Source: UnlearnCanvas' evaluation for the preprocessing (Resize, ToTensor, Normalize); Pillow's
 * Image.resize.
 * Letters: B pictures, S side of the network's picture; W, H sides of a picture as it comes, w, h as it
 * goes. */
#include "evaluation/classifier.h"

#include <string.h>

/* ---- preprocessing ---- */

#define FRACTION 22 /* bits behind the point of a coefficient: 32 less 8 of the byte and 2 to spare */

/* How one side of n pixels is made of another: which old pixels each new one takes, and how much of each. */
typedef struct filter { size_t taps, *first, *count; uint32_t *k; } filter; /* k [n,taps] */

/* The triangle of width 2 (in old pixels; when shrinking, in new ones) around each new pixel's centre, its
 * parts divided by their sum and rounded to FRACTION bits: contract 5, Resize. old, n at least 1. */
static filter make_filter(arena *a, size_t old, size_t n)
{
    const double scale = (double)old / (double)n, width = scale < 1 ? 1 : scale, inverse = 1 / width;
    filter f = { .taps = 2 * ((old + n - 1) / n) + 3 };
    double *part = arena_bytes(a, f.taps, sizeof *part);
    f.first = arena_bytes(a, n, sizeof *f.first);
    f.count = arena_bytes(a, n, sizeof *f.count);
    f.k = arena_bytes(a, times(n, f.taps), sizeof *f.k); /* the last: if it is there, all are */
    for (size_t i = 0; f.k && i < n; i++) {
        const double centre = ((double)i + 0.5) * scale;
        const double low = centre - width + 0.5, high = centre + width + 0.5;
        const size_t first = low < 0 ? 0 : (size_t)low, end = high < (double)old ? (size_t)high : old;
        double sum = 0;
        for (size_t j = 0; j < end - first; j++) {
            const double at = ((double)(j + first) - centre + 0.5) * inverse, away = at < 0 ? -at : at;
            part[j] = away < 1 ? 1 - away : 0;
            sum += part[j];
        }
        for (size_t j = 0; j < end - first; j++)
            f.k[i * f.taps + j] = (uint32_t)(0.5 + part[j] / sum * (double)(1 << FRACTION));
        f.first[i] = first;
        f.count[i] = end - first;
    }
    return f;
}

/* The byte of a sum that began at one half. Coefficients are rounded, so their sum is not exactly one:
 * Pillow, too, stops at 255. */
static unsigned char byte_of(uint32_t sum)
{
    return (unsigned char)(sum >> FRACTION > 255 ? 255 : sum >> FRACTION);
}

/* y [H,w,3] from x [H,W,3]. */
static void resize_rows(unsigned char *y, size_t w, const unsigned char *x, size_t W, size_t H,
                        const filter *f)
{
    for (size_t row = 0; row < H; row++, x += 3 * W)
        for (size_t i = 0; i < w; i++, y += 3)
            for (size_t channel = 0; channel < 3; channel++) {
                const unsigned char *from = x + 3 * f->first[i] + channel;
                uint32_t sum = 1u << (FRACTION - 1);
                for (size_t j = 0; j < f->count[i]; j++)
                    sum += from[3 * j] * f->k[i * f->taps + j];
                y[channel] = byte_of(sum);
            }
}

/* y [h,n] from x [H,n]; sum [n] is scratch. */
static void resize_columns(unsigned char *y, size_t h, const unsigned char *x, size_t n, const filter *f,
                           uint32_t *sum)
{
    for (size_t row = 0; row < h; row++, y += n) {
        for (size_t i = 0; i < n; i++)
            sum[i] = 1u << (FRACTION - 1);
        for (size_t j = 0; j < f->count[row]; j++) {
            const unsigned char *from = x + (f->first[row] + j) * n;
            const uint32_t k = f->k[row * f->taps + j];
            for (size_t i = 0; i < n; i++)
                sum[i] += from[i] * k;
        }
        for (size_t i = 0; i < n; i++)
            y[i] = byte_of(sum[i]);
    }
}

/* y [H,w,3] from x [H,W,3]; y NULL plans. */
static void resize_width(arena *a, unsigned char *y, size_t w, const unsigned char *x, size_t W, size_t H)
{
    const size_t mark = arena_mark(a);
    const filter f = make_filter(a, W, w);
    if (y && f.k)
        resize_rows(y, w, x, W, H, &f);
    arena_release(a, mark);
}

/* y [h,W,3] from x [H,W,3]; y NULL plans. */
static void resize_height(arena *a, unsigned char *y, size_t h, const unsigned char *x, size_t W, size_t H)
{
    const size_t mark = arena_mark(a);
    const filter f = make_filter(a, H, h);
    uint32_t *sum = arena_bytes(a, times(W, 3), sizeof *sum);
    if (y && sum)
        resize_columns(y, h, x, 3 * W, &f, sum);
    arena_release(a, mark);
}

void resize_bilinear(nn *c, unsigned char *y, size_t w, size_t h, const unsigned char *x, size_t W, size_t H)
{
    arena *a = c->work;
    const size_t mark = arena_mark(a);
    /* Bytes are rounded between the passes, so their order shows. Pillow 13 takes the height first where it
     * shrinks by more than twice what the width does; before, only for pictures 100 times higher than
     * wide. */
    const bool height_first = h < H && (w >= W || H - h > 2 * (W - w));
    unsigned char *between = arena_bytes(a, height_first ? times(h, W) : times(H, w), 3);
    if (height_first) {
        resize_height(a, between, h, x, W, H);
        resize_width(a, between ? y : NULL, w, between, W, h);
    } else {
        resize_width(a, between, w, x, W, H);
        resize_height(a, between ? y : NULL, h, between, w, H);
    }
    arena_release(a, mark);
}

void vit_pixels(const vit *v, float *x, const unsigned char *rgb, size_t n)
{
    for (size_t i = 0; i < 3 * n; i++)
        x[i] = ((float)rgb[i] / 255.0f - v->mean[i % 3]) / v->std[i % 3];
}

/* ---- a classifier's folder ---- */

/* label_names, one a class, into one block of memory. */
static int read_names(saeuron_classifier *k, json object, const char *path, saeuron_error *err)
{
    const size_t n = k->net.classes;
    json   list, v, cfg;
    char   text[256];
    size_t length, bytes = 0, count = 0;
    if ((!json_get(object, "label_names", &list) || json_kind(list) == 'n') &&
        (!json_get(object, "pretrained_cfg", &cfg) || !json_get(cfg, "label_names", &list) ||
         json_kind(list) == 'n'))
        return SAEURON_OK;
    for (json_iter it = json_begin(list); json_next(&it, NULL, &v); count++) {
        if (json_kind(list) != '[' || !json_string(v, text, sizeof text, &length))
            return fail(err, SAEURON_EFORMAT, "%s: \"label_names\" must be a list of names of at most 255 "
                        "bytes each", path);
        bytes += length + 1;
    }
    if (json_kind(list) != '[' || count != n)
        return fail(err, SAEURON_EFORMAT, "%s: \"label_names\" has %zu names for %zu classes: one for each "
                    "is wanted, in the order of the outputs", path, count, n);
    char *to = io_alloc(&k->host, 1, n * sizeof *k->name + bytes);
    if (!to)
        return fail(err, SAEURON_ENOMEM, "%s: no memory for %zu names", path, n);
    k->name = (const char **)(void *)to;
    to += n * sizeof *k->name;
    count = 0;
    for (json_iter it = json_begin(list); json_next(&it, NULL, &v); to += length + 1) {
        json_string(v, to, sizeof text, &length);
        k->name[count++] = to;
    }
    return SAEURON_OK;
}

static int read_config(saeuron_classifier *k, saeuron_error *err)
{
    char    path[1024];
    io_file f;
    json    object;
    int     code;
    if (!io_join(path, sizeof path, k->dir, "config.json"))
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", k->dir);
    if ((code = io_open(&f, &k->host, path, err)) != SAEURON_OK)
        return code;
    code = json_open_object(&object, (const char *)f.data, f.size, path, err);
    if (!code)
        code = vit_configure(&k->net, object, path, err);
    if (!code)
        code = read_names(k, object, path, err);
    io_close(&f);
    return code;
}

/* config.json, then the tensors. */
static int open_folder(saeuron_classifier *k, saeuron_error *err)
{
    nn  c;
    int code = read_config(k, err);
    if (!code)
        code = tensors_open_model(&k->file, &k->host, k->dir, "model", err);
    if (code)
        return code;
    nn_init(&c, k->host.isa, k->threads, NULL);
    code = bind_file(&k->host, &k->file, &c, packs(&k->host, &k->file), vit_bind, &k->net, &k->memory, err);
    tensors_release(&k->file); /* every value was read, to check it; what is used is read again */
    return code;
}

static int check_environment(int threads, saeuron_error *err)
{
    if (nn_environment_ok() && nn_team_environment_ok(threads))
        return SAEURON_OK;
    return fail(err, SAEURON_EENV, "the floating-point environment, here or in a thread of OpenMP's pool, "
                "flushes subnormals or does not round to nearest: restore it before calling, or give the "
                "classifier 1 thread");
}

int saeuron_classifier_open(saeuron_classifier **out, const saeuron_host *host, const char *dir,
                            saeuron_error *err)
{
    saeuron_classifier *k;
    nn  c;
    int code;
    if ((code = need(out, "k", err)) != SAEURON_OK)
        return code;
    *out = NULL;
    if ((code = need(dir, "dir", err)) != SAEURON_OK)
        return code;
    if (err)
        *err = (saeuron_error){ 0 };
    if (!nn_init(&c, host ? host->isa : NULL, 1, NULL))
        return fail(err, SAEURON_EUSAGE, "kernels \"%.20s\" are not built in or not for this CPU; there "
                    "are: %s", host->isa, nn_isa_list());
    if (strlen(dir) >= sizeof k->dir)
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", dir);
    if (!(k = io_alloc(host, 1, sizeof *k)))
        return fail(err, SAEURON_ENOMEM, "no memory to open %.200s", dir);
    memset(k, 0, sizeof *k);
    if (host)
        k->host = *host;
    k->threads = k->host.threads > 0 ? k->host.threads : os_cores();
    memcpy(k->dir, dir, strlen(dir) + 1);
    if ((code = check_environment(k->threads, err)) != SAEURON_OK ||
        (code = open_folder(k, err)) != SAEURON_OK) {
        saeuron_classifier_close(k);
        return code;
    }
    *out = k;
    return SAEURON_OK;
}

void saeuron_classifier_close(saeuron_classifier *k)
{
    if (!k)
        return;
    const saeuron_host host = k->host;
    tensors_close(&k->file);
    io_free(&host, k->memory);
    io_free(&host, k->name);
    io_free(&host, k);
}

size_t saeuron_classes(const saeuron_classifier *k) { return k ? k->net.classes : 0; }

const char *saeuron_class_name(const saeuron_classifier *k, size_t i)
{
    return k && k->name && i < k->net.classes ? k->name[i] : NULL;
}

uint64_t saeuron_classifier_digest(const saeuron_classifier *k)
{
    if (!k)
        return 0;
    const uint64_t h = tensors_digest(0, &k->file);
    tensors_release(&k->file);
    return h;
}

/* Logits and features of B pictures; on an arena without memory it plans. */
static void judge(nn *c, const vit *v, float *logits, float *features, const unsigned char *rgb, size_t B,
                  size_t W, size_t H)
{
    const size_t n = v->S * v->S, mark = arena_mark(c->work);
    float *x = arena_floats(c->work, times(B, 3 * n));
    unsigned char *small = arena_bytes(c->work, n, 3);
    for (size_t i = 0; i < (x ? B : 1); i++) {
        resize_bilinear(c, small, v->S, v->S, rgb ? rgb + i * 3 * W * H : NULL, W, H);
        if (x && small)
            vit_pixels(v, x + i * 3 * n, small, n);
    }
    vit_forward(c, v, logits, features, x, B, NULL);
    arena_release(c->work, mark);
}

/* All pictures, VIT_IMAGES at a time, in work. */
static int judge_all(saeuron_classifier *k, nn *c, const unsigned char *rgb, size_t count, size_t W, size_t H,
                     float *logits, float *features, saeuron_error *err)
{
    const size_t classes = k->net.classes;
    for (size_t i = 0, B; i < count; i += B) {
        B = count - i < VIT_IMAGES ? count - i : VIT_IMAGES;
        float *y = logits + i * classes, *z = features ? features + i * k->net.D : NULL;
        judge(c, &k->net, y, z, rgb + i * 3 * W * H, B, W, H);
        if (c->work->failed)
            return fail(err, SAEURON_ENOMEM, "the planned memory was too small: this is a bug");
        const size_t bad = nn_first_bad(y, B * classes);
        if (bad < B * classes)
            return fail(err, SAEURON_ENAN, "%.300s: picture %zu of %zu: its logits are not finite: the "
                        "weights are too large", k->dir, i + bad / classes + 1, count);
        if (k->host.progress && k->host.progress(k->host.user, "classifying", i + B, count))
            return fail(err, SAEURON_ECANCEL, "stopped after %zu of %zu pictures were "
                        "classified", i + B, count);
    }
    return SAEURON_OK;
}

size_t classifier_width(const saeuron_classifier *k) { return k->net.D; }

int classifier_judge(saeuron_classifier *k, const unsigned char *rgb, size_t count, size_t width,
                     size_t height, float *logits, float *features, saeuron_error *err)
{
    enum { LARGEST = 32768 };
    arena  work = { 0 };
    size_t bytes;
    nn     c;
    int    code;
    if ((code = check_environment(k->threads, err)) != SAEURON_OK)
        return code;
    if (!count || !width || !height || width > LARGEST || height > LARGEST ||
        !nn_mul(count, 3 * width * height, &bytes))
        return fail(err, SAEURON_EUSAGE, "%zu pictures of %zu x %zu pixels cannot be classified: at least "
                    "one, of 1 to %d a side", count, width, height, LARGEST);
    nn_init(&c, k->host.isa, k->threads, &work);
    judge(&c, &k->net, NULL, NULL, NULL, count < VIT_IMAGES ? count : VIT_IMAGES, width, height);
    void *memory = work.failed || work.peak > SIZE_MAX - 64 ? NULL : io_alloc(&k->host, work.peak + 64, 1);
    if (!memory)
        return fail(err, SAEURON_ENOMEM, "no memory for the %zu MB that classifying pictures of %zu x %zu "
                    "pixels needs", work.peak / 1000000 + 1, width, height);
    work = (arena){ .base = memory, .size = work.peak + 64 };
    code = judge_all(k, &c, rgb, count, width, height, logits, features, err);
    io_free(&k->host, memory);
    return code;
}

int saeuron_classify(saeuron_classifier *k, const unsigned char *rgb, size_t count, size_t width,
                     size_t height, float *logits, saeuron_error *err)
{
    int code;
    if ((code = need(k, "k", err)) != SAEURON_OK || (code = need(rgb, "rgb", err)) != SAEURON_OK ||
        (code = need(logits, "logits", err)) != SAEURON_OK)
        return code;
    return classifier_judge(k, rgb, count, width, height, logits, NULL, err);
}
