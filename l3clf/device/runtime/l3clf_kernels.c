#include "l3clf_kernels.h"

#include "l3clf_dsp.h"

/* --- steps ---------------------------------------------------------------------------------------- */

int32_t l3clf_next_place(const l3clf_extent *extent, int32_t place, int32_t *budget)
{
    const int32_t left = (extent->places - place + extent->piece - 1) / extent->piece;
    int32_t pieces = *budget / extent->work;
    pieces = pieces < 1 ? 1 : pieces < left ? pieces : left;
    *budget -= pieces * extent->work;
    return pieces == left ? extent->places : place + pieces * extent->piece;
}

/* --- convolution ---------------------------------------------------------------------------------- */

static void fill(int8_t *to, int32_t n, int8_t value)
{
    while (n-- > 0) {
        *to++ = value;
    }
}

static void copy(int8_t *restrict to, const int8_t *restrict from, int32_t n)
{
    while (n-- > 0) {
        *to++ = *from++;
    }
}

/* Applies a fused activation; the range of int8 has been applied already. */
static void clamp_map(const l3clf_output *to, int8_t *out, int32_t n)
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
static void gather_row(const l3clf_conv_layer *layer, const int8_t *row, int32_t x, int8_t *to)
{
    const int32_t channels = layer->in.channels, columns = row ? layer->in.columns : 0;
    for (int32_t j = 0; j < layer->window.columns; j++, x += layer->window.column_dilation, to += channels) {
        if (x >= 0 && x < columns) {
            copy(to, row + x * channels, channels);
        } else {
            fill(to, channels, (int8_t)layer->zero_point);
        }
    }
}

/* Returns all inputs of one output position in the order of the weights: in the map itself if possible, or gathered. */
static const int8_t *column(const l3clf_conv_layer *layer, const int8_t *in, int32_t place, int8_t *gathered)
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
            copy(to, row + x * channels, run);
        } else {
            gather_row(layer, row, x, to);
        }
    }
    fill(to, (int32_t)(gathered + layer->depth - to), 0);
    return gathered;
}

/* Multiplies four columns by all weights; only the results of the first `n` are stored. */
static void products(const l3clf_conv_layer *layer, const int8_t *const columns[4], int32_t n, l3clf_wide *wide,
                     int8_t *out)
{
    const l3clf_output to = layer->output; /* a copy: for the compiler, int8 stores may alias the original */
    const int32_t channels = layer->out.channels, depth = layer->depth;
    const int8_t *weights = layer->weights;
    l3clf_widen(columns, depth, wide); /* from here on `out` may overwrite the inputs */
    for (int32_t channel = 0; channel < channels; channel++, weights += depth) {
        const l3clf_factor factor = to.factors[channel];
        int32_t sums[4] = {factor.bias, factor.bias, factor.bias, factor.bias};
        l3clf_dot4(weights, wide, depth, sums);
        l3clf_scale4(sums, factor.multiplier, to.right[channel]);
        int8_t *place = out + channel;
        for (int32_t i = 0; i < n; i++, place += channels) {
            *place = l3clf_narrow(sums[i] + to.zero_point);
        }
    }
}

void l3clf_conv(const l3clf_conv_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last,
                void *scratch)
{
    const int32_t channels = layer->out.channels;
    l3clf_wide *wide = scratch;
    int8_t *gathered = (int8_t *)scratch + 8 * layer->depth;
    for (int32_t place = first; place < last; place += 4) {
        const int32_t n = last - place < 4 ? last - place : 4;
        const int8_t *columns[4];
        for (int32_t i = 0; i < 4; i++) {
            columns[i] = i < n ? column(layer, in, place + i, gathered + i * layer->depth) : columns[0];
        }
        products(layer, columns, n, wide, out + place * channels);
    }
    clamp_map(&layer->output, out + first * channels, (last - first) * channels);
}

/* --- depthwise convolution ------------------------------------------------------------------------ */

/* Finds the address of each tap of an output position: in the map, or `outside`, a row of zero points. */
static void find_taps(const l3clf_depthwise_layer *layer, const int8_t *in, int32_t place, const int8_t *outside,
                      const int8_t **taps)
{
    const l3clf_window w = layer->window;
    const l3clf_shape map = layer->in;
    const int32_t top = place / layer->out.columns * w.row_stride - w.above;
    const int32_t left = place % layer->out.columns * w.column_stride - w.left;
    for (int32_t i = 0, y = top; i < w.rows; i++, y += w.row_dilation) {
        const int32_t columns = y >= 0 && y < map.rows ? map.columns : 0; /* none if the row is outside the map */
        for (int32_t j = 0, x = left; j < w.columns; j++, x += w.column_dilation) {
            *taps++ = x >= 0 && x < columns ? in + (y * map.columns + x) * map.channels : outside;
        }
    }
}

/* Computes all channels of one output position. */
static void tap_products(const l3clf_depthwise_layer *layer, const int8_t *const *taps, int32_t n_taps, int8_t *out)
{
    const l3clf_output to = layer->output;
    const int32_t channels = layer->out.channels;
    const int8_t *weights = layer->weights;
    for (int32_t first = 0; first < channels; first += 4, weights += 4 * n_taps) {
        int32_t sums[4] = {0, 0, 0, 0};
        l3clf_taps4(weights, taps, first, n_taps, sums);
        const int32_t n = channels - first < 4 ? channels - first : 4;
        for (int32_t i = 0; i < n; i++) {
            const l3clf_factor factor = to.factors[first + i];
            const int32_t value = l3clf_scale(sums[i] + factor.bias, factor.multiplier, to.right[first + i]);
            out[first + i] = l3clf_narrow(value + to.zero_point);
        }
    }
}

void l3clf_depthwise(const l3clf_depthwise_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last,
                     void *scratch)
{
    const int32_t channels = layer->out.channels;
    const int32_t n_taps = layer->window.rows * layer->window.columns, even = n_taps + (n_taps & 1);
    const int8_t **taps = scratch;
    int8_t *outside = (int8_t *)(taps + even);
    fill(outside, channels + 3, (int8_t)layer->zero_point);
    taps[even - 1] = outside; /* the tap that completes a pair has zero weights */
    for (int32_t place = first; place < last; place++) {
        find_taps(layer, in, place, outside, taps);
        tap_products(layer, taps, even, out + place * channels);
    }
    clamp_map(&layer->output, out + first * channels, (last - first) * channels);
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
    const l3clf_output to = layer->output;
    const l3clf_factor factor = to.factors[0];
    const int32_t right = to.right[0], count = layer->count, inner = layer->inner;
    for (int32_t place = first; place < last; place++) {
        const int8_t *value = in + place / inner * count * inner + place % inner;
        int32_t sum = factor.bias;
        for (int32_t k = 0; k < count; k++, value += inner) {
            sum += *value;
        }
        out[place] = l3clf_narrow(l3clf_scale(sum, factor.multiplier, right) + to.zero_point);
    }
    clamp_map(&layer->output, out + first, last - first);
}

void l3clf_add(const l3clf_add_layer *layer, const int8_t *one, const int8_t *two, int8_t *out, int32_t first,
               int32_t last, void *scratch)
{
    const l3clf_output to = layer->output;
    const l3clf_factor factor = to.factors[0];
    const int32_t right = to.right[0];
    int32_t *scaled = scratch; /* table of every value that an input can have */
    for (int32_t input = 0; input < 2; input++) {
        for (int32_t value = INT8_MIN; value <= INT8_MAX; value++) {
            const int32_t shifted = (value - layer->zero_point[input]) * (1 << 20);
            *scaled++ = l3clf_scale(shifted, layer->multiplier[input], layer->right[input]);
        }
    }
    const int32_t *of_one = (const int32_t *)scratch - INT8_MIN, *of_two = of_one + 256;
    for (int32_t i = first; i < last; i++) {
        const int32_t sum = of_one[one[i]] + of_two[two[i]];
        out[i] = l3clf_narrow(l3clf_scale(sum, factor.multiplier, right) + to.zero_point);
    }
    clamp_map(&layer->output, out + first, last - first);
}

void l3clf_rectify(const l3clf_rectify_layer *layer, const int8_t *in, int8_t *out, int32_t first, int32_t last)
{
    const l3clf_output to = layer->output;
    const l3clf_factor factor = to.factors[0];
    const int32_t right = to.right[0];
    for (int32_t i = first; i < last; i++) {
        out[i] = l3clf_narrow(l3clf_scale(in[i] + factor.bias, factor.multiplier, right) + to.zero_point);
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
            copy(out + row * wide, in + from * width, width);
        }
    }
}
