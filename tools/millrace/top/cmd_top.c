/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace top`: a running broker, interval by interval.
 */
#include "net/request_time.h"
#include "tools/millrace/output.h"
#include "tools/millrace/top/top_figures.h"
#include "tools/millrace/top/top_screen.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define OTHER_LINES 11U /* of a page, beside those of the cores */

struct top {
    const struct invocation *inv;
    struct looks looks;
    struct top_screen screen;
    struct listing *listing; /* where each interval is a row; else NULL */
    json_t *figures;         /* of the last interval, NULL: none yet */
    int64_t interval_ms;
    int64_t count; /* of intervals; 0: no end */
};

/* ---- cores ---- */

static const struct column core_columns[] = {
    {.key = "core", .title = "CORE"},
    {.key = "busy", .title = "BUSY", .unit = UNIT_PART},
    {.key = "longest", .title = "LONGEST-TURN", .unit = UNIT_BELOW},
    {.key = "sqe", .title = "SQE/s"},
    {.key = "commits", .title = "COMMITS/s"},
    {.key = "commit_p99", .title = "COMMIT-P99", .unit = UNIT_SECONDS},
    {.key = "connections", .title = "CONN"},
    {.key = "partitions", .title = "PART"},
    {.key = "in", .title = "IN/s", .unit = UNIT_BYTES},
    {.key = "out", .title = "OUT/s", .unit = UNIT_BYTES},
    {.key = "requests", .title = "REQUESTS/s"},
    {.key = "produce_p99", .title = "PRODUCE-P99", .unit = UNIT_SECONDS},
    {.key = "fetch_p99", .title = "FETCH-P99", .unit = UNIT_SECONDS},
};

static json_t *core_row(const json_t *core)
{
    static const struct {
        const char *key, *of;
    } rates[] = {{"sqe", "sqe_per_second"},
                 {"commits", "commits_per_second"},
                 {"in", "in_bytes_per_second"},
                 {"out", "out_bytes_per_second"},
                 {"requests", "requests_per_second"}},
      times[] = {{"longest", "longest_turn_seconds"},
                 {"commit_p99", "commit_p99_seconds"},
                 {"produce_p99", "produce_p99_seconds"},
                 {"fetch_p99", "fetch_p99_seconds"}};
    bool responding = json_is_true(json_object_get(core, "responding"));
    json_t *row = json_pack("{s:O, s:O, s:O}", "core", json_object_get(core, "core"), "connections",
                            json_object_get(core, "connections"), "partitions",
                            json_object_get(core, "partitions"));
    if (!row)
        return json_object();
    for (size_t i = 0; i < array_count(rates); i++)
        (void)json_object_set_new(row, rates[i].key, rounded(look_number(core, rates[i].of)));
    for (size_t i = 0; i < array_count(times); i++)
        (void)json_object_set(row, times[i].key, json_object_get(core, times[i].of));
    (void)json_object_set_new(
        row, "busy", responding ? json_real(look_number(core, "busy")) : json_string("stuck"));
    return row;
}

/* As many as there is room for. */
static void print_cores(const struct top *top)
{
    const json_t *cores = json_object_get(top->figures, "cores");
    const size_t all = json_array_size(cores);
    const size_t room = max_u64(top->screen.lines, OTHER_LINES + 1) - OTHER_LINES;
    const size_t shown = top->screen.live && all > room ? room : all;
    struct listing *listing = listing_open(top->inv, core_columns, array_count(core_columns));
    for (size_t i = 0; i < shown; i++)
        listing_row(listing, core_row(json_array_get(cores, i)));
    listing_close(listing);
    if (shown < all)
        printf("and %zu more: make the window higher\n", all - shown);
}

/* ---- requests ---- */

/* The means of the steps stand behind the mean that they add up to. */
static const struct column request_columns[] = {
    {.key = "api", .title = "REQUEST"},
    {.key = "rate", .title = "PER-SECOND"},
    {.key = "p50", .title = "P50", .unit = UNIT_SECONDS},
    {.key = "p99", .title = "P99", .unit = UNIT_SECONDS},
    {.key = "mean", .title = "MEAN:", .unit = UNIT_SECONDS},
    {.key = "queue", .title = "QUEUE", .unit = UNIT_SECONDS},
    {.key = "work", .title = "WORK", .unit = UNIT_SECONDS},
    {.key = "journal", .title = "JOURNAL", .unit = UNIT_SECONDS},
    {.key = "replication", .title = "REPLICATION", .unit = UNIT_SECONDS},
    {.key = "park", .title = "PARK", .unit = UNIT_SECONDS},
    {.key = "throttle", .title = "THROTTLE", .unit = UNIT_SECONDS},
    {.key = "send", .title = "SEND", .unit = UNIT_SECONDS},
    {.key = "queue_p99", .title = "P99:QUEUE", .unit = UNIT_SECONDS, .wide = true},
    {.key = "work_p99", .title = "WORK", .unit = UNIT_SECONDS, .wide = true},
    {.key = "journal_p99", .title = "JOURNAL", .unit = UNIT_SECONDS, .wide = true},
    {.key = "replication_p99", .title = "REPLICATION", .unit = UNIT_SECONDS, .wide = true},
    {.key = "park_p99", .title = "PARK", .unit = UNIT_SECONDS, .wide = true},
    {.key = "throttle_p99", .title = "THROTTLE", .unit = UNIT_SECONDS, .wide = true},
    {.key = "send_p99", .title = "SEND", .unit = UNIT_SECONDS, .wide = true},
};

static json_t *request_row(const json_t *request)
{
    const json_t *steps = json_object_get(request, "steps");
    json_t *row = json_pack("{s:O, s:o, s:O?, s:O?, s:O?}", "api", json_object_get(request, "api"),
                            "rate", rounded(look_number(request, "per_second")), "p50",
                            json_object_get(request, "p50_seconds"), "p99",
                            json_object_get(request, "p99_seconds"), "mean",
                            json_object_get(request, "mean_seconds"));
    for (unsigned i = 0; i < REQUEST_STEP_COUNT; i++) {
        const char *name = request_step_names[i];
        const json_t *step = json_object_get(steps, name);
        char p99[32];
        (void)snprintf(p99, sizeof(p99), "%s_p99", name);
        (void)json_object_set(row, name, json_object_get(step, "mean_seconds"));
        (void)json_object_set(row, p99, json_object_get(step, "p99_seconds"));
    }
    return row;
}

static void print_requests(const struct top *top)
{
    struct listing *listing = listing_open(top->inv, request_columns, array_count(request_columns));
    size_t index;
    const json_t *request;
    json_array_foreach(json_object_get(top->figures, "requests"), index, request)
        listing_row(listing, request_row(request));
    listing_close(listing);
}

/* ---- a page ---- */

static void print_head(const struct top *top)
{
    const json_t *figures = top->figures;
    const bool ready = json_is_true(json_object_get(figures, "ready"));
    const char *mark = top->screen.color ? (ready ? "\033[1m" : "\033[1;31m") : "";
    const char *plain = top->screen.color ? "\033[0m" : "";
    const time_t seconds = (time_t)(look_number(figures, "time_ms") / 1000);
    char clock[16] = "";
    char resident[BYTES_TEXT_SIZE];
    struct tm local;
    if (localtime_r(&seconds, &local))
        (void)strftime(clock, sizeof(clock), "%H:%M:%S", &local);
    printf("%smillrace %s  %s%s  ", mark, look_text(figures, "version"),
           ready ? "ready" : "NOT READY", plain);
    if (json_object_get(figures, "node_id"))
        printf("node %.0f  durability %s  ", look_number(figures, "node_id"),
               look_text(figures, "durability"));
    printf("memory %s  cpu %.2f cores  %s, over %.1f s%s\n",
           bytes_text((int64_t)look_number(figures, "resident_bytes"), resident),
           look_number(figures, "cpu_cores"), clock, look_number(figures, "seconds"),
           top->screen.keys ? "  (q quits)" : "");
}

static void print_page(struct top *top)
{
    if (!top->figures)
        return;
    top_page_begin(&top->screen);
    print_head(top);
    putchar('\n');
    print_cores(top);
    putchar('\n');
    print_requests(top);
    top_page_end(&top->screen);
}

static void print_rows(struct top *top)
{
    size_t index;
    const json_t *core;
    if (format_of(top->inv) == FORMAT_AWK) {
        json_array_foreach(json_object_get(top->figures, "cores"), index, core)
            listing_row(top->listing, core_row(core));
    } else {
        listing_row(top->listing, json_incref(top->figures));
    }
    (void)fflush(stdout);
}

/* ---- intervals ---- */

/* Until the next look: OK, or an end. */
static int pass(struct top *top)
{
    int64_t left_ms = top->interval_ms;
    for (;;) {
        switch (top_screen_wait(&top->screen, &left_ms)) {
        case TOP_TIME:
            return EXIT_OK;
        case TOP_DRAW:
            if (!top->listing && top->screen.live)
                print_page(top);
            break;
        case TOP_QUIT:
            top->count = -1;
            return EXIT_OK;
        case TOP_INTERRUPTED:
            return EXIT_INTERRUPTED;
        }
    }
}

static int one_more(struct top *top)
{
    int code = pass(top);
    if (code != EXIT_OK || top->count < 0)
        return code;
    if (!looks_take(&top->looks))
        return EXIT_UNREACHABLE;
    json_decref(top->figures);
    top->figures = top_figures(&top->looks);
    if (top->listing)
        print_rows(top);
    else
        print_page(top);
    return EXIT_OK;
}

static int run(struct top *top)
{
    int code = looks_take(&top->looks) ? EXIT_OK : EXIT_UNREACHABLE;
    for (int64_t done = 0; code == EXIT_OK; done++) {
        if (top->count < 0 || (top->count > 0 && done == top->count))
            return EXIT_OK;
        code = one_more(top);
    }
    return code;
}

int cmd_top(struct invocation *inv)
{
    struct top top = {.inv = inv, .interval_ms = 1000};
    if (!option_number(inv, "interval", 1, 3600000, &top.interval_ms) ||
        !option_number(inv, "count", 1, INT64_MAX, &top.count))
        return EXIT_USAGE;
    if (option_on(inv, "once"))
        top.count = 1;
    int code = looks_begin(&top.looks, inv);
    if (code != EXIT_OK)
        return code;
    if (!format_is_table(inv))
        top.listing = listing_open(inv, core_columns, array_count(core_columns));
    top_screen_open(&top.screen, !top.listing && top.count == 0, inv->color);
    code = run(&top);
    top_screen_close(&top.screen);
    if (code == EXIT_UNREACHABLE) /* said where it stays to be read */
        code = looks_unreachable(&top.looks);
    if (top.listing)
        listing_close(top.listing);
    json_decref(top.figures);
    looks_end(&top.looks);
    return code;
}
