/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory plan: one budget, divided at start and printed. It reserves address space; pages are
 * touched only in use, so a small load stays small in memory.
 *
 * The tail gets most: it is write buffer, cache of the newest data and source of every send at
 * once.
 */
#pragma once

#include "io/base.h"

/* Receive blocks have 16-bit numbers (the kernel's buffer ids): 65,536 of 64 KiB. What a larger
 * budget would give a shard beyond that goes to the tail. */
#define PLAN_RECEIVE_BYTES_MAX (4ULL << 30)

struct plan {
    uint64_t total_bytes;
    const char *source; /* what said so: "--memory", "memory.max", "MemTotal" */
    uint16_t shards;
    /* each shard's part */
    uint64_t tail_bytes;       /* blocks with the newest records */
    uint64_t receive_bytes;    /* blocks the sockets fill */
    uint64_t unfinished_bytes; /* frames that have not arrived whole */
    uint64_t cold_bytes;       /* reads of older segments */
    /* shared */
    uint64_t heap_bytes; /* everything else: connections, requests, metadata */
};

/* What one request may use for its decoding and its answer: half of a shard's heap, at least what
 * honest clients need for tens of thousands of partitions, and no more than any of them needs. */
#define PLAN_REQUEST_BYTES_MIN (32ULL << 20)
#define PLAN_REQUEST_BYTES_MAX (256ULL << 20)
uint64_t plan_request_bytes(const struct plan *plan);
/* And all of a shard together, while they wait for what they were asked. */
uint64_t plan_working_bytes(const struct plan *plan);

/* The least that can be divided: every part of a shard has 1 MiB for each log directory. */
uint64_t plan_bytes_min(uint16_t shards, uint32_t dirs);
/* Divides `total_bytes`, or plan_bytes_min() if that is more. */
struct plan plan_make(uint64_t total_bytes, const char *source, uint16_t shards, uint32_t dirs);
/* The default: a quarter of what the machine or its control group gives, 256 MiB to 8 GiB. */
uint64_t plan_default_bytes(uint64_t machine_bytes);

/* Descriptors: what the process may have open, divided likewise. Segments of logs are opened as
 * they are needed and closed again beyond their number; connections beyond theirs are refused. */
struct plan_files {
    uint64_t limit;
    uint32_t own;         /* rings, journals, checkpoints, listeners, helpers */
    uint32_t segments;    /* open at a time, per shard */
    uint32_t connections; /* at a time, in all */
    bool short_of;        /* more would be of use to many */
};

#define PLAN_SEGMENTS_MAX    16384U
#define PLAN_SEGMENTS_SHORT  4096U /* with fewer the broker says so */
#define PLAN_SEGMENTS_MIN    32U
#define PLAN_CONNECTIONS_MIN 32U

/* The least that can be divided. */
uint64_t plan_files_min(uint16_t shards, uint32_t dirs);
struct plan_files plan_files_make(uint64_t limit, uint16_t shards, uint32_t dirs);
