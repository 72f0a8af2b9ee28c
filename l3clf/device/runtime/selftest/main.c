/* Runs the self-test on a computer, or on a chip whose printf goes somewhere:

       make test */
#include <stdio.h>

#include "l3clf_cycles.h"

int l3clf_selftest(void);

/* Weak, so that a project that compiles every file of this folder can have a main() of its own. */
#ifdef __GNUC__
__attribute__((weak))
#endif
int main(void)
{
    static const char *const checks[] = {"all checks pass", "levels differ", "the embedding differs",
                                         "the probabilities differ", "the decision differs",
                                         "the decision about silence differs", "slices differ", "events differ"};
    const int failed = l3clf_selftest();
    l3clf_cycles cycles;
    printf("%s\n", checks[failed]);
    if (l3clf_measure_cycles(&cycles) == 0) {
        printf("cycles: frame %lu, network %lu, longest slice %lu, head %lu\n", (unsigned long)cycles.frame,
               (unsigned long)cycles.network, (unsigned long)cycles.slice, (unsigned long)cycles.head);
    }
    return failed;
}
