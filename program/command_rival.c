/* command_rival.c: the command `rival`: another method makes a model that has forgotten.
 *
 *   METHOD, concepts --rivals/--> a diffusers folder with edited weights
 *
 * Not here: the methods (rivals/), how well they forget (command_eval.c, --rivals). */
#include "evaluation/protocol.h"
#include "program/measuring.h"
#include "program/messages.h"
#include "program/opening.h"
#include "rivals/uce.h"

#include <stdio.h>
#include <string.h>

static list   words;
static const char *concepts, *out, *guide_text = "";
static int    preserve, states;     /* others, none; rest, last */
static double erase_scale = 1, preserve_scale = 0.1, lambda = 0.5;

static const option options[] = {
    { "--forget", "C[,C...]", "the concepts to erase; of a model without concepts.json, texts",
      .text = &concepts },
    { "--out", "DIR", "the folder of the edited model", .brief = "-o", .text = &out },
    { "--guide", "TEXT", "what each erased concept becomes (default: the empty text)", .text = &guide_text },
    { "--preserve", "others|none", "the other concepts of concepts.json stay (default), or nothing is looked "
                                   "after", .choice = &preserve },
    { "--erase-scale", "S", "weight of what is erased (default 1)", .real = &erase_scale },
    { "--preserve-scale", "P", "weight of what stays (default 0.1)", .real = &preserve_scale },
    { "--states", "rest|last", "a text's states from its last token on (default, the paper's code), or that "
                               "token's alone (the code of 2025)", .choice = &states },
    { "--lambda", "L", "weight of the matrices as they are (default 0.5)", .real = &lambda },
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

static int check_options(saeuron_error *err)
{
    const struct { const char *name; double value; } scales[] = {
        { "--erase-scale", erase_scale }, { "--preserve-scale", preserve_scale }, { "--lambda", lambda }
    };
    if (words.count != 1 || strcmp(words.item[0], "uce"))
        return fail(err, SAEURON_EUSAGE, "which rival? there is one: uce");
    if (!concepts || !*concepts)
        return fail(err, SAEURON_EUSAGE, "--forget C is missing: which concept is erased?");
    if (!out || !*out)
        return fail(err, SAEURON_EUSAGE, "--out DIR is missing: in which folder should the model be?");
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++)
        if (!(scales[i].value >= 0 && scales[i].value <= 1e6))
            return fail(err, SAEURON_EUSAGE, "%s must be from 0 to 1e6", scales[i].name);
    return SAEURON_OK;
}

static int run(saeuron_error *err)
{
    static texts t;
    saeuron_context *x = NULL;
    int code = check_options(err);
    if (!code)
        code = tokenizer_check(guide_text, "--guide", err);
    if (!code)
        code = open_model(&x, NULL, err);
    if (!code)
        code = read_texts(&t, x, err);
    if (!code) {
        const uce_options o = { t.erase, t.erased, guide_text, t.keep, t.kept, erase_scale, preserve_scale,
                                lambda, states == 1 };
        code = uce(x, &o, out, err);
    }
    if (!code)
        printf("%s\n", out);
    saeuron_close(x);
    return code;
}

const command command_rival = {
    "rival", "uce --forget C -o DIR", "a model in which another method has forgotten: UCE", options, &words,
    .run = run,
};
