/* SPDX-License-Identifier: Apache-2.0
 *
 * What core/record/codec.c and core/record/deflate.c know of the libraries of the codecs and nobody
 * else.
 *
 * The libraries' allocator hooks are in the parts of their headers that such macros open; the
 * shared libraries export them.
 */
#pragma once

#define LZ4F_STATIC_LINKING_ONLY
#define ZLIB_CONST
#define ZSTD_STATIC_LINKING_ONLY
#include "core/record/codec.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

/* A context or buffer above this is not kept for the next stream. Java's zstd has windows of 2 MiB.
 */
#define KEEP_SIZE_MAX      ((size_t)4 << 20)
#define XERIAL_HEADER_SIZE 16U
#define XERIAL_BLOCK_SIZE  32768U
#define XERIAL_MAGIC       "\x82SNAPPY"
#define XERIAL_MAGIC_SIZE  8U
#define GZIP_WINDOW_BITS   (15 + 16)

extern const LZ4F_CustomMem codec_lz4_memory;
extern const ZSTD_customMem codec_zstd_memory;

/* To be initialised for one direction, and freed by mem_free() after its end. */
z_stream *codec_gzip_new(void);

static inline void codec_put_be32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}
