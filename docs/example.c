/* example.c: saeuron.h in a program of yours: draws a flame as a mosaic, forgetting mosaics, and writes it
 * as a PPM. Ctrl-C stops it, and leaves no file.
 *
 *     cc -o example example.c $(pkg-config --cflags --libs saeuron)
 *     ./example "$(pkg-config --variable=modeldir saeuron)" flame.ppm */
#include <saeuron.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* Set by a signal here; by a button, or a request that went away, in a program of yours. */
static volatile sig_atomic_t stop;
static void on_interrupt(int number) { (void)number, stop = 1; }

/* Called after each step; not 0 ends the call with SAEURON_ECANCEL. */
static int progress(void *user, const char *stage, size_t done, size_t total)
{
    fprintf(user, "%s %zu/%zu\n", stage, done, total);
    return stop;
}

static int write_ppm(const char *path, const unsigned char *rgb, size_t width, size_t height)
{
    FILE *f = fopen(path, "wb");
    int ok = f && fprintf(f, "P6\n%zu %zu\n255\n", width, height) > 0 &&
             fwrite(rgb, 3, width * height, f) == width * height;
    if (f && fclose(f))
        ok = 0;
    if (!ok)
        perror(path), remove(path);
    return ok ? SAEURON_OK : SAEURON_EIO;
}

int main(int argc, char **argv)
{
    const char *prompt = "An image of Flame in Mosaic style.";
    const saeuron_host host = { .user = stderr, .progress = progress };
    const saeuron_forget_options forget = { .name = "Mosaic" };
    const saeuron_generate_options options = { .prompts = &prompt, .count = 1 };
    saeuron_context *context;
    saeuron_error err;
    unsigned char *rgb = NULL;
    size_t width, height;

    if (argc != 3)
        return fprintf(stderr, "usage: example MODEL OUT.ppm\n"), 2;
    signal(SIGINT, on_interrupt);
    int code = saeuron_open(&context, &host, argv[1], &err);
    if (code == SAEURON_OK)
        code = saeuron_forget(context, &forget, &err);
    if (code == SAEURON_OK)
        code = saeuron_image_size(context, &options, &width, &height, &err);
    if (code == SAEURON_OK && (rgb = malloc(width * height * 3)) == NULL)
        return saeuron_close(context), fprintf(stderr, "example: no memory for the pixels\n"), 1;
    if (code == SAEURON_OK)
        code = saeuron_generate(context, &options, rgb, &err);
    if (code != SAEURON_OK)
        fprintf(stderr, "example: %s\n", err.text);
    else
        code = write_ppm(argv[2], rgb, width, height);
    saeuron_close(context); /* of a context that did not open: NULL, which is allowed */
    free(rgb);
    return code != SAEURON_OK;
}
