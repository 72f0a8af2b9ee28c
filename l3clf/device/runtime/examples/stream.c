/* Example: a microphone on I2S or PDM, whose DMA fills a ring of two halves, and the network in slices between.

   l3clf_microphone.h has what depends on the hardware. On a computer, microphone_file.c has standard input instead:

       make && ./l3clf_stream < sound.raw */
#include <stdio.h>

#include "l3clf.h"
#include "l3clf_microphone.h"

/* Each half has to last for a slice and a frame: 20 ms is enough for 64 MHz. Longer halves take memory and time to
   answer, no instructions. */
#define HALF (2 * L3CLF_FRAME_HOP)
#define BUDGET 100000 /* multiply-accumulates of a slice */

static l3clf_state state;
static union {
    uint8_t bytes[L3CLF_ARENA_BYTES];
    uint64_t alignment;
} arena;
static l3clf_microphone_sample ring[2 * HALF];
static volatile uint32_t n_full; /* halves that DMA has filled: the interrupt writes it */
static uint32_t n_taken;         /* halves that the model has: the loop writes it */
static uint32_t n_lost;

void l3clf_microphone_half_full(void)
{
    n_full++;
}

#ifdef L3CLF_TAGS
static void on_decision(void *user, const l3clf_decision *decision)
{
    (void)user;
    printf("window %lu:", (unsigned long)decision->window);
    for (int tag = 0; tag < L3CLF_N_TAGS; tag++) {
        if (decision->tags[tag]) {
            printf(" %s (%.3f)", l3clf_tag_names[tag], (double)decision->probabilities[tag]);
        }
    }
    printf("\n");
}
#else
static void on_decision(void *user, const l3clf_decision *decision)
{
    (void)user;
    const char *name = decision->class_id == L3CLF_UNKNOWN ? "unknown" : l3clf_class_names[decision->class_id];
    printf("window %lu: %s (%.3f)\n", (unsigned long)decision->window, name, (double)decision->probability);
}
#endif

/* The samples of a half; of words, their upper 16 bits. */
static const int16_t *samples_of(const l3clf_microphone_sample *half)
{
#ifdef L3CLF_MICROPHONE_32
    static int16_t upper[HALF];
    for (int32_t i = 0; i < HALF; i++) {
        upper[i] = (int16_t)(half[i] >> 16);
    }
    return upper;
#else
    return half;
#endif
}

/* Takes the oldest full half. If DMA has filled the other one meanwhile, it may have written to this one. */
static void take_half(void)
{
    l3clf_feed(&state, samples_of(ring + n_taken % 2U * HALF), HALF);
    const uint32_t since = n_full - n_taken;
    n_lost += since > 1U;
    n_taken += since > 1U ? since : 1U;
}

/* Weak, so that a project that compiles every file of this folder can have a main() of its own. */
#ifdef __GNUC__
__attribute__((weak))
#endif
int main(void)
{
    int error = l3clf_init(&state, &arena, sizeof arena, on_decision, NULL);
    if (error == 0) {
        error = l3clf_microphone_start(ring, 2 * HALF);
    }
    if (error != 0) {
        printf("error %d\n", error);
        return 1;
    }
    for (;;) {
        if (n_full != n_taken) {
            take_half();
        } else if (l3clf_pending(&state) == 1) {
            l3clf_step(&state, BUDGET);
        } else if (!l3clf_microphone_wait()) {
            break;
        }
    }
    printf("%lu windows late, %lu halves lost\n", (unsigned long)state.n_late, (unsigned long)n_lost);
    return 0;
}
