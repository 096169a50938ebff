/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/model/in_step.h"

#include "core/broker.h"
#include "core/partition/partition_private.h"
#include "core/partition/partition_replicas.h"
#include "core/record/batch.h"
#include "core/replica/replica_private.h"
#include "tests/model/short_log.h"
#include "tests/unit/core/controller/replicas_world.h"

#define LAG_NS     1000000U
#define IMAGES_MAX 2048U

/* What the leader's code said to the last Fetch of a follower. */
struct answer {
    int nonce; /* of the Fetch; 0: nothing */
    struct fetched_part part;
    struct piece piece;
    uint8_t bytes[MODEL_FETCHED * BATCH_HEADER_SIZE];
};

struct coded_broker {
    bool up;
    struct broker broker;
    struct broker_shard bs;
    struct partition *table[1];
    struct partition pt;
    struct short_log log;
    struct replica_fetcher fetcher;
    struct partition_follow follow;
    struct answer answer;
    struct control_op *away; /* a proposal that has no answer yet */
    uint32_t proposals;      /* made by the last event */
};

struct in_step {
    struct shard *sh;
    int insync_min;
    struct world *w; /* the controller's */
    int32_t partition_epoch_first;
    const struct image *known[MODEL_PAST_MAX]; /* by the model's number of the state */
    struct image *past[IMAGES_MAX];
    struct coded_broker brokers[MODEL_BROKERS];
    const struct model *m; /* and what it has just done */
    const struct model_event *event;
    char *why;
    int why_size;
};

/* ---- names: the model counts brokers from 0, epochs from 1 ---- */

static int32_t id_of(int broker)
{
    return broker + 1;
}

/* The n-th of a broker, as world_of() and comes() give them; 0: none. */
static int64_t broker_epoch_of(int broker, int nth)
{
    return nth ? id_of(broker) + 10 * ((int64_t)nth - 1) : 0;
}

static int bits_of(const int32_t *ids, uint32_t count)
{
    int bits = 0;
    for (uint32_t i = 0; i < count; i++)
        bits |= 1 << (ids[i] - 1);
    return bits;
}

static const struct topic_image *topic_in(const struct image *image)
{
    return image_topic_by_name(image, "t", 1);
}

/* ---- what the code calls, and the model carries ---- */

void __wrap_controller_submit(struct broker_shard *from, struct control_op *op);
void __wrap_controller_submit(struct broker_shard *from, struct control_op *op)
{
    struct coded_broker *b = container_of(from, struct coded_broker, bs);
    must(!b->away);
    b->away = op;
    b->proposals++;
}

void __wrap_replica_follow(struct partition *pt);
void __wrap_replica_follow(struct partition *pt)
{
    struct coded_broker *b = container_of(pt, struct coded_broker, pt);
    b->follow = (struct partition_follow){
        .pt = pt, .fetcher = &b->fetcher, .asked_offset = -1, .leader_watermark = -1};
    pt->follow = &b->follow;
}

void __wrap_replica_unfollow(struct partition *pt);
void __wrap_replica_unfollow(struct partition *pt)
{
    pt->follow = NULL;
}

void __wrap_replica_wake(struct replica_fetcher *f);
void __wrap_replica_wake(struct replica_fetcher *f)
{
    (void)f; /* the model says when it asks */
}

static void proposal_answered(struct coded_broker *b, enum err error)
{
    struct control_op *op = b->away;
    b->away = NULL;
    op->error = (int16_t)error;
    op->done(op);
}

/* What nobody waits for any more has got lost. */
static void proposals_lost(struct coded_broker *b)
{
    if (b->away && !(b->pt.replicas && b->pt.replicas->proposal_away))
        proposal_answered(b, ERR_NOT_CONTROLLER);
}

/* ---- events: the controller ---- */

static void set_to_ids(int set, int32_t first, int32_t *ids, uint32_t *count)
{
    *count = 0;
    if (first > 0)
        ids[(*count)++] = first;
    for (int i = 0; i < MODEL_BROKERS; i++)
        if ((set >> i & 1) && id_of(i) != first)
            ids[(*count)++] = id_of(i);
}

static void decide_alter(struct in_step *s, const struct model_message *asked)
{
    struct control_alter alter = {.topic_id = topic_in(s->w->image)->id,
                                  .leader = id_of(asked->from),
                                  .broker_epoch = broker_epoch_of(asked->from, asked->broker_epoch),
                                  .leader_epoch = SHORT_LOG_EPOCH(asked->leader_epoch),
                                  .partition_epoch =
                                      asked->partition_epoch - 1 + s->partition_epoch_first};
    int32_t ids[MODEL_BROKERS];
    set_to_ids(asked->set, alter.leader, ids, &alter.member_count);
    for (uint32_t i = 0; i < alter.member_count; i++) {
        int broker = ids[i] - 1;
        alter.members[i] =
            (struct control_member){ids[i], broker_epoch_of(broker, asked->member_epoch[broker])};
    }
    (void)asks(s->w, &alter);
}

static void decide_resign(struct in_step *s, int leader)
{
    const struct partition_image *now = &topic_in(s->w->image)->partitions[0];
    int32_t ids[MODEL_BROKERS];
    uint32_t count;
    set_to_ids(bits_of(now->isr, now->isr_count) & ~(1 << leader), -1, ids, &count);
    struct control_alter alter = alter_of(s->w, ids, count);
    (void)asks(s->w, &alter);
}

static void decide_preferred(struct in_step *s)
{
    struct control_item item = {.name = str_of("t")};
    (void)decide(s->w, CONTROL_ELECT_LEADERS, &item);
    end_batch(s->w);
}

/* ---- events: brokers ---- */

static void learns(struct in_step *s, int id)
{
    struct coded_broker *b = &s->brokers[id];
    b->bs.image = s->known[s->m->broker[id].known_index];
    partition_role_set(&b->pt, &topic_in(b->bs.image)->partitions[0]);
    proposals_lost(b);
}

static void starts(struct in_step *s, int id)
{
    struct coded_broker *b = &s->brokers[id];
    const struct model_broker *in_model = &s->m->broker[id];
    const struct topic_image *topic = topic_in(s->known[in_model->known_index]);
    *b = (struct coded_broker){
        .up = true,
        .broker = {.conf = &s->w->conf, .node_id = id_of(id)},
        .bs = {.broker = &b->broker,
               .sh = s->sh,
               .partitions = {.slots = b->table, .size = 1, .count = 1}},
        .table = {&b->pt},
        .pt = {.bs = &b->bs,
               .key = {.topic_id = topic->id},
               .log = &b->log.lg,
               .leader = -1,
               .leader_epoch = -1,
               .loss_epoch = -1,
               .conf = topic->conf},
        .fetcher = {.bs = &b->bs},
    };
    TAILQ_INIT(&b->pt.appends);
    TAILQ_INIT(&b->pt.committing);
    TAILQ_INIT(&b->pt.watches);
    short_log_init(&b->log, in_model->log, in_model->end);
    learns(s, id);
}

static void crashes(struct in_step *s, int id)
{
    struct coded_broker *b = &s->brokers[id];
    if (!b->up)
        return;
    partition_role_end(&b->pt);
    proposals_lost(b);
    short_log_fini(&b->log);
    b->up = false;
}

struct leader_append {
    struct log_append op;
    struct partition *pt;
};

static void on_appended(struct log_append *op)
{
    struct leader_append *append = container_of(op, struct leader_append, op);
    struct partition *pt = append->pt;
    mem_free(append);
    partition_write_end(pt);
}

static void appends(struct in_step *s, int id)
{
    struct coded_broker *b = &s->brokers[id];
    const struct model_broker *in_model = &s->m->broker[id];
    struct leader_append *append = mem_zalloc(sizeof(*append));
    append->op.done = on_appended;
    append->pt = &b->pt;
    partition_write_begin(&b->pt);
    short_log_add(&b->log, in_model->log[in_model->end - 1], &append->op);
}

static void flushes(struct in_step *s, int id)
{
    struct coded_broker *b = &s->brokers[id];
    short_log_flush(&b->log, s->m->broker[id].durable);
    partition_advance(&b->pt);
}

static void misses(struct in_step *s, int leader, int id)
{
    struct partition_replicas *replicas = s->brokers[leader].pt.replicas;
    uint64_t now_ns = io_now_ns(s->sh->io);
    for (uint32_t i = 0; replicas && i < replicas->count; i++) {
        struct partition_follower *follower = &replicas->followers[i];
        follower->caught_up_ns = follower->id == id_of(id) ? now_ns - 2 * LAG_NS : now_ns;
    }
    if (replicas)
        partition_replicas_look(replicas);
}

static void asks_again(struct in_step *s, int leader)
{
    struct coded_broker *b = &s->brokers[leader];
    if (b->away)
        proposal_answered(b, ERR_REQUEST_TIMED_OUT);
    struct partition_replicas *replicas = b->pt.replicas;
    if (!replicas || !replicas->proposal)
        return;
    timer_cancel(s->sh, &replicas->again);
    replicas->again.fn(s->sh, &replicas->again);
}

/* ---- events: messages ---- */

static void answer_records(struct answer *answer, const struct short_log *log, int64_t offset)
{
    uint32_t len = 0;
    for (; offset < log->lg.durable_offset && len < sizeof(answer->bytes); offset++) {
        const struct model_record *record = &log->records[offset];
        const struct batch_header header = {.base_offset = offset,
                                            .length = BATCH_HEADER_SIZE - BATCH_LENGTH_END,
                                            .leader_epoch = SHORT_LOG_EPOCH(record->epoch),
                                            .magic = BATCH_MAGIC,
                                            .producer_id = record->value};
        batch_header_put(&header, answer->bytes + len);
        len += BATCH_HEADER_SIZE;
    }
    answer->part.records = span_of(&answer->piece, answer->bytes, len);
}

/* What core/api/fetch_read.c asks for a follower, in its order. */
static void gets_fetch(struct in_step *s, const struct model_message *asked)
{
    struct coded_broker *b = &s->brokers[asked->to];
    struct partition *pt = &b->pt;
    int32_t leader_epoch = SHORT_LOG_EPOCH(asked->leader_epoch);
    int64_t broker_epoch = broker_epoch_of(asked->from, asked->broker_epoch);
    struct answer late; /* the follower does not wait for it any more */
    struct answer *answer =
        asked->nonce == s->m->broker[asked->from].nonce ? &s->brokers[asked->from].answer : &late;
    *answer = (struct answer){
        .part = {.key = pt->key, .offset = asked->offset, .leader_epoch = leader_epoch}};
    if (partition_check_leader(pt, leader_epoch) != ERR_NONE ||
        partition_replicas_check(pt, id_of(asked->from), broker_epoch) != ERR_NONE)
        return;
    struct fetched_part *part = &answer->part;
    if (!partition_agrees(pt, SHORT_LOG_EPOCH(asked->last_epoch), asked->offset,
                          &part->diverging_epoch, &part->diverging_end_offset)) {
        answer->nonce = part->diverging_epoch >= 0 ? asked->nonce : 0;
        return;
    }
    part->diverging_epoch = -1;
    if (asked->offset > pt->log->end_offset)
        return;
    partition_replicas_fetched(pt, id_of(asked->from), broker_epoch, asked->offset);
    part->high_watermark = pt->high_watermark;
    answer_records(answer, &b->log, asked->offset);
    answer->nonce = asked->nonce;
}

static void gets_fetched(struct in_step *s, const struct model_message *message)
{
    struct coded_broker *b = &s->brokers[message->to];
    if (b->answer.nonce != message->nonce)
        return; /* the logs will tell */
    while (!replica_part_take(&b->fetcher, &b->answer.part, io_clock_ns(s->sh->io)))
        ;
}

static void gets_altered(struct in_step *s, const struct model_message *message)
{
    static const enum err errors[] = {[MODEL_TAKEN] = ERR_NONE,
                                      [MODEL_STALE] = ERR_INVALID_UPDATE_VERSION,
                                      [MODEL_INELIGIBLE] = ERR_INELIGIBLE_REPLICA};
    struct coded_broker *b = &s->brokers[message->to];
    if (b->away)
        proposal_answered(b, errors[message->verdict]);
}

static void gets_message(struct in_step *s, const struct model_message *message)
{
    switch (message->kind) {
    case MODEL_FETCH:
        gets_fetch(s, message);
        return;
    case MODEL_FETCHED_ANSWER:
        gets_fetched(s, message);
        return;
    case MODEL_ALTER:
        decide_alter(s, message);
        return;
    case MODEL_ALTERED_ANSWER:
        gets_altered(s, message);
        return;
    }
}

/* ---- a run ---- */

static void run_begins(struct in_step *s)
{
    static const int32_t replicas[] = {1, 2, 3};
    char properties[128];
    (void)snprintf(properties, sizeof(properties),
                   "min.insync.replicas=%d\nreplica.lag.time.max.ms=%u\n", s->insync_min,
                   LAG_NS / 1000000U);
    s->w = world_with(properties, MODEL_BROKERS, replicas, MODEL_BROKERS);
    s->w->past = s->past;
    s->w->step.mutate_shrink = io_mutation(s->sh->io, "controller.shrinks_below_min");
    s->w->step.mutate_epochs = io_mutation(s->sh->io, "controller.broker_epochs_ignored");
    s->w->step.mutate_settle = io_mutation(s->sh->io, "controller.dead_member_stays");
    s->w->step.mutate_resign = io_mutation(s->sh->io, "controller.anyone_follows_who_resigns");
    s->partition_epoch_first = topic_in(s->w->image)->partitions[0].partition_epoch;
}

static void run_ends(struct in_step *s)
{
    for (int i = 0; i < MODEL_BROKERS; i++)
        crashes(s, i);
    for (uint32_t i = 0; i < s->w->past_count; i++)
        image_free(s->past[i]);
    world_free(s->w);
    s->w = NULL;
}

static void happens(struct in_step *s, const struct model_event *event)
{
    switch (event->kind) {
    case MODEL_RUN_BEGINS:
        run_begins(s);
        return;
    case MODEL_RUN_ENDS:
        run_ends(s);
        return;
    case MODEL_APPENDS:
        appends(s, event->broker);
        return;
    case MODEL_FLUSHES:
        flushes(s, event->broker);
        return;
    case MODEL_LEARNS:
        learns(s, event->broker);
        return;
    case MODEL_GETS:
        gets_message(s, event->message);
        return;
    case MODEL_MISSES:
        misses(s, event->broker, event->other);
        return;
    case MODEL_ASKS_AGAIN:
        asks_again(s, event->broker);
        return;
    case MODEL_IS_FENCED:
        goes(s->w, id_of(event->broker));
        return;
    case MODEL_REGISTERS:
        comes(s->w, id_of(event->broker), event->lossy);
        return;
    case MODEL_PREFERS:
        decide_preferred(s);
        return;
    case MODEL_RESIGNS:
        decide_resign(s, event->broker);
        return;
    case MODEL_STARTS:
        starts(s, event->broker);
        return;
    case MODEL_CRASHES:
        crashes(s, event->broker);
        return;
    }
}

/* ---- what both know ---- */

#define CONTROLLER (-1)

static bool same(struct in_step *s, int who, const char *what, int64_t model, int64_t code)
{
    static const char *const events[] = {
#define X(kind, words) words,
        MODEL_EVENTS(X)
#undef X
    };
    char name[16] = "the controller";
    if (who != CONTROLLER)
        (void)snprintf(name, sizeof(name), "broker %d", who);
    if (model != code)
        (void)snprintf(s->why, (size_t)s->why_size,
                       "out of step (broker %d: %s): %s knows of %s %lld by the model and %lld by "
                       "the code",
                       s->event->broker, events[s->event->kind], name, what, (long long)model,
                       (long long)code);
    return model == code;
}

static bool controller_is_same(struct in_step *s)
{
    const struct model_metadata *in_model = model_now(s->m);
    const struct partition_image *in_code = &topic_in(s->w->image)->partitions[0];
    int leader = in_code->leader < 0 ? -1 : in_code->leader - 1;
    for (int i = 0; i < MODEL_BROKERS; i++) {
        const struct broker_image *broker = image_broker(s->w->image, id_of(i));
        if (!same(s, CONTROLLER, "a life", in_model->live >> i & 1, broker->live) ||
            !same(s, CONTROLLER, "a broker epoch", broker_epoch_of(i, in_model->broker_epoch[i]),
                  broker->epoch))
            return false;
    }
    return same(s, CONTROLLER, "the leader", in_model->leader, leader) &&
           same(s, CONTROLLER, "the leader epoch", SHORT_LOG_EPOCH(in_model->leader_epoch),
                in_code->leader_epoch) &&
           same(s, CONTROLLER, "the partition epoch",
                in_model->partition_epoch - 1 + s->partition_epoch_first,
                in_code->partition_epoch) &&
           same(s, CONTROLLER, "the set", in_model->set, bits_of(in_code->isr, in_code->isr_count));
}

static bool log_is_same(struct in_step *s, int id)
{
    const struct model_broker *in_model = &s->m->broker[id];
    const struct short_log *in_code = &s->brokers[id].log;
    if (!same(s, id, "the end", in_model->end, in_code->lg.end_offset) ||
        !same(s, id, "the durable end", in_model->durable, in_code->lg.durable_offset))
        return false;
    for (int i = 0; i < in_model->end; i++)
        if (!same(s, id, "a record", in_model->log[i].value, in_code->records[i].value) ||
            !same(s, id, "a record's epoch", in_model->log[i].epoch, in_code->records[i].epoch))
            return false;
    return true;
}

static bool followers_are_same(struct in_step *s, int leader)
{
    const struct model_broker *in_model = &s->m->broker[leader];
    const struct partition_replicas *in_code = s->brokers[leader].pt.replicas;
    for (uint32_t i = 0; i < in_code->count; i++) {
        const struct partition_follower *follower = &in_code->followers[i];
        int id = follower->id - 1;
        int counts = (in_model->known.set | in_model->pending) >> id & 1;
        if (!same(s, leader, "who has fetched", in_model->seen[id], follower->seen) ||
            !same(s, leader, "an end that is known", in_model->follower_end[id],
                  follower->durable_end) ||
            !same(s, leader, "a broker epoch that is known",
                  broker_epoch_of(id, in_model->seen_epoch[id]), follower->broker_epoch) ||
            !same(s, leader, "who counts", counts, follower->in_set || follower->in_proposal))
            return false;
    }
    return same(s, leader, "a proposal", in_model->pending != 0, in_code->proposal != NULL) &&
           same(s, leader, "what is away", in_model->away, in_code->proposal_away) &&
           same(s, leader, "the epoch's start", in_model->epoch_start, in_code->epoch_start);
}

static bool broker_is_same(struct in_step *s, int id)
{
    const struct model_broker *in_model = &s->m->broker[id];
    const struct partition *in_code = &s->brokers[id].pt;
    bool leads = in_model->begun && in_model->known.leader == id;
    bool follows = in_model->begun && in_model->known.leader >= 0 && !leads;
    if (!same(s, id, "a life", in_model->up, s->brokers[id].up))
        return false;
    if (!in_model->up)
        return true;
    return same(s, id, "leading", leads, in_code->leading) &&
           same(s, id, "following", follows, in_code->follow != NULL) && log_is_same(s, id) &&
           same(s, id, "the high watermark", in_model->watermark, in_code->high_watermark) &&
           (!leads || followers_are_same(s, id));
}

/* What the event made a leader propose, byte for byte; but who is no new member has no need of a
 * broker epoch. */
static bool proposal_is_same(struct in_step *s, int id)
{
    struct coded_broker *b = &s->brokers[id];
    const struct model_message *in_model = &s->m->alter;
    bool proposes = s->m->altered && in_model->from == id;
    if (!same(s, id, "proposals", proposes, b->proposals) || !proposes)
        return !s->why[0];
    const struct control_alter *in_code = b->away->alter;
    int set = 0;
    for (uint32_t i = 0; i < in_code->member_count; i++) {
        const struct control_member *member = &in_code->members[i];
        int broker = member->id - 1;
        set |= 1 << broker;
        if (broker != id &&
            !same(s, id, "a member's epoch",
                  broker_epoch_of(broker, in_model->member_epoch[broker]), member->broker_epoch))
            return false;
    }
    return same(s, id, "the set that is proposed", in_model->set, set) &&
           same(s, id, "its broker epoch", broker_epoch_of(id, in_model->broker_epoch),
                in_code->broker_epoch) &&
           same(s, id, "its leader epoch", SHORT_LOG_EPOCH(in_model->leader_epoch),
                in_code->leader_epoch) &&
           same(s, id, "its partition epoch",
                in_model->partition_epoch - 1 + s->partition_epoch_first, in_code->partition_epoch);
}

bool in_step_sees(void *user, const struct model *m, const struct model_event *event, char *why,
                  int why_size)
{
    struct in_step *s = user;
    s->m = m;
    s->event = event;
    s->why = why;
    s->why_size = why_size;
    for (int i = 0; i < MODEL_BROKERS; i++)
        s->brokers[i].proposals = 0;
    happens(s, event);
    if (!s->w)
        return true;
    s->known[m->past_count - 1] = s->w->image;
    bool good = controller_is_same(s);
    for (int i = 0; i < MODEL_BROKERS && good && event->kind != MODEL_RUN_BEGINS; i++)
        good = (!m->broker[i].up && !s->brokers[i].up) ||
               (broker_is_same(s, i) && proposal_is_same(s, i));
    return good;
}

struct in_step *in_step_new(struct shard *sh, int insync_min)
{
    struct in_step *s = mem_zalloc(sizeof(*s));
    s->sh = sh;
    s->insync_min = insync_min;
    return s;
}

void in_step_free(struct in_step *s)
{
    if (s->w)
        run_ends(s);
    mem_free(s);
}
