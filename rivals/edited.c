/* edited.c: a model's folder with other weights in its UNet (edited.h).
 *
 * Not here: what is changed (uce.c), safetensors itself (files/tensors.c). */
#include "rivals/edited.h"

#include <string.h>

/* ---- copies ---- */

/* MODEL/NAME to dir/NAME; one that is absent is left out. */
static int copy_file(const saeuron_context *x, const char *dir, const char *name, saeuron_error *err)
{
    char    from[1024], to[1024];
    io_file f;
    if (!io_join(from, sizeof from, x->dir, name) || !io_join(to, sizeof to, dir, name))
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", dir);
    if (!io_exists(x->files, from))
        return SAEURON_OK;
    int code = io_open(&f, x->files, from, err);
    if (code)
        return code;
    code = io_write_file(to, f.data, f.size, err);
    io_close(&f);
    return code;
}

/* Every file that these weights lie in. */
static int copy_weights(const saeuron_context *x, const char *dir, const tensors *t, saeuron_error *err)
{
    const size_t root = strlen(x->dir) + 1;
    int code = SAEURON_OK;
    for (size_t i = 0; i < t->file_count && !code; i++)
        code = copy_file(x, dir, t->files[i].path + root, err);
    if (!code && t->file_count > 1)
        code = copy_file(x, dir, t->path + root, err);
    return code;
}

static int copy_all(const saeuron_context *x, const char *dir, saeuron_error *err)
{
    static const char *const folders[] = { "scheduler", "text_encoder", "tokenizer", "unet", "vae" };
    static const char *const names[] = {
        "model_index.json", "concepts.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
        "unet/config.json", "vae/config.json", "tokenizer/tokenizer.json", "tokenizer/vocab.json",
        "tokenizer/merges.txt", "tokenizer/tokenizer_config.json", "tokenizer/special_tokens_map.json",
        "tokenizer/added_tokens.json",
    };
    char path[1024];
    int  code = SAEURON_OK;
    for (size_t i = 0; i < sizeof folders / sizeof *folders && !code; i++)
        code = io_join(path, sizeof path, dir, folders[i])
             ? io_make_dir(path, err) : fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", dir);
    for (size_t i = 0; i < sizeof names / sizeof *names && !code; i++)
        code = copy_file(x, dir, names[i], err);
    if (!code)
        code = copy_weights(x, dir, &x->text_file, err);
    return code ? code : copy_weights(x, dir, &x->vae_file, err);
}

/* ---- the UNet ---- */

static const float *new_values(const changed *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(list[i].name, name))
            return list[i].values;
    return NULL;
}

/* Writes a tensor's values: the new ones, or its own, widened piece by piece. */
static int put(io_out *out, const tensor_out *o, const tensor *t, const float *values, saeuron_error *err)
{
    float piece[4096];
    const weight w = { .data = t->data, .type = t->type };
    int code = SAEURON_OK;
    if (values)
        return tensors_put(out, o, 0, values, t->count, err);
    for (size_t first = 0; first < t->count && !code; first += sizeof piece / sizeof *piece) {
        const size_t n = least(sizeof piece / sizeof *piece, t->count - first);
        nn_widen(piece, w, first, n);
        code = tensors_put(out, o, first, piece, n, err);
    }
    return code;
}

static int save_unet(const saeuron_context *x, const char *path, tensor_out *all, const changed *list,
                     size_t count, const char *const *metadata, saeuron_error *err)
{
    const tensors *file = &x->unet_file;
    io_out out;
    for (size_t i = 0; i < file->count; i++) {
        const tensor *t = &file->list[i];
        const bool is_new = new_values(list, count, t->name) != NULL;
        all[i] = (tensor_out){ .name = t->name, .type = !is_new && t->type == DT_F16 ? DT_F16 : DT_F32,
                               .ndim = t->ndim };
        memcpy(all[i].shape, t->shape, sizeof all[i].shape);
    }
    int code = tensors_begin(&out, &x->host, path, all, file->count, metadata, err);
    if (code)
        return code;
    for (size_t i = 0; i < file->count && !code; i++)
        code = put(&out, &all[i], &file->list[i], new_values(list, count, file->list[i].name), err);
    if (code)
        io_out_abort(&out);
    return code ? code : io_out_commit(&out, err);
}

int save_edited(const saeuron_context *x, const char *dir, const changed *list, size_t count,
                const char *const *metadata, saeuron_error *err)
{
    char path[1024];
    if (!strcmp(dir, x->dir))
        return fail(err, SAEURON_EUSAGE, "%s: is the model's own folder: name another", dir);
    if (!io_join(path, sizeof path, dir, "unet/diffusion_pytorch_model.safetensors"))
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", dir);
    tensor_out *all = io_alloc(&x->host, x->unet_file.count, sizeof *all);
    int code = all ? copy_all(x, dir, err) : fail(err, SAEURON_ENOMEM, "no memory for the UNet's tensors");
    if (!code)
        code = save_unet(x, path, all, list, count, metadata, err);
    io_free(&x->host, all);
    return code;
}
