/* SPDX-License-Identifier: Apache-2.0
 *
 * A reader for java.util.Properties, the format of server.properties, as Java reads it: `=`, `:`
 * or blanks separate, a backslash at the end joins lines, \uXXXX escapes, `#` and `!` comment.
 * Departures: bytes above 127 pass through unchanged (people write UTF-8), where Java takes them
 * for Latin-1; half a surrogate pair is an error, not a question mark; a last line of nothing but a
 * backslash is no entry.
 *
 * The caller reads the file; this reads a buffer. Everything is bounded, because the buffer is
 * outside input.
 */
#pragma once

#include "io/base.h"

enum {
    PROPERTIES_SIZE_BYTES_MAX = 1 << 20,
    PROPERTY_KEY_LEN_MAX = 1023,
    PROPERTY_VALUE_LEN_MAX = 32767, /* what a Kafka string can carry in DescribeConfigs */
};

/* Both strings are NUL-terminated, hold no other NUL and belong to the properties. */
struct property {
    const char *key;
    const char *value;
    uint32_t line; /* of the entry's first character, from 1 */
};

/* In the order of the file; a key that comes twice is there twice. */
struct properties {
    struct property *entry;
    uint32_t count;
    uint32_t capacity;
    char *text;
};

struct properties_error {
    uint32_t line;  /* 0: the file as a whole */
    char text[256]; /* what is wrong, and what to write instead */
};

/* False: *error says what is wrong, and there is nothing to fini. */
bool properties_read(struct properties *properties, const char *data, size_t len,
                     struct properties_error *error) warn_unused;
void properties_fini(struct properties *properties);
