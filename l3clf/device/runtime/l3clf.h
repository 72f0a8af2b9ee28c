/* Classifies a stream of sound.

       static l3clf_state state;
       static uint8_t arena[L3CLF_ARENA_BYTES] __attribute__((aligned(8)));

       l3clf_init(&state, arena, sizeof arena, on_decision, NULL);
       for (;;) l3clf_push(&state, samples, n);   // any number of 16-bit samples at L3CLF_SAMPLE_RATE

   l3clf_push computes a window in the call that brings its last sample. The same decisions in slices, so that samples
   wait no longer than a slice takes:

       for (;;) {
           l3clf_feed(&state, samples, n);        // whatever came in meanwhile
           l3clf_step(&state, 100000);            // a piece of the window before, if there is one
       }

   The code allocates no memory and has no global state, so that several streams can run side by side. Of one state, call
   one function at a time, from one thread; only l3clf_last may be called at any time, from an interrupt too. */
#ifndef L3CLF_H
#define L3CLF_H

#include <stddef.h>
#include <stdint.h>

#include "l3clf_model.h"

#if L3CLF_POOL_WINDOWS < 1
#error "L3CLF_POOL_WINDOWS has to be 1 or more"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What the functions return when they refuse to work; nothing has changed then. */
enum {
    L3CLF_ERROR_ARENA = -1, /* the arena is too small, or not aligned to 8 bytes */
    L3CLF_ERROR_NULL = -2,  /* a pointer is NULL */
    L3CLF_ERROR_STATE = -3, /* l3clf.c was compiled with another L3CLF_POOL_WINDOWS, or is of another export */
    L3CLF_ERROR_INIT = -4,  /* the state was not initialised */
    L3CLF_ERROR_BUSY = -5   /* another call for this state has not returned: this one is from its callback, or from an
                               interrupt */
};

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

/* Of its members, only n_late is of use to others; l3clf_last returns the last decision. */
typedef struct {
    uint32_t mark; /* set by l3clf_init */
    volatile int32_t busy;
    void *arena;
    l3clf_callback callback;
    void *user;
    volatile uint32_t n_published;
    l3clf_decision published[2]; /* the last decision is that of n_published % 2; the next one overwrites the other */
    /* What follows is of the stream, and l3clf_reset clears it. */
    int32_t n_pcm;       /* samples in `pcm` */
    int32_t until_start; /* samples until the next window starts */
    int32_t until_end;   /* samples until the next window ends */
    int32_t next_frame;  /* index of the oldest frame, which the next one replaces */
    int32_t next_slot;   /* index of the next window in the pool */
    int32_t work;        /* what is to be done for the window that ended last */
    l3clf_progress progress;
    uint32_t n_windows;
    uint32_t n_late; /* windows that ended before l3clf_step was done with the one before: l3clf_feed had to finish it */
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
    l3clf_pooled pool[(L3CLF_POOL_WINDOWS) * L3CLF_POOLED_SIZE];
} l3clf_state;

/* --- start --------------------------------------------------------------------------------------- */

/* Returns L3CLF_ARENA_BYTES, the size that an arena needs. */
size_t l3clf_arena_bytes(void);

/* Initialises a state, as l3clf_init does, if l3clf.c was compiled with a state of this size. */
int l3clf_init_sized(l3clf_state *state, size_t state_bytes, uint32_t pool_windows, void *arena, size_t arena_bytes,
                     l3clf_callback callback, void *user);

/* Initialises a state. Returns 0, or an error. The callback is called with every decision, or is NULL; it may call
   l3clf_reset and l3clf_last.
   Several states may share one arena while none of them has a window pending (see l3clf_pending), as is so between calls
   of l3clf_push. */
static inline int l3clf_init(l3clf_state *state, void *arena, size_t arena_bytes, l3clf_callback callback, void *user)
{
    return l3clf_init_sized(state, sizeof(l3clf_state), L3CLF_POOL_WINDOWS, arena, arena_bytes, callback, user);
}

/* Discards all samples and windows so far; the next sample starts a new stream. Returns 0, or an error. */
int l3clf_reset(l3clf_state *state);

/* --- samples ------------------------------------------------------------------------------------- */

/* Processes samples and returns the number of decisions, one for each window that they complete, or an error. */
int l3clf_push(l3clf_state *state, const int16_t *samples, size_t n);

/* Takes samples and computes frames, one for every L3CLF_FRAME_HOP samples. A window that ends is left to l3clf_step. If
   the window before is not finished, it is finished first, in this call, and counted in `state->n_late`: the decisions
   are those of l3clf_push in any case. Returns the number of decisions made in the call, 0 if none is late, or an
   error. */
int l3clf_feed(l3clf_state *state, const int16_t *samples, size_t n);

/* Computes a piece of the window that ended last: of its network, as many whole pieces of layers as `budget`
   multiply-accumulates allow, but one at least; or, after the network, its decision. Returns the number of decisions made,
   0 or 1, or an error.
   Additions and pools count as the multiply-accumulates that take as long. A network takes L3CLF_NETWORK_WORK in all; to
   be done before the next window ends, which is L3CLF_WINDOW_HOP samples later, allow for a quarter more calls than
   L3CLF_NETWORK_WORK / budget. In time: `l3clf export` prints the instructions of the longest step with a budget of
   100000; 400000 take 5 ms at 80 MHz and one instruction a cycle. */
int l3clf_step(l3clf_state *state, int32_t budget);

/* Returns 1 if l3clf_step has work to do, 0 if not, or an error. */
int l3clf_pending(const l3clf_state *state);

/* --- decisions ----------------------------------------------------------------------------------- */

/* Copies the last decision, as a whole, whoever calls and whenever: another thread, another core, an interrupt.
   `probabilities` is NULL in it. Returns 1, or 0 if there is no decision yet and the copy is that about no window, or an
   error. */
int l3clf_last(const l3clf_state *state, l3clf_decision *decision);

#ifdef L3CLF_TAGS
/* Decides from what the head says, L3CLF_N_ROWS probabilities, of `decision->n_windows` windows. l3clf_step calls it. */
#else
/* Decides from what the head says, L3CLF_N_ROWS probabilities, of `decision->n_windows` windows, and turns these into
   those of the classes given that the sound is of any. l3clf_step calls it. */
#endif
void l3clf_decide(l3clf_decision *decision, float *rows);

#ifdef __cplusplus
}
#endif
#endif
