/* Runs the self-test on a computer:

       make test */
#include <stdio.h>

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
    printf("%s\n", checks[failed]);
    return failed;
}
