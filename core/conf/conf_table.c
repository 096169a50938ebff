/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of keys as data, and what can be asked of it without a value. The rows are in conf.def
 * and conf_ignored.def; here are the words that they use.
 */
#include "core/conf/conf.h"

#include "io/nearest.h"

#include <stdio.h>
#include <string.h>

/* ---- what a row says about valid values ---- */

#define ANY               .valid = {0}
#define AT_LEAST(least)   .valid = {.has_range = true, .min = (least), .max = INT64_MAX}
#define BETWEEN(from, to) .valid = {.has_range = true, .min = (from), .max = (to)}
/* One of Kafka's values; for lists: some of them. */
#define ONE_OF(list)  .valid = {.choices = (list)}
#define SOME_OF(list) .valid = {.choices = (list)}
/* Kafka knows more values than are honoured here; each gets an answer of its own. */
#define ONLY(list, more, because)                                                                  \
    .valid = {.choices = (list), .refused = (more), .reason = (because)}
/* Any shape that a function knows. */
#define CHECKED(function, words) .valid = {.check = (function), .expects = (words)}

/* ---- sentences that several rows share ---- */

#define NO_TIERS            "there is no remote storage"
#define OWN_CHECKPOINTS     "Checkpoints come by time and by the length of the journal."
#define OWN_FETCHER         "Followers fetch with limits of their own."
#define ONE_LOG_DIR         "A broker whose last log directory has failed stops at once."
#define METADATA_FIRST      "Metadata lies in the first directory that log.dirs ever named."
#define NO_TIERED_STORAGE   "There is no remote storage."
#define ONE_THREAD_PER_CORE "One thread per core does all the work: see millrace.cores."
#define OWN_CLEANER         "Compaction has buffers of its own."
#define NO_GROUPS           "This part of consumer groups is not built yet."
#define NO_SHARE_GROUPS     "Share groups are not built."
#define NO_STREAMS_GROUPS   "Streams groups are not built."
#define NO_TRANSACTIONS     "Transactions are not built yet."
#define NO_TLS              "TLS is not built yet."
#define NO_SASL             "SASL is not built yet."
#define NO_KRAFT            "There is no KRaft quorum: the controller is on board."
#define NO_REPLICA_QUOTAS   "Replication is not throttled yet."
#define OWN_QUOTA_WINDOW    "The window of quotas is 11 samples of a second."
#define OWN_METRICS         "Metrics have a form of their own here."
#define NO_PURGATORY        "Waiting requests are not purged in rounds here."
#define JAVA_CLASS          "Java classes cannot run here."
#define NO_ZOOKEEPER        "The client of ZooKeeper knows no such setting here."
#define REMOVED_FROM_KAFKA  "Kafka 4 no longer has it."

static bool check_cores(const char *text)
{
    struct conf_cores cores;
    return conf_cores_parse(text, &cores);
}

static bool check_ip_limits(const char *text)
{
    struct address address;
    int32_t limit = 0;
    while (conf_ip_limit_next(&text, &address, &limit))
        continue;
    return *text == '\0';
}

static bool check_rack(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= CONF_RACK_LEN_MAX;
}

/* "0:1,1:1", or "*" for all. */
static bool check_replica_list(const char *text)
{
    if (*text == '\0' || (*text == '*' && (text[1] == '\0' || text[1] == ',')))
        return true;
    for (;;) {
        size_t partition = strspn(text, "0123456789");
        if (partition == 0 || text[partition] != ':')
            return false;
        text += partition + 1;
        size_t broker = strspn(text, "0123456789");
        text += broker;
        if (broker == 0 || (*text != ',' && *text != '\0'))
            return false;
        if (*text++ == '\0')
            return true;
    }
}

/* The parameters end in _ because a macro would replace a member's name too. */
#define ROW(scope_, class_, kind_, name_, fallback_, twins_, doc_)                                 \
    .scope = CONF_##scope_, .class = CONF_##class_, .kind = CONF_##kind_, .name = (name_),         \
    .name_len = sizeof(name_) - 1, .fallback = (fallback_), .twins = (twins_), .doc = (doc_)
#define BROKER_KEY(class_, kind_, name_, fallback_, valid_, dynamic_, twins_, doc_)                \
    {ROW(BROKER, class_, kind_, name_, fallback_, twins_, doc_), valid_,                           \
     .dynamic = CONF_##dynamic_},
#define TOPIC_KEY(class_, kind_, name_, fallback_, valid_, twins_, doc_)                           \
    {ROW(TOPIC, class_, kind_, name_, fallback_, twins_, doc_), valid_,                            \
     .dynamic = CONF_CLUSTER_WIDE},
#define BROKER_FIELD(class_, kind_, field_, name_, fallback_, valid_, dynamic_, twins_, doc_)      \
    {ROW(BROKER, class_, kind_, name_, fallback_, twins_, doc_), valid_,                           \
     .dynamic = CONF_##dynamic_, .has_field = true,                                                \
     .field = offsetof(struct broker_conf, field_)},
#define TOPIC_FIELD(class_, kind_, field_, name_, fallback_, valid_, twins_, doc_)                 \
    {ROW(TOPIC, class_, kind_, name_, fallback_, twins_, doc_), valid_,                            \
     .dynamic = CONF_CLUSTER_WIDE, .has_field = true,                                              \
     .field = offsetof(struct topic_conf, field_)},
#define IGNORED(kind_, name_, fallback_, doc_)                                                     \
    {ROW(BROKER, NO_EFFECT, kind_, name_, fallback_, "", doc_)},

const struct conf_key conf_keys[] = {
#include "core/conf/conf.def"
#include "core/conf/conf_ignored.def"
};
const uint16_t conf_key_count = array_count(conf_keys);
_Static_assert(array_count(conf_keys) <= CONF_KEY_COUNT_MAX, "raise CONF_KEY_COUNT_MAX");

uint16_t conf_scope_count(enum conf_scope scope)
{
    uint16_t count = 0;
    for (uint16_t i = 0; i < conf_key_count; i++)
        if (conf_keys[i].scope == scope)
            count++;
    return count;
}

const struct conf_key *conf_find(enum conf_scope scope, const char *name)
{
    size_t len = strlen(name);
    for (uint16_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        if (key->name_len == len && key->scope == scope && memcmp(key->name, name, len) == 0)
            return key;
    }
    return NULL;
}

const struct conf_key *conf_nearest(enum conf_scope scope, const char *name)
{
    const struct conf_key *found = NULL;
    struct nearest nearest;
    nearest_begin(&nearest, name);
    for (uint16_t i = 0; i < conf_key_count; i++)
        if (conf_keys[i].scope == scope && nearest_offer(&nearest, conf_keys[i].name))
            found = &conf_keys[i];
    return found;
}

/* ---- words about a key ---- */

static const struct {
    int8_t type; /* DescribeConfigs' config_type, KIP-226 and KIP-569 */
    const char *name;
} types[] = {
    [CONF_BOOLEAN] = {1, "boolean"},   [CONF_SHORT] = {4, "short"},
    [CONF_INT] = {3, "int"},           [CONF_LONG] = {5, "long"},
    [CONF_DOUBLE] = {6, "double"},     [CONF_STRING] = {2, "string"},
    [CONF_LIST] = {7, "list"},         [CONF_CLASS] = {8, "class"},
    [CONF_PASSWORD] = {9, "password"}, [CONF_CHOICE] = {2, "string"},
    [CONF_CHOICES] = {7, "list"},      [CONF_SIZE] = {2, "string"},
};

int8_t conf_type_of(const struct conf_key *key)
{
    return types[key->kind].type;
}

const char *conf_type_name(const struct conf_key *key)
{
    return types[key->kind].name;
}

const char *conf_class_name(enum conf_class class)
{
    static const char *const names[] = {
        [CONF_HONOURED] = "honoured",   [CONF_MAPPED] = "mapped",   [CONF_PLANNED] = "planned",
        [CONF_NO_EFFECT] = "no effect", [CONF_REFUSED] = "refused", [CONF_UNKNOWN] = "unknown",
    };
    return names[class];
}

const char *conf_unit_of(const struct conf_key *key)
{
    static const char *const units[] = {"ms", "bytes", "minutes", "hours", "seconds"};
    const char *last = strrchr(key->name, '.');
    for (size_t i = 0; last != NULL && i < array_count(units); i++)
        if (strcmp(last + 1, units[i]) == 0)
            return units[i];
    return "";
}

void conf_range(const struct conf_key *key, int64_t *min, int64_t *max)
{
    *min = key->kind == CONF_SHORT ? INT16_MIN : key->kind == CONF_INT ? INT32_MIN : INT64_MIN;
    *max = key->kind == CONF_SHORT ? INT16_MAX : key->kind == CONF_INT ? INT32_MAX : INT64_MAX;
    if (key->valid.has_range) {
        *min = max_i64(*min, key->valid.min);
        *max = min_i64(*max, key->valid.max);
    }
}

static const char *expects_number(const struct conf_key *key, char *buffer, size_t size)
{
    const char *unit = conf_unit_of(key);
    const char *blank = unit[0] != '\0' ? " " : "";
    const char *what = key->kind == CONF_DOUBLE ? "a number" : "an integer";
    int64_t min;
    int64_t max;
    conf_range(key, &min, &max);
    if (min == INT64_MIN && max == INT64_MAX)
        (void)snprintf(buffer, size, "%s%s%s", what, blank, unit);
    else if (max == INT64_MAX)
        (void)snprintf(buffer, size, "%s of at least %lld%s%s", what, (long long)min, blank, unit);
    else
        (void)snprintf(buffer, size, "%s from %lld to %lld%s%s", what, (long long)min,
                       (long long)max, blank, unit);
    return buffer;
}

const char *conf_expects(const struct conf_key *key, char *buffer, size_t size)
{
    enum conf_kind kind = key->kind;
    if (key->valid.expects != NULL)
        (void)snprintf(buffer, size, "%s", key->valid.expects);
    else if (kind == CONF_SHORT || kind == CONF_INT || kind == CONF_LONG || kind == CONF_DOUBLE)
        return expects_number(key, buffer, size);
    else if (key->valid.choices != NULL)
        (void)snprintf(buffer, size, "%s of: %s", conf_type_of(key) == 7 ? "some" : "one",
                       key->valid.choices);
    else if (kind == CONF_BOOLEAN)
        (void)snprintf(buffer, size, "true or false");
    else
        (void)snprintf(buffer, size, "%s", conf_type_name(key));
    return buffer;
}
