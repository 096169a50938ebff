/* SPDX-License-Identifier: Apache-2.0
 *
 * Files and directories of a simulated disk: bytes (file.c) and names (names.c). See disk.h for
 * the model.
 */
#pragma once

#include "io/sim/rng.h"

#include <sys/queue.h>
#include <sys/uio.h>

#define SECTOR      512U
#define BLOCK       4096U
#define BLOCK_CHUNK 64U
#define SECTORS_ALL 0xffU

struct block {
    uint8_t *seen;    /* what reads see; NULL: zeros */
    uint8_t *kept;    /* what is durable, while dirty; NULL: zeros */
    uint64_t written; /* node->writes when last written */
    uint32_t number;
    uint8_t dirty;  /* sectors */
    uint8_t cut;    /* sectors of a truncation that is not durable yet; a subset of dirty */
    bool allocated; /* counts in the space */
    bool forgotten; /* a flush of it failed: no later flush saves it */
    bool listed;
    TAILQ_ENTRY(block) link; /* in node->dirty while any sector is */
};
TAILQ_HEAD(block_list, block);

struct name {
    char *text;
    struct node *node;
};

/* Sorted by name. */
struct names {
    struct name *names;
    uint32_t count;
    uint32_t size;
};

struct node {
    bool directory;
    uint32_t refs;      /* names seen, names durable, pending operations, open files */
    uint32_t seen_refs; /* names seen and open files: while any, it takes space */
    uint64_t id;

    /* file */
    uint64_t size;
    uint64_t size_kept; /* durable */
    bool cut_pending;   /* a truncation is not durable */
    bool direct;        /* was opened FS_DIRECT */
    uint64_t writes;
    uint64_t space; /* allocated blocks */
    struct block **chunks;
    uint32_t chunk_count;
    struct block_list dirty;
    uint64_t sync_mark; /* writes up to this are under a sync in flight */
    struct process *lock_process;
    int lock_file;

    /* directory */
    struct names seen;
    struct names kept;

    /* scratch of names.c */
    bool wanted;
    bool lost;
    bool visited;
};

/* ---- file.c ---- */
void node_data_free(struct node *node);
struct block *node_block(struct node *node, uint64_t number, bool make);
/* Blocks a write or an allocation of this range would newly take. */
uint64_t node_space_needed(struct node *node, uint64_t offset, uint64_t len);
void node_allocate(struct node *node, uint64_t offset, uint64_t len);
void node_write(struct node *node, const struct iovec *iov, unsigned count, uint64_t offset,
                uint64_t len, bool durable);
uint64_t node_read(struct node *node, void *to, uint64_t len, uint64_t offset);
void node_truncate(struct node *node, uint64_t size);
/* Makes durable the writes up to `mark`. */
void node_sync(struct node *node, uint64_t mark);
void node_sync_overwrites(struct node *node); /* of blocks that were durable before; no size */
void node_sync_failed(struct node *node, uint64_t mark);
struct power_dice {
    struct rng *rng;
    uint32_t keep_in_16; /* chance of a dirty sector to survive */
    uint32_t torn_one_in;
    uint32_t block_lost_one_in;
};
void node_power_loss(struct node *node, const struct power_dice *dice);
bool node_flip(struct node *node, uint64_t offset, uint8_t mask);

/* ---- names.c ---- */

TAILQ_HEAD(pending_queue, pending);

struct tree {
    struct node *root;
    struct pending_queue pending;
    uint64_t ids;
    uint64_t space; /* blocks of all files that are seen or open */
};

void tree_init(struct tree *tree);
void tree_fini(struct tree *tree);
void node_hold(struct node *node);
void node_drop(struct tree *tree, struct node *node);
void node_open(struct tree *tree, struct node *node);  /* holds it too */
void node_close(struct tree *tree, struct node *node); /* drops it too */
/* The node at `path`, and where its name is or would be; 0 or -errno. */
struct place {
    struct node *directory; /* NULL for the root itself */
    const char *name;       /* points into the path: not ended by 0 */
    uint32_t name_len;
    struct node *node; /* NULL: absent */
};
int tree_find(struct tree *tree, const char *path, struct place *place);
struct node *tree_create(struct tree *tree, const struct place *place, bool directory);
void tree_remove(struct tree *tree, const struct place *place);
void tree_rename(struct tree *tree, const struct place *from, const struct place *to);
void tree_sync(struct tree *tree, struct node *directory);
void tree_power_loss(struct tree *tree, const struct power_dice *dice);
/* All files seen, each once, in the order of their paths. */
void tree_walk(struct tree *tree, void (*fn)(struct node *node, const char *path, void *argument),
               void *argument);
