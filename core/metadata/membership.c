/* SPDX-License-Identifier: Apache-2.0 */
#include "core/metadata/membership.h"

#include "core/metadata/metadata_log.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define JSON_BYTES_MAX 65536U
#define FORMAT         "1"

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

static void fail_store(struct membership *ms, const char *path, enum store_result result)
{
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

static void make_tree(struct membership *ms)
{
    struct store_op ops[4 + METADATA_LOG_NODES] = {
        {.kind = STORE_CREATE, .path = "/format", .data = FORMAT, .len = sizeof(FORMAT) - 1},
        {.kind = STORE_CREATE, .path = "/cluster", .data = ""},
        {.kind = STORE_CREATE, .path = "/brokers", .data = ""},
        {.kind = STORE_CREATE, .path = "/brokers/ids", .data = ""},
    };
    uint8_t head[64];
    uint32_t count = 4 + metadata_log_nodes(ops + 4, head);
    store_multi(ms->store, ops, count, on_tree_made, ms);
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

static void make_cluster(struct membership *ms)
{
    const struct uuid id = uuid_of_random(io_random(ms->sh->io), io_random(ms->sh->io));
    char text[UUID_TEXT_LEN + 1];
    char json[128];
    uuid_text(&id, text);
    uint32_t len =
        json_put(json_pack("{s:s, s:s}", "version", "1", "id", text), json, sizeof(json));
    must(len > 0);
    const struct store_op op = {
        .kind = STORE_CREATE, .path = "/cluster/id", .data = json, .len = len};
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
    json_t *json =
        json_pack("{s:i, s:s, s:i, s:o, s:i, s:o, s:o, s:{}}", "version", 5, "host", first->host,
                  "port", (int)first->port, "endpoints", endpoints, "jmx_port", -1, "timestamp",
                  json_time(ms), "listener_security_protocol_map", protocols, "features");
    if (json && ms->rack)
        must(json_object_set_new(json, "rack", json_string(ms->rack)) == 0);
    return json_put(json, to, room);
}

static void read_registration(struct membership *ms);

static void on_registration(void *user, enum store_result result, const void *data, uint32_t len,
                            const struct store_stat *stat)
{
    (void)data;
    (void)len;
    struct membership *ms = user;
    if (result == STORE_UNKNOWN) {
        read_registration(ms);
    } else if (result == STORE_NO_NODE) {
        membership_register(ms, ms->done);
    } else if (result != STORE_OK) {
        fail_store(ms, "/brokers/ids", result);
    } else if (stat->owner != ms->store->session) {
        fail(ms,
             "another broker with node.id=%d is registered; stop it, or give this one another "
             "node.id",
             ms->node_id);
    } else {
        ms->broker_epoch = (int64_t)stat->czxid;
        end(ms);
    }
}

static void read_registration(struct membership *ms)
{
    char path[STORE_PATH_MAX + 1];
    registration_path(ms, path);
    store_exists(ms->store, path, false, on_registration, ms);
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
        fail_store(ms, "/brokers/ids", result);
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
    end(ms);
}

/* Our attempt was refused or its answer lost: whoever holds /controller is in office. */
static void on_controller(void *user, enum store_result result, const void *data, uint32_t len,
                          const struct store_stat *stat)
{
    struct membership *ms = user;
    if (result == STORE_NO_NODE) {
        read_epoch(ms);
    } else if (result == STORE_UNKNOWN) {
        read_controller(ms);
    } else if (result != STORE_OK) {
        fail_store(ms, "/controller", result);
    } else if (stat->owner == ms->store->session) {
        store_get(ms->store, "/controller_epoch", false, on_own_epoch, ms);
    } else {
        json_t *json = json_loadb(data, len, 0, NULL);
        fail(ms,
             "broker %" JSON_INTEGER_FORMAT " is the controller of this metadata store, and "
             "several brokers in one cluster are not supported yet; stop it, or give this one "
             "a store of its own",
             json_integer_value(json_object_get(json, "brokerid")));
        json_decref(json);
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
        store_get(ms->store, "/controller", false, on_controller, ms);
    else
        fail_store(ms, "/controller", result);
}

static void read_controller(struct membership *ms)
{
    store_barrier(ms->store, on_controller_barrier, ms);
}

static void on_elected(void *user, enum store_result result, uint32_t bad_op,
                       const struct store_stat *stats)
{
    (void)bad_op;
    struct membership *ms = user;
    if (result == STORE_OK) {
        ms->controller_epoch_version = stats[1].version;
        end(ms);
    } else if (result == STORE_EXISTS || result == STORE_BAD_VERSION || result == STORE_UNKNOWN) {
        read_controller(ms);
    } else {
        fail_store(ms, "/controller", result);
    }
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
    if (result != STORE_OK) {
        fail_store(ms, "/controller_epoch", result);
        return;
    }
    if (rest == text || *rest != '\0' || epoch < 0 || epoch >= INT32_MAX) {
        fail(ms, "/controller_epoch in the metadata store is not a number; restore the metadata "
                 "from a copy");
        return;
    }
    ms->controller_epoch = (int32_t)epoch + 1;
    (void)snprintf(text, sizeof(text), "%d", ms->controller_epoch);
    char json[256];
    uint32_t json_len =
        json_put(json_pack("{s:i, s:i, s:o, s:i}", "version", 2, "brokerid", (int)ms->node_id,
                           "timestamp", json_time(ms), "kraftControllerEpoch", -1),
                 json, sizeof(json));
    must(json_len > 0);
    const struct store_op ops[] = {
        {.kind = STORE_CREATE,
         .ephemeral = true,
         .path = "/controller",
         .data = json,
         .len = json_len},
        {.kind = STORE_SET,
         .path = "/controller_epoch",
         .version = stat->version,
         .data = text,
         .len = (uint32_t)strlen(text)},
    };
    store_multi(ms->store, ops, array_count(ops), on_elected, ms);
}

static void read_epoch(struct membership *ms)
{
    store_get(ms->store, "/controller_epoch", false, on_epoch, ms);
}

void membership_elect(struct membership *ms, void (*done)(void *user))
{
    ms->done = done;
    read_epoch(ms);
}
