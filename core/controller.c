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
 * The start is a chain of steps, each begun by the end of the one before it: store connected, tree
 * and cluster id, identity of the log directory, registration, election, the log read, the first
 * batch, the first image applied.
 */
#include "core/controller_step.h"

#include "core/broker.h"
#include "core/metadata/membership.h"
#include "core/metadata/metadata_log.h"
#include "io/diag.h"
#include "io/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define DECODE_BYTES_MAX   (256U << 20) /* of the records of one batch or snapshot */
#define SESSION_TIMEOUT_MS 9000U
#define FEATURE_NAME       "millrace.metadata"
#define FEATURE_LEVEL      1

enum control_state { CONTROL_STARTING, CONTROL_SERVING, CONTROL_FAILED, CONTROL_STOPPING };

/* An image on its way to a shard and back. */
struct image_mail {
    struct mail mail;
    struct controller *controller;
    struct broker_shard *bs;
    const struct image *image;
};

STAILQ_HEAD(op_queue, control_op);

struct controller {
    struct broker_shard *bs;
    struct shard *sh;
    struct controller_options options;
    enum control_state state;
    struct store *store;
    bool connected;
    struct membership membership;
    struct metadata_log log;
    struct io_op identity; /* the log directory learns its cluster, off the shard */
    bool identity_busy;
    bool identity_good;
    struct log_error error;
    struct image_edit *loading; /* while the log is read */

    struct op_queue queue;    /* not decided */
    struct op_queue deciding; /* in the batch that is being appended */
    struct op_queue waiting;  /* durable, not yet applied by all shards */
    struct task work;
    struct controller_step step;
    bool appending;
    bool snapshotting;

    struct image *tip;
    struct image *published;
    struct image *retiring;
    struct image_mail *mails; /* [shard_count] */
    uint16_t applying;        /* shards that have not answered */
    uint64_t applied;         /* the last batch that every shard has applied */

    bool closing;
    void (*stopped)(void *user);
    void *stopped_user;
};

static void fail(struct controller *c, const char *format, ...) printf_like(2, 3);
static void try_to_end(struct controller *c);

/* ---- answers ---- */

static void on_answer(struct shard *here, struct mail *mail)
{
    (void)here;
    struct control_op *op = container_of(mail, struct control_op, mail);
    op->done(op);
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

static void fail(struct controller *c, const char *format, ...)
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

static void on_part_failed(void *user, const char *sentence)
{
    fail(user, "%s", sentence);
}

/* ---- images to the shards ---- */

static void publish(struct controller *c);

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
    if (c->state == CONTROL_STARTING) {
        c->state = CONTROL_SERVING;
        diag_info(c->sh, "metadata.ready", "batch=%" PRIu64 " topics=%u partitions=%" PRIu64,
                  c->applied, c->published->topic_count, c->published->partition_count);
        c->options.on_ready(c->options.user);
    }
    publish(c);
    try_to_end(c);
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

static void publish(struct controller *c)
{
    if (c->applying > 0 || c->tip == c->published || c->state == CONTROL_STOPPING)
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

static void set_tip(struct controller *c, struct image *image)
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

static void begin_batch(struct controller *c)
{
    c->step.conf = c->bs->broker->conf;
    c->step.node_id = c->bs->broker->node_id;
    c->step.random = draw;
    c->step.user = c;
    c->step.mutate_deletion = io_mutation(c->sh->io, "metadata.deletion_forgotten");
    c->step.mutate_producer_ids = io_mutation(c->sh->io, "metadata.producer_ids_given_twice");
    c->step.edit = image_edit_begin(c->tip);
}

static void add_record(void *user, const struct metadata_record *record)
{
    metadata_records_add(user, record);
}

static void on_snapshot(void *user)
{
    struct controller *c = user;
    c->snapshotting = false;
    shard_ready(c->sh, &c->work);
    try_to_end(c);
}

static bool wants_snapshot(const struct controller *c)
{
    return c->log.bytes_since_snapshot >= METADATA_SNAPSHOT_AFTER ||
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
        set_tip(c, image_edit_end(c->step.edit, c->log.number));
        c->step.edit = NULL;
        decided(c, c->log.number);
        publish(c);
        if (c->state == CONTROL_SERVING && wants_snapshot(c))
            begin_snapshot(c);
        shard_ready(c->sh, &c->work);
    } else {
        bool fenced = result == METADATA_FENCED;
        image_edit_cancel(c->step.edit);
        c->step.edit = NULL;
        answer_all(c, &c->deciding, fenced ? ERR_NOT_CONTROLLER : ERR_KAFKA_STORAGE_ERROR);
        fail(c, "%s",
             fenced
                 ? "another broker has become the controller of this metadata store, and several "
                   "brokers in one cluster are not supported yet"
                 : "the metadata store does not take changes any more; the line before says why");
    }
    try_to_end(c);
}

static void append(struct controller *c)
{
    c->appending = true;
    metadata_log_append(&c->log, &c->step.records, on_appended, c);
}

static void decide_queue(struct controller *c)
{
    uint64_t began_ns = io_clock_ns(c->sh->io);
    struct control_op *op;
    while ((op = STAILQ_FIRST(&c->queue)) != NULL) {
        if (!controller_step(&c->step, op))
            break;
        STAILQ_REMOVE_HEAD(&c->queue, link);
        STAILQ_INSERT_TAIL(&c->deciding, op, link);
        if (c->step.records.length >= CONTROL_BATCH_BYTES || shard_should_yield(c->sh, began_ns))
            break;
    }
}

static void on_work(struct shard *sh, struct task *task)
{
    (void)sh;
    struct controller *c = container_of(task, struct controller, work);
    if (c->state != CONTROL_SERVING || c->appending || c->snapshotting || STAILQ_EMPTY(&c->queue))
        return;
    begin_batch(c);
    decide_queue(c);
    if (c->step.records.count > 0) {
        append(c);
        return;
    }
    image_edit_cancel(c->step.edit);
    c->step.edit = NULL;
    decided(c, c->tip->batch);
    if (!STAILQ_EMPTY(&c->queue))
        shard_ready(c->sh, &c->work);
}

static void on_op(struct shard *here, struct mail *mail)
{
    struct control_op *op = container_of(mail, struct control_op, mail);
    struct controller *c = broker_shard_of(here)->broker->controller;
    op->next_item = 0;
    op->error = ERR_NONE;
    if (!c || c->state != CONTROL_SERVING) {
        op->error = ERR_NOT_CONTROLLER;
        shard_answer(here, mail, on_answer);
        return;
    }
    STAILQ_INSERT_TAIL(&c->queue, op, link);
    shard_ready(here, &c->work);
}

void control_op_init(struct control_op *op, enum control_kind kind, struct arena *arena,
                     void (*done)(struct control_op *op))
{
    *op = (struct control_op){.kind = kind, .arena = arena, .done = done};
}

bool control_op_items(struct control_op *op, int32_t count)
{
    op->items = arena_array(op->arena, (size_t)count, sizeof(*op->items));
    if (!op->items)
        return false;
    memset(op->items, 0, (size_t)count * sizeof(*op->items));
    op->item_count = count;
    return true;
}

void controller_submit(struct broker_shard *from, struct control_op *op)
{
    must(shard_here() == from->sh);
    shard_post(from->sh, CONTROL_SHARD, &op->mail, on_op);
}

/* ---- start: the log ---- */

static struct image_edit *empty_image(struct controller *c)
{
    const struct broker *broker = c->bs->broker;
    const struct image_options options = {
        .conf = broker->conf,
        .cluster_id = c->membership.cluster_id,
        .node_id = broker->node_id,
        .shard_count = broker->shard_count,
        .seed = io_random(c->sh->io),
        .mutate_shared = io_mutation(c->sh->io, "image.shared_mutable"),
    };
    return image_edit_new(&options);
}

static bool on_batch(void *user, const struct metadata_batch *batch, char *sentence, size_t size)
{
    struct controller *c = user;
    if (batch->snapshot) {
        image_edit_cancel(c->loading);
        c->loading = empty_image(c);
    }
    struct bytes_in in = batch->records;
    struct arena arena;
    arena_init(&arena, DECODE_BYTES_MAX);
    enum metadata_verdict verdict;
    bool good = true;
    do {
        struct metadata_record record;
        arena_reset(&arena);
        verdict = metadata_record_decode(&in, &arena, &record, sentence, size);
        if (verdict == METADATA_READ)
            good = image_edit_apply(c->loading, &record, sentence, size);
    } while (good && (verdict == METADATA_READ || verdict == METADATA_SKIPPED));
    arena_fini(&arena);
    return good && verdict == METADATA_END;
}

/* Does the metadata know this log directory? What it knows must be there, and what holds records
 * must be known: nothing is made anew silently. */
static bool check_directory(struct controller *c)
{
    const struct log_dir *dir = c->bs->broker->dir;
    const struct broker_image *known = image_broker(c->tip, c->bs->broker->node_id);
    char expected[UUID_TEXT_LEN + 1];
    if (known && memcmp(known->directory.bytes, dir->uuid, sizeof(dir->uuid)) == 0)
        return true;
    if (!known && dir->recovered_count == 0)
        return true;
    if (!known) {
        fail(c,
             "%s holds the logs of %u partitions, and the metadata store has never heard of it; "
             "restore the metadata from a copy, or start with another data directory",
             dir->path, dir->recovered_count);
        return false;
    }
    uuid_text(&known->directory, expected);
    fail(
        c,
        "%s is %s: the metadata store expects the data directory %s of broker %d; mount or restore "
        "that directory, or start with a new metadata store and give up what was in it",
        dir->path, dir->formatted_now ? "empty" : "another one", expected, known->id);
    return false;
}

static bool check_features(struct controller *c)
{
    for (uint32_t i = 0; i < c->tip->feature_count; i++) {
        const struct feature_image *feature = &c->tip->features[i];
        bool known = strcmp(feature->name, FEATURE_NAME) == 0;
        if (feature->level <= (known ? FEATURE_LEVEL : 0))
            continue;
        fail(c,
             "the cluster uses %s at level %d, and this version of Millrace knows it up to level "
             "%d; start the version that was running, or a newer one",
             feature->name, feature->level, known ? FEATURE_LEVEL : 0);
        return false;
    }
    return true;
}

static void record_own(struct controller *c, const struct metadata_record *record)
{
    char sentence[256];
    metadata_records_add(&c->step.records, record);
    bool applied = image_edit_apply(c->step.edit, record, sentence, sizeof(sentence));
    must(applied);
}

static void record_broker(struct controller *c)
{
    const struct broker *broker = c->bs->broker;
    struct metadata_endpoint endpoints[LISTENER_COUNT_MAX];
    static_assert(LISTENER_COUNT_MAX <= METADATA_ENDPOINTS_MAX, "every listener has its place");
    for (uint32_t i = 0; i < broker->listeners.count; i++) {
        const struct listener *listener = &broker->listeners.listener[i];
        endpoints[i] = (struct metadata_endpoint){
            .listener = str_of(listener->name),
            .host = str_of(listener->advertised.host),
            .port = listener->advertised.port,
        };
    }
    struct metadata_record up = {.kind = METADATA_BROKER_UP,
                                 .broker_up = {
                                     .id = broker->node_id,
                                     .epoch = c->membership.broker_epoch,
                                     .rack = str_of(c->membership.rack),
                                     .version = str_of(MR_VERSION),
                                     .endpoints = endpoints,
                                     .endpoint_count = broker->listeners.count,
                                 }};
    memcpy(up.broker_up.directory.bytes, broker->dir->uuid, sizeof(broker->dir->uuid));
    record_own(c, &up);
}

static void on_log_read(void *user)
{
    struct controller *c = user;
    if (c->state != CONTROL_STARTING)
        return;
    uint32_t ignored = image_edit_ignored(c->loading);
    if (ignored > 0)
        diag_warn(c->sh, "metadata.settings_ignored", "count=%u", ignored);
    set_tip(c, image_edit_end(c->loading, c->log.number));
    c->loading = NULL;
    if (!check_directory(c) || !check_features(c))
        return;
    metadata_log_enter(&c->log, c->membership.controller_epoch,
                       c->membership.controller_epoch_version);
    begin_batch(c);
    record_own(
        c, &(struct metadata_record){.kind = METADATA_NOOP,
                                     .noop = {.controller_id = c->bs->broker->node_id,
                                              .controller_epoch = c->membership.controller_epoch}});
    if (c->tip->feature_count == 0)
        record_own(c, &(struct metadata_record){
                          .kind = METADATA_FEATURE,
                          .feature = {.name = str_of(FEATURE_NAME), .level = FEATURE_LEVEL}});
    record_broker(c);
    append(c);
}

/* ---- start: the store and this broker in it ---- */

static void on_in_office(void *user)
{
    struct controller *c = user;
    if (c->state != CONTROL_STARTING)
        return;
    const struct metadata_log_options options = {
        .sh = c->sh,
        .store = c->store,
        .on_batch = on_batch,
        .on_failed = on_part_failed,
        .user = c,
    };
    metadata_log_init(&c->log, &options);
    c->loading = empty_image(c);
    metadata_log_read(&c->log, false, on_log_read, c);
}

static void on_registered(void *user)
{
    struct controller *c = user;
    if (c->state == CONTROL_STARTING)
        membership_elect(&c->membership, on_in_office);
}

static void identity_work(void *argument)
{
    struct controller *c = argument;
    struct broker *broker = c->bs->broker;
    c->identity_good =
        log_dir_set_identity(broker->dir, c->membership.cluster_id, broker->node_id, &c->error);
}

static void on_identity(struct io_op *op)
{
    struct controller *c = container_of(op, struct controller, identity);
    c->identity_busy = false;
    if (!c->identity_good)
        fail(c, "%s", c->error.text);
    else if (c->state == CONTROL_STARTING)
        membership_register(&c->membership, on_registered);
    try_to_end(c);
}

static void on_tree(void *user)
{
    struct controller *c = user;
    if (c->state != CONTROL_STARTING)
        return;
    if (c->bs->broker->dir->cluster_id[0] != '\0') {
        membership_register(&c->membership, on_registered);
        return;
    }
    c->identity_busy = true;
    c->identity.done = on_identity;
    io_work(c->sh->io, &c->identity, identity_work, c);
}

static void on_connected(struct controller *c)
{
    if (c->connected || c->state != CONTROL_STARTING)
        return;
    c->connected = true;
    const struct broker *broker = c->bs->broker;
    c->membership = (struct membership){
        .sh = c->sh,
        .store = c->store,
        .node_id = broker->node_id,
        .known_cluster_id = broker->dir->cluster_id,
        .listeners = &broker->listeners,
        .on_failed = on_part_failed,
        .user = c,
    };
    membership_open(&c->membership, on_tree);
}

static void on_event(void *user, const struct store_event *event)
{
    struct controller *c = user;
    switch (event->kind) {
    case STORE_CONNECTED:
        on_connected(c);
        return;
    case STORE_SUSPENDED:
        diag_warn(c->sh, "metadata.store_suspended", "node=%d", c->bs->broker->node_id);
        return;
    case STORE_SESSION_EXPIRED:
        fail(c, "the session with the metadata store has expired; start the broker again");
        return;
    case STORE_FAILED:
        fail(c, "%s", event->sentence);
        return;
    case STORE_NODE_CREATED:
    case STORE_NODE_DELETED:
    case STORE_NODE_CHANGED:
    case STORE_NODE_CHILDREN:
        metadata_log_on_event(&c->log, event);
        return;
    }
}

/* The URL names no store: told from a turn of its own, not from inside controller_start(). */
static void on_no_store(struct shard *sh, struct task *task)
{
    (void)sh;
    struct controller *c = container_of(task, struct controller, work);
    c->work.fn = on_work;
    fail(c, "%s", c->error.text);
}

struct controller *controller_start(struct broker_shard *bs,
                                    const struct controller_options *options)
{
    must(shard_here() == bs->sh && bs->sh->id == CONTROL_SHARD);
    struct controller *c = mem_zalloc(sizeof(*c));
    c->bs = bs;
    c->sh = bs->sh;
    c->options = *options;
    c->mails = mem_zalloc(bs->sh->count * sizeof(*c->mails));
    c->work = (struct task){.fn = on_work, .name = "controller.work"};
    STAILQ_INIT(&c->queue);
    STAILQ_INIT(&c->deciding);
    STAILQ_INIT(&c->waiting);
    struct store_options store_options = {
        .url = options->store_url,
        .session_timeout_ms = SESSION_TIMEOUT_MS,
        .sim = options->sim,
        .on_event = on_event,
        .user = c,
    };
    memcpy(store_options.directory, bs->broker->dir->uuid, sizeof(store_options.directory));
    c->store = store_open(c->sh, &store_options, c->error.text, sizeof(c->error.text));
    if (!c->store) {
        c->work.fn = on_no_store;
        shard_ready(c->sh, &c->work);
    }
    return c;
}

/* ---- stop ---- */

static void on_store_closed(void *user)
{
    struct controller *c = user;
    void (*stopped)(void *) = c->stopped;
    void *stopped_user = c->stopped_user;
    task_cancel(c->sh, &c->work);
    if (c->loading)
        image_edit_cancel(c->loading);
    set_tip(c, NULL);
    image_free(c->published);
    metadata_records_fini(&c->step.records);
    metadata_log_fini(&c->log);
    mem_free(c->mails);
    mem_free(c);
    stopped(stopped_user);
}

static void on_end(struct shard *sh, struct task *task)
{
    (void)sh;
    on_store_closed(container_of(task, struct controller, work));
}

static void try_to_end(struct controller *c)
{
    if (c->state != CONTROL_STOPPING || c->closing || c->appending || c->snapshotting ||
        c->identity_busy || c->applying > 0)
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

void controller_stop(struct controller *c, void (*done)(void *user), void *user)
{
    must(shard_here() == c->sh);
    c->state = CONTROL_STOPPING;
    c->stopped = done;
    c->stopped_user = user;
    answer_all(c, &c->queue, ERR_NOT_CONTROLLER);
    try_to_end(c);
}
