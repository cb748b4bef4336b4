/* synthetic.c: a model without weights, of the architecture of Stable Diffusion 1.5: for measuring speed and
 * memory, and for comparing at full size where no checkpoint is at hand. The hash of contract 6 fills it.
 *
 *   "sd15" --> configs and a tokenizer, as the files of a folder --> saeuron_open_synthetic (saeuron.c)
 *
 * Not here: the hash and the filling (layers/bind.c), the comparison with diffusers (tests/fullsize.py).
 * Source: the published config.json of each part. The tokenizer has CLIP's ids for bytes and no merges. */
#include "files/synthetic.h"
#include "files/json.h"
#include "files/print.h"
#include "files/system.h"
#include "files/utf8.h"

#include <string.h>

/* The files of the folder SYNTHETIC, but for the vocabulary, which is made. */
static const struct { const char *path, *text; } files[] = {
    { SYNTHETIC "/unet/config.json",
      "{\"_class_name\": \"UNet2DConditionModel\", \"act_fn\": \"silu\", \"attention_head_dim\": 8, "
      "\"block_out_channels\": [320, 640, 1280, 1280], \"cross_attention_dim\": 768, "
      "\"down_block_types\": [\"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\", "
      "\"DownBlock2D\"], "
      "\"in_channels\": 4, \"layers_per_block\": 2, \"norm_eps\": 1e-05, \"norm_num_groups\": 32, "
      "\"out_channels\": 4, \"sample_size\": 64, "
      "\"up_block_types\": [\"UpBlock2D\", \"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\", "
      "\"CrossAttnUpBlock2D\"]}" },
    { SYNTHETIC "/vae/config.json",
      "{\"_class_name\": \"AutoencoderKL\", \"act_fn\": \"silu\", "
      "\"block_out_channels\": [128, 256, 512, 512], "
      "\"down_block_types\": [\"DownEncoderBlock2D\", \"DownEncoderBlock2D\", \"DownEncoderBlock2D\", "
      "\"DownEncoderBlock2D\"], "
      "\"in_channels\": 3, \"latent_channels\": 4, \"layers_per_block\": 2, \"norm_num_groups\": 32, "
      "\"out_channels\": 3, \"sample_size\": 512, \"scaling_factor\": 0.18215, "
      "\"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\", \"UpDecoderBlock2D\", "
      "\"UpDecoderBlock2D\"]}" },
    { SYNTHETIC "/text_encoder/config.json",
      "{\"architectures\": [\"CLIPTextModel\"], \"hidden_act\": \"quick_gelu\", \"hidden_size\": 768, "
      "\"intermediate_size\": 3072, \"layer_norm_eps\": 1e-05, \"max_position_embeddings\": 77, "
      "\"num_attention_heads\": 12, \"num_hidden_layers\": 12, \"vocab_size\": 49408}" },
    { SYNTHETIC "/scheduler/scheduler_config.json",
      "{\"_class_name\": \"DDIMScheduler\", \"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\", "
      "\"beta_start\": 0.00085, \"clip_sample\": false, \"num_train_timesteps\": 1000, "
      "\"set_alpha_to_one\": false, \"steps_offset\": 1}" },
    { SYNTHETIC "/tokenizer/merges.txt", "#version: 0.2\n" },
};

enum { VOCABULARY = 49408 };
struct synthetic {
    saeuron_host host;          /* serves the files above; memory as the caller's host gives it */
    saeuron_host real;
    size_t   size;          /* of vocab */
    char     vocab[VOCABULARY * 32];
};

static void *pass_alloc(void *user, size_t size) { return io_alloc(&((synthetic *)user)->real, size, 1); }
static void  pass_free(void *user, void *p) { io_free(&((synthetic *)user)->real, p); }
static void  keep_open(void *user, const void *data, size_t size) { (void)user, (void)data, (void)size; }

static const void *serve(void *user, const char *path, size_t *size)
{
    synthetic *s = user;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!strcmp(path, files[i].path)) {
            *size = strlen(files[i].text);
            return files[i].text;
        }
    *size = s->size;
    return strcmp(path, SYNTHETIC "/tokenizer/vocab.json") ? NULL : s->vocab;
}

/* CLIP's vocabulary as far as bytes need it: ids 0 to 255 a byte's character, 256 to 511 the same with </w>,
 * the two tokens of the ends last; between them names that no text gives. */
static void make_vocabulary(synthetic *s)
{
    static const struct { uint32_t from, to; } characters[] =
        { { '!', '~' }, { 0xA1, 0xAC }, { 0xAE, 0xFF }, { 256, 323 } };
    char  *p = s->vocab;
    size_t id = 0;
    for (int end = 0; end < 2; end++)
        for (size_t r = 0; r < 4; r++)
            for (uint32_t c = characters[r].from; c <= characters[r].to; c++) {
                char piece[16] = { 0 };
                memcpy(piece + io_utf8_put(piece, c), "</w>", end ? 4 : 0);
                p += print_into(p, 3, "%s", id ? ", " : "{");
                p += json_quote(p, 32, piece);
                p += print_into(p, 24, ": %zu", id++);
            }
    for (; id < VOCABULARY - 2; id++)
        p += print_into(p, 48, ", \"<%zu>\": %zu", id, id);
    p += print_into(p, 96, ", \"<|startoftext|>\": %zu, \"<|endoftext|>\": %zu}", id, id + 1);
    s->size = (size_t)(p - s->vocab);
}

synthetic *synthetic_open(const saeuron_host *host, const char *name, saeuron_error *err)
{
    if (strcmp(name, "sd15")) {
        fail(err, SAEURON_EUSAGE, "there is no synthetic model %.40s: there is sd15", name);
        return NULL;
    }
    synthetic *s = io_alloc(host, 1, sizeof *s);
    if (!s) {
        fail(err, SAEURON_ENOMEM, "no memory for the synthetic model's vocabulary");
        return NULL;
    }
    s->real = host ? *host : (saeuron_host){ 0 };
    s->host = (saeuron_host){ .user = s, .alloc = pass_alloc, .free = pass_free, .map = serve,
                              .unmap = keep_open };
    make_vocabulary(s);
    return s;
}

const saeuron_host *synthetic_host(const synthetic *s) { return &s->host; }

void synthetic_close(synthetic *s)
{
    if (s) {
        const saeuron_host real = s->real; /* s lies in the memory that goes */
        io_free(&real, s);
    }
}
