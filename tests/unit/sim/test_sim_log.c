/* SPDX-License-Identifier: Apache-2.0
 *
 * The log's promise in the simulated world. Writers append to partitions on one to four shards, the
 * machine is killed or loses power at any moment (inside a recovery too), comes back with another
 * number of shards, and everything is read and compared:
 *
 *   - what done() called durable is there, byte for byte, at its offset
 *   - offsets have no gaps, and nothing is there that nobody sent
 *   - a batch of an idempotent producer is there once, however often it was sent again
 *   - a start is never refused, a failed disk takes the log offline, a full one comes back
 *
 * And the test bites: each deliberate mistake in the log is found within MISTAKE_SEEDS seeds.
 * SIM_LOG_SEEDS, SIM_LOG_FIRST and SIM_LOG_MISTAKE (a name) choose other runs.
 */
#include "core/log/log_dir.h"
#include "core/log/recycle.h"
#include "io/mem.h"
#include "io/sim/sim.h"
#include "tests/unit/log_batches.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PARTITIONS    6U
#define WRITERS       2U /* per partition */
#define WINDOW        5U
#define ATTEMPTS_MAX  20000U
#define MISTAKE_SEEDS 400U
#define US            1000U
#define MS            1000000U
#define S             1000000000ULL

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

/* ---- one seed ---- */

static bool is_checked(void *argument)
{
    const struct model *m = argument;
    return m->failed || m->checked == PARTITIONS;
}

static bool is_stopped(void *argument)
{
    const struct model *m = argument;
    return m->failed || m->stopped == m->shards;
}

static bool never(void *argument)
{
    return ((const struct model *)argument)->failed;
}

static void model_init(struct model *m, uint64_t seed)
{
    m->attempts = calloc(ATTEMPTS_MAX, sizeof(*m->attempts));
    m->rng = (struct rng){.state = seed * 77 + 5};
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint32_t n = 0; n < WRITERS; n++)
            m->writers[p][n].producer_id = n == 0 ? (int64_t)(p * 10 + 1) : -1;
    }
    m->options = (struct log_dir_options){.path = "/data/log",
                                          .may_format = true,
                                          .node_id = 1,
                                          .pid = 1,
                                          .tail_bytes = rng_between(&m->rng, 3, 12) << 18,
                                          .cold_bytes = 1U << 20,
                                          .open_files_max = (uint32_t)rng_between(&m->rng, 2, 8),
                                          .journal_bytes = 65536U << rng_below(&m->rng, 4)};
    /* Two of three let appends of a few blocks and more bypass the journal, and send many. */
    struct rng rng = {.state = seed * 31 + 7};
    m->large_of_20 = 1;
    if (!rng_one_in(&rng, 3)) {
        m->options.bypass_bytes = (uint32_t)rng_between(&rng, 1, 16000);
        m->large_of_20 = (uint32_t)rng_between(&rng, 1, 4);
    }
    m->config = log_config_default;
    m->config.segment_bytes = 65536U << rng_below(&m->rng, 4);
    /* Three of four use files again, half of those with batches that begin at the same places. */
    m->plants = (struct rng){.state = seed * 17 + 3};
    if (!rng_one_in(&m->plants, 4))
        m->options.recycle_bytes = 65536U << rng_below(&m->plants, 7);
    if (m->options.recycle_bytes > 0 && rng_one_in(&m->plants, 2))
        m->size = (uint32_t)rng_between(&m->plants, 300, 8192);
}

/* ---- used files ----
 *
 * Nothing is ever deleted here, so the pool gets copies of the segments that there are: full of
 * batches of the same partitions, at the same places. */

static void plant(struct model *m, const char *path)
{
    struct fs *fs = machine_fs(m->machine);
    const struct recycle_pool pool = {
        .fs = fs, .root = "/data/log", .uuid = m->uuid, .bytes_max = m->options.recycle_bytes};
    static uint8_t bytes[1U << 20];
    int from = fs_open(fs, path, FS_READ);
    int64_t count = from < 0 ? 0 : fs_read(fs, from, bytes, sizeof(bytes), 0);
    if (from >= 0)
        fs_close(fs, from);
    if (count <= 0)
        return;
    int to = fs_open(fs, "/data/log/planted", FS_WRITE | FS_CREATE);
    if (to < 0)
        return;
    int64_t result = fs_write(fs, to, bytes, (size_t)count, 0);
    if (result >= 0)
        result = fs_sync(fs, to);
    fs_close(fs, to);
    if (result >= 0)
        result = recycle_put(&pool, "/data/log/planted", rng_next(&m->plants));
    m->planted += result == 1;
    (void)!fs_unlink(fs, "/data/log/planted");
    (void)!fs_sync_dir(fs, "/data/log/recycled");
}

static void plant_some(struct model *m)
{
    struct fs *fs = machine_fs(m->machine);
    for (uint32_t p = 0; m->known && m->options.recycle_bytes > 0 && p < PARTITIONS; p++) {
        char directory[64];
        char path[128];
        struct fs_list list = {0};
        (void)snprintf(directory, sizeof(directory), "/data/log/orders-%u", p);
        (void)!fs_list(fs, directory, &list);
        for (uint32_t i = 0; i < list.count; i++) {
            size_t length = strlen(list.names[i]);
            if (length < 4 || strcmp(list.names[i] + length - 4, ".log") != 0 ||
                rng_one_in(&m->plants, 2))
                continue;
            (void)snprintf(path, sizeof(path), "%s/%s", directory, list.names[i]);
            plant(m, path);
        }
        fs_list_free(&list);
    }
}

static struct process *life_begin(struct model *m)
{
    struct program program = {.name = "log",
                              .prepare = node_prepare,
                              .start = node_start,
                              .stop = node_end,
                              .argument = m};
    m->life++;
    m->shards = (uint16_t)rng_between(&m->rng, 1, 4);
    m->checked = 0;
    m->started = 0;
    m->stopped = 0;
    m->writing = false;
    m->offline = false;
    m->start_error[0] = '\0';
    uint64_t salt[2] = {rng_next(&m->rng), rng_next(&m->rng)};
    memcpy(m->options.new_uuid, salt, 16);
    program.shards = m->shards;
    plant_some(m);
    bool laid = rng_one_in(&m->rng, 8);
    enum crash crash = rng_one_in(&m->rng, 2) ? CRASH_KILL : CRASH_POWER;
    if (laid)
        machine_crash_in_call(m->machine, crash, (uint32_t)rng_between(&m->rng, 1, 60));
    tell(m, "start%s", laid ? ", a crash is laid" : "");
    struct process *process = machine_start(m->machine, &program);
    if (process == NULL)
        tell(m, "it did not start: %s", m->start_error);
    if (process == NULL && m->start_error[0] != '\0')
        wrong(m, "start refused: %.200s", m->start_error);
    return process;
}

static void life_stop(struct model *m, struct process *process)
{
    m->writing = false;
    for (uint16_t i = 0; i < m->shards; i++)
        process_call(process, i, node_stop, NULL);
    if (!world_run_until(m->world, is_stopped, m, world_now_ns(m->world) + 100 * S)) {
        if (process_state(process) != PROCESS_CRASHED)
            wrong(m, "the stop does not end");
        return;
    }
    (void)world_run_until(m->world, never, m, world_now_ns(m->world) + 10 * MS);
    if (!m->failed && process_state(process) == PROCESS_STOPPED && process_memory(process) != 0)
        wrong(m, "%llu bytes were not freed", (unsigned long long)process_memory(process));
}

static void life_trouble(struct model *m)
{
    uint64_t kind = rng_below(&m->rng, 12);
    tell(m, "writing%s", kind == 0 ? ", one write or flush will fail" : "");
    struct disk_fault fault = {.calls = DISK_WRITE | DISK_SYNC, .times = 1, .error = -5};
    if (kind == 0)
        machine_disk_fault(m->machine, &fault);
    else if (kind == 1)
        machine_disk_slow(m->machine, (uint32_t)rng_between(&m->rng, 2, 50));
    else if (kind == 2)
        machine_disk_stall(m->machine, rng_below(&m->rng, 30 * MS));
}

/* false: nothing more to do in this seed */
static bool life(struct model *m)
{
    struct process *process = life_begin(m);
    if (m->failed)
        return false;
    if (process == NULL)
        return true; /* a crash that was laid struck in the recovery */
    bool checked = world_run_until(m->world, is_checked, m, world_now_ns(m->world) + 100 * S);
    if (m->failed)
        return false;
    if (process_state(process) == PROCESS_CRASHED)
        return true;
    if (!checked) {
        wrong(m, "reading does not end");
        return false;
    }
    m->writing = true;
    for (uint16_t i = 0; i < m->shards; i++)
        process_call(process, i, node_write, NULL);
    life_trouble(m);
    (void)world_run_until(m->world, never, m,
                          world_now_ns(m->world) + rng_between(&m->rng, 100 * US, 60 * MS));
    if (rng_one_in(&m->rng, 3) && process_state(process) == PROCESS_RUNS) {
        m->life++;
        m->checked = 0;
        for (uint16_t i = 0; i < m->shards; i++)
            process_call(process, i, node_read, NULL);
        (void)world_run_until(m->world, is_checked, m,
                              world_now_ns(m->world) + rng_between(&m->rng, 1 * MS, 30 * MS));
    }
    machine_disk_heal(m->machine);
    if (m->failed || process_state(process) == PROCESS_CRASHED)
        return !m->failed;
    if (m->checked == PARTITIONS && rng_one_in(&m->rng, 3)) {
        tell(m, "stop");
        life_stop(m, process);
    } else {
        enum crash crash = rng_one_in(&m->rng, 2) ? CRASH_KILL : CRASH_POWER;
        tell(m, "%s", crash == CRASH_KILL ? "kill" : "power loss");
        machine_crash(m->machine, crash);
    }
    return !m->failed;
}

static bool run_seed(uint64_t seed, const char *mistake, char *why, size_t why_size,
                     struct model *sums)
{
    struct model *m = calloc(1, sizeof(*m));
    struct world_options options;
    world_options_rough(&options, seed);
    options.mutation = mistake;
    m->world = world_new(&options);
    m->machine = world_machine(m->world, "node");
    model_init(m, seed);
    (void)!fs_mkdir(machine_fs(m->machine), "/data");
    (void)!fs_sync_dir(machine_fs(m->machine), "/");
    uint32_t lives = (uint32_t)rng_between(&m->rng, 3, 7);
    bool good = true;
    for (uint32_t i = 0; i < lives && good; i++)
        good = life(m);
    if (good) {
        /* The last start is undisturbed. */
        if (machine_runs(m->machine))
            machine_crash(m->machine, CRASH_KILL);
        machine_crash_in_call(m->machine, CRASH_KILL, 0);
        (void)life(m); /* m->failed tells */
    }
    (void)snprintf(why, why_size, "%s", m->why);
    sums->acks += m->acks;
    sums->duplicates += m->duplicates;
    sums->life += m->life;
    sums->planted += m->planted;
    bool failed = m->failed;
    world_free(m->world);
    free(m->attempts);
    free(m);
    return !failed;
}

/* ---- many seeds, in a child that may die ---- */

struct verdict {
    uint64_t seed;
    bool wrong;
    char why[256];
    struct model sums;
};

static struct verdict *run_seeds(uint64_t first, uint64_t count, const char *mistake)
{
    struct verdict *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    memset(shared, 0, sizeof(*shared));
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* cmocka's would go on with the next test */
        (void)signal(SIGABRT, SIG_DFL);
        if (mistake != NULL) {
            (void)!freopen("/dev/null", "w", stderr);
            (void)alarm(120);
        }
        for (uint64_t seed = first; seed < first + count; seed++) {
            shared->seed = seed;
            shared->wrong =
                !run_seed(seed, mistake, shared->why, sizeof(shared->why), &shared->sums);
            if (shared->wrong)
                break;
        }
        _exit(0);
    }
    int status;
    (void)waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        shared->wrong = true;
        (void)snprintf(shared->why, sizeof(shared->why), "it died (status %d)", status);
    }
    return shared;
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void promise(void **state)
{
    (void)state;
    uint64_t first = number_of("SIM_LOG_FIRST", 1);
    uint64_t seeds = number_of("SIM_LOG_SEEDS", 20);
    struct verdict *verdict = run_seeds(first, seeds, getenv("SIM_LOG_MISTAKE"));
    printf("%llu seeds, %u lives, %u acknowledgements, %u of them duplicates, %u used files\n",
           (unsigned long long)seeds, verdict->sums.life, verdict->sums.acks,
           verdict->sums.duplicates, verdict->sums.planted);
    if (verdict->wrong)
        fail_msg("seed %llu: %s", (unsigned long long)verdict->seed, verdict->why);
    (void)munmap(verdict, sizeof(*verdict));
}

static void mistakes_are_found(void **state)
{
    (void)state;
    /* `from`: a seed that has found it, so that the short run is short; SIM_LOG_MISTAKE_SEEDS=n
     * asks all of them from seed 1. */
    static const struct {
        const char *name;
        uint64_t from;
    } mistakes[] = {
        {"journal.ack_before_flush", 1},
        {"bypass.ack_before_write", 63},
        {"bypass.no_dsync", 11},
        {"bypass.no_record", 1},
        {"bypass.shared_block_rewritten", 458},
        {"bypass.checkpoint_does_not_wait", 63},
        {"bypass.ack_out_of_order", 1},
        {"recovery.extent_not_checked", 55},
        {"journal.no_dsync", 2},
        {"journal.ack_out_of_order", 1},
        {"journal.release_before_superblock", 325},
        {"recovery.skip_group", 1},
        {"recovery.any_generation", 122},
        {"recovery.no_crc", 2},
        {"recovery.forget_producers", 1},
        {"log.duplicate_answered_early", 1},
        {"log.no_prefix_copy", 43},
        {"writer.unflushed_bytes", 171},
        {"checkpoint.release_before_sync", 5},
        {"checkpoint.wrong_end", 1},
        {"recovery.recycled_batch_replayed", 16},
        {"recycle.place_not_durable", 20},
    };
    bool all = getenv("SIM_LOG_MISTAKE_SEEDS") != NULL;
    uint64_t seeds = number_of("SIM_LOG_MISTAKE_SEEDS", MISTAKE_SEEDS);
    unsigned missed = 0;
    for (unsigned i = 0; i < array_count(mistakes); i++) {
        struct verdict *verdict = run_seeds(all ? 1 : mistakes[i].from, seeds, mistakes[i].name);
        missed += !verdict->wrong;
        printf("%-36s %s %llu: %s\n", mistakes[i].name,
               verdict->wrong ? "found by seed" : "MISSED in", (unsigned long long)verdict->seed,
               verdict->why);
        (void)munmap(verdict, sizeof(*verdict));
    }
    assert_int_equal(missed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promise),
        cmocka_unit_test(mistakes_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
