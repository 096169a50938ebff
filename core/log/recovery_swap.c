/* SPDX-License-Identifier: Apache-2.0
 *
 * A start finishes what core/log/log_swap.c had begun: the journal or the newest entry of a log
 * says that a compacted segment takes the place of others, and their files may have their old
 * names, the new ones, or any mixture that a power loss leaves. All of this may be done again and
 * again.
 */
#include "core/log/log_swap.h"
#include "core/log/recovery.h"

#include <errno.h>
#include <stdio.h>

static bool name_ends(const char *name, const char *end)
{
    size_t length = strlen(name);
    return length > strlen(end) && strcmp(name + length - strlen(end), end) == 0;
}

bool recovery_is_left_over(const char *name)
{
    return strspn(name, "0123456789") == 20 && name[20] == '.' &&
           (name_ends(name, ".deleted") || name_ends(name, ".cleaned") ||
            name_ends(name, ".cleaned-index"));
}

static int64_t unlink_if_there(struct fs *fs, const char *path)
{
    int64_t result = fs_unlink(fs, path);
    return result == -ENOENT ? 0 : result;
}

/* Is the new segment in place, whole? */
static bool in_place(struct fs *fs, const char *path, const struct swap_record *swap,
                     struct log_error *error)
{
    int64_t result = fs_open(fs, path, FS_READ);
    if (result >= 0) {
        int file = (int)result;
        result = fs_size(fs, file);
        fs_close(fs, file);
    }
    if (result < 0 && result != -ENOENT)
        return log_refuse_io(error, "look at", path, result);
    if (result == swap->new_size)
        return true;
    return log_refuse(error, LOG_ERROR_DAMAGED,
                      "%s is damaged: compaction has left %u bytes there, and there are %lld; "
                      "restore it from a replica or a copy",
                      path, swap->new_size, (long long)max_i64(result, 0));
}

static int64_t remove_old(struct fs *fs, const char *directory, const struct swap_record *swap,
                          char *path, size_t size)
{
    int64_t result = 0;
    for (uint32_t i = 0; i < swap->count && result >= 0; i++) {
        const long long base = swap->bases[i];
        (void)snprintf(path, size, "%s/%020lld.index", directory, base);
        result = unlink_if_there(fs, path);
        (void)snprintf(path, size, "%s/%020lld.timeindex", directory, base);
        if (result >= 0)
            result = unlink_if_there(fs, path);
        (void)snprintf(path, size, "%s/%020lld.log", directory, base);
        /* The first one's name is the new one's. */
        if (result >= 0 && (i > 0 || swap->new_size == 0))
            result = unlink_if_there(fs, path);
    }
    return result;
}

bool recovery_swap_finish(struct fs *fs, const char *directory, const struct swap_record *swap,
                          struct log_error *error)
{
    size_t size = strlen(directory) + 80;
    char *path = mem_alloc(size);
    char *to = mem_alloc(size);
    bool good = true;
    int64_t result = 0;
    (void)snprintf(to, size, "%s/%020lld.log", directory, (long long)swap->bases[0]);
    if (swap->new_size > 0) {
        (void)snprintf(path, size, "%s/" SWAP_NAME, directory, (long long)swap->bases[0],
                       swap->tag);
        result = fs_rename(fs, path, to);
        good = result != -ENOENT || in_place(fs, to, swap, error);
        result = result == -ENOENT ? 0 : result;
    }
    if (good && result >= 0)
        result = remove_old(fs, directory, swap, path, size);
    if (good && result < 0)
        good = log_refuse_io(error, "rename segments of", directory, result);
    mem_free(path);
    mem_free(to);
    return good;
}
