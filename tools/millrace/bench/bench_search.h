/* SPDX-License-Identifier: Apache-2.0
 *
 * The highest rate that a broker and its consumers follow, found while the load runs, as the
 * OpenMessaging benchmark finds it for producerRate 0. Every few seconds it is looked whether 1,000
 * records or more were due and are not acknowledged, or were acknowledged and are not read. If not,
 * the rate rises, by a step that doubles each time, up to twice the rate; if so, it falls to what
 * went through or to what catches up, and the step is halved, down to a hundredth. Unlike there it
 * does not fall below a tenth of what went through, from where it would be long in coming back.
 */
#pragma once

#include "io/base.h"

#define SEARCH_PERIOD_NS 3000000000U
#define SEARCH_BEGIN     10000.0 /* records per second */
#define SEARCH_BEHIND    1000.0  /* records that may be on their way */

struct search {
    double rate; /* now */
    double step; /* private: the next rise, as a share of the rate */
};

/* What happened in a period at search->rate. */
struct search_period {
    double seconds;
    double acked;  /* records in it */
    double read;   /* by each subscription; as many as acked where there is none */
    double unread; /* acknowledged and not read, at its end */
};

void search_begin(struct search *search);
/* The rate from now on, which is search->rate. */
double search_next(struct search *search, const struct search_period *period);
