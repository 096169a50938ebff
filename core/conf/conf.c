/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading a broker's settings. Sources are taken in the order of their weight, so that a later one
 * replaces an earlier one; then the fields are filled, then keys that depend on each other are
 * compared, then the report is written. Nothing stops at the first mistake: an operator gets all of
 * them in one go.
 */
#include "core/conf/conf.h"

#include "io/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/conf/overrides.h"
#include "core/conf/properties.h"

static void conf_report(struct conf *conf, enum conf_level level, enum conf_class class,
                        const struct conf_key *key, const char *format, ...) printf_like(5, 6);

static void conf_report(struct conf *conf, enum conf_level level, enum conf_class class,
                        const struct conf_key *key, const char *format, ...)
{
    if (conf->line_count == conf->line_capacity) {
        conf->line_capacity = conf->line_capacity == 0 ? 32 : conf->line_capacity * 2;
        conf->line = mem_realloc(conf->line, conf->line_capacity * sizeof(conf->line[0]));
    }
    struct conf_line *line = &conf->line[conf->line_count++];
    *line = (struct conf_line){
        .level = (uint8_t)level, .class = (uint8_t) class, .key = key != NULL ? key->name : NULL};
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    must(len >= 0);
    line->text = mem_alloc((size_t)len + 1);
    va_start(args, format);
    (void)vsnprintf(line->text, (size_t)len + 1, format, args);
    va_end(args);
    /* A value may hold anything, but a line of the report is one line. */
    for (char *c = line->text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == '\x7f')
            *c = '?';
    if (level == CONF_ERROR)
        conf->error_count++;
}

/* ---- taking settings ---- */

enum {
    UNKNOWN_LISTED_MAX = 50,
};

/* One setting as it stands in its source. */
struct given {
    const char *name;
    const char *value;
    enum conf_origin origin;
    uint32_t line;
    char place[96]; /* "server.properties:12" or "--override" */
};

static const struct conf_key *find_given(const char *name)
{
    const struct conf_key *key = conf_find(CONF_BROKER, name);
    if (key != NULL || strncmp(name, "listener.name.", 14) != 0)
        return key;
    /* listener.name.<listener>.<key> is a key of one listener (KIP-226). */
    const char *rest = strchr(name + 14, '.');
    key = rest != NULL ? conf_find(CONF_BROKER, rest + 1) : NULL;
    return key != NULL && key->class == CONF_NO_EFFECT ? key : NULL;
}

static void report_unknown(struct conf *conf, const struct given *given)
{
    /* Enough to see what kind of file this is. */
    if (++conf->unknown_count > UNKNOWN_LISTED_MAX)
        return;
    const struct conf_key *topic = conf_find(CONF_TOPIC, given->name);
    const struct conf_key *nearest = conf_nearest(CONF_BROKER, given->name);
    if (topic != NULL)
        conf_report(conf, CONF_WARN, CONF_UNKNOWN, NULL,
                    "%s: %.96s is a key of topics; for all topics set %s", given->place,
                    given->name, topic->twins);
    else if (nearest != NULL)
        conf_report(conf, CONF_WARN, CONF_UNKNOWN, NULL, "%s: %.96s is not known; did you mean %s?",
                    given->place, given->name, nearest->name);
    else
        conf_report(conf, CONF_WARN, CONF_UNKNOWN, NULL, "%s: %.96s is not known", given->place,
                    given->name);
}

/* A protection that is not built may be absent or set to what it is without it. */
static bool is_refused(const struct conf_key *key, const char *text)
{
    return key->class == CONF_REFUSED && text[0] != '\0' &&
           (key->fallback == NULL || strcmp(text, key->fallback) != 0);
}

static void place_of(const struct conf_input *input, enum conf_origin origin, uint32_t line,
                     char *place, size_t size)
{
    if (origin == CONF_FROM_FILE)
        (void)snprintf(place, size, "%.80s:%u", input->file_name, line);
    else
        (void)snprintf(place, size, "%s",
                       origin == CONF_FROM_OVERRIDE ? "--override" : "command line");
}

/* Where the value that counts comes from is said when another one was given, too. */
static void report_replaced(struct conf *conf, const struct conf_input *input,
                            const struct given *given, const struct conf_key *key, const char *text)
{
    const struct conf_setting *old = &conf->set[conf_index(key)];
    char place[96];
    if (old->text == NULL)
        return;
    if (old->origin == given->origin) {
        if (given->origin == CONF_FROM_FILE)
            conf_report(conf, CONF_WARN, key->class, key, "%s: %s replaces its value of line %u",
                        given->place, given->name, old->line);
        return;
    }
    if (strcmp(old->text, text) == 0)
        return;
    bool hidden = key->kind == CONF_PASSWORD;
    place_of(input, old->origin, old->line, place, sizeof(place));
    conf_report(conf, CONF_INFO, key->class, key, "%s: %s=%.128s replaces %.128s (%s)",
                given->place, key->name, hidden ? "(hidden)" : text,
                hidden ? "(hidden)" : old->text, place);
}

static void take(struct conf *conf, const struct conf_input *input, const struct given *given)
{
    const struct conf_key *key = find_given(given->name);
    if (key == NULL) {
        report_unknown(conf, given);
        return;
    }
    struct conf_error error;
    char *text = NULL;
    if (!conf_check(key, given->value, &text, &error)) {
        conf_report(conf, CONF_ERROR, key->class, key, "%s: %s", given->place, error.text);
        return;
    }
    if (is_refused(key, text))
        conf_report(conf, CONF_ERROR, CONF_REFUSED, key, "%s: %s is set. %s", given->place,
                    key->name, key->doc);
    struct conf_setting *set = &conf->set[conf_index(key)];
    report_replaced(conf, input, given, key, text);
    mem_free(set->text);
    *set = (struct conf_setting){text, given->line, (uint8_t)given->origin};
}

static void take_file(struct conf *conf, const struct conf_input *input)
{
    struct properties properties;
    struct properties_error error;
    if (!properties_read(&properties, input->file, input->file_len, &error)) {
        conf_report(conf, CONF_ERROR, CONF_UNKNOWN, NULL, "%s:%u: %s", input->file_name, error.line,
                    error.text);
        return;
    }
    for (uint32_t i = 0; i < properties.count; i++) {
        const struct property *entry = &properties.entry[i];
        struct given given = {entry->key, entry->value, CONF_FROM_FILE, entry->line, ""};
        place_of(input, given.origin, given.line, given.place, sizeof(given.place));
        take(conf, input, &given);
    }
    properties_fini(&properties);
}

static void take_assignments(struct conf *conf, const struct conf_input *input,
                             enum conf_origin origin)
{
    bool flags = origin == CONF_FROM_FLAG;
    const struct conf_assignment *list = flags ? input->flag : input->override;
    uint32_t count = flags ? input->flag_count : input->override_count;
    for (uint32_t i = 0; i < count; i++) {
        struct given given = {list[i].name, list[i].value, origin, 0, ""};
        place_of(input, origin, 0, given.place, sizeof(given.place));
        take(conf, input, &given);
    }
}

/* ---- the fields ---- */

static void fill_fields(struct conf *conf)
{
    /* Kafka's way to say that broker.id is left open. */
    struct conf_setting *broker_id = &conf->set[conf_index(conf_find(CONF_BROKER, "broker.id"))];
    if (broker_id->text != NULL && broker_id->text[0] == '-') {
        mem_free(broker_id->text);
        broker_id->text = NULL;
    }
    const struct conf_view view = {.conf = conf};
    for (uint16_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        struct conf_value value;
        if (!key->has_field)
            continue;
        conf_value_find(&view, key, &value);
        /* A converted text lives in `value`; conversions are of numbers, which are copied. */
        must(value.text != value.buffer || (key->kind != CONF_STRING && key->kind != CONF_LIST));
        conf_store(key, value.text,
                   key->scope == CONF_BROKER ? (void *)&conf->broker : (void *)&conf->topic);
    }
}

/* ---- what keys say about each other ---- */

static const char *set_text(const struct conf *conf, const char *name)
{
    return conf->set[conf_index(conf_find(CONF_BROKER, name))].text;
}

#define LOG_DIRS_MOST    32U /* LOG_DIRS_MAX, core/log/log_dirs.h */
#define LOG_DIR_PATH_MAX 1024U

static void check_log_dirs(struct conf *conf)
{
    const struct conf_key *key = conf_find(CONF_BROKER, "log.dirs");
    const char *dirs = conf->broker.log_dirs;
    if (dirs[0] == '\0')
        conf_report(conf, CONF_ERROR, CONF_HONOURED, key,
                    "log.dirs is empty; name at least one directory");
    uint32_t count = 0;
    for (const char *at = dirs; *at != '\0'; at += at[0] == ',') {
        size_t length = strcspn(at, ",");
        if (length >= LOG_DIR_PATH_MAX)
            conf_report(conf, CONF_ERROR, CONF_HONOURED, key,
                        "log.dirs: %.64s... is longer than %u characters", at, LOG_DIR_PATH_MAX);
        at += length;
        count++;
    }
    if (count > LOG_DIRS_MOST)
        conf_report(conf, CONF_ERROR, CONF_HONOURED, key,
                    "log.dirs names %u directories; the limit is %u", count, LOG_DIRS_MOST);
}

static void check_identity(struct conf *conf)
{
    const struct conf_key *key = conf_find(CONF_BROKER, "node.id");
    const char *node_id = set_text(conf, "node.id");
    const char *broker_id = set_text(conf, "broker.id");
    if (node_id != NULL && broker_id != NULL && strcmp(node_id, broker_id) != 0)
        conf_report(
            conf, CONF_ERROR, CONF_HONOURED, key,
            "node.id=%s and broker.id=%s name one thing twice and differently; keep node.id",
            node_id, broker_id);
}

static void check_compaction_lag(struct conf *conf)
{
    const struct conf_view view = {.conf = conf};
    const struct conf_key *key = conf_find(CONF_BROKER, "log.cleaner.min.compaction.lag.ms");
    struct conf_value min;
    struct conf_value max;
    conf_value_find(&view, key, &min);
    conf_value_find(&view, conf_find(CONF_BROKER, "log.cleaner.max.compaction.lag.ms"), &max);
    if (strtoll(min.text, NULL, 10) > strtoll(max.text, NULL, 10))
        conf_report(conf, CONF_ERROR, CONF_PLANNED, key, "%s=%s is more than %s=%s", min.key->name,
                    min.text, max.key->name, max.text);
}

/* False if listeners need no further look. */
static bool check_roles(struct conf *conf)
{
    const char *roles = set_text(conf, "process.roles");
    if (roles == NULL || strcmp(roles, "controller") != 0)
        return true;
    conf_report(
        conf, CONF_ERROR, CONF_REFUSED, conf_find(CONF_BROKER, "process.roles"),
        "process.roles=controller: a node that is only a controller does not exist here, the "
        "controller is on board of the broker; start with the broker's file, or with "
        "process.roles=broker,controller");
    return false;
}

static void check_listeners(struct conf *conf, const struct conf_input *input)
{
    const struct broker_conf *broker = &conf->broker;
    const struct listener_text text = {
        .listeners = broker->listeners,
        .advertised = broker->advertised_listeners,
        .protocols = broker->listener_security_protocol_map,
        .controller_names = broker->controller_listener_names,
        .hostname = input->hostname,
    };
    struct listener_error error;
    const struct conf_key *key = conf_find(CONF_BROKER, "listeners");
    if (!listener_set_parse(&conf->listeners, &text, &error)) {
        conf_report(conf, CONF_ERROR, CONF_HONOURED, key, "%s", error.text);
        return;
    }
    const char *inter_broker = broker->inter_broker_listener_name;
    if (inter_broker != NULL && listener_find(&conf->listeners, inter_broker) == NULL)
        conf_report(conf, CONF_ERROR, CONF_HONOURED, key,
                    "inter.broker.listener.name: %.64s is no listener; listeners does not name it",
                    inter_broker);
    if (text.controller_names != NULL && text.controller_names[0] != '\0')
        conf_report(conf, CONF_INFO, CONF_MAPPED,
                    conf_find(CONF_BROKER, "controller.listener.names"),
                    "listeners named %.128s are left out: the controller is on board of the broker",
                    text.controller_names);
}

/* ---- the report ---- */

/* The key that has taken an older one's place, when it is set: then the older one is silent. */
static const struct conf_key *newer_that_is_set(const struct conf *conf, const struct conf_key *key)
{
    for (uint16_t i = 0; i < conf_key_count; i++)
        if (conf_keys[i].scope == CONF_BROKER && conf->set[i].text != NULL &&
            strcmp(conf_keys[i].twins, key->name) == 0)
            return &conf_keys[i];
    return NULL;
}

static void report_mapped(struct conf *conf, const struct conf_input *input,
                          const struct conf_key *key, const char *place)
{
    const char *text = conf->set[conf_index(key)].text;
    const struct conf_key *newer = newer_that_is_set(conf, key);
    if (newer == NULL) {
        conf_report(conf, CONF_INFO, key->class, key, "%s: %s=%.128s: %s", place, key->name, text,
                    key->doc);
        return;
    }
    const struct conf_setting *set = &conf->set[conf_index(newer)];
    char newer_place[96];
    place_of(input, set->origin, set->line, newer_place, sizeof(newer_place));
    conf_report(conf, CONF_INFO, key->class, key,
                "%s: %s=%.128s is not used: %s=%.128s is set (%s)", place, key->name, text,
                newer->name, set->text, newer_place);
}

static void report_setting(struct conf *conf, const struct conf_input *input,
                           const struct conf_key *key)
{
    const struct conf_setting *set = &conf->set[conf_index(key)];
    char place[96];
    place_of(input, set->origin, set->line, place, sizeof(place));
    const char *text = key->kind == CONF_PASSWORD ? "(hidden)" : set->text;
    switch ((enum conf_class)key->class) {
    case CONF_MAPPED:
        report_mapped(conf, input, key, place);
        break;
    case CONF_PLANNED:
        conf_report(conf, CONF_DETAIL, key->class, key,
                    "%s: %s=%.128s is kept and shown, and has no "
                    "effect yet",
                    place, key->name, text);
        break;
    case CONF_NO_EFFECT:
        conf_report(conf, CONF_DETAIL, key->class, key, "%s: %s has no effect. %s", place,
                    key->name, key->doc);
        break;
    case CONF_HONOURED:
    case CONF_REFUSED:
    case CONF_UNKNOWN:
        conf_report(conf, CONF_DETAIL, key->class, key, "%s: %s=%.128s", place, key->name, text);
        break;
    }
}

/* One line names all keys of a class, so that a start says it once. */
static void report_summary(struct conf *conf, enum conf_class class, const char *what)
{
    char *names = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&names, &size);
    must(stream != NULL);
    uint32_t count = 0;
    for (uint16_t i = 0; i < conf_key_count; i++)
        if (conf_keys[i].class == class && conf->set[i].text != NULL)
            (void)fprintf(stream, "%s%s", count++ > 0 ? ", " : "", conf_keys[i].name);
    must(fclose(stream) == 0);
    if (count > 0)
        conf_report(conf, CONF_WARN, class, NULL, "%s: %s", what, names);
    free(names);
}

static void report_settings(struct conf *conf, const struct conf_input *input)
{
    for (uint16_t i = 0; i < conf_key_count; i++)
        if (conf->set[i].text != NULL)
            report_setting(conf, input, &conf_keys[i]);
    report_summary(conf, CONF_PLANNED, "kept and shown, but nothing obeys these keys yet");
    report_summary(conf, CONF_NO_EFFECT, "these keys have no effect here");
}

/* millrace.config.strict turns every unknown key into a mistake. */
static void apply_strictness(struct conf *conf)
{
    for (uint32_t i = 0; conf->broker.config_strict && i < conf->line_count; i++) {
        struct conf_line *line = &conf->line[i];
        if (line->class == CONF_UNKNOWN && line->level == CONF_WARN) {
            line->level = CONF_ERROR;
            conf->error_count++;
        }
    }
}

bool conf_load(struct conf *conf, const struct conf_input *input)
{
    *conf = (struct conf){0};
    if (input->file_name != NULL)
        take_file(conf, input);
    take_assignments(conf, input, CONF_FROM_OVERRIDE);
    take_assignments(conf, input, CONF_FROM_FLAG);
    if (conf->unknown_count > UNKNOWN_LISTED_MAX)
        conf_report(conf, CONF_WARN, CONF_UNKNOWN, NULL, "%u more keys are not known",
                    conf->unknown_count - UNKNOWN_LISTED_MAX);
    fill_fields(conf);
    apply_strictness(conf);
    check_identity(conf);
    check_log_dirs(conf);
    check_compaction_lag(conf);
    if (check_roles(conf))
        check_listeners(conf, input);
    report_settings(conf, input);
    return conf->error_count == 0;
}

void conf_fini(struct conf *conf)
{
    for (uint16_t i = 0; i < conf_key_count; i++)
        mem_free(conf->set[i].text);
    for (uint32_t i = 0; i < conf->line_count; i++)
        mem_free(conf->line[i].text);
    mem_free(conf->line);
    *conf = (struct conf){0};
}
