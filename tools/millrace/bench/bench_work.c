/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_work.h"

#include <string.h>

#define LINE_MAX_BYTES 1024U

static struct work mine;
static bool working;

enum work_option work_option(const char *name)
{
    static const char *const names[] = {
        "rate",         "arrival",
        "duration",     "warmup",
        "records",      "bytes",
        "drain",        "connections",
        "in-flight",    "record-size",
        "batch",        "linger",
        "batch-bytes",  "keys",
        "compressible", "acks",
        "compression",  "topics",
        "seed",         "timeout",
        "setting",      "bootstrap-server",
    };
    if (strcmp(name, "idempotent") == 0 || strcmp(name, "spin") == 0)
        return WORK_SWITCH;
    for (size_t i = 0; i < array_count(names); i++)
        if (strcmp(names[i], name) == 0)
            return WORK_VALUE;
    return WORK_NONE;
}

void work_begin(int file, uint32_t index, uint32_t count)
{
    mine = (struct work){.file = file, .index = index, .count = count};
    message_reader_init(&mine.from, file, LINE_MAX_BYTES);
    working = true;
}

struct work *work_mine(void)
{
    return working ? &mine : NULL;
}

static int64_t part_of(const struct work *work, int64_t all)
{
    return all / work->count + (work->index < all % work->count);
}

void work_divide(const struct work *work, struct bench_options *o)
{
    o->part = work->index;
    o->parts = work->count;
    o->records_max = part_of(work, o->records_max);
    o->bytes_max = part_of(work, o->bytes_max);
    o->create = false;
}

static void tell_second(struct measure *m, void *user)
{
    struct work *work = user;
    share_second(m, &work->line);
    if (!message_send_text(work->file, work->line.data, work->line.len))
        bench_interrupt();
}

int work_wait(struct work *work, struct bench *b)
{
    json_t *message = NULL;
    uint64_t at_ns = 0;
    const uint64_t now_ns = message_clock_ns();
    bool good = message_send(work->file, json_pack("{s:s}", "type", "ready")) &&
                message_wait(&work->from, now_ns + WORK_WAIT_NS, &message) == MESSAGE_TAKEN &&
                message_is(message, "go") && message_u64(message, "at_ns", INT64_MAX, &at_ns) &&
                at_ns < message_clock_ns() + WORK_AHEAD_NS;
    json_decref(message);
    if (!good) {
        complain(b->s->inv, "nobody has said when to begin");
        return EXIT_FAILED;
    }
    b->measure.on_second = tell_second;
    b->measure.user = work;
    while (message_clock_ns() < at_ns && !bench_interrupted())
        bench_turn(b, at_ns);
    b->epoch_ns = at_ns;
    return EXIT_OK;
}

int work_report(struct work *work, const struct bench *b, int code)
{
    if (code != EXIT_OK)
        return code;
    share_end(&b->measure, b->conn_count, &work->line);
    bool sent = message_send_text(work->file, work->line.data, work->line.len);
    share_line_fini(&work->line);
    return sent ? EXIT_OK : EXIT_FAILED;
}
