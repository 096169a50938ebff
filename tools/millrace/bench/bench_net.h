/* SPDX-License-Identifier: Apache-2.0
 *
 * The two ends of `millrace bench net`. They talk as a broker and its clients do: net/conn and
 * net/client with Kafka's framing, and no more of Kafka than that. What is served:
 *
 *   ApiVersions   names the feature NET_FEATURE with the version of what follows; so whoever
 *                 measures knows whom he has before he sends what a broker would not understand
 *   Produce       any bytes: they are dropped, and NET_ANSWER_BYTES come back
 *   Fetch         an int32: so many bytes come back
 */
#pragma once

#include "net/address.h"
#include "tools/millrace/command.h"

#define NET_FEATURE           "millrace.bench.net"
#define NET_VERSION           1
#define NET_PRODUCE_VERSION   9 /* of the headers; the bodies are our own */
#define NET_FETCH_VERSION     12
#define NET_ANSWER_BYTES      64U
#define NET_MESSAGE_BYTES_MAX (1U << 20)
#define NET_CONNECTIONS_MAX   16U /* of a server; more wait to be accepted */

/* Serves on that address until SIGINT or SIGTERM; the exit code. port_file: the port that it got is
 * written there (a uint16_t) when it listens; it says nothing then and leaves SIGINT to its parent.
 * -1: both are for people. */
int bench_net_serve(struct invocation *inv, const struct address *address, int port_file);
