/* frechet.c: the Frechet distance of two sets of feature vectors (frechet.h).
 *
 *   features x [n,d], y [m,d] --means, covariances--> two normal distributions --> one number
 *
 * Not here: whose features they are (classifier.c), which pictures are compared (drawing.c).
 * Source: Dowson and Landau, 1982, for normal distributions; Heusel et al., arXiv 1706.08500, for features of
 * pictures (FID, whose features are Inception's). Covariances are numpy.cov's, over n - 1.
 * Letters: n, m vectors, d values each; A, B the vectors less their mean, over the root of n - 1 or m - 1. */
#include "evaluation/frechet.h"
#include "arithmetic/memory.h"
#include "files/system.h"

#include <math.h>

/* A [n,d] = (x - mean) / sqrt(n - 1), mean [d]. So A^T A is the covariance. */
static void centre(double *A, double *mean, const float *x, size_t n, size_t d)
{
    const double scale = 1 / sqrt((double)(n - 1));
    for (size_t j = 0; j < d; j++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)x[i * d + j];
        mean[j] = sum / (double)n;
        for (size_t i = 0; i < n; i++)
            A[i * d + j] = ((double)x[i * d + j] - mean[j]) * scale;
    }
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Turns rows a and b [n] in their plane until they are orthogonal; false if they were, to rounding. */
static bool rotate(double *a, double *b, size_t n, double negligible)
{
    const double aa = dot(a, a, n), bb = dot(b, b, n), ab = dot(a, b, n);
    if (ab * ab <= 0x1p-100 * aa * bb || aa <= negligible || bb <= negligible)
        return false;
    const double zeta = (bb - aa) / (2 * ab), away = zeta < 0 ? -zeta : zeta;
    const double t = (zeta < 0 ? -1 : 1) / (away + sqrt(1 + zeta * zeta)), c = 1 / sqrt(1 + t * t), s = c * t;
    for (size_t i = 0; i < n; i++) {
        const double was = a[i];
        a[i] = c * was - s * b[i];
        b[i] = s * was + c * b[i];
    }
    return true;
}

/* The sum of the singular values of P [n,m], which is overwritten: one-sided Jacobi (Hestenes, 1958). Rows
 * are rotated against each other until all are orthogonal; then their lengths are the singular values. */
static double nuclear_norm(double *P, size_t n, size_t m)
{
    const double negligible = 0x1p-104 * dot(P, P, n * m);
    bool   turned = true;
    double sum = 0;
    for (int sweep = 0; turned && sweep < 64; sweep++) { /* some ten suffice */
        turned = false;
        for (size_t i = 0; i < n; i++)
            for (size_t j = i + 1; j < n; j++)
                turned |= rotate(P + i * m, P + j * m, m, negligible);
    }
    for (size_t i = 0; i < n; i++)
        sum += sqrt(dot(P + i * m, P + i * m, m));
    return sum;
}

/* EQ 38: |mx - my|^2 + tr Sx + tr Sy - 2 tr (Sx Sy)^(1/2). With Sx = A^T A and Sy = B^T B the eigenvalues of
 * Sx Sy are the squared singular values of P = A B^T, so the last trace is the sum of those: no root of a
 * matrix is taken, and sets smaller than d are no special case. */
int frechet_distance(double *out, const saeuron_host *host, const float *x, size_t n, const float *y,
                     size_t m, size_t d, saeuron_error *err)
{
    double *means = io_alloc(host, 2 * d, sizeof *means), apart = 0;
    double *A = io_alloc(host, n, d * sizeof *A), *B = io_alloc(host, m, d * sizeof *B);
    double *P = io_alloc(host, n, m * sizeof *P);
    const bool enough = means && A && B && P;
    if (enough) {
        centre(A, means, x, n, d);
        centre(B, means + d, y, m, d);
        for (size_t i = 0; i < n; i++) /* the shorter side in rows: they are what is rotated */
            for (size_t j = 0; j < m; j++)
                P[n <= m ? i * m + j : j * n + i] = dot(A + i * d, B + j * d, d);
        for (size_t j = 0; j < d; j++)
            apart += (means[j] - means[d + j]) * (means[j] - means[d + j]);
        const double traces = dot(A, A, n * d) + dot(B, B, m * d);
        const double distance = apart + traces - 2 * nuclear_norm(P, n < m ? n : m, n < m ? m : n);
        *out = distance > 0 ? distance : 0; /* rounding may leave a little less */
    }
    io_free(host, P);
    io_free(host, B);
    io_free(host, A);
    io_free(host, means);
    return enough ? SAEURON_OK : fail(err, SAEURON_ENOMEM, "no memory for a Frechet distance of %zu and %zu "
                                      "pictures", n, m);
}
