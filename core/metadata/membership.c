/* SPDX-License-Identifier: Apache-2.0 */
#include "core/metadata/membership.h"

#include "core/metadata/metadata_log.h"
#include "core/metadata/metadata_record.h"
#include "io/diag.h"
#include "io/mem.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define JSON_BYTES_MAX    65536U
#define FORMAT            "1"
#define MEMBERS_BYTES_MAX (64U << 20)

static void fail(struct membership *ms, const char *format, ...) printf_like(2, 3);

static void fail(struct membership *ms, const char *format, ...)
{
    char sentence[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    ms->on_failed(ms->user, sentence);
}

/* The end of the session, or of the store, is told by its event. */
static void fail_store(struct membership *ms, const char *path, enum store_result result)
{
    if (result == STORE_EXPIRED || result == STORE_CLOSED)
        return;
    fail(ms, "the metadata store answers %s for %s", store_result_name(result), path);
}

static void end(struct membership *ms)
{
    void (*done)(void *) = ms->done;
    ms->done = NULL;
    done(ms->user);
}

/* Writes it without white space, as Kafka does; 0 when it does not fit. */
static uint32_t json_put(json_t *take_json, char *to, size_t room)
{
    must(take_json != NULL);
    size_t len = json_dumpb(take_json, to, room, JSON_COMPACT);
    json_decref(take_json);
    return len <= room ? (uint32_t)len : 0;
}

static json_t *json_time(const struct membership *ms)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRId64, io_wall_ms(ms->sh->io));
    return json_string(text);
}

/* ---- the tree ---- */

static void open_format(struct membership *ms);
static void open_cluster(struct membership *ms);

static void on_tree_made(void *user, enum store_result result, uint32_t bad_op,
                         const struct store_stat *stats)
{
    (void)bad_op;
    (void)stats;
    struct membership *ms = user;
    if (result == STORE_OK || result == STORE_EXISTS || result == STORE_UNKNOWN)
        open_format(ms);
    else
        fail_store(ms, "/format", result);
}

uint32_t membership_nodes(struct store_op ops[MEMBERSHIP_NODES], uint8_t head[64])
{
    static const char *const paths[] = {"/format", "/cluster", "/brokers", "/brokers/ids"};
    for (uint32_t i = 0; i < array_count(paths); i++)
        ops[i] = (struct store_op){.kind = STORE_CREATE, .path = paths[i], .data = ""};
    ops[0].data = FORMAT;
    ops[0].len = sizeof(FORMAT) - 1;
    return (uint32_t)array_count(paths) + metadata_log_nodes(ops + array_count(paths), head);
}

static void make_tree(struct membership *ms)
{
    struct store_op ops[MEMBERSHIP_NODES];
    uint8_t head[64];
    store_multi(ms->store, ops, membership_nodes(ops, head), on_tree_made, ms);
}

static void on_foreign(void *user, enum store_result result, const void *data, uint32_t len,
                       const struct store_stat *stat)
{
    (void)data;
    (void)len;
    (void)stat;
    struct membership *ms = user;
    if (result == STORE_OK)
        fail(ms, "the metadata store holds /brokers/topics and no /format: it belongs to Apache "
                 "Kafka and is left alone; use another store, or another path in it");
    else if (result == STORE_NO_NODE && ms->known_cluster_id[0] != '\0')
        fail(ms,
             "the data directory belongs to cluster %s, and its metadata store is empty; restore "
             "the metadata from a copy, or start with another data directory",
             ms->known_cluster_id);
    else if (result == STORE_NO_NODE)
        make_tree(ms);
    else
        fail_store(ms, "/brokers/topics", result);
}

static void on_format(void *user, enum store_result result, const void *data, uint32_t len,
                      const struct store_stat *stat)
{
    (void)stat;
    struct membership *ms = user;
    if (result == STORE_NO_NODE)
        store_exists(ms->store, "/brokers/topics", false, on_foreign, ms);
    else if (result == STORE_UNKNOWN)
        open_format(ms);
    else if (result != STORE_OK)
        fail_store(ms, "/format", result);
    else if (len != sizeof(FORMAT) - 1 || memcmp(data, FORMAT, len) != 0)
        fail(ms,
             "the metadata store has format \"%.*s\", and this version of Millrace knows only "
             "\"%s\"; start the version that wrote it",
             len < 32 ? (int)len : 32, (const char *)data, FORMAT);
    else
        open_cluster(ms);
}

static void open_format(struct membership *ms)
{
    store_get(ms->store, "/format", false, on_format, ms);
}

/* ---- the cluster id ---- */

static bool take_cluster_id(struct membership *ms, const void *data, uint32_t len)
{
    json_t *json = json_loadb(data, len, 0, NULL);
    const char *id = json_string_value(json_object_get(json, "id"));
    struct uuid uuid;
    bool good = id && uuid_of_text(&uuid, id, strlen(id));
    if (good)
        memcpy(ms->cluster_id, id, UUID_TEXT_LEN + 1);
    json_decref(json);
    return good;
}

static void on_cluster_made(void *user, enum store_result result, uint32_t bad_op,
                            const struct store_stat *stats)
{
    (void)bad_op;
    (void)stats;
    struct membership *ms = user;
    if (result == STORE_OK || result == STORE_EXISTS || result == STORE_UNKNOWN)
        open_cluster(ms);
    else
        fail_store(ms, "/cluster/id", result);
}

struct store_op membership_cluster(const char *cluster_id, char json[MEMBERSHIP_CLUSTER_BYTES])
{
    uint32_t len = json_put(json_pack("{s:s, s:s}", "version", "1", "id", cluster_id), json,
                            MEMBERSHIP_CLUSTER_BYTES);
    must(len > 0);
    return (struct store_op){.kind = STORE_CREATE, .path = "/cluster/id", .data = json, .len = len};
}

static void make_cluster(struct membership *ms)
{
    const struct uuid id = uuid_of_random(io_random(ms->sh->io), io_random(ms->sh->io));
    char text[UUID_TEXT_LEN + 1];
    char json[MEMBERSHIP_CLUSTER_BYTES];
    uuid_text(&id, text);
    const struct store_op op = membership_cluster(text, json);
    store_multi(ms->store, &op, 1, on_cluster_made, ms);
}

static void on_cluster(void *user, enum store_result result, const void *data, uint32_t len,
                       const struct store_stat *stat)
{
    (void)stat;
    struct membership *ms = user;
    if (result == STORE_NO_NODE && ms->known_cluster_id[0] != '\0')
        fail(
            ms,
            "the data directory belongs to cluster %s, and its metadata store to none; restore the "
            "metadata from a copy, or start with another data directory",
            ms->known_cluster_id);
    else if (result == STORE_NO_NODE)
        make_cluster(ms);
    else if (result == STORE_UNKNOWN)
        open_cluster(ms);
    else if (result != STORE_OK)
        fail_store(ms, "/cluster/id", result);
    else if (!take_cluster_id(ms, data, len))
        fail(ms, "/cluster/id in the metadata store is not a cluster id; restore the metadata from "
                 "a copy");
    else if (ms->known_cluster_id[0] != '\0' && strcmp(ms->known_cluster_id, ms->cluster_id) != 0)
        fail(ms,
             "the data directory belongs to cluster %s, and the metadata store to cluster %s; "
             "start with the directory that belongs to the store",
             ms->known_cluster_id, ms->cluster_id);
    else
        end(ms);
}

static void open_cluster(struct membership *ms)
{
    store_get(ms->store, "/cluster/id", false, on_cluster, ms);
}

void membership_open(struct membership *ms, void (*done)(void *user))
{
    ms->done = done;
    open_format(ms);
}

/* ---- this broker ---- */

static void registration_path(const struct membership *ms, char path[STORE_PATH_MAX + 1])
{
    (void)snprintf(path, STORE_PATH_MAX + 1, "/brokers/ids/%d", ms->node_id);
}

static uint32_t registration_json(const struct membership *ms, char *to, size_t room)
{
    json_t *endpoints = json_array();
    json_t *protocols = json_object();
    const struct listener_set *set = ms->listeners;
    for (uint32_t i = 0; i < set->count; i++) {
        char address[ADDRESS_TEXT_SIZE];
        char text[LISTENER_NAME_LEN_MAX + 4 + ADDRESS_TEXT_SIZE];
        (void)snprintf(text, sizeof(text), "%s://%s", set->listener[i].name,
                       address_print(&set->listener[i].advertised, address));
        must(json_array_append_new(endpoints, json_string(text)) == 0);
        must(json_object_set_new(protocols, set->listener[i].name, json_string("PLAINTEXT")) == 0);
    }
    const struct address *first = &set->listener[0].advertised;
    json_t *json = json_pack(
        "{s:i, s:s, s:i, s:o, s:i, s:o, s:o, s:{s:{s:i, s:i}}}", "version", 5, "host", first->host,
        "port", (int)first->port, "endpoints", endpoints, "jmx_port", -1, "timestamp",
        json_time(ms), "listener_security_protocol_map", protocols, "features", METADATA_LEVEL,
        "min_version", METADATA_LEVEL_OLDEST, "max_version", (int)ms->level);
    char directory[UUID_TEXT_LEN + 1];
    uuid_text(&ms->directory, directory);
    if (json && ms->rack)
        must(json_object_set_new(json, "rack", json_string(ms->rack)) == 0);
    if (json) {
        must(json_object_set_new(json, "directory_id", json_string(directory)) == 0);
        must(json_object_set_new(json, "millrace_version", json_string(ms->version)) == 0);
    }
    if (json && !uuid_is_zero(&ms->replaced)) {
        uuid_text(&ms->replaced, directory);
        must(json_object_set_new(json, "replaces_directory_id", json_string(directory)) == 0);
    }
    return json_put(json, to, room);
}

static void read_registration(struct membership *ms);

/* ---- what others say of themselves: bytes from outside ---- */

static const char *keep(struct membership *ms, const char *text)
{
    const char *copy = arena_text(&ms->arena, text);
    return copy ? copy : "";
}

/* "NAME://host:port" */
static bool take_endpoint(struct membership *ms, struct member *member, const char *text)
{
    const char *host = text ? strstr(text, "://") : NULL;
    const char *problem;
    struct address address;
    if (!host || host == text || host - text > (ptrdiff_t)LISTENER_NAME_LEN_MAX ||
        member->endpoint_count == LISTENER_COUNT_MAX)
        return false;
    char name[LISTENER_NAME_LEN_MAX + 1];
    memcpy(name, text, (size_t)(host - text));
    name[host - text] = '\0';
    if (!address_parse(&address, host + 3, strlen(host + 3), -1, &problem))
        return false;
    member->endpoints[member->endpoint_count++] = (struct member_endpoint){
        .listener = keep(ms, name), .host = keep(ms, address.host), .port = address.port};
    return true;
}

/* Who does not say, in words that are understood, knows the oldest. */
static int16_t take_level(const json_t *features)
{
    json_int_t level = json_integer_value(
        json_object_get(json_object_get(features, METADATA_LEVEL), "max_version"));
    return level > METADATA_LEVEL_OLDEST && level <= INT16_MAX ? (int16_t)level
                                                               : METADATA_LEVEL_OLDEST;
}

static bool take_member(struct membership *ms, struct member *member, const void *data,
                        uint32_t len)
{
    json_t *json = json_loadb(data, len, 0, NULL);
    const char *directory = json_string_value(json_object_get(json, "directory_id"));
    const char *replaced = json_string_value(json_object_get(json, "replaces_directory_id"));
    const char *rack = json_string_value(json_object_get(json, "rack"));
    const char *version = json_string_value(json_object_get(json, "millrace_version"));
    const json_t *endpoints = json_object_get(json, "endpoints");
    bool good = directory && uuid_of_text(&member->directory, directory, strlen(directory)) &&
                (!replaced || uuid_of_text(&member->replaced, replaced, strlen(replaced))) &&
                json_array_size(endpoints) > 0 && (!rack || strlen(rack) < 1000) &&
                (!version || strlen(version) < 1000);
    for (size_t i = 0; good && i < json_array_size(endpoints); i++)
        good = take_endpoint(ms, member, json_string_value(json_array_get(endpoints, i)));
    if (good) {
        member->rack = rack ? keep(ms, rack) : NULL;
        member->version = keep(ms, version ? version : "");
        member->level = take_level(json_object_get(json, "features"));
    }
    json_decref(json);
    return good;
}

/* ---- an earlier life ---- */

static void on_left_over_gone(void *user, enum store_result result, uint32_t bad_op,
                              const struct store_stat *stats)
{
    (void)bad_op;
    (void)stats;
    struct membership *ms = user;
    if (result == STORE_OK || result == STORE_UNKNOWN || result == STORE_NO_NODE ||
        result == STORE_BAD_VERSION)
        read_registration(ms);
    else
        fail_store(ms, MEMBERSHIP_IDS, result);
}

static void on_left_over_office(void *user, enum store_result result, const void *data,
                                uint32_t len, const struct store_stat *stat)
{
    (void)data;
    (void)len;
    struct membership *ms = user;
    char path[STORE_PATH_MAX + 1];
    registration_path(ms, path);
    const struct store_op ops[] = {
        {.kind = STORE_DELETE, .path = path, .version = ms->left_over_version},
        {.kind = STORE_DELETE, .path = MEMBERSHIP_CONTROLLER, .version = stat->version},
    };
    if (result != STORE_OK && result != STORE_NO_NODE && result != STORE_UNKNOWN) {
        fail_store(ms, MEMBERSHIP_CONTROLLER, result);
        return;
    }
    bool in_office = result == STORE_OK && stat->owner == ms->left_over;
    store_multi(ms->store, ops, in_office ? 2 : 1, on_left_over_gone, ms);
}

static void replace_left_over(struct membership *ms, const struct store_stat *stat)
{
    ms->left_over = stat->owner;
    ms->left_over_version = stat->version;
    diag_info(ms->sh, "metadata.earlier_registration_replaced", "node=%d", ms->node_id);
    store_get(ms->store, MEMBERSHIP_CONTROLLER, false, on_left_over_office, ms);
}

static void on_registration(void *user, enum store_result result, const void *data, uint32_t len,
                            const struct store_stat *stat)
{
    struct membership *ms = user;
    struct member other = {0};
    if (result == STORE_UNKNOWN) {
        read_registration(ms);
    } else if (result == STORE_NO_NODE) {
        membership_register(ms, ms->done);
    } else if (result != STORE_OK) {
        fail_store(ms, MEMBERSHIP_IDS, result);
    } else if (stat->owner == ms->store->session) {
        ms->broker_epoch = (int64_t)stat->czxid;
        end(ms);
    } else if (take_member(ms, &other, data, len) && uuid_equal(&other.directory, &ms->directory)) {
        replace_left_over(ms, stat);
    } else {
        fail(ms,
             "another broker with node.id=%d is registered%s%s; stop it, or give this one another "
             "node.id; the registration of a broker that died goes with its session",
             ms->node_id, other.endpoint_count > 0 ? " at " : "",
             other.endpoint_count > 0 ? other.endpoints[0].host : "");
    }
}

static void read_registration(struct membership *ms)
{
    char path[STORE_PATH_MAX + 1];
    registration_path(ms, path);
    store_get(ms->store, path, false, on_registration, ms);
}

static void on_registered(void *user, enum store_result result, uint32_t bad_op,
                          const struct store_stat *stats)
{
    (void)bad_op;
    (void)stats;
    struct membership *ms = user;
    if (result == STORE_OK || result == STORE_EXISTS || result == STORE_UNKNOWN)
        read_registration(ms);
    else
        fail_store(ms, MEMBERSHIP_IDS, result);
}

void membership_register(struct membership *ms, void (*done)(void *user))
{
    static const char too_long[] = "the listeners are too long for the metadata store; use fewer";
    char json[JSON_BYTES_MAX / 2];
    char path[STORE_PATH_MAX + 1];
    ms->done = done;
    registration_path(ms, path);
    uint32_t len = registration_json(ms, json, sizeof(json));
    if (len == 0) {
        fail(ms, "%s", too_long);
        return;
    }
    const struct store_op op = {
        .kind = STORE_CREATE, .ephemeral = true, .path = path, .data = json, .len = len};
    store_multi(ms->store, &op, 1, on_registered, ms);
}

/* ---- office ---- */

static void read_epoch(struct membership *ms);
static void read_controller(struct membership *ms);

static void on_own_epoch(void *user, enum store_result result, const void *data, uint32_t len,
                         const struct store_stat *stat)
{
    struct membership *ms = user;
    char text[16] = "";
    if (result == STORE_UNKNOWN) {
        store_get(ms->store, "/controller_epoch", false, on_own_epoch, ms);
        return;
    }
    if (result != STORE_OK) {
        fail_store(ms, "/controller_epoch", result);
        return;
    }
    memcpy(text, data, len < sizeof(text) ? len : sizeof(text) - 1);
    ms->controller_epoch = (int32_t)strtol(text, NULL, 10);
    ms->controller_epoch_version = stat->version;
    ms->in_office = true;
    end(ms);
}

/* Whoever holds /controller is in office, and the watch on it is set. */
static void on_controller(void *user, enum store_result result, const void *data, uint32_t len,
                          const struct store_stat *stat)
{
    (void)data;
    (void)len;
    struct membership *ms = user;
    if (result == STORE_NO_NODE) {
        read_epoch(ms);
    } else if (result == STORE_UNKNOWN) {
        read_controller(ms);
    } else if (result != STORE_OK) {
        fail_store(ms, MEMBERSHIP_CONTROLLER, result);
    } else if (stat->owner == ms->store->session) {
        store_get(ms->store, "/controller_epoch", false, on_own_epoch, ms);
    } else {
        ms->in_office = false;
        end(ms);
    }
}

static void on_controller_barrier(void *user, enum store_result result, uint32_t bad_op,
                                  const struct store_stat *stats)
{
    (void)bad_op;
    (void)stats;
    struct membership *ms = user;
    if (result == STORE_UNKNOWN)
        read_controller(ms);
    else if (result == STORE_OK)
        store_get(ms->store, MEMBERSHIP_CONTROLLER, true, on_controller, ms);
    else
        fail_store(ms, MEMBERSHIP_CONTROLLER, result);
}

static void read_controller(struct membership *ms)
{
    store_barrier(ms->store, on_controller_barrier, ms);
}

/* Taken, lost to another, or nobody knows: the node tells, and is watched from then on. */
static void on_elected(void *user, enum store_result result, uint32_t bad_op,
                       const struct store_stat *stats)
{
    (void)bad_op;
    (void)stats;
    struct membership *ms = user;
    if (result == STORE_OK || result == STORE_EXISTS || result == STORE_BAD_VERSION ||
        result == STORE_UNKNOWN)
        read_controller(ms);
    else
        fail_store(ms, MEMBERSHIP_CONTROLLER, result);
}

static void run_for_office(struct membership *ms, int32_t epoch, int32_t epoch_version)
{
    char text[16];
    char json[256];
    (void)snprintf(text, sizeof(text), "%d", epoch);
    uint32_t json_len =
        json_put(json_pack("{s:i, s:i, s:o, s:i}", "version", 2, "brokerid", (int)ms->node_id,
                           "timestamp", json_time(ms), "kraftControllerEpoch", -1),
                 json, sizeof(json));
    must(json_len > 0);
    const struct store_op ops[] = {
        {.kind = STORE_CREATE,
         .ephemeral = true,
         .path = MEMBERSHIP_CONTROLLER,
         .data = json,
         .len = json_len},
        {.kind = STORE_SET,
         .path = "/controller_epoch",
         .version = epoch_version,
         .data = text,
         .len = (uint32_t)strlen(text)},
    };
    store_multi(ms->store, ops, array_count(ops), on_elected, ms);
}

static void on_epoch(void *user, enum store_result result, const void *data, uint32_t len,
                     const struct store_stat *stat)
{
    struct membership *ms = user;
    if (result == STORE_UNKNOWN) {
        read_epoch(ms);
        return;
    }
    char text[16] = "";
    if (result == STORE_OK && len < sizeof(text))
        memcpy(text, data, len);
    char *rest;
    long epoch = strtol(text, &rest, 10);
    if (result != STORE_OK)
        fail_store(ms, "/controller_epoch", result);
    else if (rest == text || *rest != '\0' || epoch < 0 || epoch >= INT32_MAX)
        fail(ms, "/controller_epoch in the metadata store is not a number; restore the metadata "
                 "from a copy");
    else
        run_for_office(ms, (int32_t)epoch + 1, stat->version);
}

static void read_epoch(struct membership *ms)
{
    store_get(ms->store, "/controller_epoch", false, on_epoch, ms);
}

void membership_elect(struct membership *ms, void (*done)(void *user))
{
    ms->done = done;
    ms->in_office = false;
    read_controller(ms);
}

/* ---- the others ---- */

static void list(struct membership *ms);

static int compare_members(const void *a, const void *b)
{
    const struct member *left = a;
    const struct member *right = b;
    return left->id < right->id ? -1 : left->id > right->id;
}

static void list_step(struct membership *ms)
{
    if (ms->asked > 0)
        return;
    if (ms->list_again) {
        list(ms);
        return;
    }
    void (*listed)(void *) = ms->listed;
    qsort(ms->listing, ms->listing_count, sizeof(*ms->listing), compare_members);
    ms->members = ms->listing;
    ms->member_count = ms->listing_count;
    ms->listed = NULL;
    listed(ms->user);
}

/* A registration that is being read; in the arena. */
struct ask {
    struct membership *ms;
    int32_t id;
};

static void on_member(void *user, enum store_result result, const void *data, uint32_t len,
                      const struct store_stat *stat)
{
    const struct ask *ask = user;
    struct membership *ms = ask->ms;
    ms->asked--;
    struct member *member = &ms->listing[ms->listing_count];
    *member = (struct member){.id = ask->id, .epoch = (int64_t)stat->czxid, .session = stat->owner};
    if (result == STORE_UNKNOWN) {
        ms->list_again = true;
    } else if (result == STORE_OK && take_member(ms, member, data, len)) {
        ms->listing_count++;
    } else if (result == STORE_OK) {
        diag_warn(ms->sh, "metadata.registration_unreadable", "node=%d", ask->id);
    } else if (result != STORE_NO_NODE) {
        fail_store(ms, MEMBERSHIP_IDS, result);
        return;
    }
    list_step(ms);
}

static void on_ids(void *user, enum store_result result, const char *const *names, uint32_t count,
                   const struct store_stat *stat)
{
    (void)stat;
    struct membership *ms = user;
    if (result == STORE_UNKNOWN) {
        list(ms);
        return;
    }
    if (result != STORE_OK) {
        fail_store(ms, MEMBERSHIP_IDS, result);
        return;
    }
    if (count > MEMBERS_MAX) {
        fail(ms, "%u brokers are registered; the limit is %u", count, MEMBERS_MAX);
        return;
    }
    ms->listing = arena_array(&ms->arena, count + 1U, sizeof(*ms->listing));
    must(ms->listing != NULL);
    for (uint32_t i = 0; i < count; i++) {
        char path[STORE_PATH_MAX + 1];
        char *rest;
        long id = strtol(names[i], &rest, 10);
        if (*rest != '\0' || rest == names[i] || id < 0 || id > INT32_MAX)
            continue; /* no broker's */
        struct ask *ask = arena_alloc(&ms->arena, sizeof(*ask));
        must(ask != NULL);
        *ask = (struct ask){.ms = ms, .id = (int32_t)id};
        ms->asked++;
        (void)snprintf(path, sizeof(path), MEMBERSHIP_IDS "/%.32s", names[i]);
        store_get(ms->store, path, false, on_member, ask);
    }
    list_step(ms);
}

static void list(struct membership *ms)
{
    arena_reset(&ms->arena);
    ms->members = NULL;
    ms->member_count = 0;
    ms->listing_count = 0;
    ms->list_again = false;
    store_children(ms->store, MEMBERSHIP_IDS, true, on_ids, ms);
}

void membership_list(struct membership *ms, void (*done)(void *user))
{
    bool runs = ms->listed != NULL;
    ms->listed = done;
    if (runs)
        ms->list_again = true;
    else
        list(ms);
}

void membership_init(struct membership *ms)
{
    arena_init(&ms->arena, MEMBERS_BYTES_MAX);
}

void membership_fini(struct membership *ms)
{
    arena_fini(&ms->arena);
}
