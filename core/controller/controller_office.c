/* SPDX-License-Identifier: Apache-2.0
 *
 * How this broker comes into its cluster, and into office and out of it.
 *
 * The start is a chain of steps, each begun by the end of the one before it: store connected, tree
 * and cluster id, identity of the log directory, the metadata log read to its end, registration,
 * election. Who is not elected follows the log with one watch, and watches the one in office; when
 * that goes everybody runs for office again.
 *
 * Taking over: the log is read to its end behind a barrier; the first batch fences every older
 * controller (NOOP), and makes the image agree with who is registered. From then on each change of
 * the registrations is a batch.
 *
 * When the session ends, however that came about, office and registration are over. The store is
 * opened anew and the chain runs again; the log goes on where it was, and what it holds by then
 * must continue what was applied here (the hash chain), else the broker stops.
 */
#include "core/controller/controller_private.h"

#include "io/diag.h"
#include "io/mem.h"

#include <stdio.h>

#define DECODE_BYTES_MAX (256U << 20) /* of the records of one batch or snapshot */
#define BALANCE_REST_NS  NS_PER_S

static void on_part_failed(void *user, const char *sentence)
{
    controller_fail(user, "%s", sentence);
}

static bool runs(const struct controller *c)
{
    return c->state == CONTROL_STARTING || c->state == CONTROL_SERVING;
}

/* ---- the log of others becomes images ---- */

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
        .before = c->tip,
    };
    return image_edit_new(&options);
}

static bool on_batch(void *user, const struct metadata_batch *batch, char *sentence, size_t size)
{
    struct controller *c = user;
    if (batch->snapshot && c->loading) {
        image_edit_cancel(c->loading);
        c->loading = NULL;
    }
    if (!c->loading)
        c->loading = batch->snapshot || !c->tip ? empty_image(c) : image_edit_begin(c->tip);
    struct bytes_in in = batch->records;
    struct arena arena;
    arena_init(&arena, DECODE_BYTES_MAX);
    enum metadata_verdict verdict;
    bool good = true;
    do {
        struct metadata_record record;
        arena_reset(&arena);
        verdict = metadata_record_decode(&in, c->level, &arena, &record, sentence, size);
        if (verdict == METADATA_READ)
            good = image_edit_apply(c->loading, &record, sentence, size);
    } while (good && (verdict == METADATA_READ || verdict == METADATA_SKIPPED));
    arena_fini(&arena);
    return good && verdict == METADATA_END;
}

/* Whoever agrees to a level asks who is there; this broker was not, or not with this version. */
static bool check_features(struct controller *c)
{
    for (uint32_t i = 0; i < c->tip->feature_count; i++) {
        const struct feature_image *feature = &c->tip->features[i];
        bool known = strcmp(feature->name, METADATA_LEVEL) == 0;
        if (feature->level <= (known ? c->level : 0) ||
            io_mutation(c->sh->io, "controller.level_not_checked"))
            continue;
        controller_fail(c,
                        "the cluster uses %s at level %d, and this broker takes part up to level "
                        "%d; start a version that knows more%s",
                        feature->name, feature->level, known ? c->level : 0,
                        known && c->level < METADATA_LEVEL_NEWEST
                            ? ", or this one without millrace.metadata.level"
                            : "");
        return false;
    }
    return true;
}

/* What was read is shown. */
static void on_log_end(void *user)
{
    struct controller *c = user;
    if (!runs(c) || (!c->loading && c->tip))
        return;
    if (!c->loading)
        c->loading = empty_image(c);
    uint32_t ignored = image_edit_ignored(c->loading);
    if (ignored > 0)
        diag_warn(c->sh, "metadata.settings_ignored", "count=%u", ignored);
    struct image *image = image_edit_end(c->loading, c->log.number);
    c->loading = NULL;
    controller_set_tip(c, image);
    controller_mark(c);
    if (check_features(c))
        controller_publish(c);
}

/* Another directory than the one that is expected may take its place if somebody has said that it
 * is lost. By itself a start cannot know: a disk that nobody has mounted looks like one that is
 * new, and may be the one that is needed next. The controller is told (membership.replaced). */
static bool take_place(struct controller *c, const struct broker_image *known)
{
    const struct log_dirs *dirs = c->bs->broker->dirs;
    const char *lost = c->bs->broker->conf->broker.replaced_directory;
    char expected[UUID_TEXT_LEN + 1];
    uuid_text(&known->directory, expected);
    if (!lost || strcmp(lost, expected) != 0) {
        controller_fail(
            c,
            "%s is %s, and the metadata store expects the data directory %s of broker %d; mount or "
            "restore that one; if it is lost for ever, start with --replaced-directory %s: what "
            "other brokers have is copied from them, and what only that one had is given up",
            log_dirs_first(dirs)->path, dirs->recovered_count > 0 ? "another one" : "empty",
            expected, known->id, expected);
        return false;
    }
    diag_warn(c->sh, "metadata.directory_replaced", "node=%d lost=%s", known->id, expected);
    c->membership.replaced = known->directory;
    return true;
}

/* Does the metadata know this log directory? What it knows must be there, and what holds records
 * must be known: nothing is made anew silently. */
static bool check_directory(struct controller *c)
{
    const struct log_dirs *dirs = c->bs->broker->dirs;
    const struct broker_image *known = image_broker(c->tip, c->bs->broker->node_id);
    if (known && memcmp(known->directory.bytes, dirs->identity, sizeof(dirs->identity)) == 0)
        return true;
    if (known)
        return take_place(c, known);
    if (dirs->recovered_count == 0)
        return true;
    controller_fail(
        c,
        "%s holds the logs of %u partitions, and the metadata store has never heard of it; "
        "restore the metadata from a copy, or start with another data directory",
        log_dirs_first(dirs)->path, dirs->recovered_count);
    return false;
}

/* ---- office ---- */

static void balance_later(struct controller *c)
{
    const struct broker_conf *conf = &c->bs->broker->conf->broker;
    uint64_t seconds = (uint64_t)min_i64(conf->leader_imbalance_check_interval_seconds, 1 << 30);
    timer_set(c->sh, &c->balance_timer,
              io_now_ns(c->sh->io) + (c->balanced ? seconds * NS_PER_S : BALANCE_REST_NS));
}

void controller_balance_some(struct controller *c)
{
    c->balancing = false;
    c->balanced = controller_balance(&c->step, &c->balance);
    balance_later(c);
}

static void on_balance(struct shard *sh, struct timer *timer)
{
    struct controller *c = container_of(timer, struct controller, balance_timer);
    c->balancing = true;
    if (c->balanced)
        c->balance = (struct controller_pass){0};
    shard_ready(sh, &c->work);
}

/* Not at once: who comes back at a start of all has not caught up yet. */
static void balance_begin(struct controller *c)
{
    c->balance_timer = (struct timer){.fn = on_balance, .name = "controller.balance"};
    c->balancing = false;
    c->balanced = true;
    if (c->bs->broker->conf->broker.auto_leader_rebalance_enable)
        balance_later(c);
}

static void balance_end(struct controller *c)
{
    timer_cancel(c->sh, &c->balance_timer);
    c->balancing = false;
}

static void on_caught_up(void *user)
{
    struct controller *c = user;
    if (!runs(c) || !c->connected)
        return;
    metadata_log_enter(&c->log, c->membership.controller_epoch,
                       c->membership.controller_epoch_version);
    c->in_office = true;
    c->taking_over = true;
    c->change.under_way = false;
    c->recheck = 0;
    balance_begin(c);
    diag_info(c->sh, "controller.elected", "node=%d epoch=%d", c->bs->broker->node_id,
              c->membership.controller_epoch);
    controller_list_members(c);
}

static void on_elected(void *user)
{
    struct controller *c = user;
    c->electing = false;
    if (!runs(c))
        return;
    metadata_log_read(&c->log, !c->membership.in_office,
                      c->membership.in_office ? on_caught_up : NULL, c);
}

static void elect(struct controller *c)
{
    if (c->electing || c->in_office || !runs(c) || !c->connected)
        return;
    c->electing = true;
    membership_elect(&c->membership, on_elected);
}

void controller_resign(struct controller *c)
{
    c->leaving = true;
    if (c->appending || c->snapshotting)
        return;
    c->leaving = false;
    controller_answer_undecided(c, ERR_NOT_CONTROLLER);
    if (!c->in_office)
        return;
    c->in_office = false;
    c->taking_over = false;
    c->members_known = false;
    balance_end(c);
    metadata_log_leave(&c->log);
    elect(c);
}

static void on_controller_gone(struct controller *c)
{
    if (c->in_office)
        controller_resign(c);
    else
        elect(c);
}

/* ---- the chain ---- */

static void on_registered(void *user)
{
    elect(user);
}

static void on_log_read(void *user)
{
    struct controller *c = user;
    if (runs(c) && check_directory(c))
        membership_register(&c->membership, on_registered);
}

static void begin_log(struct controller *c)
{
    const struct metadata_log_options options = {
        .sh = c->sh,
        .store = c->store,
        .known = log_dirs_mark(c->bs->broker->dirs),
        .on_batch = on_batch,
        .on_end = on_log_end,
        .on_failed = on_part_failed,
        .user = c,
    };
    metadata_log_init(&c->log, &options);
    c->mark.written = options.known.number; /* who is refused, or stops early, leaves it alone */
    c->log_begun = true;
}

static void read_log(struct controller *c)
{
    if (c->log_begun)
        metadata_log_reopen(&c->log, c->store);
    else
        begin_log(c);
    c->following = true;
    metadata_log_read(&c->log, true, on_log_read, c);
}

static void identity_work(void *argument)
{
    struct controller *c = argument;
    struct broker *broker = c->bs->broker;
    c->identity_good =
        log_dirs_set_identity(broker->dirs, c->membership.cluster_id, broker->node_id, &c->error);
}

static void on_identity(struct io_op *op)
{
    struct controller *c = container_of(op, struct controller, identity);
    c->identity_busy = false;
    if (!c->identity_good)
        controller_fail(c, "%s", c->error.text);
    else if (runs(c) && c->connected)
        read_log(c);
    controller_mark(c);
    controller_try_to_end(c);
}

static void on_tree(void *user)
{
    struct controller *c = user;
    if (!runs(c))
        return;
    if (log_dirs_have_identity(c->bs->broker->dirs)) {
        read_log(c);
    } else if (!c->identity_busy) {
        c->identity_busy = true;
        c->identity.done = on_identity;
        io_work(c->sh->io, &c->identity, identity_work, c);
    }
}

static void open_tree(struct controller *c)
{
    const struct broker *broker = c->bs->broker;
    membership_fini(&c->membership);
    c->membership = (struct membership){
        .sh = c->sh,
        .store = c->store,
        .node_id = broker->node_id,
        .version = MR_VERSION,
        .level = c->level,
        .known_cluster_id = log_dirs_cluster_id(broker->dirs),
        .listeners = &broker->listeners,
        .rack = broker->conf->broker.broker_rack,
        .on_failed = on_part_failed,
        .user = c,
    };
    memcpy(c->membership.directory.bytes, broker->dirs->identity, sizeof(broker->dirs->identity));
    membership_init(&c->membership);
    membership_open(&c->membership, on_tree);
}

/* ---- the session ---- */

static void on_connected(struct controller *c)
{
    if (!runs(c))
        return;
    if (!c->connected) {
        c->connected = true;
        open_tree(c);
        return;
    }
    c->suspended = false;
    diag_info(c->sh, "metadata.store_connected", "node=%d", c->bs->broker->node_id);
    if (c->following && !c->in_office)
        metadata_log_read(&c->log, c->log.tailing, c->log.read_done, c);
}

/* Everything of the last session has been answered. */
static void on_session_closed(void *user)
{
    struct controller *c = user;
    c->reopening = false;
    c->electing = false;
    if (runs(c))
        controller_office_open(c);
    controller_try_to_end(c);
}

static void on_expired(struct controller *c)
{
    if (!runs(c))
        return;
    diag_warn(c->sh, "metadata.session_expired", "node=%d", c->bs->broker->node_id);
    struct store *store = c->store;
    c->connected = false;
    c->suspended = false;
    c->following = false;
    c->reopening = true;
    c->store = NULL;
    controller_resign(c);
    store_close(store, on_session_closed, c);
}

static void on_ids_changed(struct controller *c)
{
    if (!io_mutation(c->sh->io, "controller.brokers_not_watched"))
        controller_list_members(c);
}

static void on_node_event(struct controller *c, const struct store_event *event)
{
    if (!runs(c) || !c->connected)
        return;
    if (strcmp(event->path, MEMBERSHIP_CONTROLLER) == 0)
        on_controller_gone(c);
    else if (strcmp(event->path, MEMBERSHIP_IDS) == 0 && c->in_office)
        on_ids_changed(c);
    else if (c->following)
        metadata_log_on_event(&c->log, event);
}

static void on_event(void *user, const struct store_event *event)
{
    struct controller *c = user;
    switch (event->kind) {
    case STORE_CONNECTED:
        on_connected(c);
        return;
    case STORE_SUSPENDED:
        c->suspended = true;
        diag_warn(c->sh, "metadata.store_suspended", "node=%d", c->bs->broker->node_id);
        controller_let_go(c);
        controller_try_to_end(c);
        return;
    case STORE_SESSION_EXPIRED:
        on_expired(c);
        return;
    case STORE_FAILED:
        controller_fail(c, "%s", event->sentence);
        return;
    case STORE_NODE_CREATED:
    case STORE_NODE_DELETED:
    case STORE_NODE_CHANGED:
    case STORE_NODE_CHILDREN:
        on_node_event(c, event);
        return;
    }
}

/* The URL names no store: told from a turn of its own, not from inside controller_start(). */
static void on_no_store(struct shard *sh, struct task *task)
{
    (void)sh;
    struct controller *c = container_of(task, struct controller, no_store);
    controller_fail(c, "%s", c->error.text);
}

void controller_office_open(struct controller *c)
{
    struct store_options options = {
        .url = c->options.store_url,
        .session_timeout_ms = c->options.session_timeout_ms,
        .connect_timeout_ms = c->state == CONTROL_STARTING ? c->options.connect_timeout_ms : 0,
        .zookeeper = c->options.zookeeper,
        .sim = c->options.sim,
        .on_event = on_event,
        .user = c,
    };
    memcpy(options.directory, c->bs->broker->dirs->identity, sizeof(options.directory));
    c->store = store_open(c->sh, &options, c->error.text, sizeof(c->error.text));
    if (c->store)
        return;
    c->no_store = (struct task){.fn = on_no_store, .name = "controller.no_store"};
    shard_ready(c->sh, &c->no_store);
}

void controller_office_fini(struct controller *c)
{
    task_cancel(c->sh, &c->no_store);
    balance_end(c);
    if (c->loading)
        image_edit_cancel(c->loading);
    if (c->log_begun)
        metadata_log_fini(&c->log);
    membership_fini(&c->membership);
}
