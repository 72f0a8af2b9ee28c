#include "l3clf.h"

#include <string.h>

#include "l3clf_dsp.h"
#include "l3clf_frontend.h"

#define MARK 0x4C33434CU /* of a state that was initialised: its bytes say L3CL */

enum { IDLE, WORKING, IN_CALLBACK }; /* l3clf_state.busy */

/* --- windows -------------------------------------------------------------------------------------- */

/* Copies the last L3CLF_N_FRAMES frames, oldest first, to the network's input: `frames` is a ring buffer. */
L3CLF_SMALL static void bring_frames(const l3clf_state *s)
{
    int8_t *input = (int8_t *)s->arena + L3CLF_INPUT_OFFSET;
    const size_t newer = (size_t)(s->next_frame * L3CLF_N_MELS), older = sizeof s->frames - newer;
    memcpy(input, s->frames + newer, older);
    memcpy(input + older, s->frames, newer);
}

/* Memory in the arena for what the head says and a vector after it; it does not overlap the network's output. */
static float *answer_memory(const l3clf_state *s)
{
    return (float *)(void *)((int8_t *)s->arena + L3CLF_ANSWER_OFFSET);
}

#ifdef L3CLF_POOL_PROBABILITIES

/* Stores the window's probabilities in the pool. */
L3CLF_SMALL static void keep_window(const l3clf_state *s, l3clf_pooled *slot)
{
    const int8_t *steps = (const int8_t *)s->arena + L3CLF_OUTPUT_OFFSET;
    float *vector = answer_memory(s) + L3CLF_N_ROWS;
    for (int32_t i = 0; i < L3CLF_EMBEDDING; i++) {
        vector[i] = (float)(steps[i] - L3CLF_OUTPUT_ZERO_POINT) * L3CLF_OUTPUT_SCALE;
    }
    l3clf_head(vector, slot);
}

/* Averages the probabilities of all windows above the gate. */
L3CLF_SMALL static void pool(const l3clf_state *s, uint32_t n, float *rows)
{
    for (int32_t c = 0; c < L3CLF_N_ROWS; c++) {
        float sum = 0.0F;
        for (int32_t slot = 0; slot < L3CLF_POOL_WINDOWS; slot++) {
            sum += s->above_gate[slot] ? s->pool[slot * L3CLF_N_ROWS + c] : 0.0F;
        }
        rows[c] = sum / (float)n;
    }
}

#else

/* Stores the window's embedding in the pool. */
static void keep_window(const l3clf_state *s, l3clf_pooled *slot)
{
    memcpy(slot, (const int8_t *)s->arena + L3CLF_OUTPUT_OFFSET, L3CLF_EMBEDDING);
}

#ifdef L3CLF_EXACT_MEAN
/* Thresholds of trees may equal the mean itself, so it has to be rounded exactly as in Python. */
typedef double mean_sum;
#define MEAN(sum, n) (float)((sum) / (double)(n))
#define VALUE(steps) (double)((float)(steps) * L3CLF_OUTPUT_SCALE)
#else
typedef int32_t mean_sum;
#define MEAN(sum, n) ((float)(sum) / (float)(n) * L3CLF_OUTPUT_SCALE)
#define VALUE(steps) (steps)
#endif

/* Computes what the head says from the mean embedding of all windows above the gate. */
L3CLF_SMALL static void pool(const l3clf_state *s, uint32_t n, float *rows)
{
    float *vector = rows + L3CLF_N_ROWS;
    for (int32_t i = 0; i < L3CLF_EMBEDDING; i++) {
        mean_sum sum = 0;
        for (int32_t slot = 0; slot < L3CLF_POOL_WINDOWS; slot++) {
            if (s->above_gate[slot]) {
                sum += VALUE(s->pool[slot * L3CLF_EMBEDDING + i] - L3CLF_OUTPUT_ZERO_POINT);
            }
        }
        vector[i] = MEAN(sum, n);
    }
    l3clf_head(vector, rows);
}

#endif

/* How many windows a decision is made from: those above the gate, or none if all windows are silent. */
L3CLF_SMALL static uint32_t n_counted(const l3clf_state *s)
{
    uint32_t n = 0, audible = 0;
    for (int32_t slot = 0; slot < L3CLF_POOL_WINDOWS; slot++) {
        n += s->above_gate[slot];
        audible += s->audible[slot];
    }
    return audible > 0 ? n : 0;
}

#ifdef L3CLF_TAGS
/* Finds the tags that are as probable as their thresholds, or more. */
L3CLF_SMALL void l3clf_decide(l3clf_decision *decision, float *rows)
{
    decision->probabilities = rows;
    for (int32_t tag = 0; tag < L3CLF_N_TAGS; tag++) {
        decision->tags[tag] = decision->n_windows > 0 && rows[tag] >= l3clf_tag_thresholds[tag];
    }
}
#else
#ifdef L3CLF_BACKGROUND
/* From here on, probabilities are given that the sound is not background. */
static void leave_out_background(l3clf_decision *decision, float *rows)
{
    float known = 0.0F;
    for (int32_t c = 0; c < L3CLF_N_CLASSES; c++) {
        known += rows[c];
    }
    if (known > 0.0F) {
        for (int32_t c = 0; c < L3CLF_N_CLASSES; c++) {
            rows[c] /= known;
        }
        decision->probability /= known;
    }
}
#endif

#ifdef L3CLF_CLASS_THRESHOLDS
#define THRESHOLD(class_id) l3clf_class_thresholds[class_id]
#else
#define THRESHOLD(class_id) L3CLF_UNKNOWN_THRESHOLD
#endif

/* Selects the most probable class (the first among equals), or "unknown" below the threshold. */
L3CLF_SMALL void l3clf_decide(l3clf_decision *decision, float *rows)
{
    decision->class_id = L3CLF_UNKNOWN;
    decision->probability = 0.0F;
    decision->probabilities = rows;
    for (int32_t c = 0; c < L3CLF_N_CLASSES; c++) {
        if (rows[c] > decision->probability) {
            decision->probability = rows[c];
            decision->class_id = c;
        }
    }
    decision->unknown_score = 1.0F - decision->probability;
    if (decision->class_id != L3CLF_UNKNOWN && decision->probability < THRESHOLD(decision->class_id)) {
        decision->class_id = L3CLF_UNKNOWN;
    }
#ifdef L3CLF_BACKGROUND
    leave_out_background(decision, rows);
#endif
}
#endif

/* --- the last decision ---------------------------------------------------------------------------- */

/* Memory accesses keep their order here, for a reader in an interrupt or on another core. */
#ifdef __GNUC__
#define FENCE() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#else
#define FENCE() (void)0 /* the counter is volatile, which keeps the order on one core */
#endif

/* Makes a decision the last one. It is written beside the one before, so that a reader that interrupts finds that. */
L3CLF_SMALL static void publish(l3clf_state *s, const l3clf_decision *decision)
{
    const uint32_t next = s->n_published + 1U;
    l3clf_decision *copy = &s->published[next % 2U];
    *copy = *decision;
    copy->probabilities = NULL;
    FENCE();
    s->n_published = next;
    FENCE();
}

L3CLF_SMALL int l3clf_last(const l3clf_state *s, l3clf_decision *decision)
{
    uint32_t n;
    if (s == NULL || decision == NULL) {
        return L3CLF_ERROR_NULL;
    }
    if (s->mark != MARK) {
        return L3CLF_ERROR_INIT;
    }
    do { /* again if another one was made meanwhile, because the copy may be half of the one after it */
        n = s->n_published;
        FENCE();
        *decision = s->published[n % 2U];
        FENCE();
    } while (n != s->n_published);
    return decision->window > 0;
}

L3CLF_SMALL static void decide(l3clf_state *s)
{
    float *rows = answer_memory(s);
    l3clf_decision decision = {0};
    decision.n_windows = n_counted(s);
    decision.window = s->n_windows;
    memset(rows, 0, L3CLF_N_ROWS * sizeof *rows);
    if (decision.n_windows > 0) {
        pool(s, decision.n_windows, rows);
    }
    l3clf_decide(&decision, rows);
    publish(s, &decision);
    if (s->callback) {
        s->busy = IN_CALLBACK;
        s->callback(s->user, &decision);
        s->busy = WORKING;
    }
}

/* --- work ----------------------------------------------------------------------------------------- */

enum { NOTHING, NETWORK, DECISION }; /* l3clf_state.work */

/* Computes a piece of the window that ended last; returns the number of decisions. */
L3CLF_SMALL static int advance(l3clf_state *s, int32_t budget)
{
    if (s->work == NETWORK) {
        s->work = l3clf_network_step(s->arena, &s->progress, budget) ? DECISION : NETWORK;
        return 0;
    }
    if (s->above_gate[s->next_slot]) {
        keep_window(s, s->pool + s->next_slot * L3CLF_POOLED_SIZE);
    }
    s->next_slot = (s->next_slot + 1) % (L3CLF_POOL_WINDOWS);
    s->n_windows++;
    s->work = NOTHING;
    decide(s); /* at last, because its callback may reset the state */
    return 1;
}

static int finish(l3clf_state *s)
{
    int decisions = 0;
    while (s->work != NOTHING) {
        decisions += advance(s, INT32_MAX);
    }
    return decisions;
}

/* The energy of the window that ends is the difference of two running sums. */
#ifdef L3CLF_OPEN_WINDOWS
static uint64_t window_energy(l3clf_state *s)
{
    const uint64_t energy = s->energy - s->starts[s->first_start];
    s->first_start = (s->first_start + 1) % L3CLF_OPEN_WINDOWS;
    s->n_starts--;
    return energy;
}
#endif

L3CLF_SMALL static void end_window(l3clf_state *s)
{
    int above_gate = 1, audible = 1;
#ifdef L3CLF_OPEN_WINDOWS
    const uint64_t energy = window_energy(s);
#endif
#ifdef L3CLF_GATE_CLOSE_ENERGY
    above_gate = s->gate_open = energy >= (s->gate_open ? L3CLF_GATE_CLOSE_ENERGY : L3CLF_GATE_ENERGY);
#elif defined L3CLF_GATE_ENERGY
    above_gate = energy >= L3CLF_GATE_ENERGY;
#endif
#ifdef L3CLF_SILENT_ENERGY
    audible = energy >= L3CLF_SILENT_ENERGY;
#endif
    s->above_gate[s->next_slot] = (uint8_t)above_gate;
    s->audible[s->next_slot] = (uint8_t)audible;
    s->until_end = L3CLF_WINDOW_HOP;
    s->work = DECISION;
    if (above_gate) { /* otherwise the network has nothing to do */
        bring_frames(s);
        memset(&s->progress, 0, sizeof s->progress);
        s->work = NETWORK;
    }
}

/* --- samples -------------------------------------------------------------------------------------- */

L3CLF_SMALL static void start_window(l3clf_state *s)
{
#ifdef L3CLF_OPEN_WINDOWS
    s->starts[(s->first_start + s->n_starts) % L3CLF_OPEN_WINDOWS] = s->energy;
    s->n_starts++;
#endif
    s->until_start = L3CLF_WINDOW_HOP;
}

static void end_frame(l3clf_state *s)
{
    void *work = (int8_t *)s->arena + L3CLF_FRAME_OFFSET; /* the network's tensors are elsewhere */
    l3clf_frame(s->pcm, s->frames + s->next_frame * L3CLF_N_MELS, work);
    s->next_frame = (s->next_frame + 1) % L3CLF_N_FRAMES;
    s->n_pcm = L3CLF_FRAME - L3CLF_FRAME_HOP;
    memmove(s->pcm, s->pcm + L3CLF_FRAME_HOP, (size_t)s->n_pcm * sizeof *s->pcm);
}

static void take(l3clf_state *s, const int16_t *samples, int32_t n)
{
    memcpy(s->pcm + s->n_pcm, samples, (size_t)n * sizeof *samples);
    s->n_pcm += n;
    s->until_start -= n;
    s->until_end -= n;
#ifdef L3CLF_OPEN_WINDOWS
    int64_t energy = 0; /* signed, because a core with DSP instructions then needs one for each sample */
    for (int32_t i = 0; i < n; i++) {
        energy += l3clf_square(samples[i]);
    }
    s->energy += (uint64_t)energy;
#endif
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Takes samples. A window that ends is computed at once, or left to l3clf_step. */
L3CLF_SMALL static int hear(l3clf_state *s, const int16_t *samples, size_t n, int at_once)
{
    int decisions = at_once ? finish(s) : 0;
    while (n > 0) {
        if (s->until_start == 0) {
            start_window(s);
        }
        const int32_t next = least(least(L3CLF_FRAME - s->n_pcm, s->until_start), s->until_end);
        const int32_t some = n < (size_t)next ? (int32_t)n : next;
        take(s, samples, some);
        samples += some;
        n -= (size_t)some;
        if (s->n_pcm == L3CLF_FRAME) {
            end_frame(s);
        }
        if (s->until_end == 0 && s->work != NOTHING) {
            s->n_late++;
            decisions += finish(s);
        }
        if (s->until_end == 0) { /* unless the callback has reset the state */
            end_window(s);
            decisions += at_once ? finish(s) : 0;
        }
    }
    return decisions;
}

/* --- calls ---------------------------------------------------------------------------------------- */

static int refusal(const l3clf_state *s)
{
    return s == NULL ? L3CLF_ERROR_NULL : s->mark != MARK ? L3CLF_ERROR_INIT : 0;
}

/* Begins a call that works, unless there is a reason to refuse it, which is returned. */
static int begin(l3clf_state *s)
{
    const int error = refusal(s);
    if (error != 0 || s->busy != IDLE) {
        return error != 0 ? error : L3CLF_ERROR_BUSY;
    }
    s->busy = WORKING;
    return 0;
}

static int receive(l3clf_state *s, const int16_t *samples, size_t n, int at_once)
{
    const int error = samples == NULL && n > 0 ? L3CLF_ERROR_NULL : begin(s);
    if (error != 0) {
        return error;
    }
    const int decisions = hear(s, samples, n, at_once);
    s->busy = IDLE;
    return decisions;
}

int l3clf_push(l3clf_state *s, const int16_t *samples, size_t n)
{
    return receive(s, samples, n, 1);
}

int l3clf_feed(l3clf_state *s, const int16_t *samples, size_t n)
{
    return receive(s, samples, n, 0);
}

L3CLF_SMALL int l3clf_step(l3clf_state *s, int32_t budget)
{
    const int error = begin(s);
    if (error != 0) {
        return error;
    }
    const int decisions = s->work == NOTHING ? 0 : advance(s, budget < 0 ? 0 : budget);
    s->busy = IDLE;
    return decisions;
}

int l3clf_pending(const l3clf_state *s)
{
    const int error = refusal(s);
    return error != 0 ? error : s->work != NOTHING;
}

/* --- states --------------------------------------------------------------------------------------- */

size_t l3clf_arena_bytes(void)
{
    return L3CLF_ARENA_BYTES;
}

/* Forgets the stream; the last decision is that about no window. */
L3CLF_SMALL static void start(l3clf_state *s)
{
    l3clf_decision none = {0};
    const size_t stream = offsetof(l3clf_state, n_pcm);
    memset((uint8_t *)s + stream, 0, sizeof *s - stream);
    s->until_end = L3CLF_WINDOW;
#ifndef L3CLF_TAGS
    none.class_id = L3CLF_UNKNOWN;
    none.unknown_score = 1.0F;
#endif
    publish(s, &none);
}

int l3clf_reset(l3clf_state *s)
{
    const int error = refusal(s);
    if (error != 0 || s->busy == WORKING) {
        return error != 0 ? error : L3CLF_ERROR_BUSY;
    }
    start(s);
    return 0;
}

L3CLF_SMALL int l3clf_init_sized(l3clf_state *s, size_t state_bytes, uint32_t pool_windows, void *arena, size_t arena_bytes,
                     l3clf_callback callback, void *user)
{
    if (s == NULL || arena == NULL) {
        return L3CLF_ERROR_NULL;
    }
    if (state_bytes != sizeof *s || pool_windows != L3CLF_POOL_WINDOWS) {
        return L3CLF_ERROR_STATE;
    }
    if (arena_bytes < L3CLF_ARENA_BYTES || (uintptr_t)arena % 8 != 0) {
        return L3CLF_ERROR_ARENA;
    }
    s->busy = IDLE;
    s->arena = arena;
    s->callback = callback;
    s->user = user;
    s->n_published = 0;
    start(s);
    s->mark = MARK;
    return 0;
}
