/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of hosts: getaddrinfo() on a helper thread. All lookups of the process share one line, so
 * that name servers that do not answer hold up one helper and not all of them. A lookup has memory
 * of its own, so that whoever asked may end without an answer.
 */
#include "io/mem.h"
#include "io/real/ring.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

static struct work_queue lookups = {.jobs = TAILQ_HEAD_INITIALIZER(lookups.jobs)};

struct job {
    struct io_op op;
    struct io_lookup *lookup; /* not touched by the helper */
    char host[IO_LOOKUP_NAME_MAX + 1];
    struct io_address addresses[IO_LOOKUP_ADDRESSES];
    uint32_t count;
};
_Static_assert(offsetof(struct job, op) == 0, "work_forsake() frees what begins here");

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
    struct job *job = argument;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(job->host, NULL, &hints, &found) != 0)
        return;
    for (const struct addrinfo *info = found; info && job->count < IO_LOOKUP_ADDRESSES;
         info = info->ai_next)
        job->count += take(info, &job->addresses[job->count]);
    freeaddrinfo(found);
}

static void on_job(struct io_op *op)
{
    struct job *job = container_of(op, struct job, op);
    struct io_lookup *lookup = job->lookup;
    memcpy(lookup->addresses, job->addresses, sizeof(lookup->addresses));
    lookup->count = job->count;
    lookup->job = NULL;
    lookup->op.res = op->res;
    mem_free(job);
    lookup->op.done(&lookup->op);
}

void io_lookup(struct io *io, struct io_lookup *lookup)
{
    struct job *job = mem_zalloc(sizeof(*job));
    job->op.done = on_job;
    job->lookup = lookup;
    memcpy(job->host, lookup->host, sizeof(job->host));
    lookup->job = job;
    work_start(io, &job->op, &lookups, work, job);
}

void io_lookup_end(struct io *io, struct io_lookup *lookup)
{
    struct job *job = lookup->job;
    if (!job || !work_forsake(io, &job->op))
        return;
    lookup->job = NULL;
    lookup->count = 0;
    request_start(io, &lookup->op, REQUEST_WORK, -1);
    request_finish(io, &lookup->op, -ECANCELED);
}
