/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches as a producer makes them, for questions from the desk (tests/unit/sim/desk_topics.h), and
 * those that the broker has stored; the broker's log is small, so that it has files soon.
 */
#pragma once

#include "tests/unit/sim/desk_topics.h"

/* The broker is not started yet. */
static inline void desk_begin_small(struct desk *desk, uint64_t seed)
{
    desk_begin(desk, seed);
    desk->node.retention_bytes = -1;
    desk->node.tail_bytes = 4U << 20;
    desk->node.journal_bytes = 1U << 20;
}

/* A batch, whose bytes are there until made_fini(). */
struct made {
    struct batch_builder builder;
    struct deflater deflater;
    const uint8_t *bytes;
    size_t len;
};

/* Records are added to its builder after that. */
static inline void made_begin(struct made *made)
{
    memset(made, 0, sizeof(*made));
    batch_builder_init(&made->builder);
    deflater_init(&made->deflater);
    batch_builder_start(&made->builder);
}

static inline void made_finish(struct made *made, enum codec codec)
{
    made->len = batch_builder_finish(&made->builder, &made->deflater, codec, CODEC_LEVEL_DEFAULT,
                                     &made->bytes);
}

/* The first batches of a producer, before made_finish(): the broker knows them when they come
 * again. */
static inline void made_is_of_producer(struct made *made, int32_t sequence)
{
    made->builder.header.producer_id = 7;
    made->builder.header.producer_epoch = 0;
    made->builder.header.base_sequence = sequence;
}

static inline void made_fini(struct made *made)
{
    batch_builder_fini(&made->builder);
    deflater_fini(&made->deflater);
}

static inline struct produce_response_partition made_produce(struct desk *desk, const char *name,
                                                             const struct made *made)
{
    return batch_produce(desk, name, 9, made->bytes, made->len);
}

/* Of the batch at an offset, which is the first that a fetch has; its checksum holds. */
static inline struct batch_header batch_stored(struct desk *desk, const char *name, int16_t version,
                                               int64_t offset, struct span *batch)
{
    struct question question;
    struct batch_header header;
    fetch_ask(desk, &question, name, version, offset, 0);
    struct fetch_response_partition part = fetch_answer(&question);
    assert_int_equal(part.error_code, ERR_NONE);
    assert_int_equal(part.records.kind, RECORDS_SPAN);
    assert_true(batch_header_read(&header, &part.records.span));
    *batch = span_first(part.records.span, (uint32_t)batch_size(&header));
    assert_int_equal(batch_crc(*batch), header.crc);
    return header;
}
