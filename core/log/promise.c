/* SPDX-License-Identifier: Apache-2.0
 *
 * When an append may be acknowledged. This is the one place that decides it:
 *
 *   durable  (the rule) when its record is durable; nothing of this file is in its way then
 *   os       when its group, and all before it, have reached the drive by plain writes
 *            (on_written, core/log/journal.h), and a large batch its segment file
 *   never    at the end of the turn in which it was appended; as os while more is answered from
 *            memory and not durable than the journal lately took in FLUSH_AFTER_NS
 *
 * All of it goes through the journal in every mode, in one order: a crash leaves a beginning of the
 * log, never a hole, and what is durable stays so whatever its neighbours have promised. What is
 * promised early is made durable behind everybody's back, FLUSH_AFTER_NS later at the most, by a
 * flush of the journal that serves the whole shard; flush.ms asks for it earlier, and the append
 * that would leave flush.messages records open is answered when it is durable itself.
 *
 * An append that is answered early is its owner's again while its record is still on its way. So a
 * stand-in takes its place in the journal's queue, and `pair` joins the two until the answer. In
 * everything else (flushed, durable, written, checkpoints, bypass) a stand-in is an append.
 *
 * Answers of one log come in the order of offsets, across a change of mode too: while one waits to
 * be durable (`strict`) those behind it do, while one waits to be written (`early`) those behind it
 * do at least that.
 *
 * A log may promise less than durable only once a record of its own that says so is durable: that
 * is how a start knows which logs may have lost what they had acknowledged (may_have_lost), even
 * if nothing else is left of it and the configuration has changed since. The record that ends this
 * is itself behind everything that was promised before.
 *
 * What is remembered of producers has seen what is not durable yet, and of each only the last
 * batches. A checkpoint tells of the durable log, so a log that is relaxed keeps what was known of
 * them at its durable end beside that.
 *
 * Rejected: a second journal for what need not be durable (a log's records would have no order
 * across a change of mode, and each commit of a mixed load would be two writes); no journal for
 * `never` (a block that is rewritten in a segment must have a durable copy of what was there).
 */
#include "core/log/promise.h"

#include "core/log/log_private.h"

#define FLUSH_AFTER_NS 100000000ULL
#define MEMORY_MIN     (1U << 20)
#define MEMORY_SHARE   8U /* of the tail memory */

const char *log_durability_text(enum log_durability durability)
{
    static const char *const texts[] = {
        [LOG_DURABLE] = "durable", [LOG_OS] = "os", [LOG_NEVER] = "never"};
    return texts[durability];
}

/* Has the disk so much to do for what was answered from memory that no more should be? Else the
 * next one that has to wait for it, in whatever mode, would wait for seconds. */
static bool is_far_behind(const struct log_shard *ls)
{
    uint64_t soon = ls->journal.bytes_per_ms * (FLUSH_AFTER_NS / 1000000);
    uint64_t most = min_u64(max_u64(soon, MEMORY_MIN), ls->pool.size / MEMORY_SHARE);
    return ls->memory_bytes > most;
}

static enum log_durability promise_of(const struct log_body *lg, const struct log_append *op)
{
    const struct log_config *config = &lg->config;
    if (config->durability == LOG_DURABLE)
        return LOG_DURABLE;
    bool recorded = lg->relaxed && !lg->mode_queued; /* what is queued says the contrary */
    if (!recorded && !io_mutation(lg->ls->io, "promise.mode_not_recorded"))
        return LOG_DURABLE;
    if (lg->strict > 0)
        return LOG_DURABLE;
    uint64_t open = (uint64_t)(op->last_offset + 1 - lg->log.durable_offset);
    bool flushed = config->flush_ms == 0 || open >= config->flush_messages;
    if (flushed && !io_mutation(lg->ls->io, "promise.flush_messages_ignored"))
        return LOG_DURABLE;
    return lg->early > 0 || is_far_behind(lg->ls) ? LOG_OS : config->durability;
}

/* Its original may have been answered under another mode. */
int64_t promise_of_duplicates(const struct log_body *lg)
{
    bool memory = lg->config.durability == LOG_NEVER ||
                  io_mutation(lg->ls->io, "promise.duplicate_answered_as_before");
    return memory ? lg->log.acked_offset : lg->log.durable_offset;
}

/* ---- stand-ins ---- */

static void stand_in_put(struct log_shard *ls, struct log_append *stand_in)
{
    STAILQ_INSERT_HEAD(&ls->stand_ins, stand_in, priv.link);
}

/* It is durable, or (offline) never will be. */
static void stand_in_done(struct log_append *stand_in)
{
    struct log_body *lg = log_body_of(stand_in->priv.lg);
    struct log_append *op = stand_in->priv.pair;
    enum log_verdict verdict = stand_in->verdict;
    if (stand_in->priv.from_memory)
        lg->ls->memory_bytes -= stand_in->priv.end - stand_in->priv.start;
    stand_in_put(lg->ls, stand_in);
    if (op == NULL)
        return;
    must(verdict != LOG_OK); /* else it was written before */
    lg->early--;
    op->priv.pair = NULL;
    op->verdict = verdict;
    op->done(op);
}

static struct log_append *stand_in_take(struct log_shard *ls, const struct log_append *op)
{
    struct log_append *stand_in = STAILQ_FIRST(&ls->stand_ins);
    if (stand_in != NULL)
        STAILQ_REMOVE_HEAD(&ls->stand_ins, priv.link);
    else
        stand_in = mem_alloc(sizeof(*stand_in));
    *stand_in = *op;
    stand_in->batch = (struct span){0};
    stand_in->done = stand_in_done;
    stand_in->user = NULL;
    stand_in->priv.plain = true;
    stand_in->priv.from_memory = false;
    return stand_in;
}

/* ---- acknowledged ---- */

static void promise_move(struct log_body *lg, struct segment *segment, uint32_t position,
                         int64_t offset)
{
    struct log_shard *ls = lg->ls;
    must(offset >= lg->log.acked_offset);
    lg->acked_segment = segment;
    lg->acked_position = position;
    lg->log.acked_offset = offset;
    if (lg->moved)
        return;
    lg->moved = true;
    TAILQ_INSERT_TAIL(&ls->moved, lg, moved_link);
}

static void promise_keep(struct log_append *op)
{
    struct log_body *lg = log_body_of(op->priv.lg);
    count_up(&lg->ls->counts.early_acks, 1);
    op->verdict = LOG_OK;
    op->done(op);
}

static void promise_keep_written(struct log_append *op)
{
    struct log_body *lg = log_body_of(op->priv.lg);
    op->priv.pair->priv.pair = NULL;
    op->priv.pair = NULL;
    lg->early--;
    promise_move(lg, op->priv.segment, op->priv.end, op->last_offset + 1);
    promise_keep(op);
}

void promise_durable(struct log_body *lg, const struct log_append *op)
{
    int64_t offset = op->last_offset + 1;
    if (offset > lg->log.acked_offset)
        promise_move(lg, op->priv.segment, op->priv.end, offset);
    if (lg->durable_producers == NULL || op->priv.producer_id < 0 || op->priv.base_sequence < 0)
        return;
    const struct producer_batch batch = {.base_sequence = op->priv.base_sequence,
                                         .last_sequence = op->priv.last_sequence,
                                         .base_offset = op->base_offset,
                                         .last_offset = op->last_offset,
                                         .timestamp = op->priv.max_timestamp};
    producer_absorb(lg->durable_producers, op->priv.producer_id, op->priv.producer_epoch, &batch,
                    op->priv.now_ms, lg->config.producer_ids_max);
}

static void durable_producers_put(struct log_body *lg)
{
    if (lg->durable_producers == NULL)
        return;
    producer_state_fini(lg->durable_producers);
    mem_free(lg->durable_producers);
    lg->durable_producers = NULL;
}

/* From what is remembered: all appends that are not durable yet wait to be. */
static void durable_producers_take(struct log_body *lg)
{
    size_t size = producer_encoded_size(&lg->producers);
    uint8_t *bytes = mem_alloc(size);
    struct bytes_out out = bytes_out_of(bytes, size);
    durable_producers_put(lg);
    lg->durable_producers = mem_zalloc(sizeof(*lg->durable_producers));
    producer_state_init(lg->durable_producers, lg->producers.seed);
    producer_encode(&lg->producers, lg->log.durable_offset, &out);
    struct bytes_in in = bytes_in_of(bytes, (size_t)(out.at - bytes));
    must(!out.overrun && producer_decode(lg->durable_producers, &in));
    mem_free(bytes);
}

void promise_reset(struct log_body *lg, struct segment *segment, uint32_t position, int64_t offset)
{
    if (lg->durable_producers != NULL)
        producer_truncate(lg->durable_producers, offset);
    lg->acked_segment = segment;
    lg->acked_position = position;
    lg->log.acked_offset = offset;
}

void promise_tell(struct log_shard *ls)
{
    struct log_body *lg;
    while ((lg = TAILQ_FIRST(&ls->moved)) != NULL) {
        TAILQ_REMOVE(&ls->moved, lg, moved_link);
        lg->moved = false;
        if (lg->log.on_acked != NULL)
            lg->log.on_acked(&lg->log);
    }
}

/* ---- the way of an append ---- */

static void flush_soon(struct log_body *lg)
{
    struct log_shard *ls = lg->ls;
    uint64_t after_ns = FLUSH_AFTER_NS;
    if (lg->config.flush_ms < FLUSH_AFTER_NS / 1000000 &&
        !io_mutation(ls->io, "promise.flush_ms_ignored"))
        after_ns = lg->config.flush_ms * 1000000;
    uint64_t at_ns = io_now_ns(ls->io) + after_ns;
    if (!timer_is_set(&ls->flush_timer) || ls->flush_timer.at_ns > at_ns)
        timer_set(ls->sh, &ls->flush_timer, at_ns);
}

void promise_on_flush_timer(struct shard *sh, struct timer *timer)
{
    struct log_shard *ls = container_of(timer, struct log_shard, flush_timer);
    if (ls->offline || ls->stopping)
        return;
    journal_want(&ls->journal);
    if (!TAILQ_EMPTY(&ls->journaling)) /* what has no place in a group yet */
        timer_set(sh, timer, io_now_ns(ls->io) + FLUSH_AFTER_NS / 100);
}

struct log_append *promise_take(struct log_body *lg, struct log_append *op)
{
    struct log_shard *ls = lg->ls;
    enum log_durability promise = promise_of(lg, op);
    op->priv.pair = NULL;
    op->priv.plain = false;
    op->priv.unwritten = false;
    if (promise == LOG_DURABLE) {
        lg->strict++;
        return op;
    }
    struct log_append *stand_in = stand_in_take(ls, op);
    if (promise == LOG_OS && !io_mutation(ls->io, "promise.os_from_memory")) {
        lg->early++;
        stand_in->priv.pair = op;
        op->priv.pair = stand_in;
    } else {
        STAILQ_INSERT_TAIL(&ls->promised, op, priv.link);
        stand_in->priv.from_memory = true;
        ls->memory_bytes += op->priv.end - op->priv.start;
        log_shard_kick(ls);
    }
    flush_soon(lg);
    return stand_in;
}

void promise_journaled(struct log_shard *ls, struct log_append *stand_in)
{
    struct log_append *op = stand_in->priv.pair;
    if (op == NULL)
        return;
    op->priv.seq = stand_in->priv.seq;
    op->priv.unwritten = stand_in->priv.unwritten;
    STAILQ_INSERT_TAIL(&ls->asked, op, priv.link);
}

void promise_on_written(struct log_shard *ls, uint64_t seq)
{
    struct log_appends due = STAILQ_HEAD_INITIALIZER(due);
    struct log_append *op;
    while ((op = STAILQ_FIRST(&ls->asked)) != NULL && op->priv.seq <= seq) {
        struct log_body *lg = log_body_of(op->priv.lg);
        STAILQ_REMOVE_HEAD(&ls->asked, priv.link);
        bool waits = op->priv.unwritten || !STAILQ_EMPTY(&lg->asked_behind);
        STAILQ_INSERT_TAIL(waits ? &lg->asked_behind : &due, op, priv.link);
    }
    while ((op = STAILQ_FIRST(&due)) != NULL) {
        STAILQ_REMOVE_HEAD(&due, priv.link);
        promise_keep_written(op);
    }
    promise_tell(ls);
}

void promise_behind(struct log_body *lg)
{
    struct log_append *op;
    while ((op = STAILQ_FIRST(&lg->asked_behind)) != NULL && !op->priv.unwritten) {
        STAILQ_REMOVE_HEAD(&lg->asked_behind, priv.link);
        promise_keep_written(op);
    }
}

void promise_run(struct log_shard *ls)
{
    struct log_appends due = STAILQ_HEAD_INITIALIZER(due);
    struct log_append *op;
    STAILQ_CONCAT(&due, &ls->promised);
    while ((op = STAILQ_FIRST(&due)) != NULL) {
        struct log_body *lg = log_body_of(op->priv.lg);
        STAILQ_REMOVE_HEAD(&due, priv.link);
        if (op->last_offset >= lg->log.acked_offset) /* else it is durable already */
            promise_move(lg, op->priv.segment, op->priv.end, op->last_offset + 1);
        promise_keep(op);
    }
    promise_tell(ls);
}

/* ---- the mode of a log ---- */

static uint64_t *count_of(struct log_body *lg)
{
    struct log_counts *counts = &lg->ls->counts;
    return lg->counted_as == LOG_OS ? &counts->logs_os : &counts->logs_never;
}

static void mode_count(struct log_body *lg, enum log_durability mode)
{
    if (lg->counted_as != LOG_DURABLE)
        --*count_of(lg);
    lg->counted_as = mode;
    if (mode != LOG_DURABLE)
        ++*count_of(lg);
}

void promise_forget(struct log_body *lg)
{
    mode_count(lg, LOG_DURABLE);
    durable_producers_put(lg);
}

void promise_mode_run(struct log_body *lg)
{
    struct log_shard *ls = lg->ls;
    mode_count(lg, lg->config.durability);
    bool relaxed = lg->config.durability != LOG_DURABLE;
    bool lives = lg->state == LOG_LIVE || lg->state == LOG_TRUNCATING;
    if (relaxed == lg->relaxed || lg->mode_queued || !lives || ls->offline || ls->stopping)
        return;
    lg->mode_queued = true;
    lg->mode_record.base_offset = relaxed;
    log_queue_record(lg, &lg->mode_record, JOURNAL_MODE);
}

static void mode_set(struct log_body *lg, bool relaxed)
{
    lg->relaxed = relaxed;
    if (relaxed && !io_mutation(lg->ls->io, "promise.producers_of_what_is_not_durable"))
        durable_producers_take(lg);
    else
        durable_producers_put(lg);
}

void promise_mode_durable(struct log_body *lg)
{
    lg->mode_queued = false;
    mode_set(lg, lg->mode_record.base_offset != 0);
    promise_mode_run(lg); /* it was changed again meanwhile */
}

void promise_adopt(struct log_body *lg, bool relaxed)
{
    promise_reset(lg, lg->active, lg->active->size, lg->log.end_offset);
    if (relaxed)
        mode_set(lg, true);
    promise_mode_run(lg);
}

void log_loss_told(struct log *log)
{
    struct log_body *lg = log_body_of(log);
    must(log_at_home(lg->ls));
    log->may_have_lost = false;
    log_dirty(lg);
}

/* ---- ends ---- */

void promise_fail(struct log_shard *ls)
{
    struct log_body *lg;
    STAILQ_INIT(&ls->asked); /* their stand-ins fail */
    TAILQ_FOREACH (lg, &ls->logs, all_link)
        STAILQ_INIT(&lg->asked_behind);
}

void promise_fini(struct log_shard *ls)
{
    struct log_append *stand_in;
    must(STAILQ_EMPTY(&ls->asked) && STAILQ_EMPTY(&ls->promised));
    while ((stand_in = STAILQ_FIRST(&ls->stand_ins)) != NULL) {
        STAILQ_REMOVE_HEAD(&ls->stand_ins, priv.link);
        mem_free(stand_in);
    }
}
