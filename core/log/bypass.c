/* SPDX-License-Identifier: Apache-2.0
 *
 * The bypass of large appends. Twice on the disk (journal, segment) is dear when the bytes are
 * many, and their share of a flush is small anyway. So an append of BYPASS_BYTES and more, whose
 * place in the segment file has been taken already, is written there directly, and what goes to the
 * journal is an extent record: the place, a CRC, and the bytes of the partial first and last block.
 * Both are durable writes and start together; the acknowledgement waits for both.
 *
 * Order. The journal acknowledges groups in their order. What it has made durable of a log waits
 * (lg->behind) while a direct write of that log before it is not done, so acknowledgements of a
 * partition keep their order and a neighbour's small append waits for no megabytes. `flushed` does
 * not pass a direct write that is under way, and a checkpoint does not begin its work before all
 * those are done whose records it will release: so everything that looks at `flushed` (the lazy
 * writer, checkpoint entries, eviction) goes on meaning the same by it.
 *
 * Blocks. A direct write is of whole blocks, [from, upto). Bytes that were acknowledged are never
 * rewritten by it: the block at its beginning, which it shares with the append before, goes with it
 * only when no write of that block was ever asked for (`issued` ends exactly there); then a stream
 * of large appends is one contiguous sequence of writes. Else the first whole block is the first of
 * the write, and the gap before it is the lazy writer's, from the tail and by its own rules: when
 * it is flushed, and (the extent record carries the prefix after a checkpoint as any record does)
 * while another durable copy exists. The block at the end goes out with the next append, or lazily.
 * `written` stays where a gap is, direct writes behind it are in segment->ahead, and the lazy
 * writer stops at the first of them (bypass_wall). No two writes of one block are ever in flight
 * together.
 *
 * Nothing here waits for the journal: a checkpoint may wait for direct writes, and the journal for
 * the checkpoint's release, so a direct write that waited for a group would end both.
 *
 * Space. An acknowledgement waits for no allocation: where the file is not open yet, or not long
 * enough, the append goes through the journal as a small one does (the first ones of a segment do),
 * and the next step of space is asked for when half a step is left. Space is synced by the job that
 * takes it, so a durable write within it leaves nothing of the file's length to be saved.
 *
 * Replay (core/log/recovery_apply.c) reads what the CRC covers, unless a later record says that the
 * append was committed (`committed` in every record), and ends the log where it does not match: the
 * direct write was not done, so neither this append nor any behind it was acknowledged.
 *
 * Rejected: plain writes and one fdatasync for many of them (one more trip to the disk before the
 * acknowledgement, and on a drive with FUA the journal's own flush would cover nothing else); a
 * direct write of the shared block with the prefix in the record (the record may be lost and the
 * block torn at the same time, and then both copies are gone).
 */
#include "core/log/bypass.h"

#include "core/log/log_change.h"
#include "core/log/log_private.h"

#define BYPASS_PIECE (1U << 20)

/* Enough for the disk to be busy, and little to stand in front of the next commit of others. */
#define BYPASS_FLIGHT_BYTES (2U << 20)
#define BYPASS_SHARE_MIN    (128U << 10)
#define BYPASS_COMPANY_NS   10000000U /* since the last small append of the shard */

uint32_t bypass_wall(const struct segment *segment)
{
    const struct bypass *first = TAILQ_FIRST(&segment->ahead);
    return first != NULL ? first->from : UINT32_MAX;
}

/* ---- deciding ---- */

static bool bypass_fits(const struct log_shard *ls, const struct segment *segment, uint32_t start,
                        uint32_t end)
{
    return segment->file >= 0 && round_down(end, FS_BLOCK) <= segment->allocated &&
           round_up(start, FS_BLOCK) < round_down(end, FS_BLOCK) &&
           JOURNAL_GROUP_HEADER + JOURNAL_EXTENT_HEADER + 2 * FS_BLOCK <= ls->journal.group_cap;
}

/* The file, and space for what will come. */
static void bypass_prepare(struct log_body *lg, struct segment *segment)
{
    uint64_t ahead = max_u64(lg->step / 2, SEGMENT_STEP_MIN);
    uint64_t most = round_up(lg->config.segment_bytes, FS_BLOCK);
    (void)segment_ready(segment, min_u64(segment->size + ahead, max_u64(most, segment->size)));
}

bool bypass_take(struct log_body *lg, struct log_append *op)
{
    struct log_shard *ls = lg->ls;
    struct segment *segment = op->priv.segment;
    uint32_t start = op->priv.start;
    uint32_t end = op->priv.end;
    if (end - start < ls->dir->options.bypass_bytes)
        return false;
    lg->large = true;
    bypass_prepare(lg, segment);
    if (!bypass_fits(ls, segment, start, end))
        return false;
    struct bypass *bypass = mem_zalloc(sizeof(*bypass));
    uint32_t shared = (uint32_t)round_down(start, FS_BLOCK);
    bool fresh = segment->issued == shared || io_mutation(ls->io, "bypass.shared_block_rewritten");
    bypass->segment = segment;
    bypass->from = fresh ? shared : (uint32_t)round_up(start, FS_BLOCK);
    bypass->upto = (uint32_t)round_down(end, FS_BLOCK);
    bypass->next = bypass->from;
    segment->issued = bypass->upto;
    TAILQ_INSERT_TAIL(&segment->ahead, bypass, link);
    TAILQ_INSERT_TAIL(&ls->bypass_line, bypass, line_link);
    segment_use(segment);
    lg->users++;
    op->priv.unwritten = !io_mutation(ls->io, "bypass.ack_before_write");
    bypass->op = op->priv.unwritten ? op : NULL;
    op->priv.seq = UINT64_MAX; /* in no group yet */
    log_shard_kick(ls);
    return true;
}

/* ---- the record ---- */

bool bypass_journal(struct log_body *lg, struct log_append *op, bool prefix)
{
    struct log_shard *ls = lg->ls;
    const struct segment *segment = op->priv.segment;
    uint32_t from = prefix ? (uint32_t)round_down(op->priv.start, FS_BLOCK) : op->priv.start;
    struct journal_extent extent = {
        .inner_position = (uint32_t)round_up(op->priv.start, FS_BLOCK),
        .inner_bytes =
            (uint32_t)(round_down(op->priv.end, FS_BLOCK) - round_up(op->priv.start, FS_BLOCK)),
    };
    log_append_summary(lg, op, from, op->priv.end, &extent.append);
    uint32_t head = journal_extent_head(&extent);
    uint32_t tail = journal_extent_tail(&extent);
    uint32_t length = JOURNAL_EXTENT_HEADER + head + tail;
    uint32_t room;
    uint32_t crc;
    uint8_t *at = journal_reserve(&ls->journal, length, &room, &crc);
    if (at == NULL)
        return false;
    extent.inner_crc = tail_crc(lg, segment, extent.inner_position, extent.inner_bytes);
    const struct journal_record record = {.kind = JOURNAL_EXTENT,
                                          .version = 1,
                                          .id = lg->log.id,
                                          .incarnation = lg->incarnation,
                                          .change = ++lg->change};
    struct bytes_out out = bytes_out_of(at, JOURNAL_EXTENT_HEADER);
    journal_record_encode(&record, length, &out);
    journal_extent_encode(&extent, &out);
    tail_copy_out(lg, segment, from, at + JOURNAL_EXTENT_HEADER, head);
    tail_copy_out(lg, segment, op->priv.end - tail, at + JOURNAL_EXTENT_HEADER + head, tail);
    op->priv.seq = journal_written(&ls->journal, length, 1, crc32c(crc, at, length),
                                   log_makes_durable(lg, op));
    op->priv.change = lg->change;
    op->priv.journaled = op->priv.end;
    lg->prefix_number = ls->checkpoint_number;
    count_up(&ls->counts.copied_bytes, head + tail);
    return true;
}

/* ---- writing ---- */

bool bypass_busy(const struct log_shard *ls)
{
    return !TAILQ_EMPTY(&ls->bypass_line) || !TAILQ_EMPTY(&ls->bypass_flights);
}

static bool bypass_list_waits(const struct bypasses *list, uint64_t seq)
{
    const struct bypass *bypass;
    TAILQ_FOREACH (bypass, list, line_link) {
        if (bypass->op != NULL && bypass->op->priv.seq <= seq)
            return true;
    }
    return false;
}

bool bypass_waits(const struct log_shard *ls, uint64_t seq)
{
    return !io_mutation(ls->io, "bypass.checkpoint_does_not_wait") &&
           (bypass_list_waits(&ls->bypass_line, seq) ||
            bypass_list_waits(&ls->bypass_flights, seq));
}

void bypass_absorb(struct segment *segment)
{
    struct bypass *bypass;
    while ((bypass = TAILQ_FIRST(&segment->ahead)) != NULL && bypass->done &&
           bypass->from <= segment->written) {
        segment->written = bypass->upto;
        TAILQ_REMOVE(&segment->ahead, bypass, link);
        mem_free(bypass);
    }
}

/* All its bytes are durable, or (offline) will never be. */
static void bypass_end(struct log_shard *ls, struct bypass *bypass)
{
    struct segment *segment = bypass->segment;
    struct log_body *lg = segment->lg;
    struct log_append *op = bypass->op;
    bypass->op = NULL;
    bypass->done = true;
    if (!ls->offline) {
        bypass_absorb(segment);
        tail_written(lg, segment);
        if (op != NULL) {
            op->priv.unwritten = false;
            if (op->priv.pair != NULL)
                op->priv.pair->priv.unwritten = false;
            log_commit_behind(lg);
        }
        writer_want(lg);
        checkpoint_log_written(lg);
    }
    segment_unuse(segment);
    log_unuse(lg);
    log_shard_progress(ls);
}

/* How fast is the disk with what is under way together? */
static void bypass_measure(struct log_shard *ls, const struct bypass_piece *piece)
{
    uint64_t took_ns = io_now_ns(ls->io) - piece->submitted_ns;
    if (took_ns == 0 || piece->bytes < BYPASS_SHARE_MIN / 2)
        return;
    uint64_t rate = piece->together_bytes * 1000000ULL / took_ns;
    ls->pieces_per_ms = ls->pieces_per_ms - ls->pieces_per_ms / 8 + rate / 8;
}

static void bypass_on_write(struct io_op *op)
{
    struct bypass_piece *piece = container_of(op, struct bypass_piece, op);
    struct log_shard *ls = piece->ls;
    struct bypass *bypass = piece->bypass;
    TAILQ_INSERT_HEAD(&ls->pieces_free, piece, link);
    ls->pieces_bytes -= piece->bytes;
    bypass_measure(ls, piece);
    bypass->pieces--;
    if (op->res < 0)
        log_shard_fail(ls, "write a segment of", bypass->segment->lg->log.topic, op->res);
    log_shard_kick(ls);
    bool asked = bypass->next == bypass->upto;
    if (bypass->pieces > 0 || (!asked && !ls->offline))
        return;
    TAILQ_REMOVE(asked ? &ls->bypass_flights : &ls->bypass_line, bypass, line_link);
    bypass_end(ls, bypass);
}

/* How many bytes may be under way. Alone, enough for the disk to be busy. While small appends come
 * they are to wait for no more than the disk takes in two milliseconds: each of their commits
 * stands behind what is there. */
static uint64_t bypass_share(const struct log_shard *ls)
{
    if (io_now_ns(ls->io) - ls->small_append_ns > BYPASS_COMPANY_NS)
        return BYPASS_FLIGHT_BYTES;
    uint64_t share = max_u64(round_down(2 * ls->pieces_per_ms, FS_BLOCK), BYPASS_SHARE_MIN);
    return min_u64(share, BYPASS_FLIGHT_BYTES);
}

/* Of the next piece: half of what may be under way, so that the disk has one when one is done. */
static uint32_t bypass_piece_bytes(const struct log_shard *ls, const struct bypass *bypass)
{
    uint64_t most = min_u64(round_down(bypass_share(ls) / 2, FS_BLOCK), BYPASS_PIECE);
    return (uint32_t)min_u64(bypass->upto - bypass->next, most);
}

static bool bypass_may_submit(const struct log_shard *ls, const struct bypass *bypass)
{
    return !TAILQ_EMPTY(&ls->pieces_free) &&
           (ls->pieces_bytes == 0 ||
            ls->pieces_bytes + bypass_piece_bytes(ls, bypass) <= bypass_share(ls));
}

static void bypass_submit(struct log_shard *ls, struct bypass *bypass)
{
    struct bypass_piece *piece = TAILQ_FIRST(&ls->pieces_free);
    struct iovec iov[IO_VECTORS_MAX];
    uint32_t from = bypass->next;
    uint32_t upto = from + bypass_piece_bytes(ls, bypass);
    unsigned count = tail_gather(bypass->segment->lg, bypass->segment, from, upto, iov,
                                 array_count(iov), &bypass->next);
    TAILQ_REMOVE(&ls->pieces_free, piece, link);
    piece->bypass = bypass;
    piece->bytes = bypass->next - from;
    piece->submitted_ns = io_now_ns(ls->io);
    ls->pieces_bytes += piece->bytes;
    piece->together_bytes = ls->pieces_bytes;
    bypass->pieces++;
    count_up(&ls->counts.bypass_writes, 1);
    count_up(&ls->counts.bypass_bytes, piece->bytes);
    piece->op.done = bypass_on_write;
    io_write(ls->io, &piece->op, bypass->segment->file, iov, count, from,
             !io_mutation(ls->io, "bypass.no_dsync"));
}

/* In order of appending; but one of many pieces goes behind the others after each of them. */
void bypass_run(struct log_shard *ls)
{
    struct bypass *bypass;
    while (!ls->offline && (bypass = TAILQ_FIRST(&ls->bypass_line)) != NULL &&
           bypass_may_submit(ls, bypass)) {
        bypass_submit(ls, bypass);
        bool asked = bypass->next == bypass->upto;
        TAILQ_REMOVE(&ls->bypass_line, bypass, line_link);
        TAILQ_INSERT_TAIL(asked ? &ls->bypass_flights : &ls->bypass_line, bypass, line_link);
    }
}

/* ---- ends ---- */

void bypass_cut(struct segment *segment, uint32_t position)
{
    struct bypass *bypass;
    while ((bypass = TAILQ_LAST(&segment->ahead, bypasses)) != NULL && bypass->upto > position) {
        must(bypass->done);
        TAILQ_REMOVE(&segment->ahead, bypass, link);
        mem_free(bypass);
    }
    segment->issued = bypass != NULL ? bypass->upto : segment->written;
}

void bypass_fail(struct log_shard *ls)
{
    struct bypass *bypass;
    struct bypass *next;
    TAILQ_FOREACH (bypass, &ls->bypass_flights, line_link)
        bypass->op = NULL;
    for (bypass = TAILQ_FIRST(&ls->bypass_line); bypass != NULL; bypass = next) {
        next = TAILQ_NEXT(bypass, line_link);
        bypass->op = NULL;
        if (bypass->pieces > 0)
            continue;
        TAILQ_REMOVE(&ls->bypass_line, bypass, line_link);
        bypass_end(ls, bypass);
    }
}
