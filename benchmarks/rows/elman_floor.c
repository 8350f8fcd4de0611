/* The network in plain C loops: the cost of the arithmetic without calls. c_loop.py compiles it once for
 * every case, as
 *
 *     cc -O3 -march=native -shared -fPIC -DREAL=float -DT=20 -DB=1 -DD=1 -DH=6 -DO=1 -o floor.so elman_floor.c -lm
 *
 * so that the sizes are constants. The loops over units are innermost, where the compiler vectorises them; nothing is
 * blocked for caches. The equations are those of numpy_rnn/DERIVATION.md. Arrays are as in numpy_rnn: x (T, B, D),
 * h (T+1, B, H) with h[0] the initial state. */
#include <math.h>
#include <string.h>

typedef struct {
    REAL xh[D][H], hh[H][H], hy[H][O];
} Weights;

static REAL tanh_of(REAL a) { return sizeof(REAL) == sizeof(float) ? tanhf(a) : tanh(a); }

/* out (rows, m) += A (rows, n) W (n, m) */
static inline void add_product(REAL *restrict out, const REAL *restrict A, const REAL *restrict W, int rows, int n, int m) {
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < n; i++)
            for (int j = 0; j < m; j++) out[r * m + j] += A[r * n + i] * W[i * m + j];
}

/* out (n, m) += A (rows, n) transposed times C (rows, m) */
static inline void add_outer(REAL *restrict out, const REAL *restrict A, const REAL *restrict C, int rows, int n, int m) {
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < n; i++)
            for (int j = 0; j < m; j++) out[i * m + j] += A[r * n + i] * C[r * m + j];
}

void elman_forward(const Weights *W, int steps, const REAL (*x)[B][D], REAL (*h)[B][H], REAL (*y)[B][O]) {
    for (int t = 0; t < steps; t++) {
        REAL a[B][H] = {0};
        add_product(&a[0][0], &x[t][0][0], &W->xh[0][0], B, D, H); /* (F1) */
        add_product(&a[0][0], &h[t][0][0], &W->hh[0][0], B, H, H); /* (F1) */
        for (int b = 0; b < B; b++)
            for (int j = 0; j < H; j++) h[t + 1][b][j] = tanh_of(a[b][j]); /* (F2) */
        memset(y[t], 0, sizeof y[t]);
        add_product(&y[t][0][0], &h[t + 1][0][0], &W->hy[0][0], B, H, O); /* (F3) */
    }
}

/* The loss of the last `with_loss` steps, which have these targets, and its gradient in d. */
double elman_gradient(const Weights *W, int steps, int with_loss, const REAL (*x)[B][D], const REAL (*target)[B][O],
                REAL (*h)[B][H], Weights *d) {
    static REAL y[T][B][O], da[B][H];
    REAL hh_T[H][H], hy_T[O][H], loss = 0;
    for (int i = 0; i < H; i++) {
        if (steps > 1)
            for (int j = 0; j < H; j++) hh_T[j][i] = W->hh[i][j];
        for (int o = 0; o < O; o++) hy_T[o][i] = W->hy[i][o];
    }
    memset(d, 0, sizeof *d);
    elman_forward(W, steps, x, h, y);
    for (int t = steps - 1; t >= 0; t--) {
        REAL dh[B][H] = {0};
        if (t >= steps - with_loss) {
            REAL dy[B][O];
            for (int b = 0; b < B; b++)
                for (int o = 0; o < O; o++) {
                    dy[b][o] = y[t][b][o] - target[t - (steps - with_loss)][b][o]; /* (B1) */
                    loss += dy[b][o] * dy[b][o];                                 /* (L1) */
                }
            add_product(&dh[0][0], &dy[0][0], &hy_T[0][0], B, O, H);          /* (B2) */
            add_outer(&d->hy[0][0], &h[t + 1][0][0], &dy[0][0], B, H, O);     /* (B6) */
        }
        if (t < steps - 1) add_product(&dh[0][0], &da[0][0], &hh_T[0][0], B, H, H); /* (B2) */
        for (int b = 0; b < B; b++)
            for (int j = 0; j < H; j++) da[b][j] = dh[b][j] * (1 - h[t + 1][b][j] * h[t + 1][b][j]); /* (B3) */
        add_outer(&d->xh[0][0], &x[t][0][0], &da[0][0], B, D, H); /* (B4) */
        add_outer(&d->hh[0][0], &h[t][0][0], &da[0][0], B, H, H); /* (B5) */
    }
    return loss / 2; /* (L1) */
}

double elman_step(Weights *W, int steps, int with_loss, const REAL (*x)[B][D], const REAL (*target)[B][O], REAL (*h)[B][H],
            REAL learning_rate, Weights *d) {
    const double loss = elman_gradient(W, steps, with_loss, x, target, h, d);
    REAL *theta = &W->xh[0][0], *dtheta = &d->xh[0][0];
    for (size_t i = 0; i < sizeof *W / sizeof *theta; i++) theta[i] -= learning_rate * dtheta[i]; /* (U1) */
    return loss;
}

/* A run of every network by itself: TBPTT(k1, k2). losses (epochs, networks). */
void elman_run(Weights *W, int networks, const REAL (*x)[B][D], const REAL (*target)[B][O], const REAL (*h_0)[H],
         REAL learning_rate, int k1, int k2, int epochs, double *losses) {
    static REAL h[T + 1][B][H];
    Weights d;
    for (int network = 0; network < networks; network++)
        for (int epoch = 0; epoch < epochs; epoch++) {
            double loss = 0;
            int first = 0;
            memcpy(h[0], h_0, sizeof h[0]);
            for (int before = 0; before < T; before += k1) {
                const int stop = before + k1 < T ? before + k1 : T; /* (T1) */
                const int start = stop > k2 ? stop - k2 : 0;        /* (T2) */
                if (start > first) memmove(h[0], h[start - first], sizeof h[0]); /* (T3) */
                first = start;
                loss += elman_step(W + network, stop - start, stop - before, x + start, target + before, h, learning_rate, &d);
            }
            losses[(size_t)epoch * networks + network] = loss;
        }
}
