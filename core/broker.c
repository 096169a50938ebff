/* SPDX-License-Identifier: Apache-2.0
 *
 * How a broker starts and stops.
 *
 * Start: the log directories are taken and their logs brought back while nothing runs
 * (broker_open); each shard starts its part of them and says so; when all have, the control shard
 * starts the controller, whose first image makes every shard adopt the logs of its partitions; then
 * the listeners open. So a client never meets a broker that does not know its topics.
 *
 * Stop: leadership is handed over; no new connections; what was asked is answered; logs are stopped
 * (segments cut to their data, journals marked clean); the controller ends last, because topics may
 * still be on their way. A stop that is asked for before all shards have begun waits for that: what
 * has not begun cannot end.
 */
#include "core/broker.h"

#include "core/api/api.h"
#include "core/api/fetch.h"
#include "core/api/fetch_session.h"
#include "core/broker_address.h"
#include "core/cleaner.h"
#include "core/controller/controller.h"
#include "core/controller/controller_link.h"
#include "core/group/groups.h"
#include "core/handover.h"
#include "core/partition/partition_mend.h"
#include "core/partition/partition_offline.h"
#include "core/producer_ids.h"
#include "core/quota.h"
#include "core/record/batch_check.h"
#include "core/replica/replica_fetcher.h"
#include "core/retention.h"
#include "core/scrub.h"
#include "io/diag.h"
#include "io/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DISK_RESERVE_BYTES (64ULL << 20)
#define DECADES_MS         (1LL << 40)   /* longer than anything runs */
#define DRAIN_NS           5000000000ULL /* a reader that does not read is not waited for */

void broker_fail(struct broker *broker, const char *sentence)
{
    if (broker->failed)
        return;
    broker->failed = true;
    broker->options.on_failed(broker->options.user, sentence);
}

enum log_durability broker_durability(const struct broker *broker, enum log_durability mode)
{
    bool in_memory = false;
    for (uint32_t i = 0; i < broker->dirs->count; i++) {
        const struct log_dir *dir = broker->dirs->entries[i].dir;
        in_memory = in_memory || (dir && dir->probe.in_memory);
    }
    return in_memory && mode == LOG_DURABLE ? LOG_OS : mode;
}

static struct net_shard *net_of(struct shard *sh)
{
    return &broker_shard_of(sh)->net;
}

/* ---- start ---- */

struct broker *broker_open(const struct broker_options *options, struct shard_group *group,
                           struct log_error *error)
{
    const struct broker_conf *conf = &options->conf->broker;
    const char *zookeeper = conf->zookeeper_connect;
    struct log_dirs_options dirs_options = {
        .paths = conf->log_dirs,
        .replaced = conf->replaced_directory,
        .metadata_inside = !options->store_url && (!zookeeper || zookeeper[0] == 0),
        .each = {.fs = options->fs,
                 .may_format = true,
                 .node_id = conf->node_id,
                 .pid = options->pid,
                 .shards = options->shard_count,
                 .tail_bytes = options->plan.tail_bytes,
                 .cold_bytes = options->plan.cold_bytes,
                 .reserve_bytes = DISK_RESERVE_BYTES,
                 .open_files_max =
                     options->open_files_max ? options->open_files_max : PLAN_SEGMENTS_MAX,
                 .recycle_bytes = (uint64_t)conf->recycle_bytes,
                 .journal_bytes = options->journal_bytes,
                 .bypass_bytes = options->bypass_bytes,
                 .on_progress = options->on_progress,
                 .user = options->user},
    };
    memcpy(dirs_options.each.new_uuid, options->seed, sizeof(dirs_options.each.new_uuid));
    struct log_dirs *dirs = log_dirs_open(&dirs_options, error);
    if (!dirs)
        return NULL;
    struct broker *broker = mem_zalloc(sizeof(*broker));
    broker->options = *options;
    broker->conf = options->conf;
    broker->node_id = conf->node_id;
    broker->shard_count = options->shard_count;
    broker->group = group;
    broker->dirs = dirs;
    broker->metadata_inside = dirs_options.metadata_inside;
    broker->listeners = options->conf->listeners;
    broker->shards = mem_zalloc(options->shard_count * sizeof(*broker->shards));
    return broker;
}

static int listen_one(struct broker *broker, uint32_t index, bool v6)
{
    const struct broker_conf *conf = &broker->conf->broker;
    struct listener *listener = &broker->listeners.listener[index];
    const struct io_socket_options options = {
        .receive_buffer_bytes = (uint32_t)max_i64(conf->socket_receive_buffer_bytes, 0),
        .send_buffer_bytes = (uint32_t)max_i64(conf->socket_send_buffer_bytes, 0),
    };
    struct io_address address;
    broker_address_to_io(&listener->bind, v6, &address);
    uint32_t at = broker->listen.socket_count;
    int error = listen_add(&broker->listen, &address, index, &options);
    if (error == 0)
        listener_bound(listener, listen_port(&broker->listen, at));
    return error;
}

/* A wildcard is both families, as it is in Java, whichever it is written in; a machine without the
 * other one does with that. */
static int listen_on(struct broker *broker, uint32_t index)
{
    const struct address *bind = &broker->listeners.listener[index].bind;
    const bool v6 = bind->kind == ADDRESS_IPV6;
    int error = listen_one(broker, index, v6);
    if (error < 0 || !address_is_wildcard(bind))
        return error;
    int other = listen_one(broker, index, !v6);
    return other == -EADDRINUSE ? other : 0;
}

/* The default is 127.0.0.1 and ::1 under one name: either will do. */
static bool may_be_missing(const struct broker *broker, uint32_t index, int error)
{
    const struct listener *listener = &broker->listeners.listener[index];
    if (error != -EADDRNOTAVAIL && error != -EAFNOSUPPORT)
        return false;
    for (uint32_t i = 0; i < broker->listeners.count; i++)
        if (i != index && strcmp(broker->listeners.listener[i].name, listener->name) == 0)
            return true;
    return false;
}

static const char *next_step_of(int listen_error)
{
    if (listen_error == -EADDRINUSE)
        return "stop the process that holds the port (ss -ltnp shows it) or choose another with "
               "--listen";
    if (listen_error == -EADDRNOTAVAIL)
        return "choose an address of this machine (ip address shows them) with --listen";
    return "choose another address or port with --listen";
}

static bool listen_on_all(struct broker *broker)
{
    for (uint32_t i = 0; i < broker->listeners.count; i++) {
        int error = listen_on(broker, i);
        if (error == 0 || may_be_missing(broker, i, error))
            continue;
        char text[ADDRESS_TEXT_SIZE];
        char sentence[512];
        snprintf(sentence, sizeof(sentence), "cannot listen on %s: %s; %s",
                 address_print(&broker->listeners.listener[i].bind, text), strerror(-error),
                 next_step_of(error));
        broker_fail(broker, sentence);
        return false;
    }
    if (broker->listen.socket_count > 0)
        return true;
    broker_fail(broker, "none of the addresses in listeners is of this machine");
    return false;
}

static void on_controller_ready(void *user)
{
    struct broker *broker = user;
    if (broker->stopping)
        return;
    broker->ready = true;
    listen_start(&broker->listen);
    broker->options.on_ready(broker->options.user);
}

static void on_controller_failed(void *user, const char *sentence)
{
    broker_fail(user, sentence);
}

/* The path in ZooKeeper is /millrace when none is given: its root belongs to everybody. */
static char *store_url_of(const struct broker *broker)
{
    const char *servers = broker->conf->broker.zookeeper_connect;
    const char *given = broker->options.store_url;
    char url[1024];
    if (given)
        snprintf(url, sizeof(url), "%s", given);
    else if (servers && servers[0] != 0)
        snprintf(url, sizeof(url), "zookeeper:%s%s", servers,
                 strchr(servers, '/') ? "" : STORE_ZOOKEEPER_ROOT);
    else
        snprintf(url, sizeof(url), "file:%s/metadata", log_dirs_first(broker->dirs)->path);
    return mem_strdup(url);
}

static void control_begin(struct broker *broker)
{
    struct broker_shard *bs = &broker->shards[CONTROL_SHARD];
    /* Ports first: the controller tells the cluster where this broker is. */
    if (!listen_on_all(broker))
        return;
    broker->store_url = store_url_of(broker);
    const struct controller_options options = {
        .store_url = broker->store_url,
        .session_timeout_ms = (uint32_t)broker->conf->broker.zookeeper_session_timeout_ms,
        .connect_timeout_ms = (uint32_t)broker->conf->broker.zookeeper_connection_timeout_ms,
        .zookeeper = broker->options.zookeeper,
        .sim = broker->options.sim,
        .on_ready = on_controller_ready,
        .on_failed = on_controller_failed,
        .user = broker,
    };
    broker->controller = controller_start(bs, &options);
}

static void stop_begin(struct broker *broker);

static void on_begun(struct shard *here, struct mail *mail)
{
    struct broker *broker = broker_shard_of(here)->broker;
    (void)mail;
    if (++broker->begun < broker->shard_count)
        return;
    if (broker->stopping)
        stop_begin(broker);
    else
        control_begin(broker);
}

/* max.connections.per.ip.overrides, checked at start: "address:count,..." */
static bool per_ip_override(const struct io_address *peer, const void *user, uint32_t *limit)
{
    const char *list = user;
    struct address address;
    int32_t count;
    while (list && conf_ip_limit_next(&list, &address, &count)) {
        struct io_address one;
        broker_address_to_io(&address, address.kind == ADDRESS_IPV6, &one);
        if (memcmp(one.ip, peer->ip, sizeof(one.ip)) == 0) {
            *limit = (uint32_t)count;
            return true;
        }
    }
    return false;
}

static uint64_t delay_of_newcomer(const struct io_address *peer, void *user)
{
    return quota_connection_delay(user, peer);
}

static void listen_begin(struct broker_shard *bs)
{
    struct broker *broker = bs->broker;
    const struct broker_conf *conf = &broker->conf->broker;
    const uint32_t connections = (uint32_t)conf->max_connections;
    const uint32_t other = broker->options.connections_max;
    const struct listen_limits limits = {
        .connections_max = other ? (uint32_t)min_u64(connections, other) : connections,
        .per_ip_max = (uint32_t)conf->max_connections_per_ip,
        .per_ip_override = per_ip_override,
        .user = conf->max_connections_per_ip_overrides,
        .delay_ns = delay_of_newcomer,
        .delay_user = bs,
    };
    listen_init(&broker->listen, bs->sh, net_of, &limits);
}

/* connections.max.idle.ms: negative is never, which the connections call 0. */
static uint64_t idle_max_ns(int64_t idle_ms)
{
    return idle_ms < 0 ? 0 : (uint64_t)min_i64(max_i64(idle_ms, 1), DECADES_MS) * 1000000U;
}

void broker_shard_begin(struct broker *broker, struct shard *sh)
{
    const struct broker_conf *conf = &broker->conf->broker;
    struct broker_shard *bs = &broker->shards[sh->id];
    bs->broker = broker;
    bs->sh = sh;
    sh->user = bs;
    broker_logs_start(bs);
    const struct net_limits limits = {
        .frame_bytes_max = (uint32_t)conf->socket_request_max_bytes,
        .unfinished_bytes_max = broker->options.plan.unfinished_bytes,
        .idle_max_ns = idle_max_ns(conf->connections_max_idle_ms),
        .held_bytes_max = broker->options.plan.heap_bytes / broker->shard_count / 2,
        .working_bytes_max = plan_working_bytes(&broker->options.plan),
        .request_bytes_max = plan_request_bytes(&broker->options.plan),
    };
    net_shard_init(&bs->net, sh, &limits, &api_service);
    bs->check = mem_alloc(sizeof(*bs->check));
    inflater_init(&bs->inflater);
    deflater_init(&bs->deflater);
    TAILQ_INIT(&bs->recode_line);
    TAILQ_INIT(&bs->offset_scans.line);
    helper_line_init(&bs->helper_line, sh);
    bs->sessions = fetch_sessions_new(bs);
    bs->producer_ids = producer_ids_new(bs);
    bs->groups = groups_new(bs);
    bs->quotas = quotas_new(bs);
    bs->fetchers = replica_fetchers_new(bs);
    bs->mender = mender_new(bs);
    bs->offline = partition_offline_new(bs);
    bs->lookups = broker_lookups_new(bs);
    partitions_watch_lag(bs);
    bs->retention = retention_start(bs);
    bs->cleaner = cleaner_start(bs);
    bs->scrub = scrub_start(bs);
    if (sh->id == CONTROL_SHARD) {
        broker->began_ns = io_now_ns(sh->io);
        broker->link = controller_link_new(bs);
        listen_begin(bs);
    }
    shard_post(sh, CONTROL_SHARD, &bs->mail, on_begun);
}

/* ---- stop: the connections of all shards, then their logs, then the control shard ---- */

static void on_controller_stopped(void *user)
{
    struct broker *broker = user;
    broker->controller = NULL;
    broker->options.on_stopped(broker->options.user);
}

static void on_link_stopped(void *user)
{
    struct broker *broker = user;
    if (broker->controller)
        controller_stop(broker->controller, on_controller_stopped, broker);
    else
        on_controller_stopped(broker);
}

static void on_shard_stopped(struct shard *here, struct mail *mail)
{
    (void)mail;
    struct broker *broker = broker_shard_of(here)->broker;
    if (++broker->stopped < broker->shard_count)
        return;
    controller_link_stop(broker->link, on_link_stopped, broker);
}

static void on_logs_stopped(void *user)
{
    struct broker_shard *bs = user;
    shard_post(bs->sh, CONTROL_SHARD, &bs->mail, on_shard_stopped);
}

static void on_partitions_stopped(void *user)
{
    struct broker_shard *bs = user;
    broker_logs_stop(bs, on_logs_stopped, bs);
}

static void on_scrub_stopped(void *user)
{
    struct broker_shard *bs = user;
    partitions_stop(bs, on_partitions_stopped, bs);
}

static void on_cleaner_stopped(void *user)
{
    struct broker_shard *bs = user;
    scrub_stop(bs->scrub, on_scrub_stopped, bs);
}

static void on_retention_stopped(void *user)
{
    struct broker_shard *bs = user;
    cleaner_stop(bs->cleaner, on_cleaner_stopped, bs);
}

static void on_groups_stopped(void *user)
{
    struct broker_shard *bs = user;
    retention_stop(bs->retention, on_retention_stopped, bs);
}

static void on_lookups_stopped(void *user)
{
    struct broker_shard *bs = user;
    broker_logs_hurry(bs);
    groups_stop(bs->groups, on_groups_stopped, bs);
}

static void on_fetchers_stopped(void *user)
{
    struct broker_shard *bs = user;
    broker_lookups_stop(bs->lookups, on_lookups_stopped, bs);
}

static void on_mender_stopped(void *user)
{
    struct broker_shard *bs = user;
    replica_fetchers_stop(bs->fetchers, on_fetchers_stopped, bs);
}

static void on_all_drained(struct shard *here, struct mail *mail)
{
    (void)mail;
    struct broker_shard *bs = broker_shard_of(here);
    timer_cancel(here, &bs->drain);
    partitions_end_roles(bs);
    mender_stop(bs->mender, on_mender_stopped, bs);
}

/* The logs of a shard serve until no shard has a connection left: what those still have to answer
 * may need any of them. */
static void on_drained(struct shard *here, struct mail *mail)
{
    (void)mail;
    struct broker *broker = broker_shard_of(here)->broker;
    if (++broker->drained < broker->shard_count)
        return;
    for (uint16_t i = 0; i < broker->shard_count; i++)
        shard_post(here, i, &broker->shards[i].mail, on_all_drained);
}

static void on_drain_over(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct broker_shard *bs = container_of(timer, struct broker_shard, drain);
    net_shard_close_all(&bs->net, CLOSE_SHUTDOWN);
    partitions_abandon_appends(bs); /* others may wait for them, on other shards */
}

static void on_net_empty(void *user)
{
    struct broker_shard *bs = user;
    shard_post(bs->sh, CONTROL_SHARD, &bs->mail, on_drained);
}

static void on_stop(struct shard *here, struct mail *mail)
{
    (void)mail;
    struct broker_shard *bs = broker_shard_of(here);
    bs->drain = (struct timer){.fn = on_drain_over, .name = "broker.drain"};
    timer_set(here, &bs->drain, io_now_ns(here->io) + DRAIN_NS);
    /* Parked fetches are answered by the drain: nothing new will come for them. */
    net_shard_drain(&bs->net, on_net_empty, bs);
    fetch_drain(bs);
    groups_drain(bs->groups);
}

static void on_listen_stopped(void *user)
{
    struct broker *broker = user;
    struct shard *sh = broker->shards[CONTROL_SHARD].sh;
    for (uint16_t i = 0; i < broker->shard_count; i++)
        shard_post(sh, i, &broker->shards[i].mail, on_stop);
}

static void on_handed_over(struct broker *broker)
{
    if (broker->controller)
        controller_drain(broker->controller);
    listen_stop(&broker->listen, on_listen_stopped, broker);
}

static void stop_begin(struct broker *broker)
{
    handover_begin(broker, on_handed_over);
}

void broker_stop(struct broker *broker)
{
    must(shard_here() == broker->shards[CONTROL_SHARD].sh);
    if (broker->stopping)
        return;
    broker->stopping = true;
    if (broker->begun == broker->shard_count)
        stop_begin(broker);
}

void broker_close(struct broker *broker)
{
    for (uint16_t i = 0; i < broker->shard_count; i++) {
        struct broker_shard *bs = &broker->shards[i];
        fetch_sessions_free(bs->sessions);
        groups_free(bs->groups);
        quotas_free(bs->quotas);
        inflater_fini(&bs->inflater);
        deflater_fini(&bs->deflater);
        mem_free(bs->check);
        producer_ids_free(bs->producer_ids);
        replica_fetchers_free(bs->fetchers);
        mender_free(bs->mender);
        partition_offline_free(bs->offline);
        broker_lookups_free(bs->lookups);
        retention_free(bs->retention);
        cleaner_free(bs->cleaner);
        scrub_free(bs->scrub);
        partition_table_fini(&bs->partitions);
        broker_logs_free(bs);
        net_shard_fini(&bs->net);
    }
    controller_link_free(broker->link);
    handover_free(broker->handover);
    listen_fini(&broker->listen);
    log_dirs_close(broker->dirs);
    mem_free(broker->shards);
    mem_free(broker->store_url);
    mem_free(broker);
}
