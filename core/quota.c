/* SPDX-License-Identifier: Apache-2.0 */
#include "core/quota.h"

#include "io/diag.h"
#include "io/map.h"
#include "net/address.h"

#include <math.h>
#include <string.h>

#define OF_REQUESTS    (QUOTA_MUTATION + 1U) /* kinds that a request can meet */
#define FORGET_NS      (12 * QUOTA_SAMPLE_NS)
#define REST_NS_MAX    QUOTA_SAMPLE_NS /* for time, and for connections, as in Kafka */
#define NAME_MAX_BYTES QUOTA_NAME_MAX
#define KEY_MAX        (4U + 2 * NAME_MAX_BYTES)

/* One user of a quota. */
struct quota_use {
    struct quotas *quotas;
    uint16_t home;
    struct quota_window window; /* of all shards, as far as it is known here */
    double unsent;              /* of this shard, and not told to the home */
    double sent;                /* in the mail that is away; its home's while it is */
    struct quota_window back;   /* likewise: what the home answers */
    struct mail mail;
    bool away;
    uint64_t used_ns;
    UT_hash_handle hh;
    uint32_t key_len;
    uint8_t key[]; /* kind, by user, by client, length of the user, user, client */
};

/* What a connection's client has, as of its last request. */
struct quota_conn {
    uint64_t version;    /* of the table */
    uint64_t generation; /* of the uses */
    struct {
        struct quota_use *use; /* NULL: no quota */
        double limit;
    } of[OF_REQUESTS];
    uint32_t client_len;
    char client[]; /* [NAME_MAX_BYTES] */
};

struct quotas {
    struct broker_shard *bs;
    struct quota_use *uses;
    uint32_t use_count;
    uint64_t generation; /* counts the times that uses were forgotten */
    uint64_t swept_ns;
    struct quota_counts counts;
};

static struct quotas *quotas_of(const struct request *q)
{
    return broker_shard_of(q->conn->net->sh)->quotas;
}

static uint64_t now_of(const struct quotas *quotas)
{
    return io_now_ns(quotas->bs->sh->io);
}

/* ---- users ---- */

static struct quota_use *use_find(struct quotas *quotas, const uint8_t *key, uint32_t len)
{
    struct quota_use *use;
    HASH_FIND(hh, quotas->uses, key, len, use);
    return use;
}

static void use_free(struct quotas *quotas, struct quota_use *use)
{
    HASH_DEL(quotas->uses, use);
    quotas->use_count--;
    mem_free(use);
}

static struct quota_use *use_new(struct quotas *quotas, const uint8_t *key, uint32_t len)
{
    struct quota_use *use = mem_zalloc(sizeof(*use) + len);
    use->quotas = quotas;
    use->home = CONTROL_SHARD; /* there connections come in */
    if (key[0] != QUOTA_CONNECTION)
        use->home = (uint16_t)(map_hash(key, len) % quotas->bs->sh->count);
    use->used_ns = now_of(quotas);
    use->key_len = len;
    memcpy(use->key, key, len);
    HASH_ADD_KEYPTR(hh, quotas->uses, use->key, len, use);
    quotas->use_count++;
    return use;
}

/* Those that nothing is known of any more but zeros. */
static void forget_silent(struct quotas *quotas)
{
    uint64_t now_ns = now_of(quotas);
    struct quota_use *use;
    struct quota_use *next;
    if (quotas->swept_ns + QUOTA_SAMPLE_NS > now_ns)
        return;
    quotas->swept_ns = now_ns;
    quotas->generation++;
    HASH_ITER(hh, quotas->uses, use, next)
    {
        if (!use->away && use->used_ns + FORGET_NS < now_ns)
            use_free(quotas, use);
    }
}

static struct quota_use *use_get(struct quotas *quotas, const uint8_t *key, uint32_t len)
{
    struct quota_use *use = use_find(quotas, key, len);
    if (use) {
        use->used_ns = now_of(quotas); /* nobody may forget it before it is used */
        return use;
    }
    if (quotas->use_count >= QUOTA_USES_MAX)
        forget_silent(quotas);
    if (quotas->use_count < QUOTA_USES_MAX)
        return use_new(quotas, key, len);
    diag_warn(quotas->bs->sh, "quota.crowded", "kind=%s told_apart=%u",
              quota_key((enum quota_kind)key[0]), QUOTA_USES_MAX);
    const uint8_t others[] = {key[0], 0, 0, 0, 0};
    use = use_find(quotas, others, sizeof(others));
    return use ? use : use_new(quotas, others, sizeof(others));
}

/* ---- between shards ---- */

static void use_tell(struct quota_use *use);

static void on_back(struct shard *here, struct mail *mail)
{
    struct quota_use *use = container_of(mail, struct quota_use, mail);
    (void)here;
    use->window = use->back;
    use->sent = 0;
    use->away = false;
    use_tell(use);
}

static void on_told(struct shard *here, struct mail *mail)
{
    struct quota_use *theirs = container_of(mail, struct quota_use, mail);
    struct quotas *quotas = broker_shard_of(here)->quotas;
    struct quota_use *use = use_get(quotas, theirs->key, theirs->key_len);
    use->used_ns = now_of(quotas);
    quota_window_add(&use->window, use->used_ns, theirs->sent);
    theirs->back = use->window;
    shard_answer(here, mail, on_back);
}

static void use_tell(struct quota_use *use)
{
    if (use->away || use->unsent <= 0)
        return;
    use->sent = use->unsent;
    use->unsent = 0;
    use->away = true;
    shard_post(use->quotas->bs->sh, use->home, &use->mail, on_told);
}

static void use_add(struct quota_use *use, double amount)
{
    const struct shard *sh = use->quotas->bs->sh;
    use->used_ns = now_of(use->quotas);
    if (io_mutation(sh->io, "quota.of_a_shard") || use->home == sh->id) {
        quota_window_add(&use->window, use->used_ns, amount);
        return;
    }
    use->unsent += amount;
    use_tell(use);
}

static double use_sum(struct quota_use *use)
{
    return quota_window_sum(&use->window, now_of(use->quotas)) + use->unsent + use->sent;
}

/* ---- whose quota it is ---- */

static struct str user_of(const struct request *q)
{
    const char *name = strchr(q->conn->principal, ':');
    return str_of(name ? name + 1 : q->conn->principal);
}

/* Of longer ids only what could be in a quota's name counts. */
static struct str client_of(const struct request *q)
{
    struct str client = q->header.client_id;
    client.len = client.len < 0 ? 0 : (int32_t)min_u64((uint64_t)client.len, NAME_MAX_BYTES);
    return client;
}

static uint32_t key_of(uint8_t key[KEY_MAX], enum quota_kind kind, const struct quota_rule *rule,
                       struct str user, struct str client)
{
    uint32_t user_len = rule->by_user ? (uint32_t)min_u64((uint64_t)user.len, NAME_MAX_BYTES) : 0;
    uint32_t client_len = rule->by_client ? (uint32_t)client.len : 0;
    key[0] = (uint8_t)kind;
    key[1] = (uint8_t)(1U + rule->by_user + 2U * rule->by_client);
    key[2] = (uint8_t)(user_len >> 8);
    key[3] = (uint8_t)user_len;
    if (user_len > 0)
        memcpy(key + 4, user.data, user_len);
    if (client_len > 0)
        memcpy(key + 4 + user_len, client.data, client_len);
    return 4 + user_len + client_len;
}

static void resolve(struct quotas *quotas, const struct quota_table *table, struct quota_conn *qc,
                    const struct request *q)
{
    struct str user = user_of(q);
    struct str client = client_of(q);
    uint8_t key[KEY_MAX];
    qc->version = table->version;
    qc->client_len = (uint32_t)client.len;
    if (client.len > 0)
        memcpy(qc->client, client.data, (size_t)client.len);
    for (unsigned kind = 0; kind < OF_REQUESTS; kind++) {
        struct quota_rule rule;
        qc->of[kind].use = NULL;
        if (!quota_table_rule(table, (enum quota_kind)kind, user, client, &rule))
            continue;
        uint32_t len = key_of(key, (enum quota_kind)kind, &rule, user, client);
        qc->of[kind].limit = rule.limit;
        if (kind != QUOTA_MUTATION) /* that is the controller's */
            qc->of[kind].use = use_get(quotas, key, len);
    }
    qc->generation = quotas->generation;
}

static bool is_current(const struct quota_conn *qc, const struct quota_table *table,
                       const struct quotas *quotas, struct str client)
{
    return qc->version == table->version && qc->generation == quotas->generation &&
           qc->client_len == (uint32_t)client.len &&
           (client.len == 0 || memcmp(qc->client, client.data, (size_t)client.len) == 0);
}

/* NULL: no quota. */
static struct quota_use *use_of(struct request *q, enum quota_kind kind, double *limit)
{
    struct quotas *quotas = quotas_of(q);
    const struct quota_table *table = quotas->bs->image->quotas;
    if (!table->any[kind])
        return NULL;
    struct quota_conn *qc = q->conn->user;
    struct str client = client_of(q);
    if (!qc) {
        qc = mem_zalloc(sizeof(*qc) + NAME_MAX_BYTES);
        q->conn->user = qc;
        qc->generation = UINT64_MAX;
    }
    if (!is_current(qc, table, quotas, client))
        resolve(quotas, table, qc, q);
    *limit = qc->of[kind].limit;
    return qc->of[kind].use;
}

void quota_connection_gone(struct conn *c)
{
    mem_free(c->user);
    c->user = NULL;
}

/* ---- spending ---- */

static void rest(struct request *q, enum quota_kind kind, uint64_t ns)
{
    struct quota_counts *counts = &quotas_of(q)->counts;
    if (ns == 0)
        return;
    counts->throttles[kind]++;
    counts->throttled_ns[kind] += ns;
    request_mute(q, ns);
}

/* Whole milliseconds, as they are told. */
static uint64_t ns_of(double seconds)
{
    return (uint64_t)ceil(seconds * 1e3) * 1000000U;
}

static uint64_t rest_after(struct quota_use *use, double amount, double limit)
{
    return ns_of(quota_rest_s(use_sum(use) + amount, limit, now_of(use->quotas)));
}

void quota_spend(struct request *q, enum quota_kind kind, double amount)
{
    double limit;
    struct quota_use *use = use_of(q, kind, &limit);
    if (!use)
        return;
    use_add(use, amount);
    rest(q, kind, rest_after(use, 0, limit));
}

bool quota_waits(struct request *q, enum quota_kind kind, double amount)
{
    double limit;
    struct quota_use *use = use_of(q, kind, &limit);
    if (!use)
        return false;
    /* More at once than the window holds would never be told: after silence it is. */
    uint64_t ns = use_sum(use) > 0 ? rest_after(use, amount, limit) : 0;
    rest(q, kind, ns);
    if (ns == 0)
        use_add(use, amount);
    return ns > 0;
}

double quota_most(struct request *q, enum quota_kind kind)
{
    double limit;
    return use_of(q, kind, &limit) ? limit * QUOTA_WHOLE_S : HUGE_VAL;
}

/* ---- time ---- */

bool quota_time_begin(struct request *q)
{
    double limit;
    if (q->timed_ns != 0 || q->untimed)
        return false;
    if (!use_of(q, QUOTA_REQUEST, &limit))
        return false;
    q->timed_ns = io_clock_ns(q->conn->net->sh->io);
    return true;
}

/* Of a core's, in percent. */
static double percent_of(uint64_t ns)
{
    return (double)ns * 100 / 1e9;
}

void quota_time_end(struct request *q)
{
    q->spent_ns += io_clock_ns(q->conn->net->sh->io) - q->timed_ns;
    q->timed_ns = 0;
    if (q->untimed)
        q->spent_ns = 0; /* that turned out meanwhile */
    if (request_is_running(q) || q->silent || q->untimed)
        return;
    /* It was answered meanwhile: what came after the answer was settled. */
    double limit;
    struct quota_use *use = use_of(q, QUOTA_REQUEST, &limit);
    if (use)
        use_add(use, percent_of(q->spent_ns));
    q->spent_ns = 0;
}

void quota_time_settle(struct request *q)
{
    double limit;
    struct quota_use *use = q->untimed ? NULL : use_of(q, QUOTA_REQUEST, &limit);
    if (!use)
        return;
    uint64_t now_ns = io_clock_ns(q->conn->net->sh->io);
    if (q->timed_ns != 0) {
        q->spent_ns += now_ns - q->timed_ns;
        q->timed_ns = now_ns;
    }
    use_add(use, percent_of(q->spent_ns));
    q->spent_ns = 0;
    rest(q, QUOTA_REQUEST, min_u64(rest_after(use, 0, limit), REST_NS_MAX));
}

/* ---- the controller's ---- */

void quota_of_mutations(struct request *q, struct control_op *op)
{
    const struct quota_table *table = quotas_of(q)->bs->image->quotas;
    struct quota_rule rule;
    uint8_t key[KEY_MAX];
    if (!table->any[QUOTA_MUTATION] ||
        !quota_table_rule(table, QUOTA_MUTATION, user_of(q), client_of(q), &rule))
        return;
    uint32_t len = key_of(key, QUOTA_MUTATION, &rule, user_of(q), client_of(q));
    char *who = arena_alloc(op->arena, len);
    if (!who)
        return;
    memcpy(who, key, len);
    op->mutator = (struct str){who, (int32_t)len};
    op->mutation_rate = rule.limit;
}

void quota_mutated(struct request *q, const struct control_op *op)
{
    rest(q, QUOTA_MUTATION, (uint64_t)op->throttle_ms * 1000000U);
}

/* ---- connections ---- */

uint64_t quota_connection_delay(struct broker_shard *bs, const struct io_address *peer)
{
    struct quotas *quotas = bs->quotas;
    uint8_t key[4 + sizeof(peer->ip)] = {QUOTA_CONNECTION, 1};
    char text[ADDRESS_IP_SIZE];
    if (!bs->image || !bs->image->quotas->any[QUOTA_CONNECTION])
        return 0;
    double limit =
        quota_table_ip_limit(bs->image->quotas, str_of(address_ip_print(peer->ip, text)));
    if (limit <= 0)
        return 0;
    memcpy(key + 4, peer->ip, sizeof(peer->ip));
    struct quota_use *use = use_get(quotas, key, sizeof(key));
    uint64_t ns = rest_after(use, 1, limit);
    if (ns == 0) {
        use_add(use, 1);
        return 0;
    }
    ns = min_u64(ns, REST_NS_MAX);
    quotas->counts.throttles[QUOTA_CONNECTION]++;
    quotas->counts.throttled_ns[QUOTA_CONNECTION] += ns;
    return ns;
}

/* ---- life ---- */

struct quotas *quotas_new(struct broker_shard *bs)
{
    struct quotas *quotas = mem_zalloc(sizeof(*quotas));
    quotas->bs = bs;
    return quotas;
}

void quotas_free(struct quotas *quotas)
{
    struct quota_use *use;
    struct quota_use *next;
    if (!quotas)
        return;
    HASH_ITER(hh, quotas->uses, use, next)
    {
        use_free(quotas, use);
    }
    mem_free(quotas);
}

const struct quota_counts *quotas_counts(const struct quotas *quotas)
{
    return &quotas->counts;
}
