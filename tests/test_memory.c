/* test_memory.c: the arena and the checked product. Not here: that a plan is as large as its run
 * (test_kernels.c). */
#include "test.h"
#include "arithmetic/memory.h"

/* A product that wraps, or a request past the end, must fail and stay failed: else a hostile file decides
 * what is written where. */
static void arenas(void)
{
    unsigned char bytes[256];
    arena a = { bytes, sizeof bytes, 0, 0, false };
    size_t product;

    CHECK(!nn_mul(SIZE_MAX / 2, 3, &product) && nn_mul(SIZE_MAX, 1, &product) &&
          nn_mul(0, SIZE_MAX, &product), "nn_mul");
    CHECK(arena_floats(&a, 1) == (float *)(void *)bytes && a.used == 64,
          "first request at the start, 64 bytes long");
    CHECK(arena_bytes(&a, 3, 64) == bytes + 64 && a.used == 256 && a.peak == 256, "the rest");
    const size_t mark = 64;
    arena_release(&a, mark);
    CHECK(a.used == 64 && a.peak == 256, "release");
    CHECK(!arena_bytes(&a, 193, 1) && a.failed && !arena_bytes(&a, 1, 1), "193 of 192 bytes left");
    arena b = { NULL, 0, 0, 0, false };
    CHECK(!arena_bytes(&b, 100, 10) && b.peak == 1024 && !b.failed, "measuring hands out nothing");
    CHECK(!arena_bytes(&b, SIZE_MAX / 4, 8) && b.failed, "an overflow while measuring");
    arena c = { NULL, 0, 0, 0, false };
    CHECK(!arena_bytes(&c, SIZE_MAX - 3, 1) && c.failed, "rounding up must not wrap");
}

const test_case memory_tests[] = {
    { "arenas", arenas },
    { NULL, NULL }
};
