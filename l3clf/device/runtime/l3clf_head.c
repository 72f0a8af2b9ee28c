/* Every operation has one result: no compiler may join a product and a sum, which rounds once instead of twice, and
   the exponential is not that of a C library. So probabilities are the same on every chip. */
#include "l3clf_head.h"

#include <string.h>

#include "l3clf_dsp.h"

#ifdef __FAST_MATH__
#error "l3clf_head.c needs floating point as it is written; compile it without -ffast-math"
#endif

/* Leaves a compiler no way to join the operation before with one after it: pragmas do not bind all compilers. */
#if defined __GNUC__ && defined __aarch64__
#define ROUNDED(x) __asm__("" : "+w"(x))
#elif defined __GNUC__ && defined __arm__ && defined __VFP_FP__ && !defined __SOFTFP__
#define ROUNDED(x) __asm__("" : "+t"(x))
#elif defined __GNUC__ && defined __SSE__
#define ROUNDED(x) __asm__("" : "+x"(x))
#elif defined __GNUC__ && defined __riscv_flen
#define ROUNDED(x) __asm__("" : "+f"(x))
#elif defined __GNUC__ && (defined __arm__ || defined __riscv)
#define ROUNDED(x) __asm__("" : "+r"(x))
#endif

static inline float product(float a, float b)
{
#ifdef ROUNDED
    float rounded = a * b;
    ROUNDED(rounded);
#else
    volatile float rounded = a * b;
#endif
    return rounded;
}

#ifdef L3CLF_TAGS
#define MAX_EXPONENT 80.0F /* more is a probability of less than 1e-34 */
#endif
#define MIN_EXPONENT (-80.0F)

/* e to the power of x within two units of the last place; 0 below MIN_EXPONENT and for what is no number. */
L3CLF_SMALL L3CLF_SMALL static float exponential(float x)
{
    if (!(x > MIN_EXPONENT)) {
        return 0.0F;
    }
#ifdef L3CLF_TAGS
    x = x < MAX_EXPONENT ? x : MAX_EXPONENT;
#endif
    /* e^x = 2^k e^r, and r is at most half of ln 2, whose first part has few bits, so that k times it is exact. */
    const int32_t k = (int32_t)(product(x, 1.44269504F) + (x < 0.0F ? -0.5F : 0.5F));
    const float r = (x - product((float)k, 0.693359375F)) + product((float)k, 2.12194440e-4F);
    float sum = 1.0F / 5040.0F; /* Taylor's series; its next term is below 6e-9 */
    sum = product(sum, r) + 1.0F / 720.0F;
    sum = product(sum, r) + 1.0F / 120.0F;
    sum = product(sum, r) + 1.0F / 24.0F;
    sum = product(sum, r) + 1.0F / 6.0F;
    sum = product(sum, r) + 0.5F;
    sum = product(sum, r) + 1.0F;
    sum = product(sum, r) + 1.0F;
    const int32_t bits = (k + 127) * (1 << 23);
    float power;
    memcpy(&power, &bits, sizeof power);
    return product(sum, power);
}

#ifdef L3CLF_TAGS
L3CLF_SMALL void l3clf_sigmoid_probabilities(const l3clf_sigmoid *head, const float *x, float *probabilities)
{
    const float *weights = head->weights;
    for (int32_t tag = 0; tag < head->n_tags; tag++) {
        float score = head->intercept[tag];
        for (int32_t i = 0; i < head->n_features; i++) {
            score += product(*weights++, x[i]);
        }
        probabilities[tag] = 1.0F / (1.0F + exponential(-score));
    }
}
#else
L3CLF_SMALL void l3clf_linear_probabilities(const l3clf_linear *head, const float *x, float *probabilities)
{
    const float *weights = head->weights;
    float largest = 0.0F, total = 0.0F;
    int32_t best = 0;
    for (int32_t c = 0; c < head->n_classes; c++) {
        float score = head->intercept[c];
        for (int32_t i = 0; i < head->n_features; i++) {
            score += product(*weights++, x[i]);
        }
        probabilities[c] = score;
        if (c == 0 || score > largest) {
            largest = score;
            best = c;
        }
    }
    for (int32_t c = 0; c < head->n_classes; c++) {
        probabilities[c] = exponential(probabilities[c] - largest);
        total += probabilities[c];
    }
    for (int32_t c = 0; c < head->n_classes; c++) {
        probabilities[c] /= total;
    }
    /* Scores decide, not probabilities, which may have become equal: l3clf_decide takes the first of the largest. */
    for (int32_t c = 0; c < best; c++) {
        if (probabilities[c] == probabilities[best]) {
            int32_t bits;
            memcpy(&bits, probabilities + c, sizeof bits);
            bits -= bits > 0; /* the float just below */
            memcpy(probabilities + c, &bits, sizeof bits);
        }
    }
}

void l3clf_forest_probabilities(const l3clf_forest *head, const float *x, float *probabilities)
{
    for (int32_t c = 0; c < head->n_classes; c++) {
        probabilities[c] = 0.0F;
    }
    for (int32_t tree = 0; tree < head->n_trees; tree++) {
        const l3clf_node *node = head->nodes + head->roots[tree];
        while (node->feature != L3CLF_LEAF) {
            node += x[node->feature] <= node->threshold ? 1 : node->right;
        }
        const float *leaf = head->leaves + (int32_t)node->right * head->n_classes;
        for (int32_t c = 0; c < head->n_classes; c++) {
            probabilities[c] += leaf[c];
        }
    }
    for (int32_t c = 0; c < head->n_classes; c++) {
        probabilities[c] /= (float)head->n_trees;
    }
}
#endif
