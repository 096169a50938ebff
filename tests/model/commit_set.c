/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/model/commit_set.h"

#include <stdio.h>
#include <string.h>

#define BROKERS  3
#define LOG_MAX  12
#define MAIL_MAX 24
#define PAST_MAX 400 /* states of the metadata in one run */
#define STEPS    600
#define FETCHED  2 /* records in an answer */

struct record {
    int epoch, value;
};

/* What the controller has decided: one entry of the metadata log. Sets are bits by broker. */
struct metadata {
    int leader, leader_epoch, partition_epoch;
    int set, live;
    int broker_epoch[BROKERS];
};

struct broker {
    bool up;
    bool disk_lost; /* its next start is lossy */
    int broker_epoch;
    struct record log[LOG_MAX];
    int end, durable, watermark;
    struct metadata known;
    int known_index;
    /* leading */
    int epoch_start;
    int follower_end[BROKERS];
    bool seen[BROKERS];
    int seen_epoch[BROKERS]; /* broker epoch of its last Fetch */
    int pending;             /* members that a proposal may have added, with those that were; 0 */
    int pending_epoch;       /* partition epoch of the state it would change */
    int proposed;
    int proposed_epoch[BROKERS];
    /* following */
    int nonce;
    bool waiting;
};

enum kind { FETCH, FETCHED_ANSWER, ALTER, ALTERED_ANSWER };

struct message {
    enum kind kind;
    int from, to;
    int leader_epoch, broker_epoch, nonce;
    int offset, durable, last_epoch; /* FETCH */
    int count;                       /* FETCHED_ANSWER; -1: histories part */
    struct record records[FETCHED];
    int watermark, diverging_epoch, diverging_end;
    int set, partition_epoch; /* ALTER */
    int member_epoch[BROKERS];
    bool taken; /* ALTERED_ANSWER */
};

struct model {
    enum model_mutation mutation;
    int insync_min;
    uint64_t dice;
    struct broker broker[BROKERS];
    struct metadata past[PAST_MAX];
    int past_count;
    struct message mail[MAIL_MAX];
    int mail_count;
    struct record committed[LOG_MAX];
    int committed_count;
    bool disk_was_lost[BROKERS]; /* and it has not been a member since */
    int next_value;
    char why[160];
};

/* ---- chance, bits, mail ---- */

static int draw(struct model *m, int below)
{
    m->dice ^= m->dice << 13;
    m->dice ^= m->dice >> 7;
    m->dice ^= m->dice << 17;
    return (int)((m->dice >> 11) % (uint64_t)below);
}

static int members(int set)
{
    return __builtin_popcount((unsigned)set);
}

static bool holds(int set, int id)
{
    return (set >> id & 1) != 0;
}

static void post(struct model *m, struct message message)
{
    if (m->mail_count < MAIL_MAX)
        m->mail[m->mail_count++] = message; /* else the network is full, and it is lost */
}

static struct metadata *now(struct model *m)
{
    return &m->past[m->past_count - 1];
}

/* The next state of the metadata, to be changed; NULL: the run is long enough. */
static struct metadata *decide(struct model *m)
{
    if (m->past_count >= PAST_MAX - 1)
        return NULL;
    m->past[m->past_count] = m->past[m->past_count - 1];
    m->past_count++;
    now(m)->partition_epoch++;
    return now(m);
}

/* ---- logs and their epochs ---- */

static int last_epoch(const struct broker *b)
{
    return b->end ? b->log[b->end - 1].epoch : 0;
}

/* The largest epoch <= wanted, and where it ends. A leader knows its own without a record. */
static void epoch_end(const struct broker *b, int own_epoch, int wanted, int *epoch, int *end)
{
    if (own_epoch > 0 && wanted >= own_epoch) {
        *epoch = own_epoch;
        *end = b->end;
        return;
    }
    int at = b->end;
    while (at > 0 && b->log[at - 1].epoch > wanted)
        at--;
    *end = at;
    *epoch = at ? b->log[at - 1].epoch : 0;
}

static void truncate_log(struct broker *b, int end)
{
    if (end < b->end)
        b->end = end;
    if (b->durable > b->end)
        b->durable = b->end;
}

static bool leads(const struct model *m, int id)
{
    return m->broker[id].up && m->broker[id].known.leader == id;
}

/* ---- the high watermark ---- */

static void commit(struct model *m, int leader, int upto)
{
    struct broker *b = &m->broker[leader];
    b->watermark = upto;
    for (int i = 0; i < upto; i++) {
        if (i == m->committed_count)
            m->committed[m->committed_count++] = b->log[i];
        else if (m->committed[i].epoch != b->log[i].epoch ||
                 m->committed[i].value != b->log[i].value)
            snprintf(m->why, sizeof(m->why), "leader %d of epoch %d commits another record at %d",
                     leader, b->known.leader_epoch, i);
    }
}

/* durable, seen, enough, superset */
static void advance(struct model *m, int leader)
{
    struct broker *b = &m->broker[leader];
    int set = b->known.set | b->pending;
    if (m->mutation == MODEL_ONLY_PROPOSAL)
        set = b->pending ? b->pending : b->known.set;
    if (m->mutation == MODEL_PROPOSAL_NOT_COUNTED)
        set = b->known.set;
    if (members(b->known.set) < m->insync_min)
        return;
    int least = m->mutation == MODEL_NOT_DURABLE ? b->end : b->durable;
    for (int i = 0; i < BROKERS; i++) {
        if (i == leader || !holds(set, i))
            continue;
        if (!b->seen[i])
            return;
        if (b->follower_end[i] < least)
            least = b->follower_end[i];
    }
    if (least > b->watermark)
        commit(m, leader, least);
}

/* ---- what brokers learn of the metadata, late ---- */

static void learn(struct model *m, int id, int index)
{
    struct broker *b = &m->broker[id];
    const struct metadata *next = &m->past[index];
    if (index <= b->known_index)
        return;
    bool new_epoch = next->leader_epoch != b->known.leader_epoch;
    bool changed = next->partition_epoch != b->known.partition_epoch;
    b->known = *next;
    b->known_index = index;
    if (new_epoch) {
        b->pending = 0;
        b->waiting = false;
        memset(b->seen, 0, sizeof(b->seen));
        memset(b->follower_end, 0, sizeof(b->follower_end));
        b->epoch_start = b->end;
    }
    if (changed && b->pending && next->partition_epoch > b->pending_epoch)
        b->pending = 0; /* superset: confirmed, or passed over */
    if (leads(m, id))
        advance(m, id);
    if (m->mutation == MODEL_TRUNCATE_TO_WATERMARK && new_epoch && next->leader != id)
        truncate_log(b, b->watermark);
}

/* ---- the controller ---- */

/* from the set (the model takes any live member) */
static void elect(struct model *m, struct metadata *next)
{
    int candidates = next->set & next->live;
    next->leader_epoch++;
    next->leader = -1;
    if (!candidates)
        return;
    int nth = draw(m, members(candidates));
    for (int i = 0; i < BROKERS; i++)
        if (holds(candidates, i) && nth-- == 0)
            next->leader = i;
}

static int least_members(const struct model *m)
{
    return m->mutation == MODEL_BELOW_MIN ? 1 : m->insync_min;
}

/* Its session has ended, whether it lives or not. never below */
static void fence(struct model *m, int id)
{
    if (!holds(now(m)->live, id))
        return;
    struct metadata *next = decide(m);
    if (!next)
        return;
    next->live &= ~(1 << id);
    if (holds(next->set, id) && members(next->set) - 1 >= least_members(m))
        next->set &= ~(1 << id);
    if (next->leader == id)
        elect(m, next);
}

/* epochs match, never below */
static bool may_alter(const struct model *m, const struct metadata *state,
                      const struct message *asked)
{
    if (state->broker_epoch[asked->from] != asked->broker_epoch ||
        !holds(state->live, asked->from) || state->leader != asked->from ||
        state->leader_epoch != asked->leader_epoch ||
        state->partition_epoch != asked->partition_epoch)
        return false;
    int joining = asked->set & ~state->set;
    for (int i = 0; i < BROKERS; i++) {
        if (!holds(joining, i))
            continue;
        if (!holds(state->live, i))
            return false;
        if (m->mutation != MODEL_BROKER_EPOCH_IGNORED &&
            state->broker_epoch[i] != asked->member_epoch[i])
            return false;
    }
    return m->mutation == MODEL_BELOW_MIN || members(asked->set) >= m->insync_min ||
           members(asked->set) >= members(state->set);
}

static void on_alter(struct model *m, const struct message *asked)
{
    bool taken = may_alter(m, now(m), asked);
    if (taken) {
        struct metadata *next = decide(m);
        if (!next)
            return;
        next->set = asked->set;
    }
    post(m, (struct message){.kind = ALTERED_ANSWER,
                             .from = -1,
                             .to = asked->from,
                             .leader_epoch = asked->leader_epoch,
                             .broker_epoch = asked->broker_epoch,
                             .partition_epoch = asked->partition_epoch,
                             .taken = taken});
}

static void on_altered(struct model *m, const struct message *answer)
{
    struct broker *b = &m->broker[answer->to];
    if (!leads(m, answer->to) || b->broker_epoch != answer->broker_epoch ||
        b->known.leader_epoch != answer->leader_epoch)
        return;
    /* Taken or not: what is so comes by the metadata log. */
    if (!answer->taken && m->mutation == MODEL_REFUSAL_BELIEVED &&
        b->pending_epoch == answer->partition_epoch)
        b->pending = 0;
}

/* ---- fetching ---- */

static void ask(struct model *m, int id)
{
    struct broker *b = &m->broker[id];
    if (!b->up || b->known.leader < 0 || b->known.leader == id)
        return;
    b->nonce++;
    b->waiting = true;
    post(m, (struct message){.kind = FETCH,
                             .from = id,
                             .to = b->known.leader,
                             .leader_epoch = b->known.leader_epoch,
                             .broker_epoch = b->broker_epoch,
                             .nonce = b->nonce,
                             .offset = b->end,
                             .durable = b->durable,
                             .last_epoch = last_epoch(b)});
}

static void on_fetch(struct model *m, const struct message *asked)
{
    struct broker *b = &m->broker[asked->to];
    bool fenced = m->mutation != MODEL_UNFENCED_FETCH;
    if (!leads(m, asked->to) || (fenced && asked->leader_epoch != b->known.leader_epoch))
        return;
    struct message answer = {.kind = FETCHED_ANSWER,
                             .from = asked->to,
                             .to = asked->from,
                             .leader_epoch = asked->leader_epoch,
                             .broker_epoch = asked->broker_epoch,
                             .nonce = asked->nonce,
                             .offset = asked->offset};
    int epoch, end;
    epoch_end(b, b->known.leader_epoch, asked->last_epoch, &epoch, &end);
    if (asked->offset > 0 && (epoch < asked->last_epoch || end < asked->offset)) {
        answer.count = -1;
        answer.diverging_epoch = epoch;
        answer.diverging_end = end;
        post(m, answer);
        return;
    }
    if (asked->offset > b->end)
        return;
    b->follower_end[asked->from] =
        m->mutation == MODEL_NOT_DURABLE ? asked->offset : asked->durable;
    b->seen[asked->from] = true;
    b->seen_epoch[asked->from] = asked->broker_epoch;
    advance(m, asked->to);
    for (int i = 0; i < FETCHED && asked->offset + i < b->end; i++)
        answer.records[answer.count++] = b->log[asked->offset + i];
    answer.watermark = b->watermark;
    post(m, answer);
}

static void on_fetched(struct model *m, const struct message *answer)
{
    struct broker *b = &m->broker[answer->to];
    if (!b->up || b->broker_epoch != answer->broker_epoch || b->nonce != answer->nonce ||
        !b->waiting || b->known.leader_epoch != answer->leader_epoch ||
        b->known.leader != answer->from || b->end != answer->offset)
        return;
    b->waiting = false;
    if (answer->count < 0) {
        int epoch, end;
        epoch_end(b, 0, answer->diverging_epoch, &epoch, &end);
        if (epoch == answer->diverging_epoch && answer->diverging_end < end)
            end = answer->diverging_end;
        truncate_log(b, end);
        return;
    }
    for (int i = 0; i < answer->count && b->end < LOG_MAX; i++)
        b->log[b->end++] = answer->records[i];
    int watermark = answer->watermark < b->end ? answer->watermark : b->end;
    if (watermark > b->watermark)
        b->watermark = watermark;
}

static void deliver_one(struct model *m)
{
    if (m->mail_count == 0)
        return;
    int which = draw(m, m->mail_count);
    struct message message = m->mail[which];
    m->mail[which] = m->mail[--m->mail_count];
    switch (message.kind) {
    case FETCH:
        on_fetch(m, &message);
        return;
    case FETCHED_ANSWER:
        on_fetched(m, &message);
        return;
    case ALTER:
        on_alter(m, &message);
        return;
    case ALTERED_ANSWER:
        on_altered(m, &message);
        return;
    }
}

/* ---- proposals ---- */

static void send_proposal(struct model *m, int leader, int set, bool same_bytes)
{
    struct broker *b = &m->broker[leader];
    struct message alter = {.kind = ALTER,
                            .from = leader,
                            .to = -1,
                            .leader_epoch = b->known.leader_epoch,
                            .partition_epoch = b->known.partition_epoch,
                            .broker_epoch = b->broker_epoch,
                            .set = set};
    memcpy(alter.member_epoch, same_bytes ? b->proposed_epoch : b->seen_epoch,
           sizeof(alter.member_epoch));
    post(m, alter);
}

/* eligible */
static void propose_larger(struct model *m, int leader, int id)
{
    struct broker *b = &m->broker[leader];
    if (!leads(m, leader) || b->pending || id == leader || holds(b->known.set, id))
        return;
    bool caught_up =
        b->follower_end[id] >= b->epoch_start || m->mutation == MODEL_BELOW_EPOCH_START;
    if (!b->seen[id] || b->follower_end[id] < b->watermark || !caught_up)
        return;
    b->pending = b->known.set | 1 << id;
    b->proposed = b->pending;
    b->pending_epoch = b->known.partition_epoch;
    memcpy(b->proposed_epoch, b->seen_epoch, sizeof(b->proposed_epoch));
    send_proposal(m, leader, b->proposed, true);
}

/* never below */
static void propose_smaller(struct model *m, int leader, int id)
{
    struct broker *b = &m->broker[leader];
    if (id == leader || !holds(b->known.set, id) || members(b->known.set) - 1 < least_members(m))
        return;
    b->proposed = b->known.set & ~(1 << id);
    b->pending = m->mutation == MODEL_ONLY_PROPOSAL ? b->proposed : b->known.set;
    b->pending_epoch = b->known.partition_epoch;
    memcpy(b->proposed_epoch, b->seen_epoch, sizeof(b->proposed_epoch));
    send_proposal(m, leader, b->proposed, true);
}

/* One that got no answer: sent again as it was, or given up by proposing what is so. */
static void propose_again(struct model *m, int leader)
{
    struct broker *b = &m->broker[leader];
    if (m->mutation == MODEL_PROPOSAL_DROPPED) {
        b->pending = 0;
    } else if (draw(m, 2)) {
        b->proposed = b->known.set;
        b->pending |= b->known.set;
        send_proposal(m, leader, b->proposed, false);
    } else if (b->pending_epoch == b->known.partition_epoch) {
        send_proposal(m, leader, b->proposed, m->mutation != MODEL_RETRY_READS_EPOCHS);
    }
}

/* ---- lives of brokers ---- */

static void crash(struct model *m, int id, bool power)
{
    struct broker *b = &m->broker[id];
    int kept = b->durable;
    if (!power && b->end > b->durable)
        kept += draw(m, b->end - b->durable + 1);
    b->up = false;
    b->end = b->durable = kept;
    b->watermark = 0;
    b->pending = 0;
    b->waiting = false;
}

/* lossy: an empty disk leaves the set, whatever remains */
static void restart(struct model *m, int id)
{
    struct broker *b = &m->broker[id];
    fence(m, id);
    struct metadata *next = decide(m);
    if (!next)
        return;
    next->broker_epoch[id]++;
    next->live |= 1 << id;
    if (b->disk_lost) {
        next->set &= ~(1 << id);
        if (next->leader == id)
            elect(m, next);
        b->disk_lost = false;
    }
    b->broker_epoch = next->broker_epoch[id];
    b->up = true;
    b->durable = b->end;
    b->known.leader_epoch = -1;
    b->known_index = -1;
    learn(m, id, m->past_count - 1);
}

/* A zombie that notices: a new session of a broker that lived on. */
static void register_again(struct model *m, int id)
{
    struct metadata *next = holds(now(m)->live, id) ? NULL : decide(m);
    if (!next)
        return;
    next->broker_epoch[id]++;
    next->live |= 1 << id;
    m->broker[id].broker_epoch = next->broker_epoch[id];
}

/* At most min - 1 of those that hold what was committed, until they are members again. */
static void lose_disk(struct model *m, int id)
{
    struct broker *b = &m->broker[id];
    int others = 0;
    if (b->up || b->disk_lost)
        return;
    for (int i = 0; i < BROKERS; i++) {
        if (m->disk_was_lost[i] && !m->broker[i].disk_lost && holds(now(m)->set, i))
            m->disk_was_lost[i] = false;
        others += i != id && m->disk_was_lost[i];
    }
    if (others >= m->insync_min - 1)
        return;
    m->disk_was_lost[id] = true;
    b->disk_lost = true;
    b->end = b->durable = 0;
}

/* ---- what must be so ---- */

static bool is_wrong(struct model *m)
{
    const struct metadata *state = now(m);
    if (m->why[0])
        return true;
    if (!state->set) {
        snprintf(m->why, sizeof(m->why), "the commit set is empty: nobody can be elected");
        return true;
    }
    for (int i = 0; i < BROKERS; i++) {
        const struct broker *b = &m->broker[i];
        if (!holds(state->set, i) || b->disk_lost)
            continue;
        int has = m->mutation == MODEL_NOT_DURABLE ? b->end : b->durable;
        for (int at = 0; at < m->committed_count; at++) {
            if (at < has && b->log[at].epoch == m->committed[at].epoch &&
                b->log[at].value == m->committed[at].value)
                continue;
            snprintf(
                m->why, sizeof(m->why),
                "member %d has not what was committed at %d (its end %d, leader %d of epoch %d)", i,
                at, has, state->leader, state->leader_epoch);
            return true;
        }
    }
    return false;
}

/* ---- a run ---- */

static void append(struct model *m, int id)
{
    struct broker *b = &m->broker[id];
    if (leads(m, id) && b->end < LOG_MAX)
        b->log[b->end++] = (struct record){b->known.leader_epoch, m->next_value++};
}

static void flush(struct model *m, int id)
{
    struct broker *b = &m->broker[id];
    if (!b->up || b->end == b->durable)
        return;
    b->durable += 1 + draw(m, b->end - b->durable);
    if (leads(m, id))
        advance(m, id);
}

static void propose(struct model *m, int leader, int id)
{
    if (!leads(m, leader))
        return;
    if (m->broker[leader].pending)
        propose_again(m, leader);
    else
        propose_smaller(m, leader, id);
}

static void elect_somebody(struct model *m)
{
    bool vacant = now(m)->leader < 0 && (now(m)->set & now(m)->live);
    if (!vacant && draw(m, 4) != 0)
        return;
    struct metadata *next = decide(m);
    if (next)
        elect(m, next);
}

static void trouble(struct model *m, int id)
{
    switch (draw(m, 5)) {
    case 0:
        if (draw(m, 3) == 0)
            fence(m, id);
        return;
    case 1:
        elect_somebody(m);
        return;
    case 2:
        if (m->broker[id].up && draw(m, 2) == 0)
            crash(m, id, draw(m, 2));
        return;
    case 3:
        if (draw(m, 4) == 0)
            lose_disk(m, id);
        return;
    default:
        if (m->mail_count && draw(m, 3) == 0)
            m->mail_count--; /* lost */
        return;
    }
}

static void step(struct model *m, int rare)
{
    int id = draw(m, BROKERS);
    int other = draw(m, BROKERS);
    struct broker *b = &m->broker[id];
    int what = draw(m, 40);
    if (what < 3)
        append(m, id);
    else if (what < 7)
        flush(m, id);
    else if (what < 13)
        ask(m, id);
    else if (what < 24)
        deliver_one(m);
    else if (what < 28 && b->up && b->known_index < m->past_count - 1)
        learn(m, id, b->known_index + 1 + draw(m, m->past_count - 1 - b->known_index));
    else if (what < 31)
        propose_larger(m, id, other);
    else if (what == 31)
        propose(m, id, other);
    else if (what == 32 && !b->up)
        restart(m, id);
    else if (what == 32)
        register_again(m, id);
    else if (what < 38 && draw(m, rare) == 0)
        trouble(m, id);
    else
        deliver_one(m);
}

/* True when something was violated. */
static bool run(struct model *m)
{
    memset(m->broker, 0, sizeof(m->broker));
    memset(m->disk_was_lost, 0, sizeof(m->disk_was_lost));
    m->past_count = 1;
    m->mail_count = 0;
    m->committed_count = 0;
    m->next_value = 1;
    m->why[0] = '\0';
    m->past[0] = (struct metadata){.leader_epoch = 1,
                                   .partition_epoch = 1,
                                   .set = (1 << BROKERS) - 1,
                                   .live = (1 << BROKERS) - 1,
                                   .broker_epoch = {1, 1, 1}};
    for (int i = 0; i < BROKERS; i++) {
        m->broker[i].up = true;
        m->broker[i].broker_epoch = 1;
        m->broker[i].known = m->past[0];
    }
    int rare = 1 + draw(m, 8);
    for (int i = 0; i < STEPS; i++) {
        step(m, rare);
        if (is_wrong(m))
            return true;
    }
    return false;
}

struct model_outcome model_play(enum model_mutation mutation, uint32_t insync_min, uint64_t seed,
                                uint64_t runs)
{
    static struct model m; /* large */
    struct model_outcome outcome = {0};
    m.mutation = mutation;
    m.insync_min = (int)insync_min;
    m.dice = seed * 0x9e3779b97f4a7c15ULL | 1;
    while (outcome.runs < runs && !outcome.violated) {
        outcome.violated = run(&m);
        outcome.runs++;
        outcome.committed += (uint64_t)m.committed_count;
    }
    memcpy(outcome.why, m.why, sizeof(outcome.why));
    return outcome;
}
