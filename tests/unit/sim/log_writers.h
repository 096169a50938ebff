/* SPDX-License-Identifier: Apache-2.0
 *
 * The program of test_sim_log.c: writers and readers of logs on one to four shards, and what the
 * world outside knows: which batch was sent, where it was acknowledged, in which life it was read.
 */
#pragma once

#include "core/log/log_dir.h"
#include "io/mem.h"
#include "io/sim/sim.h"
#include "tests/unit/log_batches.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define PARTITIONS   6U
#define WRITERS      2U /* per partition */
#define WINDOW       5U
#define ATTEMPTS_MAX 20000U
#define US           1000U
#define MS           1000000U
#define S            1000000000ULL

/* ---- what the world outside knows ---- */

struct attempt {
    uint32_t partition;
    uint32_t size;
    int32_t count;
    int64_t producer_id;
    int32_t sequence;
    int64_t offset; /* where it was acknowledged, -1: it was not */
    uint32_t seen;  /* life in which it was read last */
};

struct writer_model {
    int64_t producer_id; /* -1: not idempotent */
    int32_t next_sequence;
    uint64_t open[WINDOW]; /* attempts without an answer, oldest first */
    uint32_t open_count;
    uint64_t last_acked; /* attempt, 0: none */
};

struct model {
    struct world *world;
    struct machine *machine;
    struct rng rng;
    struct attempt *attempts; /* [tag] */
    uint64_t count;
    struct writer_model writers[PARTITIONS][WRITERS];
    uint32_t life;
    uint32_t checked; /* partitions of this life that were compared */
    uint32_t started;
    uint32_t stopped;
    uint32_t acks;
    uint32_t duplicates;
    uint32_t cold;
    bool writing;
    bool offline_expected;
    bool offline;
    uint16_t shards;
    struct log_dir_options options;
    struct log_config config;
    uint32_t large_of_20; /* batches of 9,000 to 60,000 bytes */
    uint32_t size;        /* of each batch; 0: they differ */
    struct rng plants;
    uint8_t uuid[16]; /* of the directory */
    bool known;       /* it was made */
    uint32_t planted;
    bool failed;
    char why[256];
    char start_error[700];
};

/* SIM_LOG_TALK=1 tells the story of a seed. */
static void tell(const struct model *m, const char *format, ...) printf_like(2, 3);
static void tell(const struct model *m, const char *format, ...)
{
    if (getenv("SIM_LOG_TALK") == NULL)
        return;
    (void)fprintf(stderr, "%9.3f ms, life %u: ", (double)world_now_ns(m->world) / 1e6, m->life);
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
}

/* The first thing that is wrong ends the seed. */
static void wrong(struct model *m, const char *format, ...) printf_like(2, 3);
static void wrong(struct model *m, const char *format, ...)
{
    if (m->failed)
        return;
    m->failed = true;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(m->why, sizeof(m->why), format, arguments);
    va_end(arguments);
}

/* ---- the program ---- */

struct node;

struct writing {
    struct log_append op;
    struct piece pieces[3];
    struct writer *writer;
    uint64_t tag;
    uint8_t *bytes;
    bool again; /* sent a second time: the answer must be the first one's */
    bool busy;
};

struct writer {
    struct node_shard *ns;
    struct log *lg;
    uint32_t partition;
    struct writer_model *model;
    struct writing ops[2 * WINDOW + 1];
    struct timer timer;
    uint32_t resend; /* open attempts of the last life still to be sent again */
};

struct reader {
    struct node_shard *ns;
    struct log *lg;
    uint32_t partition;
    struct log_find find;
    struct log_pin pin;
    struct log_check check;
    uint8_t *bytes;
    uint32_t got;
    int64_t upto;
    int64_t next;
};

struct node_shard {
    struct node *node;
    struct shard *sh;
    struct log_shard *ls;
    struct log *logs[PARTITIONS];
    struct writer *writers[PARTITIONS][WRITERS];
    struct reader *readers[PARTITIONS];
};

struct node {
    struct model *m;
    struct log_dir *dir;
    struct node_shard *shards;
};

static struct log_id id_of(uint32_t partition)
{
    return (struct log_id){.topic_id = "topic-id-0000001", .partition = (int32_t)partition};
}

/* ---- writing ---- */

static void writer_next(struct writer *writer);

static void writer_later(struct writer *writer)
{
    struct model *m = writer->ns->node->m;
    uint64_t delay = rng_one_in(&m->rng, 3) ? 0 : rng_below(&m->rng, 400 * US);
    if (!timer_is_set(&writer->timer))
        timer_set(writer->ns->sh, &writer->timer, io_now_ns(writer->ns->sh->io) + delay);
}

static void writer_acked(struct writer *writer, const struct writing *writing)
{
    struct model *m = writer->ns->node->m;
    struct writer_model *model = writer->model;
    struct attempt *attempt = &m->attempts[writing->tag];
    const struct log_append *op = &writing->op;
    if (op->verdict == LOG_OFFLINE || op->verdict == LOG_CLOSED) {
        m->offline = m->offline || op->verdict == LOG_OFFLINE;
        return;
    }
    if (op->verdict != LOG_OK) {
        wrong(m, "append of %llu: %s", (unsigned long long)writing->tag,
              log_verdict_text(op->verdict));
        return;
    }
    if (attempt->offset >= 0 && attempt->offset != op->base_offset)
        wrong(m, "batch %llu was acknowledged at %lld and again at %lld",
              (unsigned long long)writing->tag, (long long)attempt->offset,
              (long long)op->base_offset);
    if (op->last_offset != op->base_offset + attempt->count - 1)
        wrong(m, "batch %llu: last offset", (unsigned long long)writing->tag);
    m->duplicates += op->duplicate;
    m->acks++;
    attempt->offset = op->base_offset;
    for (uint32_t i = 0; i < model->open_count; i++) {
        if (model->open[i] != writing->tag)
            continue;
        if (i != 0 && !writing->again)
            wrong(m, "batch %llu was acknowledged before an earlier one",
                  (unsigned long long)writing->tag);
        memmove(&model->open[i], &model->open[i + 1],
                (model->open_count - i - 1) * sizeof(model->open[0]));
        model->open_count--;
        break;
    }
    if (model->last_acked < writing->tag)
        model->last_acked = writing->tag;
}

static void writing_done(struct log_append *op)
{
    struct writing *writing = container_of(op, struct writing, op);
    struct writer *writer = writing->writer;
    writer_acked(writer, writing);
    mem_free(writing->bytes);
    writing->busy = false;
    if (op->verdict == LOG_OK)
        writer_later(writer);
}

/* Sends an attempt, cut in up to three pieces as a socket would deliver it. */
static bool writer_send(struct writer *writer, uint64_t tag, bool again)
{
    struct model *m = writer->ns->node->m;
    struct attempt *attempt = &m->attempts[tag];
    struct writing *writing = writer->ops;
    while (writing < writer->ops + array_count(writer->ops) && writing->busy)
        writing++;
    if (writing == writer->ops + array_count(writer->ops))
        return false;
    writing->writer = writer;
    writing->tag = tag;
    writing->again = again;
    writing->busy = true;
    writing->bytes = mem_alloc(attempt->size);
    test_batch(writing->bytes, attempt->size, tag, attempt->count, attempt->producer_id, 0,
               attempt->sequence);
    uint32_t a = (uint32_t)rng_between(&m->rng, 1, attempt->size / 2);
    uint32_t b = (uint32_t)rng_between(&m->rng, a + 1, attempt->size - 1);
    writing->pieces[0] = (struct piece){writing->bytes, a};
    writing->pieces[1] = (struct piece){writing->bytes + a, b - a};
    writing->pieces[2] = (struct piece){writing->bytes + b, attempt->size - b};
    writing->op =
        (struct log_append){.batch = {.piece = writing->pieces, .skip = 0, .len = attempt->size},
                            .append_time_ms = -1,
                            .max_timestamp = LOG_KEEP,
                            .done = writing_done};
    enum log_verdict verdict = log_append(writer->lg, &writing->op);
    if (verdict == LOG_OK || verdict == LOG_WAIT)
        return true;
    writing->op.verdict = verdict;
    if (verdict == LOG_FULL) {
        /* Nothing happened: the writer comes back with the same batch. */
        mem_free(writing->bytes);
        writing->busy = false;
        if (!timer_is_set(&writer->timer))
            timer_set(writer->ns->sh, &writer->timer, io_now_ns(writer->ns->sh->io) + 100 * MS);
        return false;
    }
    writer_acked(writer, writing);
    mem_free(writing->bytes);
    writing->busy = false;
    return false;
}

static uint32_t size_draw(struct model *m)
{
    uint64_t kind = rng_below(&m->rng, 20);
    if (m->size > 0)
        return m->size;
    if (kind < 14)
        return (uint32_t)rng_between(&m->rng, 70, 2000);
    if (kind < 20 - m->large_of_20)
        return (uint32_t)rng_between(&m->rng, 2000, 9000);
    return (uint32_t)rng_between(&m->rng, 9000, 60000);
}

static uint64_t attempt_new(struct writer *writer)
{
    struct model *m = writer->ns->node->m;
    struct writer_model *model = writer->model;
    uint64_t tag = ++m->count;
    struct attempt *attempt = &m->attempts[tag];
    *attempt = (struct attempt){.partition = writer->partition,
                                .size = size_draw(m),
                                .count = (int32_t)rng_between(&m->rng, 1, 4),
                                .producer_id = model->producer_id,
                                .sequence = -1,
                                .offset = -1};
    if (model->producer_id >= 0) {
        attempt->sequence = model->next_sequence;
        model->next_sequence += attempt->count;
    }
    return tag;
}

static void writer_next(struct writer *writer)
{
    struct model *m = writer->ns->node->m;
    struct writer_model *model = writer->model;
    if (m->failed || m->offline || !m->writing)
        return;
    /* What the last life left unanswered goes first, in its order. */
    while (writer->resend > 0) {
        if (!writer_send(writer, model->open[model->open_count - writer->resend], false))
            return;
        writer->resend--;
    }
    if (model->producer_id >= 0 && model->open_count > 0 && rng_one_in(&m->rng, 6))
        (void)writer_send(writer, model->open[rng_below(&m->rng, model->open_count)], true);
    while (model->open_count < WINDOW && m->count + 1 < ATTEMPTS_MAX) {
        uint64_t tag = attempt_new(writer);
        model->open[model->open_count++] = tag;
        if (!writer_send(writer, tag, false)) {
            writer->resend = m->offline ? 0 : 1;
            return;
        }
        if (rng_one_in(&m->rng, 3))
            break;
    }
}

static void writer_on_timer(struct shard *sh, struct timer *timer)
{
    (void)sh;
    writer_next(container_of(timer, struct writer, timer));
}

static void writer_start(struct node_shard *ns, uint32_t partition, uint32_t n)
{
    struct model *m = ns->node->m;
    struct writer *writer = mem_zalloc(sizeof(*writer));
    ns->writers[partition][n] = writer;
    writer->ns = ns;
    writer->lg = ns->logs[partition];
    writer->partition = partition;
    writer->model = &m->writers[partition][n];
    writer->timer = (struct timer){.fn = writer_on_timer, .name = "writer"};
    if (writer->model->producer_id < 0)
        writer->model->open_count = 0; /* nobody sends these again */
    writer->resend = writer->model->open_count;
    if (writer->model->producer_id >= 0 && writer->model->last_acked != 0 &&
        writer->model->open_count == 0)
        (void)writer_send(writer, writer->model->last_acked, true);
    writer_later(writer);
}

/* ---- reading everything ---- */

static void reader_go(struct reader *reader);

static void reader_done(struct reader *reader)
{
    struct model *m = reader->ns->node->m;
    for (uint64_t tag = 1; tag <= m->count; tag++) {
        const struct attempt *attempt = &m->attempts[tag];
        if (attempt->partition == reader->partition && attempt->offset >= 0 &&
            attempt->offset < reader->upto && attempt->seen != m->life)
            wrong(m, "batch %llu, acknowledged at %lld of partition %u, is not there",
                  (unsigned long long)tag, (long long)attempt->offset, reader->partition);
        if (attempt->partition == reader->partition && attempt->offset >= reader->upto &&
            !m->writing)
            wrong(m, "partition %u ends at %lld, batch %llu was acknowledged at %lld",
                  reader->partition, (long long)reader->upto, (unsigned long long)tag,
                  (long long)attempt->offset);
    }
    m->checked++;
}

static void reader_batch(struct reader *reader, const uint8_t *bytes, uint32_t size)
{
    struct model *m = reader->ns->node->m;
    struct batch_header header;
    batch_header_of(&header, bytes);
    uint64_t tag = (uint64_t)header.base_timestamp;
    if (header.base_offset != reader->next)
        wrong(m, "partition %u: offset %lld where %lld was expected", reader->partition,
              (long long)header.base_offset, (long long)reader->next);
    reader->next = batch_last_offset(&header) + 1;
    if (tag == 0 || tag > m->count || m->attempts[tag].partition != reader->partition ||
        m->attempts[tag].size != size) {
        wrong(m, "partition %u: a batch that nobody sent at %lld", reader->partition,
              (long long)header.base_offset);
        return;
    }
    struct attempt *attempt = &m->attempts[tag];
    uint8_t *expected = mem_alloc(size);
    test_batch(expected, size, tag, attempt->count, attempt->producer_id, 0, attempt->sequence);
    batch_put_place(expected, header.base_offset, 0);
    uint32_t same = 0;
    while (same < size && expected[same] == bytes[same])
        same++;
    if (same < size)
        wrong(m,
              "partition %u: batch %llu at %lld has other bytes from %u of %u on (%02x for %02x)",
              reader->partition, (unsigned long long)tag, (long long)header.base_offset, same, size,
              bytes[same], expected[same]);
    mem_free(expected);
    if (attempt->seen == m->life)
        wrong(m, "partition %u: batch %llu is there twice", reader->partition,
              (unsigned long long)tag);
    if (attempt->offset >= 0 && attempt->offset != header.base_offset)
        wrong(m, "partition %u: batch %llu is at %lld, not at %lld", reader->partition,
              (unsigned long long)tag, (long long)header.base_offset, (long long)attempt->offset);
    attempt->seen = m->life;
}

/* Whole batches of what was read; the rest comes with the next find. */
static void reader_parse(struct reader *reader)
{
    uint32_t at = 0;
    while (reader->got - at >= BATCH_HEADER_SIZE) {
        struct batch_header header;
        batch_header_of(&header, reader->bytes + at);
        int64_t size = batch_size(&header);
        if (size < BATCH_HEADER_SIZE || size > (1 << 20)) {
            wrong(reader->ns->node->m, "partition %u: no batch at %lld", reader->partition,
                  (long long)reader->next);
            return;
        }
        if (size > (int64_t)reader->got - at)
            break;
        reader_batch(reader, reader->bytes + at, (uint32_t)size);
        at += (uint32_t)size;
    }
    if (at == 0)
        wrong(reader->ns->node->m, "partition %u: no whole batch at %lld", reader->partition,
              (long long)reader->next);
    reader->got = 0;
}

static void reader_on_pin(struct log_pin *pin)
{
    struct reader *reader = container_of(pin, struct reader, pin);
    struct model *m = reader->ns->node->m;
    if (pin->verdict != LOG_OK) {
        if (!m->offline)
            wrong(m, "pin: %s", log_verdict_text(pin->verdict));
        mem_free(reader->bytes);
        reader->bytes = NULL;
        return;
    }
    for (uint32_t i = 0; i < pin->pieces; i++) {
        memcpy(reader->bytes + reader->got, pin->iov[i].iov_base, pin->iov[i].iov_len);
        reader->got += (uint32_t)pin->iov[i].iov_len;
    }
    log_unpin(pin);
    reader_go(reader);
}

static void reader_on_find(struct log_find *find)
{
    struct reader *reader = container_of(find, struct reader, find);
    struct model *m = reader->ns->node->m;
    if (find->verdict != LOG_OK || find->range.length == 0) {
        if (!m->offline)
            wrong(m, "find of %lld below %lld: %s", (long long)find->offset,
                  (long long)find->upto_offset, log_verdict_text(find->verdict));
        return;
    }
    reader->bytes = mem_alloc(find->range.length);
    reader->check.begun = false;
    reader_go(reader);
}

static void reader_find(struct reader *reader)
{
    struct model *m = reader->ns->node->m;
    if (reader->next >= reader->upto) {
        reader_done(reader);
        return;
    }
    reader->find = (struct log_find){.offset = reader->next,
                                     .upto_offset = reader->upto,
                                     .bytes_max = (uint32_t)rng_between(&m->rng, 1, 200000),
                                     .one_at_least = true,
                                     .done = reader_on_find};
    if (log_find(reader->lg, &reader->find))
        reader_on_find(&reader->find);
}

static void reader_go(struct reader *reader)
{
    struct model *m = reader->ns->node->m;
    if (m->failed)
        return;
    if (reader->got < reader->find.range.length) {
        reader->pin.done = reader_on_pin;
        reader->pin.check = &reader->check;
        uint32_t want = (uint32_t)rng_between(&m->rng, 1, 1U << 18);
        if (log_pin(reader->lg, &reader->find.range, reader->got, want, &reader->pin))
            reader_on_pin(&reader->pin);
        return;
    }
    reader_parse(reader);
    mem_free(reader->bytes);
    reader->bytes = NULL;
    if (!m->failed)
        reader_find(reader);
}

static void reader_start(struct node_shard *ns, uint32_t partition)
{
    struct reader *reader = ns->readers[partition];
    if (reader == NULL)
        reader = mem_zalloc(sizeof(*reader));
    ns->readers[partition] = reader;
    reader->ns = ns;
    reader->lg = ns->logs[partition];
    reader->partition = partition;
    reader->upto = reader->lg->durable_offset;
    reader->next = reader->lg->start_offset;
    reader_find(reader);
}

/* ---- start and stop ---- */

static void *node_prepare(struct fs *fs, void *argument, bool *failed)
{
    struct model *m = argument;
    struct node *node = mem_zalloc(sizeof(*node));
    struct log_error error;
    node->m = m;
    m->options.fs = fs;
    m->options.shards = m->shards;
    node->shards = mem_zalloc(m->shards * sizeof(node->shards[0]));
    node->dir = log_dir_open(&m->options, &error);
    *failed = node->dir == NULL || !log_dir_recover(node->dir, &error);
    if (*failed) {
        (void)snprintf(m->start_error, sizeof(m->start_error), "%s", error.text);
        return node;
    }
    memcpy(m->uuid, node->dir->uuid, sizeof(m->uuid));
    m->known = true;
    tell(m, "%u shards; recovered %u logs, %s, %llu groups replayed", m->shards,
         node->dir->recovered_count, node->dir->was_clean ? "clean" : "not clean",
         (unsigned long long)node->dir->replayed_groups);
    for (uint32_t i = 0; i < node->dir->recovered_count; i++)
        tell(m, "  %s-%d: %lld..%lld", node->dir->recovered[i].topic,
             (int)node->dir->recovered[i].id.partition,
             (long long)node->dir->recovered[i].start_offset,
             (long long)node->dir->recovered[i].end_offset);
    return node;
}

static void node_start(struct shard *sh, void *prepared)
{
    struct node *node = prepared;
    struct model *m = node->m;
    struct node_shard *ns = &node->shards[sh->id];
    ns->node = node;
    ns->sh = sh;
    sh->user = ns;
    ns->ls = log_shard_start(node->dir, sh);
    for (uint32_t i = 0; i < node->dir->recovered_count; i++) {
        struct recovered_log *recovered = &node->dir->recovered[i];
        uint32_t partition = (uint32_t)recovered->id.partition;
        if (partition % m->shards == sh->id)
            ns->logs[partition] = log_adopt(ns->ls, recovered, &m->config);
    }
    for (uint32_t p = sh->id; p < PARTITIONS; p += m->shards) {
        struct log_id id = id_of(p);
        if (ns->logs[p] == NULL)
            ns->logs[p] = log_new(ns->ls, &id, "orders", &m->config, 0);
        reader_start(ns, p);
    }
    m->started++;
}

static void node_write(struct shard *sh, void *argument)
{
    (void)argument;
    struct node_shard *ns = sh->user;
    for (uint32_t p = sh->id; p < PARTITIONS; p += ns->node->m->shards) {
        for (uint32_t n = 0; n < WRITERS; n++)
            writer_start(ns, p, n);
    }
}

static void node_read(struct shard *sh, void *argument)
{
    (void)argument;
    struct node_shard *ns = sh->user;
    for (uint32_t p = sh->id; p < PARTITIONS; p += ns->node->m->shards)
        reader_start(ns, p);
}

static void node_on_stopped(void *argument)
{
    struct node_shard *ns = argument;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if (ns->logs[p] != NULL)
            log_free(ns->logs[p]);
        for (uint32_t n = 0; n < WRITERS; n++) {
            if (ns->writers[p][n] != NULL)
                timer_cancel(ns->sh, &ns->writers[p][n]->timer);
            mem_free(ns->writers[p][n]);
        }
        mem_free(ns->readers[p]);
    }
    log_shard_free(ns->ls);
    ns->node->m->stopped++;
    shard_stop(ns->sh);
}

static void node_stop(struct shard *sh, void *argument)
{
    (void)argument;
    struct node_shard *ns = sh->user;
    log_shard_stop(ns->ls, node_on_stopped, ns);
}

static void node_end(void *prepared)
{
    struct node *node = prepared;
    log_dir_close(node->dir);
    mem_free(node->shards);
    mem_free(node);
}
