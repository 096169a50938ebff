/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_stored.h"

#include <string.h>

/* One object, or the last of several. */
static json_t *last_object(FILE *file, json_error_t *error)
{
    json_t *last = NULL;
    json_t *next;
    while ((next = json_loadf(file, JSON_DISABLE_EOF_CHECK, error))) {
        json_decref(last);
        last = next;
    }
    return last;
}

/* What reports and comparisons rely on. */
static bool is_result(const json_t *object)
{
    static const char *const objects[] = {"latency", "result", "options", "broker", "machine"};
    static const char *const arrays[] = {"series", "argv"};
    static const char *const texts[] = {"kind", "started", "id", "version", "invalid_because"};
    const char *schema = json_string_value(json_object_get(object, "schema"));
    bool good = schema && strcmp(schema, BENCH_SCHEMA) == 0;
    for (size_t i = 0; i < array_count(objects); i++)
        good &= json_is_object(json_object_get(object, objects[i]));
    for (size_t i = 0; i < array_count(arrays); i++)
        good &= json_is_array(json_object_get(object, arrays[i]));
    for (size_t i = 0; i < array_count(texts); i++)
        good &= json_is_string(json_object_get(object, texts[i]));
    return good && json_is_boolean(json_object_get(object, "valid"));
}

static json_t *read_file(const struct invocation *inv, const char *path)
{
    json_error_t error;
    FILE *file = fopen(path, "re");
    if (!file) {
        complain(inv, "cannot read %s: %m", path);
        return NULL;
    }
    json_t *found = last_object(file, &error);
    (void)fclose(file);
    if (!found)
        complain(inv, "%s, line %d: %s", path, error.line, error.text);
    return found;
}

/* False, and said, when reports and comparisons could not rely on it. */
static bool is_usable(const struct invocation *inv, const char *path, const json_t *object)
{
    json_int_t version = json_integer_value(json_object_get(object, "schema_version"));
    if (is_result(object) && version == BENCH_SCHEMA_VERSION)
        return true;
    if (is_result(object) && version > BENCH_SCHEMA_VERSION)
        complain(inv, "%s was written by a newer millrace (schema_version %lld)", path,
                 (long long)version);
    else
        complain(inv, "%s is no result of millrace bench", path);
    return false;
}

json_t *stored_read(const struct invocation *inv, const char *path)
{
    json_t *found = read_file(inv, path);
    if (json_is_array(found))
        complain(inv, "%s has the results of a whole sweep: one alone is wanted", path);
    else if (found && is_usable(inv, path, found))
        return found;
    json_decref(found);
    return NULL;
}

bool stored_read_all(const struct invocation *inv, const char *path, json_t *results)
{
    size_t index;
    json_t *object;
    json_t *found = read_file(inv, path);
    json_t *all = json_is_array(found) ? json_incref(found) : json_pack("[O?]", found);
    bool good = found != NULL;
    if (good && json_array_size(all) == 0) {
        complain(inv, "%s is no result of millrace bench", path);
        good = false;
    }
    json_array_foreach(all, index, object)
    {
        good = good && is_usable(inv, path, object);
        if (good)
            (void)json_array_append(results, object);
    }
    json_decref(all);
    json_decref(found);
    return good;
}
