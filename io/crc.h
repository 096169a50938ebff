/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32C (Castagnoli), the checksum of Kafka's record batches and of every file Millrace writes.
 *
 * ISA-L computes long runs (33-57 GB/s here from 512 B to 256 KiB); below 256 bytes its set-up
 * costs more than the work, so an inline SSE4.2 loop does those (11 against 5 GB/s at 64 B). The
 * copying form alternates memcpy and CRC in 4 KiB steps: the second pass finds its bytes in the L1
 * cache, so the CRC adds 14 % to a copy from cold memory instead of doubling it.
 */
#pragma once

#include "io/span.h"

/* `crc` is the value so far, 0 to begin: crc32c(crc32c(0, a), b) == crc32c(0, ab). */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
uint32_t crc32c_span(uint32_t crc, struct span span);
uint32_t crc32c_copy(uint32_t crc, void *to, const void *from, size_t len);
/* Copies the whole span to `to`, which has room for span.len bytes. */
uint32_t crc32c_copy_span(uint32_t crc, void *to, struct span span);

/* The CRC of data in which the `len` bytes `was` became `now`, with `after` more bytes behind them,
 * from the CRC before. Reads nothing but the change: a CRC is linear, so
 * the difference of the two sums is the sum of the difference, moved by `after` zeros. Data that
 * was already damaged stays recognisably so, which a new sum over everything would hide. */
uint32_t crc32c_patch(uint32_t crc, const void *was, const void *now, size_t len, uint64_t after);
