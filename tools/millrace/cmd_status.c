/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace status`: a running broker on one screen, from its admin listener. What is per second is
 * the difference of two looks.
 */
#include "tools/millrace/looks.h"
#include "tools/millrace/output.h"

#include <string.h>
#include <time.h>

static int look_twice(struct looks *l)
{
    int64_t interval_ms = 500;
    if (!option_number(l->inv, "interval", 1, 3600000, &interval_ms))
        return EXIT_USAGE;
    const struct timespec pause = {.tv_sec = interval_ms / 1000,
                                   .tv_nsec = interval_ms % 1000 * 1000000};
    if (format_is_table(l->inv) || format_of(l->inv) == FORMAT_AWK) {
        if (!looks_take(l))
            return looks_unreachable(l);
        (void)nanosleep(&pause, NULL);
    }
    return looks_take(l) ? EXIT_OK : looks_unreachable(l);
}

/* ---- cores ---- */

static const struct column core_columns[] = {
    {.key = "core", .title = "CORE"},
    {.key = "busy", .title = "BUSY", .unit = UNIT_PART},
    {.key = "longest", .title = "LONGEST-STEP", .unit = UNIT_SECONDS},
    {.key = "stalls", .title = "STALLS"},
    {.key = "connections", .title = "CONNECTIONS"},
    {.key = "partitions", .title = "PARTITIONS"},
    {.key = "groups", .title = "GROUPS"},
    {.key = "requests", .title = "REQUESTS/s"},
    {.key = "in", .title = "IN/s", .unit = UNIT_BYTES},
    {.key = "out", .title = "OUT/s", .unit = UNIT_BYTES},
    {.key = "commits", .title = "COMMITS/s"},
    {.key = "written", .title = "WRITTEN/s", .unit = UNIT_BYTES},
    {.key = "tail", .title = "TAIL", .unit = UNIT_BYTES, .wide = true},
    {.key = "journal", .title = "JOURNAL", .unit = UNIT_BYTES, .wide = true},
    {.key = "cold", .title = "COLD-READ/s", .unit = UNIT_BYTES, .wide = true},
};

static json_t *core_row(const struct looks *l, const json_t *before, const json_t *now)
{
    bool responding = json_is_true(json_object_get(now, "responding"));
    json_t *busy = responding ? json_real(looks_rate(l, before, now, "core_busy_seconds_total"))
                              : json_string("stuck");
    json_t *row =
        json_pack("{s:O, s:o, s:O?, s:O, s:O, s:O, s:O}", "core", json_object_get(now, "core"),
                  "busy", busy, "longest", json_object_get(now, "core_turn_longest_seconds"),
                  "stalls", json_object_get(now, "core_stalls_total"), "connections",
                  json_object_get(now, "connections"), "partitions",
                  json_object_get(now, "partitions"), "groups", json_object_get(now, "groups"));
    if (!row)
        return json_object();
    static const struct {
        const char *key, *of;
    } rates[] = {{"in", "network_received_bytes_total"},
                 {"out", "network_sent_bytes_total"},
                 {"written", "storage_written_bytes_total"},
                 {"cold", "fetch_cold_bytes_total"}};
    for (size_t i = 0; i < array_count(rates); i++)
        (void)json_object_set_new(row, rates[i].key,
                                  rounded(looks_rate(l, before, now, rates[i].of)));
    (void)json_object_set_new(row, "requests",
                              rounded(looks_rate(l, before, now, "requests_received_total")));
    (void)json_object_set_new(row, "commits",
                              rounded(looks_rate(l, before, now, "journal_commits_total")));
    (void)json_object_set(row, "tail", json_object_get(now, "log_tail_bytes"));
    (void)json_object_set(row, "journal", json_object_get(now, "journal_used_bytes"));
    return row;
}

static void print_cores(const struct looks *l)
{
    struct listing *listing = listing_open(l->inv, core_columns, array_count(core_columns));
    const json_t *cores = json_object_get(l->now, "cores");
    const json_t *before = json_object_get(l->before, "cores");
    size_t index;
    const json_t *core;
    json_array_foreach(cores, index, core)
        listing_row(listing, core_row(l, json_array_get(before, index), core));
    listing_close(listing);
}

/* ---- requests ---- */

static const struct column request_columns[] = {
    {.key = "api", .title = "REQUEST"},
    {.key = "count", .title = "COUNT"},
    {.key = "rate", .title = "PER-SECOND"},
    {.key = "average", .title = "AVERAGE", .unit = UNIT_SECONDS},
    {.key = "p50", .title = "P50", .unit = UNIT_SECONDS},
    {.key = "p99", .title = "P99", .unit = UNIT_SECONDS},
};

/* The upper end of the bucket that holds the quantile. */
static json_t *quantile(const json_t *bounds, const json_t *request, double part)
{
    double wanted = look_number(request, "count") * part;
    double below = 0;
    size_t index;
    const json_t *bucket;
    json_array_foreach(json_object_get(request, "buckets"), index, bucket)
    {
        below += json_number_value(bucket);
        if (below >= wanted)
            return json_incref(json_array_get(bounds, index));
    }
    return json_string("more");
}

static const json_t *request_named(const json_t *object, const char *name)
{
    size_t index;
    const json_t *request;
    json_array_foreach(json_object_get(object, "requests"), index,
                       request) if (strcmp(look_text(request, "api"), name) == 0) return request;
    return NULL;
}

static void print_requests(const struct looks *l)
{
    struct listing *listing = listing_open(l->inv, request_columns, array_count(request_columns));
    const json_t *bounds = json_object_get(l->now, "bucket_seconds");
    size_t index;
    const json_t *request;
    json_array_foreach(json_object_get(l->now, "requests"), index, request)
    {
        const char *name = look_text(request, "api");
        double count = look_number(request, "count");
        listing_row(
            listing,
            json_pack("{s:s, s:O, s:o, s:o, s:o, s:o}", "api", name, "count",
                      json_object_get(request, "count"), "rate",
                      rounded(looks_rate(l, request_named(l->before, name), request, "count")),
                      "average", json_real(count > 0 ? look_number(request, "seconds") / count : 0),
                      "p50", quantile(bounds, request, 0.5), "p99",
                      quantile(bounds, request, 0.99)));
    }
    listing_close(listing);
}

/* ---- the screen ---- */

static void print_uptime(double seconds)
{
    unsigned long whole = (unsigned long)seconds;
    if (whole >= 86400)
        printf("up %lu d %lu h", whole / 86400, whole / 3600 % 24);
    else if (whole >= 3600)
        printf("up %lu h %lu min", whole / 3600, whole / 60 % 60);
    else if (whole >= 60)
        printf("up %lu min %lu s", whole / 60, whole % 60);
    else
        printf("up %.1f s", seconds);
}

static void print_head(const struct looks *l, bool good)
{
    char resident[BYTES_TEXT_SIZE];
    char room[BYTES_TEXT_SIZE];
    char size[BYTES_TEXT_SIZE];
    const json_t *process = json_object_get(l->now, "process");
    const json_t *process_before = json_object_get(l->before, "process");
    char address[ADDRESS_TEXT_SIZE];
    printf("millrace %s  admin %s  ", look_text(l->now, "version"),
           address_print(&l->address, address));
    if (json_object_get(l->now, "node_id"))
        printf("node %.0f  ", look_number(l->now, "node_id"));
    print_uptime(look_number(process, "uptime_seconds"));
    printf("  %s\n", good ? "ready" : "NOT READY");
    if (!json_object_get(l->now, "cores"))
        return;
    double early = look_sum(l->now, "partitions_os") + look_sum(l->now, "partitions_never");
    printf("durability %s", look_text(l->now, "durability"));
    if (early > 0)
        printf(" (%.0f partitions here: os %.0f, never %.0f)", early,
               look_sum(l->now, "partitions_os"), look_sum(l->now, "partitions_never"));
    printf("\ncluster %s  topics %.0f  partitions %.0f  kafka", look_text(l->now, "cluster_id"),
           look_number(l->now, "topics"), look_number(l->now, "partitions"));
    size_t index;
    const json_t *listener;
    json_array_foreach(json_object_get(l->now, "listeners"), index, listener)
        printf(" %s", json_string_value(listener));
    printf("\nmemory %s  cpu %.2f cores  files %.0f  data %s (%s of %s free)\n",
           bytes_text((int64_t)look_number(process, "resident_bytes"), resident),
           looks_rate(l, process_before, process, "cpu_seconds"), look_number(process, "open_fds"),
           look_text(l->now, "data_dir"),
           bytes_text((int64_t)look_number(l->now, "storage_free_bytes"), room),
           bytes_text((int64_t)look_number(l->now, "storage_size_bytes"), size));
}

static void print(const struct looks *l, bool good)
{
    if (format_of(l->inv) == FORMAT_AWK) {
        print_cores(l);
        return;
    }
    print_head(l, good);
    if (!json_object_get(l->now, "cores"))
        return;
    print_cores(l);
    print_requests(l);
}

int cmd_status(struct invocation *inv)
{
    struct looks l;
    int code = looks_begin(&l, inv);
    if (code == EXIT_OK)
        code = look_twice(&l);
    if (code == EXIT_OK) {
        bool good = looks_good(&l);
        if (l.before)
            print(&l, good);
        else
            print_object(inv, json_incref(l.now));
        code = good ? EXIT_OK : EXIT_UNHEALTHY;
    }
    looks_end(&l);
    return code;
}
