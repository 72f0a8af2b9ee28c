#include "l3clf_kernels.h"

#include "l3clf_dsp.h"

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

/* All inputs of one output place, in the order of the weights: in the map itself, or gathered. */
static const int8_t *column(const l3clf_conv_layer *layer, const int8_t *in, int32_t place, int8_t *gathered)
{
    const l3clf_window *w = &layer->window;
    const int32_t channels = layer->in.channels, run = w->columns * channels;
    if (w->rows == 1 && w->columns == 1 && w->row_stride == 1 && w->column_stride == 1 && layer->depth == channels) {
        return in + place * channels;
    }
    const int8_t outside = (int8_t)layer->zero_point;
    const int32_t first_row = place / layer->out.columns * w->row_stride - w->above;
    const int32_t first_column = place % layer->out.columns * w->column_stride - w->left;
    const int32_t before = first_column < 0 ? -first_column : 0;
    const int32_t beyond = first_column + w->columns - layer->in.columns;
    const int32_t after = beyond > 0 ? beyond : 0;
    int8_t *to = gathered;
    for (int32_t i = 0; i < w->rows; i++, to += run) {
        const int32_t row = first_row + i;
        if (row < 0 || row >= layer->in.rows) {
            fill(to, run, outside);
            continue;
        }
        const int8_t *from = in + (row * layer->in.columns + first_column + before) * channels;
        fill(to, before * channels, outside);
        copy(to + before * channels, from, run - (before + after) * channels);
        fill(to + run - after * channels, after * channels, outside);
    }
    fill(to, (int32_t)(gathered + layer->depth - to), 0);
    return gathered;
}

/* Four columns times all weights; the last `4 - n` columns are not written. */
static void products(const l3clf_conv_layer *layer, const int8_t *const columns[4], int32_t n, uint32_t *wide, int8_t *out)
{
    const l3clf_output *to = &layer->output;
    const int32_t channels = layer->out.channels, depth = layer->depth;
    const int8_t *weights = layer->weights;
    l3clf_widen(columns, depth, wide);
    for (int32_t channel = 0; channel < channels; channel++, weights += depth) {
        const l3clf_factor factor = to->factors[channel];
        const int32_t right = to->right[channel];
        int32_t sums[4] = {factor.bias, factor.bias, factor.bias, factor.bias};
        l3clf_dot4(weights, wide, columns, depth, sums);
        int8_t *place = out + channel;
        for (int32_t i = 0; i < 4; i++, place += channels) {
            const int8_t value = l3clf_narrow(l3clf_scale(sums[i], factor.multiplier, right), to);
            if (i < n) {
                *place = value;
            }
        }
    }
}

void l3clf_conv(const l3clf_conv_layer *layer, const int8_t *in, int8_t *out, void *scratch)
{
    const int32_t places = layer->out.rows * layer->out.columns;
    uint32_t *wide = scratch;
    int8_t *gathered = (int8_t *)scratch + 8 * layer->depth;
    for (int32_t place = 0; place < places; place += 4) {
        const int32_t n = places - place < 4 ? places - place : 4;
        const int8_t *columns[4];
        for (int32_t i = 0; i < 4; i++) {
            columns[i] = i < n ? column(layer, in, place + i, gathered + i * layer->depth) : columns[0];
        }
        products(layer, columns, n, wide, out + place * layer->out.channels);
    }
}

/* --- depthwise convolution ------------------------------------------------------------------------ */

/* Where each tap of an output place lies: in the map, or in a row of zero points. */
static void find_taps(const l3clf_depthwise_layer *layer, const int8_t *in, int32_t row, int32_t column,
                      const int8_t *outside, const int8_t **taps)
{
    const l3clf_window *w = &layer->window;
    for (int32_t i = 0; i < w->rows; i++) {
        const int32_t y = row * w->row_stride - w->above + i;
        for (int32_t j = 0; j < w->columns; j++) {
            const int32_t x = column * w->column_stride - w->left + j;
            const int32_t inside = y >= 0 && y < layer->in.rows && x >= 0 && x < layer->in.columns;
            *taps++ = inside ? in + (y * layer->in.columns + x) * layer->in.channels : outside;
        }
    }
}

void l3clf_depthwise(const l3clf_depthwise_layer *layer, const int8_t *in, int8_t *out, void *scratch)
{
    const l3clf_output *to = &layer->output;
    const int32_t channels = layer->out.channels, n_taps = layer->window.rows * layer->window.columns;
    const int32_t even = n_taps + (n_taps & 1);
    const int8_t **taps = scratch;
    int8_t *outside = (int8_t *)(taps + even);
    fill(outside, channels + 3, (int8_t)layer->zero_point);
    taps[even - 1] = outside; /* the tap that makes pairs has no weight */
    for (int32_t place = 0; place < layer->out.rows * layer->out.columns; place++, out += channels) {
        find_taps(layer, in, place / layer->out.columns, place % layer->out.columns, outside, taps);
        const int8_t *weights = layer->weights;
        for (int32_t first = 0; first < channels; first += 4, weights += 4 * even) {
            int32_t sums[4] = {0, 0, 0, 0};
            l3clf_taps4(weights, taps, first, even, sums);
            const int32_t n = channels - first < 4 ? channels - first : 4;
            for (int32_t i = 0; i < 4 && i < n; i++) {
                const l3clf_factor factor = to->factors[first + i];
                const int32_t sum = sums[i] + factor.bias;
                out[first + i] = l3clf_narrow(l3clf_scale(sum, factor.multiplier, to->right[first + i]), to);
            }
        }
    }
}

/* --- pools ---------------------------------------------------------------------------------------- */

typedef struct {
    int32_t top, bottom, left, right; /* the part of a window that lies in the map */
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

static void pool(const l3clf_pool_layer *layer, const int8_t *in, int8_t *out,
                 int32_t (*value)(const l3clf_pool_layer *, const int8_t *, part))
{
    for (int32_t row = 0; row < layer->out.rows; row++) {
        for (int32_t column = 0; column < layer->out.columns; column++) {
            const part p = inside(layer, row, column);
            for (int32_t channel = 0; channel < layer->out.channels; channel++) {
                *out++ = clamp(value(layer, in + channel, p), layer->low, layer->high);
            }
        }
    }
}

void l3clf_max_pool(const l3clf_pool_layer *layer, const int8_t *in, int8_t *out)
{
    pool(layer, in, out, largest);
}

void l3clf_average_pool(const l3clf_pool_layer *layer, const int8_t *in, int8_t *out)
{
    pool(layer, in, out, average);
}

/* --- the rest ------------------------------------------------------------------------------------- */

void l3clf_mean(const l3clf_mean_layer *layer, const int8_t *in, int8_t *out)
{
    const int32_t places = layer->in.rows * layer->in.columns;
    const l3clf_factor factor = layer->output.factors[0];
    for (int32_t channel = 0; channel < layer->in.channels; channel++) {
        int32_t sum = factor.bias;
        for (int32_t place = 0; place < places; place++) {
            sum += in[place * layer->in.channels + channel];
        }
        out[channel] = l3clf_narrow(l3clf_scale(sum, factor.multiplier, layer->output.right[0]), &layer->output);
    }
}

void l3clf_add(const l3clf_add_layer *layer, const int8_t *one, const int8_t *two, int8_t *out)
{
    const l3clf_add_layer l = *layer; /* stores of int8 may change anything the compiler does not hold itself */
    const l3clf_factor factor = l.output.factors[0];
    const int32_t right = l.output.right[0];
    for (int32_t i = 0; i < l.size; i++) {
        const int32_t a = l3clf_scale((one[i] - l.zero_point[0]) * (1 << 20), l.multiplier[0], l.right[0]);
        const int32_t b = l3clf_scale((two[i] - l.zero_point[1]) * (1 << 20), l.multiplier[1], l.right[1]);
        out[i] = l3clf_narrow(l3clf_scale(a + b, factor.multiplier, right), &l.output);
    }
}

void l3clf_rectify(const l3clf_rectify_layer *layer, const int8_t *in, int8_t *out)
{
    const l3clf_factor factor = layer->output.factors[0];
    for (int32_t i = 0; i < layer->size; i++) {
        out[i] = l3clf_narrow(l3clf_scale(in[i] + factor.bias, factor.multiplier, layer->output.right[0]), &layer->output);
    }
}

void l3clf_pad(const l3clf_pad_layer *layer, const int8_t *in, int8_t *out)
{
    const int32_t width = layer->in.columns * layer->in.channels, wide = layer->out.columns * layer->out.channels;
    fill(out, layer->out.rows * wide, (int8_t)layer->value);
    out += layer->above * wide + layer->left * layer->out.channels;
    for (int32_t row = 0; row < layer->in.rows; row++, in += width, out += wide) {
        copy(out, in, width);
    }
}
