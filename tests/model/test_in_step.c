/* SPDX-License-Identifier: Apache-2.0
 *
 * The model and the shipped code, driven by the same events, know the same; and a rule that is
 * broken in one of them makes them part.
 * Longer by hand: MODEL_RUNS=100000 build/release/test-model-in_step
 */
#include "io/sim/sim.h"
#include "tests/model/in_step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND_NS 1000000000ULL

struct play {
    struct model_game game;
    struct model_outcome outcome;
};

/* All of it in one turn of a shard: nothing here waits. */
static void start(struct shard *sh, void *prepared)
{
    struct play *play = prepared;
    struct in_step *s = in_step_new(sh, play->game.insync_min);
    const struct model_witness witness = {.sees = in_step_sees, .user = s};
    play->game.witness = &witness;
    play->outcome = model_play(&play->game);
    in_step_free(s);
}

/* `broken`: of the code, or NULL */
static struct model_outcome play(const struct model_game *game, const char *broken)
{
    struct play play = {.game = *game};
    struct world_options options;
    world_options_calm(&options, 1);
    options.mutation = broken;
    struct world *world = world_new(&options);
    const struct program program = {
        .name = "in_step", .shards = 1, .start = start, .argument = &play};
    assert_non_null(machine_start(world_machine(world, "model"), &program));
    world_run(world, SECOND_NS);
    assert_true(play.outcome.runs > 0);
    world_free(world);
    return play.outcome;
}

static uint64_t runs_of(uint64_t otherwise)
{
    const char *text = getenv("MODEL_RUNS");
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void both_know_the_same(void **state)
{
    (void)state;
    for (int least = 1; least <= MODEL_BROKERS; least++) {
        const struct model_game game = {.insync_min = least, .seed = 3, .runs = runs_of(2000)};
        struct model_outcome outcome = play(&game, NULL);
        if (outcome.violated)
            fail_msg("min %d, run %lu: %s", least, (unsigned long)outcome.runs, outcome.why);
        assert_true(outcome.committed > outcome.runs); /* the runs do something */
    }
}

static void parts(const struct model_game *game, const char *broken, const char *name)
{
    struct model_outcome outcome = play(game, broken);
    if (!outcome.violated)
        fail_msg("%s is not seen", name);
    if (!strstr(outcome.why, "out of step"))
        fail_msg("%s: the model finds what the code should have told: %s", name, outcome.why);
}

static void a_broken_model_is_seen(void **state)
{
    static const char *const names[] = {
#define X(mutation, text) #mutation,
        MODEL_MUTATIONS(X)
#undef X
    };
    (void)state;
    for (unsigned i = MODEL_NONE + 1; i < MODEL_MUTATION_COUNT; i++) {
        const struct model_game game = {
            .mutation = (enum model_mutation)i, .insync_min = 2, .seed = 1, .runs = 20000};
        parts(&game, NULL, names[i]);
    }
}

/* Each rule of the code that this test reaches, with the name of its mistake in tests/sim. */
static const char *const mistakes[] = {
    "controller.anyone_follows_who_resigns",
    "controller.broker_epochs_ignored",
    "controller.dead_member_stays",
    "controller.shrinks_below_min",
    "replica.joins_below_epoch_start",
    "replica.only_proposal_counts",
    "replica.proposal_dropped",
    "replica.proposal_not_counted",
    "replica.refusal_believed",
    "replica.retry_reads_epochs",
    "replica.sent_counts_as_durable",
    "replica.shrunk_before_confirmed",
    "replica.truncates_to_watermark",
};

static void broken_code_is_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        const struct model_game game = {.insync_min = 2, .seed = 1, .runs = 20000};
        parts(&game, mistakes[i], mistakes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_know_the_same),
        cmocka_unit_test(a_broken_model_is_seen),
        cmocka_unit_test(broken_code_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
