/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/model/commit_set.h"

#include <stdio.h>
#include <string.h>

#define STEPS         600
#define STATES_A_STEP 2 /* of the metadata, at most */

/* ---- chance, bits, mail, events ---- */

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

/* In the order of replicas; -1: the set is empty. */
static int first_of(int set)
{
    return set ? __builtin_ctz((unsigned)set) : -1;
}

static int least_int(int a, int b)
{
    return a < b ? a : b;
}

static void post(struct model *m, struct model_message message)
{
    if (m->mail_count < MODEL_MAIL_MAX)
        m->mail[m->mail_count++] = message; /* else the network is full, and it is lost */
}

static void happened(struct model *m, struct model_event event)
{
    const struct model_witness *witness = m->witness;
    if (witness && !m->why[0] &&
        !witness->sees(witness->user, m, &event, m->why, (int)sizeof(m->why)) && !m->why[0])
        snprintf(m->why, sizeof(m->why), "the witness does not say why");
    m->altered = false;
}

/* ---- logs and their epochs ---- */

static int last_epoch(const struct model_broker *b)
{
    return b->end ? b->log[b->end - 1].epoch : 0;
}

/* The largest epoch <= wanted, and where it ends. A leader knows its own without a record. */
static void epoch_end(const struct model_broker *b, int own_epoch, int wanted, int *epoch, int *end)
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

static void truncate_log(struct model_broker *b, int end)
{
    b->end = least_int(b->end, end);
    b->durable = least_int(b->durable, b->end);
    b->watermark = least_int(b->watermark, b->end);
}

static bool leads(const struct model *m, int id)
{
    const struct model_broker *b = &m->broker[id];
    return b->up && b->begun && b->known.leader == id;
}

static bool follows(const struct model *m, int id)
{
    const struct model_broker *b = &m->broker[id];
    return b->up && b->begun && b->known.leader >= 0 && b->known.leader != id;
}

/* ---- the high watermark ---- */

static void commit(struct model *m, int leader, int upto)
{
    struct model_broker *b = &m->broker[leader];
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
    struct model_broker *b = &m->broker[leader];
    int set = b->known.set | b->pending;
    if (m->mutation == MODEL_ONLY_PROPOSAL)
        set = b->pending ? b->pending : b->known.set;
    if (m->mutation == MODEL_PROPOSAL_NOT_COUNTED)
        set = b->known.set;
    if (members(b->known.set) < m->insync_min)
        return;
    int least = m->mutation == MODEL_NOT_DURABLE ? b->end : b->durable;
    for (int i = 0; i < MODEL_BROKERS; i++) {
        if (i == leader || !holds(set, i))
            continue;
        if (!b->seen[i])
            return;
        least = least_int(least, b->follower_end[i]);
    }
    if (least > b->watermark)
        commit(m, leader, least);
}

/* A follower's own idea of it: what it was told, as far as it has that durably. */
static void settle_watermark(struct model *m, int id)
{
    struct model_broker *b = &m->broker[id];
    int known = least_int(b->leader_watermark, b->durable);
    if (follows(m, id) && known > b->watermark)
        b->watermark = known;
}

/* ---- what brokers learn of the metadata, late ---- */

static void forget_proposal(struct model_broker *b)
{
    b->pending = 0;
    b->away = false;
}

static void role_begin(struct model *m, int id)
{
    struct model_broker *b = &m->broker[id];
    if (b->begun || b->durable < b->end)
        return;
    b->begun = true;
    b->epoch_start = b->end;
    b->leader_watermark = -1;
    memset(b->seen, 0, sizeof(b->seen));
    memset(b->seen_epoch, 0, sizeof(b->seen_epoch));
    memset(b->follower_end, 0, sizeof(b->follower_end));
    if (leads(m, id))
        advance(m, id);
}

static void role_end(struct model_broker *b)
{
    b->begun = false;
    b->waiting = false;
    forget_proposal(b);
}

static void learn(struct model *m, int id, int index)
{
    struct model_broker *b = &m->broker[id];
    const struct model_metadata *next = &m->past[index];
    bool new_epoch = next->leader_epoch != b->known.leader_epoch;
    bool changed = next->partition_epoch != b->known.partition_epoch;
    b->known = *next;
    b->known_index = index;
    if (new_epoch) {
        role_end(b);
        if (m->mutation == MODEL_TRUNCATE_TO_WATERMARK && next->leader != id)
            truncate_log(b, b->watermark);
        role_begin(m, id);
    } else if (changed && leads(m, id)) {
        forget_proposal(b); /* superset: confirmed, or passed over */
        advance(m, id);
    }
}

/* ---- the controller ---- */

/* The next state of the metadata, to be changed. */
static struct model_metadata *decide(struct model *m)
{
    m->past[m->past_count] = m->past[m->past_count - 1];
    return &m->past[m->past_count++];
}

/* A change of the partition has a number of its own. */
static void number_change(struct model *m)
{
    struct model_metadata *next = &m->past[m->past_count - 1];
    const struct model_metadata *before = &m->past[m->past_count - 2];
    if (next->set != before->set || next->leader_epoch != before->leader_epoch)
        next->partition_epoch++;
}

/* from the set */
static void elect(struct model_metadata *next)
{
    next->leader_epoch++;
    next->leader = first_of(next->set & next->live);
}

static int least_members(const struct model *m)
{
    return m->mutation == MODEL_BELOW_MIN ? 1 : m->insync_min;
}

/* never below */
static void leave(const struct model *m, struct model_metadata *next, int id)
{
    if (holds(next->set, id) && members(next->set) > least_members(m))
        next->set &= ~(1 << id);
}

/* Its session has ended, whether it lives or not. */
static void fence(struct model *m, int id)
{
    if (!holds(model_now(m)->live, id))
        return;
    struct model_metadata *next = decide(m);
    next->live &= ~(1 << id);
    leave(m, next, id);
    if (next->leader == id)
        elect(next);
    number_change(m);
    happened(m, (struct model_event){.kind = MODEL_IS_FENCED, .broker = id});
}

/* A new broker epoch. lossy: an empty disk leaves the set, whatever remains */
static void enrol(struct model *m, int id, bool lossy)
{
    struct model_metadata *next = decide(m);
    next->broker_epoch[id]++;
    next->live |= 1 << id;
    if (lossy)
        next->set &= ~(1 << id);
    if (next->leader < 0 && (next->set & next->live))
        elect(next);
    number_change(m);
    happened(m, (struct model_event){.kind = MODEL_REGISTERS, .broker = id, .lossy = lossy});
}

/* epochs match, never below */
static enum model_verdict may_alter(const struct model *m, const struct model_message *asked)
{
    const struct model_metadata *state = model_now(m);
    if (state->broker_epoch[asked->from] != asked->broker_epoch ||
        !holds(state->live, asked->from) || state->leader != asked->from ||
        state->leader_epoch != asked->leader_epoch ||
        state->partition_epoch != asked->partition_epoch)
        return MODEL_STALE;
    int joining = asked->set & ~state->set;
    for (int i = 0; i < MODEL_BROKERS; i++) {
        bool same = state->broker_epoch[i] == asked->member_epoch[i] ||
                    m->mutation == MODEL_BROKER_EPOCH_IGNORED;
        if (holds(joining, i) && (!same || !holds(state->live, i)))
            return MODEL_INELIGIBLE;
    }
    bool below = members(asked->set) < m->insync_min && members(asked->set) < members(state->set);
    return below && m->mutation != MODEL_BELOW_MIN ? MODEL_INELIGIBLE : MODEL_TAKEN;
}

static void on_alter(struct model *m, const struct model_message *asked)
{
    enum model_verdict verdict = may_alter(m, asked);
    if (verdict == MODEL_TAKEN) {
        struct model_metadata *next = decide(m);
        next->set = asked->set;
        next->partition_epoch++;
        for (int i = MODEL_BROKERS - 1; i >= 0; i--)
            if (i != next->leader && !holds(next->live, i))
                leave(m, next, i); /* the dead, when others have joined */
    }
    post(m, (struct model_message){.kind = MODEL_ALTERED_ANSWER,
                                   .from = -1,
                                   .to = asked->from,
                                   .leader_epoch = asked->leader_epoch,
                                   .ticket = asked->ticket,
                                   .verdict = verdict});
    happened(m, (struct model_event){.kind = MODEL_GETS, .broker = -1, .message = asked});
}

static void prefer_first(struct model *m)
{
    const struct model_metadata *state = model_now(m);
    if (state->leader != 0 && holds(state->set & state->live, 0)) {
        elect(decide(m));
        number_change(m);
    }
    happened(m, (struct model_event){.kind = MODEL_PREFERS});
}

/* resigned */
static void resign(struct model *m)
{
    const struct model_metadata *state = model_now(m);
    int leader = state->leader;
    if (leader < 0)
        return;
    int heir = first_of(state->set & state->live & ~(1 << leader));
    if (heir >= 0) {
        struct model_metadata *next = decide(m);
        next->leader = heir;
        next->leader_epoch++;
        leave(m, next, leader);
        number_change(m);
    }
    happened(m, (struct model_event){.kind = MODEL_RESIGNS, .broker = leader});
}

/* ---- proposals ---- */

static void send_proposal(struct model *m, int leader)
{
    struct model_broker *b = &m->broker[leader];
    m->alter = (struct model_message){.kind = MODEL_ALTER,
                                      .from = leader,
                                      .to = -1,
                                      .leader_epoch = b->known.leader_epoch,
                                      .partition_epoch = b->known.partition_epoch,
                                      .broker_epoch = b->known.broker_epoch[leader],
                                      .ticket = b->ticket,
                                      .set = b->proposed};
    memcpy(m->alter.member_epoch, b->proposed_epoch, sizeof(m->alter.member_epoch));
    m->altered = true;
    b->away = true;
    post(m, m->alter);
}

static void propose(struct model *m, int leader, int set)
{
    struct model_broker *b = &m->broker[leader];
    b->ticket++;
    b->proposed = set;
    b->pending = m->mutation == MODEL_ONLY_PROPOSAL ? set : set | b->known.set;
    memcpy(b->proposed_epoch, b->seen_epoch, sizeof(b->proposed_epoch));
    send_proposal(m, leader);
}

/* eligible */
static void propose_larger(struct model *m, int leader, int id)
{
    const struct model_broker *b = &m->broker[leader];
    if (b->pending || holds(b->known.set, id) || !holds(b->known.live, id))
        return;
    bool caught_up =
        b->follower_end[id] >= b->epoch_start || m->mutation == MODEL_BELOW_EPOCH_START;
    if (b->follower_end[id] >= b->watermark && caught_up)
        propose(m, leader, b->known.set | 1 << id);
}

/* never below */
static void miss(struct model *m, int leader, int id)
{
    const struct model_broker *b = &m->broker[leader];
    if (!leads(m, leader) || id == leader)
        return;
    if (!b->pending && holds(b->known.set, id) && members(b->known.set) > least_members(m))
        propose(m, leader, b->known.set & ~(1 << id));
    happened(m, (struct model_event){.kind = MODEL_MISSES, .broker = leader, .other = id});
}

/* Refused, or no answer came. same bytes */
static void ask_again(struct model *m, int leader)
{
    struct model_broker *b = &m->broker[leader];
    if (!leads(m, leader) || !b->pending)
        return;
    if (m->mutation == MODEL_RETRY_READS_EPOCHS)
        memcpy(b->proposed_epoch, b->seen_epoch, sizeof(b->proposed_epoch));
    if (m->mutation == MODEL_PROPOSAL_DROPPED)
        forget_proposal(b);
    else
        send_proposal(m, leader);
    happened(m, (struct model_event){.kind = MODEL_ASKS_AGAIN, .broker = leader});
}

/* Taken or not: what is so comes by the metadata log. */
static void on_altered(struct model *m, const struct model_message *answer)
{
    struct model_broker *b = &m->broker[answer->to];
    if (!b->away || b->ticket != answer->ticket)
        return;
    b->away = false;
    if (answer->verdict != MODEL_TAKEN && m->mutation == MODEL_REFUSAL_BELIEVED) {
        forget_proposal(b);
    } else if (answer->verdict == MODEL_INELIGIBLE) {
        b->proposed = b->known.set; /* given up, by proposing what is so */
        memcpy(b->proposed_epoch, b->seen_epoch, sizeof(b->proposed_epoch));
    }
    happened(m, (struct model_event){.kind = MODEL_GETS, .broker = answer->to, .message = answer});
}

/* ---- fetching ---- */

/* durable: when all that it has is */
static void ask(struct model *m, int id)
{
    struct model_broker *b = &m->broker[id];
    if (!follows(m, id) || (b->durable < b->end && m->mutation != MODEL_NOT_DURABLE))
        return;
    b->nonce++;
    b->waiting = true;
    post(m, (struct model_message){.kind = MODEL_FETCH,
                                   .from = id,
                                   .to = b->known.leader,
                                   .leader_epoch = b->known.leader_epoch,
                                   .broker_epoch = b->known.broker_epoch[id],
                                   .nonce = b->nonce,
                                   .offset = b->end,
                                   .last_epoch = last_epoch(b)});
}

/* Does it count? Then what it says of the follower is noted, and records go back. */
static void take_fetch(struct model *m, const struct model_message *asked)
{
    struct model_broker *b = &m->broker[asked->to];
    struct model_message answer = {.kind = MODEL_FETCHED_ANSWER,
                                   .from = asked->to,
                                   .to = asked->from,
                                   .leader_epoch = asked->leader_epoch,
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
    b->follower_end[asked->from] = asked->offset;
    b->seen[asked->from] = true;
    b->seen_epoch[asked->from] = asked->broker_epoch;
    advance(m, asked->to);
    propose_larger(m, asked->to, asked->from);
    int upto = m->mutation == MODEL_NOT_DURABLE ? b->end : b->durable;
    for (int i = asked->offset; i < upto && answer.count < MODEL_FETCHED; i++)
        answer.records[answer.count++] = b->log[i];
    answer.watermark = b->watermark;
    post(m, answer);
}

static void on_fetch(struct model *m, const struct model_message *asked)
{
    const struct model_broker *b = &m->broker[asked->to];
    bool fenced =
        asked->leader_epoch != b->known.leader_epoch && m->mutation != MODEL_UNFENCED_FETCH;
    if (!b->up)
        return;
    if (leads(m, asked->to) && !fenced && b->known.broker_epoch[asked->from] == asked->broker_epoch)
        take_fetch(m, asked);
    happened(m, (struct model_event){.kind = MODEL_GETS, .broker = asked->to, .message = asked});
}

static void on_fetched(struct model *m, const struct model_message *answer)
{
    struct model_broker *b = &m->broker[answer->to];
    if (!b->waiting || b->nonce != answer->nonce)
        return;
    b->waiting = false;
    if (answer->count < 0) {
        int epoch, end;
        epoch_end(b, 0, answer->diverging_epoch, &epoch, &end);
        if (epoch == answer->diverging_epoch)
            end = least_int(end, answer->diverging_end);
        truncate_log(b, end);
    } else {
        for (int i = 0; i < answer->count; i++)
            b->log[b->end++] = answer->records[i];
        b->leader_watermark = answer->watermark;
        settle_watermark(m, answer->to);
    }
    happened(m, (struct model_event){.kind = MODEL_GETS, .broker = answer->to, .message = answer});
}

static void deliver_one(struct model *m)
{
    if (m->mail_count == 0)
        return;
    int which = draw(m, m->mail_count);
    struct model_message message = m->mail[which];
    m->mail[which] = m->mail[--m->mail_count];
    switch (message.kind) {
    case MODEL_FETCH:
        on_fetch(m, &message);
        return;
    case MODEL_FETCHED_ANSWER:
        on_fetched(m, &message);
        return;
    case MODEL_ALTER:
        on_alter(m, &message);
        return;
    case MODEL_ALTERED_ANSWER:
        on_altered(m, &message);
        return;
    }
}

static void lose_one(struct model *m)
{
    if (m->mail_count)
        m->mail[draw(m, m->mail_count)] = m->mail[m->mail_count - 1];
    m->mail_count -= m->mail_count > 0;
}

/* ---- lives of brokers ---- */

static void crash(struct model *m, int id, bool power)
{
    struct model_broker *b = &m->broker[id];
    int kept = b->durable;
    if (!power && b->end > b->durable)
        kept += draw(m, b->end - b->durable + 1);
    b->up = false;
    b->end = b->durable = kept;
    b->watermark = 0;
    role_end(b);
    happened(m, (struct model_event){.kind = MODEL_CRASHES, .broker = id});
}

static void restart(struct model *m, int id)
{
    struct model_broker *b = &m->broker[id];
    fence(m, id);
    enrol(m, id, b->disk_lost);
    b->disk_lost = false;
    b->up = true;
    b->known.leader_epoch = -1;
    learn(m, id, m->past_count - 1);
    happened(m, (struct model_event){.kind = MODEL_STARTS, .broker = id});
}

/* At most min - 1 of those that hold what was committed, until they are members again. */
static void lose_disk(struct model *m, int id)
{
    struct model_broker *b = &m->broker[id];
    int others = 0;
    if (b->up || b->disk_lost)
        return;
    for (int i = 0; i < MODEL_BROKERS; i++) {
        if (m->disk_was_lost[i] && !m->broker[i].disk_lost && holds(model_now(m)->set, i))
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
    const struct model_metadata *state = model_now(m);
    if (m->why[0])
        return true;
    if (!state->set) {
        snprintf(m->why, sizeof(m->why), "the commit set is empty: nobody can be elected");
        return true;
    }
    for (int i = 0; i < MODEL_BROKERS; i++) {
        const struct model_broker *b = &m->broker[i];
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
    struct model_broker *b = &m->broker[id];
    if (!leads(m, id) || b->end == MODEL_LOG_MAX)
        return;
    b->log[b->end++] = (struct model_record){b->known.leader_epoch, m->next_value++};
    happened(m, (struct model_event){.kind = MODEL_APPENDS, .broker = id});
}

static void flush(struct model *m, int id)
{
    struct model_broker *b = &m->broker[id];
    if (!b->up || b->end == b->durable)
        return;
    b->durable += 1 + draw(m, b->end - b->durable);
    settle_watermark(m, id);
    if (leads(m, id))
        advance(m, id);
    role_begin(m, id);
    happened(m, (struct model_event){.kind = MODEL_FLUSHES, .broker = id});
}

static void learn_some(struct model *m, int id)
{
    const struct model_broker *b = &m->broker[id];
    int newer = m->past_count - 1 - b->known_index;
    if (!b->up || newer == 0)
        return;
    learn(m, id, b->known_index + 1 + draw(m, newer));
    happened(m, (struct model_event){.kind = MODEL_LEARNS, .broker = id});
}

static void trouble(struct model *m, int id)
{
    switch (draw(m, 5)) {
    case 0:
        if (draw(m, 3) == 0)
            fence(m, id);
        return;
    case 1:
        if (draw(m, 2) == 0)
            prefer_first(m);
        else if (draw(m, 2) == 0)
            resign(m);
        return;
    case 2:
        if (m->broker[id].up && draw(m, 2) == 0)
            crash(m, id, draw(m, 2));
        if (draw(m, 2) == 0)
            lose_disk(m, id);
        return;
    default:
        lose_one(m);
        return;
    }
}

static void step(struct model *m, int rare)
{
    int id = draw(m, MODEL_BROKERS);
    int other = draw(m, MODEL_BROKERS);
    int what = draw(m, 40);
    if (what < 3)
        append(m, id);
    else if (what < 7)
        flush(m, id);
    else if (what < 13)
        ask(m, id);
    else if (what < 24)
        deliver_one(m);
    else if (what < 28)
        learn_some(m, id);
    else if (what < 30)
        ask_again(m, id);
    else if (what == 30)
        miss(m, id, other);
    else if (what < 33 && !m->broker[id].up)
        restart(m, id);
    else if (what < 33 && !holds(model_now(m)->live, id))
        enrol(m, id, false); /* a zombie that notices */
    else if (what < 38 && draw(m, rare) == 0)
        trouble(m, id);
    else
        deliver_one(m);
}

static void run_begin(struct model *m)
{
    memset(m->broker, 0, sizeof(m->broker));
    memset(m->disk_was_lost, 0, sizeof(m->disk_was_lost));
    m->past_count = 1;
    m->mail_count = 0;
    m->committed_count = 0;
    m->next_value = 1;
    m->why[0] = '\0';
    m->past[0] = (struct model_metadata){.leader_epoch = 1,
                                         .partition_epoch = 1,
                                         .set = (1 << MODEL_BROKERS) - 1,
                                         .live = (1 << MODEL_BROKERS) - 1,
                                         .broker_epoch = {1, 1, 1}};
    happened(m, (struct model_event){.kind = MODEL_RUN_BEGINS});
    for (int i = 0; i < MODEL_BROKERS; i++) {
        m->broker[i].up = true;
        learn(m, i, 0);
        happened(m, (struct model_event){.kind = MODEL_STARTS, .broker = i});
    }
}

/* True when something must not be. */
static bool run(struct model *m)
{
    run_begin(m);
    int rare = 1 + draw(m, 8);
    bool wrong = is_wrong(m);
    for (int i = 0; i < STEPS && !wrong && m->past_count < MODEL_PAST_MAX - STATES_A_STEP; i++) {
        step(m, rare);
        wrong = is_wrong(m);
    }
    happened(m, (struct model_event){.kind = MODEL_RUN_ENDS});
    return wrong;
}

struct model_outcome model_play(const struct model_game *game)
{
    static struct model m; /* large */
    struct model_outcome outcome = {0};
    m.mutation = game->mutation;
    m.insync_min = game->insync_min;
    m.dice = game->seed * 0x9e3779b97f4a7c15ULL | 1;
    m.witness = game->witness;
    while (outcome.runs < game->runs && !outcome.violated) {
        outcome.violated = run(&m);
        outcome.runs++;
        outcome.committed += (uint64_t)m.committed_count;
    }
    memcpy(outcome.why, m.why, sizeof(outcome.why));
    return outcome;
}
