/* SPDX-License-Identifier: Apache-2.0
 *
 * The state of a simulated disk, shared by the blocking calls (disk.c) and those with a completion
 * (drive.c).
 */
#pragma once

#include "io/sim/inside.h"
#include "io/sim/node.h"

#define FILE_FIRST     3
#define FAULTS_MAX     16U
#define CALLS_NOT_LAID 0U

struct file {
    struct node *node;
    int number;
    struct process *process;
    char *path;
    uint32_t in_flight;
    unsigned flags;
};

struct disk_op {
    struct event event;
    TAILQ_ENTRY(disk_op) link;
    struct io *io;
    struct io_op *op;
    struct node *node;
    enum disk_calls call;
    bool durable;
    int error; /* decided when it was asked for */
    void *to;
    uint64_t offset;
    uint64_t len;
    uint64_t mark;
    unsigned count;
    struct iovec iov[IO_VECTORS_MAX];
};
TAILQ_HEAD(disk_ops, disk_op);

struct fs {
    struct world *world;
    struct machine *machine;
    struct tree tree;
    struct rng rng;
    struct file **files; /* [number - FILE_FIRST]; NULL: free */
    uint32_t file_count;
    struct disk_ops in_flight;
    struct disk_ops spare;
    struct disk_fault faults[FAULTS_MAX];
    unsigned fault_count;
    uint64_t limit; /* blocks */
    uint32_t slow;
    uint64_t stall_until_ns;
    uint32_t laid_calls; /* blocking calls until a laid crash; CALLS_NOT_LAID */
    enum crash laid;
};

/* An open file, by its number; anything else is a bug of the caller. */
struct file *disk_file(struct fs *fs, int file);
/* 0, or the error a fault or the dice have for this call. */
int disk_error(struct fs *fs, enum disk_calls call, const char *path);
/* 0 or -ENOSPC. */
int disk_space(struct fs *fs, struct node *node, uint64_t offset, uint64_t len);
/* Brackets what changes how much space a node takes. */
void disk_spend(struct fs *fs, struct node *node, uint64_t before);
