/* SPDX-License-Identifier: Apache-2.0
 *
 * Names are looked up off the shard and kept for a while; when a lookup fails, what an earlier one
 * found is used on. Whoever asks while nothing is known asks again, as after a lost connection.
 */
#include "core/broker_address.h"

#include "io/diag.h"
#include "io/mem.h"

#include <assert.h>
#include <string.h>

#define KEPT_NS 30000000000ULL /* as long as Java keeps a name */
/* After a lookup that found nothing, then twice that, and so on: a broker that stops has 3 s to
 * find the controller, and a name server that is down is asked once a second by each who needs a
 * name. */
#define AGAIN_NS           50000000ULL
#define AGAIN_NS_MAX       1000000000ULL
#define CONNECT_TIMEOUT_NS 3000000000ULL

/* What a broker's host was looked up as. */
struct broker_lookup {
    SLIST_ENTRY(broker_lookup) link;
    struct broker_lookups *all;
    int32_t id;
    struct io_lookup lookup;
    bool busy;
    uint64_t next_ns; /* not to be looked up before */
    uint64_t again_ns;
    char host[ADDRESS_HOST_LEN_MAX + 1];
    struct io_address addresses[IO_LOOKUP_ADDRESSES];
    uint32_t count;
    uint32_t turn; /* who asks again gets the next one: the last did not answer */
};

struct broker_lookups {
    struct broker_shard *bs;
    SLIST_HEAD(, broker_lookup) lookups;
    uint32_t busy;
    bool stopping;
    void (*stopped)(void *user);
    void *user;
};

const char *broker_listener_of_brokers(const struct broker *broker)
{
    const char *name = broker->conf->broker.inter_broker_listener_name;
    const struct listener *found = name ? listener_find(&broker->listeners, name) : NULL;
    return found ? found->name : broker->listeners.listener[0].name;
}

void broker_address_to_io(const struct address *from, bool v6, struct io_address *to)
{
    memset(to, 0, sizeof(*to));
    to->port = from->port;
    to->v6 = v6;
    if (!v6) {
        to->ip[10] = 0xff;
        to->ip[11] = 0xff;
    }
    if (address_is_wildcard(from))
        return;
    if (v6)
        memcpy(to->ip, from->ip, 16);
    else
        memcpy(&to->ip[12], from->ip, 4);
}

/* ---- names ---- */

static void maybe_stopped(struct broker_lookups *all)
{
    if (!all->stopped || all->busy > 0)
        return;
    void (*stopped)(void *) = all->stopped;
    all->stopped = NULL;
    stopped(all->user);
}

static void on_found(struct io_op *op)
{
    struct broker_lookup *lookup = container_of(op, struct broker_lookup, lookup.op);
    struct broker_lookups *all = lookup->all;
    struct shard *sh = all->bs->sh;
    bool found = lookup->lookup.count > 0;
    lookup->busy = false;
    all->busy--;
    lookup->again_ns = found ? 0 : min_u64(max_u64(AGAIN_NS, 2 * lookup->again_ns), AGAIN_NS_MAX);
    lookup->next_ns = io_now_ns(sh->io) + (found ? KEPT_NS : lookup->again_ns);
    if (found && strcmp(lookup->host, lookup->lookup.host) == 0) {
        memcpy(lookup->addresses, lookup->lookup.addresses, sizeof(lookup->addresses));
        lookup->count = lookup->lookup.count;
        lookup->turn = 0;
    } else if (!found && !all->stopping) {
        diag_warn(sh, "broker.name_not_resolved", "broker=%d host=%s next_step=%s", lookup->id,
                  lookup->lookup.host, lookup->count > 0 ? "the_last_answer_is_used" : "try_again");
    }
    maybe_stopped(all);
}

static struct broker_lookup *lookup_of(struct broker_lookups *all, int32_t id)
{
    struct broker_lookup *lookup;
    SLIST_FOREACH (lookup, &all->lookups, link)
        if (lookup->id == id)
            return lookup;
    lookup = mem_zalloc(sizeof(*lookup));
    lookup->all = all;
    lookup->id = id;
    SLIST_INSERT_HEAD(&all->lookups, lookup, link);
    return lookup;
}

static void look_up(struct broker_lookup *lookup)
{
    struct broker_lookups *all = lookup->all;
    if (lookup->busy || all->stopping || io_now_ns(all->bs->sh->io) < lookup->next_ns)
        return;
    memcpy(lookup->lookup.host, lookup->host, sizeof(lookup->host));
    lookup->lookup.op.done = on_found;
    lookup->busy = true;
    all->busy++;
    io_lookup(all->bs->sh->io, &lookup->lookup);
}

static bool name_address(struct broker_lookups *all, int32_t id, const struct address *name,
                         struct io_address *to)
{
    struct broker_lookup *lookup = lookup_of(all, id);
    if (strcmp(lookup->host, name->host) != 0) {
        memcpy(lookup->host, name->host, sizeof(lookup->host));
        lookup->count = 0;
        lookup->next_ns = 0;
        lookup->again_ns = 0;
    }
    look_up(lookup);
    if (lookup->count == 0)
        return false;
    *to = lookup->addresses[lookup->turn++ % lookup->count];
    to->port = name->port;
    return true;
}

bool broker_address(const struct broker_shard *bs, int32_t id, struct io_address *to)
{
    const struct broker_image *other = image_broker(bs->image, id);
    const struct broker_endpoint_image *endpoint =
        other ? image_endpoint(other, broker_listener_of_brokers(bs->broker)) : NULL;
    struct address address;
    const char *problem;
    if (!endpoint ||
        !address_parse(&address, endpoint->host, strlen(endpoint->host), endpoint->port, &problem))
        return false;
    if (address.kind == ADDRESS_NAME)
        return name_address(bs->lookups, id, &address, to);
    broker_address_to_io(&address, address.kind == ADDRESS_IPV6, to);
    return true;
}

void broker_client_init(struct client *c, struct shard *sh, const struct broker_client *about)
{
    const struct client_options options = {.client_id = str_of(about->name),
                                           .software_name = str_of("millrace"),
                                           .software_version = str_of("1"),
                                           .answer_bytes_max = about->answer_bytes_max,
                                           .connect_timeout_ns = CONNECT_TIMEOUT_NS,
                                           .on_ready = about->on_ready,
                                           .on_lost = about->on_lost};
    client_init(c, sh, &options);
    c->user = about->user;
}

/* ---- life ---- */

struct broker_lookups *broker_lookups_new(struct broker_shard *bs)
{
    static_assert(ADDRESS_HOST_LEN_MAX == IO_LOOKUP_NAME_MAX, "a host is copied whole");
    struct broker_lookups *all = mem_zalloc(sizeof(*all));
    all->bs = bs;
    SLIST_INIT(&all->lookups);
    return all;
}

void broker_lookups_stop(struct broker_lookups *all, void (*done)(void *user), void *user)
{
    struct broker_lookup *lookup;
    all->stopping = true;
    all->stopped = done;
    all->user = user;
    SLIST_FOREACH (lookup, &all->lookups, link)
        if (lookup->busy)
            io_lookup_end(all->bs->sh->io, &lookup->lookup);
    maybe_stopped(all);
}

void broker_lookups_free(struct broker_lookups *all)
{
    struct broker_lookup *lookup;
    while ((lookup = SLIST_FIRST(&all->lookups))) {
        SLIST_REMOVE_HEAD(&all->lookups, link);
        mem_free(lookup);
    }
    mem_free(all);
}
