/* What `l3clf verify` compiles with an export, for the host and for an emulated chip: static memory, and a record of
   every decision and, with L3CLF_TRACE, of every tensor. */
#include "l3clf.h"

#include <string.h>

#include "l3clf_events.h"
#include "l3clf_frontend.h"

#define MAX_DECISIONS 256
#define MAX_TRACE 4000000
#define MAX_EVENTS 16384

int harness_start(void);
int harness_reset(void);
int harness_push(const int16_t *samples, uint32_t n);
int harness_feed(const int16_t *samples, uint32_t n);
int harness_step(int32_t budget, uint32_t n);
int harness_n_late(void);
void harness_frame(const int16_t *samples, int8_t *levels, void *work);
void harness_fill_pool(void);
void harness_network(void);
void harness_head(const float *x, float *rows);
void harness_decide(float *rows);
int harness_follow(const l3clf_event_rules *rules);

typedef struct {
#ifdef L3CLF_TAGS
    uint32_t n_windows, window;
    float probabilities[L3CLF_N_TAGS];
    uint8_t tags[L3CLF_N_TAGS];
#else
    int32_t class_id;
    float probability, unknown_score;
    uint32_t n_windows, window;
    float probabilities[L3CLF_N_CLASSES];
#endif
} harness_decision;

l3clf_state harness_state;
uint8_t harness_arena[L3CLF_ARENA_BYTES] __attribute__((aligned(8)));
harness_decision harness_decisions[MAX_DECISIONS];
int32_t harness_n_decisions;
const int32_t harness_state_bytes = sizeof(l3clf_state), harness_decision_bytes = sizeof(harness_decision);

#ifdef L3CLF_TAGS
const char *const *const harness_names = l3clf_tag_names;
#else
const char *const *const harness_names = l3clf_class_names;
#endif

static void record(void *user, const l3clf_decision *decision)
{
    (void)user;
    if (harness_n_decisions < MAX_DECISIONS) {
        harness_decision *to = &harness_decisions[harness_n_decisions++];
#ifdef L3CLF_TAGS
        memcpy(to->tags, decision->tags, sizeof to->tags);
#else
        to->class_id = decision->class_id;
        to->probability = decision->probability;
        to->unknown_score = decision->unknown_score;
#endif
        to->n_windows = decision->n_windows;
        to->window = decision->window;
        memcpy(to->probabilities, decision->probabilities, sizeof to->probabilities);
    }
}

#ifdef L3CLF_TRACE
void l3clf_trace(int32_t tensor, const int8_t *values, int32_t size);

int8_t harness_trace[MAX_TRACE];
int32_t harness_n_trace; /* -1 after an overflow */
const int32_t harness_max_trace = MAX_TRACE;

void l3clf_trace(int32_t tensor, const int8_t *values, int32_t size)
{
    (void)tensor;
    if (harness_n_trace >= 0 && size <= MAX_TRACE - harness_n_trace) {
        memcpy(harness_trace + harness_n_trace, values, (size_t)size);
        harness_n_trace += size;
    } else {
        harness_n_trace = -1;
    }
}
#endif

/* --- events: with L3CLF_TRACE only, so that measured builds hold what an application without them has ------- */

#ifdef L3CLF_TRACE
typedef struct {
    uint64_t start_ms, end_ms;
    int32_t label, begins;
    float score;
    uint32_t first, last, unused;
} harness_event;

harness_event harness_events[MAX_EVENTS];
int32_t harness_n_events;
const int32_t harness_tracker_bytes = sizeof(l3clf_events);

static void record_event(void *user, const l3clf_event *event)
{
    (void)user;
    if (harness_n_events < MAX_EVENTS) {
        harness_event *to = &harness_events[harness_n_events++];
#ifdef L3CLF_TAGS
        to->label = event->tag;
#else
        to->label = event->class_id;
#endif
        to->begins = event->begins;
        to->score = event->score;
        to->first = event->first;
        to->last = event->last;
        to->start_ms = event->start_ms;
        to->end_ms = event->end_ms;
    }
}

/* Makes events of all decisions that are recorded, by rules or by those of the model; returns how many, or an error. */
int harness_follow(const l3clf_event_rules *rules)
{
    static l3clf_events events;
    int told = 0, made = l3clf_events_init(&events, rules, record_event, NULL);
    harness_n_events = 0;
    for (int32_t i = 0; i < harness_n_decisions && made >= 0; i++) {
        const harness_decision *from = &harness_decisions[i];
        l3clf_decision decision = {0};
#ifndef L3CLF_TAGS
        decision.class_id = from->class_id;
        decision.probability = from->probability;
        decision.unknown_score = from->unknown_score;
#endif
        decision.n_windows = from->n_windows;
        decision.window = from->window;
        decision.probabilities = from->probabilities;
        made = l3clf_events_feed(&events, &decision);
        told += made;
    }
    if (made >= 0) {
        made = l3clf_events_end(&events);
        told += made;
    }
    return made < 0 ? made : told;
}
#endif

int harness_start(void)
{
    harness_n_decisions = 0;
#ifdef L3CLF_TRACE
    harness_n_trace = 0;
#endif
    return l3clf_init(&harness_state, harness_arena, sizeof harness_arena, record, NULL);
}

int harness_reset(void)
{
    return l3clf_reset(&harness_state);
}

int harness_push(const int16_t *samples, uint32_t n)
{
    return l3clf_push(&harness_state, samples, n);
}

int harness_feed(const int16_t *samples, uint32_t n)
{
    return l3clf_feed(&harness_state, samples, n);
}

/* At most `n` steps; returns 1 while there are more. */
int harness_step(int32_t budget, uint32_t n)
{
    while (n-- > 0 && l3clf_pending(&harness_state) == 1) {
        l3clf_step(&harness_state, budget);
    }
    return l3clf_pending(&harness_state);
}

int harness_n_late(void)
{
    return (int)harness_state.n_late;
}

void harness_frame(const int16_t *samples, int8_t *levels, void *work)
{
    l3clf_frame(samples, levels, work);
}

/* As if all windows of the pool were above the gate. */
void harness_fill_pool(void)
{
    memset(harness_state.above_gate, 1, sizeof harness_state.above_gate);
    memset(harness_state.audible, 1, sizeof harness_state.audible);
    memset(harness_state.pool, 1, sizeof harness_state.pool);
}

void harness_network(void)
{
    l3clf_network((int8_t *)harness_arena);
}

void harness_head(const float *x, float *rows)
{
    l3clf_head(x, rows);
}

/* Decides from `rows`, and records it. */
void harness_decide(float *rows)
{
    l3clf_decision decision = {0};
    decision.n_windows = 1;
    l3clf_decide(&decision, rows);
    harness_n_decisions = 0;
    record(NULL, &decision);
}
