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

json_t *stored_read(const struct invocation *inv, const char *path)
{
    json_error_t error;
    FILE *file = fopen(path, "re");
    if (!file) {
        complain(inv, "cannot read %s: %m", path);
        return NULL;
    }
    json_t *object = last_object(file, &error);
    (void)fclose(file);
    if (!object) {
        complain(inv, "%s, line %d: %s", path, error.line, error.text);
        return NULL;
    }
    json_int_t version = json_integer_value(json_object_get(object, "schema_version"));
    if (is_result(object) && version == BENCH_SCHEMA_VERSION)
        return object;
    if (is_result(object) && version > BENCH_SCHEMA_VERSION)
        complain(inv, "%s was written by a newer millrace (schema_version %lld)", path,
                 (long long)version);
    else
        complain(inv, "%s is no result of millrace bench", path);
    json_decref(object);
    return NULL;
}
