/* SPDX-License-Identifier: Apache-2.0 */
#include "core/api/loggers.h"

#include "core/conf/overrides.h"
#include "io/diag_level.h"
#include "net/err.h"

#include <stdarg.h>
#include <stdio.h>

#define SOURCE_LOGGER 6 /* DYNAMIC_BROKER_LOGGER_CONFIG */

#define SENTENCE_MAX 256
#define NAME_SHOWN   96

/* Kafka's words; each is spelt exactly so. */
static const char *const level_names[] = {
    [DIAG_FATAL] = "FATAL", [DIAG_ERROR] = "ERROR", [DIAG_WARN] = "WARN",
    [DIAG_INFO] = "INFO",   [DIAG_DEBUG] = "DEBUG", [DIAG_TRACE] = "TRACE"};

static bool is_wanted(const struct describe_configs_request_resource *in, const char *name)
{
    for (int32_t i = 0; i < in->configuration_keys_count; i++)
        if (str_equal(in->configuration_keys[i], str_of(name)))
            return true;
    return in->configuration_keys_count <= 0; /* null and empty are all */
}

bool loggers_describe(struct request *q, const struct describe_configs_request_resource *in,
                      bool documented, struct describe_configs_response_result *out)
{
    out->configs = arena_array(&q->arena, diag_logger_count, sizeof(*out->configs));
    if (!out->configs)
        return false;
    for (uint32_t i = 0; i < diag_logger_count; i++) {
        if (!is_wanted(in, diag_loggers[i].name))
            continue;
        struct describe_configs_response_config *entry = &out->configs[out->configs_count++];
        init_describe_configs_response_config(entry);
        entry->name = str_of(diag_loggers[i].name);
        entry->value = str_of(level_names[diag_level_of(i)]);
        entry->config_source = SOURCE_LOGGER;
        entry->documentation = documented ? str_of(diag_loggers[i].doc) : str_null();
    }
    return true;
}

/* ---- changes ---- */

#define SHOWN(name) (name).len < NAME_SHOWN ? (name).len : NAME_SHOWN, (name).data

static printf_like(4, 5) bool refuse(struct request *q, struct control_item *item, enum err error,
                                     const char *format, ...)
{
    char sentence[SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    item->error = (int16_t)error;
    item->message = arena_text(&q->arena, sentence);
    return false;
}

static bool logger_named(struct str name, uint32_t *logger)
{
    for (*logger = 0; *logger < diag_logger_count; ++*logger)
        if (str_equal(name, str_of(diag_loggers[*logger].name)))
            return true;
    return false;
}

static bool level_named(struct str name, enum diag_level *level)
{
    for (*level = DIAG_FATAL; *level <= DIAG_TRACE; ++*level)
        if (str_equal(name, str_of(level_names[*level])))
            return true;
    return false;
}

static bool names_differ(struct request *q, struct control_item *item)
{
    for (int32_t i = 0; i < item->config_count; i++)
        for (int32_t j = 0; j < i; j++)
            if (str_equal(item->configs[i].name, item->configs[j].name))
                return refuse(q, item, ERR_INVALID_REQUEST, "logger %.*s is named twice",
                              SHOWN(item->configs[i].name));
    return true;
}

static bool change_check(struct request *q, struct control_item *item,
                         const struct control_config *change)
{
    uint32_t logger;
    enum diag_level level;
    if (change->operation != OVERRIDE_SET && change->operation != OVERRIDE_DELETE)
        return refuse(q, item, ERR_INVALID_REQUEST,
                      "the level of logger %.*s can be set and deleted, and nothing else",
                      SHOWN(change->name));
    if (change->operation == OVERRIDE_SET && change->value.len < 0)
        return refuse(q, item, ERR_INVALID_REQUEST, "logger %.*s is given no level",
                      SHOWN(change->name));
    if (!logger_named(change->name, &logger))
        return refuse(q, item, ERR_INVALID_CONFIG, "there is no logger %.*s", SHOWN(change->name));
    if (change->operation == OVERRIDE_DELETE && logger == DIAG_ROOT)
        return refuse(q, item, ERR_INVALID_REQUEST,
                      "the level of %.*s cannot be deleted: the others go by it",
                      SHOWN(change->name));
    if (change->operation == OVERRIDE_SET && !level_named(change->value, &level))
        return refuse(q, item, ERR_INVALID_CONFIG,
                      "%.*s is no level: they are FATAL, ERROR, WARN, INFO, DEBUG and TRACE",
                      SHOWN(change->value));
    return true;
}

static void change_make(const struct control_config *change)
{
    uint32_t logger;
    enum diag_level level;
    if (!logger_named(change->name, &logger))
        return;
    if (change->operation == OVERRIDE_DELETE)
        diag_level_unset(logger);
    else if (level_named(change->value, &level))
        diag_level_set(logger, level);
}

void loggers_change(struct request *q, struct control_item *item, bool validate_only)
{
    if (item->config_count > (int32_t)diag_logger_count) {
        (void)refuse(q, item, ERR_INVALID_REQUEST, "there are %u loggers, and %d changes",
                     diag_logger_count, item->config_count);
        return;
    }
    bool good = names_differ(q, item);
    for (int32_t i = 0; good && i < item->config_count; i++)
        good = change_check(q, item, &item->configs[i]);
    for (int32_t i = 0; good && !validate_only && i < item->config_count; i++)
        change_make(&item->configs[i]);
}
