/* SPDX-License-Identifier: Apache-2.0
 *
 * All of the broker that the micro-benchmarks (the C++ files of bench/) see: plain functions over
 * opaque structs, implemented in bench/shim*.c. What is measured is the shipped code; what is
 * prepared for it is prepared in open(), outside the measurement. Everything that fails here ends
 * the program.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- codec (shim_codec.c): the newest served version of every served key ---- */

struct shim_codec;
unsigned shim_codec_count(void);
const char *shim_codec_name(unsigned index); /* "Produce.v13" */
/* Every array has `elements` elements, every text 16 bytes, every run of records 1 KiB. */
struct shim_codec *shim_codec_open(unsigned index, int32_t elements);
size_t shim_codec_decode_request(struct shim_codec *codec);  /* its bytes */
size_t shim_codec_encode_response(struct shim_codec *codec); /* its bytes */
void shim_codec_close(struct shim_codec *codec);

/* ---- checksums and batches (shim_batch.c) ---- */

uint32_t shim_crc(const void *data, size_t len);
uint32_t shim_crc_copy(void *to, const void *from, size_t len);

struct shim_batch;
unsigned shim_codecs(void);
const char *shim_codec_of(unsigned codec);
/* A batch of 1 KiB records (half of each is noise), about `plain_bytes` before compression. */
struct shim_batch *shim_batch_open(unsigned codec, uint32_t plain_bytes);
size_t shim_batch_bytes(const struct shim_batch *batch); /* as it is sent */
void shim_batch_check(struct shim_batch *batch);
void shim_batch_close(struct shim_batch *batch);

/* ---- the append path (shim_log.c), on a disk that takes everything at once ---- */

struct shim_log_counts {
    uint64_t appends, appended_bytes, copied_bytes, groups, group_bytes;
};
struct shim_log;
struct shim_log *shim_log_open(uint32_t partitions, uint32_t batch_bytes);
/* One batch for each partition in one turn, and turns until all are acknowledged. */
void shim_log_append(struct shim_log *log);
struct shim_log_counts shim_log_counts(struct shim_log *log);
void shim_log_close(struct shim_log *log);

/* ---- shards (shim_shard.c) ---- */

struct shim_ring;
struct shim_ring *shim_ring_open(void);
void shim_ring_pass(struct shim_ring *ring, uint32_t words); /* put and taken; at most 512 */
void shim_ring_close(struct shim_ring *ring);

/* Two shards on two threads; spin_ns as in io/io.h. */
struct shim_mail;
struct shim_mail *shim_mail_open(uint64_t spin_ns);
/* So many mails there and back, all posted in one turn. */
void shim_mail_round_trip(struct shim_mail *mail, uint32_t count);
void shim_mail_close(struct shim_mail *mail);

/* A shard with `count` timers set at random times far away. */
struct shim_timers;
struct shim_timers *shim_timers_open(uint32_t count);
void shim_timers_set_and_cancel(struct shim_timers *timers); /* one more, and gone again */
void shim_timers_move(struct shim_timers *timers);           /* one of them, to another time */
void shim_timers_expire(struct shim_timers *timers);         /* all are due; then set anew */
void shim_timers_close(struct shim_timers *timers);

#ifdef __cplusplus
}
#endif
