/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes of our own files: little-endian, fixed width, written and read field by field so that no
 * compiler's padding ever reaches the disk.
 *
 * Every file of ours begins with a block of FS_BLOCK bytes whose first fields are the same:
 *
 *     0  magic         8 bytes, names the kind of file
 *     8  crc           u32, CRC-32C of the block from byte 12 on
 *    12  version       u16, of the format it was written in
 *    14  least_reader  u16, the oldest version of this code that may read it
 *    16  directory     16 bytes, UUID of the log directory: a file that strayed in is noticed
 *    32  the kind's own fields, zeros after them
 *
 * A reader older than least_reader refuses by name; a newer version that an old reader may read
 * only adds fields in what were zeros.
 */
#pragma once

#include "io/crc.h"
#include "io/fs.h"

#include <endian.h>
#include <string.h>

/* A writer that never passes its end: `overrun` says so afterwards. */
struct bytes_out {
    uint8_t *at;
    uint8_t *end;
    bool overrun;
};

/* A reader of bytes that may be damaged: past the end everything is zero and `overrun` is set. */
struct bytes_in {
    const uint8_t *at;
    const uint8_t *end;
    bool overrun;
};

static inline struct bytes_out bytes_out_of(void *to, size_t len)
{
    return (struct bytes_out){.at = to, .end = (uint8_t *)to + len};
}

static inline struct bytes_in bytes_in_of(const void *from, size_t len)
{
    return (struct bytes_in){.at = from, .end = (const uint8_t *)from + len};
}

static inline void put_bytes(struct bytes_out *out, const void *from, size_t len)
{
    if (len > (size_t)(out->end - out->at)) {
        out->overrun = true;
        return;
    }
    if (len > 0)
        memcpy(out->at, from, len);
    out->at += len;
}

static inline void put_u8(struct bytes_out *out, uint8_t value)
{
    put_bytes(out, &value, 1);
}

static inline void put_u16(struct bytes_out *out, uint16_t value)
{
    value = htole16(value);
    put_bytes(out, &value, 2);
}

static inline void put_u32(struct bytes_out *out, uint32_t value)
{
    value = htole32(value);
    put_bytes(out, &value, 4);
}

static inline void put_u64(struct bytes_out *out, uint64_t value)
{
    value = htole64(value);
    put_bytes(out, &value, 8);
}

static inline void put_i16(struct bytes_out *out, int16_t value)
{
    put_u16(out, (uint16_t)value);
}

static inline void put_i32(struct bytes_out *out, int32_t value)
{
    put_u32(out, (uint32_t)value);
}

static inline void put_i64(struct bytes_out *out, int64_t value)
{
    put_u64(out, (uint64_t)value);
}

/* The next `len` bytes in place, NULL past the end. */
static inline const uint8_t *take_bytes(struct bytes_in *in, size_t len)
{
    if (len > (size_t)(in->end - in->at)) {
        in->overrun = true;
        in->at = in->end;
        return NULL;
    }
    const uint8_t *bytes = in->at;
    in->at += len;
    return bytes;
}

static inline void take_into(struct bytes_in *in, void *to, size_t len)
{
    const uint8_t *from = take_bytes(in, len);
    if (from != NULL)
        memcpy(to, from, len);
    else
        memset(to, 0, len);
}

static inline uint8_t take_u8(struct bytes_in *in)
{
    uint8_t value;
    take_into(in, &value, 1);
    return value;
}

static inline uint16_t take_u16(struct bytes_in *in)
{
    uint16_t value;
    take_into(in, &value, 2);
    return le16toh(value);
}

static inline uint32_t take_u32(struct bytes_in *in)
{
    uint32_t value;
    take_into(in, &value, 4);
    return le32toh(value);
}

static inline uint64_t take_u64(struct bytes_in *in)
{
    uint64_t value;
    take_into(in, &value, 8);
    return le64toh(value);
}

static inline int16_t take_i16(struct bytes_in *in)
{
    return (int16_t)take_u16(in);
}

static inline int32_t take_i32(struct bytes_in *in)
{
    return (int32_t)take_u32(in);
}

static inline int64_t take_i64(struct bytes_in *in)
{
    return (int64_t)take_u64(in);
}

/* ---- the first block ---- */

enum format_verdict {
    FORMAT_OK,
    FORMAT_EMPTY,   /* all zeros: never written */
    FORMAT_FOREIGN, /* another magic */
    FORMAT_DAMAGED, /* CRC does not match */
    FORMAT_NEWER,   /* this version may not read it */
};

/* Begins a block: zeros it, writes the common fields; own fields follow through the returned
 * writer. */
static inline struct bytes_out format_begin(uint8_t block[FS_BLOCK], const char magic[8],
                                            uint16_t version, uint16_t least_reader,
                                            const uint8_t directory[16])
{
    memset(block, 0, FS_BLOCK);
    struct bytes_out out = bytes_out_of(block, FS_BLOCK);
    put_bytes(&out, magic, 8);
    put_u32(&out, 0);
    put_u16(&out, version);
    put_u16(&out, least_reader);
    put_bytes(&out, directory, 16);
    return out;
}

/* Ends it: nothing may be written to the block afterwards. */
static inline void format_end(uint8_t block[FS_BLOCK])
{
    struct bytes_out out = bytes_out_of(block + 8, 4);
    put_u32(&out, crc32c(0, block + 12, FS_BLOCK - 12));
}

/* Checks the common fields; *own reads the kind's fields, *directory points into the block. */
static inline enum format_verdict format_check(const uint8_t block[FS_BLOCK], const char magic[8],
                                               uint16_t reader_version, struct bytes_in *own,
                                               const uint8_t **directory)
{
    static const uint8_t zeros[FS_BLOCK];
    if (memcmp(block, zeros, FS_BLOCK) == 0)
        return FORMAT_EMPTY;
    struct bytes_in in = bytes_in_of(block, FS_BLOCK);
    if (memcmp(take_bytes(&in, 8), magic, 8) != 0)
        return FORMAT_FOREIGN;
    uint32_t crc = take_u32(&in);
    (void)take_u16(&in);
    uint16_t least_reader = take_u16(&in);
    if (crc != crc32c(0, block + 12, FS_BLOCK - 12))
        return FORMAT_DAMAGED;
    if (least_reader > reader_version)
        return FORMAT_NEWER;
    *directory = take_bytes(&in, 16);
    *own = in;
    return FORMAT_OK;
}
