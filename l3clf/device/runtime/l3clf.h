/* Classifies a stream of sound.

       static l3clf_state state;
       static uint8_t arena[L3CLF_ARENA_BYTES] __attribute__((aligned(8)));

       l3clf_init(&state, arena, sizeof arena, on_decision, NULL);
       for (;;) l3clf_push(&state, samples, n);   // any number of 16-bit samples at L3CLF_SAMPLE_RATE

   The code allocates no memory and has no global state, so that several streams can run side by side.
   A window is computed in the call of l3clf_push that brings its last sample. */
#ifndef L3CLF_H
#define L3CLF_H

#include <stddef.h>
#include <stdint.h>

#include "l3clf_model.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifdef L3CLF_TAGS
#define L3CLF_N_ROWS L3CLF_N_TAGS /* what the head says: a probability for each tag */

typedef struct {
    uint8_t tags[L3CLF_N_TAGS]; /* 1 for each tag of l3clf_tag_names that is on: as probable as its threshold in
                                   l3clf_tag_thresholds, or more; any number of them, none if n_windows is 0 */
    uint32_t n_windows; /* how many of the last L3CLF_POOL_WINDOWS windows are above the gate; 0 if all are silent */
    uint32_t window;    /* windows since l3clf_init or l3clf_reset, including this one */
    const float *probabilities; /* of each tag on its own; 0 if n_windows is 0; in the arena, valid during the callback
                                   only */
} l3clf_decision;
#else
#define L3CLF_UNKNOWN (-1)

/* What the head knows: the classes, and for some models a background after them. */
#ifdef L3CLF_BACKGROUND
#define L3CLF_N_ROWS (L3CLF_N_CLASSES + 1)
#else
#define L3CLF_N_ROWS L3CLF_N_CLASSES
#endif

typedef struct {
    int32_t class_id;  /* index into l3clf_class_names, or L3CLF_UNKNOWN */
    float probability; /* of the most probable class, given that the sound is of any; 0 if n_windows is 0 */
    float unknown_score; /* 1 less the probability of that class with the background among the classes: what is above
                            1 - threshold is L3CLF_UNKNOWN; 1 if n_windows is 0 */
    uint32_t n_windows; /* how many of the last L3CLF_POOL_WINDOWS windows are above the gate; 0 if all are silent */
    uint32_t window;    /* windows since l3clf_init or l3clf_reset, including this one */
    const float *probabilities; /* like `probability`, of all classes; in the arena, valid during the callback only */
} l3clf_decision;
#endif

typedef void (*l3clf_callback)(void *user, const l3clf_decision *decision);

typedef struct {
    void *arena;
    l3clf_callback callback;
    void *user;
    int32_t n_pcm;        /* samples in `pcm` */
    int32_t until_start;  /* samples until the next window starts */
    int32_t until_end;    /* samples until the next window ends */
    int32_t next_frame;   /* index of the oldest frame, which the next one replaces */
    int32_t next_slot;    /* index of the next window in the pool */
    uint32_t n_windows;
#ifdef L3CLF_TAGS
    uint8_t tags[L3CLF_N_TAGS]; /* of the last decision, to be polled instead of a callback */
#else
    int32_t class_id;     /* of the last decision, to be polled instead of a callback */
    float probability, unknown_score;
#endif
#ifdef L3CLF_OPEN_WINDOWS
    uint64_t energy; /* sum of all squares so far; differences are correct even after it wraps around */
    uint64_t starts[L3CLF_OPEN_WINDOWS]; /* `energy` where each unfinished window started, a ring buffer */
    int32_t first_start, n_starts;
#endif
#ifdef L3CLF_GATE_CLOSE_ENERGY
    int32_t gate_open; /* 1 from a window that opened the gate to the one that closes it */
#endif
    int16_t pcm[L3CLF_FRAME];
    int8_t frames[L3CLF_N_FRAMES * L3CLF_N_MELS];
    uint8_t above_gate[L3CLF_POOL_WINDOWS]; /* 1 if the window is above the gate */
    uint8_t audible[L3CLF_POOL_WINDOWS];    /* 1 if the window is not digital silence, or silence has a class */
    l3clf_pooled pool[L3CLF_POOL_WINDOWS * L3CLF_POOLED_SIZE];
} l3clf_state;

/* Returns L3CLF_ARENA_BYTES, the size that an arena needs. */
size_t l3clf_arena_bytes(void);

/* Initialises a state. Returns 0, or -1 if the arena is too small or not aligned to 8 bytes.
   Several states may share one arena if no two of them are pushed to at the same time. */
int l3clf_init(l3clf_state *state, void *arena, size_t arena_bytes, l3clf_callback callback, void *user);

/* Discards all samples and windows so far; the next sample starts a new stream. */
void l3clf_reset(l3clf_state *state);

#ifdef L3CLF_TAGS
/* Decides from what the head says, L3CLF_N_ROWS probabilities, of `decision->n_windows` windows. l3clf_push calls it. */
#else
/* Decides from what the head says, L3CLF_N_ROWS probabilities, of `decision->n_windows` windows, and turns these into
   those of the classes given that the sound is of any. l3clf_push calls it. */
#endif
void l3clf_decide(l3clf_decision *decision, float *rows);

#ifdef L3CLF_TAGS
/* Processes samples and returns the number of decisions, one for each window that they complete. The callback may be
   NULL; the tags of the last decision stay in the state. */
#else
/* Processes samples and returns the number of decisions, one for each window that they complete. The callback may be
   NULL; class_id, probability and unknown_score of the last decision stay in the state. */
#endif
int l3clf_push(l3clf_state *state, const int16_t *samples, size_t n);

#ifdef __cplusplus
}
#endif
#endif
