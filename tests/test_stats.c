/* test_stats.c: a file of statistics as it is read: values, thresholds, digests.
 *
 * Not here: files that are damaged or belong to another SAE (test_forget.c), how statistics are made
 * (test_collect.c). */
#include "test.h"
#include "shots.h"
#include "arithmetic/rng.h"
#include "stats.h"

#include <stdio.h>
#include <string.h>

enum { T = 3, N = 5, CONCEPTS = 2 };
static const char *const names[CONCEPTS] = { "Cats", "Dogs" };

/* A file NAME of made-up values, those of each row turned by `by` places. */
static void write_values(const char *name, size_t by, dtype type, const char *metadata)
{
    static const size_t shape[2] = { T, N };
    static tiny_list l;
    for (size_t c = 0; c < CONCEPTS; c++) {
        tiny_tensor *t = tiny_tensor_add(&l, names[c], type, 2, shape);
        for (size_t i = 0; i < t->count; i++)
            t->values[i] = (float)(c + 1 + (i / N * N + (i + by) % N) * 7 % 16) / 16;
    }
    tiny_save(&files, name, &l, 0, CONCEPTS, metadata);
    tiny_drop(&l);
}

static void load(stats *s, const saeuron_host *host, const char *name)
{
    saeuron_error e = { 0 };
    char path[64];
    snprintf(path, sizeof path, "tiny/%s", name);
    CHECK(stats_load(s, host, path, &e) == SAEURON_OK, "%s", e.text);
}

/* mu by concept and step, F32 and F16 alike; the thresholds are the concepts' mean; hook, timesteps,
 * prompts. */
static void values(void)
{
    static const char metadata[] = "{\"hook\":\"unet.mid_block.attentions.0\",\"timesteps\":\"[901, 501, "
                                   "1]\",\"prompts\":\"{\\\"Cats\\\": 80, \\\"Dogs\\\": 3}\"}";
    const saeuron_host host = tiny_host(&files);
    stats s;
    float mu[CONCEPTS][N];
    for (int half = 0; half < 2; half++) {
        write_values("a.safetensors", 0, half ? DT_F16 : DT_F32, metadata);
        load(&s, &host, "a.safetensors");
        CHECK(s.steps == T && s.n == N && s.concepts == CONCEPTS &&
                  !strcmp(s.hook, "unet.mid_block.attentions.0") && !s.sae[0],
              "%zu steps, hook %s", s.steps, s.hook);
        CHECK(s.timesteps[0] == 901 && s.timesteps[1] == 501 && s.timesteps[2] == 1, "timestep %d",
              s.timesteps[0]);
        CHECK(s.prompts[0] == 80 && s.prompts[1] == 3, "%g and %g prompts", s.prompts[0], s.prompts[1]);
        CHECK(stats_find(&s, "Dogs") == 1 && stats_find(&s, "dogs") < 0, "Dogs is number %d",
              stats_find(&s, "Dogs"));
        for (size_t t = 0; t < T; t++) {
            for (size_t c = 0; c < CONCEPTS; c++)
                stats_mu(&s, mu[c], c, t);
            for (size_t i = 0; i < N; i++) {
                const float one = (float)(1 + (t * N + i) * 7 % 16) / 16;
                const float two = (float)(2 + (t * N + i) * 7 % 16) / 16;
                CHECK(mu[0][i] == one && mu[1][i] == two, "mu of step %zu, latent %zu: %g, %g", t, i,
                      (double)mu[0][i], (double)mu[1][i]);
                CHECK(s.threshold[t * N + i] == (one + two) / 2, "threshold %g",
                      (double)s.threshold[t * N + i]);
            }
        }
        stats_unload(&s, &host);
    }
    tiny_free(&files);
}

/* Metadata that would be taken for something else, or for nothing: the message names the key. */
static void bad_metadata(void)
{
#define T12 "abcdefghijkl"
#define T96 T12 T12 T12 T12 T12 T12 T12 T12
    static const struct { const char *metadata, *words; } cases[] = {
        { "{\"timesteps\":\"1000,501,1\"}", "\"timesteps\"|from 0 to 999" },
        { "{\"timesteps\":\"901901901901901901901901901901,501,1\"}", "\"timesteps\"|from 0 to 999" },
        { "{\"timesteps\":\"901,501\"}", "\"timesteps\"" },
        { NULL, "\"timesteps\"" },
        { "{\"timesteps\":\"901,501,1\",\"prompts\":\"0\"}", "\"prompts\"" },
        { "{\"timesteps\":\"901,501,1\",\"prompts\":\"2.5\"}", "\"prompts\"" },
        { "{\"timesteps\":\"901,501,1\",\"prompts\":\"1e308\"}", "\"prompts\"|from 1 to 1000000000" },
        { "{\"timesteps\":\"901,501,1\",\"prompts\":\"{\\\"Cats\\\": 3, \\\"Dogs\\\": 1e10}\"}",
          "\"prompts\"" },
        { "{\"timesteps\":\"901,501,1\",\"hook\":\"" T96 "\"}", "\"hook\"|fewer than 96 bytes" },
        { "{\"timesteps\":\"901,501,1\",\"sae\":\"" T96 "\"}", "\"sae\"" },
    };
    const saeuron_host host = tiny_host(&files);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        saeuron_error e = { 0 };
        stats s;
        write_values("a.safetensors", 0, DT_F32, cases[i].metadata);
        check_error(cases[i].words, stats_load(&s, &host, "tiny/a.safetensors", &e), SAEURON_EFORMAT, &e,
                    "a.safetensors: metadata");
        CHECK(test_holds(e.text, cases[i].words), "%s", e.text);
    }
    tiny_free(&files);
}

/* Statistics of the wrong form, and densities that do not belong to them: each is named in one line. */
static void bad_tensors(void)
{
    static const char meta[] = "{\"timesteps\":\"901,501,1\",\"sae\":\"0123456789abcdef\"}";
    static const struct { int ndim; size_t steps, n; const char *words; } shapes[] = {
        { 1, T, N, "Cats" }, { 2, 0, N, "Cats" }, { 2, 1001, 1, "Cats" }, { 2, T, 0, "Cats" },
        { 2, T + 1, N, "Dogs" }, { 2, T, N + 1, "Dogs" },
    };
    static const struct { const char *metadata, *name; size_t n; const char *words; } densities[] = {
        { NULL, "Dogs", N, "\"what\"" },
        { "{\"what\":\"mean\",\"timesteps\":\"901,501,1\"}", "Dogs", N, "\"what\": \"density\"" },
        { "{\"what\":\"density\"}", "Dogs", N, "timesteps" },
        { "{\"what\":\"density\",\"timesteps\":\"901,501\"}", "Dogs", N, "timesteps" },
        { "{\"what\":\"density\",\"timesteps\":\"901,501,2\"}", "Dogs", N, "timesteps" },
        { "{\"what\":\"density\",\"timesteps\":\"901,501,1\",\"sae\":\"0123456789abcdee\"}", "Dogs", N,
          "0123456789abcdee" },
        { "{\"what\":\"density\",\"timesteps\":\"901,501,1\"}", "Birds", N, "Dogs" },
        { "{\"what\":\"density\",\"timesteps\":\"901,501,1\"}", "Dogs", N + 1, "Dogs" },
    };
    static const size_t good[2] = { T, N };
    const saeuron_host host = tiny_host(&files);
    static tiny_list l;
    saeuron_error e = { 0 };
    stats s;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const size_t bad[2] = { shapes[i].steps, shapes[i].n };
        const bool second = !strcmp(shapes[i].words, "Dogs");
        tiny_tensor_add(&l, "Cats", DT_F32, second ? 2 : shapes[i].ndim, second ? good : bad);
        tiny_tensor_add(&l, "Dogs", DT_F32, shapes[i].ndim, bad);
        tiny_save(&files, "a.safetensors", &l, 0, CONCEPTS, meta);
        tiny_drop(&l);
        check_error(shapes[i].words, stats_load(&s, &host, "tiny/a.safetensors", &e), SAEURON_EFORMAT, &e,
                    shapes[i].words);
    }
    write_values("a.safetensors", 0, DT_F32, meta);
    load(&s, &host, "a.safetensors");
    check_error("no densities", stats_load_density(&s, &host, "tiny/none.safetensors", &e), SAEURON_ENOENT,
                &e, "none.safetensors");
    for (size_t i = 0; i < sizeof densities / sizeof *densities; i++) {
        const size_t shape[2] = { T, densities[i].n };
        tiny_tensor_add(&l, "Cats", DT_F32, 2, good);
        tiny_tensor_add(&l, densities[i].name, DT_F32, 2, shape);
        tiny_save(&files, "d.safetensors", &l, 0, CONCEPTS, densities[i].metadata);
        tiny_drop(&l);
        check_error(densities[i].words, stats_load_density(&s, &host, "tiny/d.safetensors", &e),
                    SAEURON_EFORMAT, &e, densities[i].words);
        CHECK(!s.density.file_count && !s.density_digest, "a refused file of densities stays");
    }
    stats_unload(&s, &host);
    CHECK(files.live == 0 && files.mapped == 0, "%ld blocks are left", files.live);
    tiny_free(&files);
}

/* Other means, other digest, however the file is called and whatever its metadata says; so of densities. A
 * rule that takes the SAE's digest for the statistics' lets pictures of other statistics pass for one's
 * own. */
static void digests(void)
{
    static const char meta[] = "{\"timesteps\":\"901,501,1\"}";
    static const char more[] = "{\"timesteps\":\"901,501,1\",\"seed\":\"1\"}";
    static const char dense[] = "{\"what\":\"density\",\"timesteps\":\"901,501,1\"}";
    const saeuron_host host = tiny_host(&files);
    saeuron_error e = { 0 };
    uint64_t first, density;
    stats s;
    write_values("a.safetensors", 0, DT_F32, meta);
    write_values("b.safetensors", 0, DT_F32, more);
    write_values("c.safetensors", 1, DT_F32, meta);
    write_values("d.safetensors", 2, DT_F32, dense);
    load(&s, &host, "a.safetensors");
    uint64_t h = 0;
    for (size_t c = 0; c < CONCEPTS; c++)
        h = nn_hash(h, s.file.list[c].data, T * N * sizeof(float));
    first = s.digest;
    CHECK(first == h && first && !s.density_digest, "digest %llx, of the bytes %llx",
          (unsigned long long)first, (unsigned long long)h);
    CHECK(stats_load_density(&s, &host, "tiny/d.safetensors", &e) == SAEURON_OK, "%s", e.text);
    density = s.density_digest;
    CHECK(density && density != first && s.digest == first,
          "densities of other values have the digest of the means");
    stats_unload(&s, &host);
    load(&s, &host, "b.safetensors");
    CHECK(s.digest == first, "metadata changes the digest");
    write_values("d.safetensors", 3, DT_F32, dense);
    CHECK(stats_load_density(&s, &host, "tiny/d.safetensors", &e) == SAEURON_OK, "%s", e.text);
    CHECK(s.density_digest && s.density_digest != density, "other densities have the same digest");
    stats_unload(&s, &host);
    load(&s, &host, "c.safetensors");
    CHECK(s.digest != first, "means turned by a latent have the same digest");
    stats_unload(&s, &host);
    CHECK(!s.digest && !s.density_digest && files.live == 0 && files.mapped == 0, "%ld blocks are left",
          files.live);
    tiny_free(&files);
}

const test_case stats_tests[] = {
    { "values", values }, { "bad_metadata", bad_metadata }, { "bad_tensors", bad_tensors },
    { "digests", digests }, { NULL, NULL }
};
