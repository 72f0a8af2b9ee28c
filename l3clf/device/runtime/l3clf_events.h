/* SPDX-License-Identifier: MIT */
/* Makes events of decisions: a sound begins, and ends, instead of a decision for every window.

       static l3clf_events events;

       l3clf_events_init(&events, NULL, on_event, NULL);
       ... and in the callback of l3clf_init:
       l3clf_events_feed(&events, decision);

#ifdef L3CLF_TAGS
   All tags follow the same rules, each on its own. The score of a tag is its probability, 0 if n_windows is 0.
#else
   All classes follow the same rules, each on its own. The score of a class is its probability with the background among
   the classes, 0 if n_windows is 0: "unknown" is no event.
#endif
   A decision stands for the L3CLF_WINDOW_HOP samples about the centre of its last window; since it is pooled over
   L3CLF_POOL_WINDOWS windows, an event comes up to half of these later than its sound. Durations are whole numbers of
   windows. The events are those of EventTracker in l3clf.classifier.event_tracker, on every chip. */
#ifndef L3CLF_EVENTS_H
#define L3CLF_EVENTS_H

#include <stdint.h>

#include "l3clf.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    L3CLF_ERROR_RULES = -6 /* beside those of l3clf.h: a rule is out of its range */
};

#ifdef L3CLF_TAGS
#define L3CLF_N_LABELS L3CLF_N_TAGS
#else
#define L3CLF_N_LABELS L3CLF_N_CLASSES
#endif

typedef struct {
    float enter; /* an event begins with a score of this or more, above 0, up to 1; the threshold of the class or tag
                    counts where it is higher */
    float leave; /* it ends before a score below this, up to `enter`; 0 is half of the score with which it begins */
    uint32_t min_duration_ms; /* it is told of when it has lasted for so long; shorter ones are dropped */
    uint32_t min_gap_ms;      /* it has ended when it was not heard for so long; before, it goes on */
    uint32_t refractory_ms;   /* so long after its end, none of the same class or tag begins */
} l3clf_event_rules;

typedef struct {
#ifdef L3CLF_TAGS
    int32_t tag; /* index into l3clf_tag_names */
#else
    int32_t class_id; /* index into l3clf_class_names */
#endif
    int32_t begins;  /* 1 where it has begun and goes on; 0 where it has ended, and all about it is known */
    float score;     /* the highest so far, 0 to 1 */
    uint32_t first;  /* `window` of the first decision that it was heard in */
    uint32_t last;   /* and of the last one so far */
    uint64_t start_ms, end_ms; /* the same as times, from the first sample after l3clf_init or l3clf_reset, rounded
                                  down */
} l3clf_event;

typedef void (*l3clf_event_callback)(void *user, const l3clf_event *event);

typedef struct {
    uint32_t first, last;
    float score;
    uint8_t on;    /* the score has entered and not left */
    uint8_t open;  /* it was heard, and not yet silent for the shortest gap */
    uint8_t begun; /* it has lasted for the shortest duration, and was told of */
    uint8_t quiet; /* the last one ended so recently that no other begins */
} l3clf_event_track;

/* Its members are for l3clf_events.c alone. */
typedef struct {
    uint32_t mark; /* set by l3clf_events_init */
    l3clf_event_callback callback;
    void *user;
    float enter, leave;
    uint32_t min_duration, min_gap, refractory; /* windows */
    uint32_t window;   /* of the last decision */
    uint8_t has_window; /* whether there was one */
    uint8_t busy;
    l3clf_event_track tracks[L3CLF_N_LABELS];
} l3clf_events;

/* Sets rules to those of the model: the L3CLF_EVENT_ values of l3clf_model.h. Returns 0, or an error. */
int l3clf_event_defaults(l3clf_event_rules *rules);

/* Initialises events. `rules` of NULL are those of the model. The callback is called with every event where it begins,
   and again where it has ended. It must not call functions for the same `events`. Returns 0, or an error. */
int l3clf_events_init(l3clf_events *events, const l3clf_event_rules *rules, l3clf_event_callback callback, void *user);

/* Takes a decision, in the callback of l3clf_init, where `probabilities` is valid. One that is not about the next window,
   as after l3clf_reset, is the first of a new stream: what has begun ends before it. Returns how often the callback was
   called, or an error. */
int l3clf_events_feed(l3clf_events *events, const l3clf_decision *decision);

/* Ends all that has begun, as at the end of a recording; the next decision is the first of a new stream. Returns how
   often the callback was called, or an error. */
int l3clf_events_end(l3clf_events *events);

#ifdef __cplusplus
}
#endif
#endif
