/* test_system.c: system.c: memory, paths, files in and out, folders, the clock and Ctrl-C; what a failed
 * write leaves behind. */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "scratch.h"
#include "files/npy.h"
#include "files/png.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
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
    CHECK(io_folder("ab") == 0 && io_folder("") == 0 && io_folder("/") == 1 && io_folder("a/b") == 2 &&
          io_folder("a/b/") == 4, "the folder of a path");
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

/* What lies in a file's place is named; what only looks like it is read. */
static void stand_ins(void)
{
#define POINTER "version https://git-lfs.github.com/spec/v1"
    static const struct { const char *text, *words; } cases[] = {
        { POINTER "\noid sha256:00\nsize 9\n", "Git LFS pointer|git lfs pull" },
        { POINTER, "Git LFS pointer" },
        { "version https://git-lfs.github.com/spec/v", NULL },
        { "<!DOCTYPE html><html>", "web page|link" }, { "<!doctype HTML>", "web page" },
        { "<HTML lang=en>", "web page" }, { "<html", "web page" }, { "<htm", NULL },
        { " <html", NULL }, { "", NULL },
    };
#undef POINTER
    for (size_t i = 0; i < COUNT(cases); i++) {
        io_file f;
        saeuron_error e = { 0 };
        one_file memory = { cases[i].text, strlen(cases[i].text), 0 };
        const saeuron_host host = { .user = &memory, .map = map_one, .unmap = unmap_one };
        write_text("stand-in", cases[i].text);
        for (int k = 0; k < 2; k++) {
            const int code = k ? io_open(&f, &host, "memory", &e) : io_open(&f, NULL, at("stand-in"), &e);
            CHECK(code == (cases[i].words ? SAEURON_EFORMAT : SAEURON_OK) &&
                  (!code || (test_holds(e.text, cases[i].words) &&
                             strstr(e.text, k ? "memory: " : "stand-in: "))), "%s: %s", cases[i].text,
                  code ? e.text : "read");
            io_close(&f);
        }
        CHECK(memory.mapped == 0, "%s: the host's bytes are not given back", cases[i].text);
    }
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
        CHECK(io_write_file(at("full"), "old", 3, &e) == SAEURON_OK, "what fits is not written: %s", e.text);
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
    if (access("/proc/self", F_OK) == 0 && access("/sys/kernel", F_OK) == 0)
        CHECK(io_make_dir("/sys/kernel/saeuron", &e) == SAEURON_EIO && strstr(e.text, "cannot be made") &&
              !strstr(e.text, "No such file"), "%s", e.text);
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

/* A pipe with a name is opened once: what opens it twice waits for ever for a second writer. What has no end
 * is read to a bound. */
static void reads_each_once(void)
{
    saeuron_error e;
    io_file f;
    CHECK(mkfifo(at("fifo"), 0600) == 0 && io_exists(NULL, at("fifo")), "no fifo");
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        FILE *out = fopen(at("fifo"), "wb");
        _exit(!out || fwrite("five\n", 1, 5, out) != 5 || fclose(out));
    }
    alarm(60);
    CHECK(io_open(&f, NULL, at("fifo"), &e) == SAEURON_OK && f.size == 5 && !memcmp(f.data, "five\n", 5),
          "%s", e.text);
    alarm(0);
    io_close(&f);
    waitpid(child, NULL, 0);
    if (access("/dev/zero", R_OK) == 0)
        CHECK(io_open(&f, NULL, "/dev/zero", &e) == SAEURON_EIO && strstr(e.text, "save them as a file"),
              "%s", e.text);
}

/* Only what is not there is absent: where a link leads nowhere or in a circle, a caller must not take
 * defaults. */
static void only_nothing_is_absent(void)
{
    char long_name[300];
    const struct { const char *name, *to, *words; int code; bool there; } cases[] = {
        { "nothing", NULL, "there is no such file", SAEURON_ENOENT, false },
        { "dangling", "nothing", "a link to a file that is not there", SAEURON_EIO, true },
        { "circle", "circle", "cannot be read", SAEURON_EIO, true },
        { "plain/below", NULL, "cannot be read", SAEURON_EIO, false },
        { long_name, NULL, "cannot be read", SAEURON_EIO, true }, /* nobody knows */
    };
    saeuron_error e;
    io_file f;
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    io_write_file(at("plain"), "x", 1, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(!cases[i].to || symlink(cases[i].to, at(cases[i].name)) == 0, "no link");
        CHECK(io_exists(NULL, at(cases[i].name)) == cases[i].there, "%s", cases[i].name);
        CHECK(io_open(&f, NULL, at(cases[i].name), &e) == cases[i].code && strstr(e.text, cases[i].words),
              "%s: %s", cases[i].name, e.text);
    }
}

/* What a killed process left beside a path goes with the next write; what a living one writes stays, and so
 * do links and files of two names. */
static void temporary_files(void)
{
    saeuron_error e;
    io_out a, b;
    size_t n;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        if (io_out_open(&a, at("t"), &e) == SAEURON_OK && io_out_write(&a, "half", 4, &e) == SAEURON_OK)
            fflush(a.file);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    CHECK(files_like("t.tmp-") == 1 && !io_exists(NULL, at("t")), "the killed one left nothing");
    CHECK(io_out_open(&a, at("t"), &e) == SAEURON_OK && io_out_open(&b, at("t"), &e) == SAEURON_OK &&
          files_like("t.tmp-") == 2, "two write at once");
    CHECK(io_out_write(&a, "a", 1, &e) == SAEURON_OK && io_out_write(&b, "bb", 2, &e) == SAEURON_OK &&
          io_out_commit(&a, &e) == SAEURON_OK && io_out_commit(&b, &e) == SAEURON_OK, "%s", e.text);
    unsigned char *p = read_bytes(at("t"), &n);
    CHECK(n == 2 && !memcmp(p, "bb", 2) && files_like("t.tmp-") == 0, "%zu bytes", n);
    free(p);
    CHECK(symlink("t", at("t.tmp-0")) == 0 && io_write_file(at("u"), "old", 3, &e) == SAEURON_OK &&
          link(at("u"), at("t.tmp-1")) == 0, "no links");
    CHECK(io_write_file(at("t"), "ccc", 3, &e) == SAEURON_OK, "%s", e.text);
    p = read_bytes(at("u"), &n);
    CHECK(n == 3 && !memcmp(p, "old", 3), "wrote through a link");
    free(p);
    remove(at("t.tmp-0"));
    remove(at("t.tmp-1"));
}

static void tell_lost(const char *path)
{
    (void)!write(STDOUT_FILENO, path, strlen(path));
    _exit(1);
}

/* A mapped file that becomes shorter while it is read is named. */
static void mapped_file_shrinks(void)
{
    static unsigned char bytes[100000];
    char said[600] = "";
    int status = 0, fd[2];
    saeuron_error e;
    io_file f;
    CHECK(io_write_file(at("shrinks"), bytes, sizeof bytes, &e) == SAEURON_OK && pipe(fd) == 0, "%s", e.text);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        dup2(fd[1], STDOUT_FILENO);
        os_catch_signals(tell_lost);
        if (io_open(&f, NULL, at("shrinks"), &e) != SAEURON_OK || truncate(at("shrinks"), 10) != 0)
            _exit(2);
        _exit(3 + f.data[sizeof bytes - 1]);
    }
    close(fd[1]);
    const ssize_t n = read(fd[0], said, sizeof said - 1);
    close(fd[0]);
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %d: %s", status, said);
    if (access("/proc/self/maps", R_OK) == 0)
        CHECK(n > 0 && !strcmp(said, at("shrinks")), "%s", said);
}

/* A descriptor that the caller closed is no file's: neither reading nor writing it works. */
static void standard_descriptors(void)
{
    int status = 0;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        char c;
        for (int fd = 0; fd < 3; fd++)
            close(fd);
        os_open_standard();
        const int next = open(at("next"), O_RDWR | O_CREAT, 0600);
        _exit(next != 3 || read(0, &c, 1) >= 0 || write(1, "x", 1) >= 0 || write(2, "x", 1) >= 0);
    }
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
}

/* SIGHUP is a stop like Ctrl-C; what was ignored when the program began (nohup) stays so. */
static void signals_of_a_session(void)
{
    static const int stops[] = { SIGINT, SIGTERM, SIGHUP };
    for (size_t i = 0; i < 3; i++)
        for (int ignored = 0; ignored < 2; ignored++) {
            int status = 0;
            fflush(stdout);
            const pid_t child = fork();
            if (child == 0) {
                signal(stops[i], ignored ? SIG_IGN : SIG_DFL);
                os_catch_signals(tell_lost);
                raise(stops[i]);
                _exit(os_interrupted() == !ignored ? 0 : 1);
            }
            waitpid(child, &status, 0);
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "signal %d ignored %d: status %d", stops[i],
                  ignored, status);
        }
}

static void interrupt_flag(void)
{
    int status = 0;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        signal(SIGINT, SIG_DFL); /* a script's background job ignores it */
        os_catch_signals(tell_lost);
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
    { "stand_ins", stand_ins },
    { "folders", folders }, { "reads_a_pipe", reads_a_pipe }, { "reads_each_once", reads_each_once },
    { "only_nothing_is_absent", only_nothing_is_absent }, { "temporary_files", temporary_files },
    { "mapped_file_shrinks", mapped_file_shrinks }, { "standard_descriptors", standard_descriptors },
    { "signals_of_a_session", signals_of_a_session }, { "interrupt_flag", interrupt_flag },
    { "clock_and_cores", clock_and_cores }, { NULL, NULL },
};
