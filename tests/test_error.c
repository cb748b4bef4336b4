/* test_error.c: error.c: a message is one line, whatever it quotes. */
#include "test.h"
#include "files/error.h"

#include <string.h>

/* A file name from a hostile folder must not move the cursor or end the line. */
static void fail_is_one_line(void)
{
    saeuron_error e;
    CHECK(fail(&e, SAEURON_EIO, "a\nb\x1b[2J\x7f \xC2\x9B é") == SAEURON_EIO && e.code == SAEURON_EIO,
          "code %d", e.code);
    CHECK(!strcmp(e.text, "a?b?[2J? ?? é"), "\"%s\"", e.text);
    char longer[1000];
    memset(longer, 'x', sizeof longer);
    longer[478] = '\xC3', longer[479] = '\xA9', longer[999] = 0; /* é across the buffer's end */
    fail(&e, SAEURON_EUSAGE, "%s", longer);
    CHECK(strlen(e.text) == 478, "%zu bytes: half a character was left, or more", strlen(e.text));
    fail(&e, SAEURON_EIO, "a\xFF%s", "z\x9Fz\xC3");
    CHECK(!strcmp(e.text, "a?z?z"), "what is no UTF-8: \"%s\"", e.text);
    CHECK(fail(NULL, SAEURON_ENAN, "x") == SAEURON_ENAN, "NULL is allowed");
}

const test_case error_tests[] = {
    { "fail_is_one_line", fail_is_one_line }, { NULL, NULL },
};
