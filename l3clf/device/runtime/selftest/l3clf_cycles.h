/* Counts cycles on the target, with the counter of Arm's DWT unit: Cortex-M3, M4, M7, M33 and later have it. */
#ifndef L3CLF_CYCLES_H
#define L3CLF_CYCLES_H

#include <stdint.h>

/* Cycles, of which a counter of 32 bits has 4,294,967,296. */
typedef struct {
    uint32_t frame;   /* the longest of some frames */
    uint32_t slice;   /* the longest step of the network with a budget of 100000 */
    uint32_t network; /* all of the network */
    uint32_t head;
} l3clf_cycles;

/* Measures what takes the time, with interrupts as they are. Returns 0, or -1 if the core has no such counter or it does
   not count, as on most emulators. */
int l3clf_measure_cycles(l3clf_cycles *cycles);

#endif
