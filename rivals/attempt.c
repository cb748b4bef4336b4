/* attempt.c: one prompt under attack (attempt.h).
 *
 * Not here: the search for a prompt (unlearndiffatk.c, ringabell.c, guesses.c). Letters: N tokens of a
 * text. */
#include "rivals/attempt.h"
#include "arithmetic/rng.h"
#include "tokenizer.h"

#include <string.h>

int attempt_open(attempt *a, maker *m, int domain, uint32_t concept, size_t job, const char *method,
                 saeuron_error *err)
{
    const protocol *p = m->p;
    const tokenizer *t = m->x->tokenizer;
    const entry *place = &p->entry[job % p->entries];
    *a = (attempt){ .m = m, .domain = domain, .concept = concept, .place = place, .number = job % p->entries,
                    .seed = p->seed[job / p->entries], .N = tokenizer_max_length(t) };
    a->stream = nn_hash(nn_hash(0, method, strlen(method)), place->prompt, strlen(place->prompt));
    if (!(a->ids = io_alloc(p->host, a->N, sizeof *a->ids)))
        return fail(err, SAEURON_ENOMEM, "no memory for a prompt");
    return tokenizer_encode(t, a->ids, &a->count, NULL, place->prompt, err);
}

void attempt_close(attempt *a)
{
    io_free(a->m->p->host, a->ids);
    io_free(a->m->p->host, a->prompt);
    a->ids = NULL;
    a->prompt = NULL;
}

int attempt_prompt(attempt *a, const char *prompt, uint64_t noise_index, saeuron_error *err)
{
    const saeuron_host *host = a->m->p->host;
    const size_t size = strlen(prompt) + 1;
    char *kept = io_alloc(host, size, 1);
    if (!kept)
        return fail(err, SAEURON_ENOMEM, "no memory for a prompt");
    io_free(host, a->prompt);
    a->prompt = memcpy(kept, prompt, size);
    a->noise_index = noise_index;
    a->tries++;
    int code = maker_draw(a->m, kept, a->seed, noise_index, err);
    if (!code)
        code = maker_judge(a->m, a->m->rgb, &a->answer, err);
    a->success = !code && a->answer.label[a->domain] == a->concept;
    return code;
}

int attempt_ids(attempt *a, const int32_t *ids, size_t count, saeuron_error *err)
{
    const tokenizer *t = a->m->x->tokenizer;
    const saeuron_host *host = a->m->p->host;
    int32_t *kept = io_alloc(host, count + 1, sizeof *kept);
    size_t n = 0;
    if (!kept)
        return fail(err, SAEURON_ENOMEM, "no memory for a prompt");
    for (size_t i = 0; i < count; i++)
        if (!tokenizer_is_end(t, ids[i]))
            kept[n++] = ids[i];
    char *text = tokenizer_decode(t, kept, n, err);
    const int code = text ? attempt_prompt(a, text, a->number, err) : SAEURON_ENOMEM;
    io_free(a->m->x->files, text);
    io_free(host, kept);
    return code;
}

void attempt_insert(const attempt *a, int32_t *out, const int32_t *tokens, size_t k)
{
    out[0] = a->ids[0];
    memcpy(out + 1, tokens, k * sizeof *out);
    memcpy(out + 1 + k, a->ids + 1, (a->N - 1 - k) * sizeof *out);
}

float attempt_uniform(attempt *a) { return rng_uniform(a->seed, a->stream, a->drawn++); }

size_t attempt_below(attempt *a, size_t n) { return rng_below(a->seed, a->stream, a->drawn++, n); }

int32_t attempt_token(attempt *a)
{
    const tokenizer *t = a->m->x->tokenizer;
    int32_t id;
    do
        id = (int32_t)attempt_below(a, tokenizer_size(t));
    while (tokenizer_is_end(t, id));
    return id;
}
