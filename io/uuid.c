/* SPDX-License-Identifier: Apache-2.0 */
#include "io/uuid.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct uuid uuid_of_random(uint64_t high, uint64_t low)
{
    struct uuid uuid;
    for (int i = 0; i < 8; i++) {
        uuid.bytes[i] = (uint8_t)(high >> (56 - 8 * i));
        uuid.bytes[8 + i] = (uint8_t)(low >> (56 - 8 * i));
    }
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40); /* version 4 */
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80); /* variant of RFC 4122 */
    if (alphabet[uuid.bytes[0] >> 2] == '-')
        uuid.bytes[0] ^= 0x80;
    return uuid;
}

/* 128 bits are 21 sixes and two bits; the last character carries four zeros below them. */
void uuid_text(const struct uuid *uuid, char text[UUID_TEXT_LEN + 1])
{
    for (unsigned i = 0; i < UUID_TEXT_LEN; i++) {
        unsigned bit = i * 6;
        unsigned next = bit / 8 + 1 < sizeof(uuid->bytes) ? uuid->bytes[bit / 8 + 1] : 0;
        unsigned pair = ((unsigned)uuid->bytes[bit / 8] << 8) | next;
        text[i] = alphabet[(pair >> (10 - bit % 8)) & 63];
    }
    text[UUID_TEXT_LEN] = 0;
}

bool uuid_of_text(struct uuid *uuid, const char *text, size_t len)
{
    if (len != UUID_TEXT_LEN)
        return false;
    memset(uuid, 0, sizeof(*uuid));
    for (unsigned i = 0; i < UUID_TEXT_LEN; i++) {
        const char *found = text[i] ? strchr(alphabet, text[i]) : NULL;
        if (!found)
            return false;
        unsigned bit = i * 6;
        unsigned pair = (unsigned)(found - alphabet) << (10 - bit % 8);
        uuid->bytes[bit / 8] |= (uint8_t)(pair >> 8);
        if (bit / 8 + 1 < sizeof(uuid->bytes))
            uuid->bytes[bit / 8 + 1] |= (uint8_t)pair;
        else if (pair & 0xff)
            return false;
    }
    return true;
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool uuid_is_zero(const struct uuid *uuid)
{
    static const struct uuid zero;
    return uuid_equal(uuid, &zero);
}
