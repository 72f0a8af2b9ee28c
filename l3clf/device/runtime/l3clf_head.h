/* Classifiers that compute probabilities from an embedding. */
#ifndef L3CLF_HEAD_H
#define L3CLF_HEAD_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef L3CLF_TAGS
/* A logistic regression for each tag, each on its own: 1 / (1 + exp(-(weights * x + intercept))). */
typedef struct {
    int32_t n_tags, n_features;
    const float *weights, *intercept; /* weights: n_tags x n_features */
} l3clf_sigmoid;

void l3clf_sigmoid_probabilities(const l3clf_sigmoid *head, const float *x, float *probabilities);
#else
/* Logistic regression: softmax(weights * x + intercept). */
typedef struct {
    int32_t n_classes, n_features;
    const float *weights, *intercept; /* weights: n_classes x n_features */
} l3clf_linear;

/* A node of a tree. The left child, for x[feature] <= threshold, is the next node. */
typedef struct {
    float threshold;
    uint16_t feature; /* L3CLF_LEAF for a leaf */
    uint16_t right;   /* distance in nodes to the right child; for a leaf, its row of `leaves` */
} l3clf_node;

#define L3CLF_LEAF 0xFFFFU

typedef struct {
    int32_t n_classes, n_trees;
    const int32_t *roots; /* index of each tree's first node */
    const l3clf_node *nodes;
    const float *leaves; /* rows of n_classes probabilities */
} l3clf_forest;

void l3clf_linear_probabilities(const l3clf_linear *head, const float *x, float *probabilities);
void l3clf_forest_probabilities(const l3clf_forest *head, const float *x, float *probabilities);
#endif

#ifdef __cplusplus
}
#endif
#endif
