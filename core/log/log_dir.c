/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening a log directory: may we, is it ours, is it alone. Nothing is written into a directory
 * before it is known to be ours or empty.
 */
#include "core/log/log_dir_private.h"
#include "core/log/recovery.h"
#include "core/log/recycle.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define META_NAME    "millrace.meta"
#define META_MAGIC   "MRLOGDIR"
#define META_VERSION 2U  /* 1: the only directory of its broker */
#define ABOVE_MOST   32U /* directories above one */

char *log_dir_path(const struct log_dir *dir, const char *name)
{
    size_t size = strlen(dir->path) + strlen(name) + 2;
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/%s", dir->path, name);
    return path;
}

struct recycle_pool log_dir_pool(const struct log_dir *dir)
{
    return (struct recycle_pool){.fs = dir->fs,
                                 .root = dir->path,
                                 .uuid = dir->uuid,
                                 .bytes_max = dir->options.recycle_bytes};
}

/* ---- does it lie in another one, which may put a log where it is? ---- */

static bool path_is_log_dir(struct fs *fs, const char *path)
{
    size_t size = strlen(path) + sizeof("/" META_NAME);
    char *meta = mem_alloc(size);
    (void)snprintf(meta, size, "%s/" META_NAME, path);
    int file = fs_open(fs, meta, FS_READ);
    if (file >= 0)
        fs_close(fs, file);
    mem_free(meta);
    return file >= 0;
}

static bool path_exists(struct fs *fs, const char *path)
{
    struct fs_list list = {0};
    int result = fs_list(fs, path, &list);
    if (result >= 0)
        fs_list_free(&list);
    return result != -ENOENT;
}

/* Up from `path` by its text as far as nothing is there, then by the directories themselves: what
 * is there may be a symbolic link. */
static bool dir_stands_alone(struct log_dir *dir, struct log_error *error)
{
    size_t room = strlen(dir->path) + ABOVE_MOST * strlen("/..") + sizeof(".");
    char *above = mem_alloc(room);
    (void)snprintf(above, room, "%s", dir->path);
    bool inside = false;
    while (!inside && !path_exists(dir->fs, above) && strcmp(above, "/") != 0 &&
           strcmp(above, ".") != 0) {
        char *slash = strrchr(above, '/');
        if (slash == NULL)
            (void)snprintf(above, room, ".");
        else
            slash[slash == above] = '\0';
        inside = path_is_log_dir(dir->fs, above);
    }
    for (unsigned i = 0; !inside && i < ABOVE_MOST; i++) {
        size_t length = strlen(above);
        (void)snprintf(above + length, room - length, "/..");
        inside = path_is_log_dir(dir->fs, above);
    }
    if (inside)
        (void)log_refuse(error, LOG_ERROR_NESTED,
                         "%s lies inside a log directory of Millrace (%s holds " META_NAME
                         "), which may come to use its name; choose another directory",
                         dir->path, above);
    mem_free(above);
    return !inside;
}

/* ---- is it ours ---- */

static bool list_has(const struct fs_list *list, const char *name)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (strcmp(list->names[i], name) == 0)
            return true;
    }
    return false;
}

/* Entries that do not make a directory somebody's: ours from a first start that was cut short, and
 * the file system's. */
static bool list_is_empty(const struct fs_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const char *name = list->names[i];
        if (strcmp(name, "lock") != 0 && strcmp(name, "lost+found") != 0 &&
            strcmp(name, META_NAME ".new") != 0 && strcmp(name, "metadata") != 0)
            return false;
    }
    return true;
}

/* A name is durable once the directory that holds it is. One that may not be read was there before
 * and is not ours to flush. */
static int dir_make_one(struct fs *fs, const char *path)
{
    int result = fs_mkdir(fs, path);
    if (result < 0)
        return result;
    char *parent = mem_strdup(path);
    char *slash = strrchr(parent, '/');
    if (slash != NULL)
        slash[slash == parent] = '\0';
    result = fs_sync_dir(fs, slash != NULL ? parent : ".");
    mem_free(parent);
    return result == -EACCES ? 0 : result;
}

static bool dir_make(struct log_dir *dir, struct log_error *error)
{
    char *path = mem_strdup(dir->path);
    int result = 0;
    for (char *at = path + 1; result >= 0 && *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        result = dir_make_one(dir->fs, path);
        *at = '/';
    }
    if (result >= 0)
        result = dir_make_one(dir->fs, path);
    if (result < 0)
        (void)log_refuse_io(error, "make the directory", path, result);
    mem_free(path);
    return result >= 0;
}

static bool dir_look(struct log_dir *dir, bool *fresh, struct log_error *error)
{
    struct fs_list list = {0};
    int result = fs_list(dir->fs, dir->path, &list);
    *fresh = true;
    if (result == -ENOENT && dir->options.may_format)
        return dir_make(dir, error);
    if (result == -ENOENT)
        return log_refuse(error, LOG_ERROR_MISSING,
                          "the log directory %s is missing; is its disk mounted? Restore it",
                          dir->path);
    if (result < 0)
        return log_refuse_io(error, "read the directory", dir->path, result);
    bool kafka = list_has(&list, "meta.properties");
    bool ours = list_has(&list, META_NAME);
    bool empty = list_is_empty(&list);
    fs_list_free(&list);
    *fresh = !ours;
    if (kafka)
        return log_refuse(error, LOG_ERROR_KAFKA,
                          "%s was written by Apache Kafka (it holds meta.properties) and is left "
                          "untouched; choose another directory, or take it over into one: millrace "
                          "debug import-kafka",
                          dir->path);
    if (!ours && !empty)
        return log_refuse(error, LOG_ERROR_FOREIGN,
                          "%s is not empty and holds no %s: it is not a log directory of Millrace; "
                          "choose another directory",
                          dir->path, META_NAME);
    if (!ours && !dir->options.may_format)
        return log_refuse(error, LOG_ERROR_MISSING,
                          "the log directory %s is empty but is known to hold logs; is its disk "
                          "mounted? Restore it",
                          dir->path);
    /* An empty one may be of a start that was killed before the name was durable. */
    return ours || dir_make(dir, error);
}

/* ---- is it alone ---- */

static bool dir_lock(struct log_dir *dir, struct log_error *error)
{
    char *path = log_dir_path(dir, "lock");
    int result = fs_open(dir->fs, path, FS_WRITE | FS_CREATE);
    bool good = result >= 0 || log_refuse_io(error, "open", path, result);
    if (good) {
        dir->priv->lock_file = result;
        char text[32] = {0};
        result = fs_lock(dir->fs, dir->priv->lock_file);
        if (result == -EWOULDBLOCK) {
            (void)!fs_read(dir->fs, dir->priv->lock_file, text, sizeof(text) - 1, 0);
            text[strcspn(text, " ")] = '\0'; /* it is written at a fixed width */
            good = log_refuse(error, LOG_ERROR_LOCKED,
                              "%s is used by another broker, process %.16s; stop that one or "
                              "choose another directory",
                              dir->path, text[0] != '\0' ? text : "unknown");
        } else if (result < 0) {
            good = log_refuse_io(error, "lock", path, result);
        } else {
            int length = snprintf(text, sizeof(text), "%-15u", dir->options.pid);
            (void)!fs_write(dir->fs, dir->priv->lock_file, text, (size_t)length, 0);
        }
    }
    mem_free(path);
    return good;
}

/* ---- who is it ---- */

bool log_dir_write_block(struct log_dir *dir, const char *name, const uint8_t block[FS_BLOCK],
                         struct log_error *error)
{
    char *path = log_dir_path(dir, name);
    size_t size = strlen(path) + sizeof(".new");
    char *aside = mem_alloc(size);
    (void)snprintf(aside, size, "%s.new", path);
    int64_t result = fs_open(dir->fs, aside, FS_WRITE | FS_CREATE);
    if (result >= 0) {
        int file = (int)result;
        result = fs_write(dir->fs, file, block, FS_BLOCK, 0);
        if (result >= 0)
            result = fs_sync(dir->fs, file);
        fs_close(dir->fs, file);
    }
    if (result >= 0)
        result = fs_rename(dir->fs, aside, path);
    if (result >= 0)
        result = fs_sync_dir(dir->fs, dir->path);
    bool good = result >= 0 || log_refuse_io(error, "write", path, result);
    mem_free(path);
    mem_free(aside);
    return good;
}

bool log_dir_read_block(const struct log_dir *dir, const char *name, uint8_t block[FS_BLOCK],
                        struct log_error *error)
{
    char *path = log_dir_path(dir, name);
    int64_t result = fs_open(dir->fs, path, FS_READ);
    if (result >= 0) {
        int file = (int)result;
        result = fs_read(dir->fs, file, block, FS_BLOCK, 0);
        fs_close(dir->fs, file);
    }
    bool good = result >= 0 || log_refuse_io(error, "read", path, result);
    mem_free(path);
    return good;
}

static bool meta_write(struct log_dir *dir, struct log_error *error)
{
    uint8_t *block = mem_pages(FS_BLOCK);
    const uint16_t version = dir->joined ? META_VERSION : 1;
    struct bytes_out own = format_begin(block, META_MAGIC, version, version, dir->uuid);
    put_bytes(&own, dir->cluster_id, sizeof(dir->cluster_id));
    put_i32(&own, dir->node_id);
    put_u8(&own, dir->joined);
    put_u64(&own, dir->mark.number);
    put_u64(&own, dir->mark.hash);
    format_end(block);
    bool good = log_dir_write_block(dir, META_NAME, block, error);
    mem_pages_free(block, FS_BLOCK);
    return good;
}

bool log_dir_join(struct log_dir *dir, struct log_error *error)
{
    bool joined = dir->joined;
    dir->joined = true;
    return joined || meta_write(dir, error);
}

static bool meta_decode(struct log_dir *dir, const uint8_t *block, struct log_error *error)
{
    struct bytes_in own;
    const uint8_t *uuid = NULL;
    switch (format_check(block, META_MAGIC, META_VERSION, &own, &uuid)) {
    case FORMAT_OK:
        break;
    case FORMAT_NEWER:
        return log_refuse(error, LOG_ERROR_NEWER,
                          "%s was written by a newer version of Millrace that this one may not "
                          "read; start that version",
                          dir->path);
    case FORMAT_EMPTY:
    case FORMAT_FOREIGN:
    case FORMAT_DAMAGED:
        return log_refuse(error, LOG_ERROR_DAMAGED,
                          "%s/%s is damaged at offset 0: it does not match its checksum; restore "
                          "it from a copy",
                          dir->path, META_NAME);
    }
    memcpy(dir->uuid, uuid, 16);
    take_into(&own, dir->cluster_id, sizeof(dir->cluster_id));
    dir->cluster_id[sizeof(dir->cluster_id) - 1] = '\0';
    dir->node_id = take_i32(&own);
    dir->joined = take_u8(&own) != 0;
    dir->mark.number = take_u64(&own); /* zeros where an older version has written it */
    dir->mark.hash = take_u64(&own);
    return true;
}

static bool meta_read(struct log_dir *dir, struct log_error *error)
{
    uint8_t *block = mem_pages(FS_BLOCK);
    bool good = log_dir_read_block(dir, META_NAME, block, error);
    /* The rename that brought it may have been the last act of a start that was killed: nothing may
     * be durable in a directory whose meta is not. */
    int result = good ? fs_sync_dir(dir->fs, dir->path) : 0;
    if (result < 0)
        good = log_refuse_io(error, "sync the directory", dir->path, result);
    good = good && meta_decode(dir, block, error);
    mem_pages_free(block, FS_BLOCK);
    return good;
}

bool log_dir_set_identity(struct log_dir *dir, const char *cluster_id, int32_t node_id,
                          struct log_error *error)
{
    if (dir->cluster_id[0] != '\0' && strcmp(dir->cluster_id, cluster_id) != 0)
        return log_refuse(error, LOG_ERROR_FOREIGN,
                          "%s belongs to cluster %s, not to %s; choose the right directory",
                          dir->path, dir->cluster_id, cluster_id);
    if (dir->node_id >= 0 && dir->node_id != node_id)
        return log_refuse(error, LOG_ERROR_FOREIGN,
                          "%s belongs to node %d, not to %d; choose the right directory", dir->path,
                          (int)dir->node_id, (int)node_id);
    if (strcmp(dir->cluster_id, cluster_id) == 0 && dir->node_id == node_id)
        return true;
    (void)snprintf(dir->cluster_id, sizeof(dir->cluster_id), "%s", cluster_id);
    dir->node_id = node_id;
    return meta_write(dir, error);
}

bool log_dir_set_mark(struct log_dir *dir, struct metadata_mark mark, struct log_error *error)
{
    dir->mark = mark;
    return meta_write(dir, error);
}

static bool dir_identify(struct log_dir *dir, bool fresh, struct log_error *error)
{
    const struct log_dir_options *options = &dir->options;
    if (fresh) {
        memcpy(dir->uuid, options->new_uuid, 16);
        dir->formatted_now = true;
        (void)snprintf(dir->cluster_id, sizeof(dir->cluster_id), "%s", options->cluster_id);
        dir->node_id = options->node_id;
        return meta_write(dir, error);
    }
    if (!meta_read(dir, error))
        return false;
    const char *cluster_id = options->cluster_id[0] != '\0' ? options->cluster_id : dir->cluster_id;
    int32_t node_id = options->node_id >= 0 ? options->node_id : dir->node_id;
    return log_dir_set_identity(dir, cluster_id, node_id, error);
}

struct log_dir *log_dir_open(const struct log_dir_options *options, struct log_error *error)
{
    must(options->shards > 0 && options->shards <= SHARDS_MAX);
    struct log_dir *dir = mem_zalloc(sizeof(*dir));
    dir->options = *options;
    dir->path = mem_strdup(options->path);
    dir->options.path = dir->path;
    dir->fs = options->fs;
    dir->node_id = -1;
    if (dir->options.journal_bytes == 0)
        dir->options.journal_bytes = JOURNAL_START;
    if (dir->options.bypass_bytes == 0)
        dir->options.bypass_bytes = BYPASS_BYTES;
    if (dir->options.open_files_max == 0)
        dir->options.open_files_max = 256;
    dir->priv = mem_zalloc(sizeof(*dir->priv));
    dir->priv->lock_file = -1;
    dir->priv->shards = mem_zalloc(options->shards * sizeof(dir->priv->shards[0]));
    for (uint16_t i = 0; i < options->shards; i++) {
        dir->priv->shards[i].journal_file = -1;
        dir->priv->shards[i].checkpoints.file = -1;
        dir->priv->shards[i].mails = mem_zalloc(options->shards * sizeof(struct log_offline_mail));
    }
    *error = (struct log_error){0};
    bool fresh;
    int result = 0;
    if (dir_stands_alone(dir, error) && dir_look(dir, &fresh, error) && dir_lock(dir, error) &&
        dir_identify(dir, fresh, error)) {
        result = fs_probe(dir->fs, dir->path, &dir->probe);
        if (result >= 0)
            return dir;
        (void)log_refuse_io(error, "probe the file system of", dir->path, result);
    }
    log_dir_close(dir);
    return NULL;
}

void log_dir_close(struct log_dir *dir)
{
    recovery_forget(dir);
    for (uint16_t i = 0; i < dir->options.shards; i++) {
        struct log_dir_shard *part = &dir->priv->shards[i];
        must(part->ls == NULL);
        if (part->checkpoints.path != NULL)
            record_file_close(&part->checkpoints);
        if (part->journal_file >= 0)
            fs_close(dir->fs, part->journal_file);
        mem_free(part->journal_path);
        mem_free(part->mails);
    }
    if (dir->priv->lock_file >= 0)
        fs_close(dir->fs, dir->priv->lock_file);
    mem_free(dir->priv->shards);
    mem_free(dir->priv);
    mem_free(dir->path);
    mem_free(dir);
}
