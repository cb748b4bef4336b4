/* saeuron_host.h: what the library says to its surroundings, and what it asks of them.
 *
 *   the program or a port --saeuron_host: memory, files, progress--> the library
 *   the library --saeuron_error: a code, and one line for a person--> the program or a port
 *
 * Not here: what the library does (saeuron.h, which includes this). It stands below every room, and is
 * installed beside saeuron.h. */
#ifndef SAEURON_HOST_H
#define SAEURON_HOST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SAEURON_OK,
    SAEURON_EUSAGE,     /* an argument is wrong */
    SAEURON_ENOENT,     /* a file is missing */
    SAEURON_EFORMAT,    /* a file is not what it should be */
    SAEURON_EIO,        /* reading or writing failed */
    SAEURON_ENOMEM,     /* too little memory, or a size that no memory has */
    SAEURON_ENAN,       /* a value is not finite */
    SAEURON_ECANCEL,    /* the progress callback asked to stop */
    SAEURON_EENV        /* the floating-point environment is not IEEE round-to-nearest with subnormals */
};

typedef struct saeuron_error {
    int  code;
    char text[480];     /* one line, no newline: what, where, what to do */
} saeuron_error;

/* What a tap sees (saeuron_generate_options.tap): tokens [B,N,C], or an image, channels last [B,H,W,C]. */
enum { SAEURON_TAP_TOKENS, SAEURON_TAP_IMAGE };

/* What the library asks of its surroundings. A zeroed host means malloc and the files of the operating
 * system. With map and alloc given, the library touches neither heap nor files. */
typedef struct saeuron_host {
    void *user;
    /* Memory, aligned as malloc's; alloc may return NULL. */
    void *(*alloc)(void *user, size_t size);
    void  (*free)(void *user, void *p);
    /* The bytes of a file by its path ("weights/emojicanvas/unet/config.json"), valid until unmap.
     * NULL: there is none. */
    const void *(*map)(void *user, const char *path, size_t *size);
    void  (*unmap)(void *user, const void *data, size_t size);
    /* Called after each step: what, how far. Not 0 cancels: the call ends with SAEURON_ECANCEL. */
    int   (*progress)(void *user, const char *stage, size_t done, size_t total);
    int   threads;      /* 0: all cores, if built with OpenMP */
    const char *isa;    /* kernels: "scalar", "sse2", "avx2", "avx512", "neon", "simd128"; NULL: the best
                         * for this CPU */
    /* Bytes of alloc that may hold one network's weights a second time, packed for speed, four bytes each. A
     * network whose weights fit is packed once, when it is opened (with the UNet its SAEs' encoders), and
     * threads take its rows side by side; any other (or at 0) is packed piece by piece at every use, by all
     * threads together. The program gives 256 MB. */
    size_t pack;
} saeuron_host;

#ifdef __cplusplus
}
#endif

#endif
