/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace debug log export`: logs of a data directory whose broker was stopped, as Apache Kafka
 * keeps them. The data directory is only read.
 */
#include "io/mem.h"
#include "tools/millrace/import/data_directory.h"
#include "tools/millrace/import/kafka_text.h"
#include "tools/millrace/import/log_export.h"
#include "tools/millrace/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct exporting {
    struct invocation *inv;
    struct log_dir *dir;
    struct import_ways ways;
    struct listing *listing;
    bool *met;    /* of the topics that were named */
    char *starts; /* lines of log-start-offset-checkpoint */
    size_t starts_len;
    uint32_t start_count;
    uint32_t failures;
};

static bool is_wanted(struct exporting *exporting, const char *topic)
{
    const struct invocation *inv = exporting->inv;
    bool wanted = inv->operand_count == 1;
    for (uint32_t i = 1; i < inv->operand_count; i++) {
        if (strcmp(inv->operands[i], topic) == 0)
            wanted = exporting->met[i] = true;
    }
    return wanted;
}

/* The log begins inside of its first segment: Kafka wants to be told. */
static void start_add(struct exporting *exporting, const struct recovered_log *log)
{
    size_t room = exporting->starts_len + LOG_TOPIC_MAX + 64;
    exporting->starts = mem_realloc(exporting->starts, room);
    exporting->starts_len += (size_t)snprintf(
        exporting->starts + exporting->starts_len, room - exporting->starts_len, "%s %d %lld\n",
        log->topic, (int)log->id.partition, (long long)log->start_offset);
    exporting->start_count++;
}

static bool starts_write(const struct exporting *exporting)
{
    char *path = kafka_path(option_text(exporting->inv, "to"), "log-start-offset-checkpoint");
    FILE *file = fopen(path, "w");
    bool good = file && fprintf(file, "0\n%u\n%s", exporting->start_count,
                                exporting->starts ? exporting->starts : "") > 0;
    if (file)
        good = fflush(file) == 0 && fsync(fileno(file)) == 0 && good;
    int error = errno;
    if (file)
        (void)fclose(file);
    if (!good)
        complain(exporting->inv, "cannot write %s: %s", path, strerror(error));
    mem_free(path);
    return good;
}

static void export_one(struct exporting *exporting, const struct recovered_log *log)
{
    char name[LOG_TOPIC_MAX + 16];
    (void)snprintf(name, sizeof(name), "%s-%d", log->topic, (int)log->id.partition);
    char *folder = kafka_path(exporting->dir->path, name);
    struct log_export export = {
        .topic = log->topic,
        .partition = log->id.partition,
        .start_offset = log->start_offset,
        .is_empty = log->start_offset == log->end_offset,
        .from = folder,
        .to = option_text(exporting->inv, "to"),
        .ways = &exporting->ways,
    };
    memcpy(export.topic_id.bytes, log->id.topic_id, sizeof(export.topic_id.bytes));
    if (log_export_write(&export)) {
        listing_row(exporting->listing, log_export_row(&export));
        if (log->start_offset > export.first_offset)
            start_add(exporting, log);
    } else {
        exporting->failures++;
        complain(exporting->inv, "%s", export.reason);
    }
    mem_free(folder);
}

static int export_all(struct exporting *exporting)
{
    struct invocation *inv = exporting->inv;
    int code = EXIT_OK;
    exporting->met = mem_zalloc(inv->operand_count * sizeof(bool));
    exporting->listing = log_export_listing(inv);
    for (uint32_t i = 0; i < exporting->dir->recovered_count; i++)
        if (is_wanted(exporting, exporting->dir->recovered[i].topic))
            export_one(exporting, &exporting->dir->recovered[i]);
    listing_close(exporting->listing);
    for (uint32_t i = 1; i < inv->operand_count; i++) {
        if (exporting->met[i])
            continue;
        complain(inv, "%s holds no log of topic '%s'", inv->operands[0], inv->operands[i]);
        code = EXIT_PRESENCE;
    }
    if (!starts_write(exporting))
        exporting->failures++;
    mem_free(exporting->starts);
    mem_free(exporting->met);
    return exporting->failures > 0 ? EXIT_FAILED : code;
}

int cmd_debug_log_export(struct invocation *inv)
{
    struct exporting exporting = {
        .inv = inv,
        .ways = {.allowed = {[IMPORT_REFLINK] = true, [IMPORT_COPY] = true}},
    };
    const struct log_dir_options options = data_directory_options(inv->operands[0]);
    struct log_error error;
    const char *to = option_text(inv, "to");
    if (!to)
        return usage_error(inv, "--to DIR is wanted: where the folders go");
    int result = fs_mkdir(options.fs, to);
    if (result < 0) {
        complain(inv, "cannot make %s: %s; name a directory in one that is there", to,
                 strerror(-result));
        return EXIT_FAILED;
    }
    exporting.dir = log_dir_open(&options, &error);
    bool good = exporting.dir && log_dir_look(exporting.dir, &error);
    int code = EXIT_REFUSED_DATA;
    if (good)
        code = export_all(&exporting);
    else
        complain(inv, "%s", error.text);
    if (exporting.dir)
        log_dir_close(exporting.dir);
    return code;
}
