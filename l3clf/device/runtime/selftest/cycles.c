/* Measures the cycles of a frame, the network and the head; see l3clf_cycles.h. */
#include "l3clf_cycles.h"

#include <string.h>

#include "l3clf.h"
#include "l3clf_frontend.h"

#define BUDGET 100000
#define FRAMES 8

static union {
    uint8_t bytes[L3CLF_ARENA_BYTES];
    uint64_t alignment;
} arena;

#if defined __ARM_ARCH_7M__ || defined __ARM_ARCH_7EM__ || defined __ARM_ARCH_8M_MAIN__ || \
    defined __ARM_ARCH_8_1M_MAIN__
#define REGISTER(address) (*(volatile uint32_t *)(address))
#define DEMCR REGISTER(0xE000EDFCU)    /* of the debugging units; bit 24 switches DWT on */
#define DWT_CTRL REGISTER(0xE0001000U) /* bit 0 starts the counter; bit 25 says that there is none */
#define DWT_CYCCNT REGISTER(0xE0001004U)
#define DWT_LAR REGISTER(0xE0001FB0U) /* locks the registers of a Cortex-M7; others have none */

static uint32_t now(void)
{
    return DWT_CYCCNT;
}

static int start_counter(void)
{
    DEMCR |= 1U << 24;
    DWT_LAR = 0xC5ACCE55U;
    DWT_CTRL |= 1U;
    const uint32_t before = now();
    for (volatile int wait = 0; wait < 16; wait++) {
    }
    return (DWT_CTRL >> 25 & 1U) == 0 && now() != before;
}
#else
static uint32_t now(void)
{
    return 0;
}

static int start_counter(void)
{
    return 0;
}
#endif

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Noise, of which all numbers are used. */
static int16_t noise(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return (int16_t)((int32_t)(*seed >> 18) - 8192);
}

static void measure_frames(l3clf_cycles *cycles, uint32_t *seed)
{
    static int16_t samples[L3CLF_FRAME];
    static int8_t levels[L3CLF_N_MELS];
    for (int32_t frame = 0; frame < FRAMES; frame++) {
        for (int32_t i = 0; i < L3CLF_FRAME; i++) {
            samples[i] = noise(seed);
        }
        const uint32_t before = now();
        l3clf_frame(samples, levels, arena.bytes + L3CLF_FRAME_OFFSET);
        cycles->frame = larger(cycles->frame, now() - before);
    }
}

static void measure_network(l3clf_cycles *cycles, uint32_t *seed)
{
    int8_t *memory = (int8_t *)arena.bytes;
    l3clf_progress progress = {0, 0};
    int complete = 0;
    for (int32_t i = 0; i < L3CLF_N_FRAMES * L3CLF_N_MELS; i++) {
        memory[L3CLF_INPUT_OFFSET + i] = (int8_t)(noise(seed) / 64);
    }
    while (!complete) {
        const uint32_t before = now();
        complete = l3clf_network_step(memory, &progress, BUDGET);
        const uint32_t spent = now() - before;
        cycles->slice = larger(cycles->slice, spent);
        cycles->network += spent;
    }
}

static void measure_head(l3clf_cycles *cycles)
{
    static float vector[L3CLF_EMBEDDING], rows[L3CLF_N_ROWS];
    const uint32_t before = now();
    l3clf_head(vector, rows);
    cycles->head = now() - before;
}

int l3clf_measure_cycles(l3clf_cycles *cycles)
{
    uint32_t seed = 1;
    memset(cycles, 0, sizeof *cycles);
    if (!start_counter()) {
        return -1;
    }
    measure_frames(cycles, &seed);
    measure_network(cycles, &seed);
    measure_head(cycles);
    return 0;
}
