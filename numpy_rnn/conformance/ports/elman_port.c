/* A port in C99, in float and in double. protocol.txt says what it reads and writes, DERIVATION.md what it computes.
 *
 *     cc -std=c99 -O2 -o elman_port elman_port.c -lm
 *
 * C has no templates: the part under REAL is compiled twice, as the file includes itself once for each type. */
#ifdef REAL
/* The numbers of a field as an array of n; zeros where there are none, as for absent biases. */
static void *TYPED(array)(const char *name, size_t n) {
    Field *of = field(name);
    REAL *array = of->array = grown(of->array, n * sizeof(REAL));
    for (size_t i = 0; i < n; i++) array[i] = i < of->count ? (REAL)of->values[i] : 0;
    return array;
}

static void TYPED(put)(const char *name, const REAL *values, size_t n) {
    printf(",\"%s\":[", name);
    for (size_t i = 0; i < n; i++) printf(i ? ",\"%.17g\"" : "\"%.17g\"", (double)values[i]);
    printf("]");
}

typedef struct {
    const char *name, *d_name, *v_name;
    REAL *theta, *dtheta;
    size_t n; /* 0 where the network does not have it */
} TYPED(Parameter);

/* What makes the gradients of these parameters no longer than max_norm together. Where numbers are above 1, all are
 * scaled by a power of two, so that no square overflows. */
static REAL TYPED(clipping)(const TYPED(Parameter) *all, size_t count) {
    const REAL max_norm = (REAL)number("max_norm"); /* 0 where there is none */
    REAL largest = 1, squares = 0;
    int exponent;
    for (size_t p = 0; p < count; p++)
        for (size_t i = 0; i < all[p].n; i++) largest = fmax(largest, fabs(all[p].dtheta[i]));
    frexp(largest, &exponent);
    const REAL scale = ldexp((REAL)1, 2 - exponent), back = ldexp((REAL)1, exponent - 2); /* none of them subnormal */
    for (size_t p = 0; p < count; p++)
        for (size_t i = 0; i < all[p].n; i++) squares += (scale * all[p].dtheta[i]) * (scale * all[p].dtheta[i]);
    const REAL norm = back * sqrt(squares) + (REAL)1e-6;          /* (U2) */
    return max_norm > 0 && max_norm < norm ? max_norm / norm : 1; /* (U3) */
}

static void TYPED(learn)(const TYPED(Parameter) *of, REAL clipping) {
    const REAL learning_rate = (REAL)number("learning_rate"), decay = (REAL)number("weight_decay");
    const REAL mu = (REAL)number("momentum"), undamped = 1 - (REAL)number("dampening");
    const int nesterov = is_true("nesterov"), moves = field(of->v_name)->count > 0;
    REAL *v = TYPED(array)(of->v_name, of->n);
    TYPED(put)(of->d_name, of->dtheta, of->n);
    for (size_t i = 0; i < of->n; i++) {
        const REAL d = clipping * of->dtheta[i] + decay * of->theta[i]; /* (U4) */
        v[i] = moves ? mu * v[i] + undamped * d : d;                    /* (U5) */
        const REAL s = mu == 0 ? d : nesterov ? d + mu * v[i] : v[i];   /* (U6) */
        of->theta[i] -= learning_rate * s;                              /* (U1) */
    }
    TYPED(put)(of->name, of->theta, of->n);
    if (mu != 0) TYPED(put)(of->v_name, v, of->n);
}

/* Row r = t B + b of an array is step t of sequence b, row r + B the next step. Of h, row r is the state before it, so
 * the first B rows are h_0. The last B rows of da, after all steps, are zero. */
static void TYPED(window_update)(void) {
    const size_t B = size("B"), D = size("D"), H = size("H"), O = size("O");
    const size_t rows = size("T") * B, counted = size("K") * B, uncounted = rows - counted;
    const REAL share = is("reduction", "mean") ? 1 / (REAL)(counted * O) : 1;
    const int relu = is("nonlinearity", "relu");
    REAL(*W_xh)[H] = TYPED(array)("W_xh", D * H), (*dW_xh)[H] = TYPED(array)("dW_xh", D * H);
    REAL(*W_hh)[H] = TYPED(array)("W_hh", H * H), (*dW_hh)[H] = TYPED(array)("dW_hh", H * H);
    REAL(*W_hy)[O] = TYPED(array)("W_hy", H * O), (*dW_hy)[O] = TYPED(array)("dW_hy", H * O);
    REAL *b_h = TYPED(array)("b_h", H), *db_h = TYPED(array)("db_h", H);
    REAL *b_y = TYPED(array)("b_y", O), *db_y = TYPED(array)("db_y", O);
    REAL(*x)[D] = TYPED(array)("x", rows * D), (*target)[O] = TYPED(array)("target", counted * O);
    REAL(*a)[H] = TYPED(array)("a", rows * H), (*h)[H] = TYPED(array)("h", (rows + B) * H);
    REAL(*y)[O] = TYPED(array)("y", rows * O), (*dy)[O] = TYPED(array)("dy", rows * O);
    REAL(*dh)[H] = TYPED(array)("dh", rows * H), (*da)[H] = TYPED(array)("da", (rows + B) * H);
    REAL(*dx)[D] = TYPED(array)("dx", rows * D), (*dh_0)[H] = TYPED(array)("dh_0", B * H);
    REAL *h_0 = TYPED(array)("h_0", B * H), loss = 0;

    memcpy(h, h_0, B * sizeof h[0]);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < H; j++) {
            a[r][j] = b_h[j];
            for (size_t d = 0; d < D; d++) a[r][j] += x[r][d] * W_xh[d][j]; /* (F1) */
            for (size_t i = 0; i < H; i++) a[r][j] += h[r][i] * W_hh[i][j]; /* (F1) */
        }
        for (size_t j = 0; j < H; j++) h[r + B][j] = relu ? (a[r][j] > 0 ? a[r][j] : 0) : tanh(a[r][j]); /* (F2) */
        for (size_t o = 0; o < O; o++) {
            y[r][o] = b_y[o];
            for (size_t i = 0; i < H; i++) y[r][o] += h[r + B][i] * W_hy[i][o]; /* (F3) */
        }
    }
    for (size_t r = rows; r-- > 0;) {
        for (size_t o = 0; o < O && r >= uncounted; o++) {
            const REAL error = y[r][o] - target[r - uncounted][o];
            loss += error * error / 2;  /* (L1) */
            dy[r][o] = error * share;   /* (B1) */
        }
        for (size_t i = 0; i < H; i++) {
            const REAL slope = relu ? (REAL)(h[r + B][i] > 0) : 1 - h[r + B][i] * h[r + B][i];
            for (size_t o = 0; o < O; o++) dh[r][i] += dy[r][o] * W_hy[i][o];     /* (B2) */
            for (size_t j = 0; j < H; j++) dh[r][i] += da[r + B][j] * W_hh[i][j]; /* (B2) */
            da[r][i] = dh[r][i] * slope;                                          /* (B3) */
        }
        for (size_t d = 0; d < D; d++)
            for (size_t j = 0; j < H; j++) dx[r][d] += da[r][j] * W_xh[d][j]; /* (B10) */
        for (size_t i = 0; i < H && r < B; i++)
            for (size_t j = 0; j < H; j++) dh_0[r][i] += da[r][j] * W_hh[i][j]; /* (B9) */
        for (size_t j = 0; j < H; j++) {
            for (size_t d = 0; d < D; d++) dW_xh[d][j] += x[r][d] * da[r][j]; /* (B4) */
            for (size_t i = 0; i < H; i++) dW_hh[i][j] += h[r][i] * da[r][j]; /* (B5) */
            db_h[j] += da[r][j];                                              /* (B7) */
        }
        for (size_t o = 0; o < O; o++) {
            for (size_t i = 0; i < H; i++) dW_hy[i][o] += h[r + B][i] * dy[r][o]; /* (B6) */
            db_y[o] += dy[r][o];                                                  /* (B8) */
        }
    }
    printf("{\"id\":%.0f,\"loss\":\"%.17g\"", number("id"), (double)(loss * share)); /* (L2) */
    TYPED(put)("a", *a, rows * H), TYPED(put)("h", h[B], rows * H), TYPED(put)("y", *y, rows * O);
    TYPED(put)("dy", *dy, rows * O), TYPED(put)("dh", *dh, rows * H), TYPED(put)("da", *da, rows * H);
    TYPED(put)("dx", *dx, rows * D);

    const int biases = field("b_h")->count > 0;
    const TYPED(Parameter) all[] = {
        {NAMES("W_xh"), *W_xh, *dW_xh, D * H}, {NAMES("W_hh"), *W_hh, *dW_hh, H * H},
        {NAMES("W_hy"), *W_hy, *dW_hy, H * O}, {NAMES("b_h"), b_h, db_h, biases ? H : 0},
        {NAMES("b_y"), b_y, db_y, biases ? O : 0}};
    const size_t count = sizeof all / sizeof all[0];
    const REAL clipping = TYPED(clipping)(all, count);
    TYPED(put)("dh_0", *dh_0, B * H);
    for (size_t p = 0; p < count; p++)
        if (all[p].n) TYPED(learn)(all + p, clipping);
    printf("}\n");
}
#else
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tgmath.h> /* tanh of a float is tanhf */

#define NAMES(parameter) parameter, "d" parameter, "v" parameter

#ifdef __FAST_MATH__ /* then glibc's vectorised tanh may be used, for which it promises 4 ulps */
#define TANH_ULPS "4"
#else /* measured: 2.2 */
#define TANH_ULPS "3"
#endif

typedef struct {
    const char *name, *text; /* the last string or number read under this name, as it stands in the line */
    double *values;          /* all of them, in order, as numbers */
    size_t count, room;      /* of the values */
    void *array;             /* memory of the network's array of this name */
} Field;

#define F(called) {.name = called}
static Field fields[] = {
    F("type"), F("id"), F("dtype"), F("nonlinearity"), F("reduction"), F("T"), F("B"), F("D"), F("H"), F("O"), F("K"),
    F("learning_rate"), F("momentum"), F("dampening"), F("nesterov"), F("weight_decay"), F("max_norm"),
    F("x"), F("target"), F("h_0"), F("W_xh"), F("W_hh"), F("W_hy"), F("b_h"), F("b_y"), F("a"),
    F("h"), F("y"), F("dy"), F("dh"), F("da"), F("dx"), F("dh_0"), F("dW_xh"), F("dW_hh"), F("dW_hy"), F("db_h"),
    F("db_y"), F("vW_xh"), F("vW_hh"), F("vW_hy"), F("vb_h"), F("vb_y"), F("")};
static Field *const unknown = fields + sizeof fields / sizeof fields[0] - 1;

static Field *field(const char *name) {
    Field *of = fields;
    while (of < unknown && strcmp(of->name, name)) of++;
    return of;
}

static double number(const char *name) { return field(name)->count ? field(name)->values[0] : 0; }
static size_t size(const char *name) { return (size_t)number(name); }
static int is(const char *name, const char *text) { return !strcmp(field(name)->text, text); }
static int is_true(const char *name) { return *field(name)->text == 't'; }

static void *grown(void *memory, size_t bytes) {
    if (!(memory = realloc(memory, bytes))) fputs("out of memory\n", stderr), exit(1);
    return memory;
}

/* Read the JSON value at `at` into the field, and the members of an object into their own; the depth of a name does not
 * matter, as this protocol has none twice. Returns where the value ends, or NULL where it does not. */
static char *value(char *at, Field *of) {
    at += strspn(at, " \t\r\n,:");
    if (*at == '{' || *at == '[') {
        const char object = *at == '{', close = object ? '}' : ']';
        for (at++; *(at += strspn(at, " \t\r\n,:")) != close;) {
            if (object && !(at = value(at, unknown))) return NULL; /* the name */
            if (!(at = value(at, object ? field(unknown->text) : of))) return NULL;
        }
        return at + 1;
    }
    const int quoted = *at == '"';
    char *text = at + quoted;
    at = text + strcspn(text, quoted ? "\"" : ",:]} \t\r\n");
    if (*at == 0 || (at == text && !quoted)) return NULL;
    if (quoted) *at++ = 0;
    if (of->count == of->room) of->values = grown(of->values, (of->room = 2 * of->room + 8) * sizeof(double));
    of->values[of->count++] = strtod(text, NULL);
    of->text = text;
    return at;
}

static char *read_line(void) { /* of any length; NULL at the end of the input */
    static char *line;
    static size_t room;
    for (size_t length = 0;; length += strlen(line + length)) {
        if (length && line[length - 1] == '\n') return line;
        if (length + 2 > room) line = grown(line, room = 2 * room + 4096);
        if (!fgets(line + length, (int)(room - length), stdin)) return length ? line : NULL;
    }
}

static const char *misfit(void) { /* the name of a field that cannot be used, or NULL */
    const size_t TB = size("T") * size("B"), KB = size("K") * size("B"), D = size("D"), H = size("H"), O = size("O");
    const struct { const char *name; size_t count; } need[] = {
        {"W_xh", D * H}, {"W_hh", H * H}, {"W_hy", H * O}, {"h_0", size("B") * H}, {"x", TB * D}, {"target", KB * O},
        {"b_h", field("b_y")->count ? H : 0}, {"b_y", field("b_h")->count ? O : 0}, {"learning_rate", 1},
        {"vW_xh", D * H}, {"vW_hh", H * H}, {"vW_hy", H * O}, {"vb_h", H}, {"vb_y", O}};
    for (size_t n = 0; n < sizeof need / sizeof need[0]; n++) {
        const size_t count = field(need[n].name)->count;
        if (count != need[n].count && (count || need[n].name[0] != 'v')) return need[n].name; /* velocities may lack */
    }
    if (!is("nonlinearity", "tanh") && !is("nonlinearity", "relu")) return "nonlinearity";
    if (!is("reduction", "sum") && !is("reduction", "mean")) return "reduction";
    return KB < 1 || KB > TB ? "K" : is("dtype", "float32") || is("dtype", "float64") ? NULL : "dtype";
}

#define JOINED(name, type) name##_##type
#define JOIN(name, type) JOINED(name, type)
#define TYPED(name) JOIN(name, REAL)
#define REAL float
#include "elman_port.c"
#undef REAL
#define REAL double
#include "elman_port.c"

int main(void) {
    for (char *line; (line = read_line()) != NULL; fflush(stdout)) {
        for (Field *of = fields; of <= unknown; of++) of->count = 0, of->text = "";
        if (!value(line, unknown)) printf("{\"id\":0,\"error\":\"not a whole JSON object\"}\n");
        else if (is("type", "hello"))
            printf("{\"type\":\"hello\",\"protocol\":2,\"name\":\"elman_port.c\",\"dtypes\":[\"float32\",\"float64\"],"
                   "\"capabilities\":[\"intermediates\",\"input_gradients\",\"sgd_options\"],"
                   "\"tanh_ulps\":" TANH_ULPS "}\n");
        else if (misfit()) printf("{\"id\":%.0f,\"error\":\"%s does not fit\"}\n", number("id"), misfit());
        else if (is("dtype", "float32")) window_update_float();
        else window_update_double();
    }
    return 0;
}
#endif
