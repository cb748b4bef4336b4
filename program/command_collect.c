/* command_collect.c: the commands that look at hooks while sampling: collect, stats; and merge, which joins their parts.
 *
 *   options --collect.c--> activations, statistics --> their paths on stdout
 *
 * Not here: what is sampled and counted (collect.c), the options' table (saeuron.c). */
#include "program/command.h"
#include "training/merge.h"
#include "training/statistics.h"

#include <stdio.h>
#include <string.h>

/* Progress over all images of a run: the library counts them (recorder). */
static void expect(talk *t, size_t images)
{
    t->start = t->last = os_seconds();
    t->images = t->now = images ? images : 1;
}

/* What part p has of count things. */
static size_t share_of(shard p, size_t count) { return shard_first((shard){ p.i + 1, p.N }, count) - shard_first(p, count); }

/* Where the activations of each hook go: the file named, or DIR/HOOK.safetensors; made in *memory. */
static int activation_paths(const options *o, const saeuron_context *x, const char ***paths, char **memory, saeuron_error *err)
{
    const size_t n = strlen(o->out);
    const bool folder = o->hooks.count > 1 || o->out[n - 1] == '/';
    char name[120];
    *paths = io_alloc(&x->host, o->hooks.count, sizeof **paths);
    *memory = io_alloc(&x->host, o->hooks.count, 1024);
    if (!*paths || !*memory)
        return fail(err, SAEURON_ENOMEM, "no memory for the paths of %zu hooks", o->hooks.count);
    for (size_t i = 0; i < o->hooks.count; i++) {
        const char *hook = o->hooks.item[i];
        (*paths)[i] = *memory + 1024 * i;
        if (!unet_hook_width(&x->unet, hook, NULL))
            return fail(err, SAEURON_EUSAGE, "there is no hook %.80s in this UNet: hooks are its attentions, as up_blocks.1.attentions.2", hook);
        snprintf(name, sizeof name, "%s.safetensors", strncmp(hook, "unet.", 5) ? hook : hook + 5);
        if (folder ? !io_join(*memory + 1024 * i, 1024, o->out, name) : (size_t)snprintf(*memory + 1024 * i, 1024, "%s", o->out) >= 1024)
            return fail(err, SAEURON_EUSAGE, "--out: the path is too long");
    }
    return folder ? io_make_dir(o->out, err) : SAEURON_OK;
}

int run_collect(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error err = { 0 };
    talk   t;
    char  *buffer = NULL, *memory = NULL;
    const char **prompts = NULL, **paths = NULL;
    float *noise = NULL;
    collect_options c = { .part = { 0, 1 }, .hooks = o->hooks.item, .hook_count = o->hooks.count, .diff = o->diff, .every = (size_t)o->every, .first = (size_t)o->first };

    if (!o->hooks.count)
        return usage("collect", "%s is missing: where should it look?", "--hook HOOK");
    if (!o->prompts)
        return usage("collect", "%s is missing: what should be sampled?", "--prompts FILE");
    if (!o->out || !*o->out)
        return usage("collect", "%s is missing: where should the activations go?", "--out FILE");
    if (o->every > 1000)
        return usage("collect", "%s must be from 1 to 1000", "--every");
    if (o->first > 1000)
        return usage("collect", "%s must be from 1 to 1000", "--first");
    if ((o->shard && read_shard(o->shard, &c.part.i, &c.part.N, &err)) || read_type(&c.type, o->type, DT_F32, &err))
        return complain(&err);
    int code = open_model(&x, o, &t);
    if (code)
        return code;
    code = read_prompts(o, &x->host, &buffer, &prompts, &c.sampling.count, &err);
    c.sampling.prompts = prompts;
    if (!code)
        code = sampling(&c.sampling, o, x, &noise, &err);
    if (!code)
        code = activation_paths(o, x, &paths, &memory, &err);
    c.paths = paths;
    expect(&t, share_of(c.part, c.sampling.count));
    if (!code)
        code = collect_run(x, &c, &err);
    clear_line();
    for (size_t i = 0; !code && i < c.hook_count; i++)
        printf("%s\n", paths[i]);
    io_free(&x->host, (void *)paths);
    io_free(&x->host, memory);
    io_free(&x->host, (void *)prompts);
    io_free(&x->host, buffer);
    saeuron_close(x);
    return code ? complain(&err) : 0;
}

int run_stats(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error err = { 0 };
    talk   t;
    float *noise = NULL;
    concept_set concepts = { 0 };
    options paper = *o;
    stats_options s = { .part = { 0, 1 }, .concepts = &concepts, .path = o->out, .density = o->density, .per_prompt = o->per_prompt, .half = o->half };

    if (o->hooks.count != 1)
        return usage("stats", "one %s is wanted: each domain has its own", "--hook HOOK");
    if (!o->out || !*o->out)
        return usage("stats", "%s is missing: where should the statistics go?", "--out FILE");
    if ((o->shard && read_shard(o->shard, &s.part.i, &s.part.N, &err)) || read_type(&s.type, o->type, o->per_prompt ? DT_F16 : DT_F32, &err))
        return complain(&err);
    int code = open_model(&x, o, &t);
    if (code)
        return code;
    if (!o->has_seed)
        paper.seed = 188;
    s.hook = o->hooks.item[0];
    code = place_saes(x, o, &err);
    if (!code)
        code = sampling(&s.sampling, &paper, x, &noise, &err);
    if (!code)
        code = concepts_open(&concepts, x, s.hook, o->concept_file, (size_t)o->lines, &err);
    size_t images = 0;
    for (size_t i = 0; !code && i < share_of(s.part, concepts.count); i++)
        images += concepts.list[shard_first(s.part, concepts.count) + i].count;
    expect(&t, images);
    if (!code)
        code = stats_make(x, &s, &err);
    clear_line();
    if (!code)
        printf("%s\n", s.path);
    if (!code && s.density)
        printf("%s\n", s.density);
    concepts_close(&concepts, &x->host);
    saeuron_close(x);
    return code ? complain(&err) : 0;
}

int run_merge(const options *o)
{
    saeuron_error err = { 0 };
    if (!o->rest.count)
        return usage("merge", "%s", "no part is named");
    if (!o->out || !*o->out)
        return usage("merge", "%s is missing: where should the whole go?", "--out FILE");
    if (merge_parts(NULL, (const char *const *)(void *)o->rest.item, o->rest.count, o->out, &err))
        return complain(&err);
    printf("%s\n", o->out);
    return 0;
}
