/* test_nn.c: the choice of kernels, and what nn.c does before it hands on.
 * Not here: what the kernels compute (test_reference.c, test_kernels.c), refusals with a message
 * (test_machine.c). */
#include "test.h"
#include "arithmetic/nn.h"

static unsigned char memory[1024];
static arena work = { memory, sizeof memory, 0, 0, false };

static void contexts(void)
{
    nn c;
    CHECK(!nn_init(&c, "sse5", 1, &work), "an unknown instruction set");
    CHECK(!strcmp(nn_isa_name(&c), "reference"), "a set that is refused leaves %s, not the reference",
          nn_isa_name(&c));
    CHECK(nn_init(&c, NULL, 0, &work) && c.threads >= 1, "the best");
    CHECK(nn_init(&c, "scalar", 1, &work) && !strcmp(nn_isa_name(&c), "scalar"), "scalar is always there");
    CHECK(nn_init(&c, "reference", 1, &work) && !strcmp(nn_isa_name(&c), "reference"), "so is the reference");
    CHECK(nn_environment_ok(), "this machine rounds to nearest and keeps subnormals");
    nn_init(&c, NULL, 1, &work);
    test_note("kernels: %s of %s", nn_isa_name(&c), nn_isa_list());
}

/* Two entries of a table are easily exchanged, and then every set is wrong alike: so against number.h. And
 * where nothing has memory, nothing may be written. */
static void hand_on(void)
{
    nn c;
    const float x[2] = { -0.75f, 2.5f };
    float y[2];
    nn_init(&c, NULL, 1, &work);
    nn_exp(&c, y, x, 2);
    CHECK(y[0] == exp32(x[0]) && y[1] == exp32(x[1]), "exp");
    nn_silu(&c, y, x, 2);
    CHECK(y[0] == silu32(x[0]) && y[1] == silu32(x[1]), "silu");
    nn_gelu(&c, y, x, 2);
    CHECK(y[0] == gelu32(x[0]) && y[1] == gelu32(x[1]), "gelu");
    nn_quick_gelu(&c, y, x, 2);
    CHECK(y[0] == quick_gelu32(x[0]) && y[1] == quick_gelu32(x[1]), "quick_gelu");
    nn_geglu(&c, y, x, 1, 1);
    CHECK(y[0] == x[0] * gelu32(x[1]), "geglu");
    nn_exp(&c, NULL, x, 2);
    nn_silu(&c, NULL, x, 2);
    nn_gelu(&c, NULL, x, 2);
    nn_quick_gelu(&c, NULL, x, 2);
    nn_geglu(&c, NULL, x, 1, 1);
    nn_softmax(&c, NULL, x, 1, 2);
    nn_layer_norm(&c, NULL, x, x, x, 1, 2, 1e-5f);
}

/* The reference reads weights from their file; who packs them all the same must not hand it panels of another
 * set. */
static void packing(void)
{
    nn c;
    float panels[1] = { 7.0f };
    nn_init(&c, "reference", 1, &work);
    CHECK(nn_packed_size(&c, 100, 9, 50) == 0, "the reference asks for %zu floats",
          nn_packed_size(&c, 100, 9, 50));
    nn_pack(&c, panels, (weight){ .type = DT_F32 }, 1, 1, 1);
    CHECK(panels[0] == 7.0f, "the reference packs");
    nn_init(&c, "scalar", 1, &work);
    CHECK(nn_packed_size(&c, 100, 9, 50) >= 100 * 9 * 50, "panels do not hold all weights");
}

const test_case nn_tests[] = {
    { "contexts", contexts },
    { "hand_on", hand_on },
    { "packing", packing },
    { NULL, NULL }
};
