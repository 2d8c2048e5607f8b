/* Value and gradient of a graph of scalar ops: a flat tape, a loop over it and a switch; the least that a tape can cost.
   A row: kind, place of the (first) result, places of up to four operands. */

#include <math.h>
#include <string.h>

enum { SOFTPLUS, SUM, PRODUCT, SOFTMAX };

typedef struct { int kind, out, in[4]; } row;

REAL value_and_gradient(const row *rows, long count, REAL *v, REAL *g, long values, long window)
{
    for (const row *r = rows; r < rows + count; r++) {
        const int *in = r->in;
        switch (r->kind) {
        case SOFTPLUS: {
            REAL x = v[in[0]];
            v[r->out] = (x > 0 ? x : 0) + LOG1P(EXP(-FABS(x)));
            break;
        }
        case SUM:
            v[r->out] = (REAL)0.25 * (v[in[0]] + v[in[1]] + v[in[2]] + v[in[3]]);
            break;
        case PRODUCT:
            v[r->out] = v[in[0]] * v[in[1]];
            break;
        default: {
            REAL e[4], top = v[in[0]], sum = 0;
            for (int k = 1; k < 4; k++) top = v[in[k]] > top ? v[in[k]] : top;
            for (int k = 0; k < 4; k++) sum += e[k] = EXP(v[in[k]] - top);
            for (int k = 0; k < 4; k++) v[r->out + k] = e[k] / sum;
        }
        }
    }
    REAL mean = 0;
    memset(g, 0, values * sizeof(REAL));
    for (long k = values - window; k < values; k++) {
        mean += v[k];
        g[k] = (REAL)1 / window;
    }
    for (const row *r = rows + count - 1; r >= rows; r--) {
        const int *in = r->in;
        REAL d = g[r->out];
        switch (r->kind) {
        case SOFTPLUS:
            g[in[0]] += d / (1 + EXP(-v[in[0]]));
            break;
        case SUM:
            for (int k = 0; k < 4; k++) g[in[k]] += (REAL)0.25 * d;
            break;
        case PRODUCT: {
            REAL a = v[in[0]], b = v[in[1]];
            g[in[0]] += d * b;
            g[in[1]] += d * a;
            break;
        }
        default: {
            const REAL *y = v + r->out, *dy = g + r->out;
            REAL inner = 0;
            for (int k = 0; k < 4; k++) inner += y[k] * dy[k];
            for (int k = 0; k < 4; k++) g[in[k]] += y[k] * (dy[k] - inner);
        }
        }
    }
    return mean / window;
}
