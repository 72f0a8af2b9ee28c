/* Computes the network's input from samples: quantised log-mel levels, one frame at a time. */
#ifndef L3CLF_FRONTEND_H
#define L3CLF_FRONTEND_H

#include <stdint.h>

#include "l3clf_model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Constants that the exporter computes from the front-end's specification. */
#ifdef L3CLF_FLOAT_FRONTEND
#define L3CLF_FRAME_WORK_BYTES (L3CLF_FRAME * 6) /* FRAME / 2 complex numbers and FRAME / 2 powers, as floats */

typedef struct {
    uint16_t first_bin, n_bins;
} l3clf_band;

typedef struct {
    const float *window;         /* FRAME values */
    const float *twiddles;       /* exp(-2 pi i k / FRAME) for k < 3/4 FRAME, real and imaginary parts interleaved */
    const uint16_t *order;       /* index of bin k, of FRAME / 2, after the transform */
    const l3clf_band *bands;     /* N_MELS mel bands */
    const float *weights;        /* of all bands, one after the other */
    const float *thresholds;     /* smallest power, as computed here, of each level from -127 to 127; then FLT_MAX */
    int32_t guess_base, guess_factor; /* level = ((bits of the float - base) * factor) >> 32, at most two too low */
} l3clf_frontend;
#else
#define L3CLF_FRAME_WORK_BYTES (L3CLF_FRAME * 4) /* FRAME / 2 complex numbers of 32 bits */

typedef struct {
    const int16_t *window;     /* FRAME values, 1.4 * 2^14 at most */
    const int16_t *twiddles;   /* three of each butterfly, stage by stage; real and imaginary parts, 1 is 2^14 */
    const int16_t *bin_twiddles; /* exp(-2 pi i k / FRAME) for 0 < k < FRAME / 4 */
    const uint8_t *order;      /* index of bin k, of FRAME / 2, after the transform */
    const uint8_t *n_bins;     /* bins below each band's centre and above the one before, and above the last: N_MELS + 1 */
    const uint16_t *weights;   /* of each of these bins in the band above; 2048 less that in the band below */
    const int32_t *logarithms; /* levels of 1 + i/32, 2^16 a step */
    const int32_t *offsets;    /* of each band's level */
    int32_t octave, first_bin; /* levels in an octave; the first of the bins */
} l3clf_frontend;
#endif

extern const l3clf_frontend l3clf_model_frontend;

/* Computes L3CLF_N_MELS levels from L3CLF_FRAME samples. `work` has L3CLF_FRAME_WORK_BYTES, aligned to 4 bytes. */
void l3clf_frame(const int16_t *samples, int8_t *levels, void *work);

#ifdef __cplusplus
}
#endif
#endif
