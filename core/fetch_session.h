/* SPDX-License-Identifier: Apache-2.0
 *
 * Incremental fetch sessions (KIP-227): what a client asked for before, so that it need not ask for
 * unchanged partitions again. One cache per shard, bounded by its share of
 * max.incremental.fetch.session.cache.slots; the home shard is encoded in the session id, and a
 * session is used only by connections of that shard (a client that reconnects elsewhere starts a
 * new one).
 */
#pragma once

#include "core/broker.h"

struct fetch_sessions;

struct fetch_sessions *fetch_sessions_new(struct broker_shard *bs);
/* The broker stops: parked fetches are answered with what there is. */
void fetch_sessions_drain(struct fetch_sessions *sessions);
void fetch_sessions_free(struct fetch_sessions *sessions);
