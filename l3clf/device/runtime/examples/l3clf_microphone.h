/* What the example stream.c needs of a microphone. Write the two functions for your driver, and leave microphone_file.c
   out.

   STM32 (I2S, SAI or DFSDM with circular DMA): start is HAL_..._Receive_DMA(&handle, ring, n), with the length in the
   unit that the HAL wants, and HAL_..._RxHalfCpltCallback and HAL_..._RxCpltCallback call l3clf_microphone_half_full().
   nRF52 (PDM): give both halves in turn to nrfx_pdm_buffer_set() when its handler asks, and call
   l3clf_microphone_half_full() for each that it releases.
   On chips with a data cache (Cortex-M7), have the ring in memory that is not cached. */
#ifndef L3CLF_MICROPHONE_H
#define L3CLF_MICROPHONE_H

#include <stddef.h>
#include <stdint.h>

/* Define L3CLF_MICROPHONE_32 for an I2S microphone that sends 24 bits, high bits first, in words of 32 bits. PDM
   peripherals and codecs send 16 bits. */
#ifdef L3CLF_MICROPHONE_32
typedef int32_t l3clf_microphone_sample;
#else
typedef int16_t l3clf_microphone_sample;
#endif

/* Starts DMA that fills `ring` again and again, L3CLF_SAMPLE_RATE samples a second of one channel, and calls
   l3clf_microphone_half_full() when the first half of the `n` samples is full, then the second, in turn. Returns 0, or an
   error. */
int l3clf_microphone_start(l3clf_microphone_sample *ring, size_t n);

/* Sleeps until an interrupt: __WFE(), which returns at once if one has come just before; __WFI() would sleep through it.
   Returns 1, or 0 if there will be no more sound, as at the end of a file. */
int l3clf_microphone_wait(void);

/* Of stream.c, to be called from the interrupts. */
void l3clf_microphone_half_full(void);

#endif
