/* SPDX-License-Identifier: Apache-2.0
 *
 * What stands before every request and response: the length of the frame, and a header whose form
 * depends on key and version of what follows (KIP-482, KIP-511). Two exceptions are Kafka's:
 * ApiVersions answers always with the oldest response header, because the asker does not know yet
 * what the broker speaks; ControlledShutdown version 0 has no client id.
 */
#pragma once

#include "net/kafka.h"

/* The version of struct request_header for a key and version, known or not: an unknown key counts
 * as not flexible. */
int16_t header_request_version(int16_t key, int16_t version);
int16_t header_response_version(int16_t key, int16_t version);

/* Reads the header of any request, and leaves `r` at the body; the key decides its form. False when
 * the bytes are bad. Whether key and version are served is the caller's question. */
bool header_read_request(struct rd *r, struct arena *arena,
                         struct request_header *header) warn_unused;

/* Begins a frame and writes the header; the message and wr_frame_end() follow. */
void header_begin_response(struct wr *w, int16_t key, int16_t version, int32_t correlation_id);
void header_begin_request(struct wr *w, int16_t key, int16_t version, int32_t correlation_id,
                          struct str client_id);

/* Reads the header of the answer to a request of this key and version. */
bool header_read_response(struct rd *r, struct arena *arena, int16_t key, int16_t version,
                          int32_t *correlation_id) warn_unused;
