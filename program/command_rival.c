/* command_rival.c: the command `rival`: another method makes a model that has forgotten.
 *
 *   METHOD, concepts --rivals/--> a diffusers folder with edited weights
 *
 * Not here: the methods (rivals/), how well they forget (command_eval.c, --rivals). */
#include "evaluation/protocol.h"
#include "program/measuring.h"
#include "program/messages.h"
#include "program/opening.h"
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
static size_t iterations;
static uint64_t seed;
static double learning_rate = 1e-5, negative = 1, start = 3, ema = 0.999, weight_decay = 1e-4, most_norm = 1;

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
    { "--train", "xattn|noxattn|full", "of esd and sdd: cross-attentions (default; of ESD published for "
                                       "styles), all but these (for objects), everything",
      .choice = &trained },
    { "--iterations", "N", "of esd (default 1000) and sdd (default 1500)", .count = &iterations },
    { "--lr", "RATE", "of esd and sdd: learning rate (default 1e-5)", .real = &learning_rate },
    { "--start-guidance", "G", "of esd and sdd: guidance while sampling (default 3)", .real = &start },
    { "--seed", "S", "of esd and sdd: of the random numbers (default 0)", .whole = &seed },
    { "--negative-guidance", "ETA", "of esd: how far opposite to the concept (default 1)",
      .real = &negative },
    { "--ema", "DECAY", "of sdd: of the average that is kept (default 0.999)", .real = &ema },
    { "--weight-decay", "W", "of sdd: AdamW's (default 1e-4)", .real = &weight_decay },
    { "--clip", "NORM", "of sdd: most that the derivatives' joint norm may be (default 1)",
      .real = &most_norm },
    { .group = model_options }, { .group = synthetic_options }, { 0 },
};

#define TEXTS (2 * LABELS)
typedef char concept_name[128];

/* What is erased and what stays, as texts. */
typedef struct texts {
    concept_name name[TEXTS];
    const char *erase[TEXTS], *keep[TEXTS];
    size_t erased, kept, names;
} texts;

static const char *add_name(texts *t, int domain, const char *name)
{
    char *at = t->name[t->names++];
    if (domain < DOMAINS)
        concept_text(at, domain, name);
    else
        snprintf(at, sizeof *t->name, "%.127s", name);
    return at;
}

/* Whether "A,B,C" has the name. */
static bool among(const char *names, const char *name)
{
    char piece[128];
    while (next_piece(&names, piece, sizeof piece))
        if (!strcmp(piece, name))
            return true;
    return false;
}

/* Concepts of concepts.json; each that --forget names must be one. */
static int read_known(texts *t, const protocol *p, saeuron_error *err)
{
    const char *names = concepts;
    char piece[128];
    while (next_piece(&names, piece, sizeof piece)) {
        bool found = false;
        for (int d = 0; d < DOMAINS; d++) {
            const uint32_t c = label_find(&p->label[d], piece);
            found |= c != NO_LABEL && p->label[d].concept[c];
        }
        if (!found)
            return fail(err, SAEURON_EUSAGE, "--forget: there is no concept \"%s\": concepts.json names them",
                        piece);
    }
    for (int d = 0; d < DOMAINS; d++)
        for (size_t c = 0; c < p->label[d].count; c++) {
            const char *name = p->label[d].name[c];
            if (!p->label[d].concept[c])
                continue;
            if (among(concepts, name))
                t->erase[t->erased++] = add_name(t, d, name);
            else if (preserve == 0)
                t->keep[t->kept++] = add_name(t, d, name);
        }
    return SAEURON_OK;
}

static int read_texts(texts *t, const saeuron_context *x, saeuron_error *err)
{
    static saeuron_classifier *const nobody[DOMAINS];
    static protocol p;
    const char *names = concepts;
    char piece[128];
    if (x->concepts.at) {
        int code = protocol_open(&p, x, nobody, NULL, err);
        if (code)
            return code;
        code = read_known(t, &p, err);
        protocol_close(&p);
        return code;
    }
    while (next_piece(&names, piece, sizeof piece)) {
        if (t->erased == LABELS || !*piece || tokenizer_check(piece, "--forget", err))
            return fail(err, SAEURON_EUSAGE, "--forget wants at most %d texts, as \"Van Gogh style,Cats\"",
                        LABELS);
        t->erase[t->erased++] = add_name(t, DOMAINS, piece);
    }
    return SAEURON_OK;
}

enum { UCE, ESD, SDD, RIVALS };
static const char *const rival_names[RIVALS] = { "uce", "esd", "sdd" };

/* Which options belong to which methods; the bits are 1 << method. */
static const struct { const char *name; unsigned methods; } belongs[] = {
    { "--guide", 1 << UCE }, { "--preserve", 1 << UCE }, { "--erase-scale", 1 << UCE },
    { "--preserve-scale", 1 << UCE }, { "--states", 1 << UCE }, { "--lambda", 1 << UCE },
    { "--train", 1 << ESD | 1 << SDD }, { "--iterations", 1 << ESD | 1 << SDD },
    { "--lr", 1 << ESD | 1 << SDD }, { "--start-guidance", 1 << ESD | 1 << SDD },
    { "--seed", 1 << ESD | 1 << SDD }, { "--negative-guidance", 1 << ESD }, { "--ema", 1 << SDD },
    { "--weight-decay", 1 << SDD }, { "--clip", 1 << SDD },
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
        return fail(err, SAEURON_EUSAGE, "which rival? say uce, esd or sdd");
    if (!concepts || !*concepts)
        return fail(err, SAEURON_EUSAGE, "--forget C is missing: which concept is erased?");
    if (!out || !*out)
        return fail(err, SAEURON_EUSAGE, "--out DIR is missing: in which folder should the model be?");
    for (size_t i = 0; i < sizeof belongs / sizeof *belongs; i++)
        if (given(belongs[i].name) && !(belongs[i].methods >> *method & 1))
            return fail(err, SAEURON_EUSAGE, "%s means nothing to %s", belongs[i].name, rival_names[*method]);
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

static int run(saeuron_error *err)
{
    static texts t;
    saeuron_context *x = NULL;
    int method, code = check_options(&method, err);
    if (!code)
        code = open_model(&x, NULL, err);
    if (!code)
        code = read_texts(&t, x, err);
    const uce_options by_uce = { t.erase, t.erased, guide_text, t.keep, t.kept, erase_scale, preserve_scale,
                                 lambda, states == 1 };
    const lesson_options shared = { t.erase, t.erased, trained,
                                    iterations ? iterations : method == SDD ? 1500 : 1000, 0, learning_rate,
                                    start, seed, tell_loss, NULL };
    const esd_options by_esd = { shared, negative };
    const sdd_options by_sdd = { shared, ema, weight_decay, most_norm };
    if (!code)
        code = method == UCE ? uce(x, &by_uce, out, err) : method == ESD ? esd(x, &by_esd, out, err)
             : sdd(x, &by_sdd, out, err);
    if (!code)
        printf("%s\n", out);
    saeuron_close(x);
    return code;
}

const command command_rival = {
    "rival", "METHOD --forget C -o DIR", "a model in which another method has forgotten: uce, esd, sdd",
    options, &words, .run = run,
};
