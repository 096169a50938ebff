/* SPDX-License-Identifier: Apache-2.0
 *
 * Where brokers are reached, and how they are asked: the listener by which they talk among
 * themselves, addresses as the door wants them, and the client's side of a connection.
 */
#pragma once

#include "core/broker.h"
#include "net/client.h"

/* inter.broker.listener.name, or the first listener. */
const char *broker_listener_of_brokers(const struct broker *broker);
/* Where another broker is reached by this one; false: nobody knows, or not yet: its name is being
 * looked up. */
bool broker_address(const struct broker_shard *bs, int32_t id, struct io_address *address);
/* A wildcard, or an address (no name). */
void broker_address_to_io(const struct address *from, bool v6, struct io_address *to);

/* What one connection from broker to broker is about. */
struct broker_client {
    const char *name; /* a constant; the other one's client id */
    uint32_t answer_bytes_max;
    client_fn *on_ready;
    client_fn *on_lost;
    void *user;
};
void broker_client_init(struct client *c, struct shard *sh, const struct broker_client *about);

/* What a shard keeps of the names of brokers. */
struct broker_lookups *broker_lookups_new(struct broker_shard *bs);
/* No name is looked up any more, and no name server waited for; then done(user), which may be
 * inside the call. */
void broker_lookups_stop(struct broker_lookups *lookups, void (*done)(void *user), void *user);
void broker_lookups_free(struct broker_lookups *lookups);
