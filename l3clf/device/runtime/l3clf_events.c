/* SPDX-License-Identifier: MIT */
/* Numbers of windows may wrap around: only differences are looked at, and they are looked at in every window. */
#include "l3clf_events.h"

#include <string.h>

#define MARK 0x4C334556U /* of events that were initialised: its bytes say L3EV */

#define SAMPLES_PER_MS (L3CLF_SAMPLE_RATE / 1000)
#define HOP_MS ((uint32_t)(L3CLF_WINDOW_HOP / SAMPLES_PER_MS)) /* a whole number: frames are 10 ms apart */
#define WINDOW_MS ((uint32_t)(L3CLF_WINDOW / SAMPLES_PER_MS))

/* --- scores and times ----------------------------------------------------------------------------- */

#ifdef L3CLF_TAGS
#define THRESHOLD(label) l3clf_tag_thresholds[label]

static float score_of(const l3clf_decision *decision, int32_t label)
{
    return decision->n_windows > 0U ? decision->probabilities[label] : 0.0F;
}
#else
#ifdef L3CLF_CLASS_THRESHOLDS
#define THRESHOLD(label) l3clf_class_thresholds[label]
#else
#define THRESHOLD(label) L3CLF_UNKNOWN_THRESHOLD
#endif

/* The probability of a class with the background among the classes; `probabilities` are those without it. */
static float score_of(const l3clf_decision *decision, int32_t label)
{
    if (decision->n_windows == 0U || !(decision->probability > 0.0F)) {
        return 0.0F;
    }
#ifdef L3CLF_BACKGROUND
    const float known = (1.0F - decision->unknown_score) / decision->probability;
    volatile float score = known * decision->probabilities[label]; /* volatile: rounded once, by every compiler */
    return score;
#else
    return decision->probabilities[label];
#endif
}
#endif

static uint32_t windows_in(uint32_t ms)
{
    return ms / HOP_MS + (ms % HOP_MS > 0U ? 1U : 0U);
}

static void tell(l3clf_events *e, int32_t label, int32_t begins)
{
    const l3clf_event_track *track = &e->tracks[label];
    const uint64_t first = track->first - 1U, last = track->last - 1U; /* the first window is 1 */
    const uint64_t twice = 2U * first * HOP_MS + WINDOW_MS;            /* twice the centre of the first window */
    l3clf_event event;
    if (e->callback == NULL) {
        return;
    }
#ifdef L3CLF_TAGS
    event.tag = label;
#else
    event.class_id = label;
#endif
    event.begins = begins;
    event.score = track->score;
    event.first = track->first;
    event.last = track->last;
    event.start_ms = twice > HOP_MS ? (twice - HOP_MS) / 2U : 0U;
    event.end_ms = (2U * last * HOP_MS + WINDOW_MS + HOP_MS) / 2U;
    e->callback(e->user, &event);
}

/* --- one class or tag ------------------------------------------------------------------------------ */

/* Ends what is open; returns the number of events told. */
static int close_track(l3clf_events *e, int32_t label)
{
    l3clf_event_track *track = &e->tracks[label];
    const int told = track->begun;
    if (told) {
        tell(e, label, 0);
    }
    track->quiet = track->begun;
    track->open = 0U;
    track->begun = 0U;
    return told;
}

/* Goes on by a window in which it is heard. */
static int hear(l3clf_events *e, int32_t label, float score)
{
    l3clf_event_track *track = &e->tracks[label];
    if (!track->open) {
        track->open = 1U;
        track->first = e->window;
        track->score = score;
    }
    track->last = e->window;
    track->score = score > track->score ? score : track->score;
    if (track->begun || e->window - track->first < e->min_duration) {
        return 0;
    }
    track->begun = 1U;
    tell(e, label, 1);
    return 1;
}

static int follow(l3clf_events *e, int32_t label, float score)
{
    l3clf_event_track *track = &e->tracks[label];
    const float enter = e->enter > THRESHOLD(label) ? e->enter : THRESHOLD(label);
    const float leave = e->leave > 0.0F ? e->leave : enter * 0.5F;
    const uint32_t since = e->window - track->last; /* windows since it was heard */
    if (track->quiet && since > e->refractory) {
        track->quiet = 0U;
    }
    track->on = !track->quiet && score > 0.0F && (score >= enter || (track->on && score >= leave));
    if (track->on) {
        return hear(e, label, score);
    }
    return track->open && since >= e->min_gap ? close_track(e, label) : 0;
}

/* --- all of them ------------------------------------------------------------------------------------ */

static int end_all(l3clf_events *e)
{
    int told = 0;
    for (int32_t label = 0; label < L3CLF_N_LABELS; label++) {
        told += e->tracks[label].open ? close_track(e, label) : 0;
    }
    memset(e->tracks, 0, sizeof e->tracks);
    e->has_window = 0U;
    return told;
}

static int check(const l3clf_events *e)
{
    if (e == NULL) {
        return L3CLF_ERROR_NULL;
    }
    if (e->mark != MARK) {
        return L3CLF_ERROR_INIT;
    }
    return e->busy ? L3CLF_ERROR_BUSY : 0;
}

int l3clf_event_defaults(l3clf_event_rules *rules)
{
    if (rules == NULL) {
        return L3CLF_ERROR_NULL;
    }
    rules->enter = L3CLF_EVENT_ENTER;
    rules->leave = L3CLF_EVENT_LEAVE;
    rules->min_duration_ms = L3CLF_EVENT_MIN_DURATION_MS;
    rules->min_gap_ms = L3CLF_EVENT_MIN_GAP_MS;
    rules->refractory_ms = L3CLF_EVENT_REFRACTORY_MS;
    return 0;
}

int l3clf_events_init(l3clf_events *e, const l3clf_event_rules *rules, l3clf_event_callback callback, void *user)
{
    l3clf_event_rules used;
    if (e == NULL) {
        return L3CLF_ERROR_NULL;
    }
    (void)l3clf_event_defaults(&used);
    if (rules != NULL) {
        used = *rules;
    }
    /* Not "is outside", which is false of what is no number. */
    if (!(used.enter > 0.0F && used.enter <= 1.0F && used.leave >= 0.0F && used.leave <= used.enter)) {
        return L3CLF_ERROR_RULES;
    }
    memset(e, 0, sizeof *e);
    e->callback = callback;
    e->user = user;
    e->enter = used.enter;
    e->leave = used.leave;
    e->min_duration = windows_in(used.min_duration_ms);
    e->min_duration -= e->min_duration > 0U ? 1U : 0U; /* from the first window to the last: the first one is heard */
    e->min_gap = windows_in(used.min_gap_ms);
    e->refractory = windows_in(used.refractory_ms);
    e->mark = MARK;
    return 0;
}

int l3clf_events_feed(l3clf_events *e, const l3clf_decision *decision)
{
    int told = check(e);
    if (told < 0) {
        return told;
    }
    if (decision == NULL || decision->probabilities == NULL) {
        return L3CLF_ERROR_NULL;
    }
    e->busy = 1U;
    if (e->has_window && decision->window != e->window + 1U) {
        told += end_all(e);
    }
    e->has_window = 1U;
    e->window = decision->window;
    for (int32_t label = 0; label < L3CLF_N_LABELS; label++) {
        told += follow(e, label, score_of(decision, label));
    }
    e->busy = 0U;
    return told;
}

int l3clf_events_end(l3clf_events *e)
{
    int told = check(e);
    if (told < 0) {
        return told;
    }
    e->busy = 1U;
    told = end_all(e);
    e->busy = 0U;
    return told;
}
