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

/* Convolution. A pointwise one has a window of 1 x 1, a dense layer also a map of 1 x 1. */
typedef struct {
    l3clf_shape in, out;
    l3clf_window window;
    int32_t depth;         /* weights per output channel: all taps and channels, padded with zeros to a multiple of 4 */
    const int8_t *weights; /* out.channels x depth */
    int32_t zero_point;    /* of the input; pads the map */
    l3clf_output output;
} l3clf_conv_layer;

/* Depthwise convolution. The weights are in groups of 4 channels c0..c3, within these in pairs of taps t0, t1:
   c0t0 c1t0 c0t1 c1t1 c2t0 c3t0 c2t1 c3t1, with zeros for missing channels and taps. */
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

/* Mean over `count` values that are `inner` apart, with one factor for all. */
typedef struct {
    int32_t count, inner;
    l3clf_output output;
} l3clf_mean_layer;

/* Sum of two maps. Each input, less its zero point, is shifted left by 20 bits and scaled to a common scale. */
typedef struct {
    int32_t zero_point[2], multiplier[2], right[2];
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
   convolutions and pools, values for a mean, an addition and a rectifier, rows for a pad. */

/* Scratch: 12 * depth bytes, aligned to 4. `out` may be `in` for a pointwise layer with as many channels out as in. */
void l3clf_conv(const l3clf_conv_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last,
                void *scratch);
/* Scratch: pointers for all taps, rounded up to an even number, then channels + 3 bytes, aligned to a pointer. Reads up
   to 3 bytes past the end of `in` if the channels are not a multiple of 4. */
void l3clf_depthwise(const l3clf_depthwise_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last,
                     void *scratch);
void l3clf_max_pool(const l3clf_pool_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last);
void l3clf_average_pool(const l3clf_pool_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last);
void l3clf_mean(const l3clf_mean_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last);
/* Scratch: 2048 bytes, aligned to 4. `out` may be `one` or `two`. */
void l3clf_add(const l3clf_add_layer *layer, const int8_t *one, const int8_t *two, int8_t *out, int32_t first,
               int32_t last, void *scratch);
/* `out` may be `in`. */
void l3clf_rectify(const l3clf_rectify_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last);
void l3clf_pad(const l3clf_pad_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last);

#ifdef __cplusplus
}
#endif
#endif
