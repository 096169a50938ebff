/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/settings.h"

#include "io/mem.h"
#include "io/nearest.h"
#include "tools/millrace/profile.h"
#include "tools/millrace/start/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct setting {
    const char *key;
    const char *fallback;
    const char *words; /* "a|b": the value is the place in this list; NULL: number or text */
    int64_t min, max;  /* of a number */
    size_t field;
    bool is_text;
    const char *help;
};

#define TEXT(name, default_text, member, about)                                                    \
    {                                                                                              \
        .key = (name), .fallback = (default_text), .is_text = true,                                \
        .field = offsetof(struct settings, member), .help = (about)                                \
    }
#define NUMBER(name, default_text, least, most, member, about)                                     \
    {                                                                                              \
        .key = (name), .fallback = (default_text), .min = (least), .max = (most),                  \
        .field = offsetof(struct settings, member), .help = (about)                                \
    }
#define WORD(name, default_text, list, member, about)                                              \
    {                                                                                              \
        .key = (name), .fallback = (default_text), .words = (list),                                \
        .field = offsetof(struct settings, member), .help = (about)                                \
    }

#define DAY_MS 86400000
#define GIB    (1LL << 30)

static const struct setting table[] = {
    TEXT("bootstrap.servers", "127.0.0.1:9092", bootstrap_servers,
         "brokers to ask first, HOST:PORT[,...]; as -b"),
    TEXT("client.id", "millrace-cli", client_id, "the name that the broker logs"),
    TEXT("admin", ADMIN_ADDRESS, admin,
         "status, top: the admin listener of the broker to look at, HOST:PORT; as --admin"),
    NUMBER("request.timeout.ms", "30000", 1, DAY_MS, request_timeout_ms,
           "how long to wait for an answer; as --timeout"),
    NUMBER("retry.backoff.ms", "100", 1, DAY_MS, retry_backoff_ms,
           "the pause before something is tried again"),
    TEXT("acks", "all", acks, "produce: 0, 1 or all; as --acks"),
    TEXT("compression.type", "none", compression,
         "produce: none, gzip, snappy, lz4 or zstd; as -z"),
    NUMBER("compression.level", "-1000", CODEC_LEVEL_DEFAULT, 22, compression_level,
           "produce: the codec's level; -1000 is the codec's own default"),
    NUMBER("linger.ms", "5", 0, DAY_MS, linger_ms,
           "produce: how long a batch waits for more records"),
    NUMBER("batch.size", "1000000", 1, GIB, batch_size,
           "produce: bytes of records in a batch before it is compressed"),
    WORD("enable.idempotence", "true", "false|true", idempotence,
         "produce: no duplicates when something is sent again"),
    NUMBER("fetch.min.bytes", "1", 0, GIB, fetch_min_bytes,
           "consume: the broker waits for so many bytes ..."),
    NUMBER("fetch.max.wait.ms", "500", 0, DAY_MS, fetch_max_wait_ms,
           "consume: ... but no longer than this"),
    NUMBER("fetch.max.bytes", "16777216", 1, GIB, fetch_max_bytes,
           "consume: about so many bytes in an answer"),
    NUMBER("max.partition.fetch.bytes", "4194304", 1, GIB, partition_fetch_bytes,
           "consume: and of one partition"),
    WORD("isolation.level", "read_committed", "read_uncommitted|read_committed", read_committed,
         "consume: leave out records of transactions that are open or aborted"),
    NUMBER("session.timeout.ms", "45000", 1, DAY_MS, session_timeout_ms,
           "consume -g: a member that is silent for so long has left"),
    NUMBER("heartbeat.interval.ms", "3000", 1, DAY_MS, heartbeat_interval_ms,
           "consume -g: how often it says that it lives"),
    NUMBER("max.poll.interval.ms", "300000", 1, DAY_MS, max_poll_interval_ms,
           "consume -g: how long a rebalance waits for a member"),
    WORD("enable.auto.commit", "true", "false|true", auto_commit,
         "consume -g: commit what was printed"),
    NUMBER("auto.commit.interval.ms", "5000", 1, DAY_MS, auto_commit_interval_ms,
           "consume -g: how often"),
    NUMBER("metadata.max.age.ms", "300000", 1, DAY_MS, metadata_max_age_ms,
           "consume -g: how often the leader looks for new partitions"),
    TEXT("group.instance.id", "", group_instance_id,
         "consume -g: a static member, whose partitions wait for it while it restarts"),
};

static void list(void)
{
    for (size_t i = 0; i < array_count(table); i++)
        printf("%-26s %-16s %s\n", table[i].key, table[i].fallback, table[i].help);
}

static bool store(struct settings *settings, const struct setting *setting, const char *value)
{
    char *field = (char *)settings + setting->field;
    if (setting->is_text) {
        memcpy(field, &value, sizeof(value));
        return value[0] != 0 || setting->fallback[0] == 0;
    }
    int64_t number = -1;
    if (setting->words) {
        const char *second = strchr(setting->words, '|') + 1;
        if (strcmp(value, second) == 0)
            number = 1;
        else if (strncmp(value, setting->words, (size_t)(second - setting->words - 1)) == 0 &&
                 strlen(value) == (size_t)(second - setting->words - 1))
            number = 0;
        else
            return false;
    } else {
        char *end;
        errno = 0;
        number = strtoll(value, &end, 10);
        if (errno || end == value || *end || number < setting->min || number > setting->max)
            return false;
    }
    memcpy(field, &number, sizeof(number));
    return true;
}

static const struct setting *find(const char *key)
{
    for (size_t i = 0; i < array_count(table); i++)
        if (strcmp(table[i].key, key) == 0)
            return &table[i];
    return NULL;
}

const char *settings_set(struct settings *settings, const char *key, const char *value,
                         char text[SETTINGS_TEXT_SIZE])
{
    const struct setting *setting = find(key);
    must(setting != NULL);
    if (store(settings, setting, value))
        return NULL;
    if (setting->words)
        (void)snprintf(text, SETTINGS_TEXT_SIZE, "one of %s is wanted", setting->words);
    else if (setting->is_text)
        (void)snprintf(text, SETTINGS_TEXT_SIZE, "a value is wanted");
    else
        (void)snprintf(text, SETTINGS_TEXT_SIZE, "a number from %lld to %lld is wanted",
                       (long long)setting->min, (long long)setting->max);
    return text;
}

/* from: what the value came by, "-X" or "profile x:" */
static int take_value(struct settings *settings, const struct invocation *inv, const char *from,
                      const char *key, const char *value)
{
    if (find(key)) {
        char wanted[SETTINGS_TEXT_SIZE];
        const char *wrong = settings_set(settings, key, value, wanted);
        return wrong ? usage_error(inv, "%s %s=%s: %s", from, key, value, wrong) : EXIT_OK;
    }
    struct nearest nearest;
    nearest_begin(&nearest, key);
    for (size_t i = 0; i < array_count(table); i++)
        (void)nearest_offer(&nearest, table[i].key);
    return usage_error(inv, "%s %s: there is no such key%s; -X list shows them", from, key,
                       did_you_mean(nearest.found));
}

static int take(struct settings *settings, const struct invocation *inv, const char *from,
                const char *text)
{
    size_t len = strcspn(text, "=");
    if (text[len] != '=')
        return usage_error(inv, "%s %s: KEY=VALUE is wanted; -X list shows the keys", from, text);
    char key[NEAREST_NAME_LEN_MAX + 1];
    (void)snprintf(key, sizeof(key), "%.*s", (int)len, text);
    return take_value(settings, inv, from, key, text + len + 1);
}

int settings_check(const struct invocation *inv, const char *text)
{
    struct settings settings;
    return take(&settings, inv, "setting", text);
}

/* What the profile says that is named, or in use. */
static int take_profile(struct settings *settings, const struct invocation *inv)
{
    const char *name = option_text(inv, "profile");
    const char *named = getenv("MILLRACE_PROFILE");
    if (!name && named && named[0])
        name = named;
    settings->profiles = profiles_read(inv);
    if (!settings->profiles)
        return EXIT_FAILED;
    if (!name)
        name = profile_in_use(settings->profiles);
    if (!name)
        return EXIT_OK;
    json_t *found = profile_find(inv, settings->profiles, name);
    char from[96];
    const char *key;
    json_t *value;
    int code = found ? EXIT_OK : EXIT_PRESENCE;
    (void)snprintf(from, sizeof(from), "profile %s:", name);
    json_object_foreach(found, key, value)
    {
        if (code == EXIT_OK)
            code = take_value(settings, inv, from, key, json_string_value(value));
    }
    return code;
}

void settings_fini(struct settings *settings)
{
    json_decref(settings->profiles);
    settings->profiles = NULL;
}

int settings_given(struct settings *settings, struct invocation *inv, bool *listed)
{
    const char *text;
    for (uint32_t cursor = 0; (text = option_next(inv, "setting", &cursor));) {
        if (strcmp(text, "list") == 0) {
            list();
            *listed = true;
            return EXIT_OK;
        }
        int code = take(settings, inv, "-X", text);
        if (code != EXIT_OK)
            return code;
    }
    if (option_text(inv, "bootstrap-server"))
        settings->bootstrap_servers = option_text(inv, "bootstrap-server");
    return option_number(inv, "timeout", 1, DAY_MS, &settings->request_timeout_ms) ? EXIT_OK
                                                                                   : EXIT_USAGE;
}

int settings_begin(struct settings *settings, const struct invocation *inv)
{
    for (size_t i = 0; i < array_count(table); i++) {
        bool good = store(settings, &table[i], table[i].fallback);
        must(good);
    }
    return take_profile(settings, inv);
}

int settings_read(struct settings *settings, struct invocation *inv, bool *listed)
{
    *listed = false;
    int code = settings_begin(settings, inv);
    if (code != EXIT_OK)
        return code;
    const char *server = getenv("MILLRACE_BOOTSTRAP_SERVER");
    if (server && server[0])
        settings->bootstrap_servers = server;
    return settings_given(settings, inv, listed);
}
