/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of hosts: getaddrinfo() on a helper thread. All lookups of the process share one line, so
 * that name servers that do not answer hold up one helper and not all of them.
 */
#include "io/real/ring.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

static struct work_queue lookups = {.jobs = TAILQ_HEAD_INITIALIZER(lookups.jobs)};

static bool take(const struct addrinfo *info, struct io_address *to)
{
    *to = (struct io_address){.v6 = info->ai_family == AF_INET6};
    if (info->ai_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, info->ai_addr, sizeof(in6));
        memcpy(to->ip, &in6.sin6_addr, 16);
    } else if (info->ai_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, info->ai_addr, sizeof(in));
        to->ip[10] = 0xff;
        to->ip[11] = 0xff;
        memcpy(&to->ip[12], &in.sin_addr, 4);
    } else {
        return false;
    }
    return true;
}

static void work(void *argument)
{
    struct io_lookup *lookup = argument;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    lookup->count = 0;
    if (getaddrinfo(lookup->host, NULL, &hints, &found) != 0)
        return;
    for (const struct addrinfo *info = found; info && lookup->count < IO_LOOKUP_ADDRESSES;
         info = info->ai_next)
        lookup->count += take(info, &lookup->addresses[lookup->count]);
    freeaddrinfo(found);
}

void io_lookup(struct io *io, struct io_lookup *lookup)
{
    work_start(io, &lookup->op, &lookups, work, lookup);
}
