/* Classifiers: an embedding in, probabilities out. */
#ifndef L3CLF_HEAD_H
#define L3CLF_HEAD_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Logistic regression: softmax(weights (x - mean) + intercept). */
typedef struct {
    int32_t n_classes, n_features;
    const float *mean, *weights, *intercept; /* weights: n_classes x n_features */
} l3clf_linear;

/* A node of a tree; the left child, for x[feature] <= threshold, is the next one. */
typedef struct {
    float threshold;
    uint16_t feature; /* L3CLF_LEAF in leaves */
    uint16_t right;   /* nodes from here to the right child; in leaves the row of `leaves` */
} l3clf_node;

#define L3CLF_LEAF 0xFFFFU

typedef struct {
    int32_t n_classes, n_trees;
    const int32_t *roots; /* number of each tree's first node */
    const l3clf_node *nodes;
    const float *leaves; /* rows of n_classes probabilities */
} l3clf_forest;

void l3clf_linear_probabilities(const l3clf_linear *head, const float *x, float *probabilities);
void l3clf_forest_probabilities(const l3clf_forest *head, const float *x, float *probabilities);

#ifdef __cplusplus
}
#endif
#endif
