/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the time of a request goes, from the turn that found its last byte to the one that found
 * its answer handed to the socket. Each event says what the time since the event before it was
 * spent on, so every instant belongs to one step and the steps add up to the total.
 *
 * Clocks: an event is stamped with the clock that its step of the turn began with (shard_step_ns),
 * which costs nothing; only around a handler the clock is read, as often as for fairness before.
 * So what a handler costs is its own work and the next request's queue, and what else a turn does
 * for a request belongs to the wait that follows. What comes first on another shard, whose clock
 * may be a step behind, has taken no time.
 */
#pragma once

#include "io/durations.h"

/* In the order in which a request comes to them. */
#define REQUEST_STEPS(X)                                                                           \
    X(THROTTLE, "throttle", "its connection rests because of a quota")                             \
    X(QUEUE, "queue", "it waits for its turn")                                                     \
    X(WORK, "work", "its handler, the way to other cores and back, and all that is not named")     \
    X(JOURNAL, "journal", "its batch waits to be as safe as was promised")                         \
    X(REPLICATION, "replication", "its batch is durable here, and waits for the commit set")       \
    X(PARK, "park", "it waits for something to happen: records, members of a group")               \
    X(SEND, "send", "its answer waits for those before it, and for the socket")

enum request_step {
#define X(id, name, meaning) STEP_##id,
    REQUEST_STEPS(X)
#undef X
        REQUEST_STEP_COUNT
};

/* Requests that are told apart. */
#define REQUEST_FAMILIES(X)                                                                        \
    X(OTHER, "other")                                                                              \
    X(PRODUCE, "produce")                                                                          \
    X(FETCH, "fetch")                                                                              \
    X(FOLLOWER_FETCH, "follower_fetch")

enum request_family {
#define X(id, name) FAMILY_##id,
    REQUEST_FAMILIES(X)
#undef X
        REQUEST_FAMILY_COUNT
};

extern const char *const request_step_names[REQUEST_STEP_COUNT];
extern const char *const request_family_names[REQUEST_FAMILY_COUNT];

/* Of one request. */
struct request_time {
    uint64_t until_ns; /* it is known where it was, from its arrival until then */
    uint64_t step_ns[REQUEST_STEP_COUNT];
};

/* What has passed since the last event was spent on `step`. */
static inline void request_time_pass(struct request_time *time, enum request_step step,
                                     uint64_t now_ns)
{
    if (now_ns <= time->until_ns)
        return;
    time->step_ns[step] += now_ns - time->until_ns;
    time->until_ns = now_ns;
}

/* Of all requests of a family. A step that took no time is not in its histogram. */
struct request_times {
    struct durations total;
    struct durations steps[REQUEST_STEP_COUNT];
};

void request_times_add(struct request_times *times, const struct request_time *time,
                       uint64_t arrived_ns);
/* Adds one step of all of them to `sum`, those that spent no time on it included. */
void request_times_merge(const struct request_times *times, enum request_step step,
                         struct durations *sum);
