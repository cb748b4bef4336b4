/* tokenizer_driver.c: the tokenizer behind a pipe, for tests/check_tokenizer.py.
 *
 *   tokenizer_driver DIR [MAX_LENGTH]      stdin: prompts, each ended with a zero byte. stdout: a line of ids
 *                                          for each, without the padding; "error: ..." where there are none
 *   tokenizer_driver DIR decode            stdin: lines of ids. stdout: the text of each, ended with a zero
 *                                          byte */
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

static void decode_lines(const tokenizer *t)
{
    static char line[1 << 16];
    while (fgets(line, sizeof line, stdin)) {
        static int32_t ids[1 << 14];
        size_t n = 0;
        saeuron_error err;
        for (char *at = strtok(line, " \n"); at && n < 1 << 14; at = strtok(NULL, " \n"))
            ids[n++] = (int32_t)strtol(at, NULL, 10);
        char *text = tokenizer_decode(t, ids, n, &err);
        fputs(text ? text : err.text, stdout);
        putchar(0);
        free(text);
    }
}

int main(int argc, char **argv)
{
    tokenizer *t;
    saeuron_error err;
    int code = argc < 2 ? SAEURON_EUSAGE : tokenizer_open(&t, NULL, argv[1], &err);
    if (!code && argc > 2 && !strcmp(argv[2], "decode")) {
        decode_lines(t);
        tokenizer_close(t);
        return 0;
    }
    if (!code && argc > 2)
        code = tokenizer_set_max_length(t, strtoul(argv[2], NULL, 10), &err);
    if (code) {
        fprintf(stderr, "%s\n", argc < 2 ? "usage: tokenizer_driver DIR [MAX_LENGTH|decode]" : err.text);
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
