/* SPDX-License-Identifier: Apache-2.0
 *
 * How a decision becomes true:
 *
 *   queue -> decide (controller_step) -> append, durable -> the next image -> every shard has
 *   applied it -> answer
 *
 * One batch is being appended at a time; requests that come meanwhile share the next one. Images
 * are published one after the other as well: `tip` is what the log says, `published` what the
 * shards have or are getting, `retiring` what they had before. When batches come faster than shards
 * apply, images between the two are never shown to anybody.
 *
 * A request is answered when the image with its last record is applied everywhere; also one that
 * was refused, because the reason may be a change that is not yet visible.
 *
 * How this broker comes into its cluster and into office is core/controller/controller_office.c,
 * and who else is there core/controller/controller_members.c.
 */
#include "core/controller/controller_private.h"

#include "core/controller/controller_link.h"
#include "io/diag.h"
#include "io/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- answers ---- */

static void on_answer(struct shard *here, struct mail *mail)
{
    (void)here;
    struct control_op *op = container_of(mail, struct control_op, mail);
    op->done(op);
}

void control_op_answer(struct shard *here, struct control_op *op)
{
    shard_answer(here, &op->mail, on_answer);
}

static void answer_all(struct controller *c, struct op_queue *queue, int16_t error)
{
    struct control_op *op;
    while ((op = STAILQ_FIRST(queue)) != NULL) {
        STAILQ_REMOVE_HEAD(queue, link);
        op->error = error;
        shard_answer(c->sh, &op->mail, on_answer);
    }
}

static void answer_applied(struct controller *c)
{
    struct control_op *op;
    bool early = io_mutation(c->sh->io, "metadata.answered_before_applied");
    while ((op = STAILQ_FIRST(&c->waiting)) != NULL && (op->batch <= c->applied || early)) {
        STAILQ_REMOVE_HEAD(&c->waiting, link);
        shard_answer(c->sh, &op->mail, on_answer);
    }
}

/* The decided ones wait until this batch is applied. */
static void decided(struct controller *c, uint64_t batch)
{
    struct control_op *op;
    STAILQ_FOREACH (op, &c->deciding, link)
        op->batch = batch;
    STAILQ_CONCAT(&c->waiting, &c->deciding);
    answer_applied(c);
}

void controller_answer_undecided(struct controller *c, int16_t error)
{
    answer_all(c, &c->deciding, error);
    answer_all(c, &c->queue, error);
}

void controller_fail(struct controller *c, const char *format, ...)
{
    char sentence[768];
    if (c->state == CONTROL_FAILED || c->state == CONTROL_STOPPING)
        return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    c->state = CONTROL_FAILED;
    answer_all(c, &c->queue, ERR_NOT_CONTROLLER);
    c->options.on_failed(c->options.user, sentence);
}

/* ---- images to the shards ---- */

static void on_applied(struct shard *here, struct mail *mail)
{
    (void)here;
    struct controller *c = container_of(mail, struct image_mail, mail)->controller;
    must(c->applying > 0);
    if (--c->applying > 0)
        return;
    image_free(c->retiring);
    c->retiring = NULL;
    c->applied = c->published->batch;
    answer_applied(c);
    if (c->state == CONTROL_STARTING && controller_is_member(c, c->published)) {
        c->state = CONTROL_SERVING;
        diag_info(c->sh, "metadata.ready", "batch=%" PRIu64 " topics=%u partitions=%" PRIu64,
                  c->applied, c->published->topic_count, c->published->partition_count);
        c->options.on_ready(c->options.user);
        shard_ready(c->sh, &c->work);
    }
    controller_publish(c);
    controller_try_to_end(c);
}

static void on_shard_applied(void *user)
{
    struct image_mail *im = user;
    shard_answer(im->bs->sh, &im->mail, on_applied);
}

static void on_image(struct shard *here, struct mail *mail)
{
    struct image_mail *im = container_of(mail, struct image_mail, mail);
    im->bs = broker_shard_of(here);
    partitions_apply(im->bs, im->image, on_shard_applied, im);
}

/* Somebody else is registered as this broker: with another directory that would have been refused.
 */
static bool is_displaced(const struct controller *c)
{
    const struct broker_image *self = image_broker(c->tip, c->bs->broker->node_id);
    return self && self->live && c->membership.broker_epoch > 0 &&
           self->epoch > c->membership.broker_epoch;
}

/* At the start nothing is shown before this broker is in the cluster. */
void controller_publish(struct controller *c)
{
    if (is_displaced(c))
        controller_fail(c,
                        "another process has taken this one's place as broker %d, with a copy of "
                        "its data directory: only one of them may run; stop the other, and start "
                        "the one whose data directory is the newer",
                        c->bs->broker->node_id);
    if (c->state == CONTROL_FAILED)
        return;
    if (c->applying > 0 || c->tip == c->published || c->state == CONTROL_STOPPING)
        return;
    if (c->state == CONTROL_STARTING && !controller_is_member(c, c->tip))
        return;
    c->retiring = c->published;
    c->published = c->tip;
    c->applying = c->sh->count;
    for (uint16_t i = 0; i < c->sh->count; i++) {
        c->mails[i].controller = c;
        c->mails[i].image = c->published;
        shard_post(c->sh, i, &c->mails[i].mail, on_image);
    }
}

void controller_set_tip(struct controller *c, struct image *image)
{
    if (c->tip != c->published)
        image_free(c->tip);
    c->tip = image;
}

/* ---- decide and append ---- */

static uint64_t draw(void *user)
{
    struct controller *c = user;
    return io_random(c->sh->io);
}

static bool is_tired(void *user)
{
    const struct controller *c = user;
    return shard_should_yield(c->sh, c->deciding_since_ns);
}

static void begin_batch(struct controller *c)
{
    c->step.conf = c->bs->broker->conf;
    c->step.node_id = c->bs->broker->node_id;
    c->step.random = draw;
    c->step.is_tired = is_tired;
    c->step.user = c;
    c->step.mutate_deletion = io_mutation(c->sh->io, "metadata.deletion_forgotten");
    c->step.mutate_producer_ids = io_mutation(c->sh->io, "metadata.producer_ids_given_twice");
    c->step.mutate_shrink =
        c->tip->broker_count > 1 && io_mutation(c->sh->io, "controller.shrinks_below_min");
    c->step.mutate_resign = c->bs->broker->dirs->count > 1 &&
                            io_mutation(c->sh->io, "controller.anyone_follows_who_resigns");
    c->step.mutate_epochs =
        c->tip->broker_count > 1 && io_mutation(c->sh->io, "controller.broker_epochs_ignored");
    c->step.mutate_settle =
        c->tip->broker_count > 1 && io_mutation(c->sh->io, "controller.dead_member_stays");
    c->step.mutate_lossy =
        c->tip->broker_count > 1 && io_mutation(c->sh->io, "controller.lossy_taken_for_whole");
    c->step.unclean_elections = 0;
    c->step.last_copies_lost = 0;
    c->step.mutate_unclean =
        c->tip->broker_count > 1 && io_mutation(c->sh->io, "controller.unclean_unasked");
    c->step.mutate_clean =
        c->tip->broker_count > 1 && io_mutation(c->sh->io, "controller.unclean_never");
    c->step.mutate_reassign =
        c->tip->broker_count > 1 && io_mutation(c->sh->io, "controller.move_ends_early");
    c->step.mutate_drain =
        c->tip->broker_count > 1 && io_mutation(c->sh->io, "controller.drain_moves_nothing");
    c->step.lowest = c->lowest;
    bool older = image_level(c->tip) < METADATA_LEVEL_NEWEST && c->tip->broker_count > 1;
    c->step.mutate_level = older && io_mutation(c->sh->io, "controller.level_not_asked_for");
    c->step.mutate_early = older && io_mutation(c->sh->io, "controller.record_above_level");
    c->step.base = c->tip;
    c->step.edit = image_edit_begin(c->tip);
}

static void add_record(void *user, const struct metadata_record *record)
{
    metadata_records_add(user, record);
}

static void on_written(struct controller *c)
{
    if (c->leaving)
        controller_resign(c);
    shard_ready(c->sh, &c->work);
    controller_try_to_end(c);
}

static void on_snapshot(void *user)
{
    struct controller *c = user;
    c->snapshotting = false;
    on_written(c);
}

static bool wants_snapshot(const struct controller *c)
{
    return c->log.bytes_since_snapshot >= METADATA_SNAPSHOT_AFTER ||
           c->log.number - c->log.head.snapshot >= METADATA_SNAPSHOT_ENTRIES ||
           io_chance(c->sh->io, "metadata snapshot early", 20);
}

static void begin_snapshot(struct controller *c)
{
    struct metadata_records records = {0};
    image_records(c->tip, add_record, &records);
    c->snapshotting = true;
    metadata_log_snapshot(&c->log, &records, on_snapshot, c);
}

static void on_appended(void *user, enum metadata_append_result result)
{
    struct controller *c = user;
    c->appending = false;
    metadata_records_fini(&c->step.records);
    if (result == METADATA_APPENDED) {
        controller_set_tip(c, image_edit_end(c->step.edit, c->log.number));
        c->step.edit = NULL;
        c->taking_over = false;
        controller_mark(c);
        decided(c, c->log.number);
        controller_publish(c);
        if (c->state == CONTROL_SERVING && !c->leaving && wants_snapshot(c))
            begin_snapshot(c);
    } else {
        image_edit_cancel(c->step.edit);
        c->step.edit = NULL;
        diag_warn(c->sh, "controller.deposed", "epoch=%d why=%s", c->membership.controller_epoch,
                  result == METADATA_FENCED ? "another" : "store");
        c->leaving = true;
    }
    if (!c->snapshotting)
        on_written(c);
}

static void append(struct controller *c)
{
    c->appending = true;
    if (c->step.unclean_elections > 0)
        diag_warn(c->sh, "controller.unclean_elections", "partitions=%u",
                  c->step.unclean_elections);
    if (c->step.last_copies_lost > 0)
        diag_warn(c->sh, "controller.last_copies_lost", "partitions=%u", c->step.last_copies_lost);
    metadata_log_append(&c->log, &c->step.records, on_appended, c);
}

void controller_lead_all_later(struct controller *c)
{
    c->leading_all = c->tip && c->tip->broker_count > 1; /* who is alone leads anyhow */
    c->lead_all = (struct controller_pass){0};
}

static void decide_queue(struct controller *c)
{
    struct control_op *op;
    c->deciding_since_ns = io_clock_ns(c->sh->io);
    while ((op = STAILQ_FIRST(&c->queue)) != NULL) {
        mutation_bucket_find(&c->buckets, op, io_now_ns(c->sh->io));
        if (!controller_step(&c->step, op))
            break;
        STAILQ_REMOVE_HEAD(&c->queue, link);
        STAILQ_INSERT_TAIL(&c->deciding, op, link);
        if (op->kind == CONTROL_ALTER_CONFIGS || op->kind == CONTROL_INCREMENTAL_ALTER_CONFIGS)
            controller_lead_all_later(c); /* when what they are by now is in the image */
        if (c->step.records.length >= CONTROL_BATCH_BYTES || is_tired(c))
            break;
    }
}

/* Something to decide, beside who is there. */
static bool has_wishes(const struct controller *c)
{
    return !STAILQ_EMPTY(&c->queue) ||
           (c->state == CONTROL_SERVING && (c->balancing || c->leading_all));
}

static void on_work(struct shard *sh, struct task *task)
{
    (void)sh;
    struct controller *c = container_of(task, struct controller, work);
    bool runs = c->state == CONTROL_STARTING || c->state == CONTROL_SERVING;
    if (!runs || !c->in_office || c->appending || c->snapshotting)
        return;
    if (!c->members_known && (c->taking_over || !has_wishes(c)))
        return; /* in office, the first batch says who is there */
    begin_batch(c);
    if (c->members_known)
        controller_decide_members(c);
    if (c->state == CONTROL_SERVING && c->leading_all)
        c->leading_all = !controller_lead_all(&c->step, &c->lead_all);
    if (c->state == CONTROL_SERVING && c->balancing)
        controller_balance_some(c);
    if (c->state == CONTROL_SERVING)
        decide_queue(c);
    if (c->step.records.count > 0) {
        append(c);
        return;
    }
    image_edit_cancel(c->step.edit);
    c->step.edit = NULL;
    decided(c, c->tip->batch);
    if (has_wishes(c))
        shard_ready(c->sh, &c->work);
}

/* The broker stops and the store is away: nobody waits for its return. */
static bool lets_go(const struct controller *c)
{
    return c->draining && c->suspended;
}

static void on_op(struct shard *here, struct mail *mail)
{
    struct control_op *op = container_of(mail, struct control_op, mail);
    struct controller *c = broker_shard_of(here)->broker->controller;
    op->next_item = 0;
    op->error = ERR_NONE;
    if (!c || c->state != CONTROL_SERVING || !c->in_office || lets_go(c)) {
        const struct broker_shard *bs = broker_shard_of(here);
        if (!op->not_passed_on && controller_link_takes(op) && bs->image &&
            bs->image->controller_id != bs->broker->node_id) {
            controller_link_submit(bs->broker->link, op);
            return;
        }
        op->error = ERR_NOT_CONTROLLER;
        shard_answer(here, mail, on_answer);
        return;
    }
    STAILQ_INSERT_TAIL(&c->queue, op, link);
    shard_ready(here, &c->work);
}

void controller_record(struct controller *c, const struct metadata_record *record)
{
    controller_step_record(&c->step, record);
}

void control_op_init(struct control_op *op, enum control_kind kind, struct arena *arena,
                     void (*done)(struct control_op *op))
{
    *op = (struct control_op){.kind = kind, .arena = arena, .done = done};
}

bool control_op_room(struct control_op *op, int32_t count)
{
    op->items = arena_array(op->arena, (size_t)count, sizeof(*op->items));
    op->item_count = op->items ? count : 0;
    return op->items != NULL;
}

bool control_op_items(struct control_op *op, int32_t count)
{
    if (!control_op_room(op, count))
        return false;
    memset(op->items, 0, (size_t)count * sizeof(*op->items));
    return true;
}

void controller_submit(struct broker_shard *from, struct control_op *op)
{
    must(shard_here() == from->sh);
    shard_post(from->sh, CONTROL_SHARD, &op->mail, on_op);
}

void controller_submit_here(struct broker_shard *from, struct control_op *op)
{
    op->not_passed_on = true;
    controller_submit(from, op);
}

/* ---- start ---- */

struct controller *controller_start(struct broker_shard *bs,
                                    const struct controller_options *options)
{
    must(shard_here() == bs->sh && bs->sh->id == CONTROL_SHARD);
    struct controller *c = mem_zalloc(sizeof(*c));
    c->bs = bs;
    c->sh = bs->sh;
    c->level = (int16_t)bs->broker->conf->broker.metadata_level;
    c->options = *options;
    c->mails = mem_zalloc(bs->sh->count * sizeof(*c->mails));
    c->work = (struct task){.fn = on_work, .name = "controller.work"};
    STAILQ_INIT(&c->queue);
    STAILQ_INIT(&c->deciding);
    STAILQ_INIT(&c->waiting);
    controller_office_open(c);
    return c;
}

/* ---- stop ---- */

static void on_store_closed(void *user)
{
    struct controller *c = user;
    void (*stopped)(void *) = c->stopped;
    void *stopped_user = c->stopped_user;
    task_cancel(c->sh, &c->work);
    controller_office_fini(c);
    controller_set_tip(c, NULL);
    image_free(c->published);
    metadata_records_fini(&c->step.records);
    mutation_buckets_fini(&c->buckets);
    mem_free(c->mails);
    mem_free(c);
    stopped(stopped_user);
}

static void on_end(struct shard *sh, struct task *task)
{
    (void)sh;
    on_store_closed(container_of(task, struct controller, work));
}

/* A write has its end before the store is closed, unless that would wait for the store's return:
 * then the closing ends it, and nobody knows whether it happened. */
void controller_try_to_end(struct controller *c)
{
    bool writing = c->appending || c->snapshotting;
    if (c->state != CONTROL_STOPPING || c->closing || (writing && !c->suspended) ||
        c->identity_busy || c->applying > 0 || c->reopening || !controller_mark_ended(c))
        return;
    c->closing = true;
    task_cancel(c->sh, &c->work);
    answer_all(c, &c->waiting, ERR_NOT_CONTROLLER);
    if (c->store) {
        store_close(c->store, on_store_closed, c);
    } else {
        c->work.fn = on_end;
        shard_ready(c->sh, &c->work);
    }
}

void controller_let_go(struct controller *c)
{
    if (lets_go(c))
        controller_answer_undecided(c, ERR_NOT_CONTROLLER);
}

bool controller_store_is_away(const struct controller *c)
{
    return !c->connected || c->suspended;
}

void controller_drain(struct controller *c)
{
    must(shard_here() == c->sh);
    c->draining = true;
    controller_let_go(c);
}

void controller_stop(struct controller *c, void (*done)(void *user), void *user)
{
    must(shard_here() == c->sh);
    c->state = CONTROL_STOPPING;
    c->stopped = done;
    c->stopped_user = user;
    answer_all(c, &c->queue, ERR_NOT_CONTROLLER);
    controller_try_to_end(c);
}
