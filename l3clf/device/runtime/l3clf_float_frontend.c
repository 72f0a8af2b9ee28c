/* The front-end in floating point, as exports had it before; see l3clf_frontend.c for the one in integers. */
#include "l3clf_frontend.h"

#ifdef L3CLF_FLOAT_FRONTEND

#include <string.h>

#define N (L3CLF_FRAME / 2) /* length of the complex transform, a power of four */

typedef struct {
    float re, im;
} complex_t;

static inline complex_t times(complex_t a, const complex_t *w)
{
    const complex_t product = {a.re * w->re - a.im * w->im, a.re * w->im + a.im * w->re};
    return product;
}

/* Radix-4 butterfly of four values `quarter` apart, decimation in frequency. */
static inline void butterfly(const complex_t *x, int32_t quarter, complex_t y[4])
{
    const complex_t p = x[0], q = x[quarter], r = x[2 * quarter], s = x[3 * quarter];
    const complex_t a = {p.re + r.re, p.im + r.im}, b = {p.re - r.re, p.im - r.im};
    const complex_t c = {q.re + s.re, q.im + s.im}, d = {q.im - s.im, s.re - q.re}; /* d is multiplied by -i */
    y[0].re = a.re + c.re, y[0].im = a.im + c.im;
    y[1].re = b.re + d.re, y[1].im = b.im + d.im;
    y[2].re = a.re - c.re, y[2].im = a.im - c.im;
    y[3].re = b.re - d.re, y[3].im = b.im - d.im;
}

/* Radix-4 FFT in place; bin k ends at x[order[k]]. */
static void transform(complex_t *x, const complex_t *twiddles)
{
    for (int32_t n = N; n > 4; n /= 4) {
        const int32_t quarter = n / 4, step = L3CLF_FRAME / n;
        for (int32_t j = 0; j < quarter; j++) {
            const complex_t *w1 = twiddles + j * step, *w2 = w1 + j * step, *w3 = w2 + j * step;
            for (complex_t *at = x + j; at < x + N; at += n) {
                complex_t y[4];
                butterfly(at, quarter, y);
                at[0] = y[0];
                at[quarter] = times(y[1], w1);
                at[2 * quarter] = times(y[2], w2);
                at[3 * quarter] = times(y[3], w3);
            }
        }
    }
    for (complex_t *at = x; at < x + N; at += 4) {
        complex_t y[4];
        butterfly(at, 1, y);
        at[0] = y[0], at[1] = y[1], at[2] = y[2], at[3] = y[3];
    }
}

/* Four times the powers of bins 1 to N - 1 of the real signal whose even and odd samples were transformed as the real
   and imaginary parts of one complex signal. The exporter scales its thresholds by this factor. */
static void real_powers(const complex_t *x, const l3clf_frontend *f, float *powers)
{
    const complex_t *twiddles = (const complex_t *)f->twiddles;
    for (int32_t k = 1; k <= N / 2; k++) {
        const complex_t a = x[f->order[k]], b = x[f->order[N - k]];
        const complex_t even = {a.re + b.re, a.im - b.im}, odd = {a.im + b.im, b.re - a.re};
        const complex_t turned = times(odd, twiddles + k);
        const complex_t sum = {even.re + turned.re, even.im + turned.im};
        const complex_t difference = {even.re - turned.re, even.im - turned.im};
        powers[k] = sum.re * sum.re + sum.im * sum.im;
        powers[N - k] = difference.re * difference.re + difference.im * difference.im;
    }
}

/* The level of a power is the number of thresholds that it reaches. The bits of a positive float grow roughly with its
   logarithm, so that a line through them gives a guess just below the level. */
static int8_t level(float power, const l3clf_frontend *f)
{
    int32_t bits;
    memcpy(&bits, &power, sizeof bits);
    int32_t guess = (int32_t)(((int64_t)(bits - f->guess_base) * f->guess_factor) >> 32);
    guess = guess < 0 ? 0 : guess > 255 ? 255 : guess;
    while (power >= f->thresholds[guess]) {
        guess++;
    }
    return (int8_t)(guess - 128);
}

void l3clf_frame(const int16_t *samples, int8_t *levels, void *work_bytes)
{
    float *work = work_bytes;
    const l3clf_frontend *f = &l3clf_model_frontend;
    float *powers = work + L3CLF_FRAME;
    for (int32_t i = 0; i < L3CLF_FRAME; i++) {
        work[i] = (float)samples[i] * f->window[i];
    }
    transform((complex_t *)work, (const complex_t *)f->twiddles);
    real_powers((const complex_t *)work, f, powers);
    const float *weights = f->weights;
    for (int32_t band = 0; band < L3CLF_N_MELS; band++) {
        const float *bins = powers + f->bands[band].first_bin;
        float sum = 0.0F;
        for (int32_t i = 0; i < f->bands[band].n_bins; i++) {
            sum += *weights++ * *bins++;
        }
        levels[band] = level(sum, f);
    }
}

#endif
