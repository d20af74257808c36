/* An epoch of SGD on [784, 30, 10] with mini-batches of 10 on one thread, as a reference for compiled code.

   `epoch` computes with all pixels, `epoch_nonzero` with those that are not zero: a fifth of MNIST's. Both
   change w1, b1, w2 and b2 in place. `order` lists the n examples of the epoch. */

#include <math.h>
#include <stdint.h>
#include <string.h>

/* The innermost loops keep a block in the vector registers: the sums of 2 hidden units and IMAGES images, or
   the weights of 3 hidden units and VECTORS vectors of pixels. NOTES.md lists the blocks that are slower. */
#if defined(__AVX512F__) /* 32 registers */
enum { LANES = 16, IMAGES = 10, VECTORS = 7 };
#elif defined(__AVX__) /* 16 registers */
enum { LANES = 8, IMAGES = 5, VECTORS = 2 };
#else
enum { LANES = 4, IMAGES = 5, VECTORS = 2 };
#endif
enum { PIXELS = 784, HIDDEN = 30, OUT = 10, M = 10, ROW = PIXELS / LANES, PADDED = 32 / LANES };
typedef float lanes __attribute__((vector_size(4 * LANES), may_alias));
typedef float quad __attribute__((vector_size(16), may_alias));

static float sigmoid(float z) { return 1 / (1 + expf(-z)); }

static float sum(lanes a) {
    quad *q = (quad *)&a, s = q[0];
    for (int i = 1; i < LANES / 4; i++) s += q[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* Starts to load the next mini-batch: its examples are anywhere in memory, so a load takes long. */
static void prefetch(const void *start, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)start + i, 0, 2);
}

/* Updates b1, w2 and b2 from the hidden activations a1. d1 is what each image subtracts from b1. */
static void output_layer(float a1[M][HIDDEN], float d1[M][HIDDEN], const int32_t *batch,
                         const uint8_t *labels, float *b1, float *w2, float *b2, float scale) {
    float d2[M][OUT];
    memset(d1, 0, sizeof(float[M][HIDDEN]));
    for (int i = 0; i < M; i++)
        for (int j = 0; j < OUT; j++) {
            float z = b2[j];
            for (int k = 0; k < HIDDEN; k++) z += w2[j * HIDDEN + k] * a1[i][k];
            float a = sigmoid(z);
            d2[i][j] = scale * (a - (j == labels[batch[i]])) * a * (1 - a);
            for (int k = 0; k < HIDDEN; k++) d1[i][k] += d2[i][j] * w2[j * HIDDEN + k];
        }
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < OUT; j++) {
            for (int k = 0; k < HIDDEN; k++) w2[j * HIDDEN + k] -= d2[i][j] * a1[i][k];
            b2[j] -= d2[i][j];
        }
        for (int k = 0; k < HIDDEN; k++) b1[k] -= d1[i][k] *= a1[i][k] * (1 - a1[i][k]);
    }
}

static void forward(lanes x[M][ROW], lanes w[HIDDEN][ROW], const float *b1, float a1[M][HIDDEN]) {
    for (int k = 0; k < HIDDEN; k += 2)
        for (int first = 0; first < M; first += IMAGES) {
            lanes z[2][IMAGES] = {0};
            for (int p = 0; p < ROW; p++)
                for (int u = 0; u < 2; u++)
                    for (int i = 0; i < IMAGES; i++) z[u][i] += w[k + u][p] * x[first + i][p];
            for (int u = 0; u < 2; u++)
                for (int i = 0; i < IMAGES; i++) a1[first + i][k + u] = sigmoid(sum(z[u][i]) + b1[k + u]);
        }
}

static void update(lanes x[M][ROW], lanes w[HIDDEN][ROW], float d1[M][HIDDEN]) {
    for (int k = 0; k < HIDDEN; k += 3)
        for (int p = 0; p < ROW; p += VECTORS) {
            lanes block[3][VECTORS]; /* copied by loops: after memcpy, gcc would keep it in memory */
            for (int u = 0; u < 3; u++)
                for (int v = 0; v < VECTORS; v++) block[u][v] = w[k + u][p + v];
            for (int i = 0; i < M; i++)
                for (int u = 0; u < 3; u++)
                    for (int v = 0; v < VECTORS; v++) block[u][v] -= d1[i][k + u] * x[i][p + v];
            for (int u = 0; u < 3; u++)
                for (int v = 0; v < VECTORS; v++) w[k + u][p + v] = block[u][v];
        }
}

/* `images` has n rows of PIXELS bytes. */
void epoch(int n, const int32_t *order, const uint8_t *images, const uint8_t *labels, float *w1, float *b1,
           float *w2, float *b2, float eta) {
    lanes w[HIDDEN][ROW], x[M][ROW]; /* aligned copies: a vector in two cache lines takes two loads */
    float a1[M][HIDDEN], d1[M][HIDDEN];
    memcpy(w, w1, sizeof w);
    for (const int32_t *batch = order; batch + M <= order + n; batch += M) {
        for (const int32_t *next = batch + M; next < batch + 2 * M && next < order + n; next++)
            prefetch(images + (int64_t)*next * PIXELS, PIXELS);
        for (int i = 0; i < M; i++)
            for (int p = 0; p < PIXELS; p++)
                ((float *)x[i])[p] = images[(int64_t)batch[i] * PIXELS + p] * (1 / 255.0f);
        forward(x, w, b1, a1);
        output_layer(a1, d1, batch, labels, b1, w2, b2, eta / M);
        update(x, w, d1);
    }
    memcpy(w1, w, sizeof w);
}

/* Image i has values[e] at the pixels columns[e], for e from offsets[i] to offsets[i + 1] - 1. */
void epoch_nonzero(int n, const int32_t *order, const int32_t *offsets, const uint16_t *columns,
                   const float *values, const uint8_t *labels, float *w1, float *b1, float *w2, float *b2,
                   float eta) {
    lanes w[PIXELS][PADDED] = {0}; /* w1 transposed, because a vector has the weights of one pixel */
    float a1[M][HIDDEN], d1[M][HIDDEN];
    for (int k = 0; k < HIDDEN; k++)
        for (int p = 0; p < PIXELS; p++) ((float *)w[p])[k] = w1[k * PIXELS + p];
    for (const int32_t *batch = order; batch + M <= order + n; batch += M) {
        for (const int32_t *next = batch + M; next < batch + 2 * M && next < order + n; next++) {
            int64_t start = offsets[*next], count = offsets[*next + 1] - start;
            prefetch(columns + start, 2 * count);
            prefetch(values + start, 4 * count);
        }
        for (int i = 0; i < M; i++) {
            lanes z[2][PADDED] = {0}; /* two sums, because an addition has to wait for the one before */
            int e = offsets[batch[i]], end = offsets[batch[i] + 1];
            for (; e + 1 < end; e += 2)
                for (int u = 0; u < 2; u++)
                    for (int v = 0; v < PADDED; v++) z[u][v] += values[e + u] * w[columns[e + u]][v];
            for (int v = 0; v < PADDED; v++) {
                if (e < end) z[0][v] += values[e] * w[columns[e]][v];
                z[0][v] += z[1][v];
            }
            for (int k = 0; k < HIDDEN; k++) a1[i][k] = sigmoid(((float *)z)[k] + b1[k]);
        }
        output_layer(a1, d1, batch, labels, b1, w2, b2, eta / M);
        for (int i = 0; i < M; i++) {
            lanes d[PADDED] = {0};
            memcpy(d, d1[i], sizeof d1[i]);
            for (int e = offsets[batch[i]]; e < offsets[batch[i] + 1]; e++)
                for (int v = 0; v < PADDED; v++) w[columns[e]][v] -= values[e] * d[v];
        }
    }
    for (int k = 0; k < HIDDEN; k++)
        for (int p = 0; p < PIXELS; p++) w1[k * PIXELS + p] = ((float *)w[p])[k];
}
