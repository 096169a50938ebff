/* SPDX-License-Identifier: Apache-2.0
 *
 * From a workload and a driver of the OpenMessaging benchmark, and what was typed, to a load.
 */
#pragma once

#include "tools/millrace/bench/bench.h"
#include "tools/millrace/bench/bench_workload.h"

struct plan {
    const char *path; /* of the workload */
    struct workload workload;
    struct driver driver;
    int64_t backlog_bytes;
    bool own_topics; /* nobody else's: they go at the end */
    /* private */
    struct yaml_map workload_map, driver_map;
    struct properties topic, common, producer, consumer; /* of the driver */
    uint8_t *payload;
};

/* Fills s->settings and *o as well; EXIT_OK, or said. plan_fini() in either case, when neither of
 * them is used any more. */
int plan_read(struct plan *plan, struct session *s, struct bench_options *o);
void plan_fini(struct plan *plan);

/* What a result says of it. */
json_t *plan_json(const struct plan *plan, const struct bench_options *o);
/* The same for people: a line or two. */
void plan_print(const struct plan *plan, const struct bench_options *o, FILE *to);
