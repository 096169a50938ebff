/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/import_origin.h"

#include "io/fs.h"
#include "io/mem.h"
#include "io/threads.h"
#include "tools/millrace/import/import_report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- writing ---- */

static void add_folders(json_t *folders, const struct kafka_topic *topic)
{
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct kafka_partition *partition = &topic->partitions[i];
        const struct kafka_segment *last =
            &partition->scan->segments[partition->scan->segment_count - 1];
        char *real = realpath(partition->directory, NULL);
        char name[32];
        (void)snprintf(name, sizeof(name), "%020lld.log", (long long)last->base);
        (void)json_array_append_new(
            folders, json_pack("{s:s, s:s, s:I}", "folder", real ? real : partition->directory,
                               "segment", name, "bytes", (json_int_t)last->bytes));
        free(real);
    }
}

static json_t *origin_json(const struct kafka_node *node)
{
    json_t *dirs = json_array();
    json_t *folders = json_array();
    uint32_t count;
    struct kafka_topic **topics = kafka_topics_sorted(&node->cluster, &count);
    for (uint32_t i = 0; i < node->dir_count; i++) {
        char *real = realpath(node->dirs[i], NULL);
        (void)json_array_append_new(dirs, json_string(real ? real : node->dirs[i]));
        free(real);
    }
    for (uint32_t i = 0; i < count; i++)
        if (import_takes(node, topics[i]))
            add_folders(folders, topics[i]);
    mem_free(topics);
    return json_pack("{s:s, s:i, s:o, s:o}", "cluster_id", node->meta.cluster_id, "node_id",
                     (int)node->meta.node_id, "directories", dirs, "folders", folders);
}

int import_origin_write(const struct kafka_node *node, const char *directory)
{
    json_t *json = origin_json(node);
    char *path = kafka_path(directory, IMPORT_ORIGIN);
    int error = json_dump_file(json, path, JSON_INDENT(1)) == 0 ? 0 : -EIO;
    int file = error == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (error == 0 && (file < 0 || fsync(file) != 0))
        error = -errno;
    if (file >= 0)
        close(file);
    if (error == 0)
        error = fs_sync_dir(fs_host(), directory);
    json_decref(json);
    mem_free(path);
    return error;
}

/* ---- the end of the way back ---- */

static bool refused(struct import_commit *commit, const char *format, ...) printf_like(2, 3);

static bool refused(struct import_commit *commit, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(commit->reason, sizeof(commit->reason), format, args);
    va_end(args);
    return false;
}

/* Is this directory among those that were taken over? */
static bool is_origin(const json_t *directories, const char *directory)
{
    size_t index;
    const json_t *one;
    char *real = realpath(directory, NULL);
    bool found = false;
    json_array_foreach(directories, index, one)
    {
        const char *text = json_string_value(one);
        found = found || (real && text && strcmp(text, real) == 0);
    }
    free(real);
    return found;
}

/* Is there a segment behind the one that was the last? */
static bool has_newer_segment(const char *path, const char *last)
{
    DIR *list = opendir(path);
    const struct dirent *entry;
    bool found = false;
    while (list && !found && (entry = readdir(list))) {
        size_t len = strlen(entry->d_name);
        found = len == strlen(last) && len > 4 && strcmp(entry->d_name + len - 4, ".log") == 0 &&
                strcmp(entry->d_name, last) > 0;
    }
    if (list)
        (void)closedir(list);
    return found;
}

static bool check_folder(struct import_commit *commit, const json_t *folder)
{
    const char *path = json_string_value(json_object_get(folder, "folder"));
    const char *name = json_string_value(json_object_get(folder, "segment"));
    struct stat about;
    if (!path || !name)
        return refused(commit, "%s/" IMPORT_ORIGIN " is not what an import writes",
                       commit->data_dir);
    char *segment = kafka_path(path, name);
    bool same = stat(segment, &about) == 0 &&
                about.st_size == json_integer_value(json_object_get(folder, "bytes")) &&
                !has_newer_segment(path, name);
    mem_free(segment);
    return same || refused(commit,
                           "%s is not as it was taken over: Kafka has run on it since, and what it "
                           "got then is not in %s; import it again, into a new directory",
                           path, commit->data_dir);
}

static bool remove_folder(struct import_commit *commit, const char *path)
{
    DIR *list = opendir(path);
    const struct dirent *entry;
    bool good = list != NULL;
    while (good && (entry = readdir(list))) {
        struct stat about;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *file = kafka_path(path, entry->d_name);
        good = stat(file, &about) == 0 && unlink(file) == 0;
        commit->files += good ? 1 : 0;
        commit->bytes += good ? (uint64_t)about.st_size : 0;
        mem_free(file);
    }
    good = good && rmdir(path) == 0;
    int error = errno;
    if (list)
        (void)closedir(list);
    return good || refused(commit, "cannot remove %s: %s", path, strerror(error));
}

/* First what a Kafka needs to start at all. */
static bool remove_all(struct import_commit *commit, const json_t *origin)
{
    const json_t *folders = json_object_get(origin, "folders");
    size_t index;
    const json_t *folder;
    bool good = true;
    for (uint32_t i = 0; good && i < commit->dir_count; i++) {
        char *from = kafka_path(commit->dirs[i], "meta.properties");
        char *to = kafka_path(commit->dirs[i], "meta.properties.imported");
        int result = fs_rename(fs_host(), from, to);
        if (result >= 0)
            result = fs_sync_dir(fs_host(), commit->dirs[i]);
        good = result >= 0 || refused(commit, "cannot rename %s: %s", from, strerror(-result));
        mem_free(from);
        mem_free(to);
    }
    json_array_foreach(folders, index, folder)
    {
        good = good && remove_folder(commit, json_string_value(json_object_get(folder, "folder")));
    }
    return good;
}

static bool check_all(struct import_commit *commit, const json_t *origin)
{
    const json_t *directories = json_object_get(origin, "directories");
    const json_t *folders = json_object_get(origin, "folders");
    size_t index;
    const json_t *folder;
    bool good = true;
    for (uint32_t i = 0; good && i < commit->dir_count; i++)
        good = is_origin(directories, commit->dirs[i]) ||
               refused(commit, "%s was not taken over into %s (see %s/" IMPORT_ORIGIN ")",
                       commit->dirs[i], commit->data_dir, commit->data_dir);
    if (good && json_array_size(directories) != commit->dir_count)
        good = refused(commit, "%s was made of %zu directories; name all of them", commit->data_dir,
                       json_array_size(directories));
    json_array_foreach(folders, index, folder)
    {
        good = good && check_folder(commit, folder);
    }
    return good;
}

bool import_commit(struct import_commit *commit)
{
    struct kafka_node node = {.dirs = commit->dirs, .dir_count = commit->dir_count};
    char *path = kafka_path(commit->data_dir, IMPORT_ORIGIN);
    json_error_t error;
    json_t *origin = json_load_file(path, 0, &error);
    bool good =
        origin != NULL || refused(commit, "%s cannot be read: %s; is %s what an import has made?",
                                  path, error.text, commit->data_dir);
    if (good && !kafka_node_at_rest(&node))
        good = refused(commit, "%s", node.refusals[0].text);
    good = good && check_all(commit, origin) && remove_all(commit, origin);
    kafka_node_fini(&node);
    json_decref(origin);
    mem_free(path);
    return good;
}
