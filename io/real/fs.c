/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocking file system calls of the real world (io/fs.h). A file number is a descriptor.
 */
#include "io/fs.h"

#include "io/mem.h"
#include "io/threads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* There is one machine, and the kernel keeps its state. */
struct fs {
    char nothing;
};

struct fs *fs_host(void)
{
    static struct fs host;
    return &host;
}

bool fs_mutation(const struct fs *fs, const char *name)
{
    (void)fs;
    (void)name;
    return false;
}

/* O_DIRECT is asked for after the open: where the file system lacks it, open() would fail and may
 * have created the file all the same. */
int fs_open(struct fs *fs, const char *path, unsigned flags)
{
    (void)fs;
    int how = O_CLOEXEC | (flags & FS_WRITE ? O_RDWR : O_RDONLY);
    how |= flags & FS_CREATE ? O_CREAT : 0;
    how |= flags & FS_EXCLUSIVE ? O_EXCL : 0;
    int file = open(path, how, 0644);
    if (file < 0)
        return -errno;
    if (flags & FS_DIRECT) {
        int status = fcntl(file, F_GETFL);
        if (status >= 0)
            (void)fcntl(file, F_SETFL, status | O_DIRECT);
    }
    return file;
}

void fs_close(struct fs *fs, int file)
{
    (void)fs;
    int result = close(file);
    must(result == 0 || errno != EBADF);
}

int64_t fs_read(struct fs *fs, int file, void *to, size_t len, uint64_t offset)
{
    (void)fs;
    size_t got = 0;
    while (got < len) {
        ssize_t n = pread(file, (char *)to + got, len - got, (off_t)(offset + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EINVAL && got % FS_BLOCK != 0)
            break; /* a direct read cannot go on behind the last, odd bytes of a file */
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (int64_t)got;
}

int64_t fs_write(struct fs *fs, int file, const void *from, size_t len, uint64_t offset)
{
    (void)fs;
    size_t put = 0;
    while (put < len) {
        ssize_t n = pwrite(file, (const char *)from + put, len - put, (off_t)(offset + put));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        put += (size_t)n;
    }
    return (int64_t)put;
}

int fs_sync(struct fs *fs, int file)
{
    (void)fs;
    return fdatasync(file) == 0 ? 0 : -errno;
}

int64_t fs_size(struct fs *fs, int file)
{
    (void)fs;
    struct stat st;
    return fstat(file, &st) == 0 ? st.st_size : -errno;
}

int64_t fs_links(struct fs *fs, int file)
{
    (void)fs;
    struct stat st;
    return fstat(file, &st) == 0 ? (int64_t)st.st_nlink : -errno;
}

int fs_truncate(struct fs *fs, int file, uint64_t size)
{
    (void)fs;
    return ftruncate(file, (off_t)size) == 0 ? 0 : -errno;
}

/* Where the file system cannot allocate, zeros are written behind the end. Holes inside the file
 * read as zeros and stay holes. */
static int allocate_by_writing(struct fs *fs, int file, uint64_t end)
{
    int64_t size = fs_size(fs, file);
    if (size < 0)
        return (int)size;
    enum { STEP = 1 << 20 };
    uint8_t *zeros = mem_pages(STEP);
    uint64_t at = round_down((uint64_t)size, FS_BLOCK);
    int result = 0;
    if (at < (uint64_t)size) { /* direct I/O needs whole blocks: take in what is there */
        int64_t n = fs_read(fs, file, zeros, FS_BLOCK, at);
        if (n >= 0)
            n = fs_write(fs, file, zeros, FS_BLOCK, at);
        result = n < 0 ? (int)n : 0;
        memset(zeros, 0, FS_BLOCK);
        at += FS_BLOCK;
    }
    while (result == 0 && at < end) {
        uint64_t len = min_u64(STEP, round_up(end - at, FS_BLOCK));
        int64_t n = fs_write(fs, file, zeros, len, at);
        result = n < 0 ? (int)n : 0;
        at += len;
    }
    if (result == 0 && at > end && (uint64_t)size < end)
        result = fs_truncate(fs, file, end);
    mem_pages_free(zeros, STEP);
    return result;
}

int fs_allocate(struct fs *fs, int file, uint64_t offset, uint64_t len)
{
    for (;;) {
        if (fallocate(file, 0, (off_t)offset, (off_t)len) == 0)
            return 0;
        if (errno == EOPNOTSUPP)
            return allocate_by_writing(fs, file, offset + len);
        if (errno != EINTR)
            return -errno;
    }
}

int fs_rename(struct fs *fs, const char *from, const char *to)
{
    (void)fs;
    return rename(from, to) == 0 ? 0 : -errno;
}

int fs_unlink(struct fs *fs, const char *path)
{
    (void)fs;
    return unlink(path) == 0 ? 0 : -errno;
}

int fs_mkdir(struct fs *fs, const char *path)
{
    (void)fs;
    if (mkdir(path, 0755) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    struct stat st;
    if (stat(path, &st) != 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int fs_rmdir(struct fs *fs, const char *path)
{
    (void)fs;
    return rmdir(path) == 0 ? 0 : -errno;
}

int fs_sync_dir(struct fs *fs, const char *path)
{
    (void)fs;
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    int result = fsync(dir) == 0 ? 0 : -errno;
    close(dir);
    return result;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int fs_list(struct fs *fs, const char *path, struct fs_list *list)
{
    (void)fs;
    *list = (struct fs_list){0};
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -errno;
    uint32_t size = 0;
    int result = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (list->count == size) {
            size = size == 0 ? 64 : size * 2;
            list->names = mem_realloc(list->names, size * sizeof(list->names[0]));
        }
        list->names[list->count++] = mem_strdup(entry->d_name);
    }
    closedir(dir);
    if (result != 0)
        fs_list_free(list);
    else if (list->count > 1)
        qsort(list->names, list->count, sizeof(list->names[0]), compare_names);
    return result;
}

void fs_list_free(struct fs_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        mem_free(list->names[i]);
    mem_free(list->names);
    *list = (struct fs_list){0};
}

/* Writes in flight of a process that was just killed keep its lock for a moment. */
int fs_lock(struct fs *fs, int file)
{
    (void)fs;
    enum { TRIES = 10 };
    for (int i = 0;; i++) {
        if (flock(file, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -errno;
        if (i == TRIES)
            return -EWOULDBLOCK;
        (void)nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
    }
}

int fs_space(struct fs *fs, const char *path, struct fs_space *space)
{
    (void)fs;
    struct statvfs st;
    if (statvfs(path, &st) != 0)
        return -errno;
    space->free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    space->total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
    return 0;
}

/* ---- the probe ---- */

static void type_name(unsigned long magic, char name[16])
{
    static const struct {
        unsigned long magic;
        const char *name;
    } known[] = {
        {EXT4_SUPER_MAGIC, "ext4"}, {XFS_SUPER_MAGIC, "xfs"},
        {TMPFS_MAGIC, "tmpfs"},     {BTRFS_SUPER_MAGIC, "btrfs"},
        {NFS_SUPER_MAGIC, "nfs"},   {OVERLAYFS_SUPER_MAGIC, "overlay"},
        {0x2fc12fc1, "zfs"},        {F2FS_SUPER_MAGIC, "f2fs"},
        {FUSE_SUPER_MAGIC, "fuse"}, {RAMFS_MAGIC, "ramfs"},
    };
    for (size_t i = 0; i < array_count(known); i++) {
        if (known[i].magic == magic) {
            snprintf(name, 16, "%s", known[i].name);
            return;
        }
    }
    snprintf(name, 16, "0x%lx", magic);
}

/* 1 when a block goes out and comes back directly, 0 when the file system will not, or -errno. */
static int try_direct(struct fs *fs, int file)
{
    int status = fcntl(file, F_GETFL);
    if (status < 0)
        return -errno;
    if (fcntl(file, F_SETFL, status | O_DIRECT) != 0)
        return 0;
    uint8_t *block = mem_pages(FS_BLOCK);
    memset(block, 0x5a, FS_BLOCK);
    int64_t n = fs_write(fs, file, block, FS_BLOCK, 0);
    memset(block, 0, FS_BLOCK);
    if (n == FS_BLOCK)
        n = fs_read(fs, file, block, FS_BLOCK, 0);
    bool same = n == FS_BLOCK && block[0] == 0x5a && block[FS_BLOCK - 1] == 0x5a;
    mem_pages_free(block, FS_BLOCK);
    if (n < 0 && n != -EINVAL)
        return (int)n;
    return same;
}

/* One flush covers earlier direct overwrites of other files where the flush goes to the whole block
 * device and an overwrite leaves no metadata behind: ext4 and XFS on a real device. */
int fs_probe(struct fs *fs, const char *path, struct fs_probe *probe)
{
    struct statfs sf;
    if (statfs(path, &sf) != 0)
        return -errno;
    *probe = (struct fs_probe){0};
    type_name((unsigned long)sf.f_type & 0xffffffffUL, probe->type);
    probe->in_memory = sf.f_type == TMPFS_MAGIC || sf.f_type == RAMFS_MAGIC;

    char name[4096];
    int len = snprintf(name, sizeof(name), "%s/.probe-%ld", path, (long)getpid());
    if (len < 0 || (size_t)len >= sizeof(name))
        return -ENAMETOOLONG;
    int file = fs_open(fs, name, FS_WRITE | FS_CREATE);
    if (file < 0)
        return file;
    int direct = try_direct(fs, file);
    struct stat st;
    int result = fstat(file, &st) == 0 ? 0 : -errno;
    fs_close(fs, file);
    int removed = fs_unlink(fs, name);
    if (direct < 0)
        return direct;
    if (result != 0 || removed != 0)
        return result != 0 ? result : removed;
    probe->direct = direct > 0;
    bool flushes_device = sf.f_type == EXT4_SUPER_MAGIC || sf.f_type == XFS_SUPER_MAGIC;
    probe->shared_flush = probe->direct && flushes_device && major(st.st_dev) != 0;
    return 0;
}
