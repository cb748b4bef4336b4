/* guesses.c: random tokens, random noise (guesses.h). Not here: searches. */
#include "rivals/guesses.h"

int guess_prefix(attempt *a, size_t tries, size_t k, saeuron_error *err)
{
    const saeuron_host *host = a->m->p->host;
    int32_t *tokens = io_alloc(host, k, sizeof *tokens), *ids = io_alloc(host, a->N, sizeof *ids);
    int code = tokens && ids ? SAEURON_OK : fail(err, SAEURON_ENOMEM, "no memory for a prompt");
    for (size_t i = 0; i < tries && !code && !a->success; i++) {
        for (size_t j = 0; j < k; j++)
            tokens[j] = attempt_token(a);
        attempt_insert(a, ids, tokens, k);
        code = attempt_ids(a, ids, a->count + k, err);
        if (!code)
            code = a->step(a->user, i + 1, tries, err);
    }
    io_free(host, ids);
    io_free(host, tokens);
    return code;
}

int guess_noise(attempt *a, size_t tries, saeuron_error *err)
{
    int code = SAEURON_OK;
    for (size_t i = 0; i < tries && !code && !a->success; i++) {
        code = attempt_prompt(a, a->place->prompt, (i + 1) * a->m->p->entries + a->number, err);
        if (!code)
            code = a->step(a->user, i + 1, tries, err);
    }
    return code;
}
