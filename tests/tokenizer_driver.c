/* tokenizer_driver.c: the tokenizer behind a pipe, for tests/check_tokenizer.py.
 *
 *   tokenizer_driver DIR [MAX_LENGTH]
 *
 * stdin: prompts, each ended with a zero byte. stdout: a line of ids for each, without the padding; "error:
 * ..." where there are none. */
#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char prompt[2 * TOKENIZER_PROMPT_MAX];

/* The next prompt; false at the end of input. */
static int read_prompt(void)
{
    size_t n = 0;
    int c;
    while ((c = getchar()) > 0 && n < sizeof prompt - 1)
        prompt[n++] = (char)c;
    prompt[n] = 0;
    return c != EOF;
}

int main(int argc, char **argv)
{
    tokenizer *t;
    saeuron_error err;
    int code = argc < 2 ? SAEURON_EUSAGE : tokenizer_open(&t, NULL, argv[1], &err);
    if (!code && argc > 2)
        code = tokenizer_set_max_length(t, strtoul(argv[2], NULL, 10), &err);
    if (code) {
        fprintf(stderr, "%s\n", argc < 2 ? "usage: tokenizer_driver DIR [MAX_LENGTH] < prompts" : err.text);
        return code == SAEURON_EUSAGE ? 2 : 1;
    }
    int32_t *ids = malloc(tokenizer_max_length(t) * sizeof *ids);
    while (ids && read_prompt()) {
        size_t count, cut;
        if (tokenizer_encode(t, ids, &count, &cut, prompt, &err)) {
            printf("error: %s\n", err.text);
            continue;
        }
        for (size_t i = 0; i < count; i++)
            printf("%ld ", (long)ids[i]);
        printf("+%zu\n", cut);
    }
    free(ids);
    tokenizer_close(t);
    return 0;
}
