/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_control.h"

#include "io/mem.h"
#include "tools/millrace/bench/bench_message.h"
#include "tools/millrace/bench/bench_options_json.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int control_refuse(const struct bench_options *o, const struct session *s)
{
    const struct {
        bool asked;
        const char *name, *why;
    } not [] = {
        {o->batch_records > 1, "batch",
         "the library decides what is a batch; --linger and --batch-bytes tell it how"},
        {o->disturb != NULL, "disturb", "run the command beside this one"},
        {o->repeat, "repeat", "it reads to the end, or goes on with --follow"},
        {o->broker_pid > 0, "broker-pid", "the helper measures itself alone"},
        {o->agents != NULL, "agents", "it is the control of one generator"},
        {option_on(s->inv, "spin"), "spin", "the library's threads sleep"},
    };
    for (size_t i = 0; o->client && i < array_count(not ); i++)
        if (not [i].asked)
            return usage_error(s->inv, "--%s is not for --client %s: %s", not [i].name, o->client,
                               not [i].why);
    return EXIT_OK;
}

/* Beside this program. */
static bool program_path(char path[PATH_MAX])
{
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - sizeof(CONTROL_PROGRAM));
    if (len <= 0)
        return false;
    path[len] = 0;
    char *name = strrchr(path, '/') + 1;
    memcpy(name, CONTROL_PROGRAM, sizeof(CONTROL_PROGRAM));
    return true;
}

int control_start(const struct bench *b, int *file, pid_t *process)
{
    char path[PATH_MAX];
    int ends[2];
    posix_spawn_file_actions_t files;
    if (!program_path(path) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        complain(b->s->inv, "cannot start " CONTROL_PROGRAM ": %s", strerror(errno));
        return EXIT_FAILED;
    }
    char *const argv[] = {path, NULL};
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawn_file_actions_adddup2(&files, ends[1], STDIN_FILENO);
    (void)posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    int error = posix_spawn(process, path, &files, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&files);
    (void)close(ends[1]);
    *file = ends[0];
    if (!error)
        return EXIT_OK;
    complain(b->s->inv,
             "cannot start %s: %s; it is built beside this program where librdkafka-dev is "
             "installed (apt-get install librdkafka-dev, and build again)",
             path, strerror(error));
    (void)close(ends[0]);
    *file = -1;
    return EXIT_FAILED;
}

json_t *control_plan(const struct bench *b)
{
    const struct settings *settings = &b->s->settings;
    json_t *plan = options_json(&b->o);
    json_t *lanes = json_array();
    json_t *more = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:O}", "type", "plan", "servers",
                             settings->bootstrap_servers, "client_id", settings->client_id,
                             "timeout_ms", (json_int_t)settings->request_timeout_ms, "level",
                             (json_int_t)settings->compression_level, "min_bytes",
                             (json_int_t)settings->fetch_min_bytes, "run_id",
                             (json_int_t)(io_random(b->s->sh->io) & INT64_MAX), "lanes", lanes);
    for (uint32_t i = 0; i < b->lane_count; i++)
        (void)json_array_append_new(
            lanes, json_pack("[s, i, I, I]", b->lanes[i].topic, b->lanes[i].partition,
                             (json_int_t)b->lanes[i].start, (json_int_t)b->lanes[i].end));
    if (plan && more)
        (void)json_object_update(plan, more);
    const bool good = plan && more;
    json_decref(lanes);
    json_decref(more);
    if (good)
        return plan;
    json_decref(plan);
    return NULL;
}

bool control_checks(struct bench *b, const json_t *message)
{
    const json_t *lanes = json_object_get(message, "lanes");
    struct checks *checks = mem_zalloc(sizeof(*checks));
    checks_init(checks, b->lane_count);
    checks->told = mem_zalloc(b->lane_count * sizeof(*checks->told));
    b->checks = checks;
    if (!message_u64(message, "foreign", MESSAGE_NUMBER_MAX, &b->foreign) ||
        json_array_size(lanes) != b->lane_count)
        return false;
    for (uint32_t i = 0; i < b->lane_count; i++) {
        struct checks_sum *sum = &checks->told[i];
        uint64_t *const to[] = {&b->lanes[i].sequence, &sum->acked,     &sum->seen, &sum->lost,
                                &sum->duplicates,      &sum->reordered, &sum->gaps, &sum->surplus};
        for (size_t k = 0; k < array_count(to); k++) {
            const json_t *number = json_array_get(json_array_get(lanes, i), k);
            if (!json_is_integer(number) || json_integer_value(number) < 0)
                return false;
            *to[k] = (uint64_t)json_integer_value(number);
        }
    }
    return true;
}
