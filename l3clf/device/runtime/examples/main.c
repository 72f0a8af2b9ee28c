/* Example: reads 16-bit samples (one channel, L3CLF_SAMPLE_RATE, native byte order) from standard input and prints
   every decision.

       make && ./l3clf_example < sound.raw */
#include <stdio.h>

#include "l3clf.h"

static l3clf_state state;
static union {
    uint8_t bytes[L3CLF_ARENA_BYTES];
    uint64_t alignment;
} arena;

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
    printf(" (%lu windows)\n", (unsigned long)decision->n_windows);
}
#else
static void on_decision(void *user, const l3clf_decision *decision)
{
    (void)user;
    const char *name = decision->class_id == L3CLF_UNKNOWN ? "unknown" : l3clf_class_names[decision->class_id];
    printf("window %lu: %s (%.3f, %lu windows)\n", (unsigned long)decision->window, name, (double)decision->probability,
           (unsigned long)decision->n_windows);
}
#endif

/* Weak, so that a project that compiles every file of this folder can have a main() of its own. */
#ifdef __GNUC__
__attribute__((weak))
#endif
int main(void)
{
    int16_t samples[160];
    size_t n;
    const int error = l3clf_init(&state, &arena, sizeof arena, on_decision, NULL);
    if (error != 0) {
        fprintf(stderr, "init: error %d\n", error);
        return 1;
    }
    printf("%s\n", l3clf_version);
    while ((n = fread(samples, sizeof *samples, sizeof samples / sizeof *samples, stdin)) > 0) {
        l3clf_push(&state, samples, n);
    }
    return 0;
}
