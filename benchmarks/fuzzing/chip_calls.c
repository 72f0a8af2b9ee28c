/* Runs scripts of calls against an export, which is compiled with this file under sanitizers.

   A script comes as its length (4 bytes, little-endian) and its bytes. Its samples go into one stream by any of its
   functions, with chunks, budgets and resets as the script says, and into another by one push: both must decide alike.
   Each script is answered with a line: "right" and the numbers of decisions and of late windows, or what is wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "l3clf.h"
#include "l3clf_events.h"

#define MAX_DECISIONS 4096
#define MAX_SAMPLES (L3CLF_WINDOW + 64000) /* of a script */
#define MAX_SCRIPT 65536

typedef struct {
    l3clf_decision decision;
    float probabilities[L3CLF_N_ROWS];
} record;

typedef struct {
    l3clf_state *state;
    void *arena;
    record *records;
    int n;
    int resets;  /* whether the callback resets the state */
    int follows; /* whether its decisions become events */
} stream;

static const char *wrong; /* what was found first */

static void require(int condition, const char *what)
{
    if (!condition && !wrong) {
        wrong = what;
    }
}

/* --- events of the first stream --------------------------------------------------------------------- */

static l3clf_events *events;
static int begun[L3CLF_N_LABELS];

static void on_event(void *user, const l3clf_event *event)
{
#ifdef L3CLF_TAGS
    const int32_t label = event->tag;
#else
    const int32_t label = event->class_id;
#endif
    require(user == events && label >= 0 && label < L3CLF_N_LABELS, "an event of nothing");
    require(begun[label] == !event->begins, "an event that ends twice, or begins twice");
    require(event->score > 0.0F && event->score <= 1.0001F, "a score out of range");
    require(event->first <= event->last && event->start_ms < event->end_ms, "an event that ends before it begins");
    require(l3clf_events_end(events) == L3CLF_ERROR_BUSY, "an end from the callback");
    begun[label] = event->begins;
}

static void follow(uint32_t argument)
{
    static const float enter[] = {1e-9F, 0.2F, 0.5F, 0.8F, 1.0F, 0.0F, -1.0F, 2.0F};
    static const uint32_t ms[] = {0, 1, 500, 1000, 2500, 60000, INT32_MAX, UINT32_MAX};
    const float most = enter[argument % 8];
    const l3clf_event_rules rules = {most, argument / 8 % 2 ? most : 0.0F, ms[argument / 16 % 8],
                                     ms[argument / 128 % 8], ms[argument / 1024 % 8]};
    require(l3clf_events_end(events) >= 0, "the end of events");
    const int made = l3clf_events_init(events, &rules, on_event, events);
    require(made == (argument % 8 < 5 ? 0 : L3CLF_ERROR_RULES), "rules");
    for (int i = 0; i < L3CLF_N_LABELS; i++) {
        require(!begun[i], "an event without an end");
    }
}

static void on_decision(void *user, const l3clf_decision *decision)
{
    stream *s = user;
    l3clf_decision last;
    int16_t sample = 0;
    require(s->n < MAX_DECISIONS, "too many decisions");
    s->records[s->n].decision = *decision;
    s->records[s->n].decision.probabilities = NULL;
    for (int i = 0; i < L3CLF_N_ROWS; i++) {
        const float p = decision->probabilities[i];
        require(p >= 0.0F && p <= 1.0001F, "a probability out of range");
        s->records[s->n].probabilities[i] = p;
    }
    s->n++;
    if (s->follows) {
        require(l3clf_events_feed(events, decision) >= 0, "a feed of events");
    }
    require(l3clf_push(s->state, &sample, 1) == L3CLF_ERROR_BUSY, "a push from the callback");
    require(l3clf_feed(s->state, &sample, 1) == L3CLF_ERROR_BUSY, "a feed from the callback");
    require(l3clf_step(s->state, 1) == L3CLF_ERROR_BUSY, "a step from the callback");
    require(l3clf_last(s->state, &last) == 1 && last.window == decision->window, "the last decision in the callback");
    if (s->resets) {
        s->resets = 0;
        require(l3clf_reset(s->state) == 0, "a reset from the callback");
    }
}

static int same(const record *a, const record *b)
{
#ifdef L3CLF_TAGS
    const int decided = memcmp(a->decision.tags, b->decision.tags, sizeof a->decision.tags) == 0;
#else
    const int decided = a->decision.class_id == b->decision.class_id &&
                        memcmp(&a->decision.probability, &b->decision.probability, sizeof(float)) == 0 &&
                        memcmp(&a->decision.unknown_score, &b->decision.unknown_score, sizeof(float)) == 0;
#endif
    return decided && a->decision.n_windows == b->decision.n_windows && a->decision.window == b->decision.window &&
           memcmp(a->probabilities, b->probabilities, sizeof a->probabilities) == 0;
}

/* --- samples -------------------------------------------------------------------------------------- */

static uint32_t random_bits(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

static int16_t sample_of(int kind, uint32_t i, uint32_t *seed)
{
    const uint32_t bits = random_bits(seed);
    switch (kind % 8) {
    case 0:
        return 0;
    case 1:
        return INT16_MIN;
    case 2:
        return INT16_MAX;
    case 3:
        return i % 2 ? INT16_MIN : INT16_MAX;
    case 4:
        return (int16_t)(bits % 65536U - 32768U);
    case 5:
        return (int16_t)((int32_t)(bits % 201U) - 100);
    case 6:
        return (int16_t)(bits % 997U ? 0 : 32767);
    default:
        return (int16_t)(i * 1500U % 65536U - 32768U);
    }
}

/* --- a script ------------------------------------------------------------------------------------- */

static stream one, two; /* by any function; by one push */
static int16_t *heard;  /* since the last reset */
static size_t n_heard, n_all;
static int comparing, decisions, late;

static void start(stream *s)
{
    require(l3clf_init(s->state, s->arena, L3CLF_ARENA_BYTES, on_decision, s) == 0, "init");
    s->n = s->resets = 0;
}

static void finish(int32_t budget)
{
    for (int guard = 0; l3clf_pending(one.state) == 1; guard++) {
        const int before = one.n, made = l3clf_step(one.state, budget);
        require(made == one.n - before, "the number of decisions of a step");
        if (guard > 1000000) {
            require(0, "a window without an end");
            return;
        }
    }
}

/* Pushes into the second stream what the first has heard, and compares; a window of the first may be pending. */
static void compare(void)
{
    const int pending = l3clf_pending(one.state);
    require(pending == 0 || pending == 1, "pending");
    require(l3clf_reset(two.state) == 0, "reset");
    two.n = 0;
    require(l3clf_push(two.state, heard, n_heard) == two.n, "the number of decisions of a push");
    if (comparing) {
        require(two.n == one.n + pending, "another number of decisions");
        for (int i = 0; i < one.n && i < two.n; i++) {
            require(same(&one.records[i], &two.records[i]), "another decision");
        }
    }
    decisions += one.n;
    late += (int)one.state->n_late;
}

static void reset(void)
{
    compare();
    require(l3clf_reset(one.state) == 0, "reset");
    require(l3clf_pending(one.state) == 0, "pending after a reset");
    one.n = one.resets = 0;
    n_heard = 0;
    comparing = 1;
}

static void give(int push, size_t n, int kind, uint32_t *seed)
{
    if (n > MAX_SAMPLES - n_all) {
        n = MAX_SAMPLES - n_all;
    }
    int16_t *exact = malloc(n * sizeof *exact + 1); /* so that a sample too many is found */
    for (size_t i = 0; i < n; i++) {
        exact[i] = sample_of(kind, (uint32_t)(n_all + i), seed);
    }
    memcpy(heard + n_heard, exact, n * sizeof *exact);
    n_heard += n;
    n_all += n;
    const int before = one.n, made = push ? l3clf_push(one.state, exact, n) : l3clf_feed(one.state, exact, n);
    require(made == one.n - before, "the number of decisions of a call");
    require(!push || l3clf_pending(one.state) == 0, "pending after a push");
    free(exact);
}

static void refuse(void)
{
    l3clf_decision last;
    int16_t sample = 1;
    require(l3clf_push(one.state, NULL, 1) == L3CLF_ERROR_NULL, "push NULL");
    require(l3clf_feed(NULL, &sample, 1) == L3CLF_ERROR_NULL, "feed NULL");
    require(l3clf_last(one.state, NULL) == L3CLF_ERROR_NULL, "last NULL");
    require(l3clf_init(one.state, one.arena, L3CLF_ARENA_BYTES - 1, NULL, NULL) == L3CLF_ERROR_ARENA, "a small arena");
    require(l3clf_init_sized(one.state, sizeof(l3clf_state) - 8, L3CLF_POOL_WINDOWS, one.arena, L3CLF_ARENA_BYTES, NULL,
                             NULL) == L3CLF_ERROR_STATE,
            "a small state");
    require(l3clf_last(one.state, &last) == (one.n > 0), "whether there is a decision");
    require(one.n == 0 || last.window == one.records[one.n - 1].decision.window, "the last decision");
}

static void run(const uint8_t *script, size_t n)
{
    static const size_t sizes[] = {0, 1, 2, 7, 159, 160, 161, 511, 512, 513, 1600, 7999, 8000, 15200, 16001, 40000};
    static const int32_t budgets[] = {INT32_MIN, -1, 0, 1, 100, 5000, 20000, 100000, 1000000, INT32_MAX};
    uint32_t seed = 1;
    int kind = 4, armed = 0;
    wrong = NULL;
    start(&one);
    start(&two);
    memset(begun, 0, sizeof begun);
    require(l3clf_events_init(events, NULL, on_event, events) == 0, "init of events");
    n_heard = n_all = 0;
    decisions = late = 0;
    comparing = 1;
    for (size_t at = 0; at + 2 < n && !wrong; at += 3) {
        const uint32_t argument = script[at + 1] + 256U * script[at + 2];
        switch (script[at] % 13) {
        case 0:
        case 1:
        case 2:
            give(0, sizes[argument % 16], kind, &seed);
            break;
        case 3:
            give(1, sizes[argument % 16], kind, &seed);
            break;
        case 4:
            give(argument % 2 == 1, argument % 9000, kind, &seed);
            break;
        case 5:
        case 6:
            for (uint32_t i = 0; i < argument / 16 % 30; i++) {
                const int before = one.n, made = l3clf_step(one.state, budgets[argument % 10]);
                require(made == one.n - before, "the number of decisions of a step");
            }
            break;
        case 7:
            finish(budgets[4 + argument % 6]);
            break;
        case 8:
            kind = (int)argument;
            seed += argument;
            break;
        case 9:
            if (argument % 4 == 0) {
                reset();
            }
            break;
        case 10:
            refuse();
            break;
        case 11:
            follow(argument);
            break;
        default:
            armed = argument % 16 == 0;
            if (armed) { /* from the reset on, nothing is to be compared before the next one */
                one.resets = 1;
                comparing = 0;
            }
        }
        if (!comparing && !one.resets) {
            reset(); /* it has happened: both begin anew */
        }
    }
    if (comparing) {
        finish(INT32_MAX);
    }
    compare();
    follow(2);
}

int main(void)
{
    static uint8_t script[MAX_SCRIPT];
    uint8_t head[4];
    stream *both[2] = {&one, &two};
    for (int i = 0; i < 2; i++) {
        both[i]->state = malloc(sizeof(l3clf_state));
        both[i]->arena = malloc(L3CLF_ARENA_BYTES);
        both[i]->records = malloc(MAX_DECISIONS * sizeof(record));
        memset(both[i]->state, 0xA5, sizeof(l3clf_state));
        memset(both[i]->arena, 0xA5, L3CLF_ARENA_BYTES);
    }
    one.follows = 1;
    events = malloc(sizeof *events);
    memset(events, 0xA5, sizeof *events);
    heard = malloc(MAX_SAMPLES * sizeof *heard);
    while (fread(head, 1, 4, stdin) == 4) {
        const size_t n = head[0] + 256U * head[1];
        if (fread(script, 1, n, stdin) != n) {
            return 1;
        }
        run(script, n);
        if (wrong) {
            printf("wrong: %s\n", wrong);
        } else {
            printf("right %d %d\n", decisions, late);
        }
        fflush(stdout);
    }
    return 0;
}
