/* naming.c: concepts named on a command line, as texts (naming.h). Not here: what is done with them. */
#include "program/naming.h"

#include <stdio.h>
#include <string.h>

bool next_piece(const char **names, char *piece, size_t size)
{
    if (!*names)
        return false;
    const size_t n = strcspn(*names, ",");
    snprintf(piece, size, "%.*s", (int)(n < size ? n : size - 1), *names);
    *names = (*names)[n] ? *names + n + 1 : NULL;
    return true;
}

/* Concepts of concepts.json; each that is named must be one. */
static int read_known(named *n, const char *names, saeuron_error *err)
{
    const protocol *p = &n->p;
    char piece[128];
    while (next_piece(&names, piece, sizeof piece)) {
        bool found = false;
        for (int d = 0; d < DOMAINS; d++) {
            const uint32_t c = concept_find(&p->label[d], piece);
            if (c != NO_LABEL)
                found = n->what.has[d][c] = true;
        }
        if (!found)
            return fail(err, SAEURON_EUSAGE, "--forget: there is no concept \"%s\": concepts.json names them",
                        piece);
    }
    return name_texts(&n->t, p, &n->what, err);
}

/* Without concepts.json: the pieces are texts themselves, and nothing else is known. */
static int read_unknown(named *n, const char *names, saeuron_error *err)
{
    concept_texts *t = &n->t;
    char piece[128];
    t->text = io_alloc(n->host, LABELS, sizeof *t->text);
    t->erase = io_alloc(n->host, LABELS, sizeof *t->erase);
    if (!t->text || !t->erase)
        return fail(err, SAEURON_ENOMEM, "no memory for the names of concepts");
    while (next_piece(&names, piece, sizeof piece)) {
        if (t->erased == LABELS || !*piece || strlen(piece) > 120 || tokenizer_check(piece, "--forget", NULL))
            return fail(err, SAEURON_EUSAGE, "--forget wants at most %d texts of at most 120 bytes, as \"Van "
                        "Gogh style,Cats\"", LABELS);
        memcpy(t->text[t->erased], piece, sizeof piece);
        t->erase[t->erased] = t->text[t->erased];
        t->erased++;
    }
    return SAEURON_OK;
}

int name_concepts(named *n, const saeuron_context *x, const char *names, saeuron_error *err)
{
    static saeuron_classifier *const nobody[DOMAINS];
    *n = (named){ .host = &x->host };
    if (!x->concepts.at)
        return read_unknown(n, names, err);
    const int code = protocol_open(&n->p, x, nobody, NULL, err);
    n->known = !code;
    return code ? code : read_known(n, names, err);
}

void close_named(named *n)
{
    free_texts(&n->t, n->host);
    if (n->known)
        protocol_close(&n->p);
    n->known = false;
}
