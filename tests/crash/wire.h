/* SPDX-License-Identifier: Apache-2.0
 *
 * The few requests of Kafka's protocol that the crash tests need, spoken by hand: numbers into
 * bytes and back, and requests over a blocking connection. Old, fixed, non-flexible versions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum api {
    API_PRODUCE = 0,
    API_FETCH = 1,
    API_LIST_OFFSETS = 2,
    API_CREATE_TOPICS = 19,
    API_INIT_PRODUCER_ID = 22
};

/* Grows by itself; free(data) in the end. */
struct bytes {
    uint8_t *data;
    size_t len, room;
};

uint8_t *room_for(struct bytes *bytes, size_t len);
void put(struct bytes *to, const void *from, size_t len);
void put8(struct bytes *to, uint8_t value);
void put16(struct bytes *to, int16_t value);
void put32(struct bytes *to, int64_t value);
void put64(struct bytes *to, int64_t value);
void set32(struct bytes *to, size_t at, size_t value);
void put_string(struct bytes *to, const char *text);
void put_varint(struct bytes *to, int64_t value);

/* Reads what is there; `bad` once something was not. */
struct reader {
    const uint8_t *at, *end;
    bool bad;
};

/* Memory inside what is read; zeros, or NULL for a long one, where it ends too early. */
const uint8_t *take(struct reader *reader, size_t len);
int16_t take16(struct reader *reader);
int32_t take32(struct reader *reader);
int64_t take64(struct reader *reader);
int64_t take_varint(struct reader *reader);

/* Connections to this machine; -1 or false once one is of no use any more. */
int connect_to(uint16_t port);
void begin_request(struct bytes *out, enum api api, int16_t version, int32_t correlation_id);
bool send_request(int file, struct bytes *out);
bool receive_answer(int file, struct bytes *in, struct reader *reader, int32_t *correlation_id);
bool call(int file, struct bytes *out, struct bytes *in, struct reader *reader);
