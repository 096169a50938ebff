/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/group_store.h"

#include "io/diag.h"
#include "io/mem.h"

#define ALL_REPLICAS      (-1)
#define COMMIT_TIMEOUT_MS 5000 /* offsets.commit.timeout.ms */

/* A range is read in pieces of this; a batch that is larger comes whole. */
#define LOAD_BYTES (1U << 20)
/* Clients do not write here, and we write no more than max.message.bytes at a time. */
#define LOAD_INFLATED_BYTES_MAX (64ULL << 20)
#define LOAD_ARENA_BYTES_MAX    (256U << 20)

/* ---- writing ---- */

void group_store_init(struct group_store *store, struct broker_shard *bs,
                      const struct partition_key *key)
{
    *store = (struct group_store){.bs = bs, .key = *key};
    batch_builder_init(&store->builder);
}

void group_store_fini(struct group_store *store)
{
    must(store->appends == 0);
    batch_builder_fini(&store->builder);
}

void group_store_begin(struct group_store *store)
{
    batch_builder_start(&store->builder);
}

void group_store_add(struct group_store *store, const struct group_record_bytes *record)
{
    batch_builder_add(&store->builder, io_wall_ms(store->bs->sh->io),
                      (struct bytes_or_null){record->key.data, record->key.len},
                      (struct bytes_or_null){record->value.data, record->value.len}, NULL, 0);
}

bool group_store_is_full(const struct group_store *store)
{
    const struct partition *pt = partition_find(&store->bs->partitions, &store->key);
    return pt && store->builder.plain_len > (size_t)pt->conf.max_message_bytes;
}

static void append_end(struct group_append *append)
{
    append->store->appends--;
    append->done(append);
    mem_free(append);
}

static void on_later(struct shard *here, struct mail *mail)
{
    (void)here;
    append_end(container_of(mail, struct group_append, mail));
}

static void on_appended(struct partition_append *op)
{
    struct group_append *append = container_of(op, struct group_append, append);
    struct shard *sh = append->store->bs->sh;
    append->error = (enum err)op->error;
    append->offset = op->base_offset;
    if (op->error != ERR_NONE)
        diag_warn(sh, "group.append_failed", "partition=%d error=%d reason=%s", op->key.partition,
                  op->error,
                  op->refusal   ? op->refusal->text
                  : op->message ? op->message
                                : "");
    mem_free(op->refusal);
    if (append->starting)
        shard_post(sh, sh->id, &append->mail, on_later);
    else
        append_end(append);
}

void group_store_append(struct group_store *store, group_append_done *done, void *user)
{
    must(store->builder.header.record_count > 0);
    const uint8_t *bytes;
    size_t len = batch_builder_finish(&store->builder, NULL, CODEC_NONE, 0, &bytes);
    struct group_append *append = mem_alloc(sizeof(*append) + len);
    *append = (struct group_append){
        .done = done, .user = user, .offset = -1, .store = store, .starting = true};
    memcpy(append->bytes, bytes, len);
    append->append = (struct partition_append){
        .key = store->key,
        .home = store->bs->sh->id,
        .records = span_of(&append->piece, append->bytes, (uint32_t)len),
        .acks = ALL_REPLICAS,
        .timeout_ms = COMMIT_TIMEOUT_MS,
        .zstd_allowed = true,
        .internal_allowed = true,
        .done = on_appended,
    };
    store->appends++;
    partition_append(store->bs, &append->append);
    append->starting = false;
}

enum err group_store_offset_error(enum err error)
{
    switch ((int)error) {
    case ERR_NONE:
    case ERR_REQUEST_TIMED_OUT:
        return error;
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_NOT_ENOUGH_REPLICAS:
    case ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
        return ERR_COORDINATOR_NOT_AVAILABLE;
    case ERR_NOT_LEADER_OR_FOLLOWER:
    case ERR_KAFKA_STORAGE_ERROR:
        return ERR_NOT_COORDINATOR;
    case ERR_MESSAGE_TOO_LARGE:
    case ERR_RECORD_LIST_TOO_LARGE:
        return ERR_INVALID_COMMIT_OFFSET_SIZE;
    default:
        return error;
    }
}

enum err group_store_group_error(enum err error)
{
    if (error == ERR_REQUEST_TIMED_OUT)
        return ERR_REBALANCE_IN_PROGRESS;
    enum err told = group_store_offset_error(error);
    return told == ERR_INVALID_COMMIT_OFFSET_SIZE ? ERR_UNKNOWN_SERVER_ERROR : told;
}

/* ---- reading back ---- */

static void load_end(struct group_load *load, enum err error)
{
    struct partition *pt = load->pt;
    load->error = error;
    inflater_fini(&load->inflater);
    arena_fini(&load->arena);
    mem_free(load->bytes);
    load->bytes = NULL;
    load->done(load);
    partition_unpinned(pt);
}

static void load_fail(struct group_load *load, enum log_verdict verdict)
{
    struct partition *pt = load->pt;
    if (verdict != LOG_CLOSED)
        diag_error(pt->bs->sh, "group.load_failed", "partition=%d offset=%ld reason=%s",
                   pt->key.partition, load->next, log_verdict_text(verdict));
    load_end(load, verdict == LOG_CLOSED ? ERR_NOT_COORDINATOR : ERR_KAFKA_STORAGE_ERROR);
}

static void skip(struct group_load *load, int64_t offset, const char *reason)
{
    load->skipped++;
    diag_warn(load->pt->bs->sh, "group.record_skipped", "partition=%d offset=%ld reason=%s",
              load->pt->key.partition, offset, reason);
}

static void take_record(struct group_load *load, const struct record *record)
{
    struct group_record read;
    group_record_read(&read, (struct bytes){record->key, record->key_len},
                      (struct bytes){record->value, record->value_len}, &load->arena);
    load->records++;
    const char *reason =
        read.kind == GROUP_RECORD_POISONED ? read.reason : load->on_record(load, &read);
    if (reason)
        skip(load, record->offset, reason);
    arena_reset(&load->arena);
}

static void take_batch(struct group_load *load, const struct batch_header *header,
                       const uint8_t *bytes, uint32_t len)
{
    struct piece piece;
    struct record_iter iter;
    struct record record;
    enum record_status status;
    if ((header->attributes & BATCH_CONTROL) || log_is_aborted(load->pt->log, header))
        return;
    if (!record_iter_init(&iter, &load->inflater, span_of(&piece, bytes, len),
                          LOAD_INFLATED_BYTES_MAX)) {
        skip(load, header->base_offset, "the batch cannot be read");
        return;
    }
    while ((status = record_iter_next(&iter, &record)) == RECORD_READY)
        if (record.offset >= load->next)
            take_record(load, &record);
    record_iter_fini(&iter);
    if (status != RECORD_END)
        skip(load, header->base_offset, "the batch holds something else than records");
}

/* False: what is left of the range is no whole batch. */
static bool take_next(struct group_load *load)
{
    uint32_t left = load->have - load->at;
    struct batch_header header;
    if (left < BATCH_HEADER_SIZE)
        return false;
    const uint8_t *bytes = load->bytes + load->at;
    batch_header_of(&header, bytes);
    if (header.length < 0 || batch_size(&header) < BATCH_HEADER_SIZE || batch_size(&header) > left)
        return false;
    take_batch(load, &header, bytes, (uint32_t)batch_size(&header));
    load->at += (uint32_t)batch_size(&header);
    load->next = batch_last_offset(&header) + 1;
    return true;
}

static void on_pinned(struct log_pin *pin);

static bool copy_pinned(struct group_load *load)
{
    struct log_pin *pin = &load->pin;
    if (pin->verdict != LOG_OK) {
        load_fail(load, pin->verdict);
        return false;
    }
    for (uint32_t i = 0; i < pin->pieces; i++) {
        memcpy(load->bytes + load->have, pin->iov[i].iov_base, pin->iov[i].iov_len);
        load->have += (uint32_t)pin->iov[i].iov_len;
    }
    log_unpin(pin);
    return true;
}

/* The rest of the range into memory; then the task takes it apart. */
static void copy_next(struct group_load *load)
{
    const struct log_range *range = &load->find.range;
    while (load->have < range->length) {
        uint32_t left = range->length - load->have;
        load->pin.done = on_pinned;
        load->pin.user = load;
        load->pin.check = &load->check;
        if (!log_pin(load->pt->log, range, load->have, (uint32_t)min_u64(left, LOG_PIN_BYTES_MAX),
                     &load->pin))
            return;
        if (!copy_pinned(load))
            return;
    }
    shard_ready(load->pt->bs->sh, &load->task);
}

static void on_pinned(struct log_pin *pin)
{
    struct group_load *load = pin->user;
    if (copy_pinned(load))
        copy_next(load);
}

static void found(struct group_load *load)
{
    const struct log_find *find = &load->find;
    if (find->verdict != LOG_OK) {
        load_fail(load, find->verdict);
        return;
    }
    mem_free(load->bytes);
    load->bytes = mem_alloc(max_u64(find->range.length, 1));
    load->have = 0;
    load->at = 0;
    load->check.begun = false;
    if (find->range.length == 0)
        load->next = load->upto; /* nothing follows */
    copy_next(load);
}

static void on_found(struct log_find *find)
{
    found(container_of(find, struct group_load, find));
}

static void find_next(struct group_load *load)
{
    load->find = (struct log_find){.offset = load->next,
                                   .upto_offset = load->upto,
                                   .bytes_max = LOAD_BYTES,
                                   .one_at_least = true,
                                   .done = on_found};
    if (log_find(load->pt->log, &load->find))
        found(load);
}

static void load_step(struct shard *sh, struct task *task)
{
    struct group_load *load = container_of(task, struct group_load, task);
    const uint64_t began_ns = io_clock_ns(sh->io);
    while (take_next(load))
        if (shard_should_yield(sh, began_ns)) {
            shard_ready(sh, task);
            return;
        }
    if (load->pt->closing || load->cancelled) {
        load_fail(load, LOG_CLOSED);
    } else if (load->next >= load->upto) {
        load_end(load, ERR_NONE);
    } else if (load->have > 0 && load->at == 0) {
        load_fail(load, LOG_CORRUPT); /* a range begins with a whole batch */
    } else {
        find_next(load);
    }
}

void group_load_cancel(struct group_load *load)
{
    load->cancelled = true;
}

void group_load_start(struct group_load *load, struct partition *pt)
{
    load->cancelled = false;
    load->error = ERR_NONE;
    load->records = 0;
    load->skipped = 0;
    load->pt = pt;
    load->task = (struct task){.fn = load_step, .name = "group.load"};
    load->bytes = NULL;
    load->have = 0;
    load->at = 0;
    load->next = pt->log->start_offset;
    load->upto = pt->high_watermark;
    inflater_init(&load->inflater);
    arena_init(&load->arena, LOAD_ARENA_BYTES_MAX);
    partition_pinned(pt);
    shard_ready(pt->bs->sh, &load->task);
}
