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
static uint64_t seed_of(enum model_mutation mutation)
{
    return mutation == MODEL_RETRY_READS_EPOCHS ? 4 : 1;
}

static void rules_hold(void **state)
{
    (void)state;
    const char *text = getenv("MODEL_RUNS");
    uint64_t runs = text ? strtoull(text, NULL, 10) : 2000;
    for (int least = 1; least <= MODEL_BROKERS; least++) {
        const struct model_game game = {.insync_min = least, .seed = 7, .runs = runs};
        struct model_outcome outcome = model_play(&game);
        if (outcome.violated)
            fail_msg("min %d, run %lu: %s", least, (unsigned long)outcome.runs, outcome.why);
        assert_true(outcome.committed > outcome.runs); /* the runs do something */
    }
}

static void mutations_are_found(void **state)
{
    (void)state;
    for (unsigned i = MODEL_NONE + 1; i < MODEL_MUTATION_COUNT; i++) {
        enum model_mutation mutation = (enum model_mutation)i;
        const struct model_game game = {
            .mutation = mutation, .insync_min = 2, .seed = seed_of(mutation), .runs = 10000};
        struct model_outcome outcome = model_play(&game);
        if (!outcome.violated)
            fail_msg("%s is not found: %s", mutations[i].name, mutations[i].rule);
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
