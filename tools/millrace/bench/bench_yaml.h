/* SPDX-License-Identifier: Apache-2.0
 *
 * A YAML file that is one flat mapping, as workloads and drivers are: keys with single values. What
 * YAML can do besides (lists, mappings in mappings, anchors, several documents) is refused with its
 * line. libyaml reads; everything is bounded, because the text is outside input.
 */
#pragma once

#include "io/base.h"

#define YAML_BYTES_MAX   (1U << 20)
#define YAML_ENTRIES_MAX 64U

/* Both strings are NUL-terminated, hold no other NUL and belong to the map. */
struct yaml_entry {
    char *key;
    char *value;   /* NULL: null, which is as good as no entry */
    uint32_t line; /* from 1 */
};

struct yaml_map {
    struct yaml_entry entries[YAML_ENTRIES_MAX];
    uint32_t count;
};

struct yaml_error {
    uint32_t line; /* 0: the file as a whole */
    char text[256];
};

/* False: *error says what is wrong, and there is nothing to fini. */
bool yaml_map_read(struct yaml_map *map, const char *data, size_t len,
                   struct yaml_error *error) warn_unused;
void yaml_map_fini(struct yaml_map *map);
