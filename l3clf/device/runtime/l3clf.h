/* Sound in, class out.

       static l3clf_state state;
       static uint8_t arena[L3CLF_ARENA_BYTES] __attribute__((aligned(8)));

       l3clf_init(&state, arena, sizeof arena, on_decision, NULL);
       for (;;) l3clf_push(&state, samples, n);   // any number of samples, 16 bits, L3CLF_SAMPLE_RATE

   No memory is allocated and nothing is static: as many streams as there is memory for can run side by side.
   A window is computed inside the call of l3clf_push that brings its last sample. */
#ifndef L3CLF_H
#define L3CLF_H

#include <stddef.h>
#include <stdint.h>

#include "l3clf_model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define L3CLF_UNKNOWN (-1)

typedef struct {
    int32_t class_id;  /* index into l3clf_class_names, or L3CLF_UNKNOWN */
    float probability; /* of the most probable class; 0 where nothing was heard */
    uint32_t n_windows; /* heard windows that the answer rests on, of the last L3CLF_POOL_WINDOWS */
    uint32_t window;    /* how many windows have ended since l3clf_init or l3clf_reset, this one included */
    const float *probabilities; /* of all classes; lies in the arena, valid during the callback */
} l3clf_decision;

typedef void (*l3clf_callback)(void *user, const l3clf_decision *decision);

typedef struct {
    void *arena;
    l3clf_callback callback;
    void *user;
    int32_t n_pcm;        /* samples of the next frame that have come */
    int32_t until_start;  /* samples until the next window begins */
    int32_t until_end;    /* samples until the next window ends */
    int32_t next_frame;   /* place of the next frame, which is that of the oldest */
    int32_t next_slot;    /* place of the next window in the pool */
    uint32_t n_windows;
    int32_t class_id;     /* of the last decision, for those who poll */
    float probability;
#ifdef L3CLF_GATE_ENERGY
    uint64_t energy; /* sum of all squares so far; differences are right even after it has gone round */
    uint64_t starts[L3CLF_OPEN_WINDOWS];
    int32_t first_start, n_starts;
#endif
    int16_t pcm[L3CLF_FRAME];
    int8_t frames[L3CLF_N_FRAMES * L3CLF_N_MELS];
    uint8_t heard[L3CLF_POOL_WINDOWS];
    l3clf_pooled pool[L3CLF_POOL_WINDOWS * L3CLF_POOLED_SIZE];
} l3clf_state;

/* Bytes that an arena needs; L3CLF_ARENA_BYTES says the same. */
size_t l3clf_arena_bytes(void);

/* Makes a state ready. Returns 0, or -1 where the arena is too small or not aligned to 8 bytes.
   Several states may share one arena if they are never pushed to at the same time. */
int l3clf_init(l3clf_state *state, void *arena, size_t arena_bytes, l3clf_callback callback, void *user);

/* Forgets all that was heard; the next sample is the first. */
void l3clf_reset(l3clf_state *state);

/* Takes samples and returns the number of decisions made: one for each window that ended. The callback may be NULL;
   class_id and probability of the last decision stay in the state. */
int l3clf_push(l3clf_state *state, const int16_t *samples, size_t n);

#ifdef __cplusplus
}
#endif
#endif
