/* SPDX-License-Identifier: Apache-2.0
 *
 * 128-bit identities of topics, directories and clusters, as Kafka writes them: sixteen bytes big
 * end first on the wire and on disk, 22 characters of unpadded URL-safe base64 in text.
 */
#pragma once

#include "io/base.h"

struct uuid {
    uint8_t bytes[16];
};

#define UUID_TEXT_LEN 22

/* Version 4 from 128 random bits. Never zero, and its text never begins with '-', which a command
 * line would take for an option. */
struct uuid uuid_of_random(uint64_t high, uint64_t low);

/* Writes UUID_TEXT_LEN characters and a final zero. */
void uuid_text(const struct uuid *uuid, char text[UUID_TEXT_LEN + 1]);

/* False unless `text` is exactly what uuid_text writes for some uuid; `len` excludes any zero. */
bool uuid_of_text(struct uuid *uuid, const char *text, size_t len) warn_unused;

bool uuid_equal(const struct uuid *a, const struct uuid *b);

/* Kafka's "no id". */
bool uuid_is_zero(const struct uuid *uuid);
