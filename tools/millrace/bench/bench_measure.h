/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run of `millrace bench` records. Three latencies of each record, and a fourth when it is
 * read back:
 *
 *   response  from when it was due to when it was acknowledged: what a user of the system feels
 *   service   from when it was really sent: what most tools report
 *   delay     from when it was due to when it was sent; response = service + delay
 *   e2e       from when it was due to when a consumer had it
 *
 * A record counts when it was due in the measured time, however late its acknowledgement; rates
 * count what was acknowledged within that time. Memory: the histograms, and a few hundred bytes per
 * second of the run.
 */
#pragma once

#include "io/histogram.h"
#include "tools/millrace/bench/bench_verdict.h"

#define MEASURE_CODES  256                 /* Kafka's error codes from -1 on, and two of our own: */
#define MEASURE_LOST   (MEASURE_CODES - 1) /* no answer */
#define MEASURE_UNSENT (MEASURE_CODES - 2) /* due, and never sent */

struct measure {
    uint64_t began_ns; /* the measured time; 0: not yet */
    uint64_t ends_ns;  /* UINT64_MAX until it is over */
    struct histogram *response, *service, *delay, *e2e;
    uint64_t records, bytes;           /* due in the measured time and acknowledged */
    uint64_t rate_records, rate_bytes; /* acknowledged within it */
    uint64_t rate_requests;
    uint64_t arrived, arrived_bytes; /* at consumers within it */
    uint64_t failed;                 /* records, due in it */
    uint64_t held;                   /* records that the in-flight cap held back */
    uint64_t sent, acked, lost;      /* records of the whole run, the warm-up included */
    uint64_t reconnects;
    uint64_t codes[MEASURE_CODES]; /* failed requests of the whole run */

    struct bench_second *seconds;
    uint32_t second_count, second_room;
    struct bench_second now; /* the one that is under way */
    struct histogram *now_response, *now_delay, *now_lag, *now_e2e;
    uint64_t now_began_ns;
    double own_cpu_s, own_wait_s, machine_s, steal_s; /* at its begin */
    /* How long the generator has only looked for answers: a core that spins is not busy. NULL: it
     * sleeps. */
    const uint64_t *spun_ns;
    double own_spun_s; /* at its begin */
    /* Told of a second that is over while its histograms are there; NULL: nobody is. */
    void (*on_second)(struct measure *m, void *user);
    void *user;
};

/* An acknowledgement. `count` records were due at due_ns, should have left at planned_ns (later
 * than due_ns when a linger or the in-flight cap held them), did at sent_ns, are acknowledged now.
 */
struct acked {
    uint64_t due_ns, planned_ns, sent_ns, now_ns;
    uint64_t count, bytes;
};

void measure_init(struct measure *m, bool e2e);
void measure_fini(struct measure *m);
void measure_reset(struct measure *m); /* as it was after measure_init() */
void measure_begin(struct measure *m, uint64_t now_ns);
void measure_end(struct measure *m, uint64_t now_ns);
void measure_acked(struct measure *m, const struct acked *acked);
/* One answered request with its batch: counts; measure_acked() tells of the records. */
void measure_request(struct measure *m, uint64_t now_ns);
/* code: Kafka's, or one of ours. What failed has no latency: it is counted, never averaged away. */
void measure_failed(struct measure *m, uint64_t due_ns, int code, uint64_t records);
void measure_arrived(struct measure *m, uint64_t due_ns, uint64_t now_ns, uint64_t bytes);
/* An answer to a Fetch: counts in service, as nothing is intended of it. */
void measure_fetched(struct measure *m, uint64_t asked_ns, uint64_t now_ns);
/* Records at a consumer that tell no time. */
void measure_read(struct measure *m, uint64_t now_ns, uint64_t records, uint64_t bytes);
/* Closes the second when it is over: true, and it is the last of seconds[]. */
bool measure_tick(struct measure *m, uint64_t now_ns, uint64_t in_flight);
/* When the second that is under way is over; UINT64_MAX: none is. */
uint64_t measure_second_end_ns(const struct measure *m);
/* The second that is under way, with its counts and histograms, becomes the last of seconds[], and
 * the next one has nothing yet. */
void measure_second_keep(struct measure *m);
double measure_seconds(const struct measure *m);

/* For people. */
static inline double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

/* Processor time that a process has used, and what it holds resident: 0 when it is not there. */
double process_cpu_s(int64_t pid);
int64_t process_resident_bytes(int64_t pid);
