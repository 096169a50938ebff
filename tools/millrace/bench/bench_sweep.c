/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_sweep.h"

static enum sweep_outcome try_rate(sweep_run_fn *run, void *argument, double rate, bool confirms)
{
    enum sweep_outcome outcome = run(argument, rate);
    if (outcome == SWEEP_HELD || outcome == SWEEP_ENDED || !confirms)
        return outcome;
    return run(argument, rate);
}

static void knee_take(struct knee *knee, double rate, enum sweep_outcome outcome)
{
    if (outcome == SWEEP_ENDED) {
        knee->ended = true;
    } else if (knee->missed > 0 && rate > knee->missed) {
        return; /* with `all`: the knee is below, whatever holds up here */
    } else if (outcome == SWEEP_HELD) {
        knee->held = rate;
        knee->invalid = 0; /* it was lower */
    } else if (outcome == SWEEP_MISSED) {
        knee->missed = rate;
    } else if (knee->invalid <= 0) {
        knee->invalid = rate;
    }
}

/* Between what held and what did not; 0: nothing is. */
static double middle(const struct rates *rates, const struct knee *knee)
{
    if (knee->held <= 0 || knee->missed <= 0 || knee->invalid > 0 || knee->ended)
        return 0;
    const double rate = rate_rounded(rates->by_factor ? sqrt(knee->held * knee->missed)
                                                      : (knee->held + knee->missed) / 2);
    return rate > knee->held && rate < knee->missed ? rate : 0;
}

struct knee sweep_search(const struct sweep_plan *plan, sweep_run_fn *run, void *argument)
{
    struct knee knee = {0};
    for (uint32_t i = 0; i < plan->rates->count && !knee.ended; i++) {
        if (!plan->all && (knee.missed > 0 || knee.invalid > 0))
            break;
        const double rate = plan->rates->rates[i];
        knee_take(&knee, rate, try_rate(run, argument, rate, knee.missed <= 0));
    }
    for (int64_t step = 0; step < plan->refine; step++) {
        const double rate = middle(plan->rates, &knee);
        if (rate <= 0)
            break;
        knee_take(&knee, rate, try_rate(run, argument, rate, true));
    }
    return knee;
}
