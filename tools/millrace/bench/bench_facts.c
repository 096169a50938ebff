/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a load ran and against what: the facts without which its figures say nothing. What the
 * broker promises is read from the broker, so that nobody compares a broker that syncs with one
 * that does not and is not told.
 */
#include "io/mem.h"
#include "net/err.h"
#include "tools/millrace/bench/bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define TEXT_SIZE       8192U
#define RESOURCE_TOPIC  2
#define RESOURCE_BROKER 4
#define SOURCE_DEFAULT  5

static size_t read_file(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(text, 1, size - 1, file) : 0;
    text[len] = 0;
    if (file)
        (void)fclose(file);
    return len;
}

/* ---- the machine ---- */

static json_t *cpu_model(void)
{
    char text[TEXT_SIZE];
    (void)read_file("/proc/cpuinfo", text, sizeof(text));
    char *at = strstr(text, "model name");
    at = at ? strchr(at, ':') : NULL;
    if (!at)
        return json_null();
    at += strspn(at, ": \t");
    return json_stringn(at, strcspn(at, "\n"));
}

static json_t *first_line(const char *path)
{
    char text[256];
    if (read_file(path, text, sizeof(text)) == 0)
        return json_null();
    return json_stringn(text, strcspn(text, "\n"));
}

json_t *bench_machine(void)
{
    struct utsname name;
    double load[1] = {0};
    (void)uname(&name);
    (void)getloadavg(load, 1);
    const int64_t memory = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:I, s:I, s:o, s:o, s:f}", "host", name.nodename, "kernel",
        name.release, "architecture", name.machine, "cpu", cpu_model(), "cores",
        (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "memory_bytes", (json_int_t)memory, "governor",
        first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), "clocksource",
        first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "load_average", load[0]);
}

json_t *bench_argv(void)
{
    char text[TEXT_SIZE];
    size_t len = read_file("/proc/self/cmdline", text, sizeof(text));
    json_t *argv = json_array();
    for (size_t at = 0; at < len; at += strlen(text + at) + 1) {
        json_t *word = json_string(text + at);
        (void)json_array_append_new(argv, word ? word : json_string("(not UTF-8)"));
    }
    return argv;
}

/* ---- the broker ---- */

static struct str config_value(const struct describe_configs_response_result *result,
                               const char *name)
{
    for (int32_t i = 0; result && i < result->configs_count; i++)
        if (str_equal(result->configs[i].name, str_of(name)))
            return result->configs[i].value;
    return str_null();
}

/* What differs from the broker's defaults. */
static json_t *config_differences(struct session *s,
                                  const struct describe_configs_response_result *result)
{
    json_t *differences = json_object();
    for (int32_t i = 0; result && i < result->configs_count; i++) {
        const struct describe_configs_response_config *config = &result->configs[i];
        if (config->config_source != SOURCE_DEFAULT && !config->is_sensitive)
            (void)json_object_set_new(differences, text_of(s, config->name),
                                      json_of(config->value));
    }
    return differences;
}

/* What an acknowledgement means there, as far as its configuration tells. */
static void durability(struct bench *b, const struct describe_configs_response_result *broker,
                       const struct describe_configs_response_result *topic)
{
    static const struct {
        const char *mode, *text;
    } modes[] = {{"durable", "on stable storage before it is acknowledged"},
                 {"os", "acknowledged when it survives the end of the broker, not a loss of power"},
                 {"never", "acknowledged from memory"}};
    char text[200];
    const char *mode = "unknown";
    struct str own = config_value(topic, "millrace.durability");
    if (own.len < 0)
        own = config_value(broker, "millrace.durability");
    struct str flush = config_value(topic, "flush.messages");
    if (flush.len < 0)
        flush = config_value(broker, "log.flush.interval.messages");
    if (own.len >= 0) {
        const char *words = "nobody knows";
        for (size_t i = 0; i < array_count(modes); i++) {
            if (!str_equal(own, str_of(modes[i].mode)))
                continue;
            mode = modes[i].mode;
            words = modes[i].text;
        }
        (void)snprintf(text, sizeof(text), "millrace.durability=%.*s: %s", own.len, own.data,
                       words);
    } else if (flush.len >= 0) {
        bool each = str_equal(flush, str_of("1"));
        mode = each ? "durable" : "page_cache";
        (void)snprintf(text, sizeof(text), "flush.messages=%.*s: %s", flush.len, flush.data,
                       each ? "synced before it is acknowledged"
                            : "acknowledged from the page cache, before it is on stable storage");
    } else {
        (void)snprintf(text, sizeof(text), "the broker does not tell");
    }
    (void)json_object_set_new(b->broker, "software",
                              own.len >= 0 ? json_string("millrace")
                                           : json_string("kafka or alike"));
    (void)json_object_set_new(b->broker, "durability", json_string(mode));
    (void)json_object_set_new(b->broker, "durability_text", json_string(text));
}

/* Configurations of the broker and the topic; without them the run goes on. */
static int describe(struct bench *b)
{
    struct session *s = b->s;
    char node[16];
    if (b->brokers[0].node_id < 0) { /* it was not asked who it is */
        static const char *const none[1];
        struct metadata_response metadata;
        int asked = cluster_metadata(s, none, 0, false, &metadata);
        if (asked != EXIT_OK)
            return asked;
        if (metadata.brokers_count > 0)
            b->brokers[0].node_id = metadata.brokers[0].node_id;
    }
    (void)snprintf(node, sizeof(node), "%d", b->brokers[0].node_id);
    struct describe_configs_request_resource resources[2];
    for (size_t i = 0; i < array_count(resources); i++) {
        init_describe_configs_request_resource(&resources[i]);
        resources[i].configuration_keys_count = -1;
    }
    resources[0].resource_type = RESOURCE_BROKER;
    resources[0].resource_name = str_of(node);
    resources[1].resource_type = RESOURCE_TOPIC;
    if (b->lane_count > 0)
        resources[1].resource_name = str_of(b->lanes[0].topic);
    struct describe_configs_request request;
    struct describe_configs_response response;
    init_describe_configs_request(&request);
    request.resources = resources;
    request.resources_count = b->lane_count > 0 ? 2 : 1;
    struct broker_link *link =
        session_broker(s, b->brokers[0].node_id, b->brokers[0].host, b->brokers[0].address.port);
    if (!link)
        return EXIT_UNREACHABLE;
    int code =
        session_call(s, link, KEY_DESCRIBE_CONFIGS, CLIENT_NEWEST, &request, &response, &s->arena);
    if (code != EXIT_OK)
        return code;
    const struct describe_configs_response_result *broker = NULL;
    const struct describe_configs_response_result *topic = NULL;
    for (int32_t i = 0; i < response.results_count; i++) {
        const struct describe_configs_response_result *result = &response.results[i];
        if (result->error_code == ERR_NONE && result->resource_type == RESOURCE_BROKER)
            broker = result;
        if (result->error_code == ERR_NONE && result->resource_type == RESOURCE_TOPIC)
            topic = result;
    }
    durability(b, broker, topic);
    (void)json_object_set_new(b->broker, "config", config_differences(s, broker));
    (void)json_object_set_new(b->broker, "topic_config", config_differences(s, topic));
    return EXIT_OK;
}

/* Kafka tells no version of its software: what it speaks, and the level of its features. */
static int versions(struct bench *b)
{
    struct session *s = b->s;
    const struct api_versions_request request = {.client_software_name = str_of("millrace-bench"),
                                                 .client_software_version = str_of(MR_VERSION)};
    struct api_versions_response response;
    int code =
        session_call(s, NULL, KEY_API_VERSIONS, CLIENT_NEWEST, &request, &response, &s->arena);
    if (code != EXIT_OK)
        return code;
    json_t *apis = json_object();
    for (int32_t i = 0; i < response.api_keys_count; i++) {
        const struct kafka_api *api = kafka_api_find(response.api_keys[i].api_key);
        if (api)
            (void)json_object_set_new(apis, api->name,
                                      json_pack("[i, i]", response.api_keys[i].min_version,
                                                response.api_keys[i].max_version));
    }
    (void)json_object_set_new(b->broker, "api_versions", apis);
    json_t *features = json_object();
    for (int32_t i = 0; i < response.finalized_features_count; i++)
        (void)json_object_set_new(features, text_of(s, response.finalized_features[i].name),
                                  json_integer(response.finalized_features[i].max_version_level));
    (void)json_object_set_new(b->broker, "features", features);
    return EXIT_OK;
}

int bench_broker_facts(struct bench *b)
{
    char address[300];
    (void)snprintf(address, sizeof(address), "%s:%u", b->brokers[0].host,
                   b->brokers[0].address.port);
    b->broker = json_pack("{s:s, s:i, s:i}", "address", address, "node_id", b->brokers[0].node_id,
                          "leaders", (int)b->broker_count);
    int code = versions(b);
    return code == EXIT_OK ? describe(b) : code;
}
