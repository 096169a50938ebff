/* SPDX-License-Identifier: Apache-2.0
 *
 * A log's directory: whose it is, making it, and removing it.
 *
 * A topic that is deleted and made again has the same path but another id, and the old directory
 * may still be on its way out on another shard. So each holds a file log.id, and whoever finds
 * another log's says so and tries again later.
 */
#include "core/log/log_directory.h"

#include "core/log/format.h"
#include "io/fs.h"
#include "io/mem.h"

#include <errno.h>
#include <stdio.h>

#define NAME_KEPT_ASIDE 200U /* bytes of a deleted log's name, of the 255 a name may have */

void log_directory_path(char *to, size_t size, const char *root, const char *topic,
                        int32_t partition)
{
    (void)snprintf(to, size, "%s/%s-%d", root, topic, (int)partition);
}

void log_identity_encode(uint8_t block[FS_BLOCK], const uint8_t directory[16],
                         const struct log_id *id, uint32_t incarnation)
{
    struct bytes_out own = format_begin(block, SEGMENT_IDENTITY_MAGIC, 1, 1, directory);
    put_bytes(&own, id->topic_id, 16);
    put_i32(&own, id->partition);
    put_u32(&own, incarnation);
    format_end(block);
}

static char *path_in(const char *directory, const char *name)
{
    size_t size = strlen(directory) + strlen(name) + 2;
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/%s", directory, name);
    return path;
}

int64_t log_directory_owner(struct fs *fs, const char *directory, const uint8_t identity[FS_BLOCK])
{
    char *path = path_in(directory, "log.id");
    uint8_t block[FS_BLOCK];
    int64_t result = fs_open(fs, path, FS_READ);
    if (result >= 0) {
        int file = (int)result;
        result = fs_read(fs, file, block, FS_BLOCK, 0);
        fs_close(fs, file);
        struct bytes_in own;
        const uint8_t *owner;
        if (result >= 0 &&
            format_check(block, SEGMENT_IDENTITY_MAGIC, 1, &own, &owner) == FORMAT_OK)
            result = memcmp(block, identity, FS_BLOCK) == 0 ? 1 : -EBUSY;
        else
            result = min_i64(result, 0); /* torn by a crash: nobody relied on it */
    }
    mem_free(path);
    return result == -ENOENT ? 0 : result;
}

bool log_directory_read(struct fs *fs, const char *directory, const uint8_t uuid[16],
                        struct log_id *id, uint32_t *incarnation)
{
    char *path = path_in(directory, "log.id");
    uint8_t block[FS_BLOCK];
    int file = fs_open(fs, path, FS_READ);
    bool good = false;
    if (file >= 0) {
        struct bytes_in own;
        const uint8_t *owner;
        good = fs_read(fs, file, block, FS_BLOCK, 0) == FS_BLOCK &&
               format_check(block, SEGMENT_IDENTITY_MAGIC, 1, &own, &owner) == FORMAT_OK &&
               memcmp(owner, uuid, 16) == 0;
        fs_close(fs, file);
        if (good) {
            take_into(&own, id->topic_id, 16);
            id->partition = take_i32(&own);
            *incarnation = take_u32(&own);
        }
    }
    mem_free(path);
    return good;
}

int64_t log_directory_claim(struct fs *fs, const char *directory, const uint8_t identity[FS_BLOCK])
{
    int64_t result = fs_mkdir(fs, directory);
    if (result >= 0)
        result = log_directory_owner(fs, directory, identity);
    if (result != 0)
        return result;
    char *path = path_in(directory, "log.id");
    result = fs_open(fs, path, FS_WRITE | FS_CREATE);
    if (result >= 0) {
        int file = (int)result;
        result = fs_write(fs, file, identity, FS_BLOCK, 0);
        fs_close(fs, file);
    }
    mem_free(path);
    return min_i64(result, 0);
}

int64_t log_directory_flush(struct fs *fs, const char *root, const char *directory)
{
    if (fs_mutation(fs, "log_directory.not_durable"))
        return 0;
    char *path = path_in(directory, "log.id");
    int64_t result = fs_open(fs, path, FS_WRITE);
    if (result >= 0) {
        int file = (int)result;
        result = fs_sync(fs, file);
        fs_close(fs, file);
    }
    mem_free(path);
    if (result >= 0)
        result = fs_sync_dir(fs, directory);
    if (result >= 0)
        result = fs_sync_dir(fs, root);
    return min_i64(result, 0);
}

int64_t segment_file_remove(struct fs *fs, const char *path, const struct recycle_pool *pool,
                            uint64_t pool_tag)
{
    int64_t result = pool != NULL ? recycle_put(pool, path, pool_tag) : 0;
    return result == 0 ? fs_unlink(fs, path) : result;
}

int64_t log_directory_remove(struct fs *fs, const char *root, const char *directory, uint32_t tag,
                             const struct recycle_pool *pool, uint64_t pool_tag)
{
    /* The longest topic name leaves no room for a suffix: the tag alone tells such logs apart. */
    size_t keep = min_u64(strlen(directory), strlen(root) + 1 + NAME_KEPT_ASIDE);
    size_t size = keep + 32;
    char *aside = mem_alloc(size);
    (void)snprintf(aside, size, "%.*s.%08x-delete", (int)keep, directory, tag);
    int64_t result = fs_rename(fs, directory, aside);
    if (result >= 0)
        result = fs_sync_dir(fs, root);
    struct fs_list list = {0};
    if (result >= 0 && fs_list(fs, aside, &list) >= 0) {
        for (uint32_t i = 0; i < list.count; i++) {
            char *path = path_in(aside, list.names[i]);
            const char *dot = strrchr(list.names[i], '.');
            bool segment = dot != NULL && strcmp(dot, ".log") == 0;
            (void)!segment_file_remove(fs, path, segment ? pool : NULL, pool_tag + i);
            mem_free(path);
        }
        fs_list_free(&list);
        (void)!fs_rmdir(fs, aside);
    }
    mem_free(aside);
    return result;
}
