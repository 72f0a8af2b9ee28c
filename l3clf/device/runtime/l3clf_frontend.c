#include "l3clf_frontend.h"

#ifndef L3CLF_FLOAT_FRONTEND

#include "l3clf_dsp.h"

#define N (L3CLF_FRAME / 2) /* length of the complex transform */
#define ONE_BITS 14         /* of 1 in the twiddles */
#define SAMPLE_BITS 15      /* to which the samples of a frame are scaled up */
#define WEIGHT_BITS 11      /* of 1 in the weights */
#define TABLE_BITS 5 /* of a mantissa, that choose a row of the logarithms */
#define REST_BITS 10 /* of a mantissa, between two rows */

/* Integers that never overflow: the samples of a frame are scaled up to 15 bits; the window's sums let a stage double
   them once, and each further stage scales down by a quarter what it may grow by. So the values of the transform stay
   below 2^17, and their products with twiddles below 2^31.
   l3clf/embedders/fixed_frontend.py does the same, value for value. */

/* What helps compilers to use the registers well, and changes no result. */
#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))
#define KEEP(value) __asm__("" : "+r"(value)) /* it is in a register now, and nothing else takes its place */
#define STORED() __asm__ volatile("" ::: "memory") /* what was written needs no register any more */
#else
#define INLINE static inline
#define APART static
#define KEEP(value) (void)0
#define STORED() (void)0
#endif
#ifdef __clang__
#define NOT_UNROLLED _Pragma("clang loop unroll(disable)")
#define KEEP_IN_CLANG(value) KEEP(value)
#define UNROLLED_TWICE _Pragma("clang loop unroll_count(2)")
#else
#define NOT_UNROLLED
#define KEEP_IN_CLANG(value) (void)0
#define UNROLLED_TWICE
#endif

typedef struct {
    int32_t re, im;
} complex_t;

/* How many bits a number has; 0 for 0. */
INLINE int32_t bits_of(uint32_t value)
{
#ifdef __ARM_FEATURE_CLZ
    return value ? 32 - __builtin_clz(value) : 0;
#else
    int32_t bits = 0;
    for (int32_t half = 16; half > 0; half /= 2) {
        if (value >> half) {
            value >>= half;
            bits += half;
        }
    }
    return bits + (int32_t)value;
#endif
}

/* --- transform ------------------------------------------------------------------------------------ */

#if L3CLF_DSP
/* Two int16 as one word. */
INLINE int32_t load2(const int16_t *from)
{
    int32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    return word;
}

/* (a * b) >> 16, with b in the lower or the upper half of a word. */
#if defined(__GNUC__) && !defined(__clang__) /* GCC lacks these two intrinsics */
INLINE int32_t times_low(int32_t a, int32_t b)
{
    int32_t product;
    __asm__("smulwb %0, %1, %2" : "=r"(product) : "r"(a), "r"(b));
    return product;
}

INLINE int32_t times_high(int32_t a, int32_t b)
{
    int32_t product;
    __asm__("smulwt %0, %1, %2" : "=r"(product) : "r"(a), "r"(b));
    return product;
}
#else
#define times_low __smulwb
#define times_high __smulwt
#endif
#endif

/* A quarter of a product with a twiddle. Each of the four products is rounded down by itself, as the instruction SMULW
   does; the 1 makes up for that in a sum of two. */
INLINE complex_t turned(complex_t a, const int16_t *twiddle)
{
#if L3CLF_DSP
    const int32_t w = load2(twiddle);
    const complex_t product = {times_low(a.re, w) - times_high(a.im, w), __smlawt(a.re, w, __smlawb(a.im, w, 1))};
#else
    const int32_t re = twiddle[0], im = twiddle[1];
    const complex_t product = {(a.re * re >> 16) - (a.im * im >> 16), (a.re * im >> 16) + (a.im * re >> 16) + 1};
#endif
    return product;
}

/* Radix-4 butterfly of four values, decimation in frequency. */
typedef struct {
    complex_t p, q, r, s;
} four_t;

INLINE four_t butterfly(four_t x)
{
    const complex_t a = {x.p.re + x.r.re, x.p.im + x.r.im}, b = {x.p.re - x.r.re, x.p.im - x.r.im};
    const complex_t c = {x.q.re + x.s.re, x.q.im + x.s.im}, d = {x.q.im - x.s.im, x.s.re - x.q.re}; /* times -i */
    const four_t y = {{a.re + c.re, a.im + c.im}, {b.re + d.re, b.im + d.im}, {a.re - c.re, a.im - c.im},
                      {b.re - d.re, b.im - d.im}};
    return y;
}

INLINE complex_t shifted(complex_t a, int32_t shift)
{
    const complex_t value = {a.re >> shift, a.im >> shift};
    return value;
}

/* Writes the values of a butterfly `quarter` apart, turned, but for the first. */
INLINE void put(complex_t *at, int32_t quarter, four_t y, const int16_t *twiddles)
{
    at[quarter] = turned(y.q, twiddles);
    at[2 * quarter] = turned(y.r, twiddles + 2);
    at[3 * quarter] = turned(y.s, twiddles + 4);
}

/* A sample and the next one times the window. */
INLINE complex_t windowed(const int16_t *samples, const int16_t *window)
{
#if L3CLF_DSP
    const int32_t two = load2(samples), factors = load2(window);
    complex_t value = {(int16_t)two * (int16_t)factors, (two >> 16) * (factors >> 16)};
    KEEP(value.re); /* or it would be part of a sum that takes longer */
    KEEP(value.im);
#else
    const complex_t value = {samples[0] * window[0], samples[1] * window[1]};
#endif
    return value;
}

/* The first stage; even samples are real parts, odd ones imaginary parts. Returns the twiddles of the next stage. */
APART const int16_t *first_stage(const int16_t *samples, complex_t *x, int32_t shift, const l3clf_frontend *f)
{
    const int16_t *twiddles = f->twiddles, *window = f->window;
    NOT_UNROLLED
    for (complex_t *end = x + N / 4; x != end; x++, samples += 2, window += 2, twiddles += 6) {
        KEEP(x);
        KEEP(samples);
        KEEP(window);
        const four_t z = {windowed(samples, window), windowed(samples + N / 2, window + N / 2),
                          windowed(samples + N, window + N), windowed(samples + 3 * N / 2, window + 3 * N / 2)};
        four_t y = butterfly(z);
        x[0] = shifted(y.p, shift + 2);
        STORED();
        y.q = shifted(y.q, shift), y.r = shifted(y.r, shift), y.s = shifted(y.s, shift);
        put(x, N / 4, y, twiddles);
    }
    return twiddles;
}

/* A stage of blocks of four times `quarter` values, in place. */
INLINE const int16_t *stage(complex_t *x, int32_t quarter, const int16_t *twiddles)
{
    for (int32_t j = 0; j < quarter; j++, twiddles += 6) {
        NOT_UNROLLED
        for (complex_t *at = x + j, *end = at + N; at != end; at += 4 * quarter) {
            KEEP(at);
            const four_t z = {at[0], at[quarter], at[2 * quarter], at[3 * quarter]};
            four_t y = butterfly(z);
            at[0] = shifted(y.p, 2);
            STORED();
            KEEP(y.q.re);
            KEEP(y.q.im);
            KEEP(y.r.re);
            KEEP(y.r.im);
            KEEP(y.s.re);
            KEEP(y.s.im);
            put(at, quarter, y, twiddles);
        }
    }
    return twiddles;
}

/* The other stages; bin k ends at x[order[k]]. */
APART void other_stages(complex_t *x, const int16_t *twiddles)
{
    stage(x, 4, stage(x, 16, twiddles));
    NOT_UNROLLED
    for (complex_t *end = x + N; x != end; x += 4) {
        KEEP(x);
        const four_t z = {x[0], x[1], x[2], x[3]}, y = butterfly(z);
        x[0] = y.p, x[1] = y.q, x[2] = y.r, x[3] = y.s;
    }
}

/* Turns bins k and N - k of the complex signal into those of the real one, twice as large; they are below 2^18. */
APART void real_bins(complex_t *x, const l3clf_frontend *f)
{
    const int16_t *w = f->bin_twiddles;
    const uint8_t *up = f->order + 1, *down = f->order + N - 1;
    NOT_UNROLLED
    for (; up != down; w += 2) {
        complex_t *low = x + *up++, *high = x + *down--;
        KEEP_IN_CLANG(up);
        KEEP_IN_CLANG(down);
        KEEP(low);
        KEEP(high);
        const complex_t a = *low, b = *high;
        const complex_t even = {a.re + b.re, a.im - b.im}, odd = {a.im + b.im, b.re - a.re};
        const int32_t re = w[0], im = w[1];
        const complex_t turn = {(odd.re * re - odd.im * im) >> ONE_BITS, (odd.re * im + odd.im * re) >> ONE_BITS};
        low->re = even.re + turn.re, low->im = even.im + turn.im;
        high->re = even.re - turn.re, high->im = even.im - turn.im; /* its conjugate, whose power is the same */
    }
    x[*up].re *= 2, x[*up].im *= 2;
}

/* --- levels --------------------------------------------------------------------------------------- */

/* Weighted powers of the bins between the centres of two bands, towards the upper one and towards the lower one. */
typedef struct {
    uint64_t rising, falling;
} sums_t;

#if L3CLF_SHORT_PRODUCTS
/* For cores that multiply 32 bits to 32 bits only. Powers are in two parts, of 16 bits and of those above; the sum of
   all powers of a frame, at most 2^37, times a weight fits 32 bits in its upper part. */
INLINE sums_t segment_sums(const complex_t *x, const uint8_t *order, const uint16_t *weights, int32_t n)
{
    uint32_t low = 0, high = 0, low_rising = 0, high_rising = 0;
    do {
        const complex_t *bin = x + *order++;
        KEEP(bin);
        const uint32_t weight = *weights++;
        const int32_t re = bin->re >> 9, im = bin->im >> 9, re_rest = bin->re & 511, im_rest = bin->im & 511;
        const int32_t middle = re * re_rest + im * im_rest;
        const int32_t rest = re_rest * re_rest + im_rest * im_rest + middle * 1024;
        const uint32_t upper = (uint32_t)((re * re + im * im) * 4 + (rest >> 16)), lower = (uint32_t)rest & 0xFFFFU;
        low += lower;
        high += upper;
        low_rising += lower * weight;
        high_rising += upper * weight;
    } while (--n > 0);
    const uint64_t total = ((uint64_t)high << 16) + low;
    sums_t sums;
    sums.rising = ((uint64_t)high_rising << 16) + low_rising;
    sums.falling = (total << WEIGHT_BITS) - sums.rising;
    return sums;
}
#else
INLINE sums_t segment_sums(const complex_t *x, const uint8_t *order, const uint16_t *weights, int32_t n)
{
    int64_t total = 0, rising = 0;
    NOT_UNROLLED
    for (const uint8_t *end = order + n; order != end;) {
        const complex_t *bin = x + *order++;
        KEEP(bin);
        const int32_t weight = *weights++, re = bin->re, im = bin->im;
        total += (int64_t)re * re;
        total += (int64_t)im * im;
        rising += (int64_t)(re * weight) * re; /* a weighted bin is below 2^29 */
        rising += (int64_t)(im * weight) * im;
    }
    sums_t sums;
    sums.rising = (uint64_t)rising;
    sums.falling = (uint64_t)(total << WEIGHT_BITS) - sums.rising;
    return sums;
}
#endif

/* The level of a sum of powers, from a table of the levels within an octave. */
INLINE int8_t level(uint64_t sum, int32_t offset, const l3clf_frontend *f)
{
    if (sum == 0) {
        return -128;
    }
    const uint32_t high = (uint32_t)(sum >> 32), low = (uint32_t)sum;
    int32_t bits = bits_of(high ? high : low);
    uint32_t mantissa = (high ? high : low) << (32 - bits);
    if (high) { /* below 2^20 */
        mantissa |= low >> bits;
        bits += 32;
    }
    const int32_t *row = f->logarithms + ((mantissa << 1) >> (32 - TABLE_BITS));
    const int32_t rest = (int32_t)((mantissa << (1 + TABLE_BITS)) >> (32 - REST_BITS));
    const int32_t within = row[0] + ((row[1] - row[0]) * rest >> REST_BITS);
    const int32_t found = (bits * f->octave + within + offset) >> 16;
    return (int8_t)(found < -128 ? -128 : found > 127 ? 127 : found);
}

APART void band_levels(const complex_t *x, int32_t up, const l3clf_frontend *f, int8_t *levels)
{
    const uint8_t *order = f->order + f->first_bin, *n_bins = f->n_bins;
    const uint16_t *weights = f->weights;
    const int32_t scale = (2 * up + 1) * f->octave, *offset = f->offsets;
    sums_t sums = segment_sums(x, order, weights, *n_bins);
    for (const int8_t *end = levels + L3CLF_N_MELS; levels != end; levels++) {
        const uint64_t below = sums.rising;
        order += *n_bins;
        weights += *n_bins++;
        sums = segment_sums(x, order, weights, *n_bins);
        *levels = level(below + sums.falling, *offset++ - scale, f);
    }
}

/* By how many bits the samples of a frame can be scaled up, so that the largest has SAMPLE_BITS. The highest bit that
   differs from the one below it is next to the signs. */
APART int32_t headroom(const int16_t *samples)
{
    uint32_t bits = 0;
#if L3CLF_DSP
    /* Two samples a word; the lowest bit of each does not count. */
    UNROLLED_TWICE
    for (const int16_t *end = samples + L3CLF_FRAME; samples != end; samples += 8) {
        const uint32_t a = (uint32_t)load2(samples), b = (uint32_t)load2(samples + 2);
        const uint32_t c = (uint32_t)load2(samples + 4), d = (uint32_t)load2(samples + 6);
        bits |= (a ^ (a << 1)) | (b ^ (b << 1)) | (c ^ (c << 1)) | (d ^ (d << 1));
    }
    bits = (bits | (bits >> 16)) & 0xFFFFU;
#else
    for (int32_t i = 0; i < L3CLF_FRAME; i++) {
        const uint32_t sample = (uint32_t)samples[i];
        bits |= sample ^ (sample << 1);
    }
    bits &= 0xFFFFU;
#endif
    const int32_t up = SAMPLE_BITS - bits_of(bits >> 1);
    return up < ONE_BITS ? up : ONE_BITS;
}

void l3clf_frame(const int16_t *samples, int8_t *levels, void *work)
{
    const l3clf_frontend *f = &l3clf_model_frontend;
    complex_t *x = work;
    const int32_t up = headroom(samples);
    other_stages(x, first_stage(samples, x, ONE_BITS - up, f));
    real_bins(x, f);
    band_levels(x, up, f, levels);
}

#endif
