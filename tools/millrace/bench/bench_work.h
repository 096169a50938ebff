/* SPDX-License-Identifier: Apache-2.0
 *
 * A run of `bench produce` for somebody else: this process has a part of a load, and tells what it
 * measures over a file, by the messages of bench_share.h. All parts have one schedule, and this one
 * sends every count-th arrival of it, beginning with the index-th: together they are the load that
 * was asked for. The number of records is divided, and so are the bytes.
 *
 *   ready   it is connected to the brokers
 *   go      (to it) at_ns: when all begin, on this machine's clock
 */
#pragma once

#include "tools/millrace/bench/bench.h"
#include "tools/millrace/bench/bench_share.h"

#define WORK_PROTOCOL    1
#define WORK_PARTS_MAX   64U
#define WORK_OPTIONS_MAX 64U
#define WORK_VALUE_MAX   4096U            /* of an option */
#define WORK_READY_NS    (90 * NS_PER_S)  /* from the plan to the last one that is ready */
#define WORK_WAIT_NS     (120 * NS_PER_S) /* who is ready waits so long for the others */
#define WORK_AHEAD_NS    (10 * NS_PER_S)  /* a begin is not further away */

struct work {
    int file;
    uint32_t index, count;
    struct message_reader from;
    struct share_line line;
};

/* An option that who asks for a load may give, and a part of it obeys. */
enum work_option { WORK_NONE, WORK_SWITCH, WORK_VALUE };
enum work_option work_option(const char *name);

/* From now on this process works for who reads `file`. */
void work_begin(int file, uint32_t index, uint32_t count);
/* NULL: it works for nobody else. */
struct work *work_mine(void);

/* Its part of what was asked for. */
void work_divide(const struct work *work, struct bench_options *o);
/* Says that it is ready and waits for the common begin; EXIT_OK, or said. */
int work_wait(struct work *work, struct bench *b);
/* Tells what came of it, unless code says that nothing did; the exit code. */
int work_report(struct work *work, const struct bench *b, int code);
