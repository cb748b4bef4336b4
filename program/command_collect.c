/* command_collect.c: the commands `collect` and `stats`, which look at hooks while sampling, and `merge`,
 * which joins parts.
 *
 *   prompts --collect_run--> activations    concepts --stats_make--> statistics    parts --merge--> a file
 *
 * Not here: what is sampled and counted (training/). */
#include "program/messages.h"
#include "program/opening.h"
#include "training/collect.h"
#include "training/merge.h"
#include "training/statistics.h"

#include <stdio.h>
#include <string.h>

static const char *prompts, *out, *shard_text, *concept_file, *density;
static list   hooks, parts;
static size_t every, first, lines;
static uint64_t collect_seed, stats_seed = 188;
static int    type = -1;            /* of "F32|F16"; -1: not given */
static bool   diff, per_prompt;

/* Of collect and stats. */
static const option part_options[] = {
    { "--shard", "I/N", "part I (from 0) of N: of the prompts, or of the concepts; merge joins them",
      .text = &shard_text },
    { "--dtype", "F32|F16", "of the tensors written (default F32; with --per-prompt F16)", .choice = &type },
    { 0 },
};

static dtype type_or(dtype otherwise) { return type < 0 ? otherwise : type ? DT_F16 : DT_F32; }

static int read_part(shard *part, saeuron_error *err)
{
    *part = (shard){ 0, 1 };
    return shard_text ? read_shard(shard_text, &part->i, &part->N, err) : SAEURON_OK;
}

/* How many of count things part p has. */
static size_t share_of(shard p, size_t count)
{
    return shard_first((shard){ p.i + 1, p.N }, count) - shard_first(p, count);
}

/* The library counts the images of a whole run. */
static void expect_all(size_t images) { expect(images ? images : 1, 0, images ? images : 1); }

/* ---- collect ---- */

static const option collect_table[] = {
    { "--hook", "HOOK", "where to look, as up_blocks.1.attentions.2; several may be named; or text_encoder: "
                        "the text states of the prompts, without sampling", .list = &hooks },
    { "--prompts", "FILE", "sample each line of FILE", .text = &prompts },
    { "--out", "FILE.safetensors", "the file to write; of several hooks a folder, HOOK.safetensors for each",
      .brief = "-o", .text = &out },
    { "--every", "N", "steps 0, N, 2N, ... only (default 1)", .count = &every },
    { "--first", "N", "the first N steps only; the others are not sampled (default: all)", .count = &first },
    { "--diff", NULL, "the hook's output less its input", .flag = &diff },
    { .group = part_options },
    { "--seed", "S", "the seed of torch.randn (default 0)", .whole = &collect_seed },
    { .group = sampling_options }, { .group = batch_options }, { .group = model_options },
    { 0 },
};

static int check_collect(saeuron_error *err)
{
    static const char *const of_sampling[] = { "--every", "--first", "--diff", "--seed", "--negative",
                                               "--cfg", "--steps", "--height", "--width", "--batch", NULL };
    if (!hooks.count)
        return fail(err, SAEURON_EUSAGE, "--hook HOOK is missing: where should it look?");
    if (!prompts)
        return fail(err, SAEURON_EUSAGE, "--prompts FILE is missing: what should be sampled?");
    if (!out || !*out)
        return fail(err, SAEURON_EUSAGE, "--out FILE is missing: where should the activations go?");
    for (size_t i = 0; i < hooks.count && first_given(of_sampling); i++)
        if (!strcmp(hooks.item[i], TEXT_HOOK))
            return fail(err, SAEURON_EUSAGE, "%s means nothing to --hook " TEXT_HOOK ": nothing is sampled",
                        first_given(of_sampling));
    if (every > 1000 || first > 1000)
        return fail(err, SAEURON_EUSAGE, "%s must be from 1 to 1000", every > 1000 ? "--every" : "--first");
    return SAEURON_OK;
}

/* Where the activations of each hook go: the file named, or DIR/HOOK.safetensors. Arrays [hooks.count]. */
static int name_files(char (*paths)[1024], const char **path, const saeuron_context *x, saeuron_error *err)
{
    const bool folder = hooks.count > 1 || is_folder(out);
    char name[120];
    for (size_t i = 0; i < hooks.count; i++) {
        const char *hook = hooks.item[i];
        if (strcmp(hook, TEXT_HOOK) && !unet_hook_width(&x->unet, hook, NULL))
            return fail(err, SAEURON_EUSAGE, "there is no hook %.80s in this UNet: hooks are its attentions, "
                                             "as up_blocks.1.attentions.2, and " TEXT_HOOK, hook);
        snprintf(name, sizeof name, "%s.safetensors", strncmp(hook, "unet.", 5) ? hook : hook + 5);
        if (output_path(paths[i], out, folder ? name : NULL, err))
            return SAEURON_EUSAGE;
        path[i] = paths[i];
    }
    return folder ? io_make_dir(out, err) : SAEURON_OK;
}

/* Collects at the hooks into the files path [hooks.count], and prints their names. */
static int collect_into(const char *const *path, saeuron_context *x, collect_options *c, saeuron_error *err)
{
    prompt_lines p = { 0 };
    int code = read_prompts(&p, prompts, &x->host, err);
    c->sampling = sampling();
    c->sampling.seed = collect_seed;
    c->sampling.prompts = p.line;
    c->sampling.count = p.count;
    c->paths = path;
    expect_all(share_of(c->part, p.count));
    if (!code)
        code = collect_run(x, c, err);
    clear_line();
    for (size_t i = 0; !code && i < hooks.count; i++)
        printf("%s\n", path[i]);
    free_prompts(&p, &x->host);
    return code;
}

static int run_collect(saeuron_error *err)
{
    saeuron_context *x = NULL;
    collect_options  c = { .hooks = hooks.item, .hook_count = hooks.count, .diff = diff, .every = every,
                           .first = first, .type = type_or(DT_F32) };
    int code = check_collect(err);
    if (!code)
        code = read_part(&c.part, err);
    if (code || (code = open_model(&x, NULL, err)) != SAEURON_OK)
        return code;
    char (*paths)[1024] = io_alloc(&x->host, hooks.count, sizeof *paths);
    const char **path = io_alloc(&x->host, hooks.count, sizeof *path);
    code = paths && path ? name_files(paths, path, x, err)
                         : fail(err, SAEURON_ENOMEM, "no memory for the paths of %zu hooks", hooks.count);
    if (!code)
        code = collect_into(path, x, &c, err);
    io_free(&x->host, path);
    io_free(&x->host, paths);
    saeuron_close(x);
    return code;
}

const command command_collect = {
    "collect", "--hook HOOK --prompts FILE -o FILE",
    "activations of hooks while sampling, to train an SAE on", collect_table, .run = run_collect,
};

/* ---- stats ---- */

static const option stats_table[] = {
    { "--hook", "HOOK", "where the SAE belongs, as up_blocks.1.attentions.2", .list = &hooks },
    { .group = sae_options },
    { "--concepts", "FILE.json", "{\"CONCEPT\": [\"a prompt\", ...], ...} (default: concepts.json's "
                                 "calibration prompts)", .text = &concept_file },
    { "--lines", "N", "at most N prompts a concept (default: all)", .count = &lines },
    { "--out", "FILE.safetensors", "the file to write", .brief = "-o", .text = &out },
    { "--density", "FILE.safetensors", "also write how often each latent fires, for --min-density",
      .text = &density },
    { "--per-prompt", NULL, "[prompts, steps, latents] in F16, as the released dictionaries, not means",
      .flag = &per_prompt },
    { .group = part_options },
    { "--seed", "S", "the seed of torch.randn (default 188, the paper's)", .whole = &stats_seed },
    { .group = sampling_options }, { .group = batch_options }, { .group = model_options },
    { 0 },
};

static size_t images_of(const concept_set *c, shard part)
{
    size_t images = 0;
    for (size_t i = 0; i < share_of(part, c->count); i++)
        images += c->list[shard_first(part, c->count) + i].count;
    return images;
}

static int run_stats(saeuron_error *err)
{
    saeuron_context *x = NULL;
    concept_set   concepts = { 0 };
    stats_options s = { .concepts = &concepts, .path = out, .density = density, .per_prompt = per_prompt,
                        .type = type_or(per_prompt ? DT_F16 : DT_F32), .sampling = sampling() };
    if (hooks.count != 1)
        return fail(err, SAEURON_EUSAGE, "one --hook HOOK is wanted: each domain has its own");
    if (!out || !*out)
        return fail(err, SAEURON_EUSAGE, "--out FILE is missing: where should the statistics go?");
    int code = read_part(&s.part, err);
    if (code || (code = open_model(&x, NULL, err)) != SAEURON_OK)
        return code;
    s.sampling.seed = stats_seed;
    s.hook = hooks.item[0];
    code = place_saes(x, err);
    if (!code)
        code = concepts_open(&concepts, x, s.hook, concept_file, lines, err);
    expect_all(images_of(&concepts, s.part));
    if (!code)
        code = stats_make(x, &s, err);
    clear_line();
    if (!code)
        printf(density ? "%s\n%s\n" : "%s\n", out, density);
    concepts_close(&concepts, &x->host);
    saeuron_close(x);
    return code;
}

const command command_stats = {
    "stats", "--hook HOOK -o FILE",
    "how an SAE's latents fire on each concept, step by step", stats_table, .run = run_stats,
};

/* ---- merge ---- */

static const option merge_table[] = {
    { "--out", "FILE.safetensors", "the file to write", .brief = "-o", .text = &out },
    { 0 },
};

static int run_merge(saeuron_error *err)
{
    if (!parts.count)
        return fail(err, SAEURON_EUSAGE, "no part is named");
    if (!out || !*out)
        return fail(err, SAEURON_EUSAGE, "--out FILE is missing: where should the whole go?");
    const int code = merge_parts(NULL, parts.item, parts.count, out, err);
    if (!code)
        printf("%s\n", out);
    return code;
}

const command command_merge = {
    "merge", "PART... -o FILE",
    "join the parts that collect and stats made", merge_table, &parts, .run = run_merge,
};
