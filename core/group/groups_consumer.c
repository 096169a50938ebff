/* SPDX-License-Identifier: Apache-2.0
 *
 * The host of the consumer groups: topics for them, what has changed on its way into the log, and
 * what is too much for a turn on a helper thread.
 *
 * Changes are made in memory first and written in their order; who asked is answered when his are
 * durable, and so is who saw them without changing anything. When the log refuses one, memory says
 * what a restart would not find: then the partition's groups are forgotten and read back.
 */
#include "core/group/consumer_record.h"
#include "core/group/groups_private.h"
#include "core/group/regex.h"
#include "io/diag.h"

/* A batch, or half of max.message.bytes; one member's record may be larger, and goes alone. */
#define FLUSH_BYTES   (256U << 10)
#define REGEXES_MAX   64U
#define MEMBERS_SHARE 8U /* of the heap, for all shards: one part in so many */
/* Above so many subscribed topics, members and partitions a target is computed off the shard. */
#define TURN_PLAN 4000U
/* Copying what such a plan is made of costs a turn some milliseconds, and its result as many: while
 * thousands join, that is paid now and then. */
#define PLAN_REST_NS (100 * NS_PER_MS)

static struct groups *groups_of(struct consumer_host *host)
{
    return container_of(host, struct groups, consumers);
}

static uint64_t host_now_ns(struct consumer_host *host)
{
    return io_now_ns(groups_of(host)->bs->sh->io);
}

static int64_t host_wall_ms(struct consumer_host *host)
{
    return io_wall_ms(groups_of(host)->bs->sh->io);
}

static bool host_topic(struct consumer_host *host, struct str name, struct uuid *id,
                       uint32_t *partitions)
{
    const struct topic_image *topic =
        image_topic_by_name(groups_of(host)->bs->image, name.data, (size_t)name.len);
    if (!topic)
        return false;
    *id = topic->id;
    *partitions = topic->partition_count;
    return true;
}

static struct str host_topic_name(struct consumer_host *host, const struct uuid *id)
{
    const struct topic_image *topic = image_topic_by_id(groups_of(host)->bs->image, id);
    return topic ? (struct str){topic->name, (int32_t)topic->name_len} : str_null();
}

static size_t host_record_bytes_max(struct consumer_host *host, const struct consumer_group *g)
{
    const struct group_entry *entry = g->user;
    const struct partition *pt =
        partition_find(&groups_of(host)->bs->partitions, &entry->slot->store.key);
    return pt ? (size_t)max_i64(pt->conf.max_message_bytes, 0) : 0;
}

void groups_topics_changed(struct groups *groups)
{
    groups->consumers.topics_version++;
}

/* ---- changes on their way ---- */

struct change {
    struct group_entry *entry;
    uint64_t ticket;
};

void group_entry_end_waits(struct group_entry *entry, uint64_t upto, enum err error)
{
    struct group_wait *wait;
    while ((wait = TAILQ_FIRST(&entry->waits)) != NULL && wait->ticket <= upto) {
        TAILQ_REMOVE(&entry->waits, wait, link);
        group_call_end(wait->call, error);
    }
}

/* Followers are slow, or too few: it is in the log all the same, and stays unless others lead. */
static bool is_in_the_log(enum err error)
{
    return error == ERR_REQUEST_TIMED_OUT || error == ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND;
}

static void on_changed(struct group_append *append)
{
    struct change *change = append->user;
    struct group_entry *entry = change->entry;
    struct group_slot *slot = entry->slot;
    if (append->error == ERR_NONE) {
        entry->durable = max_u64(entry->durable, change->ticket);
        group_entry_end_waits(entry, entry->durable, ERR_NONE);
    } else if (is_in_the_log(append->error)) {
        group_entry_end_waits(entry, change->ticket, ERR_COORDINATOR_NOT_AVAILABLE);
        if (entry->consumer && !group_entry_is_empty(entry))
            consumer_group_doubt(entry->consumer);
    } else {
        groups_slot_reload(slot);
    }
    mem_free(change);
    groups_release(entry);
}

void group_entry_append(struct group_entry *entry)
{
    struct change *change = mem_alloc(sizeof(*change));
    *change = (struct change){.entry = entry, .ticket = ++entry->sent};
    groups_hold(entry);
    group_store_append(&entry->slot->store, on_changed, change);
}

/* Into as many batches as it takes. */
struct flush {
    struct consumer_writer writer;
    struct group_entry *entry;
    size_t bytes; /* a batch with so many takes no more */
};

static bool flush_add(struct consumer_writer *writer, const struct group_record_bytes *record)
{
    struct flush *flush = container_of(writer, struct flush, writer);
    struct group_store *store = &flush->entry->slot->store;
    if (store->builder.header.record_count > 0 &&
        batch_builder_size(&store->builder) >= flush->bytes) {
        group_entry_append(flush->entry);
        group_store_begin(store);
    }
    group_store_add(store, record);
    arena_reset(writer->arena);
    return true;
}

void group_entry_write(struct group_entry *entry,
                       bool (*records)(struct consumer_writer *, const struct consumer_group *))
{
    struct groups *groups = entry->groups;
    const size_t half = host_record_bytes_max(&groups->consumers, entry->consumer) / 2;
    struct flush flush = {.writer = {.add = flush_add, .arena = &groups->arena},
                          .entry = entry,
                          .bytes = min_u64(FLUSH_BYTES, half)};
    arena_reset(&groups->arena);
    group_store_begin(&entry->slot->store);
    must(records(&flush.writer, entry->consumer)); /* less than the arena's: members are bounded */
    if (entry->slot->store.builder.header.record_count > 0)
        group_entry_append(entry);
    arena_reset(&groups->arena);
    entry->stored = true;
}

void group_entry_flush(struct group_entry *entry)
{
    struct consumer_group *g = entry->consumer;
    /* Nothing comes behind a group's tombstones. */
    if (!g || g->dead || entry->ending || entry->hidden || entry->slot->state != SLOT_SERVING)
        return;
    if (consumer_group_wants_downgrade(g) && groups_downgrade(entry))
        return;
    if (!consumer_group_is_dirty(g))
        return;
    const uint32_t shed = consumer_group_shed(g);
    if (shed > 0)
        diag_warn(
            entry->groups->bs->sh, "group.members_too_large",
            "group=%.*s members=%u reason=\"a record would be larger than max.message.bytes\"",
            entry->id.len, entry->id.data, shed);
    group_entry_write(entry, consumer_record_changes);
    consumer_group_clean(g);
}

void groups_answer_when_durable(struct group_entry *entry, struct group_wait *wait)
{
    groups_hold(entry);
    group_entry_flush(entry);
    wait->ticket = entry->sent;
    if (entry->durable >= entry->sent ||
        io_mutation(entry->groups->bs->sh->io, "consumer.answered_early"))
        group_call_end(wait->call, ERR_NONE);
    else
        TAILQ_INSERT_TAIL(&entry->waits, wait, link);
    groups_release(entry);
}

/* ---- targets ---- */

static uint64_t cost_of(const struct assign_plan *plan)
{
    uint64_t cost = plan->topic_count + plan->member_count;
    for (uint32_t i = 0; i < plan->topic_count; i++)
        cost += plan->topics[i].partitions;
    for (uint32_t i = 0; i < plan->member_count; i++)
        cost += plan->subscriptions[plan->members[i].subscription].count;
    return cost;
}

struct plan_job {
    struct io_op op;
    struct group_entry *entry;
    struct assign_plan *plan;
};

static void plan_work(void *argument)
{
    assign_run(((struct plan_job *)argument)->plan);
}

static void on_planned(struct io_op *op)
{
    struct plan_job *job = container_of(op, struct plan_job, op);
    struct group_entry *entry = job->entry;
    consumer_group_assigned(entry->consumer, job->plan);
    consumer_group_rest(entry->consumer, io_now_ns(entry->groups->bs->sh->io) + PLAN_REST_NS);
    mem_free(job);
    groups_release(entry);
}

static void host_assign(struct consumer_host *host, struct consumer_group *g,
                        struct assign_plan *plan)
{
    if (cost_of(plan) <= TURN_PLAN) {
        assign_run(plan);
        consumer_group_assigned(g, plan);
        return;
    }
    struct plan_job *job = mem_zalloc(sizeof(*job));
    job->op.done = on_planned;
    job->entry = g->user;
    job->plan = plan;
    groups_hold(job->entry);
    io_work(groups_of(host)->bs->sh->io, &job->op, plan_work, job);
}

/* ---- regular expressions ---- */

struct regex_job {
    struct io_op op;
    struct group_entry *entry;
    const struct image *image; /* held */
    uint32_t hold;
    uint64_t version;
    uint32_t count;
    struct regex_answer {
        struct str text; /* a copy */
        struct str *topics;
        uint32_t topic_count;
    } answers[REGEXES_MAX];
};

static void resolve(const struct image *image, struct regex_answer *answer)
{
    struct regex *regex = regex_new(answer->text.data, (size_t)answer->text.len);
    if (!regex)
        return;
    answer->topics = mem_alloc((image->topic_count + 1UL) * sizeof(*answer->topics));
    for (uint32_t i = 0; i < image->topic_count; i++) {
        const struct topic_image *topic = image->topics[i];
        if (regex_matches(regex, topic->name, topic->name_len))
            answer->topics[answer->topic_count++] =
                (struct str){topic->name, (int32_t)topic->name_len};
    }
    regex_free(regex);
}

static void resolve_work(void *argument)
{
    struct regex_job *job = argument;
    for (uint32_t i = 0; i < job->count; i++)
        resolve(job->image, &job->answers[i]);
}

static void on_resolved(struct io_op *op)
{
    struct regex_job *job = container_of(op, struct regex_job, op);
    struct group_entry *entry = job->entry;
    struct consumer_group *g = entry->consumer;
    for (uint32_t i = 0; i < job->count; i++) {
        const struct regex_answer *answer = &job->answers[i];
        if (!g->dead)
            consumer_group_resolve_one(g, answer->text, job->version, answer->topics,
                                       answer->topic_count);
        mem_free(answer->topics);
        mem_free(no_const(answer->text.data));
    }
    partitions_release_image(entry->groups->bs, job->hold);
    consumer_group_resolved(g);
    mem_free(job);
    groups_release(entry);
}

static void host_resolve(struct consumer_host *host, struct consumer_group *g)
{
    struct broker_shard *bs = groups_of(host)->bs;
    struct regex_job *job = mem_zalloc(sizeof(*job));
    const struct consumer_regex *regex = g->subscriptions.regexes;
    job->op.done = on_resolved;
    job->entry = g->user;
    job->image = bs->image;
    job->hold = partitions_hold_image(bs);
    job->version = host->topics_version;
    for (; regex && job->count < REGEXES_MAX; regex = regex->hh.next)
        if (regex->asked != host->topics_version)
            job->answers[job->count++].text = group_text_copy(regex->text);
    groups_hold(job->entry);
    io_work(bs->sh->io, &job->op, resolve_work, job);
}

static const char *host_regex_check(struct consumer_host *host, struct str text)
{
    (void)host;
    struct regex *regex = regex_new(text.data, (size_t)text.len);
    if (!regex)
        return "the regular expression is not one of RE2, or too large";
    regex_free(regex);
    return NULL;
}

/* ---- beginning ---- */

static void take_assignors(struct consumer_host *host, const char *list)
{
    bool first = true;
    while (*list) {
        const size_t len = strcspn(list, ",");
        enum assignor assignor;
        if (assign_find((struct str){list, (int32_t)len}, &assignor)) {
            host->served[assignor] = true;
            if (first)
                host->preferred = assignor;
            first = false;
        }
        list += len;
        list += *list == ',';
    }
}

void groups_consumer_init(struct groups *groups)
{
    const struct broker_conf *conf = &groups->bs->broker->conf->broker;
    const size_t heap_bytes =
        groups->bs->broker->options.plan.heap_bytes / groups->bs->broker->shard_count;
    const enum conf_migration policy = (enum conf_migration)conf->group_consumer_migration_policy;
    groups->consumers = (struct consumer_host){
        .now_ns = host_now_ns,
        .wall_ms = host_wall_ms,
        .topic = host_topic,
        .topic_name = host_topic_name,
        .assign = host_assign,
        .resolve = host_resolve,
        .regex_check = host_regex_check,
        .record_bytes_max = host_record_bytes_max,
        .session_timeout_ms = conf->group_consumer_session_timeout_ms,
        .heartbeat_interval_ms = conf->group_consumer_heartbeat_interval_ms,
        .members_max = (uint32_t)conf->group_consumer_max_size,
        .regexes_max = REGEXES_MAX,
        .topics_version = 1,
        .member_bytes_max = heap_bytes / MEMBERS_SHARE,
        .upgrades = policy == CONF_MIGRATION_BIDIRECTIONAL || policy == CONF_MIGRATION_UPGRADE,
        .downgrades = policy == CONF_MIGRATION_BIDIRECTIONAL || policy == CONF_MIGRATION_DOWNGRADE,
        .mixes = policy != CONF_MIGRATION_DISABLED,
        .classic_members_max = (uint32_t)conf->group_max_size,
        .classic_session_min_ms = conf->group_min_session_timeout_ms,
        .classic_session_max_ms = conf->group_max_session_timeout_ms,
    };
    take_assignors(&groups->consumers, conf->group_consumer_assignors);
}
