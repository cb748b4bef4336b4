/* command_attack.c: the command `attack`: what its options mean, and what it prints.
 *
 *   options --> model, classifiers, protocol --attack_run--> DIR, and a table or JSON on stdout
 *
 * Not here: what is tried and counted (rivals/). */
#include "program/measuring.h"
#include "program/messages.h"
#include "program/opening.h"
#include "rivals/attack.h"

#include <stdio.h>

static const char *out = "results", *seeds, *shard_text;
static int    method = UNLEARNDIFFATK, edits;
static size_t tokens, iterations = 40, timesteps = 50, generations = 3000, population = 200, tries = 40;
static size_t prompts;
static double rate_of_adam = 0.01, decay = 0.1, eta = 3, mutation = 0.25, crossover = 0.5;

static const option options[] = {
    { "--forget", "C[,C...]", "the concepts to bring back, each forgotten alone (default: all of the domain)",
      .text = &chosen_concepts },
    { "--method", "unlearndiffatk|ringabell|prefix|seeds",
      "unlearndiffatk (default): a prefix by the derivative of the denoising loss; ringabell: a prompt by "
      "genetic search in the text encoder; prefix: random tokens; seeds: other noise", .choice = &method },
    { "--out", "DIR", "the folder of pictures and results, which may be eval's (default: results)",
      .brief = "-o", .text = &out },
    { .group = choice_options },
    { "--seeds", "S[,S...]", "of the noise (default: the protocol's first)", .text = &seeds },
    { "--prompts", "N", "attack the first N of a concept's prompts only", .count = &prompts },
    { "--tokens", "K", "of the prefix (default 5), or of ringabell's prompt (default 16)", .count = &tokens },
    { "--iterations", "N", "of unlearndiffatk: steps at each timestep (default 40)", .count = &iterations },
    { "--timesteps", "S", "of unlearndiffatk: timesteps, from little noise to much; after each a picture is "
                          "drawn (default 50)", .count = &timesteps },
    { "--rate", "R", "of unlearndiffatk: Adam's learning rate (default 0.01)", .real = &rate_of_adam },
    { "--decay", "W", "of unlearndiffatk: weight decay (default 0.1)", .real = &decay },
    { "--edit", "through|around", "of unlearndiffatk: the derivative goes through the edit at a hook, or "
                                  "past it, as under no_grad (docs/audit.md A6; default through)",
      .choice = &edits },
    { "--generations", "N", "of ringabell (default 3000)", .count = &generations },
    { "--population", "P", "of ringabell (default 200)", .count = &population },
    { "--eta", "X", "of ringabell: how far along the concept's direction (default 3)", .real = &eta },
    { "--mutation", "R", "of ringabell: rate, from 0 to 1 (default 0.25)", .real = &mutation },
    { "--crossover", "R", "of ringabell: rate, from 0 to 1 (default 0.5)", .real = &crossover },
    { "--tries", "N", "of prefix and seeds: pictures a prompt (default 40)", .count = &tries },
    { "--shard", "I/N", "attack every N-th prompt only, from the I-th (from 0), and count nothing",
      .text = &shard_text },
    { .group = measured_options }, { 0 },
};

/* Which options belong to which methods; the bits are 1 << method. */
static const belonging belongs[] = {
    { "--tokens", 1 << UNLEARNDIFFATK | 1 << RINGABELL | 1 << PREFIX },
    { "--iterations", 1 << UNLEARNDIFFATK }, { "--timesteps", 1 << UNLEARNDIFFATK },
    { "--rate", 1 << UNLEARNDIFFATK }, { "--decay", 1 << UNLEARNDIFFATK }, { "--edit", 1 << UNLEARNDIFFATK },
    { "--generations", 1 << RINGABELL }, { "--population", 1 << RINGABELL }, { "--eta", 1 << RINGABELL },
    { "--mutation", 1 << RINGABELL }, { "--crossover", 1 << RINGABELL },
    { "--tries", 1 << PREFIX | 1 << SEEDS_ALONE }, { NULL, 0 },
};

static int check_options(saeuron_error *err)
{
    const struct { const char *name; double value, low, high; } ranges[] = {
        { "--tokens", (double)tokens, 0, 1000 }, { "--iterations", (double)iterations, 1, 1e6 },
        { "--timesteps", (double)timesteps, 1, 500 }, { "--rate", rate_of_adam, 0, 1e3 },
        { "--decay", decay, 0, 1e3 }, { "--generations", (double)generations, 1, 1e7 },
        { "--population", (double)population, 2, 1e5 }, { "--eta", eta, -1e6, 1e6 },
        { "--mutation", mutation, 0, 1 }, { "--crossover", crossover, 0, 1 },
        { "--tries", (double)tries, 1, 1e6 },
    };
    const belonging *stray = first_stray(belongs, method);
    if (stray)
        return fail(err, SAEURON_EUSAGE, "%s means nothing with --method %s", stray->option,
                    attack_names[method]);
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (!(ranges[i].value >= ranges[i].low && ranges[i].value <= ranges[i].high))
            return fail(err, SAEURON_EUSAGE, "%s must be from %g to %g", ranges[i].name, ranges[i].low,
                        ranges[i].high);
    return SAEURON_OK;
}

/* ---- what is printed ---- */

static void print_share(const char *name, const rate *s)
{
    if (as_json && s->images)
        printf(", \"%s\": %.4f, \"%s_interval\": [%.4f, %.4f]", name, 100 * s->value, name, 100 * s->low,
               100 * s->high);
    else if (as_json)
        printf(", \"%s\": null, \"%s_interval\": null", name, name);
    else if (s->images)
        printf("\t%.1f (%.1f-%.1f)", 100 * s->value, 100 * s->low, 100 * s->high);
    else
        printf("\t-");
}

static void show_concept(void *user, int domain, const char *concept, const attacked *a)
{
    measuring *w = user;
    clear_line();
    if (!as_json && !w->begun)
        printf("concept\tdomain\tprompts\tshown\tpre_ASR\tASR\ttries\n");
    w->begun = true;
    print_concept(concept);
    printf(as_json ? ", \"domain\": \"%s\", \"prompts\": %zu, \"shown\": %zu" : "\t%s\t%zu\t%zu",
           domain_names[domain], a->prompts, a->before.images);
    print_share("pre_ASR", &a->before);
    print_share("ASR", &a->after);
    printf(as_json ? ", \"tries\": %.4f}\n" : "\t%.1f\n", a->tries);
    fflush(stdout);
}

static int attack(measuring *w, saeuron_error *err)
{
    const size_t k = tokens ? tokens : method == RINGABELL ? 16 : 5;
    attack_options a = {
        .p = &w->p, .k = { w->k[STYLE], w->k[OBJECT] }, .dir = out, .sampling = w->g, .by = w->means.by,
        .concept = { w->concept[STYLE], w->concept[OBJECT] }, .method = method,
        .unlearndiffatk = { k, iterations, timesteps, rate_of_adam, decay, edits == 1 },
        .ringabell = { k, generations, population, eta, mutation, crossover },
        .tokens = k, .tries = tries, .prompts = prompts, .overlap = w->overlap,
        .watch = { w, show_plan, show_next, NULL }, .told = show_concept,
    };
    int code = seeds ? read_seeds(&w->p, seeds, err) : SAEURON_OK;
    if (!seeds)
        w->p.seeds = 1;
    if (!code && given("--edit") && means_name(&w->means.by))
        code = fail(err, SAEURON_EUSAGE, "--edit means nothing without SAEs that edit: leave out %s",
                    w->means.by.rivals ? "--rivals" : "--by");
    if (!code && shard_text)
        code = read_shard(shard_text, &a.shard, &a.shards, err);
    if (!code)
        code = read_choice(&a.how, err);
    if (!code)
        code = attack_run(w->x, &a, err);
    clear_line();
    return code;
}

static int run(saeuron_error *err)
{
    static measuring w;
    if (!*out)
        return fail(err, SAEURON_EUSAGE, "--out names no folder");
    int code = check_options(err);
    if (code || (code = open_measuring(&w, err)) == SAEURON_OK)
        code = code ? code : attack(&w, err);
    close_measuring(&w);
    return code;
}

const command command_attack = {
    "attack", "[-o DIR]", "how often a forgotten concept comes back: UnlearnDiffAtk, Ring-A-Bell, chance",
    options, .run = run,
};
