/* SPDX-License-Identifier: Apache-2.0
 *
 * Was the load generator itself the limit? Each second of a run is looked at: a second is bad when
 * records left later than they should have although nothing of the broker held them back, when the
 * generator's thread ran or waited for a core nearly all the time, or waited half of it (a quota of
 * its cgroup, too, is a wait), or when the machine was given to others. A run with more bad seconds
 * than a tenth is INVALID: its figures would tell of the generator.
 */
#pragma once

#include "io/base.h"

#define VERDICT_LAG_NS 1000000U /* 1 % of a second's records left this late: bad */
#define VERDICT_CPU    0.95     /* of a second that it ran or waited for a core: bad */
#define VERDICT_WAIT   0.50     /* of a second that it waited for one: bad */
#define VERDICT_STEAL  0.10     /* of the machine */
#define VERDICT_SHARE  0.10     /* of the seconds may be bad */

/* What is known of one second of a run. Times in nanoseconds. */
struct bench_second {
    double seconds; /* how long it was; the last one may be shorter */
    uint64_t records, bytes, requests, errors;
    uint64_t arrived, arrived_bytes; /* at consumers */
    uint64_t held;                   /* records that the in-flight cap held back */
    uint64_t in_flight;              /* requests, at its end */
    uint64_t response_p50, response_p99, response_p999, response_max;
    double response_mean;
    uint64_t delay_p99, lag_p99;
    uint64_t e2e_p50, e2e_p99, e2e_max;
    double own_cpu;     /* that the generator's thread worked, as a share of a core */
    double own_wait;    /* how long it could have run and had no core, as a share of the second */
    double machine_cpu; /* all that ran, as a share of the machine */
    double steal;       /* what the hypervisor gave to others, as a share of the machine */
};

enum second_fault { FAULT_LAG = 1, FAULT_CPU = 2, FAULT_STEAL = 4 };

struct verdict {
    uint32_t seconds;
    uint32_t lag, cpu, steal; /* bad ones of them, by what was bad */
    uint32_t bad;             /* any of it */
    bool valid;
    const char *who; /* which agent; NULL: there is one generator alone */
};

/* A set of second_fault. */
unsigned second_faults(const struct bench_second *second);
struct verdict verdict_of(const struct bench_second *seconds, uint32_t count);
/* The reasons as a sentence; "" when valid. Returns text. */
#define VERDICT_TEXT_SIZE 640
const char *verdict_text(const struct verdict *verdict, char text[VERDICT_TEXT_SIZE]);
