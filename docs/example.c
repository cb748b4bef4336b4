/* example.c: saeuron.h in a program of yours: draws MODEL's picture of a flame without its style, as a PPM.
 *
 *     cc -o example example.c $(pkg-config --cflags --libs saeuron)
 *     ./example "$(pkg-config --variable=modeldir saeuron)" flame.ppm        Ctrl-C stops it, and leaves no file */
#include <saeuron.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static volatile sig_atomic_t stop; /* set it from wherever you like: a signal, a window's button, another thread's atomic */
static void on_interrupt(int number) { (void)number, stop = 1; }

/* After each step; not 0 ends the call with SAE_ECANCEL. */
static int progress(void *user, const char *stage, size_t done, size_t total)
{
    (void)user;
    fprintf(stderr, "%s %zu/%zu\n", stage, done, total);
    return stop;
}

int main(int argc, char **argv)
{
    const char *prompt = "An image of Flame in Mosaic style.";
    const sae_host host = { .progress = progress };
    const sae_forget_options forget = { .concept = "Mosaic" };
    const sae_generate_options options = { .prompts = &prompt, .count = 1 };
    sae_context *context = NULL;
    sae_error err = { 0 };
    unsigned char *rgb = NULL;
    size_t width, height;
    FILE *f;

    signal(SIGINT, on_interrupt);
    if (argc != 3)
        return fprintf(stderr, "usage: example MODEL OUT.ppm\n"), 2;
    if (!sae_open(&context, &host, argv[1], &err) && !sae_forget(context, &forget, &err) && !sae_image_size(context, &options, &width, &height, &err) &&
        (rgb = malloc(width * height * 3)) != NULL && !sae_generate(context, &options, rgb, &err)) {
        f = fopen(argv[2], "wb");
        if (!f || fprintf(f, "P6\n%zu %zu\n255\n", width, height) < 0 || fwrite(rgb, 3, width * height, f) != width * height || fclose(f))
            err.code = SAE_EIO, perror(argv[2]);
    } else
        fprintf(stderr, "example: %s\n", rgb || err.code ? err.text : "no memory for the pixels");
    sae_close(context);
    free(rgb);
    return err.code || !rgb;
}
