/* SPDX-License-Identifier: Apache-2.0
 *
 * A session whose end nobody tells. A server that has seen less than a client refuses it: so does a
 * ZooKeeper that has come back without its data or with older data, for ever, and the library only
 * sees connections that are closed, as while there is no quorum. So when a session has been
 * suspended for longer than it lasts, a second one is opened beside it, of a client that has seen
 * nothing. Where that one is served for as long as a session lasts, and the first one still is not,
 * the first one is over; who opens the store again finds what is left there.
 */
#include "core/metadata/store_zookeeper_private.h"

#define MS_NS        1000000ULL
#define LOOKS_ENOUGH 2U /* one after another */

static void look_later(struct zoo *zoo)
{
    timer_set(zoo->sh, &zoo->doubt,
              io_now_ns(zoo->sh->io) + zoo->options.session_timeout_ms * MS_NS);
}

static bool is_in_doubt(const struct zoo *zoo)
{
    return zoo->state == ZOO_SUSPENDED && !zoo->closing;
}

/* On a thread of the library. */
static void on_probe_event(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    (void)zh;
    (void)path;
    struct zoo *zoo = context;
    if (type == ZOO_SESSION_EVENT)
        __atomic_store_n(&zoo->probe_is_served, state == ZOO_CONNECTED_STATE, __ATOMIC_RELAXED);
}

static void open_work(void *argument)
{
    struct zoo *zoo = argument;
    zoo->probe = zookeeper_init2(zoo->servers, on_probe_event, (int)zoo->options.session_timeout_ms,
                                 NULL, zoo, 0, zoo_on_line);
}

static void close_work(void *argument)
{
    struct zoo *zoo = argument;
    (void)zookeeper_close(zoo->probe);
    zoo->probe = NULL;
}

static void on_work_done(struct io_op *op)
{
    struct zoo *zoo = container_of(op, struct zoo, probe_work);
    zoo->probing = false;
    if (is_in_doubt(zoo))
        look_later(zoo);
    else
        zoo_doubt_end(zoo);
}

static void probe(struct zoo *zoo, void (*work)(void *argument))
{
    zoo->probing = true;
    zoo->probe_served_looks = 0;
    __atomic_store_n(&zoo->probe_is_served, false, __ATOMIC_RELAXED); /* closing tells nothing */
    zoo->probe_work.done = on_work_done;
    io_work(zoo->sh->io, &zoo->probe_work, work, zoo);
}

void zoo_on_doubt(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct zoo *zoo = container_of(timer, struct zoo, doubt);
    if (!zoo->probe) {
        probe(zoo, open_work);
        return;
    }
    if (!__atomic_load_n(&zoo->probe_is_served, __ATOMIC_RELAXED))
        zoo->probe_served_looks = 0;
    else if (++zoo->probe_served_looks == LOOKS_ENOUGH) {
        zoo_session_over(zoo);
        return;
    }
    look_later(zoo);
}

void zoo_doubt_begin(struct zoo *zoo)
{
    if (!zoo->probing)
        look_later(zoo);
}

void zoo_doubt_end(struct zoo *zoo)
{
    timer_cancel(zoo->sh, &zoo->doubt);
    if (zoo->probing)
        return; /* and then again */
    if (zoo->probe)
        probe(zoo, close_work);
    else
        shard_ready(zoo->sh, &zoo->tell);
}

bool zoo_doubt_rests(const struct zoo *zoo)
{
    return !zoo->probing && !zoo->probe;
}
