/* SPDX-License-Identifier: Apache-2.0
 *
 * The blocking half of a simulated disk (io/fs.h): each call acts at once, takes no virtual time,
 * and may be where a laid crash strikes. Also everything a test can do to a disk from outside.
 */
#include "io/crc.h"
#include "io/sim/drive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fs *disk_new(struct world *world, struct machine *machine)
{
    struct fs *fs = sim_alloc(sizeof(*fs));
    fs->world = world;
    fs->machine = machine;
    fs->rng = rng_split(&world->machines);
    fs->limit = world->options.disk.size_bytes / BLOCK;
    fs->slow = 1;
    tree_init(&fs->tree);
    TAILQ_INIT(&fs->in_flight);
    TAILQ_INIT(&fs->spare);
    return fs;
}

static void file_release(struct fs *fs, struct file *file)
{
    if (file->node->lock_process == file->process && file->node->lock_file == file->number)
        file->node->lock_process = NULL;
    fs->files[file->number - FILE_FIRST] = NULL;
    node_close(&fs->tree, file->node);
    free(file->path);
    free(file);
}

void disk_free(struct fs *fs)
{
    struct disk_op *op;
    for (uint32_t i = 0; i < fs->file_count; i++) {
        if (fs->files[i])
            file_release(fs, fs->files[i]);
    }
    must(TAILQ_EMPTY(&fs->in_flight));
    while ((op = TAILQ_FIRST(&fs->spare)) != NULL) {
        TAILQ_REMOVE(&fs->spare, op, link);
        free(op);
    }
    tree_fini(&fs->tree);
    free((void *)fs->files);
    free(fs);
}

void disk_process_end(struct fs *fs, struct process *process)
{
    for (uint32_t i = 0; i < fs->file_count; i++) {
        if (fs->files[i] && fs->files[i]->process == process)
            file_release(fs, fs->files[i]);
    }
}

void disk_power_loss(struct fs *fs)
{
    struct rng *rng = &fs->rng;
    static const uint8_t keeps[] = {0, 1, 8, 15, 16};
    for (uint32_t i = 0; i < fs->file_count; i++) {
        if (fs->files[i]) /* the scenario's own */
            file_release(fs, fs->files[i]);
    }
    struct power_dice dice = {
        .rng = rng,
        .keep_in_16 = keeps[rng_below(rng, array_count(keeps))],
        .torn_one_in = rng_one_in(rng, 2) ? 8 : 0,
        .block_lost_one_in = rng_one_in(rng, 2) ? fs->world->options.disk.block_lost_one_in : 0,
    };
    tree_power_loss(&fs->tree, &dice);
}

enum crash disk_laid_crash(struct fs *fs)
{
    return fs->laid;
}

struct file *disk_file(struct fs *fs, int file)
{
    must(file >= FILE_FIRST && (uint32_t)(file - FILE_FIRST) < fs->file_count);
    struct file *found = fs->files[file - FILE_FIRST];
    must(found != NULL && found->process == process_here);
    return found;
}

int disk_space(struct fs *fs, struct node *node, uint64_t offset, uint64_t len)
{
    uint64_t need = node_space_needed(node, offset, len);
    return need > 0 && fs->tree.space + need > fs->limit ? -ENOSPC : 0;
}

void disk_spend(struct fs *fs, struct node *node, uint64_t before)
{
    if (node->seen_refs > 0)
        fs->tree.space += node->space - before;
}

/* ---- faults ---- */

static int fault_error(struct fs *fs, enum disk_calls call, const char *path)
{
    for (unsigned i = 0; i < fs->fault_count; i++) {
        struct disk_fault *fault = &fs->faults[i];
        if (!(fault->calls & call) || fault->times == 0 ||
            strncmp(path, fault->prefix, strlen(fault->prefix)) != 0)
            continue;
        if (fault->times != UINT32_MAX)
            fault->times--;
        return fault->error;
    }
    return 0;
}

int disk_error(struct fs *fs, enum disk_calls call, const char *path)
{
    const struct disk_options *options = &fs->world->options.disk;
    uint32_t one_in = call == DISK_READ    ? options->read_error_one_in
                      : call == DISK_WRITE ? options->write_error_one_in
                      : call == DISK_SYNC  ? options->sync_error_one_in
                                           : 0;
    if (!process_here)
        return 0; /* a checker's own look */
    int error = fault_error(fs, call, path);
    if (error == 0 && rng_one_in(&fs->rng, one_in))
        error = -EIO;
    if (error != 0)
        world_note(fs->world, "%s: fault %d on %s", fs->machine->name, error, path);
    return error;
}

/* The head of every call that changes something. */
static int change(struct fs *fs, enum disk_calls call, const char *path)
{
    world_fold(fs->world, ((uint64_t)call << 32) | crc32c(0, path, strlen(path)));
    if (fs->world->trace)
        world_note(fs->world, "%s: disk %u %s", fs->machine->name, (unsigned)call, path);
    if (strike_here && strike_here->machine == fs->machine && fs->laid_calls != CALLS_NOT_LAID &&
        --fs->laid_calls == CALLS_NOT_LAID)
        longjmp(strike_here->back, 1); // NOLINT(bugprone-*,cert-err52-cpp): a crash unwinds
    return disk_error(fs, call, path);
}

/* ---- files ---- */

static int file_take(struct fs *fs, struct node *node, const char *path, unsigned flags)
{
    uint32_t i = 0;
    while (i < fs->file_count && fs->files[i])
        i++;
    fs->files = sim_grow((void *)fs->files, &fs->file_count, i + 1, sizeof(struct file *));
    struct file *file = sim_alloc(sizeof(*file));
    node_open(&fs->tree, node);
    size_t path_size = strlen(path) + 1;
    char *copy = memcpy(sim_alloc(path_size), path, path_size);
    *file = (struct file){.node = node,
                          .number = (int)i + FILE_FIRST,
                          .process = process_here,
                          .path = copy,
                          .flags = flags};
    fs->files[i] = file;
    node->direct = node->direct || (flags & FS_DIRECT);
    return file->number;
}

int fs_open(struct fs *fs, const char *path, unsigned flags)
{
    struct place place;
    int res = tree_find(&fs->tree, path, &place);
    if (res < 0)
        return res;
    if (place.node && (flags & FS_CREATE) && (flags & FS_EXCLUSIVE))
        return -EEXIST;
    if (!place.node && !(flags & FS_CREATE))
        return -ENOENT;
    if (place.node && place.node->directory)
        return -EISDIR;
    if (!place.node) {
        must(flags & FS_WRITE);
        res = change(fs, DISK_NAMES, path);
        if (res == 0 && fs->tree.space >= fs->limit)
            res = -ENOSPC;
        if (res < 0)
            return res;
        place.node = tree_create(&fs->tree, &place, false);
    }
    return file_take(fs, place.node, path, flags);
}

void fs_close(struct fs *fs, int file)
{
    struct file *open = disk_file(fs, file);
    must(open->in_flight == 0);
    file_release(fs, open);
}

static void direct_check(const struct file *file, const void *memory, uint64_t len, uint64_t offset)
{
    must(!(file->flags & FS_DIRECT) || (((uintptr_t)memory | len | offset) % FS_BLOCK) == 0);
}

int64_t fs_read(struct fs *fs, int file, void *to, size_t len, uint64_t offset)
{
    struct file *open = disk_file(fs, file);
    direct_check(open, to, len, offset);
    int error = disk_error(fs, DISK_READ, open->path);
    if (error < 0)
        return error;
    return (int64_t)node_read(open->node, to, len, offset);
}

int64_t fs_write(struct fs *fs, int file, const void *from, size_t len, uint64_t offset)
{
    struct file *open = disk_file(fs, file);
    struct node *node = open->node;
    must(open->flags & FS_WRITE);
    direct_check(open, from, len, offset);
    int error = change(fs, DISK_WRITE, open->path);
    if (error == 0)
        error = disk_space(fs, node, offset, len);
    if (error < 0)
        return error;
    uint64_t before = node->space;
    struct iovec iov = {.iov_base = no_const(from), .iov_len = len};
    world_fold_bytes(fs->world, from, len);
    world_note(fs->world, "%s: node %llu: write %llu + %llu", fs->machine->name,
               (unsigned long long)node->id, (unsigned long long)offset, (unsigned long long)len);
    node_write(node, &iov, 1, offset, len, false);
    disk_spend(fs, node, before);
    return (int64_t)len;
}

int fs_sync(struct fs *fs, int file)
{
    struct file *open = disk_file(fs, file);
    int error = change(fs, DISK_SYNC, open->path);
    if (error < 0) {
        node_sync_failed(open->node, UINT64_MAX);
        return error;
    }
    node_sync(open->node, UINT64_MAX);
    return 0;
}

int64_t fs_size(struct fs *fs, int file)
{
    return (int64_t)disk_file(fs, file)->node->size;
}

/* Nobody makes a second one here. */
int64_t fs_links(struct fs *fs, int file)
{
    (void)disk_file(fs, file);
    return 1;
}

int fs_truncate(struct fs *fs, int file, uint64_t size)
{
    struct file *open = disk_file(fs, file);
    must(open->flags & FS_WRITE);
    int error = change(fs, DISK_NAMES, open->path);
    if (error < 0)
        return error;
    uint64_t before = open->node->space;
    node_truncate(open->node, size);
    disk_spend(fs, open->node, before);
    return 0;
}

int fs_allocate(struct fs *fs, int file, uint64_t offset, uint64_t len)
{
    struct file *open = disk_file(fs, file);
    must((open->flags & FS_WRITE) && len > 0);
    int error = change(fs, DISK_NAMES, open->path);
    if (error == 0)
        error = disk_space(fs, open->node, offset, len);
    if (error < 0)
        return error;
    uint64_t before = open->node->space;
    node_allocate(open->node, offset, len);
    disk_spend(fs, open->node, before);
    return 0;
}

/* One worker, from anywhere on. As in the real world nothing above a failure is begun after it. */
uint32_t fs_each(struct fs *fs, uint32_t count, fs_each_fn *fn, void *argument)
{
    uint32_t from = count > 0 ? (uint32_t)rng_below(&fs->rng, count) : 0;
    uint32_t failed = count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = (from + i) % count;
        if (index < failed && !fn(argument, 0, index))
            failed = index;
    }
    return failed;
}

/* ---- names ---- */

int fs_rename(struct fs *fs, const char *from, const char *to)
{
    struct place source;
    struct place target = {0};
    int res = tree_find(&fs->tree, from, &source);
    if (res == 0)
        res = tree_find(&fs->tree, to, &target);
    if (res < 0)
        return res;
    if (!source.node)
        return -ENOENT;
    if (!source.directory || !target.directory)
        return -EBUSY;
    if (target.node && target.node != source.node) {
        if (target.node->directory != source.node->directory)
            return target.node->directory ? -EISDIR : -ENOTDIR;
        if (target.node->directory && target.node->seen.count > 0)
            return -ENOTEMPTY;
    }
    res = change(fs, DISK_NAMES, from);
    if (res == 0)
        tree_rename(&fs->tree, &source, &target);
    return res;
}

static int name_remove(struct fs *fs, const char *path, bool directory)
{
    struct place place;
    int res = tree_find(&fs->tree, path, &place);
    if (res < 0)
        return res;
    if (!place.node)
        return -ENOENT;
    if (place.node->directory != directory)
        return directory ? -ENOTDIR : -EISDIR;
    if (!place.directory)
        return -EBUSY;
    if (directory && place.node->seen.count > 0)
        return -ENOTEMPTY;
    res = change(fs, DISK_NAMES, path);
    if (res == 0)
        tree_remove(&fs->tree, &place);
    return res;
}

int fs_unlink(struct fs *fs, const char *path)
{
    return name_remove(fs, path, false);
}

int fs_rmdir(struct fs *fs, const char *path)
{
    return name_remove(fs, path, true);
}

int fs_mkdir(struct fs *fs, const char *path)
{
    struct place place;
    int res = tree_find(&fs->tree, path, &place);
    if (res < 0)
        return res;
    if (place.node)
        return place.node->directory ? 0 : -EEXIST;
    res = change(fs, DISK_NAMES, path);
    if (res == 0 && fs->tree.space >= fs->limit)
        res = -ENOSPC;
    if (res == 0)
        tree_create(&fs->tree, &place, true);
    return res;
}

int fs_sync_dir(struct fs *fs, const char *path)
{
    struct place place;
    int res = tree_find(&fs->tree, path, &place);
    if (res < 0)
        return res;
    if (!place.node)
        return -ENOENT;
    if (!place.node->directory)
        return -ENOTDIR;
    res = change(fs, DISK_SYNC, path);
    if (res == 0)
        tree_sync(&fs->tree, place.node);
    return res;
}

int fs_tree_open(struct fs *fs, const char *path, struct fs_tree *tree)
{
    struct place place;
    *tree = (struct fs_tree){.path = path, .directory = -1};
    int res = tree_find(&fs->tree, path, &place);
    return res < 0 || place.node ? res : -ENOENT;
}

void fs_tree_close(struct fs *fs, struct fs_tree *tree)
{
    (void)fs;
    (void)tree;
}

/* In the order of names, and a crash may strike before each. */
static int sync_below(struct fs *fs, struct node *node, char *path, size_t size)
{
    size_t length = strlen(path);
    int res = 0;
    for (uint32_t i = 0; res == 0 && node->directory && i < node->seen.count; i++) {
        (void)snprintf(path + length, size - length, "/%s", node->seen.names[i].text);
        res = sync_below(fs, node->seen.names[i].node, path, size);
        path[length] = '\0';
    }
    if (res == 0)
        res = change(fs, DISK_SYNC, path);
    if (node->directory && res == 0)
        tree_sync(&fs->tree, node);
    else if (res == 0)
        node_sync(node, UINT64_MAX);
    else if (!node->directory)
        node_sync_failed(node, UINT64_MAX);
    return res;
}

int fs_tree_sync(struct fs *fs, const struct fs_tree *tree)
{
    struct place place;
    char path[4096];
    int res = tree_find(&fs->tree, tree->path, &place);
    if (res < 0 || !place.node)
        return res < 0 ? res : -ENOENT;
    (void)snprintf(path, sizeof(path), "%s", tree->path);
    return sync_below(fs, place.node, path, sizeof(path));
}

int fs_list(struct fs *fs, const char *path, struct fs_list *list)
{
    struct place place;
    *list = (struct fs_list){0};
    int res = tree_find(&fs->tree, path, &place);
    if (res < 0)
        return res;
    if (!place.node)
        return -ENOENT;
    if (!place.node->directory)
        return -ENOTDIR;
    const struct names *names = &place.node->seen;
    list->count = names->count;
    list->names = mem_zalloc(max_u64(names->count, 1) * sizeof(char *));
    for (uint32_t i = 0; i < names->count; i++)
        list->names[i] = mem_strdup(names->names[i].text);
    return 0;
}

void fs_list_free(struct fs_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        mem_free(list->names[i]);
    mem_free((void *)list->names);
    *list = (struct fs_list){0};
}

int fs_lock(struct fs *fs, int file)
{
    struct node *node = disk_file(fs, file)->node;
    if (node->lock_process && (node->lock_process != process_here || node->lock_file != file))
        return -EWOULDBLOCK;
    node->lock_process = process_here;
    node->lock_file = file;
    return 0;
}

int fs_space(struct fs *fs, const char *path, struct fs_space *space)
{
    struct place place;
    int res = tree_find(&fs->tree, path, &place);
    if (res < 0 || !place.node)
        return res < 0 ? res : -ENOENT;
    uint64_t used = fs->tree.space;
    space->total_bytes = max_u64(fs->limit, used) * BLOCK;
    space->free_bytes = space->total_bytes - used * BLOCK;
    return 0;
}

int fs_probe(struct fs *fs, const char *path, struct fs_probe *probe)
{
    struct place place;
    int res = tree_find(&fs->tree, path, &place);
    if (res < 0 || !place.node)
        return res < 0 ? res : -ENOENT;
    *probe = (struct fs_probe){
        .type = "sim", .direct = true, .shared_flush = fs->world->options.disk.shared_flush};
    return 0;
}

/* ---- from outside ---- */

void machine_disk_fault(struct machine *machine, const struct disk_fault *fault)
{
    struct fs *fs = machine->fs;
    unsigned i = 0;
    while (i < fs->fault_count && fs->faults[i].times != 0)
        i++;
    must(i < FAULTS_MAX);
    fs->faults[i] = *fault;
    fs->fault_count = i == fs->fault_count ? i + 1 : fs->fault_count;
}

void machine_disk_heal(struct machine *machine)
{
    machine->fs->fault_count = 0;
    machine->fs->slow = 1;
    machine->fs->stall_until_ns = 0;
}

void machine_disk_free(struct machine *machine, uint64_t free_bytes)
{
    struct fs *fs = machine->fs;
    fs->limit = free_bytes == UINT64_MAX ? fs->world->options.disk.size_bytes / BLOCK
                                         : fs->tree.space + free_bytes / BLOCK;
}

void machine_disk_replace(struct machine *machine, const char *mounted)
{
    struct place place;
    struct tree *tree = &machine->fs->tree;
    must(!machine_runs(machine) && TAILQ_EMPTY(&machine->fs->in_flight));
    must(TAILQ_EMPTY(&tree->pending));
    if (tree_find(tree, mounted, &place) < 0 || !place.node)
        return;
    if (place.directory) {
        tree_remove(tree, &place);
        tree_sync(tree, place.directory);
    } else {
        tree_fini(tree);
        tree_init(tree);
    }
}

bool machine_disk_writes(const struct machine *machine)
{
    const struct disk_op *op;
    TAILQ_FOREACH (op, &machine->fs->in_flight, link) {
        if (op->call == DISK_WRITE && !op->durable)
            return true;
    }
    return false;
}

void machine_disk_slow(struct machine *machine, uint32_t factor)
{
    machine->fs->slow = factor;
}

void machine_disk_stall(struct machine *machine, uint64_t for_ns)
{
    machine->fs->stall_until_ns = machine->world->now_ns + for_ns;
}

void machine_crash_in_call(struct machine *machine, enum crash crash, uint32_t calls)
{
    machine->fs->laid = crash;
    machine->fs->laid_calls = calls;
}

struct rot {
    struct rng *rng;
    const char *prefix;
    uint64_t blocks;
    struct node *node;
    uint64_t offset;
};

/* Each block with durable bytes has the same chance. */
static void rot_look(struct node *node, const char *path, void *argument)
{
    struct rot *rot = argument;
    if (strncmp(path, rot->prefix, strlen(rot->prefix)) != 0)
        return;
    for (uint64_t n = 0; n * BLOCK < node->size; n++) {
        const struct block *block = node_block(node, n, false);
        if (!block || (block->dirty ? !block->kept : !block->seen))
            continue;
        uint64_t offset = n * BLOCK + rng_below(rot->rng, min_u64(BLOCK, node->size - n * BLOCK));
        if (rng_one_in(rot->rng, ++rot->blocks)) {
            rot->node = node;
            rot->offset = offset;
        }
    }
}

bool machine_disk_rot(struct machine *machine, const char *prefix)
{
    struct rot rot = {.rng = &machine->fs->rng, .prefix = prefix};
    tree_walk(&machine->fs->tree, rot_look, &rot);
    if (!rot.node)
        return false;
    return node_flip(rot.node, rot.offset, (uint8_t)(1U << rng_below(rot.rng, 8)));
}

bool machine_disk_damage(struct machine *machine, const char *path, uint64_t offset, uint8_t mask)
{
    struct place place;
    if (tree_find(&machine->fs->tree, path, &place) < 0 || !place.node || place.node->directory)
        return false;
    return node_flip(place.node, offset, mask);
}
