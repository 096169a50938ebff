/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool of segment files (core/log/recycle.h).
 */
#include "core/log/recycle.h"

#include "core/log/format.h"
#include "io/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define RECYCLE_MAGIC    "MRRECYCL"
#define RECYCLE_VERSION  1U
#define RECYCLE_MIN      (4U * FS_BLOCK)
#define RECYCLE_FILES    256U /* a listing stays short */
#define RECYCLE_FREE     20U  /* a part of the disk: below it the pool gives way */
#define RECYCLE_NAME     "%016llx-%016llx"
#define RECYCLE_NAME_LEN 33U

/* ---- names ---- */

static char *pool_path(const struct recycle_pool *pool, const char *name, const char *suffix)
{
    size_t size = strlen(pool->root) + strlen(name) + strlen(suffix) + 16;
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/recycled%s%s%s", pool->root, name[0] != '\0' ? "/" : "", name,
                   suffix);
    return path;
}

static int64_t pool_sync(const struct recycle_pool *pool)
{
    char *path = pool_path(pool, "", "");
    int64_t result = fs_sync_dir(pool->fs, path);
    mem_free(path);
    return result;
}

static int64_t pool_unlink(const struct recycle_pool *pool, const char *name, const char *suffix)
{
    char *path = pool_path(pool, name, suffix);
    int64_t result = fs_unlink(pool->fs, path);
    mem_free(path);
    return result;
}

/* How long a free file is, 0: another name. */
static uint64_t name_length(const char *name)
{
    if (strlen(name) != RECYCLE_NAME_LEN || strspn(name, "0123456789abcdef") != 16 ||
        name[16] != '-' || strspn(name + 17, "0123456789abcdef") != 16)
        return 0;
    return strtoull(name, NULL, 16);
}

static int64_t pool_list(const struct recycle_pool *pool, struct fs_list *list)
{
    char *path = pool_path(pool, "", "");
    int64_t result = fs_list(pool->fs, path, list);
    mem_free(path);
    return result == -ENOENT ? 0 : result;
}

/* ---- the header ---- */

static int64_t header_write(const struct recycle_pool *pool, int file, uint64_t length)
{
    uint8_t *block = mem_pages(FS_BLOCK);
    memset(block, 0, FS_BLOCK);
    if (length > 0) {
        struct bytes_out own =
            format_begin(block, RECYCLE_MAGIC, RECYCLE_VERSION, RECYCLE_VERSION, pool->uuid);
        put_i64(&own, (int64_t)length);
        format_end(block);
    }
    int64_t result = fs_write(pool->fs, file, block, FS_BLOCK, 0);
    if (result >= 0)
        result = fs_sync(pool->fs, file);
    mem_pages_free(block, FS_BLOCK);
    return result;
}

/* 1 free, and as long as its name says; 0 not. */
static int64_t header_check(const struct recycle_pool *pool, int file, uint64_t length)
{
    uint8_t *block = mem_pages(FS_BLOCK);
    struct bytes_in own;
    const uint8_t *uuid;
    int64_t size = fs_size(pool->fs, file);
    int64_t result = size < 0 ? size : fs_read(pool->fs, file, block, FS_BLOCK, 0);
    if (result >= 0)
        result = result == FS_BLOCK &&
                 format_check(block, RECYCLE_MAGIC, RECYCLE_VERSION, &own, &uuid) == FORMAT_OK &&
                 memcmp(uuid, pool->uuid, 16) == 0 && (uint64_t)take_i64(&own) == length &&
                 (uint64_t)size == length;
    mem_pages_free(block, FS_BLOCK);
    return result;
}

/* ---- a start ---- */

static bool start_keeps(const struct recycle_pool *pool, const char *name, uint64_t length)
{
    char *path = pool_path(pool, name, "");
    int file = fs_open(pool->fs, path, FS_READ);
    bool good = file >= 0 && header_check(pool, file, length) == 1;
    if (file >= 0)
        fs_close(pool->fs, file);
    mem_free(path);
    return good;
}

int64_t recycle_start(const struct recycle_pool *pool)
{
    struct fs_list list = {0};
    uint64_t kept = 0;
    int64_t result = pool_list(pool, &list);
    for (uint32_t i = 0; result >= 0 && i < list.count; i++) {
        uint64_t length = name_length(list.names[i]);
        if (length > 0 && kept + length <= pool->bytes_max &&
            start_keeps(pool, list.names[i], length))
            kept += length;
        else
            (void)!pool_unlink(pool, list.names[i], ""); /* the next start tries again */
    }
    fs_list_free(&list);
    char *path = pool_path(pool, "", "");
    if (result >= 0 && pool->bytes_max > 0) {
        result = fs_mkdir(pool->fs, path);
        if (result >= 0)
            result = fs_sync_dir(pool->fs, pool->root);
    } else if (result >= 0) {
        (void)!fs_rmdir(pool->fs, path);
    }
    mem_free(path);
    return result;
}

/* ---- in ---- */

static uint64_t list_bytes(const struct fs_list *list)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < list->count; i++)
        bytes += name_length(list->names[i]);
    return bytes;
}

uint64_t recycle_bytes(const struct recycle_pool *pool)
{
    struct fs_list list = {0};
    uint64_t bytes = pool_list(pool, &list) >= 0 ? list_bytes(&list) : 0;
    fs_list_free(&list);
    return bytes;
}

static bool pool_has_room(const struct recycle_pool *pool, uint64_t length)
{
    struct fs_list list = {0};
    bool room = length >= RECYCLE_MIN && length <= pool->bytes_max && pool_list(pool, &list) >= 0 &&
                list.count < RECYCLE_FILES;
    room = room && length + list_bytes(&list) <= pool->bytes_max;
    fs_list_free(&list);
    return room;
}

static int64_t sync_parent(struct fs *fs, const char *path)
{
    char *parent = mem_strdup(path);
    *strrchr(parent, '/') = '\0';
    int64_t result = fs_sync_dir(fs, parent);
    mem_free(parent);
    return result;
}

/* It gets its header when no other name leads to it any more, and then its free name. */
static int64_t put_header(const struct recycle_pool *pool, int file, uint64_t size, uint64_t length,
                          const char *from)
{
    int64_t result = sync_parent(pool->fs, from);
    if (result >= 0)
        result = pool_sync(pool);
    if (result >= 0 && size != length)
        result = fs_truncate(pool->fs, file, length);
    return result < 0 ? result : header_write(pool, file, length);
}

static int64_t put_in(const struct recycle_pool *pool, int file, uint64_t size, const char *name,
                      const char *from)
{
    char *on_its_way = pool_path(pool, name, ".in");
    char *to = pool_path(pool, name, "");
    int64_t result = 0; /* it cannot be moved there: the caller removes it */
    if (fs_rename(pool->fs, from, on_its_way) >= 0) {
        result = put_header(pool, file, size, name_length(name), from);
        if (result >= 0)
            result = fs_rename(pool->fs, on_its_way, to);
        if (result < 0)
            (void)!fs_unlink(pool->fs, on_its_way);
        result = result < 0 ? result : 1;
    }
    mem_free(on_its_way);
    mem_free(to);
    return result;
}

int64_t recycle_put(const struct recycle_pool *pool, const char *path, uint64_t tag)
{
    if (pool->bytes_max == 0)
        return 0;
    int64_t result = fs_open(pool->fs, path, FS_WRITE | FS_DIRECT);
    if (result < 0)
        return result == -ENOENT ? 0 : result;
    int file = (int)result;
    /* What somebody else holds by a name of his own is not to be written over. */
    int64_t links = fs_links(pool->fs, file);
    result = fs_size(pool->fs, file);
    uint64_t size = (uint64_t)max_i64(result, 0);
    uint64_t length = round_down(size, FS_BLOCK);
    char name[RECYCLE_NAME_LEN + 1];
    (void)snprintf(name, sizeof(name), RECYCLE_NAME, (unsigned long long)length,
                   (unsigned long long)tag);
    if (result >= 0)
        result =
            links == 1 && pool_has_room(pool, length) ? put_in(pool, file, size, name, path) : 0;
    fs_close(pool->fs, file);
    return result;
}

/* ---- out ---- */

/* The largest of [least, most] bytes, "" when there is none. */
static int64_t pool_choose(const struct recycle_pool *pool, uint64_t least, uint64_t most,
                           char name[RECYCLE_NAME_LEN + 1])
{
    struct fs_list list = {0};
    uint64_t best = 0;
    int64_t result = pool_list(pool, &list);
    name[0] = '\0';
    for (uint32_t i = 0; result >= 0 && i < list.count; i++) {
        uint64_t length = name_length(list.names[i]);
        if (length <= best || length < least || length > most)
            continue;
        best = length;
        memcpy(name, list.names[i], RECYCLE_NAME_LEN + 1);
    }
    fs_list_free(&list);
    return result;
}

/* It is ours alone. 1: it was free, and holds nothing any more. */
static int64_t take_wipe(const struct recycle_pool *pool, const char *path, uint64_t length)
{
    int64_t result = fs_open(pool->fs, path, FS_WRITE | FS_DIRECT);
    if (result < 0)
        return result;
    int file = (int)result;
    result = header_check(pool, file, length);
    if (result == 1)
        result = header_write(pool, file, 0) < 0 ? 0 : 1;
    fs_close(pool->fs, file);
    return result;
}

static int64_t take_sync(const struct recycle_pool *pool, const char *directory)
{
    if (fs_mutation(pool->fs, "recycle.place_not_durable"))
        return 1;
    int64_t result = fs_sync_dir(pool->fs, directory);
    if (result >= 0)
        result = pool_sync(pool);
    return result < 0 ? result : 1;
}

/* 1 it has its place, 0 it is of no use. */
static int64_t take_out(const struct recycle_pool *pool, const char *name, const char *directory,
                        const char *path)
{
    char *from = pool_path(pool, name, "");
    char *claim = pool_path(pool, name, ".out");
    int64_t result = 0; /* another shard was faster */
    if (fs_rename(pool->fs, from, claim) >= 0) {
        if (take_wipe(pool, claim, name_length(name)) == 1 && fs_rename(pool->fs, claim, path) >= 0)
            result = take_sync(pool, directory);
        else
            (void)!fs_unlink(pool->fs, claim);
    }
    mem_free(from);
    mem_free(claim);
    return result;
}

int64_t recycle_take(const struct recycle_pool *pool, const char *directory, const char *path,
                     uint64_t least, uint64_t most)
{
    char name[RECYCLE_NAME_LEN + 1];
    int64_t result = 0;
    for (uint32_t tries = 0; most > 0 && result == 0 && tries < RECYCLE_FILES; tries++) {
        result = pool_choose(pool, least, most, name);
        if (result < 0 || name[0] == '\0')
            break;
        result = take_out(pool, name, directory, path);
    }
    return result;
}

/* ---- away ---- */

bool recycle_shrink(const struct recycle_pool *pool)
{
    char name[RECYCLE_NAME_LEN + 1];
    for (uint32_t tries = 0; tries < RECYCLE_FILES; tries++) {
        if (pool_choose(pool, 1, UINT64_MAX, name) < 0 || name[0] == '\0')
            return false;
        int64_t result = pool_unlink(pool, name, "");
        if (result != -ENOENT)
            return result >= 0;
    }
    return false;
}

int64_t recycle_space(const struct recycle_pool *pool, uint64_t reserve_bytes, uint64_t *free_bytes)
{
    struct fs_space space = {0};
    int64_t result;
    do
        result = fs_space(pool->fs, pool->root, &space);
    while (result >= 0 &&
           space.free_bytes < max_u64(2 * reserve_bytes, space.total_bytes / RECYCLE_FREE) &&
           recycle_shrink(pool));
    *free_bytes = space.free_bytes;
    return result;
}
