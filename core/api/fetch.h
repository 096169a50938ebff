/* SPDX-License-Identifier: Apache-2.0
 *
 * Fetch (core/api/api_fetch.c): the upcalls of a request whose answer refers to ranges of logs. The
 * cookie of a reference is the address of the fetched partition in the request's own operation;
 * pins travel to the partition's home shard and back by mail, when it is another one.
 */
#pragma once

#include "net/conn.h"

bool fetch_resolve(struct conn_pin *pin);
void fetch_release(struct conn_pin *pin);
void fetch_hurry(struct request *q);  /* a parked fetch is answered with what there is */
void fetch_cancel(struct request *q); /* a parked fetch ends now, its connection is closing */
/* The broker stops: what waits is answered with what there is. */
struct broker_shard;
void fetch_drain(struct broker_shard *bs);
