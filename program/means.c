/* means.c: what forgets, if not SAEs at hooks (means.h). Not here: the methods (rivals/). */
#include "program/means.h"
#include "program/opening.h"

enum { BY_SAE, BY_NEGATIVE, BY_SAFREE, BY_ITD };

static const char *rivals;
static int    by;                   /* BY_* */
static double alpha = 0.01, tau = -1;
static size_t features;             /* 0: the SAE's k */
static const char *text_sae;

const option means_options[] = {
    { "--by", "sae|negative|safree|itd", "what forgets: SAEs at hooks (default); the concept's name as the "
                                         "negative prompt; SAFREE's projection of the text states; "
                                         "Interpret-then-Deactivate's SAE of them", .choice = &by },
    { "--alpha", "A", "of safree: edit tokens that say more of the concept than 1 + A times the others "
                      "(default 0.01)", .real = &alpha },
    { "--features", "F", "of itd: a prompt shows its F strongest (default: the SAE's k; published 128 of "
                         "524,288)", .count = &features },
    { "--tau", "X", "of itd: features of the concept alone are multiplied by X (default -1; published -8)",
      .real = &tau },
    { "--text-sae", "DIR", "of itd: the SAE (default: MODEL/sae/text_encoder)", .text = &text_sae },
    { 0 },
};

const option rivals_options[] = {
    { "--rivals", "DIR", "not SAEs: DIR/CONCEPT is the model in which another method has forgotten it",
      .text = &rivals },
    { 0 },
};

int choose_means(opened_means *m, saeuron_error *err)
{
    static const char *const of_edits[] = { "--residual", "--map-steps", "--sae", "--stats", NULL };
    const char *of_saes = choice_given() ? choice_given() : first_given(of_edits);
    static const char *const names[] = { "sae", "negative", "safree", "itd" };
    static const struct { const char *name; int by; } belongs[] = {
        { "--alpha", BY_SAFREE }, { "--features", BY_ITD }, { "--tau", BY_ITD }, { "--text-sae", BY_ITD },
    };
    *m = (opened_means){ .by = { .rivals = rivals, .negative = by == BY_NEGATIVE } };
    if (rivals && !*rivals)
        return fail(err, SAEURON_EUSAGE, "--rivals names no folder");
    if (rivals && given("--by"))
        return fail(err, SAEURON_EUSAGE, "--rivals and --by exclude each other");
    if (by == BY_NEGATIVE && given("--negative"))
        return fail(err, SAEURON_EUSAGE, "--negative means nothing with --by negative");
    for (size_t i = 0; i < sizeof belongs / sizeof *belongs; i++)
        if (given(belongs[i].name) && by != belongs[i].by)
            return fail(err, SAEURON_EUSAGE, "%s means nothing without --by %s", belongs[i].name,
                        names[belongs[i].by]);
    if (of_saes && (rivals || by != BY_SAE))
        return fail(err, SAEURON_EUSAGE, "%s means nothing with %s%s", of_saes,
                    rivals ? "--rivals" : "--by ", rivals ? "" : names[by]);
    return SAEURON_OK;
}

int open_means(opened_means *m, saeuron_context *x, saeuron_error *err)
{
    const itd_options of_itd = { text_sae, features, tau };
    int code = SAEURON_OK;
    if (by == BY_SAFREE && (code = safree_open(&m->safree, x, alpha, err)) == SAEURON_OK)
        m->editor = safree_editor(m->safree);
    if (by == BY_ITD && (code = itd_open(&m->itd, x, &of_itd, err)) == SAEURON_OK)
        m->editor = itd_editor(m->itd);
    m->by.editor = m->editor.edit ? &m->editor : NULL;
    return code;
}

void close_means(opened_means *m)
{
    safree_close(m->safree);
    itd_close(m->itd);
    *m = (opened_means){ .safree = NULL };
}
