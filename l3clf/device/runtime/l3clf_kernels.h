/* Integer layers of a network, bit-exact with TensorFlow Lite Micro.

   Maps are int8, rows by columns by channels, one window at a time. Every layer takes its constants from a
   structure that can lie in flash, and what it works with from `scratch`, whose size the exporter knows. */
#ifndef L3CLF_KERNELS_H
#define L3CLF_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How 32-bit sums become int8: high = (sum * multiplier + 2^30) >> 31, then high / 2^right, halves away from zero,
   plus the zero point, clamped. A negative `right` shifts the sum to the left beforehand.
   The exporter sees to it that no sum reaches 2^30. */
typedef struct {
    int32_t bias; /* the input's zero point is already worked in */
    int32_t multiplier;
} l3clf_factor;

typedef struct {
    const l3clf_factor *factors; /* one for each channel */
    const int8_t *right;         /* likewise */
    int32_t zero_point, low, high;
} l3clf_output;

typedef struct {
    int32_t rows, columns, channels;
} l3clf_shape;

typedef struct {
    int32_t rows, columns, row_stride, column_stride, row_dilation, column_dilation;
    int32_t above, left; /* padding */
} l3clf_window;

/* Convolution; a pointwise one has a window of 1 x 1, a dense layer a map of 1 x 1. */
typedef struct {
    l3clf_shape in, out;
    l3clf_window window;
    int32_t depth;         /* weights of an output channel: all taps and channels, and zeros up to a multiple of 4 */
    const int8_t *weights; /* out.channels x depth */
    int32_t zero_point;    /* of the input: what lies outside of the map */
    l3clf_output output;
} l3clf_conv_layer;

/* Depthwise convolution. Weights lie in groups of 4 channels c0..c3 and, inside, in pairs of taps t0, t1:
   c0t0 c1t0 c0t1 c1t1 c2t0 c3t0 c2t1 c3t1; zeros where there is no such channel or tap. */
typedef struct {
    l3clf_shape in, out;
    l3clf_window window;
    const int8_t *weights;
    int32_t zero_point;
    l3clf_output output;
} l3clf_depthwise_layer;

typedef struct {
    l3clf_shape in, out;
    l3clf_window window;
    int32_t low, high;
} l3clf_pool_layer;
typedef l3clf_pool_layer l3clf_max_pool_layer, l3clf_average_pool_layer;

/* Mean over `count` values that lie `inner` apart, `outer` times; one factor for all. */
typedef struct {
    int32_t outer, count, inner;
    l3clf_output output;
} l3clf_mean_layer;

/* Each input, less its zero point, is shifted left by 20 bits and brought to the common scale. */
typedef struct {
    int32_t size;
    int32_t zero_point[2], multiplier[2], right[2];
    l3clf_output output;
} l3clf_add_layer;

typedef struct {
    int32_t size;
    l3clf_output output;
} l3clf_rectify_layer;

typedef struct {
    l3clf_shape in, out;
    int32_t above, left, value;
} l3clf_pad_layer;

/* Scratch, 4-byte aligned: 12 * depth bytes. A pointwise layer with as many channels out as in may have out == in. */
void l3clf_conv(const l3clf_conv_layer *layer, const int8_t *in, int8_t *out, void *scratch);
/* Scratch, pointer-aligned: a pointer for each tap and one more, then channels + 3 bytes. Reads up to 3 bytes
   behind `in` where the channels are no multiple of 4. */
void l3clf_depthwise(const l3clf_depthwise_layer *layer, const int8_t *in, int8_t *out, void *scratch);
void l3clf_max_pool(const l3clf_pool_layer *layer, const int8_t *in, int8_t *out);
void l3clf_average_pool(const l3clf_pool_layer *layer, const int8_t *in, int8_t *out);
void l3clf_mean(const l3clf_mean_layer *layer, const int8_t *in, int8_t *out);
/* Scratch, 4-byte aligned: 2048 bytes. `out` may be `one` or `two`. */
void l3clf_add(const l3clf_add_layer *layer, const int8_t *one, const int8_t *two, int8_t *out, void *scratch);
/* `out` may be `in`. */
void l3clf_rectify(const l3clf_rectify_layer *layer, const int8_t *in, int8_t *out);
void l3clf_pad(const l3clf_pad_layer *layer, const int8_t *in, int8_t *out);

#ifdef __cplusplus
}
#endif
#endif
