/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_plan.h"

#include "io/mem.h"
#include "tools/millrace/bench/bench_search.h"

#include <errno.h>
#include <libgen.h>
#include <string.h>

#define MINUTE_NS         (60 * NS_PER_S)
#define NOTE_SIZE         512U
#define PAYLOAD_BYTES_MAX (256U << 20)

/* ---- files ---- */

/* All of a file that is no larger; NULL, and errno says why. The caller frees it. */
static char *file_read(const char *path, size_t size_max, size_t *len)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *data = mem_alloc(size_max + 1);
    *len = fread(data, 1, size_max + 1, file);
    const bool good = ferror(file) == 0;
    if (good && *len > size_max)
        errno = EFBIG;
    (void)fclose(file);
    if (good && *len <= size_max)
        return data;
    mem_free(data);
    return NULL;
}

static int yaml_complain(const struct session *s, const char *path, const struct yaml_error *error)
{
    if (error->line > 0)
        return usage_error(s->inv, "%s, line %u: %s", path, error->line, error->text);
    return usage_error(s->inv, "%s: %s", path, error->text);
}

static int map_read(const struct session *s, struct yaml_map *map, const char *path)
{
    struct yaml_error error;
    size_t len;
    char *data = file_read(path, YAML_BYTES_MAX, &len);
    if (!data)
        return usage_error(s->inv, "cannot read %s: %s", path, strerror(errno));
    const bool good = yaml_map_read(map, data, len, &error);
    mem_free(data);
    return good ? EXIT_OK : yaml_complain(s, path, &error);
}

/* The benchmark is run in its own directory, and its workloads name files from there; here they are
 * looked for beside the workload, too, and in the directory above it. */
static char *payload_find(const struct plan *plan, size_t *len)
{
    static const char *const below[] = {"", "/", "/../"};
    char path[4096];
    char *copy = mem_strdup(plan->path);
    const char *directory = dirname(copy);
    char *data = NULL;
    for (size_t i = 0; i < array_count(below) && !data; i++) {
        int size = snprintf(path, sizeof(path), "%s%s%s", i > 0 ? directory : "", below[i],
                            plan->workload.payload_file);
        if (size > 0 && (size_t)size < sizeof(path))
            data = file_read(path, PAYLOAD_BYTES_MAX, len);
    }
    mem_free(copy);
    return data;
}

static int payload_read(struct plan *plan, const struct session *s)
{
    const struct workload *w = &plan->workload;
    size_t len;
    if (w->randomized || !w->payload_file)
        return EXIT_OK;
    plan->payload = (uint8_t *)payload_find(plan, &len);
    if (!plan->payload)
        return usage_error(s->inv,
                           "%s: payloadFile %s cannot be read, from here, from beside the "
                           "workload or from above it: %s",
                           plan->path, w->payload_file, strerror(errno));
    if (len != (size_t)w->message_bytes)
        return usage_error(s->inv, "%s: payloadFile %s has %zu bytes, and messageSize says %lld",
                           plan->path, w->payload_file, len, (long long)w->message_bytes);
    return EXIT_OK;
}

/* ---- the driver ---- */

/* Keys that are told at the end, together. */
struct idle_keys {
    char text[NOTE_SIZE];
};

static void idle_add(struct idle_keys *keys, const char *key)
{
    size_t used = strlen(keys->text);
    if (!strstr(keys->text, key))
        (void)snprintf(keys->text + used, NOTE_SIZE - used, "%s%s", used > 0 ? ", " : "", key);
}

static int setting_take(struct session *s, const char *where, const struct property *entry,
                        struct idle_keys *idle)
{
    char text[SETTINGS_TEXT_SIZE];
    const char *nearest;
    switch (property_effect(entry->key, &nearest)) {
    case PROPERTY_WORKS: {
        const char *wrong = settings_set(&s->settings, entry->key, entry->value, text);
        return wrong ? usage_error(s->inv, "%s: %s=%s: %s", where, entry->key, entry->value, wrong)
                     : EXIT_OK;
    }
    case PROPERTY_IDLE:
        idle_add(idle, entry->key);
        break;
    case PROPERTY_UNKNOWN:
        note(s->inv, "%s: %s is not known here and has no effect%s", where, entry->key,
             did_you_mean(nearest));
        break;
    }
    return EXIT_OK;
}

static int properties_take(struct session *s, const char *where, const char *text,
                           struct properties *properties)
{
    struct properties_error error;
    if (text && !properties_read(properties, text, strlen(text), &error))
        return usage_error(s->inv, "%s, its line %u: %s", where, error.line, error.text);
    return EXIT_OK;
}

/* The driver's over Kafka's defaults, and what was typed over the driver's. */
static int settings_take(struct plan *plan, struct session *s)
{
    char text[SETTINGS_TEXT_SIZE];
    struct idle_keys idle = {.text = ""};
    const struct {
        const char *where, *text;
        struct properties *to;
        bool of_topics;
    } all[] = {
        {"topicConfig", plan->driver.topic, &plan->topic, true},
        {"commonConfig", plan->driver.common, &plan->common, false},
        {"producerConfig", plan->driver.producer, &plan->producer, false},
        {"consumerConfig", plan->driver.consumer, &plan->consumer, false},
    };
    const char *wrong = settings_set(&s->settings, "batch.size", "16384", text);
    must(!wrong);
    for (size_t i = 0; i < array_count(all); i++) {
        int code = properties_take(s, all[i].where, all[i].text, all[i].to);
        for (uint32_t k = 0; code == EXIT_OK && !all[i].of_topics && k < all[i].to->count; k++)
            code = setting_take(s, all[i].where, &all[i].to->entry[k], &idle);
        if (code != EXIT_OK)
            return code;
    }
    if (plan->driver.reset)
        idle_add(&idle, "reset (the topics are new)");
    if (idle.text[0])
        note(s->inv, "of no effect here: %s", idle.text);
    bool listed;
    return settings_given(&s->settings, s->inv, &listed);
}

static int driver_take(struct plan *plan, struct session *s)
{
    const char *path = option_text(s->inv, "driver");
    struct yaml_error error;
    plan->driver = (struct driver){.replication = -1};
    if (path) {
        int code = map_read(s, &plan->driver_map, path);
        if (code != EXIT_OK)
            return code;
        if (!driver_read(&plan->driver, &plan->driver_map, &error))
            return yaml_complain(s, path, &error);
    }
    if (!plan->driver.name)
        plan->driver.name = "millrace";
    return settings_take(plan, s);
}

/* ---- the workload ---- */

static void workload_apply(const struct plan *plan, struct bench_options *o)
{
    static const enum key_choice keys[] = {[WORKLOAD_NO_KEY] = KEY_NONE,
                                           [WORKLOAD_ROUND_ROBIN] = KEY_CYCLE,
                                           [WORKLOAD_RANDOM] = KEY_UNIFORM};
    const struct workload *w = &plan->workload;
    *o = (struct bench_options){
        .topics = w->topics,
        .partitions = w->partitions,
        .replication = plan->driver.replication,
        .topic_settings = &plan->topic,
        .producers = w->producers,
        .subscriptions = w->subscriptions,
        .consumers = w->consumers,
        .record_bytes = w->message_bytes,
        .rate = w->rate > 0 ? (double)w->rate : SEARCH_BEGIN,
        .searches = w->rate == 0,
        .keys = keys[w->keys],
        .key_count = w->keys != WORKLOAD_NO_KEY ? WORKLOAD_KEYS : 0,
        .payloads = plan->payload ? 1 : w->pool * w->randomized,
        .payload = plan->payload,
        .random_bytes = (int64_t)((double)w->message_bytes * w->random_ratio),
        .duration_ns = (uint64_t)w->test_minutes * MINUTE_NS,
        .warm_ns = (uint64_t)w->warm_minutes * MINUTE_NS,
    };
}

static int too_many(const struct session *s, const char *what, int64_t topics, int64_t each)
{
    const long long all = topics * each;
    return usage_error(s->inv,
                       "%lld topics with %lld %s each are %lld connections, and %d are the most: "
                       "--topics N runs it with fewer topics",
                       (long long)topics, (long long)each, what, all, BENCH_CONNECTIONS_MAX);
}

/* Each is within its own bounds; together they may be too much. */
static int refuse_too_much(const struct session *s, const struct bench_options *o)
{
    const int64_t readers = o->subscriptions * o->consumers;
    if (o->topics > BENCH_TOPICS_MAX)
        return usage_error(s->inv,
                           "%lld topics, and %d are the most: --topics N runs it with fewer",
                           (long long)o->topics, BENCH_TOPICS_MAX);
    if (o->topics * o->producers > BENCH_CONNECTIONS_MAX)
        return too_many(s, "producers", o->topics, o->producers);
    if (o->topics * readers > BENCH_CONNECTIONS_MAX)
        return too_many(s, "consumers", o->topics, readers);
    if (o->subscriptions > 0 && o->record_bytes < (int64_t)BENCH_STAMP_SIZE)
        return usage_error(s->inv,
                           "messageSize: %lld: at least %u bytes are wanted, as a record "
                           "carries when it was due",
                           (long long)o->record_bytes, BENCH_STAMP_SIZE);
    return EXIT_OK;
}

/* Topics of its own, unless --topic names some. */
static int topic_choose(struct plan *plan, struct session *s, struct bench_options *o)
{
    char name[32];
    o->topic = option_text(s->inv, "topic");
    if (o->topic && strlen(o->topic) > BENCH_TOPIC_SIZE - 16)
        return usage_error(s->inv, "--topic: the name is too long");
    if (o->topic)
        return EXIT_OK;
    plan->own_topics = true;
    (void)snprintf(name, sizeof(name), "bench-run-%08x", (uint32_t)io_random(s->sh->io));
    o->topic = text_of(s, str_of(name));
    return EXIT_OK;
}

static int typed_take(struct plan *plan, struct session *s, struct bench_options *o)
{
    const char *backlog = option_text(s->inv, "backlog");
    plan->backlog_bytes = plan->workload.backlog_gib << 30;
    if (backlog && !size_parse(backlog, &plan->backlog_bytes))
        return usage_error(s->inv, "--backlog %s: a size is wanted, as 500M or 2G", backlog);
    int code = bench_run_read(o, s);
    if (code != EXIT_OK)
        return code;
    o->searches = o->searches && !option_on(s->inv, "rate");
    if (plan->backlog_bytes > 0 && (o->searches || o->subscriptions == 0))
        return usage_error(s->inv, "--backlog needs a rate and subscriptions in the workload");
    code = refuse_too_much(s, o);
    return code == EXIT_OK ? topic_choose(plan, s, o) : code;
}

int plan_read(struct plan *plan, struct session *s, struct bench_options *o)
{
    struct yaml_error error;
    plan->path = s->inv->operands[0];
    int code = map_read(s, &plan->workload_map, plan->path);
    if (code != EXIT_OK)
        return code;
    if (!workload_read(&plan->workload, &plan->workload_map, &error))
        return yaml_complain(s, plan->path, &error);
    if (!plan->workload.name)
        plan->workload.name = plan->path;
    code = driver_take(plan, s);
    if (code == EXIT_OK)
        code = payload_read(plan, s);
    if (code != EXIT_OK)
        return code;
    workload_apply(plan, o);
    return typed_take(plan, s, o);
}

void plan_fini(struct plan *plan)
{
    yaml_map_fini(&plan->workload_map);
    yaml_map_fini(&plan->driver_map);
    properties_fini(&plan->topic);
    properties_fini(&plan->common);
    properties_fini(&plan->producer);
    properties_fini(&plan->consumer);
    mem_free(plan->payload);
}

/* ---- telling ---- */

json_t *plan_json(const struct plan *plan, const struct bench_options *o)
{
    return json_pack("{s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name",
                     json_of(str_of(plan->workload.name)), "file", json_of(str_of(plan->path)),
                     "driver", plan->driver.name, "topics", (json_int_t)o->topics,
                     "partitions_per_topic", (json_int_t)o->partitions, "producers_per_topic",
                     (json_int_t)o->producers, "subscriptions_per_topic",
                     (json_int_t)o->subscriptions, "consumers_per_subscription",
                     (json_int_t)o->consumers, "message_bytes", (json_int_t)o->record_bytes,
                     "backlog_bytes", (json_int_t)plan->backlog_bytes);
}

void plan_print(const struct plan *plan, const struct bench_options *o, FILE *to)
{
    fprintf(to, "workload  %s\n", plan->workload.name);
    fprintf(to,
            "          topics %lld, partitions of each %lld, producers %lld, subscriptions %lld, "
            "consumers of each %lld; %lld bytes\n",
            (long long)o->topics, (long long)o->partitions, (long long)o->producers,
            (long long)o->subscriptions, (long long)o->consumers, (long long)o->record_bytes);
}
