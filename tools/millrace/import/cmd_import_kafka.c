/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace debug import-kafka`: a node of Apache Kafka that was stopped becomes one of Millrace. A
 * dry run unless --run is given; Kafka's directories are only read, until --commit gives them up.
 */
#include "io/mem.h"
#include "tools/millrace/import/import_origin.h"
#include "tools/millrace/import/import_report.h"
#include "tools/millrace/import/import_take.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_NS 1000000000LL

struct progress {
    const struct invocation *inv;
    int64_t told_ns;
    bool told;
};

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* One line that is drawn again, where somebody looks. */
static void on_progress(void *user, uint64_t done, uint64_t all)
{
    struct progress *progress = user;
    int64_t now = now_ns();
    if (now - progress->told_ns < PROGRESS_NS)
        return;
    char done_text[BYTES_TEXT_SIZE];
    char all_text[BYTES_TEXT_SIZE];
    progress->told_ns = now;
    progress->told = true;
    (void)fprintf(stderr, "\rreading segments: %s of %s ", bytes_text((int64_t)done, done_text),
                  bytes_text((int64_t)all, all_text));
    (void)fflush(stderr);
}

/* The topics of --except, to mem_free(). */
static const char **excepted(const struct invocation *inv, uint32_t *count)
{
    const char **names = NULL;
    const char *name;
    uint32_t cursor = 0;
    *count = 0;
    while ((name = option_next(inv, "except", &cursor))) {
        names = mem_realloc(names, (*count + 1) * sizeof(names[0]));
        names[(*count)++] = name;
    }
    return names;
}

/* ---- really ---- */

static void ways_of(const struct invocation *inv, struct import_ways *ways)
{
    const char *chosen = option_text(inv, "copy");
    *ways = (struct import_ways){0};
    for (uint32_t i = 0; i < IMPORT_WAYS; i++)
        ways->allowed[i] = strcmp(chosen, "auto") == 0 || strcmp(chosen, import_way_names[i]) == 0;
    ways->allowed[IMPORT_COPY] = true; /* where nothing else is possible */
}

static json_t *taken_json(const struct import_take *take)
{
    json_t *ways = json_object();
    for (uint32_t i = 0; i < IMPORT_WAYS; i++)
        (void)json_object_set_new(ways, import_way_names[i],
                                  json_pack("{s:I, s:I}", "files", (json_int_t)take->ways.files[i],
                                            "bytes", (json_int_t)take->ways.bytes[i]));
    return json_pack("{s:{s:s, s:i, s:i, s:I, s:o}}", "imported", "data_dir", take->data_dir,
                     "topics", (int)take->topics, "partitions", (int)take->partitions, "segments",
                     (json_int_t)take->segments, "files", ways);
}

static void tell_taken(const struct invocation *inv, const struct import_take *take)
{
    note(inv, "taken over into %s: %u topics, %u partitions, %llu segments", take->data_dir,
         take->topics, take->partitions, (unsigned long long)take->segments);
    for (uint32_t i = 0; i < IMPORT_WAYS; i++) {
        char bytes[BYTES_TEXT_SIZE];
        if (take->ways.files[i] > 0)
            note(inv, "by %s: %llu files, %s", import_way_names[i],
                 (unsigned long long)take->ways.files[i],
                 bytes_text((int64_t)take->ways.bytes[i], bytes));
    }
    note(inv,
         "next: millrace start server.properties --data-dir %s --override node.id=%d, with Kafka's "
         "server.properties, whose defaults (retention among them) are in no data directory",
         take->data_dir, (int)take->node->meta.node_id);
    note(inv,
         "the way back: stop Millrace and start Kafka on its own directory, which is as it was; "
         "what came to Millrace meanwhile is not in it");
}

static int take_over(const struct invocation *inv, const struct kafka_node *node)
{
    struct import_take take = {.node = node, .data_dir = option_text(inv, "data-dir")};
    if (!node->settings_known && !option_on(inv, "without-settings")) {
        import_report(inv, node, NULL);
        complain(inv, "the settings of topics are in ZooKeeper; name it with --zookeeper "
                      "HOST:PORT/PATH, or give --without-settings, and all topics get the "
                      "broker's defaults");
        return EXIT_REFUSED_DATA;
    }
    ways_of(inv, &take.ways);
    if (!import_take(&take)) {
        import_report(inv, node, NULL);
        complain(inv, "%s", take.reason);
        return EXIT_FAILED;
    }
    import_report(inv, node, taken_json(&take));
    tell_taken(inv, &take);
    return EXIT_OK;
}

static int commit(const struct invocation *inv)
{
    struct import_commit commit = {.dirs = inv->operands,
                                   .dir_count = inv->operand_count,
                                   .data_dir = option_text(inv, "data-dir")};
    char bytes[BYTES_TEXT_SIZE];
    if (!import_commit(&commit)) {
        complain(inv, "%s", commit.reason);
        return EXIT_REFUSED_DATA;
    }
    note(inv, "Kafka's directory is given up: %llu files went, %s; they are in %s only",
         (unsigned long long)commit.files, bytes_text((int64_t)commit.bytes, bytes),
         commit.data_dir);
    return EXIT_OK;
}

static int read_node(struct invocation *inv, bool run)
{
    struct progress progress = {.inv = inv, .told_ns = now_ns()};
    struct kafka_node_options options = {
        .zookeeper = option_text(inv, "zookeeper"),
        .on_progress = !inv->quiet && isatty(STDERR_FILENO) ? on_progress : NULL,
        .user = &progress,
    };
    const char **names = excepted(inv, &options.except_count);
    options.except = names;
    struct kafka_node node;
    kafka_node_read(&node, inv->operands, inv->operand_count, &options);
    if (progress.told)
        (void)fputc('\n', stderr);
    int code = import_may(&node) ? EXIT_OK : EXIT_REFUSED_DATA;
    if (run && code == EXIT_OK)
        code = take_over(inv, &node);
    else
        import_report(inv, &node, NULL);
    if (!run && code == EXIT_OK)
        note(inv, "nothing was changed; --data-dir D --run takes it over into D");
    kafka_node_fini(&node);
    mem_free(names);
    return code;
}

int cmd_debug_import_kafka(struct invocation *inv)
{
    bool run = option_on(inv, "run");
    if ((run || option_on(inv, "commit")) && !option_text(inv, "data-dir"))
        return usage_error(inv, "--run and --commit want --data-dir D");
    if (run && option_on(inv, "commit"))
        return usage_error(inv, "--run and --commit are two steps, with a look at what came of the "
                                "first between them");
    return option_on(inv, "commit") ? commit(inv) : read_node(inv, run);
}
