/* SPDX-License-Identifier: Apache-2.0
 *
 * A value is looked for by name first and by source second: what a key says itself, from whatever
 * source, comes before what its twins say. That is Kafka's order, and the reason why
 * log.retention.ms at start beats a dynamic log.retention.hours.
 */
#include "core/conf/overrides.h"

#include "io/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CODE_INVALID_CONFIG = 40,
    CODE_INVALID_REQUEST = 42,
    TWIN_COUNT_MAX = 4,
};

static printf_like(3, 4) bool refuse(struct conf_error *error, int16_t code, const char *format,
                                     ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    error->code = code;
    return false;
}

/* ---- the list ---- */

void overrides_init(struct overrides *overrides, enum conf_scope scope)
{
    *overrides = (struct overrides){.scope = (uint8_t)scope};
}

void overrides_fini(struct overrides *overrides)
{
    for (uint16_t i = 0; i < overrides->count; i++)
        mem_free(overrides->item[i].value);
    mem_free(overrides->item);
    overrides->item = NULL;
    overrides->count = 0;
}

void overrides_copy(struct overrides *to, const struct overrides *from)
{
    *to = *from;
    if (from->count == 0)
        return;
    to->item = mem_alloc(from->count * sizeof(to->item[0]));
    for (uint16_t i = 0; i < from->count; i++) {
        to->item[i] = (struct override){from->item[i].key, mem_strdup(from->item[i].value)};
    }
}

static const char *overrides_get(const struct overrides *overrides, const struct conf_key *key)
{
    if (overrides == NULL || overrides->scope != key->scope)
        return NULL;
    for (uint16_t i = 0; i < overrides->count; i++)
        if (overrides->item[i].key == conf_index(key))
            return overrides->item[i].value;
    return NULL;
}

/* Takes `value`; NULL removes the key. */
static void overrides_put(struct overrides *overrides, const struct conf_key *key, char *value)
{
    uint16_t index = conf_index(key);
    uint16_t at = 0;
    while (at < overrides->count && overrides->item[at].key < index)
        at++;
    bool found = at < overrides->count && overrides->item[at].key == index;
    struct override *item = overrides->item;
    if (found)
        mem_free(item[at].value);
    if (found && value != NULL) {
        item[at].value = value;
    } else if (found) {
        overrides->count--;
        memmove(item + at, item + at + 1, (overrides->count - at) * sizeof(item[0]));
    } else if (value != NULL) {
        item = mem_realloc(item, (overrides->count + 1U) * sizeof(item[0]));
        memmove(item + at + 1, item + at, (overrides->count - at) * sizeof(item[0]));
        item[at] = (struct override){index, value};
        overrides->item = item;
        overrides->count++;
    }
}

/* ---- values and where they come from ---- */

/* Calls for each twin of a key; twins are few and their names are in the table. */
static uint32_t twins_of(const struct conf_key *key, const struct conf_key *twins[TWIN_COUNT_MAX])
{
    uint32_t count = 0;
    for (const char *at = key->twins; *at != '\0';) {
        const char *end = strchrnul(at, ',');
        char name[96];
        must((size_t)(end - at) < sizeof(name) && count < TWIN_COUNT_MAX);
        memcpy(name, at, (size_t)(end - at));
        name[end - at] = '\0';
        twins[count] = conf_find(CONF_BROKER, name);
        must(twins[count] != NULL);
        count++;
        at = *end == ',' ? end + 1 : end;
    }
    return count;
}

static int64_t unit_ms(const struct conf_key *key)
{
    const char *unit = conf_unit_of(key);
    if (strcmp(unit, "hours") == 0)
        return 60LL * 60 * 1000;
    return strcmp(unit, "minutes") == 0 ? 60LL * 1000 : 1;
}

/* Puts text of `from` into the unit of `to`. Negative numbers mean "no limit" in every unit. */
static void value_convert(struct conf_value *value, const struct conf_key *from,
                          const struct conf_key *to)
{
    int64_t factor = unit_ms(from) / unit_ms(to);
    if (value->text == NULL || factor <= 1)
        return;
    int64_t number = strtoll(value->text, NULL, 10);
    (void)snprintf(value->buffer, sizeof(value->buffer), "%lld",
                   (long long)(number < 0 ? number : number * factor));
    value->text = value->buffer;
}

struct layer {
    const char *text;
    enum conf_source source;
};

enum {
    LAYER_COUNT = 4,
};

/* What the key itself is set to, by source, strongest first; text is NULL where it is not. */
static void layers_of(const struct conf_view *view, const struct conf_key *key,
                      struct layer layers[LAYER_COUNT])
{
    const char *start = key->scope == CONF_BROKER ? view->conf->set[conf_index(key)].text : NULL;
    layers[0] = (struct layer){overrides_get(view->topic, key), CONF_DYNAMIC_TOPIC};
    layers[1] = (struct layer){overrides_get(view->broker, key), CONF_DYNAMIC_BROKER};
    layers[2] = (struct layer){overrides_get(view->cluster, key), CONF_DYNAMIC_DEFAULT_BROKER};
    layers[3] = (struct layer){start, CONF_STATIC_BROKER};
}

static bool find_set(const struct conf_view *view, const struct conf_key *key,
                     struct conf_value *value)
{
    struct layer layers[LAYER_COUNT];
    layers_of(view, key, layers);
    for (int i = 0; i < LAYER_COUNT; i++) {
        if (layers[i].text == NULL)
            continue;
        value->text = layers[i].text;
        value->source = (uint8_t)layers[i].source;
        value->key = key;
        return true;
    }
    return false;
}

/* The key and all that speak for it, in order; twins have twins of their own, but no deeper. */
static uint32_t speakers_of(const struct conf_key *key,
                            const struct conf_key *speakers[1 + TWIN_COUNT_MAX * 2])
{
    const struct conf_key *twins[TWIN_COUNT_MAX];
    const struct conf_key *inner[TWIN_COUNT_MAX];
    uint32_t count = 0;
    speakers[count++] = key;
    uint32_t twin_count = twins_of(key, twins);
    for (uint32_t i = 0; i < twin_count; i++) {
        speakers[count++] = twins[i];
        uint32_t inner_count = twins_of(twins[i], inner);
        for (uint32_t j = 0; j < inner_count; j++) {
            must(count < 1 + TWIN_COUNT_MAX * 2);
            speakers[count++] = inner[j];
        }
    }
    return count;
}

void conf_value_find(const struct conf_view *view, const struct conf_key *key,
                     struct conf_value *value)
{
    const struct conf_key *speakers[1 + TWIN_COUNT_MAX * 2];
    uint32_t count = speakers_of(key, speakers);
    *value = (struct conf_value){.key = key, .source = CONF_DEFAULT};
    for (uint32_t i = 0; i < count; i++) {
        if (find_set(view, speakers[i], value)) {
            value_convert(value, speakers[i], key);
            return;
        }
    }
    for (uint32_t i = 0; i < count && value->text == NULL; i++) {
        value->text = speakers[i]->fallback;
        value->key = speakers[i];
        value_convert(value, speakers[i], key);
    }
}

/* ---- describing ---- */

static void add_synonym(struct conf_entry *entry, const struct conf_key *key, const char *text,
                        enum conf_source source)
{
    if (text == NULL || entry->synonym_count == CONF_SYNONYM_COUNT_MAX)
        return;
    entry->synonym[entry->synonym_count].name = key->name;
    entry->synonym[entry->synonym_count].text = entry->sensitive ? NULL : text;
    entry->synonym[entry->synonym_count].source = (uint8_t)source;
    entry->synonym_count++;
}

void conf_describe(const struct conf_view *view, const struct conf_key *key,
                   struct conf_entry *entry)
{
    const struct conf_key *speakers[1 + TWIN_COUNT_MAX * 2];
    uint32_t count = speakers_of(key, speakers);
    *entry = (struct conf_entry){.key = key,
                                 .read_only = key->dynamic == CONF_READ_ONLY,
                                 .sensitive = key->kind == CONF_PASSWORD};
    conf_value_find(view, key, &entry->value);
    for (uint32_t i = 0; i < count; i++) {
        struct layer layers[LAYER_COUNT];
        layers_of(view, speakers[i], layers);
        for (int j = 0; j < LAYER_COUNT; j++)
            add_synonym(entry, speakers[i], layers[j].text, layers[j].source);
    }
    for (uint32_t i = 0; i < count; i++)
        if (speakers[i]->scope == CONF_BROKER)
            add_synonym(entry, speakers[i], speakers[i]->fallback, CONF_DEFAULT);
    if (entry->sensitive)
        entry->value.text = NULL;
}

bool conf_is_listed(const struct conf_view *view, const struct conf_key *key)
{
    struct conf_value value;
    return key->scope == CONF_TOPIC || key->class != CONF_NO_EFFECT || find_set(view, key, &value);
}

/* ---- changing ---- */

/* `base` with the items of `change` added behind it or taken out; both canonical. */
static char *list_change(const char *base, const char *change, bool append)
{
    char *text = mem_alloc(strlen(base) + strlen(change) + 2);
    char *out = text;
    size_t count;
    struct conf_item *known = conf_items(append ? base : change, &count);
    const char *sources[] = {base, append ? change : ""};
    for (size_t i = 0; i < array_count(sources); i++) {
        for (const char *at = sources[i]; *at != '\0';) {
            const char *end = strchrnul(at, ',');
            size_t len = (size_t)(end - at);
            bool drop = (i == 1 || !append) && conf_items_hold(known, count, at, len);
            if (!drop) {
                if (out > text)
                    *out++ = ',';
                memcpy(out, at, len);
                out += len;
            }
            at = *end == ',' ? end + 1 : end;
        }
    }
    *out = '\0';
    mem_free(known);
    return text;
}

static bool alter_list(struct overrides *overrides, enum override_op op, const struct conf_key *key,
                       const char *change, const struct conf_view *view, struct conf_error *error)
{
    struct conf_value now;
    conf_value_find(view, key, &now);
    const char *own = overrides_get(overrides, key);
    const char *base = own != NULL ? own : now.text != NULL ? now.text : "";
    if (op == OVERRIDE_APPEND && key->kind == CONF_CHOICES && *change == '\0' && *base != '\0')
        return refuse(error, CODE_INVALID_CONFIG, "%s: there is nothing to append", key->name);
    char *value = list_change(base, change, op == OVERRIDE_APPEND);
    if (strlen(value) > CONF_VALUE_LEN_MAX) {
        mem_free(value);
        return refuse(error, CODE_INVALID_CONFIG, "%s: the list would be longer than %d bytes",
                      key->name, CONF_VALUE_LEN_MAX);
    }
    overrides_put(overrides, key, value);
    return true;
}

static bool alter_key(struct overrides *overrides, enum override_op op, const struct conf_key *key,
                      const char *value, const struct conf_view *view, struct conf_error *error)
{
    bool is_list = key->kind == CONF_LIST || key->kind == CONF_CHOICES;
    if ((op == OVERRIDE_APPEND || op == OVERRIDE_SUBTRACT) && !is_list)
        return refuse(error, CODE_INVALID_CONFIG,
                      "%s is a %s; only lists can be appended to or "
                      "subtracted from",
                      key->name, conf_type_name(key));
    char *text = NULL;
    if (!conf_check(key, value, &text, error))
        return false;
    if (op == OVERRIDE_SET) {
        overrides_put(overrides, key, text);
        return true;
    }
    bool ok = alter_list(overrides, op, key, text, view, error);
    mem_free(text);
    return ok;
}

static bool refuse_unknown(enum conf_scope scope, const char *name, struct conf_error *error)
{
    const char *what = scope == CONF_TOPIC ? "topic" : "broker";
    const struct conf_key *nearest = conf_nearest(scope, name);
    if (nearest == NULL)
        return refuse(error, CODE_INVALID_CONFIG, "\"%.96s\" is not a key of a %s", name, what);
    return refuse(error, CODE_INVALID_CONFIG, "\"%.96s\" is not a key of a %s; did you mean %s?",
                  name, what, nearest->name);
}

bool overrides_alter(struct overrides *overrides, enum override_op op, const char *name,
                     size_t name_len, const char *value, size_t value_len,
                     const struct conf_view *view, struct conf_error *error)
{
    char name_text[128];
    (void)snprintf(name_text, sizeof(name_text), "%.*s", (int)min_u64(name_len, sizeof(name_text)),
                   name);
    const struct conf_key *key = conf_find(overrides->scope, name_text);
    if (op == OVERRIDE_DELETE) {
        /* Kafka deletes what is not there, and unknown keys never are. */
        if (key != NULL)
            overrides_put(overrides, key, NULL);
        return true;
    }
    if (op != OVERRIDE_SET && op != OVERRIDE_APPEND && op != OVERRIDE_SUBTRACT)
        return refuse(error, CODE_INVALID_REQUEST, "%d is not a config operation", (int)op);
    if (value == NULL)
        return refuse(error, CODE_INVALID_REQUEST, "%.96s: a null value is not allowed", name_text);
    if (key == NULL)
        return refuse_unknown(overrides->scope, name_text, error);
    if (key->dynamic == CONF_READ_ONLY)
        return refuse(error, CODE_INVALID_REQUEST, "%s changes only with a restart of the broker",
                      key->name);
    if (value_len > CONF_VALUE_LEN_MAX || memchr(value, '\0', value_len) != NULL)
        return refuse(error, CODE_INVALID_CONFIG,
                      "%s: the value is longer than %d bytes or holds a NUL", key->name,
                      CONF_VALUE_LEN_MAX);
    char *value_text = mem_alloc(value_len + 1);
    memcpy(value_text, value, value_len);
    value_text[value_len] = '\0';
    bool ok = alter_key(overrides, op, key, value_text, view, error);
    mem_free(value_text);
    return ok;
}

/* ---- resolving ---- */

static int64_t number_of(const struct conf_view *view, const char *name)
{
    struct conf_value value;
    conf_value_find(view, conf_find(CONF_TOPIC, name), &value);
    must(value.text != NULL);
    return strtoll(value.text, NULL, 10);
}

bool overrides_resolve_topic(const struct conf_view *view, struct topic_conf *topic,
                             struct conf_error *error)
{
    const struct overrides *layers[] = {view->topic, view->broker, view->cluster};
    bool plain = true;
    for (size_t i = 0; i < array_count(layers); i++)
        plain = plain && (layers[i] == NULL || layers[i]->count == 0);
    if (plain) {
        *topic = view->conf->topic;
        return true;
    }
    int64_t lag_min = number_of(view, "min.compaction.lag.ms");
    int64_t lag_max = number_of(view, "max.compaction.lag.ms");
    if (lag_min > lag_max)
        return refuse(error, CODE_INVALID_CONFIG,
                      "min.compaction.lag.ms=%lld is more than max.compaction.lag.ms=%lld",
                      (long long)lag_min, (long long)lag_max);
    for (uint16_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        struct conf_value value;
        if (key->scope != CONF_TOPIC || !key->has_field)
            continue;
        conf_value_find(view, key, &value);
        conf_store(key, value.text, topic);
    }
    return true;
}
