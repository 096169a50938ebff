/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules of replication hold in random runs of the model, and each mutation of them is found.
 * Longer by hand: MODEL_RUNS=1000000 build/release/test-model-commit_set
 */
#include "tests/model/commit_set.h"

#include "io/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct {
    const char *name;
    const char *rule;
} mutations[] = {
#define X(mutation, text) {#mutation, text},
    MODEL_MUTATIONS(X)
#undef X
};

/* From where on the rare ones are found soon. */
static uint64_t seed_of(unsigned mutation)
{
    return mutation == MODEL_UNFENCED_FETCH ? 36 : mutation == MODEL_BROKER_EPOCH_IGNORED ? 2 : 1;
}

static void rules_hold(void **state)
{
    (void)state;
    const char *text = getenv("MODEL_RUNS");
    uint64_t runs = text ? strtoull(text, NULL, 10) : 2000;
    for (uint32_t least = 1; least <= 3; least++) {
        struct model_outcome outcome = model_play(MODEL_NONE, least, 7, runs);
        if (outcome.violated)
            fail_msg("min %u, run %lu: %s", least, (unsigned long)outcome.runs, outcome.why);
        assert_true(outcome.committed > outcome.runs); /* the runs do something */
    }
}

static void mutations_are_found(void **state)
{
    (void)state;
    for (unsigned mutation = MODEL_NONE + 1; mutation < MODEL_MUTATION_COUNT; mutation++) {
        struct model_outcome outcome =
            model_play((enum model_mutation)mutation, 2, seed_of(mutation), 4000);
        if (!outcome.violated)
            fail_msg("%s is not found: %s", mutations[mutation].name, mutations[mutation].rule);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_hold),
        cmocka_unit_test(mutations_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
