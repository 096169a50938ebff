/* SPDX-License-Identifier: Apache-2.0
 *
 * The line of appends in front of a partition's log: what may be appended, in what order, and what
 * the producer is told. The first in line is checked; most checks end at once on the shard's own
 * inflater, a long one yields between slices, a heavy one runs on a helper thread. The next append
 * starts when the one before it is in the log; durability is waited for by all together. The
 * helper does a heavy one in slices (core/helper_line.h).
 *
 * A batch that is not in its topic's codec (compression.type) is checked and compressed anew on the
 * helper thread, in its place in the line. The new bytes are the broker's memory, so a shard has
 * RECODES_MAX of them at a time, from the job until the log has copied them; other partitions wait.
 */
#include "core/broker.h"
#include "core/partition/partition_private.h"
#include "core/partition/partition_replicas.h"
#include "core/record/batch_check.h"
#include "core/record/recode.h"
#include "io/mem.h"

#include <assert.h>
#include <stdio.h>

/* Checked at once: at most four slices of 64 KiB, 280 us of the plainest records. */
#define CHECK_NOW_BYTES          (256U << 10)
#define CHECK_INFLATED_NOW_BYTES (16U << 10) /* compressed: it may be much more inside */
#define ACKS_ALL                 (-1)
#define CHECK_SLICES             2U /* between yields */
#define RECODES_MAX              4U
/* How much larger than max.message.bytes a batch may be inside, and what it may be in any case. A
 * producer gathers records until batch.size or its whole buffer (32 MiB) is full, however well they
 * compress; deflate could do 1,000 times, which is nobody's records. */
#define INFLATED_TIMES    64U
#define INFLATED_AT_LEAST (128ULL << 20)
#define LZ4_LEVEL_FAST    9 /* compression.lz4.level's default is no level of the slow one */

/* A check that takes longer than a turn has. */
struct partition_check {
    struct batch_check check;
    struct inflater inflater;
    struct partition *pt;
    struct helper_job job;
    bool working; /* it is the helper thread's */
    enum batch_verdict verdict;
    bool recodes; /* and compresses it anew */
    struct recode recode;
};

/* ---- whose turn it is to compress ---- */

/* False: comes back as a step of the partition. */
static bool recode_begin(struct partition *pt)
{
    struct broker_shard *bs = pt->bs;
    if (bs->recodes < RECODES_MAX) {
        bs->recodes++;
        return true;
    }
    pt->recode_waits = true;
    TAILQ_INSERT_TAIL(&bs->recode_line, pt, recode_link);
    return false;
}

static void recode_leave(struct partition *pt)
{
    TAILQ_REMOVE(&pt->bs->recode_line, pt, recode_link);
    pt->recode_waits = false;
}

static void recode_end(struct broker_shard *bs)
{
    struct partition *next = TAILQ_FIRST(&bs->recode_line);
    must(bs->recodes > 0);
    bs->recodes--;
    if (next) {
        recode_leave(next);
        shard_ready(bs->sh, &next->step);
    }
}

/* ---- answers ---- */

static void deliver(struct shard *here, struct mail *mail)
{
    (void)here;
    struct partition_append *op = container_of(mail, struct partition_append, priv.mail);
    op->done(op);
}

/* The new bytes of a batch are not needed any more. */
static void recoded_put(struct partition_append *op)
{
    if (op->priv.recoded.data == NULL)
        return;
    struct broker_shard *bs = op->priv.pt->bs;
    mem_free(no_const(op->priv.recoded.data));
    op->priv.recoded.data = NULL;
    recode_end(bs);
}

static void finish(struct partition_append *op)
{
    recoded_put(op);
    struct broker_shard *from = op->priv.from;
    struct shard *here = shard_here();
    if (from->sh == here)
        op->done(op);
    else
        shard_answer(here, &op->priv.mail, deliver);
}

static void refuse(struct partition_append *op, enum err error, const char *message)
{
    op->error = (int16_t)error;
    op->message = message;
    finish(op);
}

static enum err err_of_verdict(enum log_verdict verdict)
{
    switch (verdict) {
    case LOG_OK:
    case LOG_WAIT:
        return ERR_NONE;
    case LOG_CORRUPT:
        return ERR_CORRUPT_MESSAGE;
    case LOG_TOO_LARGE:
        return ERR_RECORD_LIST_TOO_LARGE;
    case LOG_OUT_OF_ORDER_SEQUENCE:
        return ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    case LOG_INVALID_PRODUCER_EPOCH:
        return ERR_INVALID_PRODUCER_EPOCH;
    case LOG_OUT_OF_ORDER_OFFSET:
        return ERR_INVALID_RECORD;
    case LOG_OUT_OF_RANGE:
        return ERR_OFFSET_OUT_OF_RANGE;
    case LOG_FULL:
    case LOG_OFFLINE:
        return ERR_KAFKA_STORAGE_ERROR;
    case LOG_CLOSED:
        return ERR_NOT_LEADER_OR_FOLLOWER;
    }
    return ERR_UNKNOWN_SERVER_ERROR;
}

/* ---- acks=all: durable here, and now the others ---- */

static bool is_committed(const struct partition *pt, const struct partition_append *op)
{
    return !pt->replicas || op->priv.append.last_offset < pt->high_watermark;
}

static void committing_leave(struct partition *pt, struct partition_append *op)
{
    timer_cancel(pt->bs->sh, &op->priv.patience);
    TAILQ_REMOVE(&pt->committing, op, priv.link);
    op->committed_ns = shard_step_ns(pt->bs->sh);
}

static void on_impatient(struct shard *sh, struct timer *timer)
{
    struct partition_append *op = container_of(timer, struct partition_append, priv.patience);
    (void)sh;
    committing_leave(op->priv.pt, op);
    refuse(op, ERR_REQUEST_TIMED_OUT, NULL);
}

static void await_commit(struct partition *pt, struct partition_append *op)
{
    if (op->acks != ACKS_ALL || is_committed(pt, op) ||
        io_mutation(pt->bs->sh->io, "replica.acknowledged_by_leader")) {
        finish(op);
        return;
    }
    TAILQ_INSERT_TAIL(&pt->committing, op, priv.link);
    op->priv.patience = (struct timer){.fn = on_impatient, .name = "partition.patience"};
    timer_set(pt->bs->sh, &op->priv.patience,
              io_now_ns(pt->bs->sh->io) + (uint64_t)max_i64(op->timeout_ms, 0) * 1000000U);
}

void partition_appends_committed(struct partition *pt)
{
    struct partition_append *op;
    while ((op = TAILQ_FIRST(&pt->committing)) && is_committed(pt, op)) {
        committing_leave(pt, op);
        if (partition_set_is_enough(pt))
            finish(op);
        else
            refuse(op, ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, NULL);
    }
}

void partition_appends_abandon(struct partition *pt, enum err error)
{
    struct partition_append *op;
    while ((op = TAILQ_FIRST(&pt->committing))) {
        committing_leave(pt, op);
        refuse(op, error, NULL);
    }
}

static void on_durable_append(struct log_append *append)
{
    struct partition_append *op = append->user;
    struct partition *pt = op->priv.pt;
    enum err error = err_of_verdict(append->verdict);
    op->durable_ns = shard_step_ns(pt->bs->sh);
    if (error != ERR_NONE) {
        refuse(op, error, log_verdict_text(append->verdict));
        partition_write_end(pt);
        return;
    }
    op->base_offset = append->base_offset;
    op->log_append_time_ms = append->timestamp;
    op->log_start_offset = pt->log->start_offset;
    if (pt->leading && op->leader_epoch == pt->leader_epoch)
        await_commit(pt, op);
    else
        refuse(op, ERR_NOT_LEADER_OR_FOLLOWER, NULL); /* the next leader may not have it */
    partition_write_end(pt);
}

/* ---- checks ---- */

/* Which codec is the batch to have? False: the one it has. */
static bool wanted_codec(const struct partition *pt, const struct span *records, enum codec *codec)
{
    struct batch_header header;
    if (pt->conf.compression_type == CONF_COMPRESSION_PRODUCER ||
        !batch_header_read(&header, records))
        return false;
    static_assert(CONF_COMPRESSION_ZSTD - CONF_COMPRESSION_NONE == CODEC_ZSTD, "the same order");
    *codec = (enum codec)(pt->conf.compression_type - CONF_COMPRESSION_NONE);
    return batch_codec(&header) != (int)*codec;
}

static int codec_level(const struct topic_conf *conf, enum codec codec)
{
    switch (codec) {
    case CODEC_GZIP:
        return conf->compression_gzip_level;
    case CODEC_LZ4:
        return conf->compression_lz4_level == LZ4_LEVEL_FAST ? CODEC_LEVEL_DEFAULT
                                                             : conf->compression_lz4_level;
    case CODEC_ZSTD:
        return conf->compression_zstd_level;
    case CODEC_NONE:
    case CODEC_SNAPPY:
    default:
        return CODEC_LEVEL_DEFAULT;
    }
}

static void fill_rules(const struct partition *pt, const struct partition_append *op,
                       struct batch_rules *rules)
{
    const struct topic_conf *conf = &pt->conf;
    *rules = (struct batch_rules){
        .now_ms = io_wall_ms(pt->bs->sh->io),
        .timestamp_before_max_ms = conf->message_timestamp_before_max_ms,
        .timestamp_after_max_ms = conf->message_timestamp_after_max_ms,
        .inflated_bytes_max =
            min_u64(INFLATED_BYTES_MAX,
                    max_u64(INFLATED_AT_LEAST, (uint64_t)conf->max_message_bytes * INFLATED_TIMES)),
        .message_bytes_max = conf->max_message_bytes,
        .segment_bytes = conf->segment_bytes,
        .log_append_time = conf->message_timestamp_type == CONF_TIMESTAMP_LOG_APPEND_TIME,
        .compacted = (conf->cleanup_policy & CONF_CLEANUP_COMPACT) != 0,
        .zstd_allowed = op->zstd_allowed,
        .crc_by_copy = true,
    };
}

static void refuse_checked(struct partition_append *op, const struct batch_check *check)
{
    uint32_t count = check->record_error_count;
    struct partition_refusal *refusal =
        mem_alloc(sizeof(*refusal) + count * sizeof(refusal->record_errors[0]));
    snprintf(refusal->text, sizeof(refusal->text), "%s",
             check->failure.text ? check->failure.text : "");
    refusal->record_error_count = count;
    for (uint32_t i = 0; i < count; i++) {
        refusal->record_errors[i].batch_index = check->record_errors[i].batch_index;
        batch_check_record_error(check, i, refusal->record_errors[i].text,
                                 sizeof(refusal->record_errors[i].text));
    }
    op->refusal = refusal;
    refuse(op, (enum err)check->failure.code, NULL);
}

/* The batch is good: into the log. Its bytes are the producer's or op->priv.recoded. */
static void append_checked(struct partition *pt, struct partition_append *op,
                           const struct batch_check *check)
{
    const bool log_append_time = check->rules.log_append_time;
    struct log_append *append = &op->priv.append;
    struct piece *recoded = &op->priv.recoded;
    *append = (struct log_append){
        .batch = recoded->data ? span_of(recoded, recoded->data, recoded->len) : op->records,
        .leader_epoch = pt->leader_epoch,
        .append_time_ms = log_append_time ? check->rules.now_ms : -1,
        .max_timestamp = log_append_time ? LOG_KEEP : check->max_timestamp,
        .done = on_durable_append,
        .user = op,
    };
    op->leader_epoch = pt->leader_epoch;
    op->appended_ns = shard_step_ns(pt->bs->sh);
    enum log_verdict verdict = log_append(pt->log, append);
    if (verdict == LOG_OK || verdict == LOG_WAIT)
        partition_write_begin(pt);
    if (verdict == LOG_OK)
        recoded_put(op); /* the log has copied it */
    else if (verdict != LOG_WAIT)
        refuse(op, err_of_verdict(verdict), log_verdict_text(verdict));
}

static void conclude(struct partition *pt, struct partition_append *op,
                     const struct batch_check *check, enum batch_verdict verdict)
{
    TAILQ_REMOVE(&pt->appends, op, priv.link);
    if (pt->closing)
        refuse(op, ERR_UNKNOWN_TOPIC_OR_PARTITION, NULL);
    else if (!pt->leading)
        refuse(op, ERR_NOT_LEADER_OR_FOLLOWER, NULL); /* not any more */
    else if (verdict == BATCH_REFUSED)
        refuse_checked(op, check);
    else if (check->header.attributes & BATCH_TRANSACTIONAL)
        refuse(op, ERR_INVALID_TXN_STATE, "transactions are not supported yet");
    else
        append_checked(pt, op, check);
}

/* What came of compressing a good batch anew goes to `op`; false: it is refused. */
static bool recode_take(struct partition *pt, struct partition_append *op,
                        const struct recode *recode, const struct batch_rules *rules)
{
    op->priv.recoded = (struct piece){.data = recode->bytes, .len = recode->len};
    if (recode->status == RECODE_OK)
        return true;
    recode_end(pt->bs);
    TAILQ_REMOVE(&pt->appends, op, priv.link);
    if (recode->status == RECODE_BROKEN)
        refuse(op, ERR_INVALID_RECORD, "the records cannot be inflated");
    else if (recode->bytes_max == (uint32_t)rules->message_bytes_max)
        refuse(op, ERR_MESSAGE_TOO_LARGE,
               "in the topic's compression.type the batch is larger than max.message.bytes");
    else
        refuse(op, ERR_RECORD_LIST_TOO_LARGE,
               "in the topic's compression.type the batch is larger than segment.bytes");
    return false;
}

static void check_end(struct partition_check *pc)
{
    struct partition *pt = pc->pt;
    struct partition_append *op = TAILQ_FIRST(&pt->appends);
    if (pc->recodes && pc->verdict != BATCH_GOOD)
        recode_end(pt->bs);
    if (!pc->recodes || pc->verdict != BATCH_GOOD ||
        recode_take(pt, op, &pc->recode, &pc->check.rules))
        conclude(pt, op, &pc->check, pc->verdict);
    pt->check = NULL;
    inflater_fini(&pc->inflater);
    mem_free(pc);
    shard_ready(pt->bs->sh, &pt->step);
}

static bool check_work(struct helper_job *job, uint32_t slices)
{
    struct partition_check *pc = container_of(job, struct partition_check, job);
    pc->verdict = batch_check_step(&pc->check, slices);
    if (pc->verdict == BATCH_MORE)
        return true;
    if (!pc->recodes || pc->verdict != BATCH_GOOD)
        return false;
    pc->recode.plain_bytes = pc->check.plain_bytes;
    recode_run(&pc->recode, &pc->inflater, &pc->pt->bs->deflater);
    return false;
}

static void check_start(struct partition_check *pc, const struct batch_rules *rules)
{
    inflater_init(&pc->inflater);
    batch_check_start(&pc->check, rules, &pc->inflater, TAILQ_FIRST(&pc->pt->appends)->records);
}

static void check_rewind(struct helper_job *job)
{
    struct partition_check *pc = container_of(job, struct partition_check, job);
    const struct batch_rules rules = pc->check.rules;
    inflater_fini(&pc->inflater);
    check_start(pc, &rules);
}

static void on_check_worked(struct helper_job *job)
{
    struct partition_check *pc = container_of(job, struct partition_check, job);
    pc->working = false;
    check_end(pc);
}

static void check_begin(struct partition *pt, struct partition_append *op, bool recodes,
                        enum codec codec)
{
    const struct topic_conf *conf = &pt->conf;
    struct partition_check *pc = mem_zalloc(sizeof(*pc));
    pc->pt = pt;
    pc->recodes = recodes;
    pc->recode = (struct recode){
        .batch = op->records,
        .codec = codec,
        .level = codec_level(conf, codec),
        .bytes_max = (uint32_t)min_i64(conf->max_message_bytes, conf->segment_bytes),
        .mistake_cut = io_mutation(pt->bs->sh->io, "recode.byte_lost")};
    pt->check = pc;
    struct batch_rules rules;
    fill_rules(pt, op, &rules);
    rules.crc_by_copy = !recodes; /* what the log copies has a checksum of its own */
    check_start(pc, &rules);
    if (recodes || batch_check_is_heavy(&pc->check)) {
        pc->working = true;
        pc->job = (struct helper_job){
            .work = check_work, .rewind = check_rewind, .done = on_check_worked};
        helper_line_go(&pt->bs->helper_line, &pc->job);
    } else {
        shard_ready(pt->bs->sh, &pt->step);
    }
}

static bool takes_long(const struct span *records)
{
    if (records->len > CHECK_NOW_BYTES)
        return true;
    struct batch_header header;
    return records->len > CHECK_INFLATED_NOW_BYTES && batch_header_read(&header, records) &&
           batch_codec(&header) != 0;
}

static void check_now(struct partition *pt, struct partition_append *op)
{
    struct batch_check *check = pt->bs->check;
    struct batch_rules rules;
    fill_rules(pt, op, &rules);
    batch_check_start(check, &rules, &pt->bs->inflater, op->records);
    enum batch_verdict verdict;
    do {
        verdict = batch_check_step(check, CHECK_SLICES);
    } while (verdict == BATCH_MORE);
    conclude(pt, op, check, verdict);
}

/* ---- the line ---- */

/* Refusals that need no look at the batch. */
static bool admit(struct partition *pt, struct partition_append *op)
{
    if (!pt->leading && !pt->loss) {
        op->leader_epoch = pt->leader_epoch;
        refuse(op, ERR_NOT_LEADER_OR_FOLLOWER, NULL);
        return false;
    }
    if (op->acks < -1 || op->acks > 1) {
        refuse(op, ERR_INVALID_REQUIRED_ACKS, NULL);
        return false;
    }
    if (pt->internal && !op->internal_allowed) {
        refuse(op, ERR_INVALID_TOPIC_EXCEPTION,
               "clients do not write to internal topics: use the requests that do");
        return false;
    }
    if (broker_logs_failed(pt)) {
        refuse(op, ERR_KAFKA_STORAGE_ERROR, NULL);
        return false;
    }
    if (op->acks == ACKS_ALL && !partition_has_quorum(pt)) {
        refuse(op, ERR_NOT_ENOUGH_REPLICAS, NULL); /* P4 */
        return false;
    }
    return true;
}

void partition_appends_step(struct shard *sh, struct task *task)
{
    struct partition *pt = container_of(task, struct partition, step);
    uint64_t began = io_clock_ns(sh->io);
    struct partition_check *pc = pt->check;
    if (pt->loss && !pt->closing)
        return; /* it will lead: a producer's requests keep their order until then */
    if (pt->recode_waits && !pt->closing)
        return;
    if (pt->recode_waits)
        recode_leave(pt);
    if (pc) {
        if (pc->working)
            return;
        pc->verdict = batch_check_step(&pc->check, CHECK_SLICES);
        if (pc->verdict == BATCH_MORE)
            shard_ready(sh, task);
        else
            check_end(pc);
        return;
    }
    struct partition_append *op;
    while ((op = TAILQ_FIRST(&pt->appends)) && !pt->check) {
        if (pt->closing) {
            TAILQ_REMOVE(&pt->appends, op, priv.link);
            refuse(op, ERR_UNKNOWN_TOPIC_OR_PARTITION, NULL);
            continue;
        }
        if (shard_should_yield(sh, began)) {
            shard_ready(sh, task);
            return;
        }
        enum codec codec = CODEC_NONE;
        bool recodes = wanted_codec(pt, &op->records, &codec);
        if (recodes && !recode_begin(pt))
            return;
        if (recodes || takes_long(&op->records))
            check_begin(pt, op, recodes, codec);
        else
            check_now(pt, op);
    }
    partition_maybe_closed(pt);
}

static void arrive(struct broker_shard *bs, struct partition_append *op)
{
    struct partition *pt = partition_find(&bs->partitions, &op->key);
    if (!pt) {
        refuse(op, partition_absence(bs, &op->key), NULL);
        return;
    }
    op->priv.pt = pt;
    if (!admit(pt, op))
        return;
    struct partition_append *first = TAILQ_FIRST(&pt->appends);
    if (first && io_mutation(bs->sh->io, "partition.appends_out_of_order"))
        TAILQ_INSERT_AFTER(&pt->appends, first, op, priv.link);
    else
        TAILQ_INSERT_TAIL(&pt->appends, op, priv.link);
    /* Nothing before it: no detour through the queue of tasks. */
    if (TAILQ_FIRST(&pt->appends) == op && !pt->check)
        partition_appends_step(bs->sh, &pt->step);
}

static void on_arrived(struct shard *here, struct mail *mail)
{
    arrive(broker_shard_of(here), container_of(mail, struct partition_append, priv.mail));
}

void partition_append(struct broker_shard *from, struct partition_append *op)
{
    must(shard_here() == from->sh);
    op->error = ERR_NONE;
    op->message = NULL;
    op->base_offset = -1;
    op->log_append_time_ms = -1;
    op->log_start_offset = -1;
    op->leader_epoch = -1;
    op->appended_ns = 0;
    op->durable_ns = 0;
    op->committed_ns = 0;
    op->refusal = NULL;
    op->priv.recoded = (struct piece){0};
    op->priv.from = from;
    if (op->home == from->sh->id)
        arrive(from, op);
    else
        shard_post(from->sh, op->home, &op->priv.mail, on_arrived);
}
