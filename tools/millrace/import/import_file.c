/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/import_file.h"

#include "io/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES (1U << 20)

const char *const import_way_names[IMPORT_WAYS] = {"reflink", "link", "copy"};

static int copy_bytes(int from, int to, uint64_t bytes)
{
    uint8_t *buffer = mem_alloc(COPY_BYTES);
    uint64_t at = 0;
    int error = 0;
    while (error == 0 && at < bytes) {
        ssize_t got = pread(from, buffer, min_u64(COPY_BYTES, bytes - at), (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            error = got < 0 ? -errno : -EIO;
            break;
        }
        for (ssize_t put = 0; error == 0 && put < got;) {
            ssize_t one = pwrite(to, buffer + put, (size_t)(got - put), (off_t)at + put);
            if (one < 0 && errno != EINTR)
                error = -errno;
            put += one > 0 ? one : 0;
        }
        at += (uint64_t)got;
    }
    mem_free(buffer);
    return error;
}

/* Shared blocks, if the file system has that and it is wanted. */
static int fill(struct import_ways *ways, int from, int to, uint64_t bytes, enum import_way *way)
{
    *way = IMPORT_COPY;
    if (ways->allowed[IMPORT_REFLINK] && ioctl(to, FICLONE, from) == 0) {
        *way = IMPORT_REFLINK;
        return ftruncate(to, (off_t)bytes) == 0 ? 0 : -errno;
    }
    if (!ways->allowed[IMPORT_COPY])
        return -EOPNOTSUPP;
    return copy_bytes(from, to, bytes);
}

static int copy(struct import_ways *ways, int from, const char *path, uint64_t bytes,
                enum import_way *way)
{
    int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (to < 0)
        return -errno;
    int error = fill(ways, from, to, bytes, way);
    if (error == 0 && fsync(to) != 0)
        error = -errno;
    if (close(to) != 0 && error == 0)
        error = -errno;
    return error;
}

/* May the file have a second name? */
static bool may_link(const struct import_ways *ways, const struct stat *about, uint64_t bytes)
{
    return ways->allowed[IMPORT_LINK] && about->st_uid == geteuid() &&
           (uint64_t)about->st_size == bytes;
}

int import_file(struct import_ways *ways, const char *from, const char *to, uint64_t bytes,
                bool is_closed)
{
    struct import_ways but_copy = *ways;
    enum import_way way = IMPORT_LINK;
    struct stat about;
    int file = open(from, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &about) != 0) {
        int error = -errno;
        if (file >= 0)
            close(file);
        return error;
    }
    but_copy.allowed[IMPORT_COPY] = false;
    bool linkable = is_closed && may_link(ways, &about, bytes);
    int error = copy(linkable ? &but_copy : ways, file, to, bytes, &way);
    if (error == -EOPNOTSUPP && linkable) {
        way = IMPORT_LINK;
        error = unlink(to) == 0 && link(from, to) == 0 ? 0 : -errno;
        if (error < 0) /* another file system, or it does not allow that */
            error = copy(ways, file, to, bytes, &way);
    }
    close(file);
    if (error == 0) {
        ways->files[way]++;
        ways->bytes[way] += bytes;
    }
    return error;
}
