/* command_rival.c: the command `rival`: another method makes a model that has forgotten.
 *
 *   METHOD, concepts --rivals/--> a diffusers folder with edited weights
 *
 * Not here: the methods (rivals/), how well they forget (command_eval.c, --rivals). */
#include "program/messages.h"
#include "program/naming.h"
#include "program/opening.h"
#include "rivals/ca.h"
#include "rivals/esd.h"
#include "rivals/sdd.h"
#include "rivals/uce.h"

#include <stdio.h>
#include <string.h>

static list   words;
static const char *concepts, *out, *guide_text = "";
static int    preserve, states;     /* others, none; rest, last */
static double erase_scale = 1, preserve_scale = 0.1, lambda = 0.5;
static int    trained;              /* TRAIN_* */
static size_t iterations, pictures = 200;
static uint64_t seed;
static double learning_rate, negative = 1, start, ema = 0.999, weight_decay, most_norm = 1;

static const option options[] = {
    { "--forget", "C[,C...]", "the concepts to erase; of a model without concepts.json, texts",
      .text = &concepts },
    { "--out", "DIR", "the folder of the edited model", .brief = "-o", .text = &out },
    { "--guide", "TEXT", "of uce: what each erased concept becomes (default: the empty text)",
      .text = &guide_text },
    { "--preserve", "others|none", "of uce: the other concepts of concepts.json stay (default), or nothing "
                                   "is looked after", .choice = &preserve },
    { "--erase-scale", "S", "of uce: weight of what is erased (default 1)", .real = &erase_scale },
    { "--preserve-scale", "P", "of uce: weight of what stays (default 0.1)", .real = &preserve_scale },
    { "--states", "rest|last", "of uce: a text's states from its last token on (default, the paper's code), "
                               "or that token's alone (the code of 2025)", .choice = &states },
    { "--lambda", "L", "of uce: weight of the matrices as they are (default 0.5)", .real = &lambda },
    { "--train", "xattn|noxattn|full|kv", "what is trained: cross-attentions (default of esd and sdd; of ESD "
                                          "published for styles), all but these (for objects), everything, "
                                          "keys and values of cross-attentions (default of ca)",
      .choice = &trained },
    { "--iterations", "N", "of esd (default 1000), sdd (1500) and ca (800)", .count = &iterations },
    { "--lr", "RATE", "of esd and sdd (default 1e-5) and ca (2e-6)", .real = &learning_rate },
    { "--start-guidance", "G", "guidance while sampling: of esd and sdd (default 3) and ca (6)",
      .real = &start },
    { "--weight-decay", "W", "AdamW's: of sdd (default 1e-4) and ca (0.01)", .real = &weight_decay },
    { "--seed", "S", "of the random numbers of esd, sdd and ca (default 0)", .whole = &seed },
    { "--pictures", "N", "of ca: of anchors, drawn before the training (default 200)", .count = &pictures },
    { "--negative-guidance", "ETA", "of esd: how far opposite to the concept (default 1)",
      .real = &negative },
    { "--ema", "DECAY", "of sdd: of the average that is kept (default 0.999)", .real = &ema },
    { "--clip", "NORM", "of sdd: most that the derivatives' joint norm may be (default 1)",
      .real = &most_norm },
    { .group = model_options }, { 0 },
};

enum { UCE, ESD, SDD, CA, RIVALS };
static const char *const rival_names[RIVALS] = { "uce", "esd", "sdd", "ca" };

#define LEARNS (1 << ESD | 1 << SDD | 1 << CA)
/* Which options belong to which methods; the bits are 1 << method. */
static const belonging belongs[] = {
    { "--guide", 1 << UCE }, { "--preserve", 1 << UCE }, { "--erase-scale", 1 << UCE },
    { "--preserve-scale", 1 << UCE }, { "--states", 1 << UCE }, { "--lambda", 1 << UCE },
    { "--train", LEARNS }, { "--iterations", LEARNS }, { "--lr", LEARNS }, { "--start-guidance", LEARNS },
    { "--seed", LEARNS }, { "--weight-decay", 1 << SDD | 1 << CA }, { "--negative-guidance", 1 << ESD },
    { "--ema", 1 << SDD }, { "--clip", 1 << SDD }, { "--pictures", 1 << CA }, { NULL, 0 },
};

static int check_options(int *method, saeuron_error *err)
{
    const struct { const char *name; double value; } positive[] = {
        { "--erase-scale", erase_scale }, { "--preserve-scale", preserve_scale }, { "--lambda", lambda },
        { "--lr", learning_rate }, { "--negative-guidance", negative }, { "--start-guidance", start },
        { "--weight-decay", weight_decay }, { "--clip", most_norm },
    };
    for (*method = 0; *method < RIVALS; ++*method)
        if (words.count == 1 && !strcmp(words.item[0], rival_names[*method]))
            break;
    if (*method == RIVALS)
        return fail(err, SAEURON_EUSAGE, "which rival? say uce, esd, sdd or ca");
    if (!concepts || !*concepts)
        return fail(err, SAEURON_EUSAGE, "--forget C is missing: which concept is erased?");
    if (!out || !*out)
        return fail(err, SAEURON_EUSAGE, "--out DIR is missing: in which folder should the model be?");
    const belonging *stray = first_stray(belongs, *method);
    if (stray)
        return fail(err, SAEURON_EUSAGE, "%s means nothing to %s", stray->option, rival_names[*method]);
    for (size_t i = 0; i < sizeof positive / sizeof *positive; i++)
        if (!(positive[i].value >= 0 && positive[i].value <= 1e4))
            return fail(err, SAEURON_EUSAGE, "%s must be from 0 to 10000", positive[i].name);
    if (!(ema >= 0 && ema <= 1))
        return fail(err, SAEURON_EUSAGE, "--ema must be from 0 to 1");
    return tokenizer_check(guide_text, "--guide", err);
}

static void tell_loss(void *user, size_t iteration, double loss)
{
    (void)user;
    remark("iteration %zu: loss %.6g", iteration, loss);
}

/* What lessons do if they are not told otherwise. */
static lesson_options read_lesson(const named *n, int method)
{
    static const struct { size_t iterations; double lr, start, decay; int trained; } usual[RIVALS] = {
        [ESD] = { 1000, 1e-5, 3, 0, TRAIN_XATTN }, [SDD] = { 1500, 1e-5, 3, 1e-4, TRAIN_XATTN },
        [CA] = { 800, 2e-6, 6, 1e-2, TRAIN_KV },
    };
    if (!given("--weight-decay"))
        weight_decay = usual[method].decay;
    return (lesson_options){ n->t.erase, n->t.erased, given("--train") ? trained : usual[method].trained,
                             iterations ? iterations : usual[method].iterations, 0,
                             given("--lr") ? learning_rate : usual[method].lr,
                             given("--start-guidance") ? start : usual[method].start, seed, tell_loss, NULL };
}

/* Each place of what is erased with each of its anchors: of a style the same object in none, of an object the
 * others in the same style. pairs NULL: only counted. */
static size_t pair_places(anchored *pairs, const named *n)
{
    const protocol *p = &n->p;
    size_t count = 0;
    for (size_t i = 0; i < p->entries; i++)
        for (size_t j = 0; j < p->entries; j++) {
            const entry *a = &p->entry[i], *b = &p->entry[j];
            const bool of_style = place_is_own(a, STYLE, &n->what) && b->plain && a->object == b->object;
            const bool of_object = place_is_own(a, OBJECT, &n->what) && a->style == b->style &&
                                   a->plain == b->plain && !place_is_own(b, OBJECT, &n->what);
            if (!of_style && !of_object)
                continue;
            if (pairs)
                pairs[count] = (anchored){ i, j };
            count++;
        }
    return count;
}

/* Concept Ablation by the protocol's prompts. */
static int ablate_concept(saeuron_context *x, const named *n, lesson_options shared, saeuron_error *err)
{
    const protocol *p = &n->p;
    if (!n->known)
        return fail(err, SAEURON_EUSAGE, "ca needs prompts with and without the concept: the model has no "
                    "concepts.json");
    const size_t count = pair_places(NULL, n);
    const char **prompts = io_alloc(&x->host, p->entries, sizeof *prompts);
    anchored *pairs = io_alloc(&x->host, count, sizeof *pairs);
    int code = prompts && pairs ? SAEURON_OK : fail(err, SAEURON_ENOMEM, "no memory for %zu prompts", count);
    for (size_t i = 0; i < p->entries && !code; i++)
        prompts[i] = p->entry[i].prompt;
    if (!code) {
        pair_places(pairs, n);
        shared.erase = prompts;
        shared.erased = p->entries;
        const ca_options o = { shared, pairs, count, pictures, weight_decay };
        code = ca(x, &o, out, err);
    }
    io_free(&x->host, pairs);
    io_free(&x->host, (void *)prompts);
    return code;
}

static int run(saeuron_error *err)
{
    static named n;
    saeuron_context *x = NULL;
    int method, code = check_options(&method, err);
    if (code || (code = open_model(&x, NULL, err)) != SAEURON_OK)
        return code;
    code = name_concepts(&n, x, concepts, err);
    const uce_options by_uce = { n.t.erase, n.t.erased, guide_text, n.t.keep, preserve ? 0 : n.t.kept,
                                 erase_scale, preserve_scale, lambda, states == 1 };
    const lesson_options shared = read_lesson(&n, method);
    const esd_options by_esd = { shared, negative };
    const sdd_options by_sdd = { shared, ema, weight_decay, most_norm };
    if (!code)
        code = method == UCE ? uce(x, &by_uce, out, err) : method == ESD ? esd(x, &by_esd, out, err)
             : method == SDD ? sdd(x, &by_sdd, out, err) : ablate_concept(x, &n, shared, err);
    if (!code)
        printf("%s\n", out);
    close_named(&n);
    saeuron_close(x);
    return code;
}

const command command_rival = {
    "rival", "METHOD --forget C -o DIR", "a model in which another method has forgotten: uce, esd, sdd, ca",
    options, &words, .run = run,
};
