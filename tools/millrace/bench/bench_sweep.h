/* SPDX-License-Identifier: Apache-2.0
 *
 * Where does a broker bend? Rates are tried from the lowest on until one does not hold, and the gap
 * below that one is halved a few times. The knee is the highest rate that held.
 *
 * What does not hold is tried once more, and the second run decides: one stall that belongs to
 * nobody's load ends no search. A rate at which the generator was the limit says nothing of the
 * broker, so what comes of such a search is only a lower bound.
 */
#pragma once

#include "tools/millrace/bench/bench_schedule.h"

enum sweep_outcome {
    SWEEP_HELD,
    SWEEP_MISSED,
    SWEEP_INVALID, /* the generator was the limit */
    SWEEP_ENDED,   /* no result, and there will be no further one */
};

/* One run at this rate. */
typedef enum sweep_outcome sweep_run_fn(void *argument, double rate);

struct sweep_plan {
    const struct rates *rates;
    int64_t refine; /* how often the gap is halved */
    bool all;       /* to the last rate, whatever does not hold */
};

struct knee {
    double held;    /* the highest below `missed` that held; 0: none */
    double missed;  /* the lowest that did not; 0: none */
    double invalid; /* between them, one that says nothing; 0: none */
    bool ended;     /* the search is not complete */
};

struct knee sweep_search(const struct sweep_plan *plan, sweep_run_fn *run, void *argument);
