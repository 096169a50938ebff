/* SPDX-License-Identifier: Apache-2.0
 *
 * The file system calls that block: creating, naming, sizing and listing files, and reading while
 * nothing else runs. They are part of the door (bodies: io/real/fs.c, io/sim/disk.c) and may be
 * called in two places only: at start before a shard serves, and inside io_work(). What happens on
 * a shard's turn goes through io_read, io_write and io_sync (io/io.h).
 *
 * All return 0 or a positive result, or -errno. Paths are as the configuration gave them; a
 * relative one is relative to the process (or simulated machine).
 */
#pragma once

#include "io/base.h"

struct fs; /* the machine's file system: unit in the real world, one disk in the simulated one */

enum fs_flags {
    FS_READ = 0,
    FS_WRITE = 1,     /* read and write */
    FS_CREATE = 2,    /* create when absent */
    FS_EXCLUSIVE = 4, /* with FS_CREATE: -EEXIST when present */
    FS_DIRECT = 8,    /* O_DIRECT where the file system has it; fs_probe() says whether */
};

/* A deliberate mistake of the simulation for code that runs before there is a shard (io_mutation in
 * io/io.h is for the others); false in the real world. */
bool fs_mutation(const struct fs *fs, const char *name);

/* Offsets, lengths and addresses of direct I/O are multiples of this, whatever the disk allows. */
#define FS_BLOCK 4096U

int fs_open(struct fs *fs, const char *path, unsigned flags); /* a file number */
void fs_close(struct fs *fs, int file);
/* Whole length or -errno (-EIO for a write that ends short); a read may end short at end of file.
 */
int64_t fs_read(struct fs *fs, int file, void *to, size_t len, uint64_t offset) warn_unused;
int64_t fs_write(struct fs *fs, int file, const void *from, size_t len,
                 uint64_t offset) warn_unused;
int fs_sync(struct fs *fs, int file) warn_unused; /* fdatasync */
int64_t fs_size(struct fs *fs, int file);
int64_t fs_links(struct fs *fs, int file); /* how many names lead to it */
int fs_truncate(struct fs *fs, int file, uint64_t size) warn_unused;
/* Space for [offset, offset + len), zero when read, and the size grown to cover it. */
int fs_allocate(struct fs *fs, int file, uint64_t offset, uint64_t len) warn_unused;
int fs_rename(struct fs *fs, const char *from, const char *to) warn_unused;
int fs_unlink(struct fs *fs, const char *path) warn_unused;
int fs_mkdir(struct fs *fs, const char *path) warn_unused; /* 0 also when it is there already */
int fs_rmdir(struct fs *fs, const char *path) warn_unused;
int fs_sync_dir(struct fs *fs, const char *path) warn_unused; /* names created, renamed, removed */

/* All that is changed below a directory while its tree is open, bytes, sizes and names, made
 * durable at once: by one call where the file system has a good one, else file by file. Opened
 * before the changes, because a write that failed behind our back is told only to who was there by
 * then. */
struct fs_tree {
    const char *path; /* the caller's, for as long as it is open */
    int directory;    /* -1: not open */
};
int fs_tree_open(struct fs *fs, const char *path, struct fs_tree *tree) warn_unused;
int fs_tree_sync(struct fs *fs, const struct fs_tree *tree) warn_unused;
void fs_tree_close(struct fs *fs, struct fs_tree *tree);

/* Names in a directory, sorted, "." and ".." left out; names are the caller's to mem_free(). */
struct fs_list {
    char **names;
    uint32_t count;
};
int fs_list(struct fs *fs, const char *path, struct fs_list *list) warn_unused;
void fs_list_free(struct fs_list *list);

/* Takes an exclusive lock for the life of the process; -EWOULDBLOCK when another process holds it.
 */
int fs_lock(struct fs *fs, int file) warn_unused;

struct fs_space {
    uint64_t free_bytes;
    uint64_t total_bytes;
};
int fs_space(struct fs *fs, const char *path, struct fs_space *space) warn_unused;

/* Work on many files: fn(argument, worker, index) for each index below count, up to FS_WORKERS at a
 * time, in any order; in the simulation one after another. A worker does one at a time, and worker
 * 0 is the caller. What comes back is the lowest index for which fn was false, or count: no index
 * above one that failed is begun any more, so when a worker fails again it is with a lower one (in
 * the simulation; in the real world it fails once). */
#define FS_WORKERS 16U
typedef bool fs_each_fn(void *argument, uint32_t worker, uint32_t index);
uint32_t fs_each(struct fs *fs, uint32_t count, fs_each_fn *fn, void *argument);

/* What this directory's file system can do; probed with a small file that is removed again. */
struct fs_probe {
    char type[16];     /* "ext4", "xfs", "tmpfs", ... or the number in hex */
    bool in_memory;    /* tmpfs, ramfs: nothing here survives a loss of power */
    bool direct;       /* O_DIRECT reads and writes of FS_BLOCK work */
    bool shared_flush; /* one flush covers earlier direct overwrites of other files (ext4, xfs on a
                          block device) */
};
int fs_probe(struct fs *fs, const char *path, struct fs_probe *probe) warn_unused;
