/* The inner loops, in plain C and with the DSP instructions of a Cortex-M4, M7 or M33; the results are the same.
   Define L3CLF_PORTABLE to use plain C everywhere. */
#ifndef L3CLF_DSP_H
#define L3CLF_DSP_H

#include <limits.h>

#include "l3clf_kernels.h"
#include "l3clf_sections.h"

#if (-1 >> 1) != -1
#error "l3clf needs a compiler that shifts negative numbers to the right with their sign"
#endif

#if INT_MAX < 2147483647
#error "l3clf needs an int of 32 bits"
#endif

/* GCC has had the intrinsics since version 10; without optimisation it finds no registers for the assembler. */
#if defined(__ARM_FEATURE_SIMD32) && !defined(L3CLF_PORTABLE) && !defined(__ARM_BIG_ENDIAN) && \
    (defined(__clang__) || (defined(__OPTIMIZE__) && defined(__GNUC__) && __GNUC__ >= 10))
#include <arm_acle.h>
#define L3CLF_DSP 1
#else
#define L3CLF_DSP 0
#endif

/* A Cortex-M0 multiplies 32 bits by 32 to 32 only; a product of 64 bits is a call of a library there. */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#define L3CLF_SHORT_PRODUCTS 1
#elif !defined(L3CLF_SHORT_PRODUCTS)
#define L3CLF_SHORT_PRODUCTS 0
#endif

/* Into the loop, also where a compiler would rather call. */
#ifdef __GNUC__
#define L3CLF_INLINE static inline __attribute__((always_inline))
#define L3CLF_APART __attribute__((noinline))
#else
#define L3CLF_INLINE static inline
#define L3CLF_APART
#endif

/* For what takes little time: clang unrolls its loops otherwise, and copies it into its callers. */
#ifdef __clang__
#define L3CLF_SMALL __attribute__((noinline, minsize))
#define L3CLF_UNROLL2 _Pragma("clang loop unroll_count(2)")
#else
#define L3CLF_SMALL
#define L3CLF_UNROLL2
#endif

/* --- from sums to int8 ----------------------------------------------------------------------------- */

/* (value * multiplier + 2^30) >> 31 */
L3CLF_INLINE int32_t l3clf_high(int32_t value, int32_t multiplier)
{
#if L3CLF_SHORT_PRODUCTS
    /* Of the four products of halves, the highest counts twice; the others, with 2^30 so that they are not negative,
       fit 32 bits without a sign because |value| < 2^30. */
    const int32_t upper = value >> 16, factor = multiplier >> 16;
    const uint32_t lower = value & 0xFFFF, fraction = multiplier & 0xFFFF;
    const uint32_t rest = (uint32_t)upper * fraction + lower * (uint32_t)factor + (lower * fraction >> 16);
    return 2 * upper * factor + (int32_t)((rest + (1U << 30) + (1U << 14)) >> 15) - (1 << 15);
#else
    return (int32_t)(((int64_t)value * multiplier + (1 << 30)) >> 31);
#endif
}

/* Compilers find the best instructions of each core for these types. */
#if L3CLF_SHORT_PRODUCTS
L3CLF_INLINE int32_t l3clf_square(int32_t value)
{
    return value * value;
}
#else
L3CLF_INLINE int64_t l3clf_square(int16_t value)
{
    return (int64_t)value * value;
}
#endif

/* The requantisation of a channel. `fast` if l3clf_finish can be used, which has the zero point in `offset`. */
typedef struct {
    int32_t bias, multiplier, right, zero_point, offset;
    int fast;
} l3clf_scaling;

L3CLF_INLINE l3clf_scaling l3clf_scaling_of(const l3clf_output *to, int32_t channel)
{
    const l3clf_factor factor = to->factors[channel];
    const int32_t right = to->right[channel];
    const int fast = right > 0 && right < 23; /* with more, the zero point would leave 32 bits */
    const int32_t offset = (int32_t)((uint32_t)(2 * to->zero_point + 1) << ((right - 1) & 31));
    const l3clf_scaling s = {factor.bias, factor.multiplier, right, to->zero_point, offset, fast};
    return s;
}

L3CLF_INLINE int8_t l3clf_narrow(int32_t value)
{
#if L3CLF_DSP
    int32_t narrow; /* GCC would branch */
    __asm__("ssat %0, #8, %1" : "=r"(narrow) : "r"(value));
    return (int8_t)narrow;
#else
    return (int8_t)(value < INT8_MIN ? INT8_MIN : value > INT8_MAX ? INT8_MAX : value);
#endif
}

/* sum * multiplier * 2^-(31 + right) for right > 0, rounded twice as TensorFlow Lite Micro does, when `offset` is
   2^(right - 1). Halves are rounded away from zero: -1 is added to a negative product, for which the sign of the sum
   stands (where they differ the product is 0, and the result is too). */
L3CLF_INLINE int32_t l3clf_scale_down(int32_t sum, int32_t multiplier, int32_t right, int32_t offset)
{
#if L3CLF_DSP
    int32_t high; /* offset + (sum >> 31) + (2 * sum * multiplier + 2^31 >> 32); sums are below 2^30 */
    __asm__("smmlar %0, %1, %2, %3" : "=r"(high) : "r"(sum * 2), "r"(multiplier), "r"(offset + (sum >> 31)));
    return high >> right;
#else
    return (l3clf_high(sum, multiplier) + offset + (sum >> 31)) >> right;
#endif
}

L3CLF_INLINE int32_t l3clf_scale(int32_t sum, int32_t multiplier, int32_t right)
{
    if (right > 0) {
        return l3clf_scale_down(sum, multiplier, right, 1 << (right - 1));
    }
    return l3clf_high(sum * (1 << -right), multiplier);
}

L3CLF_INLINE int8_t l3clf_finish(int32_t sum, const l3clf_scaling *s)
{
    return l3clf_narrow(l3clf_scale_down(sum, s->multiplier, s->right, s->offset));
}

L3CLF_INLINE int8_t l3clf_finish_any(int32_t sum, const l3clf_scaling *s)
{
    return l3clf_narrow(l3clf_scale(sum, s->multiplier, s->right) + s->zero_point);
}

/* Steps of a depthwise convolution through a plane, a channel's values with `width` columns: to the next window and to
   the next row of windows, of which there are `columns`, and from one output to the next. */
typedef struct {
    int32_t width, stride, row, columns, step;
} l3clf_grid;

/* --- products -------------------------------------------------------------------------------------- */

#if L3CLF_DSP

typedef uint32_t l3clf_wide; /* two int16 */

L3CLF_INLINE uint32_t l3clf_load4(const void *from)
{
    uint32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    return word;
}

L3CLF_INLINE void l3clf_copy(int8_t *restrict to, const int8_t *restrict from, int32_t n)
{
    for (; n >= 4; n -= 4, to += 4, from += 4) {
        const uint32_t word = l3clf_load4(from);
        __builtin_memcpy(to, &word, sizeof word);
    }
    if (n & 2) {
        to[0] = from[0];
        to[1] = from[1];
    }
    if (n & 1) {
        to[n - 1] = from[n - 1];
    }
}

/* Bytes 0 and 2 of a word as two int16; l3clf_odd takes bytes 1 and 3. */
L3CLF_INLINE uint32_t l3clf_even(uint32_t word)
{
    return (uint32_t)__sxtb16((int8x4_t)word);
}

L3CLF_INLINE uint32_t l3clf_odd(uint32_t word)
{
    uint32_t odd; /* GCC rotates in an instruction of its own */
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(word));
    return odd;
}

/* The first halves, and the second halves, of two pairs. */
L3CLF_INLINE uint32_t l3clf_firsts(uint32_t one, uint32_t two)
{
    return (one & 0xFFFFU) | (two << 16);
}

L3CLF_INLINE uint32_t l3clf_seconds(uint32_t one, uint32_t two)
{
    return (one >> 16) | (two & 0xFFFF0000U);
}

L3CLF_INLINE int32_t l3clf_mac2(uint32_t one, uint32_t two, int32_t sum)
{
    return __smlad((int16x2_t)one, (int16x2_t)two, sum);
}

/* Widens three columns to int16, two values of each in turn. */
L3CLF_INLINE void l3clf_widen3(const int8_t *const columns[3], int32_t depth, l3clf_wide *wide)
{
    for (int32_t k = 0; k < depth; k += 4, wide += 6) {
        for (int32_t i = 0; i < 3; i++) {
            const uint32_t word = l3clf_load4(columns[i] + k), even = l3clf_even(word), odd = l3clf_odd(word);
            wide[i] = l3clf_firsts(even, odd);
            wide[3 + i] = l3clf_seconds(even, odd);
        }
    }
}

/* Adds the products of three columns and the weights of channels a and b. In assembler, because compilers keep too much
   in registers or on the stack: 21 instructions for 24 products, against 26 (clang) and 29 (GCC) from C. */
L3CLF_INLINE void l3clf_dot3x2(const int8_t *weights, const l3clf_wide *wide, int32_t depth, int32_t sums[6])
{
    int32_t a0 = sums[0], a1 = sums[1], a2 = sums[2], b0 = sums[3], b1 = sums[4], b2 = sums[5];
    for (const int8_t *end = weights + 2 * depth; weights != end;) {
        uint32_t a, b, x, y;
        __asm__("ldr %[a], [%[weights]], #4\n\t" /* a0 b0 a1 b1 */
                "ldrd %[x], %[y], [%[wide]], #8\n\t"
                "sxtb16 %[b], %[a], ror #8\n\t"
                "sxtb16 %[a], %[a]\n\t"
                "smlad %[a0], %[x], %[a], %[a0]\n\t"
                "smlad %[b0], %[x], %[b], %[b0]\n\t"
                "smlad %[a1], %[y], %[a], %[a1]\n\t"
                "smlad %[b1], %[y], %[b], %[b1]\n\t"
                "ldrd %[x], %[y], [%[wide]], #8\n\t"
                "smlad %[a2], %[x], %[a], %[a2]\n\t"
                "smlad %[b2], %[x], %[b], %[b2]\n\t"
                "ldr %[a], [%[weights]], #4\n\t" /* a2 b2 a3 b3 */
                "sxtb16 %[b], %[a], ror #8\n\t"
                "sxtb16 %[a], %[a]\n\t"
                "smlad %[a0], %[y], %[a], %[a0]\n\t"
                "smlad %[b0], %[y], %[b], %[b0]\n\t"
                "ldrd %[x], %[y], [%[wide]], #8\n\t"
                "smlad %[a1], %[x], %[a], %[a1]\n\t"
                "smlad %[b1], %[x], %[b], %[b1]\n\t"
                "smlad %[a2], %[y], %[a], %[a2]\n\t"
                "smlad %[b2], %[y], %[b], %[b2]"
                : [weights] "+r"(weights), [wide] "+r"(wide), [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2),
                  [b0] "+r"(b0), [b1] "+r"(b1), [b2] "+r"(b2), [a] "=&r"(a), [b] "=&r"(b), [x] "=&r"(x),
                  [y] "=&r"(y)
                :
                : "memory");
    }
    sums[0] = a0;
    sums[1] = a1;
    sums[2] = a2;
    sums[3] = b0;
    sums[4] = b1;
    sums[5] = b2;
}

/* Adds the products of one column, which need not be widened, and the weights of two channels. */
L3CLF_INLINE void l3clf_dot1x2(const int8_t *weights, const int8_t *column, int32_t depth, int32_t sums[2])
{
    int32_t a = sums[0], b = sums[1];
    for (const int8_t *end = column + depth; column != end; column += 4, weights += 8) {
        const uint32_t word = l3clf_load4(column), one = l3clf_load4(weights), two = l3clf_load4(weights + 4);
        const uint32_t even = l3clf_even(word), odd = l3clf_odd(word);
        const uint32_t firsts = l3clf_firsts(even, odd), seconds = l3clf_seconds(even, odd);
        a = l3clf_mac2(firsts, l3clf_even(one), a);
        b = l3clf_mac2(firsts, l3clf_odd(one), b);
        a = l3clf_mac2(seconds, l3clf_even(two), a);
        b = l3clf_mac2(seconds, l3clf_odd(two), b);
    }
    sums[0] = a;
    sums[1] = b;
}

/* Splits `n` pixels of a map into four planes, `size` apart. Two pixels at a time, with words stored, is no faster: GCC
   runs out of registers. */
L3CLF_INLINE void l3clf_split4(const int8_t *in, int32_t channels, int32_t n, int16_t *plane, int32_t size)
{
    int16_t *one = plane + size, *two = one + size, *three = two + size;
    for (; n > 0; n--, in += channels) {
        const uint32_t word = l3clf_load4(in), even = l3clf_even(word), odd = l3clf_odd(word);
        *plane++ = (int16_t)even;
        *one++ = (int16_t)odd;
        *two++ = (int16_t)(even >> 16);
        *three++ = (int16_t)(odd >> 16);
    }
}

L3CLF_INLINE uint32_t l3clf_pair(int32_t one, int32_t two)
{
    return l3clf_firsts((uint32_t)one, (uint32_t)two);
}

/* Where the rows of a window of 3 x 3 are in a plane. */
typedef struct {
    const int16_t *a, *b, *c;
} l3clf_rows;

/* Adds the products of a window of 3 x 3 to sums[0], those of the window to its right to sums[1], and goes on by two
   columns. The weights of each row are the pairs (0, 1) and (1, 2). */
#define L3CLF_ROW(row, offset)                      \
    "ldrd %[x], %[y], [%[" row "]], #4\n\t"         \
    "ldrd %[u], %[v], [%[weights], #" offset "]\n\t" \
    "smlad %[one], %[x], %[u], %[one]\n\t"          \
    "smlatb %[two], %[x], %[u], %[two]\n\t"         \
    "smlabt %[one], %[y], %[v], %[one]\n\t"         \
    "smlad %[two], %[y], %[v], %[two]\n\t"
L3CLF_INLINE void l3clf_windows2(const uint32_t weights[6], l3clf_rows *rows, int32_t *one, int32_t *two)
{
    uint32_t x, y, u, v;
    __asm__(L3CLF_ROW("a", "0") L3CLF_ROW("b", "8") L3CLF_ROW("c", "16")
            : [a] "+r"(rows->a), [b] "+r"(rows->b), [c] "+r"(rows->c), [one] "+r"(*one), [two] "+r"(*two),
              [x] "=&r"(x), [y] "=&r"(y), [u] "=&r"(u), [v] "=&r"(v)
            : [weights] "r"(weights)
            : "memory");
}

/* The same for one window. */
#define L3CLF_ROW1(row, offset)                      \
    "ldrd %[x], %[y], [%[" row "]], #4\n\t"          \
    "ldrd %[u], %[v], [%[weights], #" offset "]\n\t" \
    "smlad %[one], %[x], %[u], %[one]\n\t"           \
    "smlabt %[one], %[y], %[v], %[one]\n\t"
L3CLF_INLINE void l3clf_window1(const uint32_t weights[6], l3clf_rows *rows, int32_t *one)
{
    uint32_t x, y, u, v;
    __asm__(L3CLF_ROW1("a", "0") L3CLF_ROW1("b", "8") L3CLF_ROW1("c", "16")
            : [a] "+r"(rows->a), [b] "+r"(rows->b), [c] "+r"(rows->c), [one] "+r"(*one), [x] "=&r"(x),
              [y] "=&r"(y), [u] "=&r"(u), [v] "=&r"(v)
            : [weights] "r"(weights)
            : "memory");
}

/* Computes `n` rows of a depthwise convolution of 3 x 3. The columns' stride is 1 or 2. */
L3CLF_INLINE void l3clf_filter3x3(const l3clf_grid *grid, const int8_t *weights, const int16_t *plane, int32_t n,
                                   l3clf_scaling s, int8_t *out)
{
    uint32_t w[6];
    for (int32_t i = 0; i < 3; i++, weights += 3) {
        w[2 * i] = l3clf_pair(weights[0], weights[1]);
        w[2 * i + 1] = l3clf_pair(weights[1], weights[2]);
    }
    const int32_t step = grid->step, pairs = grid->stride == 1 ? grid->columns / 2 : 0, width = grid->width;
    for (; n > 0; n--, plane += grid->row) {
        l3clf_rows rows = {plane, plane + width, plane + 2 * width};
        for (int32_t i = pairs; i > 0; i--) {
            int32_t one = s.bias, two = s.bias;
            l3clf_windows2(w, &rows, &one, &two);
            out[0] = l3clf_finish(one, &s);
            out[step] = l3clf_finish(two, &s);
            out += 2 * step;
        }
        for (int32_t i = grid->columns - 2 * pairs; i > 0; i--) {
            int32_t one = s.bias;
            l3clf_window1(w, &rows, &one);
            *out = l3clf_finish(one, &s);
            out += step;
        }
    }
}

#else

typedef int16_t l3clf_wide;

L3CLF_INLINE void l3clf_copy(int8_t *restrict to, const int8_t *restrict from, int32_t n)
{
    while (n-- > 0) {
        *to++ = *from++;
    }
}

L3CLF_INLINE void l3clf_widen3(const int8_t *const columns[3], int32_t depth, l3clf_wide *wide)
{
    for (int32_t i = 0; i < 3; i++) {
        for (int32_t k = 0; k < depth; k++) {
            *wide++ = columns[i][k];
        }
    }
}

#if L3CLF_SHORT_PRODUCTS && defined(__GNUC__)

/* On a Cortex-M0, which loads signed values by two registers only, one index for all and a count up to zero take 9 (clang)
   or 11 (GCC) instructions for two products instead of 13. The assembler is empty: it keeps compilers from addresses of
   their own. */
L3CLF_INLINE void l3clf_column2(const int8_t *weights, const int16_t *wide, int32_t depth, int32_t *one, int32_t *two)
{
    const int8_t *w = weights + 2 * depth, *next = w + 1, *values = (const int8_t *)(wide + depth);
    int32_t a = *one, b = *two, i = -2 * depth;
    __asm__("" : "+r"(w), "+r"(next), "+r"(values));
#ifdef __clang__
#pragma clang loop unroll(disable)
#endif
    do {
        const int32_t value = *(const int16_t *)(const void *)(values + i);
        a += value * w[i];
        b += value * next[i];
        i += 2;
    } while (i != 0);
    *one = a;
    *two = b;
}

#else

L3CLF_INLINE void l3clf_column2(const int8_t *weights, const int16_t *wide, int32_t depth, int32_t *one, int32_t *two)
{
    int32_t a = *one, b = *two;
    for (int32_t k = 0; k < depth; k++) {
        a += wide[k] * weights[2 * k];
        b += wide[k] * weights[2 * k + 1];
    }
    *one = a;
    *two = b;
}

#endif

L3CLF_INLINE void l3clf_dot3x2(const int8_t *weights, const l3clf_wide *wide, int32_t depth, int32_t sums[6])
{
    for (int32_t i = 0; i < 3; i++) {
        l3clf_column2(weights, wide + i * depth, depth, &sums[i], &sums[3 + i]);
    }
}

L3CLF_INLINE void l3clf_dot1x2(const int8_t *weights, const int8_t *column, int32_t depth, int32_t sums[2])
{
    int32_t a = sums[0], b = sums[1];
    for (int32_t k = 0; k < depth; k++) {
        a += column[k] * weights[2 * k];
        b += column[k] * weights[2 * k + 1];
    }
    sums[0] = a;
    sums[1] = b;
}

L3CLF_INLINE void l3clf_split4(const int8_t *in, int32_t channels, int32_t n, int16_t *plane, int32_t size)
{
    for (; n > 0; n--, in += channels, plane++) {
        plane[0] = in[0];
        plane[size] = in[1];
        plane[2 * size] = in[2];
        plane[3 * size] = in[3];
    }
}

L3CLF_INLINE void l3clf_filter3x3(const l3clf_grid *grid, const int8_t *w, const int16_t *plane, int32_t n,
                                   l3clf_scaling s, int8_t *out)
{
    const l3clf_grid g = *grid;
    for (; n > 0; n--, plane += g.row) {
        const int16_t *a = plane, *b = a + g.width, *c = b + g.width;
        for (int32_t x = 0; x < g.columns; x++, a += g.stride, b += g.stride, c += g.stride, out += g.step) {
            int32_t sum = s.bias + a[0] * w[0] + a[1] * w[1] + a[2] * w[2];
            sum += b[0] * w[3] + b[1] * w[4] + b[2] * w[5];
            sum += c[0] * w[6] + c[1] * w[7] + c[2] * w[8];
            *out = l3clf_finish(sum, &s);
        }
    }
}

#endif
#endif
