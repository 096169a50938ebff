/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_search.h"

#include <math.h>

#define STEP_MIN    0.01
#define STEP_MAX    1.0
#define RATE_MIN    1.0
#define LEAST_SHARE 0.1

void search_begin(struct search *search)
{
    *search = (struct search){.rate = SEARCH_BEGIN, .step = STEP_MAX};
}

double search_next(struct search *search, const struct search_period *period)
{
    const double due = search->rate * period->seconds;
    const bool reading = period->unread > SEARCH_BEHIND;
    const double behind = reading ? period->unread : due - period->acked;
    if (behind <= SEARCH_BEHIND) {
        search->step = fmin(2 * search->step, STEP_MAX);
        search->rate *= 1 + search->step;
        return search->rate;
    }
    const double through = reading ? period->read : period->acked;
    search->step = fmax(search->step / 2, STEP_MIN);
    const double wanted = fmax(fmin(through, due - behind), LEAST_SHARE * through);
    search->rate = fmax(wanted / period->seconds, RATE_MIN);
    return search->rate;
}
