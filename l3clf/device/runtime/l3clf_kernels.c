#include "l3clf_kernels.h"

#include "l3clf_dsp.h"

/* --- steps ---------------------------------------------------------------------------------------- */

L3CLF_SMALL int32_t l3clf_next_place(const l3clf_extent *extent, int32_t place, int32_t *budget)
{
    const int32_t left = (extent->places - place + extent->piece - 1) / extent->piece;
    int32_t pieces = *budget / extent->work;
    pieces = pieces < 1 ? 1 : pieces < left ? pieces : left;
    *budget -= pieces * extent->work;
    return pieces == left ? extent->places : place + pieces * extent->piece;
}

/* --- convolution ---------------------------------------------------------------------------------- */

L3CLF_SMALL static void fill(int8_t *to, int32_t n, int8_t value)
{
    while (n-- > 0) {
        *to++ = value;
    }
}

/* Applies a fused activation; the range of int8 has been applied already. */
L3CLF_SMALL static void clamp_map(const l3clf_output *to, int8_t *out, int32_t n)
{
    const int8_t low = (int8_t)to->low, high = (int8_t)to->high;
    if (low == INT8_MIN && high == INT8_MAX) {
        return;
    }
    for (int32_t i = 0; i < n; i++) {
        out[i] = out[i] < low ? low : out[i] > high ? high : out[i];
    }
}

/* Copies one row of a window, from column `x` on; taps outside the map get the zero point. */
L3CLF_SMALL static void gather_row(const l3clf_conv_layer *layer, const int8_t *row, int32_t x, int8_t *to)
{
    const int32_t channels = layer->in.channels, columns = row ? layer->in.columns : 0;
    for (int32_t j = 0; j < layer->window.columns; j++, x += layer->window.column_dilation, to += channels) {
        if (x >= 0 && x < columns) {
            l3clf_copy(to, row + x * channels, channels);
        } else {
            fill(to, channels, (int8_t)layer->zero_point);
        }
    }
}

/* Returns all inputs of one output position in the order of the weights: in the map itself if possible, or gathered. */
L3CLF_SMALL static const int8_t *column(const l3clf_conv_layer *layer, const int8_t *in, int32_t place, int8_t *gathered)
{
    const l3clf_window w = layer->window;
    const int32_t channels = layer->in.channels, run = w.columns * channels;
    if (w.rows == 1 && w.columns == 1 && w.row_stride == 1 && w.column_stride == 1 && layer->depth == channels) {
        return in + place * channels;
    }
    const int32_t x = place % layer->out.columns * w.column_stride - w.left;
    int32_t y = place / layer->out.columns * w.row_stride - w.above;
    int8_t *to = gathered;
    for (int32_t i = 0; i < w.rows; i++, y += w.row_dilation, to += run) {
        const int8_t *row = y >= 0 && y < layer->in.rows ? in + y * layer->in.columns * channels : 0;
        if (row && x >= 0 && x + w.columns <= layer->in.columns && w.column_dilation == 1) {
            l3clf_copy(to, row + x * channels, run);
        } else {
            gather_row(layer, row, x, to);
        }
    }
    fill(to, (int32_t)(gathered + layer->depth - to), 0);
    return gathered;
}

/* Where three columns' results go, from the first one's place on. Missing columns have the place of the first one, which
   is stored last. */
typedef struct {
    int32_t second, third;
} places3;

L3CLF_INLINE void store3(const l3clf_output *output, int32_t channel, const int32_t sums[3], int8_t *out, places3 to)
{
    const l3clf_scaling s = l3clf_scaling_of(output, channel);
    if (s.fast) {
        out[to.third] = l3clf_finish(sums[2], &s);
        out[to.second] = l3clf_finish(sums[1], &s);
        out[0] = l3clf_finish(sums[0], &s);
    } else {
        out[to.third] = l3clf_finish_any(sums[2], &s);
        out[to.second] = l3clf_finish_any(sums[1], &s);
        out[0] = l3clf_finish_any(sums[0], &s);
    }
}

/* Multiplies three columns by all weights, which are in pairs of channels. */
static void products(const l3clf_conv_layer *layer, const int8_t *const columns[3], int32_t n, l3clf_wide *wide,
                     int8_t *out)
{
    const l3clf_output output = layer->output; /* a copy: for the compiler, int8 stores may alias the original */
    const int32_t channels = layer->out.channels, depth = layer->depth;
    const places3 to = {n > 1 ? channels : 0, n > 2 ? 2 * channels : 0};
    const int8_t *weights = layer->weights;
    l3clf_widen3(columns, depth, wide); /* from here on `out` may overwrite the inputs */
    for (int32_t channel = 0; channel < channels; channel += 2, weights += 2 * depth) {
        const int32_t both = channel + 1 < channels;
        const int32_t a = output.factors[channel].bias, b = output.factors[channel + both].bias;
        int32_t sums[6] = {a, a, a, b, b, b};
        l3clf_dot3x2(weights, wide, depth, sums);
        store3(&output, channel, sums, out + channel, to);
        if (both) {
            store3(&output, channel + 1, sums + 3, out + channel + 1, to);
        }
    }
}

void l3clf_conv(const l3clf_conv_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last,
                void *scratch)
{
    const int32_t channels = layer->out.channels;
    l3clf_wide *wide = scratch;
    int8_t *gathered = (int8_t *)scratch + 6 * layer->depth;
    for (int32_t place = first; place < last; place += 3) {
        const int32_t n = last - place < 3 ? last - place : 3;
        const int8_t *columns[3];
        for (int32_t i = 0; i < 3; i++) {
            columns[i] = i < n ? column(layer, in, place + i, gathered + i * layer->depth) : columns[0];
        }
        products(layer, columns, n, wide, out + place * channels);
    }
    clamp_map(&layer->output, out + first * channels, (last - first) * channels);
}

L3CLF_SMALL void l3clf_dense(const l3clf_dense_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last)
{
    const l3clf_output to = layer->output;
    const int8_t *weights = layer->weights + first * layer->depth;
    for (int32_t unit = first; unit < last; unit += 2, weights += 2 * layer->depth) {
        int32_t sums[2] = {0, 0};
        l3clf_dot1x2(weights, in, layer->depth, sums);
        for (int32_t i = 0; i < 2 && unit + i < last; i++) {
            const l3clf_scaling s = l3clf_scaling_of(&to, unit + i);
            out[unit + i] = l3clf_finish_any(sums[i] + s.bias, &s);
        }
    }
    clamp_map(&layer->output, out + first, last - first);
}

/* --- depthwise convolution ------------------------------------------------------------------------ */

/* The inputs of some output rows, each channel on its own, as int16, with zero points where the map ends. */
typedef struct {
    int16_t *values;
    int32_t rows, columns;
} planes;

/* Fills the planes of four channels from row `top` of the map on; what is outside of the map is left alone. */
static void split(const l3clf_depthwise_layer *layer, const int8_t *in, int32_t top, planes to)
{
    const l3clf_shape map = layer->in;
    const int32_t size = to.rows * to.columns, left = layer->window.left, room = to.columns - left;
    const int32_t columns = room < map.columns ? room : map.columns;
    for (int32_t i = 0; i < to.rows; i++) {
        if (top + i >= 0 && top + i < map.rows) {
            const int8_t *from = in + (top + i) * map.columns * map.channels;
            l3clf_split4(from, map.channels, columns, to.values + i * to.columns + left, size);
        }
    }
}

/* Computes one row of one channel, for windows of any size. */
L3CLF_SMALL static void filter_row(const l3clf_depthwise_layer *layer, const int8_t *weights, const int16_t *plane,
                       l3clf_scaling s, int8_t *out)
{
    const l3clf_window w = layer->window;
    const int32_t columns = layer->out.columns, channels = layer->out.channels, width = layer->width;
    for (int32_t x = 0; x < columns; x++, plane += w.column_stride, out += channels) {
        const int8_t *weight = weights;
        const int16_t *row = plane;
        int32_t sum = s.bias;
        for (int32_t i = 0; i < w.rows; i++, row += w.row_dilation * width) {
            const int16_t *value = row;
            for (int32_t j = 0; j < w.columns; j++, value += w.column_dilation) {
                sum += *value * *weight++;
            }
        }
        *out = l3clf_finish_any(sum, &s);
    }
}

/* Computes `n` rows of one channel. A function of its own, so that the loops around it take no registers. */
L3CLF_APART static void filter(const l3clf_depthwise_layer *layer, int32_t channel, const int16_t *plane, int32_t n, int8_t *out)
{
    const l3clf_window w = layer->window;
    const l3clf_grid grid = {layer->width, w.column_stride, w.row_stride * layer->width, layer->out.columns,
                             layer->out.channels};
    const l3clf_scaling s = l3clf_scaling_of(&layer->output, channel);
    const int8_t *weights = layer->weights + channel * w.rows * w.columns;
    if (s.fast && w.rows == 3 && w.columns == 3 && w.row_dilation == 1 && w.column_dilation == 1 &&
        w.column_stride < 3) {
        l3clf_filter3x3(&grid, weights, plane, n, s, out);
        return;
    }
    for (; n > 0; n--, plane += grid.row, out += grid.columns * grid.step) {
        filter_row(layer, weights, plane, s, out);
    }
}

/* A window that is the whole map: each channel's values are added up where they are. */
L3CLF_SMALL static void filter_map(const l3clf_depthwise_layer *layer, const int8_t *in, int8_t *out)
{
    const l3clf_output output = layer->output;
    const int32_t channels = layer->in.channels, taps = layer->in.rows * layer->in.columns;
    const int8_t *weight = layer->weights;
    for (int32_t channel = 0; channel < channels; channel++) {
        const l3clf_scaling s = l3clf_scaling_of(&output, channel);
        const int8_t *value = in + channel;
        int32_t sum = s.bias;
        for (int32_t tap = 0; tap < taps; tap++, value += channels) {
            sum += *value * weight[tap];
        }
        weight += taps;
        out[channel] = l3clf_finish_any(sum, &s);
    }
    clamp_map(&output, out, channels);
}

void l3clf_depthwise(const l3clf_depthwise_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last,
                     void *scratch)
{
    const l3clf_window w = layer->window;
    if (w.above == 0 && w.left == 0 && w.row_dilation == 1 && w.column_dilation == 1 && w.rows == layer->in.rows &&
        w.columns == layer->in.columns && layer->out.rows * layer->out.columns == 1) {
        filter_map(layer, in, out);
        return;
    }
    const int32_t channels = layer->out.channels, row = layer->out.columns * channels;
    for (int32_t y = first; y < last; y += layer->band) {
        const int32_t n = last - y < layer->band ? last - y : layer->band;
        const planes to = {scratch, (n - 1) * w.row_stride + (w.rows - 1) * w.row_dilation + 1, layer->width};
        for (int32_t i = 0; i < 4 * to.rows * to.columns; i++) {
            to.values[i] = (int16_t)layer->zero_point; /* stays where the map ends */
        }
        for (int32_t channel = 0; channel < channels; channel += 4) {
            const int32_t some = channels - channel < 4 ? channels - channel : 4;
            split(layer, in + channel, y * w.row_stride - w.above, to);
            for (int32_t i = 0; i < some; i++) {
                const int16_t *plane = to.values + i * to.rows * to.columns;
                filter(layer, channel + i, plane, n, out + y * row + channel + i);
            }
        }
    }
    clamp_map(&layer->output, out + first * row, (last - first) * row);
}

/* --- pools ---------------------------------------------------------------------------------------- */

typedef struct {
    int32_t top, bottom, left, right; /* part of a window that lies inside the map */
} part;

static part inside(const l3clf_pool_layer *layer, int32_t row, int32_t column)
{
    const l3clf_window *w = &layer->window;
    part p = {row * w->row_stride - w->above, 0, column * w->column_stride - w->left, 0};
    p.bottom = p.top + w->rows < layer->in.rows ? p.top + w->rows : layer->in.rows;
    p.right = p.left + w->columns < layer->in.columns ? p.left + w->columns : layer->in.columns;
    p.top = p.top > 0 ? p.top : 0;
    p.left = p.left > 0 ? p.left : 0;
    return p;
}

static int8_t clamp(int32_t value, int32_t low, int32_t high)
{
    return (int8_t)(value < low ? low : value > high ? high : value);
}

static int32_t largest(const l3clf_pool_layer *layer, const int8_t *in, part p)
{
    int32_t found = INT8_MIN;
    for (int32_t y = p.top; y < p.bottom; y++) {
        for (int32_t x = p.left; x < p.right; x++) {
            const int32_t value = in[(y * layer->in.columns + x) * layer->in.channels];
            found = value > found ? value : found;
        }
    }
    return found;
}

static int32_t average(const l3clf_pool_layer *layer, const int8_t *in, part p)
{
    const int32_t count = (p.bottom - p.top) * (p.right - p.left);
    int32_t sum = 0;
    for (int32_t y = p.top; y < p.bottom; y++) {
        for (int32_t x = p.left; x < p.right; x++) {
            sum += in[(y * layer->in.columns + x) * layer->in.channels];
        }
    }
    return (sum + (sum < 0 ? -(count / 2) : count / 2)) / count;
}

static void pool(const l3clf_pool_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last,
                 int32_t (*value)(const l3clf_pool_layer *, const int8_t *, part))
{
    const int32_t columns = layer->out.columns, channels = layer->out.channels;
    out += first * channels;
    for (int32_t place = first; place < last; place++) {
        const part p = inside(layer, place / columns, place % columns);
        for (int32_t channel = 0; channel < channels; channel++) {
            *out++ = clamp(value(layer, in + channel, p), layer->low, layer->high);
        }
    }
}

void l3clf_max_pool(const l3clf_pool_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last)
{
    pool(layer, in, out, first, last, largest);
}

void l3clf_average_pool(const l3clf_pool_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last)
{
    pool(layer, in, out, first, last, average);
}

/* --- other layers --------------------------------------------------------------------------------- */

void l3clf_mean(const l3clf_mean_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last)
{
    const l3clf_scaling s = l3clf_scaling_of(&layer->output, 0);
    const int32_t count = layer->count, inner = layer->inner;
    for (int32_t place = first; place < last; place++) {
        const int8_t *value = in + place / inner * count * inner + place % inner;
        int32_t sum = s.bias;
        for (int32_t k = 0; k < count; k++, value += inner) {
            sum += *value;
        }
        out[place] = l3clf_finish_any(sum, &s);
    }
    clamp_map(&layer->output, out + first, last - first);
}

/* The scale of `one` is half of the common one, so that it is shifted by 19 bits instead of 20. */
void l3clf_add(const l3clf_add_layer *layer, const int8_t *one, const int8_t *two, int8_t *out, int32_t first,
               int32_t last)
{
    const l3clf_scaling s = l3clf_scaling_of(&layer->output, 0);
    const int32_t multiplier = layer->multiplier, right = layer->right, offset = 1 << (right - 1);
    const int32_t unit = layer->unit, zero = layer->zero_point[1] * unit, base = layer->zero_point[0] * (1 << 19);
    if (s.fast) {
        L3CLF_UNROLL2
        for (int32_t i = first; i < last; i++) {
            const int32_t scaled = l3clf_scale_down(two[i] * unit - zero, multiplier, right, offset);
            out[i] = l3clf_finish(one[i] * (1 << 19) - base + scaled, &s);
        }
    } else {
        for (int32_t i = first; i < last; i++) {
            const int32_t scaled = l3clf_scale_down(two[i] * unit - zero, multiplier, right, offset);
            out[i] = l3clf_finish_any(one[i] * (1 << 19) - base + scaled, &s);
        }
    }
    clamp_map(&layer->output, out + first, last - first);
}

void l3clf_rectify(const l3clf_rectify_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last)
{
    const l3clf_scaling s = l3clf_scaling_of(&layer->output, 0);
    for (int32_t i = first; i < last; i++) {
        out[i] = l3clf_finish_any(in[i] + s.bias, &s);
    }
    clamp_map(&layer->output, out + first, last - first);
}

void l3clf_pad(const l3clf_pad_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last)
{
    const int32_t width = layer->in.columns * layer->in.channels, wide = layer->out.columns * layer->out.channels;
    fill(out + first * wide, (last - first) * wide, (int8_t)layer->value);
    out += layer->left * layer->out.channels;
    for (int32_t row = first; row < last; row++) {
        const int32_t from = row - layer->above;
        if (from >= 0 && from < layer->in.rows) {
            l3clf_copy(out + row * wide, in + from * width, width);
        }
    }
}
