/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of `millrace start` share. In order: the settings (start_conf.c), the machine
 * (start_machine.c), then the broker runs (cmd_start.c).
 */
#pragma once

#include "core/broker.h"
#include "core/conf/conf.h"
#include "io/threads.h"
#include "tools/millrace/start/admin.h"

#include <pthread.h>

#define ASSIGNMENTS_MAX 256U
#define LISTEN_TEXT_MAX 512U

struct start {
    struct invocation *inv;
    struct conf conf;
    struct conf_assignment overrides[ASSIGNMENTS_MAX];
    uint32_t override_count;
    struct conf_assignment flags[ASSIGNMENTS_MAX];
    uint32_t flag_count;
    const char *file_name;
    char *file;
    size_t file_len;
    char hostname[256];
    char listen_text[LISTEN_TEXT_MAX];
    char advertise_text[LISTEN_TEXT_MAX];

    struct machine machine;
    uint16_t cpus[SHARDS_MAX];
    uint16_t shard_count;
    struct shard_group *group;
    struct broker *broker;
    struct plan plan;
    struct plan_files files;
    struct admin admin;
    int stop_file; /* eventfd: written by the signal thread, read by shard 0 */
    struct io_op stop_op;
    uint64_t stop_word;
    bool stop_asked;           /* the read is done; shard 0's, like the next */
    bool stopped;              /* the broker is */
    pthread_barrier_t all_ran; /* every shard, and nobody asks for counters any more */
    uint64_t began_ns;
    uint64_t told_ns; /* when progress was printed last */
    int exit_code;
    bool ended; /* atomic: said by shard 0, read by the thread that waits for signals */
};

/* Flags, --override and the properties file into st->conf, reported; names looked up. */
int start_conf(struct start *st);

/* Cores, memory and descriptors that the process may use, and whether it may use io_uring. */
int start_machine(struct start *st);
