/* threads.h: OpenMP where the compiler has it, one thread where not.
 *
 *   OMP(omp parallel for num_threads(c->threads))      a pragma, or nothing
 *
 * No other source asks for _OPENMP. Not here: who starts threads and how many (nn.threads, operations.h). */
#ifndef SAEURON_THREADS_H
#define SAEURON_THREADS_H

#ifdef _OPENMP
#include <omp.h>
#define OMP(text) _Pragma(#text)
#else
#define OMP(text)
#endif

/* The caller's number in its team, 0 to threads - 1. */
static inline int thread_number(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* How many threads a call may use that was asked for so many: at least 1; always 1 without OpenMP. */
static inline int thread_count(int asked)
{
#ifdef _OPENMP
    return asked > 0 ? asked : 1;
#else
    (void)asked;
    return 1;
#endif
}

#endif
