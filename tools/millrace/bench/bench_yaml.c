/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_yaml.h"

#include "io/mem.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    struct yaml_map *map;
    struct yaml_error *error;
};

static bool refuse(struct reader *reader, size_t line, const char *what)
{
    reader->error->line = (uint32_t)line;
    (void)snprintf(reader->error->text, sizeof(reader->error->text), "%s", what);
    return false;
}

/* The next event, which is the caller's to delete; false, and said, when the text is no YAML. */
static bool next(struct reader *reader, yaml_event_t *event)
{
    if (yaml_parser_parse(&reader->parser, event))
        return true;
    const char *problem = reader->parser.problem;
    return refuse(reader, reader->parser.problem_mark.line + 1, problem ? problem : "no YAML");
}

/* The next event has to be of this kind. */
static bool expect(struct reader *reader, yaml_event_type_t kind, const char *otherwise)
{
    yaml_event_t event;
    if (!next(reader, &event))
        return false;
    const bool good = event.type == kind;
    const size_t line = event.start_mark.line + 1;
    yaml_event_delete(&event);
    return good || refuse(reader, line, otherwise);
}

static bool is_null(const yaml_event_t *event)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < array_count(words); i++)
        if (strcmp((const char *)event->data.scalar.value, words[i]) == 0)
            return true;
    return false;
}

/* A scalar as text, into *text; NULL where it is null and may be. */
static bool take_text(struct reader *reader, const yaml_event_t *event, char **text)
{
    const size_t line = event->start_mark.line + 1;
    *text = NULL;
    if (event->type != YAML_SCALAR_EVENT)
        return refuse(reader, line, "a single value is wanted here, no list, mapping or alias");
    if (strlen((const char *)event->data.scalar.value) != event->data.scalar.length)
        return refuse(reader, line, "a NUL character has no place here");
    if (!is_null(event))
        *text = mem_strdup((const char *)event->data.scalar.value);
    return true;
}

static bool take_key(struct reader *reader, const yaml_event_t *event)
{
    struct yaml_map *map = reader->map;
    struct yaml_entry *entry = &map->entries[map->count];
    const size_t line = event->start_mark.line + 1;
    if (map->count == YAML_ENTRIES_MAX)
        return refuse(reader, line, "more than 64 keys");
    if (!take_text(reader, event, &entry->key))
        return false;
    if (!entry->key)
        return refuse(reader, line, "a key is wanted here");
    map->count++;
    entry->value = NULL;
    entry->line = (uint32_t)line;
    for (uint32_t i = 0; i + 1 < map->count; i++)
        if (strcmp(map->entries[i].key, entry->key) == 0)
            return refuse(reader, line, "this key is there already");
    return true;
}

/* Keys and values, to the end of the mapping. */
static bool take_entries(struct reader *reader)
{
    for (bool good = true, key = true; good; key = !key) {
        yaml_event_t event;
        if (!next(reader, &event))
            return false;
        if (event.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&event);
            return true;
        }
        good = key ? take_key(reader, &event)
                   : take_text(reader, &event, &reader->map->entries[reader->map->count - 1].value);
        yaml_event_delete(&event);
    }
    return false;
}

static bool read_all(struct reader *reader)
{
    return expect(reader, YAML_STREAM_START_EVENT, "no YAML") &&
           expect(reader, YAML_DOCUMENT_START_EVENT, "there is nothing in it") &&
           expect(reader, YAML_MAPPING_START_EVENT, "KEY: VALUE is wanted") &&
           take_entries(reader) && expect(reader, YAML_DOCUMENT_END_EVENT, "no YAML") &&
           expect(reader, YAML_STREAM_END_EVENT, "a second document is one too many");
}

bool yaml_map_read(struct yaml_map *map, const char *data, size_t len, struct yaml_error *error)
{
    struct reader reader = {.map = map, .error = error};
    map->count = 0;
    if (len > YAML_BYTES_MAX)
        return refuse(&reader, 0, "it is larger than 1 MiB");
    if (!yaml_parser_initialize(&reader.parser))
        return refuse(&reader, 0, "out of memory");
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)data, len);
    const bool good = read_all(&reader);
    yaml_parser_delete(&reader.parser);
    if (!good)
        yaml_map_fini(map);
    return good;
}

void yaml_map_fini(struct yaml_map *map)
{
    for (uint32_t i = 0; i < map->count; i++) {
        mem_free(map->entries[i].key);
        mem_free(map->entries[i].value);
    }
    map->count = 0;
}
