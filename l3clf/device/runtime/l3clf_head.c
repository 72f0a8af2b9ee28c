#include "l3clf_head.h"

#include <math.h>

#ifdef L3CLF_TAGS
void l3clf_sigmoid_probabilities(const l3clf_sigmoid *head, const float *x, float *probabilities)
{
    const float *weights = head->weights;
    for (int32_t tag = 0; tag < head->n_tags; tag++) {
        float score = head->intercept[tag];
        for (int32_t i = 0; i < head->n_features; i++) {
            score += *weights++ * x[i];
        }
        probabilities[tag] = 1.0F / (1.0F + expf(-score)); /* 0 where expf overflows to infinity */
    }
}
#else
void l3clf_linear_probabilities(const l3clf_linear *head, const float *x, float *probabilities)
{
    const float *weights = head->weights;
    float largest = -INFINITY, total = 0.0F;
    for (int32_t c = 0; c < head->n_classes; c++) {
        float score = head->intercept[c];
        for (int32_t i = 0; i < head->n_features; i++) {
            score += *weights++ * (x[i] - head->mean[i]);
        }
        probabilities[c] = score;
        largest = score > largest ? score : largest;
    }
    for (int32_t c = 0; c < head->n_classes; c++) {
        probabilities[c] = expf(probabilities[c] - largest);
        total += probabilities[c];
    }
    for (int32_t c = 0; c < head->n_classes; c++) {
        probabilities[c] /= total;
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
