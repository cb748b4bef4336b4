/* test_system.c: system.c: memory, paths, files in and out, folders, the clock and Ctrl-C; what a failed
 * write leaves behind. */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "scratch.h"
#include "files/npy.h"
#include "files/png.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void memory_products(void)
{
    CHECK(!io_alloc(NULL, SIZE_MAX / 2, 3), "an overflowing product was allocated");
    void *p = io_alloc(NULL, 0, 8);
    CHECK(p, "nothing at all is still something");
    io_free(NULL, p);
    io_free(NULL, NULL);
}

static void path_joins(void)
{
    char out[8];
    CHECK(io_join(out, sizeof out, "a", "b") && !strcmp(out, "a/b"), "%s", out);
    CHECK(io_join(out, sizeof out, "a/", "b") && !strcmp(out, "a/b"), "%s", out);
    CHECK(io_join(out, sizeof out, "", "b") && !strcmp(out, "b"), "%s", out);
    CHECK(io_join(out, sizeof out, "abc", "def") && !io_join(out, sizeof out, "abc", "defg"),
          "seven bytes fit in eight");
}

static void write_replaces(void)
{
    saeuron_error e;
    size_t n;
    CHECK(io_write_file(at("w"), "old", 3, &e) == SAEURON_OK &&
          io_write_file(at("w"), "newer", 5, &e) == SAEURON_OK, "%s", e.text);
    unsigned char *p = read_bytes(at("w"), &n);
    CHECK(n == 5 && !memcmp(p, "newer", 5), "%zu bytes", n);
    free(p);
    CHECK(io_write_file(at("w0"), "", 0, &e) == SAEURON_OK && io_exists(NULL, at("w0")) &&
          !io_exists(NULL, at("w1")), "an empty file");
    io_file f;
    CHECK(io_open(&f, NULL, at("w0"), &e) == SAEURON_OK && f.size == 0, "%s", e.text);
    io_close(&f);
    io_out o;
    CHECK(io_out_open(&o, at("w"), &e) == SAEURON_OK && io_out_write(&o, "x", 1, &e) == SAEURON_OK &&
          files_like(".tmp-") == 1, "while writing");
    io_out_abort(&o);
    CHECK(files_like(".tmp-") == 0 && io_out_write(&o, "x", 1, &e) == SAEURON_EIO &&
          io_out_commit(&o, &e) == SAEURON_EIO, "after abort");
    p = read_bytes(at("w"), &n);
    CHECK(n == 5, "an aborted file replaced the old one");
    free(p);
}

static void write_fails_cleanly(void)
{
    saeuron_error e;
    size_t n;
    struct rlimit old, small = { 4096, 4096 };
    static unsigned char rgb[3 * 64 * 64], zeros[100000];
    static const size_t shape[1] = { 3000 };
    CHECK(io_write_file(at("no/such/x"), "x", 1, &e) != SAEURON_OK && strstr(e.text, "no/such/x"), "%s",
          e.text);
    CHECK(io_write_file(test_tmp(), "x", 1, &e) != SAEURON_OK, "wrote over a folder");
    io_write_file(at("full"), "old", 3, NULL);
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (unsigned char)random_bits();
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    void (*was)(int) = signal(SIGXFSZ, SIG_IGN);
    fflush(stdout);
    if (setrlimit(RLIMIT_FSIZE, &small) == 0) {
        const tensor_out big = { "x", DT_F32, 1, { 3000 }, (const float *)(const void *)zeros };
        CHECK(io_write_file(at("full"), zeros, sizeof zeros, &e) == SAEURON_EIO &&
              strstr(e.text, "full: "), "%s", e.text);
        CHECK(png_save(NULL, at("full"), rgb, 64, 64, NULL, &e) == SAEURON_EIO, "png_save");
        CHECK(npy_save(NULL, at("full"), big.values, shape, 1, &e) == SAEURON_EIO, "npy_save");
        CHECK(tensors_save(NULL, at("full"), &big, 1, NULL, &e) == SAEURON_EIO, "tensors_save");
        setrlimit(RLIMIT_FSIZE, &old);
    }
    signal(SIGXFSZ, was);
    unsigned char *p = read_bytes(at("full"), &n);
    CHECK(n == 3 && !memcmp(p, "old", 3), "the old file is gone: %zu bytes", n);
    free(p);
    CHECK(files_like(".tmp-") == 0, "%d half-written files were left", files_like(".tmp-"));
#ifndef SAEURON_PLAIN_C
    if (access("/dev/full", W_OK) == 0)
        CHECK(io_write_file("/dev/full", zeros, sizeof zeros, &e) == SAEURON_EIO &&
              strstr(e.text, "disk full"), "%s", e.text);
    CHECK(io_write_file("/dev/null", "x", 1, &e) == SAEURON_OK && access("/dev/null", W_OK) == 0,
          "a device is written, not replaced");
#endif
}

static void folders(void)
{
    saeuron_error e;
#ifdef SAEURON_PLAIN_C
    CHECK(io_make_dir(test_tmp(), &e) == SAEURON_OK && io_make_dir(at("d/e"), &e) == SAEURON_EIO, "%s",
          e.text);
#else
    CHECK(io_make_dir(at("d/e/f"), &e) == SAEURON_OK && io_make_dir(at("d/e/f/"), &e) == SAEURON_OK &&
          io_make_dir("/", &e) == SAEURON_OK, "%s", e.text);
    CHECK(io_write_file(at("d/e/f/g"), "x", 1, &e) == SAEURON_OK, "%s", e.text);
    CHECK(io_make_dir(at("d/e/f/g"), &e) == SAEURON_EIO && io_make_dir(at("d/e/f/g/h"), &e) == SAEURON_EIO,
          "a file is no folder");
#endif
}

/* A file that cannot be mapped, here a pipe, is read until its end. */
static void reads_a_pipe(void)
{
    int fd[2];
    char path[64];
    io_file f;
    saeuron_error e;
    static unsigned char bytes[200000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7 >> 3);
    if (pipe(fd) != 0 || access("/dev/fd", R_OK) != 0) {
        test_skip("no /dev/fd here");
        return;
    }
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        size_t done = 0;
        close(fd[0]);
        while (done < sizeof bytes) {
            const ssize_t n = write(fd[1], bytes + done, sizeof bytes - done);
            if (n <= 0)
                break;
            done += (size_t)n;
        }
        _exit(0);
    }
    close(fd[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", fd[0]);
    CHECK(io_open(&f, NULL, path, &e) == SAEURON_OK && f.size == sizeof bytes &&
          !memcmp(f.data, bytes, sizeof bytes), "%s", e.text);
    io_close(&f);
    close(fd[0]);
    waitpid(child, NULL, 0);
}

static void interrupt_flag(void)
{
    int status = 0;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        os_catch_interrupt();
        const bool before = os_interrupted();
        raise(SIGINT);
        if (!before && os_interrupted())
            raise(SIGINT); /* ends the program */
        _exit(1);
    }
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT,
          "status %d: the first should set a flag, the second end the program", status);
}

static void clock_and_cores(void)
{
    const double a = os_seconds(), b = os_seconds();
    CHECK(a > 0 && b >= a && b - a < 60, "%f %f", a, b);
    CHECK(os_cores() >= 1 && os_terminal_width() >= 0, "%d cores", os_cores());
}

const test_case system_tests[] = {
    { "memory_products", memory_products }, { "path_joins", path_joins },
    { "write_replaces", write_replaces }, { "write_fails_cleanly", write_fails_cleanly },
    { "folders", folders }, { "reads_a_pipe", reads_a_pipe }, { "interrupt_flag", interrupt_flag },
    { "clock_and_cores", clock_and_cores }, { NULL, NULL },
};
