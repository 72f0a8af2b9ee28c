/* A microphone for stream.c on a computer: 16-bit samples from standard input, native byte order, one channel. */
#include <stdio.h>
#include <string.h>

#include "l3clf_microphone.h"

static struct {
    l3clf_microphone_sample *ring;
    size_t half;
    int second; /* whether the second half is the next */
} dma;

/* Weak, so that a project that compiles every file of this folder can have a microphone of its own. */
#ifdef __GNUC__
__attribute__((weak))
#endif
int l3clf_microphone_start(l3clf_microphone_sample *ring, size_t n)
{
    dma.ring = ring;
    dma.half = n / 2;
    dma.second = 0;
    return 0;
}

#ifdef __GNUC__
__attribute__((weak))
#endif
int l3clf_microphone_wait(void)
{
    l3clf_microphone_sample *to = dma.ring + (dma.second ? dma.half : 0);
    int16_t sample;
    size_t n = 0;
    memset(to, 0, dma.half * sizeof *to); /* the last half may be filled in part */
    while (n < dma.half && fread(&sample, sizeof sample, 1, stdin) == 1) {
#ifdef L3CLF_MICROPHONE_32
        to[n++] = (int32_t)sample * 65536;
#else
        to[n++] = sample;
#endif
    }
    if (n == 0) {
        return 0;
    }
    dma.second = !dma.second;
    l3clf_microphone_half_full();
    return 1;
}
