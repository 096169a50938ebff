/* SPDX-License-Identifier: Apache-2.0
 *
 * When records fall due in an open loop. The schedule is fixed by its rate, its shape and a seed
 * before anything is sent, and asks nothing of the broker: that is what keeps a stall from hiding
 * the records that should have been sent meanwhile (coordinated omission).
 *
 *   constant          evenly
 *   poisson           independently of each other, as many clients together do
 *   burst:ON/OFF      at the rate for ON, nothing for OFF, again and again
 *   step:RATE,...     the rate, then each of these, for equal parts of the time
 *   ramp:RATE         from the rate to this one, evenly
 *
 * Steps and ramps begin when the warm-up is over; until then the rate is the first one.
 */
#pragma once

#include "io/base.h"

#include <math.h>

#define SCHEDULE_STEPS_MAX 32U

struct schedule_part {
    double until_ns;
    double from, to; /* arrivals per ns at its begin and its end */
};

/* Private but for the head's knowledge. */
struct schedule {
    struct schedule_part parts[SCHEDULE_STEPS_MAX + 2];
    uint32_t part_count;
    uint32_t part; /* where it is */
    bool poisson;
    double on_ns, off_ns; /* burst: off_ns > 0 */
    double at_ns;
    uint64_t random;
};

/* arrival: as above. rate: arrivals per second. NULL, or what is wrong with `arrival`. */
const char *schedule_init(struct schedule *schedule, const char *arrival, double rate,
                          uint64_t warm_ns, uint64_t measured_ns, uint64_t seed) warn_unused;
/* From at_ns on, counted from the begin, evenly at this rate; what was due before is left out. */
void schedule_change(struct schedule *schedule, uint64_t at_ns, double rate);
/* The next arrival, counted from the begin; never less than the one before. */
uint64_t schedule_next_ns(struct schedule *schedule);

/* "10k", "2.5M": a rate. False when it is none. */
bool rate_parse(const char *text, size_t len, double *rate);
/* Rates that are tried one after the other, as people write them: FROM..TO:xFACTOR, FROM..TO:+STEP
 * (FROM and TO are among them), or RATE,RATE,... Each is higher than the one before. */
#define RATES_MAX 256U
struct rates {
    double rates[RATES_MAX];
    uint32_t count;
    bool
        by_factor; /* what is between two of them is their geometric mean, not the arithmetic one */
};
/* NULL, or what is wrong with it. */
const char *rates_parse(struct rates *rates, const char *text) warn_unused;
/* What is computed becomes whole records, where that is exact enough. */
static inline double rate_rounded(double rate)
{
    return rate < 100 ? rate : round(rate);
}

/* "500ms", "30s", "5m", "1h", seconds without a unit. False when it is none. */
bool duration_parse(const char *text, size_t len, uint64_t *ns);
/* "1k", "16KiB", "1MiB", "1000": bytes; k and K are 1,024. False when it is none. */
bool size_parse(const char *text, int64_t *bytes);

/* xorshift64*: dice for load, the same for the same seed. */
uint64_t dice_next(uint64_t *state);
double dice_unit(uint64_t *state); /* in (0, 1) */
/* Bytes that nobody finds easy; len is a multiple of 8. */
void dice_fill(uint64_t *state, uint8_t *bytes, size_t len);
