/* An epoch of SGD on [784, 30, 10] with mini-batches of 10 on one thread, as a reference for compiled code.

   Each row of the first layer is read once for all ten images; the compiler keeps their sums in registers. */

#include <math.h>
#include <stdint.h>

enum { PIXELS = 784, HIDDEN = 30, OUT = 10, M = 10, LANES = 16, ROW = PIXELS / LANES };
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static float sigmoid(float z) { return 1 / (1 + expf(-z)); }

static float sum(lanes a) {
    float s = 0;
    for (int i = 0; i < LANES; i++) s += a[i];
    return s;
}

static void step(const lanes *x[M], const uint8_t label[M], float *w1, float *b1, float *w2, float *b2,
                 float scale) {
    float a1[M][HIDDEN], d1[M][HIDDEN] = {0}, d2[M][OUT];
    for (int k = 0; k < HIDDEN; k++) {
        const lanes *w = (const lanes *)(w1 + k * PIXELS);
        lanes z[M] = {0};
        for (int p = 0; p < ROW; p++)
            for (int i = 0; i < M; i++) z[i] += w[p] * x[i][p];
        for (int i = 0; i < M; i++) a1[i][k] = sigmoid(sum(z[i]) + b1[k]);
    }
    for (int i = 0; i < M; i++)
        for (int j = 0; j < OUT; j++) {
            float z = b2[j];
            for (int k = 0; k < HIDDEN; k++) z += w2[j * HIDDEN + k] * a1[i][k];
            float a = sigmoid(z);
            d2[i][j] = scale * (a - (j == label[i])) * a * (1 - a);
            for (int k = 0; k < HIDDEN; k++) d1[i][k] += d2[i][j] * w2[j * HIDDEN + k];
        }
    for (int i = 0; i < M; i++)
        for (int j = 0; j < OUT; j++) {
            for (int k = 0; k < HIDDEN; k++) w2[j * HIDDEN + k] -= d2[i][j] * a1[i][k];
            b2[j] -= d2[i][j];
        }
    for (int k = 0; k < HIDDEN; k++) {
        lanes *w = (lanes *)(w1 + k * PIXELS);
        float d[M];
        for (int i = 0; i < M; i++) {
            d[i] = d1[i][k] * a1[i][k] * (1 - a1[i][k]);
            b1[k] -= d[i];
        }
        for (int p = 0; p < ROW; p++) {
            lanes changed = w[p];
            for (int i = 0; i < M; i++) changed -= d[i] * x[i][p];
            w[p] = changed;
        }
    }
}

/* `images` has n rows of PIXELS floats; `order` lists the examples in the order of the epoch. */
void epoch(int n, const int32_t *order, const float *images, const uint8_t *labels, float *w1, float *b1,
           float *w2, float *b2, float eta) {
    for (int first = 0; first + M <= n; first += M) {
        const lanes *x[M];
        uint8_t label[M];
        for (int i = 0; i < M; i++) {
            x[i] = (const lanes *)(images + (int64_t)order[first + i] * PIXELS);
            label[i] = labels[order[first + i]];
        }
        step(x, label, w1, b1, w2, b2, eta / M);
    }
}
