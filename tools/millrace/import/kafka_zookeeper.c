/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/kafka_zookeeper.h"

#include "core/topic_name.h"
#include "io/mem.h"
#include "tools/millrace/import/zookeeper_link.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADED /* the library's calls that wait */
#include <zookeeper/zookeeper.h>

struct asking {
    struct zookeeper_link link;
    char *data;
    int len;
    char *sentence;
    size_t sentence_size;
};

static bool refuse(const struct asking *asking, const char *format, ...) printf_like(2, 3);

static bool refuse(const struct asking *asking, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(asking->sentence, asking->sentence_size, format, args);
    va_end(args);
    return false;
}

/* ---- what the nodes say ---- */

static bool take_partitions(const struct kafka_cluster *cluster, struct kafka_topic *topic,
                            json_t *partitions)
{
    const char *name;
    json_t *replicas;
    json_object_foreach(partitions, name, replicas)
    {
        char *end = NULL;
        long number = strtol(name, &end, 10);
        struct kafka_partition *partition = *end == '\0' && number >= 0 && number <= INT32_MAX
                                                ? kafka_partition_get(topic, (int32_t)number)
                                                : NULL;
        if (!partition || !json_is_array(replicas))
            return false;
        partition->replica_count = (uint32_t)json_array_size(replicas);
        partition->elsewhere = true;
        for (size_t i = 0; i < json_array_size(replicas); i++)
            if (json_integer_value(json_array_get(replicas, i)) == cluster->node_id)
                partition->elsewhere = false;
    }
    return true;
}

bool kafka_zookeeper_topic(struct kafka_cluster *cluster, const char *name, const char *data,
                           size_t len)
{
    json_t *json = json_loadb(data, len, 0, NULL);
    json_t *partitions = json_object_get(json, "partitions");
    const char *id_text = json_string_value(json_object_get(json, "topic_id"));
    struct uuid id = {0};
    bool good = json_is_object(partitions) && json_object_size(partitions) > 0 &&
                topic_name_problem(str_of(name)) == NULL &&
                (!id_text || uuid_of_text(&id, id_text, strlen(id_text)));
    struct kafka_topic *topic = good ? kafka_topic_add(cluster, str_of(name), &id) : NULL;
    good = topic && take_partitions(cluster, topic, partitions);
    json_decref(json);
    return good;
}

bool kafka_zookeeper_settings(struct kafka_topic *topic, const char *data, size_t len)
{
    json_t *json = json_loadb(data, len, 0, NULL);
    json_t *settings = json_object_get(json, "config");
    const char *name;
    json_t *value;
    bool good = json_is_object(settings);
    json_object_foreach(settings, name, value)
    {
        good = good && json_is_string(value);
        if (good)
            kafka_settings_set(&topic->settings, str_of(name), str_of(json_string_value(value)));
    }
    json_decref(json);
    return good;
}

/* ---- asking ---- */

static void path_of(const struct asking *asking, char path[1024], const char *first,
                    const char *second)
{
    (void)snprintf(path, 1024, "%s%s%s%s", asking->link.root, first, second[0] ? "/" : "", second);
}

/* ZOK and its bytes in asking->data, or the library's answer. */
static int get(struct asking *asking, const char *first, const char *second)
{
    char path[1024];
    struct Stat stat;
    path_of(asking, path, first, second);
    asking->len = (int)ZOOKEEPER_DATA_BYTES_MAX;
    int rc = zoo_get(asking->link.zh, path, 0, asking->data, &asking->len, &stat);
    asking->len = (int)max_i64(asking->len, 0);
    return rc;
}

/* No node is no child. */
static int children(const struct asking *asking, const char *first, const char *second,
                    struct String_vector *names)
{
    char path[1024];
    path_of(asking, path, first, second);
    *names = (struct String_vector){0};
    int rc = zoo_get_children(asking->link.zh, path, 0, names);
    return rc == ZNONODE ? ZOK : rc;
}

static bool read_topic(struct asking *asking, struct kafka_cluster *cluster, const char *name)
{
    int rc = get(asking, "/brokers/topics", name);
    if (rc != ZOK || !kafka_zookeeper_topic(cluster, name, asking->data, (size_t)asking->len))
        return refuse(asking, "/brokers/topics/%s: %s", name,
                      rc != ZOK ? zerror(rc) : "it is not what Kafka writes");
    struct kafka_topic *topic = kafka_topic_find(cluster, name);
    rc = get(asking, "/config/topics", name);
    if (rc == ZNONODE)
        return true;
    if (rc != ZOK || !kafka_zookeeper_settings(topic, asking->data, (size_t)asking->len))
        return refuse(asking, "/config/topics/%s: %s", name,
                      rc != ZOK ? zerror(rc) : "it is not what Kafka writes");
    return true;
}

static bool read_topics(struct asking *asking, struct kafka_cluster *cluster)
{
    struct String_vector names;
    int rc = children(asking, "/brokers/topics", "", &names);
    bool good = rc == ZOK || refuse(asking, "/brokers/topics: %s", zerror(rc));
    for (int32_t i = 0; good && i < names.count; i++)
        good = read_topic(asking, cluster, names.data[i]);
    deallocate_String_vector(&names);
    return good;
}

static bool read_cluster_id(struct asking *asking, const char *cluster_id)
{
    int rc = get(asking, "/cluster/id", "");
    if (rc != ZOK)
        return refuse(asking,
                      "/cluster/id: %s; is the path right? HOST:PORT/PATH is what "
                      "zookeeper.connect of its server.properties says",
                      zerror(rc));
    json_t *json = json_loadb(asking->data, (size_t)asking->len, 0, NULL);
    const char *id = json_string_value(json_object_get(json, "id"));
    bool good = id && strcmp(id, cluster_id) == 0;
    if (!good)
        (void)refuse(asking, "it is of cluster %.40s, the directory of %s", id ? id : "unknown",
                     cluster_id);
    json_decref(json);
    return good;
}

/* Kafka hands out producer ids in blocks; the last one is noted. */
static bool read_producer_ids(struct asking *asking, struct kafka_cluster *cluster)
{
    int rc = get(asking, "/latest_producer_id_block", "");
    if (rc == ZNONODE)
        return true;
    if (rc != ZOK)
        return refuse(asking, "/latest_producer_id_block: %s", zerror(rc));
    json_t *json = json_loadb(asking->data, (size_t)asking->len, 0, NULL);
    const char *end = json_string_value(json_object_get(json, "block_end"));
    if (end)
        cluster->producer_id_next = strtoll(end, NULL, 10) + 1;
    json_decref(json);
    return true;
}

static bool count_children(const struct asking *asking, struct kafka_cluster *cluster,
                           enum kafka_other other, const char *path)
{
    struct String_vector names;
    int rc = children(asking, path, "", &names);
    if (rc == ZOK)
        cluster->others[other] += (uint64_t)max_i64(names.count, 0);
    deallocate_String_vector(&names);
    return rc == ZOK || refuse(asking, "%s: %s", path, zerror(rc));
}

static bool read_others(const struct asking *asking, struct kafka_cluster *cluster)
{
    static const char *const acls[] = {"Topic",           "Group",           "Cluster",
                                       "TransactionalId", "DelegationToken", "User"};
    bool good = count_children(asking, cluster, KAFKA_QUOTAS, "/config/clients") &&
                count_children(asking, cluster, KAFKA_USERS, "/config/users") &&
                count_children(asking, cluster, KAFKA_TOKENS, "/delegation_token/tokens") &&
                count_children(asking, cluster, KAFKA_BROKER_SETTINGS, "/config/brokers");
    for (uint32_t i = 0; good && i < array_count(acls); i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/kafka-acl/%s", acls[i]);
        good = count_children(asking, cluster, KAFKA_ACLS, path);
    }
    return good;
}

bool kafka_zookeeper_read(struct kafka_cluster *cluster, const char *servers,
                          const char *cluster_id, char *sentence, size_t sentence_size)
{
    struct asking asking = {.sentence = sentence, .sentence_size = sentence_size};
    bool good = zookeeper_link_open(&asking.link, servers, sentence, sentence_size);
    asking.data = mem_alloc(ZOOKEEPER_DATA_BYTES_MAX);
    good = good && read_cluster_id(&asking, cluster_id) && read_topics(&asking, cluster) &&
           read_producer_ids(&asking, cluster) && read_others(&asking, cluster);
    zookeeper_link_close(&asking.link);
    mem_free(asking.data);
    return good;
}
