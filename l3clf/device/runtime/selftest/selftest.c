/* Compares this build with the golden values of the export. On the target, compile this file with the library and call
   l3clf_selftest(). It returns 0 if all checks pass, otherwise the number of the first check that fails; main.c has
   their names. */
#include <string.h>

#include "l3clf.h"
#include "l3clf_events.h"
#include "l3clf_frontend.h"
#include "l3clf_golden.h"

int l3clf_selftest(void);

static l3clf_state state;
static union {
    uint8_t bytes[L3CLF_ARENA_BYTES];
    uint64_t alignment;
} arena;

#ifdef L3CLF_FLOAT_FRONTEND
/* One level in a thousand may be one step off, because floating point may round differently on another machine. */
#define DIFFERENT_LEVELS (L3CLF_N_FRAMES * L3CLF_N_MELS / 1000)
#else
#define DIFFERENT_LEVELS 0
#endif

static int levels_agree(void)
{
    int8_t levels[L3CLF_N_MELS];
    int32_t differ = 0;
    for (int32_t frame = 0; frame < L3CLF_N_FRAMES; frame++) {
        l3clf_frame(l3clf_golden_pcm + frame * L3CLF_FRAME_HOP, levels, (void *)arena.bytes);
        for (int32_t i = 0; i < L3CLF_N_MELS; i++) {
            const int32_t step = levels[i] - l3clf_golden_levels[frame * L3CLF_N_MELS + i];
            if (step < -1 || step > 1) {
                return 0;
            }
            differ += step != 0;
        }
    }
    return differ <= DIFFERENT_LEVELS;
}

/* The network computes in integers, so that its output must be equal. */
static int embedding_agrees(void)
{
    memcpy(arena.bytes + L3CLF_INPUT_OFFSET, l3clf_golden_levels, sizeof l3clf_golden_levels);
    l3clf_network((int8_t *)arena.bytes);
    return memcmp(arena.bytes + L3CLF_OUTPUT_OFFSET, l3clf_golden_embedding, sizeof l3clf_golden_embedding) == 0;
}

/* Probabilities may round differently on another machine. */
static int is_near(float found, float golden)
{
    return found - golden > -1e-4F && found - golden < 1e-4F;
}

static int head_agrees(void)
{
    static float vector[L3CLF_EMBEDDING], rows[L3CLF_N_ROWS];
    for (int32_t i = 0; i < L3CLF_EMBEDDING; i++) {
        vector[i] = (float)(l3clf_golden_embedding[i] - L3CLF_OUTPUT_ZERO_POINT) * L3CLF_OUTPUT_SCALE;
    }
    l3clf_head(vector, rows);
    for (int32_t c = 0; c < L3CLF_N_ROWS; c++) {
        if (!is_near(rows[c], l3clf_golden_probabilities[c])) {
            return 0;
        }
    }
    return 1;
}

#ifdef L3CLF_TAGS
/* A tag whose probability is that of its threshold but for rounding may be on or off. */
static void check_tags(void *user, const l3clf_decision *decision)
{
    int *wrong = user;
    for (int32_t tag = 0; tag < L3CLF_N_TAGS; tag++) {
        const float golden = l3clf_golden_probabilities[tag];
        if (decision->n_windows > 0 && !is_near(decision->probabilities[tag], golden)) {
            *wrong = 1;
        }
        if (!is_near(golden, l3clf_tag_thresholds[tag]) && decision->tags[tag] != l3clf_golden_tags[tag]) {
            *wrong = 1;
        }
    }
}

static int decision_agrees(void)
{
    int wrong = 0;
    if (l3clf_init(&state, &arena, sizeof arena, check_tags, &wrong) != 0) {
        return 0;
    }
    return l3clf_push(&state, l3clf_golden_pcm, L3CLF_WINDOW) == 1 && !wrong;
}
#else
static int decision_agrees(void)
{
    if (l3clf_init(&state, &arena, sizeof arena, NULL, NULL) != 0) {
        return 0;
    }
    const int decisions = l3clf_push(&state, l3clf_golden_pcm, L3CLF_WINDOW);
    l3clf_decision last;
    return l3clf_last(&state, &last) == decisions && decisions == 1 && last.class_id == l3clf_golden_class &&
           is_near(last.unknown_score, l3clf_golden_unknown_score);
}
#endif

static int silence_agrees(void)
{
    static const int16_t zero = 0;
    if (l3clf_init(&state, &arena, sizeof arena, NULL, NULL) != 0) {
        return 0;
    }
    for (int32_t i = 0; i < L3CLF_WINDOW; i++) {
        l3clf_push(&state, &zero, 1);
    }
    l3clf_decision last;
    if (l3clf_last(&state, &last) != 1 || last.window != 1) {
        return 0;
    }
#ifdef L3CLF_TAGS
    return memcmp(last.tags, l3clf_golden_silence_tags, sizeof last.tags) == 0;
#else
    return last.class_id == l3clf_golden_silence_class;
#endif
}

/* In slices, while samples come in, decisions are those of l3clf_push. */
static int slices_agree(void)
{
    static l3clf_decision whole, sliced;
    if (l3clf_init(&state, &arena, sizeof arena, NULL, NULL) != 0 ||
        l3clf_push(&state, l3clf_golden_pcm, L3CLF_WINDOW) != 1 || l3clf_last(&state, &whole) != 1) {
        return 0;
    }
    if (l3clf_reset(&state) != 0 || l3clf_feed(&state, l3clf_golden_pcm, L3CLF_WINDOW) != 0) {
        return 0;
    }
    for (int32_t place = 0; l3clf_pending(&state) == 1; place++) {
        if (place < L3CLF_WINDOW_HOP - 1 && l3clf_feed(&state, l3clf_golden_pcm + place % L3CLF_WINDOW, 1) != 0) {
            return 0;
        }
        if (l3clf_step(&state, L3CLF_NETWORK_WORK / 100) < 0) {
            return 0;
        }
    }
    if (l3clf_last(&state, &sliced) != 1 || sliced.window != 1 || sliced.n_windows != whole.n_windows) {
        return 0;
    }
#ifdef L3CLF_TAGS
    return memcmp(whole.tags, sliced.tags, sizeof whole.tags) == 0;
#else
    return sliced.class_id == whole.class_id && memcmp(&sliced.probability, &whole.probability, sizeof(float)) == 0;
#endif
}

/* --- events: made-up decisions become the same ones as in Python, to the last bit -------------------- */

enum { N_GOLDEN_EVENTS = sizeof l3clf_golden_event_scores / sizeof *l3clf_golden_event_scores };

static void check_event(void *user, const l3clf_event *event)
{
    int32_t *n = user;
    if (*n >= 0 && *n < N_GOLDEN_EVENTS) {
        const int32_t *golden = l3clf_golden_events + 4 * *n;
#ifdef L3CLF_TAGS
        const int32_t label = event->tag;
#else
        const int32_t label = event->class_id;
#endif
        const int same = label == golden[0] && event->begins == golden[1] && event->first == (uint32_t)golden[2] &&
                         event->last == (uint32_t)golden[3];
        *n = same && memcmp(&event->score, l3clf_golden_event_scores + *n, sizeof(float)) == 0 ? *n + 1 : -1;
    }
}

static int events_agree(void)
{
    const int32_t n_scores = sizeof l3clf_golden_scores / sizeof *l3clf_golden_scores;
    const uint32_t hop_ms = L3CLF_WINDOW_HOP / (L3CLF_SAMPLE_RATE / 1000);
    const l3clf_event_rules rules = {0.5F, 0.25F, 2 * hop_ms, 2 * hop_ms, 5 * hop_ms};
    static l3clf_events events;
    static float scores[L3CLF_N_LABELS];
    int32_t n = 0, told = 0;
    if (l3clf_events_init(&events, &rules, check_event, &n) != 0) {
        return 0;
    }
    for (int32_t i = 0; i < n_scores; i++) {
        l3clf_decision decision = {0};
        scores[L3CLF_N_LABELS - 1] = l3clf_golden_scores[n_scores - 1 - i];
        scores[0] = l3clf_golden_scores[i];
#ifndef L3CLF_TAGS
        const float last = scores[L3CLF_N_LABELS - 1];
        decision.probability = scores[0] > last ? scores[0] : last;
        decision.unknown_score = 1.0F - decision.probability;
#endif
        decision.n_windows = 1;
        decision.window = (uint32_t)i + 1U;
        decision.probabilities = scores;
        told += l3clf_events_feed(&events, &decision);
    }
    told += l3clf_events_end(&events);
    return n == N_GOLDEN_EVENTS && told == n;
}

int l3clf_selftest(void)
{
    if (!levels_agree()) {
        return 1;
    }
    if (!embedding_agrees()) {
        return 2;
    }
    if (!head_agrees()) {
        return 3;
    }
    if (!decision_agrees()) {
        return 4;
    }
    if (!silence_agrees()) {
        return 5;
    }
    if (!slices_agree()) {
        return 6;
    }
    return events_agree() ? 0 : 7;
}
