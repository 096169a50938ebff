/* SPDX-License-Identifier: Apache-2.0
 *
 * powerfs: a file system on a disk whose power can be cut.
 *
 *     powerfs -f -o backing=DIR[,seed=N][,delay_us=N][,lie=PREFIX] MOUNTPOINT
 *
 * What the kernel's own page cache keeps after kill -9 hides every missing flush. Here everything
 * that was written is volatile until it is flushed, and SIGUSR1 cuts the power: what was not
 * flushed is dropped at random, the process ends at once, and every call on the mount fails from
 * then on. Mounted again, DIR shows what the disk would.
 *
 * DIR/now holds the files as they are seen now; memory holds what undoes the volatile part:
 *
 *   data    the flushed content of every 4096-byte block written since. Each block is kept or lost
 * by a coin of its own, so writes are torn and lost out of order. size    truncate and growth are
 * kept or lost whole, per file. names   create, unlink, rename, mkdir and rmdir per directory, in
 * order: a random number of the last ones is lost. What unlink, rmdir or rename would destroy waits
 * in DIR/lost. A file that is renamed into another directory has its new name when that one is
 * flushed, and loses the old one when the old one is: a cut may leave both, or none.
 *
 * Flushes: fsync and fdatasync of a file cover its blocks and size; a write with O_DSYNC, or with
 * RWF_DSYNC alone (the kernel hands that flag on with each write of a file opened with direct_io,
 * as all are here; measured on 6.18, and powerfs_cases.py shows it on the kernel at hand), covers
 * its own blocks and the size; fsync of a directory covers its names. Stricter than ext4 and XFS,
 * and all that POSIX promises: fsync of a new file does not cover its name, one flush never covers
 * another file. A durable write is volatile for up to delay_us before it is durable and answered: a
 * cut in between tears it, and several of them end in any order.
 *
 * lie=PREFIX is the deliberate mistake that proves the test: durable writes to files whose name
 * begins with PREFIX are acknowledged and stay volatile, as if the caller had forgotten the flag. A
 * broker build has no such switch, so the disk has it. Of such a file a cut loses every volatile
 * block: half of a journal is noticed by the broker, all of it only by a checker.
 *
 * One lock guards everything: the point is the order of events, not speed. A durable write whose
 * blocks are overwritten before it is answered makes the later bytes durable too; nothing that is
 * tested here writes a block twice at a time.
 */
#define FUSE_USE_VERSION 31

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* As io/map.h does; this program has no door, so it cannot use that. */
#define XXH_INLINE_ALL
#include <xxhash.h>
#define HASH_FUNCTION(key, len, hash) ((hash) = (unsigned)XXH3_64bits(key, len))
#include <uthash.h>

#define BLOCK          4096U
#define NAME_MAX_BYTES 256U

/* What a block held when it was last durable. */
struct undo {
    uint64_t block;
    uint8_t *was; /* NULL: zeros, or behind the durable end */
    UT_hash_handle hh;
};

/* A file that is open or has something volatile. All its openers share one descriptor. */
struct inode {
    ino_t number;
    int file;
    uint32_t opened;
    bool lie;
    uint64_t size;         /* as seen now */
    uint64_t durable_size; /* as of the last flush */
    uint64_t
        least_size; /* the smallest since then: what lay behind it is gone once that is durable */
    bool size_changed;
    struct undo *undos;
    UT_hash_handle hh;
};

enum change_kind { CHANGE_CREATE, CHANGE_REMOVE, CHANGE_RENAME };

/* A name that changed and was not flushed. Directories are held by descriptor, so that it can be
 * undone whatever has become of their own names. */
struct change {
    TAILQ_ENTRY(change) entry;
    enum change_kind kind;
    int from_dir; /* CHANGE_RENAME only, else -1 */
    int dir;
    ino_t dir_number;
    char from_name[NAME_MAX_BYTES];
    char name[NAME_MAX_BYTES];
    uint64_t lost_number; /* DIR/lost/N holds what the change destroyed; 0: nothing */
};
TAILQ_HEAD(change_list, change);

static struct {
    const char *backing;
    const char *lie;
    unsigned long seed;
    unsigned delay_us;
    int now_dir, lost_dir;
    pthread_mutex_t lock;
    struct inode *inodes;
    struct change_list changes;
    uint64_t lost_count;
    uint64_t random;
    struct {
        uint64_t blocks, blocks_lost, sizes, sizes_lost, names, names_lost;
    } cut;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .delay_us = 0, .seed = 1};

static uint64_t random_next(void)
{
    disk.random += 0x9e3779b97f4a7c15U;
    uint64_t z = disk.random;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static bool coin(void)
{
    return random_next() >> 63;
}

static void lock(void)
{
    (void)pthread_mutex_lock(&disk.lock);
}

static void unlock(void)
{
    (void)pthread_mutex_unlock(&disk.lock);
}

static void pause_for_flush(void)
{
    if (disk.delay_us == 0)
        return;
    lock();
    long ns = (long)(random_next() % disk.delay_us) * 1000;
    unlock();
    (void)nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

static _Noreturn void fail(const char *what)
{
    perror(what);
    _exit(3);
}

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory)
        fail("powerfs: memory");
    return memory;
}

/* ---- files ---- */

static const char *relative(const char *path)
{
    return path[1] ? path + 1 : ".";
}

static const char *base_name(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* The descriptor's inode; the descriptor is its or is closed. */
static struct inode *inode_take(int file, const char *path)
{
    struct stat st;
    if (fstat(file, &st) != 0)
        fail("powerfs: fstat");
    struct inode *inode;
    HASH_FIND(hh, disk.inodes, &st.st_ino, sizeof(st.st_ino), inode);
    if (inode) {
        close(file);
    } else {
        inode = allocate(sizeof(*inode));
        inode->number = st.st_ino;
        inode->file = file;
        inode->size = inode->durable_size = inode->least_size = (uint64_t)st.st_size;
        HASH_ADD(hh, disk.inodes, number, sizeof(inode->number), inode);
    }
    inode->lie = disk.lie && strncmp(base_name(path), disk.lie, strlen(disk.lie)) == 0;
    inode->opened++;
    return inode;
}

static void inode_put(struct inode *inode)
{
    inode->opened--;
    if (inode->opened > 0 || inode->undos || inode->size_changed)
        return;
    HASH_DEL(disk.inodes, inode);
    close(inode->file);
    free(inode);
}

static struct inode *inode_of(const struct fuse_file_info *info)
{
    return (struct inode *)(uintptr_t)info->fh;
}

static void undo_drop(struct inode *inode, struct undo *undo)
{
    HASH_DEL(inode->undos, undo);
    free(undo->was);
    free(undo);
}

static bool all_zero(const uint8_t *block)
{
    return block[0] == 0 && memcmp(block, block + 1, BLOCK - 1) == 0;
}

/* Call before the bytes from `begin` to `end` change. */
static void keep_undo(struct inode *inode, uint64_t begin, uint64_t end)
{
    for (uint64_t block = begin / BLOCK; block * BLOCK < end; block++) {
        struct undo *undo;
        HASH_FIND(hh, inode->undos, &block, sizeof(block), undo);
        if (undo)
            continue;
        undo = allocate(sizeof(*undo));
        undo->block = block;
        if (block * BLOCK < inode->durable_size) {
            undo->was = allocate(BLOCK);
            if (pread(inode->file, undo->was, BLOCK, (off_t)(block * BLOCK)) < 0)
                fail("powerfs: pread");
            if (all_zero(undo->was)) {
                free(undo->was);
                undo->was = NULL;
            }
        }
        HASH_ADD(hh, inode->undos, block, sizeof(undo->block), undo);
    }
}

static void size_set(struct inode *inode, uint64_t size)
{
    if (size == inode->size)
        return;
    inode->size = size;
    inode->least_size = size < inode->least_size ? size : inode->least_size;
    inode->size_changed = true;
}

static void size_flush(struct inode *inode)
{
    if (!inode->size_changed)
        return;
    for (struct undo *undo = inode->undos; undo; undo = undo->hh.next) {
        if (undo->block * BLOCK >= inode->least_size) {
            free(undo->was);
            undo->was = NULL;
        }
    }
    inode->durable_size = inode->least_size = inode->size;
    inode->size_changed = false;
}

static void file_flush(struct inode *inode)
{
    while (inode->undos)
        undo_drop(inode, inode->undos); // NOLINT(clang-analyzer-unix.Malloc): it leaves the map
    size_flush(inode);
}

static void range_flush(struct inode *inode, uint64_t begin, uint64_t end)
{
    for (uint64_t block = begin / BLOCK; block * BLOCK < end; block++) {
        struct undo *undo;
        HASH_FIND(hh, inode->undos, &block, sizeof(block), undo);
        if (undo)
            undo_drop(inode, undo);
    }
    size_flush(inode);
}

static int truncate_to(struct inode *inode, uint64_t size)
{
    if (size < inode->size)
        keep_undo(inode, size, inode->size);
    if (ftruncate(inode->file, (off_t)size) != 0)
        return -errno;
    size_set(inode, size);
    return 0;
}

/* ---- names ---- */

static int parent_open(const char *path)
{
    char parent[4096];
    size_t len = (size_t)(base_name(path) - path);
    if (len >= sizeof(parent))
        return -1;
    memcpy(parent, path, len);
    parent[len] = 0;
    return openat(disk.now_dir, relative(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void lost_name(uint64_t number, char name[32])
{
    snprintf(name, 32, "%llu", (unsigned long long)number);
}

/* Gives it a second name, by which the first can come back. */
static uint64_t keep_name(int dir, const char *name)
{
    char number[32];
    lost_name(++disk.lost_count, number);
    if (linkat(dir, name, disk.lost_dir, number, 0) != 0)
        fail("powerfs: link");
    return disk.lost_count;
}

/* Moves a name away, so that it can come back. */
static uint64_t lose(int dir, const char *name)
{
    char number[32];
    lost_name(++disk.lost_count, number);
    if (renameat(dir, name, disk.lost_dir, number) != 0)
        fail("powerfs: rename");
    return disk.lost_count;
}

static struct change *change_new(enum change_kind kind, int dir, const char *path)
{
    struct change *change = allocate(sizeof(*change));
    struct stat st;
    if (fstat(dir, &st) != 0)
        fail("powerfs: fstat");
    change->kind = kind;
    change->from_dir = -1;
    change->dir = dir;
    change->dir_number = st.st_ino;
    snprintf(change->name, sizeof(change->name), "%s", base_name(path));
    TAILQ_INSERT_TAIL(&disk.changes, change, entry);
    return change;
}

static void change_drop(struct change *change)
{
    TAILQ_REMOVE(&disk.changes, change, entry);
    if (change->from_dir >= 0)
        close(change->from_dir);
    close(change->dir);
    free(change);
}

static void change_undo(const struct change *change)
{
    char number[32];
    lost_name(change->lost_number, number);
    switch (change->kind) {
    case CHANGE_CREATE:
        (void)lose(change->dir, change->name);
        break;
    case CHANGE_RENAME:
        if (renameat(change->dir, change->name, change->from_dir, change->from_name) != 0)
            fail("powerfs: rename");
        break;
    case CHANGE_REMOVE:
        break;
    }
    if (change->lost_number && renameat(disk.lost_dir, number, change->dir, change->name) != 0)
        fail("powerfs: rename");
}

/* What cannot come back any more goes; of a directory the number, 0: it was a file. */
static ino_t lost_destroy(uint64_t number)
{
    char name[32];
    struct stat st;
    lost_name(number, name);
    if (fstatat(disk.lost_dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        fail("powerfs: stat");
    bool directory = S_ISDIR(st.st_mode);
    if (unlinkat(disk.lost_dir, name, directory ? AT_REMOVEDIR : 0) != 0)
        fail("powerfs: unlink");
    return directory ? st.st_ino : 0;
}

/* Names in a directory that is gone for good do not come back either. */
static void dir_flush(ino_t number)
{
    struct change *next;
    for (struct change *change = TAILQ_FIRST(&disk.changes); change; change = next) {
        next = TAILQ_NEXT(change, entry);
        if (change->dir_number != number)
            continue;
        ino_t gone = change->lost_number ? lost_destroy(change->lost_number) : 0;
        change_drop(change);
        if (gone == 0)
            continue;
        dir_flush(gone);
        next = TAILQ_FIRST(&disk.changes);
    }
}

/* ---- the cut ---- */

static void inode_cut(struct inode *inode)
{
    static const uint8_t zeros[BLOCK];
    uint64_t size = inode->size;
    if (inode->size_changed) {
        disk.cut.sizes++;
        if (coin()) {
            disk.cut.sizes_lost++;
            size = inode->durable_size;
        }
    }
    for (struct undo *undo = inode->undos; undo; undo = undo->hh.next) {
        uint64_t at = undo->block * BLOCK;
        if (at >= size)
            continue;
        disk.cut.blocks++;
        if (at + BLOCK <= inode->size && !inode->lie && coin())
            continue; /* a block that the file has lost can only come back as it was */
        disk.cut.blocks_lost++;
        if (pwrite(inode->file, undo->was ? undo->was : zeros, BLOCK, (off_t)at) != BLOCK)
            fail("powerfs: pwrite");
    }
    if (ftruncate(inode->file, (off_t)size) != 0)
        fail("powerfs: ftruncate");
}

/* From the newest change back: in each directory changes are lost until a coin says stop. */
static void names_cut(void)
{
    ino_t stopped[1024];
    size_t stopped_count = 0;
    struct change *change;
    TAILQ_FOREACH_REVERSE(change, &disk.changes, change_list, entry)
    {
        disk.cut.names++;
        bool is_stopped = false;
        for (size_t i = 0; i < stopped_count; i++)
            is_stopped |= stopped[i] == change->dir_number;
        if (is_stopped)
            continue;
        if (coin() && stopped_count < sizeof(stopped) / sizeof(stopped[0])) {
            stopped[stopped_count++] = change->dir_number;
            continue;
        }
        disk.cut.names_lost++;
        change_undo(change);
    }
}

static void *on_signal(void *arg)
{
    const sigset_t *signals = arg;
    int signal;
    while (sigwait(signals, &signal) != 0)
        continue;
    lock();
    for (struct inode *inode = disk.inodes; inode; inode = inode->hh.next)
        inode_cut(inode);
    names_cut();
    printf(
        "cut blocks=%llu blocks_lost=%llu sizes=%llu sizes_lost=%llu names=%llu names_lost=%llu\n",
        (unsigned long long)disk.cut.blocks, (unsigned long long)disk.cut.blocks_lost,
        (unsigned long long)disk.cut.sizes, (unsigned long long)disk.cut.sizes_lost,
        (unsigned long long)disk.cut.names, (unsigned long long)disk.cut.names_lost);
    (void)fflush(stdout);
    _exit(0); /* the kernel fails every call on the mount from here on */
}

/* ---- what the kernel asks ---- */

static void *fs_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    (void)connection;
    config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
    config->hard_remove = 1;
    config->nullpath_ok = 1;
    static sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    pthread_t thread;
    if (pthread_create(&thread, NULL, on_signal, &signals) != 0)
        fail("powerfs: thread");
    return NULL;
}

static int fs_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
    int result = info ? fstat(inode_of(info)->file, st)
                      : fstatat(disk.now_dir, relative(path), st, AT_SYMLINK_NOFOLLOW);
    return result == 0 ? 0 : -errno;
}

static int open_as(const char *path, mode_t mode, bool exclusive, struct fuse_file_info *info)
{
    bool create = info->flags & O_CREAT;
    lock();
    struct stat st;
    bool existed = fstatat(disk.now_dir, relative(path), &st, AT_SYMLINK_NOFOLLOW) == 0;
    int file = openat(disk.now_dir, relative(path),
                      O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0) | (exclusive ? O_EXCL : 0), mode);
    int result = file < 0 ? -errno : 0;
    if (file >= 0) {
        struct inode *inode = inode_take(file, path);
        if (!existed) {
            inode->durable_size = inode->least_size = 0;
            (void)change_new(CHANGE_CREATE, parent_open(path), path);
        } else if (info->flags & O_TRUNC) {
            result = truncate_to(inode, 0);
        }
        info->fh = (uintptr_t)inode;
        info->direct_io = 1;
    }
    unlock();
    return result;
}

static int fs_open(const char *path, struct fuse_file_info *info)
{
    info->flags &= ~O_CREAT;
    return open_as(path, 0, false, info);
}

static int fs_create(const char *path, mode_t mode, struct fuse_file_info *info)
{
    info->flags |= O_CREAT;
    return open_as(path, mode, info->flags & O_EXCL, info);
}

static int fs_release(const char *path, struct fuse_file_info *info)
{
    (void)path;
    lock();
    inode_put(inode_of(info));
    unlock();
    return 0;
}

static int fs_read(const char *path, char *to, size_t len, off_t offset,
                   struct fuse_file_info *info)
{
    (void)path;
    lock();
    ssize_t got = pread(inode_of(info)->file, to, len, offset);
    int result = got < 0 ? -errno : (int)got;
    unlock();
    return result;
}

static int fs_write(const char *path, const char *from, size_t len, off_t offset,
                    struct fuse_file_info *info)
{
    (void)path;
    struct inode *inode = inode_of(info);
    uint64_t begin = (uint64_t)offset;
    lock();
    keep_undo(inode, begin, begin + len);
    ssize_t put = pwrite(inode->file, from, len, offset);
    int result = put < 0 ? -errno : (int)put;
    if (put > 0 && begin + (uint64_t)put > inode->size)
        size_set(inode, begin + (uint64_t)put);
    unlock();
    if (put <= 0 || !(info->flags & O_DSYNC) || inode->lie)
        return result;
    pause_for_flush();
    lock();
    range_flush(inode, begin, begin + (uint64_t)put);
    unlock();
    return result;
}

static int fs_fsync(const char *path, int data_only, struct fuse_file_info *info)
{
    (void)path;
    (void)data_only;
    lock();
    file_flush(inode_of(info));
    unlock();
    pause_for_flush();
    return 0;
}

static int fs_fallocate(const char *path, int mode, off_t offset, off_t len,
                        struct fuse_file_info *info)
{
    (void)path;
    struct inode *inode = inode_of(info);
    uint64_t begin = (uint64_t)offset;
    uint64_t end = begin + (uint64_t)len;
    lock();
    if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
        keep_undo(inode, begin, end < inode->size ? end : inode->size);
    int result = fallocate(inode->file, mode, offset, len) == 0 ? 0 : -errno;
    if (result == 0 && !(mode & FALLOC_FL_KEEP_SIZE) && end > inode->size)
        size_set(inode, end);
    unlock();
    return result;
}

static int fs_truncate(const char *path, off_t size, struct fuse_file_info *info)
{
    lock();
    int result;
    if (info) {
        result = truncate_to(inode_of(info), (uint64_t)size);
    } else {
        int file = openat(disk.now_dir, relative(path), O_RDWR | O_CLOEXEC);
        result = file < 0 ? -errno : 0;
        if (file >= 0) {
            struct inode *inode = inode_take(file, path);
            result = truncate_to(inode, (uint64_t)size);
            inode_put(inode);
        }
    }
    unlock();
    return result;
}

static int fs_mkdir(const char *path, mode_t mode)
{
    lock();
    int result = mkdirat(disk.now_dir, relative(path), mode) == 0 ? 0 : -errno;
    if (result == 0)
        (void)change_new(CHANGE_CREATE, parent_open(path), path);
    unlock();
    return result;
}

static int fs_unlink(const char *path)
{
    lock();
    int dir = parent_open(path);
    struct stat st;
    int result =
        dir < 0 || fstatat(dir, base_name(path), &st, AT_SYMLINK_NOFOLLOW) != 0 ? -errno : 0;
    if (result == 0) {
        struct change *change = change_new(CHANGE_REMOVE, dir, path);
        change->lost_number = lose(dir, base_name(path));
    } else if (dir >= 0) {
        close(dir);
    }
    unlock();
    return result;
}

static bool is_empty(int dir, const char *name)
{
    int file = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = file < 0 ? NULL : fdopendir(file);
    if (!stream)
        return true; /* not a directory: the caller's own call says what is wrong */
    int count = 0;
    while (readdir(stream))
        count++;
    closedir(stream);
    return count <= 2;
}

static int fs_rmdir(const char *path)
{
    lock();
    int dir = parent_open(path);
    bool empty = dir >= 0 && is_empty(dir, base_name(path));
    unlock();
    if (dir >= 0)
        close(dir);
    return empty ? fs_unlink(path) : dir < 0 ? -ENOENT : -ENOTEMPTY;
}

static ino_t number_of(int dir)
{
    struct stat st;
    if (fstat(dir, &st) != 0)
        fail("powerfs: fstat");
    return st.st_ino;
}

/* Within a directory it happens or it does not; a file that goes from one to another may come to
 * have both names, or none, as on a file system without a journal. */
static void rename_now(int from_dir, const char *from, int dir, const char *to, bool replaces)
{
    bool within = number_of(from_dir) == number_of(dir);
    uint64_t kept = within ? 0 : keep_name(from_dir, base_name(from));
    uint64_t lost = replaces ? lose(dir, base_name(to)) : 0;
    if (renameat(from_dir, base_name(from), dir, base_name(to)) != 0)
        fail("powerfs: rename");
    if (!within)
        change_new(CHANGE_REMOVE, from_dir, from)->lost_number = kept;
    struct change *change = change_new(within ? CHANGE_RENAME : CHANGE_CREATE, dir, to);
    change->lost_number = lost;
    if (!within)
        return;
    change->from_dir = from_dir;
    snprintf(change->from_name, sizeof(change->from_name), "%s", base_name(from));
}

static int fs_rename(const char *from, const char *to, unsigned flags)
{
    if (flags & ~(unsigned)RENAME_NOREPLACE)
        return -EINVAL;
    lock();
    int from_dir = parent_open(from);
    int dir = parent_open(to);
    struct stat source;
    struct stat target;
    int result = 0;
    bool replaces = false;
    if (from_dir < 0 || dir < 0 || fstatat(from_dir, base_name(from), &source, 0) != 0)
        result = -errno;
    else if (fstatat(dir, base_name(to), &target, AT_SYMLINK_NOFOLLOW) == 0)
        replaces = true;
    if (result == 0 && replaces && (flags & RENAME_NOREPLACE))
        result = -EEXIST;
    if (result == 0 && replaces && !is_empty(dir, base_name(to)))
        result = -ENOTEMPTY;
    if (result == 0) {
        rename_now(from_dir, from, dir, to, replaces);
    } else {
        close(from_dir);
        close(dir);
    }
    unlock();
    return result;
}

static int fs_opendir(const char *path, struct fuse_file_info *info)
{
    int dir = openat(disk.now_dir, relative(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    info->fh = (uint64_t)dir;
    return dir < 0 ? -errno : 0;
}

static int fs_releasedir(const char *path, struct fuse_file_info *info)
{
    (void)path;
    close((int)info->fh);
    return 0;
}

static int fs_readdir(const char *path, void *to, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    (void)path;
    (void)offset;
    (void)flags;
    DIR *stream = fdopendir(openat((int)info->fh, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!stream)
        return -errno;
    const struct dirent *entry;
    while ((entry = readdir(stream)) && fill(to, entry->d_name, NULL, 0, 0) == 0)
        continue;
    closedir(stream);
    return 0;
}

static int fs_fsyncdir(const char *path, int data_only, struct fuse_file_info *info)
{
    (void)path;
    (void)data_only;
    struct stat st;
    if (fstat((int)info->fh, &st) != 0)
        return -errno;
    lock();
    dir_flush(st.st_ino);
    unlock();
    pause_for_flush();
    return 0;
}

static int fs_statfs(const char *path, struct statvfs *st)
{
    (void)path;
    return fstatvfs(disk.now_dir, st) == 0 ? 0 : -errno;
}

static int fs_chmod(const char *path, mode_t mode, struct fuse_file_info *info)
{
    (void)info;
    return fchmodat(disk.now_dir, relative(path), mode, 0) == 0 ? 0 : -errno;
}

static int fs_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *info)
{
    (void)info;
    return utimensat(disk.now_dir, relative(path), times, 0) == 0 ? 0 : -errno;
}

static const struct fuse_operations operations = {
    .init = fs_init,
    .getattr = fs_getattr,
    .open = fs_open,
    .create = fs_create,
    .release = fs_release,
    .read = fs_read,
    .write = fs_write,
    .fsync = fs_fsync,
    .fallocate = fs_fallocate,
    .truncate = fs_truncate,
    .mkdir = fs_mkdir,
    .unlink = fs_unlink,
    .rmdir = fs_rmdir,
    .rename = fs_rename,
    .opendir = fs_opendir,
    .releasedir = fs_releasedir,
    .readdir = fs_readdir,
    .fsyncdir = fs_fsyncdir,
    .statfs = fs_statfs,
    .chmod = fs_chmod,
    .utimens = fs_utimens,
};

/* ---- start ---- */

static int folder_open(const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", disk.backing, name);
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        fail(path);
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        fail(path);
    return dir;
}

/* What earlier cuts lost goes out of the way; names in DIR/lost begin at 1 again. */
static void lost_rename(void)
{
    char from[4096];
    char to[4096];
    snprintf(from, sizeof(from), "%s/lost", disk.backing);
    snprintf(to, sizeof(to), "%s/lost-before-%ld", disk.backing, (long)getpid());
    (void)rename(from, to);
}

int main(int argc, char **argv)
{
    static const struct fuse_opt options[] = {
        {"backing=%s", offsetof(__typeof__(disk), backing), 0},
        {"lie=%s", offsetof(__typeof__(disk), lie), 0},
        {"seed=%lu", offsetof(__typeof__(disk), seed), 0},
        {"delay_us=%u", offsetof(__typeof__(disk), delay_us), 0},
        FUSE_OPT_END,
    };
    struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
    if (fuse_opt_parse(&args, &disk, options, NULL) != 0 || !disk.backing) {
        fprintf(stderr,
                "powerfs -f -o backing=DIR[,seed=N][,delay_us=N][,lie=PREFIX] MOUNTPOINT\n");
        return 2;
    }
    disk.random = disk.seed;
    TAILQ_INIT(&disk.changes);
    lost_rename();
    disk.now_dir = folder_open("now");
    disk.lost_dir = folder_open("lost");
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL); /* inherited by every thread */
    return fuse_main(args.argc, args.argv, &operations, NULL);
}
