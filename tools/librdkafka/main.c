/* SPDX-License-Identifier: Apache-2.0
 *
 * A run by librdkafka, from its plan to its report (load.h).
 */
#include "io/mem.h"
#include "tools/librdkafka/load.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#define PLAN_BYTES_MAX (64U << 20) /* 100,000 lanes with their names */
#define PATIENCE_NS    (120 * NS_PER_S)
#define TURN_NS_MAX    (100 * NS_PER_MS)
#define LANES_MAX      1000000U

/* ---- the generator itself ---- */

/* What the busiest thread of this process has used: the library's may be the limit, too. */
static uint64_t busiest_thread_ns(void)
{
    uint64_t most_ns = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *at; tasks && (at = readdir(tasks));) {
        char path[sizeof(at->d_name) + 32];
        char text[96] = "";
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", at->d_name);
        FILE *file = fopen(path, "re");
        if (file && fgets(text, sizeof(text), file))
            most_ns = max_u64(most_ns, strtoull(text, NULL, 10));
        if (file)
            (void)fclose(file);
    }
    if (tasks)
        (void)closedir(tasks);
    return most_ns;
}

static void on_second(struct measure *m, void *user)
{
    struct load *l = user;
    const uint64_t busiest_ns = busiest_thread_ns();
    const uint64_t used_ns = busiest_ns - min_u64(l->busiest_ns, busiest_ns);
    const double share = (double)used_ns / (double)NS_PER_S / m->now.seconds;
    if (share > m->now.own_cpu)
        m->now.own_cpu = share;
    l->busiest_ns = busiest_ns;
    share_second(m, &l->line);
    l->alone |= !message_send_text(l->file, l->line.data, l->line.len);
}

/* ---- the run ---- */

/* Sleeps until the library has something, at most until then. Who asked says nothing while a load
 * runs: what comes from there is its end. */
static void turn(struct load *l, uint64_t until_ns)
{
    const uint64_t now_ns = message_clock_ns();
    uint64_t count;
    struct pollfd files[] = {{.fd = l->events, .events = POLLIN},
                             {.fd = l->file, .events = POLLIN}};
    (void)measure_tick(&l->measure, now_ns, (uint64_t)l->outstanding);
    until_ns = min_u64(until_ns, measure_second_end_ns(&l->measure));
    until_ns = min_u64(until_ns, now_ns + TURN_NS_MAX);
    const uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    const struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S),
                                  .tv_nsec = (long)(wait_ns % NS_PER_S)};
    if (ppoll(files, array_count(files), &wait, NULL) > 0 && files[0].revents != 0)
        (void)!read(l->events, &count, sizeof(count));
    l->alone |= files[1].revents != 0;
    clients_serve(l);
}

static bool reads_only(const struct load *l)
{
    return strcmp(l->o.kind, "consume") == 0;
}

static bool has_ended(const struct load *l, uint64_t now_ns)
{
    if (now_ns >= l->until_ns || l->alone)
        return true;
    if (reads_only(l))
        return !l->o.follow && !lanes_pending(l);
    return (all_handed(l) && l->outstanding == 0) ||
           (l->o.bytes_max > 0 && l->measure.bytes >= (uint64_t)l->o.bytes_max);
}

static void run(struct load *l)
{
    const uint64_t warm_ns = l->epoch_ns + l->o.warm_ns;
    l->until_ns = l->o.duration_ns > 0 ? warm_ns + l->o.duration_ns : UINT64_MAX;
    l->next.due_ns = l->epoch_ns; /* the first is due at once */
    uint64_t now_ns = message_clock_ns();
    for (; !has_ended(l, now_ns); now_ns = message_clock_ns()) {
        if (l->measure.began_ns == 0 && now_ns >= warm_ns) {
            l->busiest_ns = busiest_thread_ns();
            measure_begin(&l->measure, warm_ns);
        }
        uint64_t then_ns = reads_only(l) ? UINT64_MAX : pump(l, now_ns);
        turn(l, min_u64(then_ns, l->measure.began_ns == 0 ? warm_ns : l->until_ns));
    }
    l->until_ns = min_u64(l->until_ns, now_ns);
    measure_end(&l->measure, l->until_ns);
    (void)measure_tick(&l->measure, message_clock_ns(), (uint64_t)l->outstanding);
}

static bool is_pending(const struct load *l)
{
    const bool backlog = l->o.rate > 0 && l->next.due_ns < l->until_ns && !all_handed(l);
    return l->outstanding > 0 || backlog;
}

static void drain(struct load *l, bool (*pending)(const struct load *l))
{
    const uint64_t limit_ns = message_clock_ns() + l->o.drain_ns;
    while (pending(l) && !l->alone && message_clock_ns() < limit_ns) {
        uint64_t then_ns = l->o.rate > 0 ? pump(l, message_clock_ns()) : UINT64_MAX;
        turn(l, min_u64(then_ns, limit_ns));
    }
}

static bool load(struct load *l)
{
    if (reads_only(l) && !consumers_begin(l))
        return false;
    run(l);
    if (reads_only(l))
        return true;
    drain(l, is_pending);
    backlog_fail(l);
    if (!l->o.stamped)
        return true;
    if (!lanes_extend(l))
        return false;
    drain(l, lanes_pending);
    return true;
}

/* ---- the plan ---- */

static bool lanes_read(struct load *l, const json_t *lanes)
{
    size_t at;
    const json_t *item;
    if (json_array_size(lanes) == 0 || json_array_size(lanes) > LANES_MAX)
        return false;
    l->lanes = mem_zalloc(json_array_size(lanes) * sizeof(*l->lanes));
    json_array_foreach(lanes, at, item)
    {
        struct load_lane *lane = &l->lanes[l->lane_count++];
        lane->topic = json_string_value(json_array_get(item, 0));
        lane->partition = (int32_t)json_integer_value(json_array_get(item, 1));
        lane->start = json_integer_value(json_array_get(item, 2));
        lane->end = json_integer_value(json_array_get(item, 3));
        if (!lane->topic)
            return false;
    }
    return true;
}

static bool plan_take(struct load *l)
{
    const json_t *plan = l->plan;
    l->servers = json_string_value(json_object_get(plan, "servers"));
    l->client_id = json_string_value(json_object_get(plan, "client_id"));
    l->level = json_integer_value(json_object_get(plan, "level"));
    return message_is(plan, "plan") && l->servers && l->client_id && options_take(plan, &l->o) &&
           message_u64(plan, "timeout_ms", INT32_MAX, &l->timeout_ms) &&
           message_u64(plan, "min_bytes", INT32_MAX, &l->min_bytes) &&
           message_u64(plan, "run_id", INT64_MAX, &l->run_id) &&
           lanes_read(l, json_object_get(plan, "lanes"));
}

static bool open_all(struct load *l)
{
    const struct bench_options *o = &l->o;
    measure_init(&l->measure, o->stamped);
    l->measure.on_second = on_second;
    l->measure.user = l;
    if (reads_only(l))
        return consumers_open(l);
    values_init(&l->values, o, l->lane_count / (uint32_t)o->topics);
    checks_init(&l->checks, l->lane_count);
    const char *wrong = o->rate > 0 ? schedule_init(&l->schedule, o->arrival, o->rate, o->warm_ns,
                                                    o->duration_ns, (uint64_t)o->seed)
                                    : NULL;
    (void)snprintf(l->why, sizeof(l->why), "%s", wrong ? wrong : "");
    return !wrong && producers_open(l) &&
           (!o->stamped || (consumers_open(l) && consumers_begin(l)));
}

/* ---- talking ---- */

static bool wait_for_begin(struct load *l, struct message_reader *reader)
{
    json_t *message = NULL;
    bool good = message_send(l->file, json_pack("{s:s, s:s}", "type", "ready", "version",
                                                rd_kafka_version_str())) &&
                message_wait(reader, message_clock_ns() + PATIENCE_NS, &message) == MESSAGE_TAKEN &&
                message_is(message, "go") && message_u64(message, "at_ns", INT64_MAX, &l->epoch_ns);
    json_decref(message);
    while (good && !l->alone && message_clock_ns() < l->epoch_ns)
        turn(l, l->epoch_ns);
    return good;
}

static bool tell_checks(const struct load *l)
{
    json_t *lanes = json_array();
    for (uint32_t i = 0; i < l->lane_count; i++) {
        const struct checks_sum sum = checks_sum_of(&l->checks, i);
        (void)json_array_append_new(
            lanes, json_pack("[I, I, I, I, I, I, I, I]", (json_int_t)l->lanes[i].sequence,
                             (json_int_t)sum.acked, (json_int_t)sum.seen, (json_int_t)sum.lost,
                             (json_int_t)sum.duplicates, (json_int_t)sum.reordered,
                             (json_int_t)sum.gaps, (json_int_t)sum.surplus));
    }
    return message_send(l->file, json_pack("{s:s, s:I, s:o}", "type", "checks", "foreign",
                                           (json_int_t)l->foreign, "lanes", lanes));
}

static int work(struct load *l, struct message_reader *reader)
{
    if (message_wait(reader, message_clock_ns() + PATIENCE_NS, &l->plan) != MESSAGE_TAKEN ||
        !plan_take(l)) {
        (void)snprintf(l->why, sizeof(l->why), "its plan cannot be read");
        return 1;
    }
    if (!open_all(l))
        return 1;
    if (!wait_for_begin(l, reader))
        return 1;
    const bool good = load(l);
    const uint64_t connections = reads_only(l) ? l->consumer_count : l->producer_count;
    clients_close(l);
    if (!good || (l->o.stamped && !tell_checks(l)))
        return 1;
    share_end(&l->measure, connections, &l->line);
    return message_send_text(l->file, l->line.data, l->line.len) ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct load l = {.file = STDIN_FILENO};
    struct message_reader reader;
    if (argc != 1 || isatty(STDIN_FILENO)) {
        fprintf(stderr, "%s is started by: millrace bench ... --client librdkafka\n", argv[0]);
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN); /* who asked goes, and that is seen */
    (void)prctl(PR_SET_TIMERSLACK, 1UL);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    l.events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    must(l.events >= 0);
    message_reader_init(&reader, l.file, PLAN_BYTES_MAX);
    int code = work(&l, &reader);
    if (code != 0)
        (void)message_send(l.file, json_pack("{s:s, s:i, s:s}", "type", "failed", "code", code,
                                             "text", l.why[0] ? l.why : "nobody asks any more"));
    return code;
}
