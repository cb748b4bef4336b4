/* npy.h: NumPy's .npy, format 1.0 and 2.0, little-endian, C order: arrays in and out.
 * Not here: what an array means. Source: numpy.lib.format. */
#ifndef SAEURON_NPY_H
#define SAEURON_NPY_H

#include "files/tensors.h"

/* Reads F16, F32 or F64 as float32, with up to TENSOR_DIMS dimensions. *values is allocated by host: io_free.
 * SAEURON_ENAN when a value is not finite or, of F64, too large for float32. */
int npy_load(const saeuron_host *host, const char *path, float **values, size_t shape[TENSOR_DIMS], int *ndim,
             saeuron_error *err);
/* Format 1.0, '<f4', byte for byte what numpy.save writes. Any value is written, NaN too: a dump must show
 * it. */
int npy_save(const saeuron_host *host, const char *path, const float *values, const size_t *shape, int ndim,
             saeuron_error *err);

#endif
