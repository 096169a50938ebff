/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands that look at a running broker.
 */
#include "tools/millrace/commands/commands.h"

/* Where both look. */
#define LOOKS_OPTIONS                                                                              \
    {0,                                                                                            \
     "admin",                                                                                      \
     "HOST:PORT",                                                                                  \
     NULL,                                                                                         \
     "the broker's admin listener (default: $MILLRACE_ADMIN, else the key admin of the profile, "  \
     "else 127.0.0.1:9644)",                                                                       \
     NULL},                                                                                        \
        PROFILE_OPTION

static const struct command_option status_options[] = {
    LOOKS_OPTIONS,
    {0, "interval", "MS", NULL, "over how long rates are measured (default: 500)", NULL},
};

static const struct command_option top_options[] = {
    LOOKS_OPTIONS,
    {0, "interval", "MS", NULL, "how long an interval is (default: 1000)", NULL},
    {'n', "count", "N", NULL, "end after so many intervals", NULL},
    {0, "once", NULL, NULL, "after one", NULL},
};

static const struct command live_rows[] = {
    {
        .name = "status",
        .summary = "a running broker on one screen",
        .about = "What a running broker does: its cores, its requests, its memory and its disk, "
                 "from its admin listener. json and ndjson print every live counter. Ends with 10 "
                 "when the broker does not serve, or a core does not answer.",
        .examples = "millrace status\n"
                    "millrace status --admin 127.0.0.1:9645 --interval 5000 --format wide\n"
                    "millrace status --profile prod\n"
                    "millrace status --format json | jq '.cores[].core_busy_seconds_total'",
        COUNT(status_options),
        .listing = true,
        .run = cmd_status,
    },
    {
        .name = "top",
        .summary = "what a running broker does, interval by interval",
        .about =
            "What each core did in the last interval, and where the time of requests went: a "
            "page that is drawn again on a terminal (q quits), pages one after another elsewhere "
            "or with -n, and with ndjson an object an interval. BUSY is the part of the interval "
            "in which the core did not sleep, LONGEST-TURN how long its longest round was at the "
            "most, COMMIT-P99 what a write to its journal took. A request is counted from the "
            "turn that found its last byte to the one that found its answer with the socket; MEAN "
            "is what that took, and the columns behind it add up to it: QUEUE, it waits for its "
            "turn behind others; WORK, its handler and the way to other cores; JOURNAL, its batch "
            "waits to be on the disk; REPLICATION, for the other replicas; PARK, a fetch waits for "
            "records, a join for members; THROTTLE, its connection rests because of a quota; "
            "SEND, its answer waits for those before it and for the socket. What a client sees "
            "beyond that is the network, the kernel and itself: millrace bench ping measures "
            "those.",
        .examples = "millrace top\n"
                    "millrace top --once\n"
                    "millrace top --interval 5000 --format wide\n"
                    "millrace top --format ndjson | jq '.requests[0].steps.journal'",
        COUNT(top_options),
        .listing = true,
        .run = cmd_top,
    },
};
const struct command_list live_commands = {live_rows, array_count(live_rows)};
