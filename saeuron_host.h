/* saeuron_host.h: what the library says to its surroundings and asks of them: error codes, the error, a tap's kinds, the host.
 *
 *   the program or a port --saeuron_host: memory, files, progress--> the library --saeuron_error: one line for a person--> back
 *
 * Not here: what the library does (saeuron.h, which includes this). It stands below every room, and is installed beside saeuron.h. */
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

/* What a tap's values are: [B,N,C], or an image, channels last [B,H,W,C]. */
enum { SAEURON_TAP_TOKENS, SAEURON_TAP_IMAGE };

typedef struct saeuron_error {
    int  code;
    char text[480]; /* one line, no newline: what, where, what to do */
} saeuron_error;

/* What the library asks of its surroundings. A zeroed host means: malloc, and files of the operating system.
 * With map and alloc given, the library touches neither heap nor files. */
typedef struct saeuron_host {
    void *user;
    /* Memory, aligned as malloc's; alloc may return NULL. */
    void *(*alloc)(void *user, size_t size);
    void  (*free)(void *user, void *p);
    /* The bytes of a file by its path ("weights/emojicanvas/unet/config.json"), valid until unmap. NULL: there is none. */
    const void *(*map)(void *user, const char *path, size_t *size);
    void  (*unmap)(void *user, const void *data, size_t size);
    /* After each step: what, how far. Not 0 cancels: the call ends with SAEURON_ECANCEL. */
    int   (*progress)(void *user, const char *stage, size_t done, size_t total);
    /* Threads (0: all cores, if built with OpenMP) and kernels (NULL: the best; else "scalar", "sse2", "avx2", "avx512"). */
    int   threads;
    const char *isa;
    /* Bytes of alloc that the UNet's weights may take once more, packed for speed when it is opened (four for each; then the SAEs'
     * encoders are packed, too); if that is not enough for all of them, or 0, they are packed piece by piece at every use. The
     * program gives 256 MB. Each classifier's weights likewise. */
    size_t pack;
} saeuron_host;

#ifdef __cplusplus
}
#endif

#endif
