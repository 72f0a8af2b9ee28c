/* Integer layers of a network, bit-exact with TensorFlow Lite Micro.

   Maps are int8, rows by columns by channels, one window at a time. Every layer has its constants in a structure that
   can be in flash, and its working memory in `scratch`, whose size the exporter computes. */
#ifndef L3CLF_KERNELS_H
#define L3CLF_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How far a network has been computed: {0, 0} before the first piece. */
typedef struct {
    int32_t layer, place;
} l3clf_progress;

/* A layer's places, how many of them are computed at least at a time, and what these cost in multiply-accumulates. */
typedef struct {
    int32_t places, piece, work;
} l3clf_extent;

/* How 32-bit sums become int8: high = (sum * multiplier + 2^30) >> 31, then high / 2^right, halves away from zero,
   plus the zero point, clamped. With a negative `right` the sum is shifted left first.
   The exporter guarantees that no sum reaches 2^30. */
typedef struct {
    int32_t bias; /* includes the correction for the input's zero point */
    int32_t multiplier;
} l3clf_factor;

typedef struct {
    const l3clf_factor *factors; /* one for each channel */
    const int8_t *right;         /* one for each channel */
    int32_t zero_point, low, high;
} l3clf_output;

typedef struct {
    int32_t rows, columns, channels;
} l3clf_shape;

typedef struct {
    int32_t rows, columns, row_stride, column_stride, row_dilation, column_dilation;
    int32_t above, left; /* padding */
} l3clf_window;

/* Convolution. A pointwise one has a window of 1 x 1. The weights are in pairs of channels a, b: a0 b0 a1 b1 and so on,
   with zeros for a missing channel. */
typedef struct {
    l3clf_shape in, out;
    l3clf_window window;
    int32_t depth;         /* weights per output channel: all taps and channels, padded with zeros to a multiple of 4 */
    const int8_t *weights; /* out.channels, rounded up to an even number, x depth */
    int32_t zero_point;    /* of the input; pads the map */
    l3clf_output output;
} l3clf_conv_layer;

/* A vector times a matrix, whose weights are in pairs as those of a convolution. */
typedef struct {
    int32_t depth;
    const int8_t *weights;
    l3clf_output output;
} l3clf_dense_layer;

/* Depthwise convolution. */
typedef struct {
    l3clf_shape in, out;
    l3clf_window window;
    int32_t band, width;   /* output rows that are computed at a time, and columns of their inputs in scratch memory */
    const int8_t *weights; /* out.channels x taps */
    int32_t zero_point;
    l3clf_output output;
} l3clf_depthwise_layer;

typedef struct {
    l3clf_shape in, out;
    l3clf_window window;
    int32_t low, high;
} l3clf_pool_layer;
typedef l3clf_pool_layer l3clf_max_pool_layer, l3clf_average_pool_layer;

/* Mean over `count` values that are `inner` apart, with one factor for all. */
typedef struct {
    int32_t count, inner;
    l3clf_output output;
} l3clf_mean_layer;

/* Sum of two maps. TensorFlow Lite Micro shifts both, less their zero points, left by 20 bits and scales them to twice the
   larger scale. For the first map that is a factor of exactly one half. For the second, `unit` is 2^20, or 2^21 where
   its factor is one half too, because `right` must be above 0. */
typedef struct {
    int32_t zero_point[2], unit, multiplier, right;
    l3clf_output output;
} l3clf_add_layer;

typedef struct {
    l3clf_output output;
} l3clf_rectify_layer;

typedef struct {
    l3clf_shape in, out;
    int32_t above, left, value;
} l3clf_pad_layer;

/* Returns up to which place of its layer the next step goes that costs about `budget`, one piece at least, and lowers the
   budget by the cost. */
int32_t l3clf_next_place(const l3clf_extent *extent, int32_t place, int32_t *budget);

/* Each function computes the places from `first` on, before `last`: positions of the output map (row by row) for
   convolutions and pools, rows for a depthwise convolution and a pad, and otherwise values. */

/* Scratch: 9 * depth bytes, aligned to 4. `out` may be `in` for a pointwise layer with as many channels out as in. */
void l3clf_conv(const l3clf_conv_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last,
                void *scratch);
/* `first` is even. Reads up to 3 bytes past the end of `in`. */
void l3clf_dense(const l3clf_dense_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last);
/* Scratch: 8 * width bytes for every input row of a band, aligned to 4. Reads up to 3 bytes past the end of `in` if the
   channels are not a multiple of 4. */
void l3clf_depthwise(const l3clf_depthwise_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last,
                     void *scratch);
void l3clf_max_pool(const l3clf_pool_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last);
void l3clf_average_pool(const l3clf_pool_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last);
void l3clf_mean(const l3clf_mean_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last);
/* `out` may be `one` or `two`. */
void l3clf_add(const l3clf_add_layer *layer, const int8_t *one, const int8_t *two, int8_t *out, int32_t first,
               int32_t last);
/* `out` may be `in`. */
void l3clf_rectify(const l3clf_rectify_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last);
void l3clf_pad(const l3clf_pad_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last);

#ifdef __cplusplus
}
#endif
#endif
