/* The inner loops, in plain C and with the DSP instructions of a Cortex-M4, M7 or M33; the results are the same.
   Define L3CLF_PORTABLE to use plain C everywhere. */
#ifndef L3CLF_DSP_H
#define L3CLF_DSP_H

#include <limits.h>

#include "l3clf_kernels.h"

#if (-1 >> 1) != -1
#error "l3clf needs a compiler that shifts negative numbers to the right with their sign"
#endif

#if INT_MAX < 2147483647
#error "l3clf needs an int of 32 bits"
#endif

/* GCC has had the intrinsics since version 10. */
#if defined(__ARM_FEATURE_SIMD32) && !defined(L3CLF_PORTABLE) && !defined(__ARM_BIG_ENDIAN) && \
    (defined(__clang__) || !defined(__GNUC__) || __GNUC__ >= 10)
#include <arm_acle.h>
#define L3CLF_DSP 1
#else
#define L3CLF_DSP 0
#endif

/* sum * multiplier * 2^-(31 + right) for right > 0, rounded twice as TensorFlow Lite Micro does. */
static inline int32_t l3clf_scale_down(int32_t sum, int32_t multiplier, int32_t right)
{
#if L3CLF_DSP
    /* Compiles to one instruction, SMMULR; 2 * sum does not overflow because sums are below 2^30. */
    const int32_t high = (int32_t)(((int64_t)(2 * sum) * multiplier + 0x80000000LL) >> 32);
#else
    const int32_t high = (int32_t)(((int64_t)sum * multiplier + (1 << 30)) >> 31);
#endif
    return (high + (1 << (right - 1)) + (high >> 31)) >> right; /* high >> 31 is -1 if it is negative */
}

static inline int32_t l3clf_scale(int32_t sum, int32_t multiplier, int32_t right)
{
    if (right > 0) {
        return l3clf_scale_down(sum, multiplier, right);
    }
    return (int32_t)(((int64_t)(sum * (1 << -right)) * multiplier + (1 << 30)) >> 31);
}

/* Scales four sums by one factor. */
static inline void l3clf_scale4(int32_t sums[4], int32_t multiplier, int32_t right)
{
    if (right > 0) { /* tested once instead of four times */
        for (int32_t i = 0; i < 4; i++) {
            sums[i] = l3clf_scale_down(sums[i], multiplier, right);
        }
    } else {
        for (int32_t i = 0; i < 4; i++) {
            sums[i] = l3clf_scale(sums[i], multiplier, right);
        }
    }
}

/* Compiles to one instruction, SSAT. */
static inline int8_t l3clf_narrow(int32_t value)
{
    return (int8_t)(value < INT8_MIN ? INT8_MIN : value > INT8_MAX ? INT8_MAX : value);
}

#if L3CLF_DSP

typedef uint32_t l3clf_wide;

static inline uint32_t l3clf_load4(const int8_t *from)
{
    uint32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    return word;
}

/* Bytes 0 and 2 of a word as two int16; l3clf_odd takes bytes 1 and 3. */
static inline int16x2_t l3clf_even(uint32_t word)
{
    return __sxtb16((int8x4_t)word);
}

static inline int16x2_t l3clf_odd(uint32_t word)
{
    return __sxtb16((int8x4_t)((word >> 8) | (word << 24))); /* the rotation is part of the instruction */
}

/* Widens four columns to int16. For every four values: the even and the odd ones of each column, column by column. */
static inline void l3clf_widen(const int8_t *const columns[4], int32_t depth, l3clf_wide *wide)
{
    for (int32_t k = 0; k < depth; k += 4) {
        for (int32_t i = 0; i < 4; i++) {
            const uint32_t word = l3clf_load4(columns[i] + k);
            *wide++ = (uint32_t)l3clf_even(word);
            *wide++ = (uint32_t)l3clf_odd(word);
        }
    }
}

static inline void l3clf_dot4(const int8_t *weights, const l3clf_wide *wide, int32_t depth, int32_t sums[4])
{
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    for (const int8_t *end = weights + depth; weights != end; weights += 4, wide += 8) {
        const uint32_t word = l3clf_load4(weights);
        const int16x2_t even = l3clf_even(word), odd = l3clf_odd(word);
        a = __smlad((int16x2_t)wide[0], even, a);
        a = __smlad((int16x2_t)wide[1], odd, a);
        b = __smlad((int16x2_t)wide[2], even, b);
        b = __smlad((int16x2_t)wide[3], odd, b);
        c = __smlad((int16x2_t)wide[4], even, c);
        c = __smlad((int16x2_t)wide[5], odd, c);
        d = __smlad((int16x2_t)wide[6], even, d);
        d = __smlad((int16x2_t)wide[7], odd, d);
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

/* Adds the products of four channels over all taps, two taps at a time. */
static inline void l3clf_taps4(const int8_t *weights, const int8_t *const *taps, int32_t channel, int32_t n_taps,
                               int32_t sums[4])
{
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    for (const int8_t *const *end = taps + n_taps; taps != end; taps += 2, weights += 8) {
        const uint32_t one = l3clf_load4(taps[0] + channel), two = l3clf_load4(taps[1] + channel);
        const uint32_t low = (one & 0xFFFFU) | (two << 16), high = (one >> 16) | (two & 0xFFFF0000U);
        const uint32_t first = l3clf_load4(weights), second = l3clf_load4(weights + 4);
        a = __smlad(l3clf_even(low), l3clf_even(first), a);
        b = __smlad(l3clf_odd(low), l3clf_odd(first), b);
        c = __smlad(l3clf_even(high), l3clf_even(second), c);
        d = __smlad(l3clf_odd(high), l3clf_odd(second), d);
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

#else

typedef int16_t l3clf_wide;

static inline void l3clf_widen(const int8_t *const columns[4], int32_t depth, l3clf_wide *wide)
{
    for (int32_t i = 0; i < 4; i++) {
        for (int32_t k = 0; k < depth; k++) {
            *wide++ = columns[i][k];
        }
    }
}

static inline void l3clf_dot4(const int8_t *weights, const l3clf_wide *wide, int32_t depth, int32_t sums[4])
{
    for (int32_t i = 0; i < 4; i++, wide += depth) {
        int32_t sum = sums[i];
        for (int32_t k = 0; k < depth; k++) {
            sum += wide[k] * weights[k];
        }
        sums[i] = sum;
    }
}

static inline void l3clf_taps4(const int8_t *weights, const int8_t *const *taps, int32_t channel, int32_t n_taps,
                               int32_t sums[4])
{
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    for (int32_t tap = 0; tap < n_taps; tap += 2, weights += 8) {
        const int8_t *one = taps[tap] + channel, *two = taps[tap + 1] + channel;
        a += one[0] * weights[0] + two[0] * weights[2];
        b += one[1] * weights[1] + two[1] * weights[3];
        c += one[2] * weights[4] + two[2] * weights[6];
        d += one[3] * weights[5] + two[3] * weights[7];
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

#endif
#endif
