/* test_nn.c: the choice of kernels. */
#include "test.h"
#include "arithmetic/nn.h"

static unsigned char memory[1024];
static arena work = { memory, sizeof memory, 0, 0, false };

static void contexts(void)
{
    nn c;
    CHECK(!nn_init(&c, "sse5", 1, &work), "an unknown instruction set");
    CHECK(nn_init(&c, NULL, 0, &work) && c.threads >= 1, "the best");
    CHECK(nn_init(&c, "scalar", 1, &work) && !strcmp(nn_isa_name(&c), "scalar"), "scalar is always there");
    CHECK(nn_init(&c, "reference", 1, &work) && !strcmp(nn_isa_name(&c), "reference"), "so is the reference");
    CHECK(nn_environment_ok(), "this machine rounds to nearest and keeps subnormals");
    nn_init(&c, NULL, 1, &work);
    test_note("kernels: %s of %s", nn_isa_name(&c), nn_isa_list());
}

const test_case nn_tests[] = {
    { "contexts", contexts },
    { NULL, NULL }
};
