/* SPDX-License-Identifier: Apache-2.0
 *
 * What the controller decides on: an image of some brokers, and a batch that is being made. For
 * tests of core/controller/controller_step.h and core/controller/controller_replicas.h; include in
 * one file of a program.
 */
#pragma once

#include "core/controller/controller_step.h"
#include "net/err.h"
#include "tests/unit/heap.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct world {
    struct conf conf;
    struct controller_step step;
    struct image *image;
    struct image **past; /* NULL, or where images go that are not the newest: the test's to free */
    uint32_t past_count;
    struct arena arena;
    uint64_t drawn;
};

static inline uint64_t draw(void *user)
{
    struct world *w = user;
    return ++w->drawn * 0x9e3779b97f4a7c15ULL;
}

static inline void begin_batch(struct world *w)
{
    w->step.base = w->image;
    w->step.edit = image_edit_begin(w->image);
}

/* What was decided becomes the image; how many records it took. */
static inline uint32_t end_batch(struct world *w)
{
    uint32_t count = w->step.records.count;
    struct image *next = image_edit_end(w->step.edit, w->image->batch + 1);
    if (w->past)
        w->past[w->past_count++] = w->image;
    else
        image_free(w->image);
    w->image = next;
    metadata_records_fini(&w->step.records);
    begin_batch(w);
    return count;
}

/* What its brokers have agreed to. */
static inline void set_level(struct world *w, int16_t level)
{
    char sentence[128];
    const struct metadata_record record = {
        .kind = METADATA_FEATURE, .feature = {.name = str_of(METADATA_LEVEL), .level = level}};
    assert_true(image_edit_apply(w->step.edit, &record, sentence, sizeof(sentence)));
}

static inline struct world *world_of(const char *properties, int32_t broker_count)
{
    struct world *w = mem_zalloc(sizeof(*w));
    const struct conf_input input = {.hostname = "localhost",
                                     .file_name = "server.properties",
                                     .file = properties,
                                     .file_len = strlen(properties)};
    assert_true(conf_load(&w->conf, &input));
    arena_init(&w->arena, 64U << 20);
    const struct image_options options = {.conf = &w->conf,
                                          .cluster_id = "AAAAAAAAAAAAAAAAAAAAAA",
                                          .node_id = 1,
                                          .shard_count = 2,
                                          .seed = 1};
    w->step = (struct controller_step){.conf = &w->conf,
                                       .node_id = 1,
                                       .lowest = {1, METADATA_LEVEL_NEWEST},
                                       .random = draw,
                                       .user = w,
                                       .edit = image_edit_new(&options)};
    for (int32_t id = 1; id <= broker_count; id++) {
        char sentence[128];
        const struct metadata_record up = {
            .kind = METADATA_BROKER_UP,
            .broker_up = {.id = id, .epoch = id, .rack = str_null(), .version = str_null()}};
        assert_true(image_edit_apply(w->step.edit, &up, sentence, sizeof(sentence)));
    }
    set_level(w, METADATA_LEVEL_NEWEST);
    w->image = image_edit_end(w->step.edit, 1);
    begin_batch(w);
    return w;
}

static inline void world_free(struct world *w)
{
    image_edit_cancel(w->step.edit);
    metadata_records_fini(&w->step.records);
    image_free(w->image);
    arena_fini(&w->arena);
    conf_fini(&w->conf);
    mem_free(w);
}

/* Decides one item; its error. */
static inline int16_t decide(struct world *w, enum control_kind kind, struct control_item *item)
{
    struct control_op op = {.kind = kind, .arena = &w->arena, .items = item, .item_count = 1};
    item->error = ERR_NONE; /* else the request had refused it */
    assert_true(controller_step(&w->step, &op));
    assert_true(item->error == ERR_NONE || item->message != NULL);
    return item->error;
}

static inline int16_t create(struct world *w, const char *name, int32_t partitions,
                             int16_t replicas)
{
    struct control_item item = {
        .name = str_of(name), .partition_count = partitions, .replication_factor = replicas};
    return decide(w, CONTROL_CREATE_TOPICS, &item);
}

static inline const struct topic_image *find(struct world *w, const char *name)
{
    return image_edit_topic_by_name(w->step.edit, str_of(name));
}
