/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/log_dirs.h"

#include "core/log/log_dir_private.h"
#include "io/mem.h"

#include <string.h>

#define LIST_NAME    "directories"
#define LIST_MAGIC   "MRLOGSET"
#define LIST_VERSION 1U
#define PATH_MOST    1024U

/* D/directories, decoded. */
struct known {
    uint64_t generation; /* 0: there is no list */
    uint8_t identity[16];
    uint32_t count;
    struct known_dir {
        uint8_t uuid[16];
        char path[PATH_MOST];
    } dirs[LOG_DIRS_MAX];
    bool lost; /* one was: in the list it has no path */
};

static bool same_uuid(const uint8_t a[16], const uint8_t b[16])
{
    return memcmp(a, b, 16) == 0;
}

/* ---- D/directories ---- */

static bool list_decode(const struct log_dir *dir, const uint8_t *block, struct known *known,
                        struct log_error *error)
{
    struct bytes_in own;
    const uint8_t *uuid = NULL;
    uint32_t count = 0;
    *known = (struct known){0};
    enum format_verdict verdict = format_check(block, LIST_MAGIC, LIST_VERSION, &own, &uuid);
    if (verdict == FORMAT_NEWER)
        return log_refuse(error, LOG_ERROR_NEWER,
                          "%s/" LIST_NAME " was written by a newer version of Millrace that this "
                          "one may not read; start that version",
                          dir->path);
    if (verdict == FORMAT_OK) {
        known->generation = take_u64(&own);
        take_into(&own, known->identity, sizeof(known->identity));
        count = (uint32_t)min_u64(take_u16(&own), LOG_DIRS_MAX + 1);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct known_dir lost;
        struct known_dir *at = known->count < LOG_DIRS_MAX ? &known->dirs[known->count] : &lost;
        *at = (struct known_dir){0};
        take_into(&own, at->uuid, sizeof(at->uuid));
        uint16_t length = take_u16(&own);
        if (length >= PATH_MOST)
            own.overrun = true;
        else
            take_into(&own, at->path, length);
        known->lost = known->lost || length == 0;
        known->count += length > 0;
    }
    if (verdict != FORMAT_OK || own.overrun || known->generation == 0 ||
        !same_uuid(uuid, dir->uuid))
        return log_refuse(error, LOG_ERROR_DAMAGED,
                          "%s/" LIST_NAME " is damaged at offset 0: it does not match its "
                          "checksum or its directory; restore it from a copy",
                          dir->path);
    return true;
}

/* known->generation 0: it is one by itself, and what it may have is of a start that was cut short.
 */
static bool list_read(const struct log_dir *dir, struct known *known, struct log_error *error)
{
    known->generation = 0;
    if (!dir->joined)
        return true;
    uint8_t *block = mem_pages(FS_BLOCK);
    bool good =
        log_dir_read_block(dir, LIST_NAME, block, error) && list_decode(dir, block, known, error);
    mem_pages_free(block, FS_BLOCK);
    return good;
}

static bool list_write(const struct log_dirs *dirs, struct log_dir *dir, struct log_error *error)
{
    uint8_t *block = mem_pages(FS_BLOCK);
    struct bytes_out own = format_begin(block, LIST_MAGIC, LIST_VERSION, LIST_VERSION, dir->uuid);
    put_u64(&own, dirs->generation);
    put_bytes(&own, dirs->identity, sizeof(dirs->identity));
    put_u16(&own, (uint16_t)(dirs->count + dirs->lost));
    for (uint32_t i = 0; i < dirs->count; i++) {
        const struct log_dirs_entry *entry = &dirs->entries[i];
        put_bytes(&own, entry->uuid, sizeof(entry->uuid));
        put_u16(&own, (uint16_t)strlen(entry->path));
        put_bytes(&own, entry->path, strlen(entry->path));
    }
    if (dirs->lost) {
        put_bytes(&own, (const uint8_t[16]){0}, 16);
        put_u16(&own, 0);
    }
    bool good = !own.overrun;
    if (!good)
        (void)log_refuse(error, LOG_ERROR_IO,
                         "the paths in log.dirs are too long: together they may have some %u "
                         "characters; use shorter ones",
                         FS_BLOCK - 640U);
    format_end(block);
    good = good && log_dir_write_block(dir, LIST_NAME, block, error);
    mem_pages_free(block, FS_BLOCK);
    return good;
}

/* ---- opening ---- */

struct opening {
    const struct log_dirs_options *options;
    struct log_dirs *dirs;
    struct known known;
    struct log_error *error;
    bool changed; /* the list is another one than what is written */
};

uint32_t log_dirs_count(const char *paths)
{
    uint32_t count = 1;
    for (const char *at = paths; *at != '\0'; at++)
        count += *at == ',';
    return count;
}

static void entry_open(struct opening *op, struct log_dirs_entry *entry, bool may_format)
{
    struct log_dir_options each = op->options->each;
    const uint32_t count = op->dirs->count;
    each.path = entry->path;
    each.may_format = may_format;
    each.new_uuid[15] ^= (uint8_t)(entry - op->dirs->entries);
    each.tail_bytes /= count;
    each.cold_bytes /= count;
    each.open_files_max = (uint32_t)max_u64(each.open_files_max / count, 1);
    entry->dir = log_dir_open(&each, &entry->error);
    if (entry->dir != NULL)
        memcpy(entry->uuid, entry->dir->uuid, sizeof(entry->uuid));
}

static void entry_close(struct log_dirs_entry *entry)
{
    if (entry->dir != NULL)
        log_dir_close(entry->dir);
    entry->dir = NULL;
}

static void take_paths(struct log_dirs *dirs, const char *paths)
{
    dirs->count = log_dirs_count(paths);
    must(dirs->count <= LOG_DIRS_MAX); /* the configuration was checked */
    for (uint32_t i = 0; i < dirs->count; i++) {
        size_t length = strcspn(paths, ",");
        char *path = mem_zalloc(length + 1);
        memcpy(path, paths, length);
        dirs->entries[i].path = path;
        paths += length + 1;
    }
}

static struct known_dir *known_path(struct opening *op, const char *path)
{
    for (uint32_t i = 0; i < op->known.count; i++) {
        if (strcmp(op->known.dirs[i].path, path) == 0)
            return &op->known.dirs[i];
    }
    return NULL;
}

static struct known_dir *known_uuid(struct opening *op, const uint8_t uuid[16])
{
    for (uint32_t i = 0; i < op->known.count; i++) {
        if (same_uuid(op->known.dirs[i].uuid, uuid))
            return &op->known.dirs[i];
    }
    return NULL;
}

/* Opens what is there, and reads the newest list. Nothing is made yet. */
static bool open_all(struct opening *op)
{
    struct log_dirs *dirs = op->dirs;
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct log_dirs_entry *entry = &dirs->entries[i];
        struct known known;
        entry_open(op, entry, dirs->count == 1); /* alone it cannot be told from a new one */
        if (entry->dir != NULL && !list_read(entry->dir, &known, &entry->error))
            entry_close(entry);
        if (entry->dir != NULL)
            entry->generation = known.generation;
        if (entry->dir != NULL && known.generation > op->known.generation)
            op->known = known;
        if (entry->error.kind == LOG_ERROR_LOCKED || entry->error.kind == LOG_ERROR_NESTED ||
            entry->error.kind == LOG_ERROR_NEWER) {
            *op->error = entry->error;
            return false;
        }
    }
    return true;
}

/* Without a list: the first that has served already, else the first of all. */
static bool choose_identity(struct opening *op)
{
    struct log_dirs *dirs = op->dirs;
    const struct log_dirs_entry *first = NULL;
    if (op->known.generation > 0) {
        memcpy(dirs->identity, op->known.identity, sizeof(dirs->identity));
        dirs->generation = op->known.generation;
        return true;
    }
    for (uint32_t i = 0; i < dirs->count; i++) {
        const struct log_dirs_entry *entry = &dirs->entries[i];
        if (entry->dir == NULL || entry->dir->cluster_id[0] == '\0')
            continue;
        if (first != NULL)
            return log_refuse(op->error, LOG_ERROR_FOREIGN,
                              "%s and %s were each the only directory of a broker; name one of "
                              "them in log.dirs, beside new ones",
                              first->path, entry->path);
        first = entry;
    }
    if (first != NULL)
        memcpy(op->known.identity, first->uuid, sizeof(first->uuid));
    op->known.count = first != NULL;
    if (first != NULL)
        memcpy(op->known.dirs[0].uuid, first->uuid, sizeof(first->uuid));
    memcpy(dirs->identity, op->known.identity, sizeof(dirs->identity));
    return true;
}

void log_dirs_lost_text(const uint8_t uuid[16], char text[LOG_DIRS_LOST_TEXT_LEN + 1])
{
    struct uuid lost;
    memcpy(lost.bytes, uuid, sizeof(lost.bytes));
    memcpy(text, LOG_DIRS_LOST, sizeof(LOG_DIRS_LOST));
    uuid_text(&lost, text + strlen(LOG_DIRS_LOST));
}

/* With it the broker has lost all it knows. */
static bool is_needed(const struct opening *op, const uint8_t uuid[16])
{
    return op->options->metadata_inside && same_uuid(uuid, op->dirs->identity);
}

/* Somebody says that it is lost for ever. */
static bool is_given_up(const struct opening *op, const struct known_dir *known)
{
    char text[LOG_DIRS_LOST_TEXT_LEN + 1];
    log_dirs_lost_text(known->uuid, text);
    return op->options->replaced != NULL && strcmp(op->options->replaced, text) == 0 &&
           !is_needed(op, known->uuid);
}

/* Offline: what is expected there is not there. */
static void entry_is_away(const struct opening *op, struct log_dirs_entry *entry,
                          const struct known_dir *known)
{
    char text[LOG_DIRS_LOST_TEXT_LEN + 1];
    log_dirs_lost_text(known->uuid, text);
    memcpy(entry->uuid, known->uuid, sizeof(entry->uuid));
    if (entry->dir != NULL)
        (void)log_refuse(&entry->error, LOG_ERROR_FOREIGN,
                         "%s holds another log directory than the one that was there; restore "
                         "the right one",
                         entry->path);
    else if (entry->error.kind == LOG_ERROR_MISSING && !is_needed(op, known->uuid))
        (void)log_refuse(&entry->error, LOG_ERROR_MISSING,
                         "the log directory %s is missing or empty; is its disk mounted? Restore "
                         "it; if it is lost for ever, start with --replaced-directory %s",
                         entry->path, text);
    entry_close(entry);
}

/* Of one that is not where it is expected: what is there, nothing yet or a first start that was cut
 * short, is a new one if the other one is given up. */
static bool entry_is_replaced(struct opening *op, const struct log_dirs_entry *entry,
                              struct known_dir *known)
{
    bool is_new = entry->dir != NULL ? entry->dir->cluster_id[0] == '\0'
                                     : entry->error.kind == LOG_ERROR_MISSING;
    if (!is_new || !is_given_up(op, known))
        return false;
    *known = op->known.dirs[--op->known.count];
    op->known.lost = true;
    op->changed = true;
    return true;
}

/* One that was opened, and is it one of ours? An empty one may be a new one. False: refused. */
static bool entry_judge(struct opening *op, struct log_dirs_entry *entry)
{
    struct known_dir *by_path = known_path(op, entry->path);
    struct known_dir *by_uuid = entry->dir != NULL ? known_uuid(op, entry->uuid) : NULL;
    if (by_uuid != NULL) {
        op->changed = op->changed || strcmp(by_uuid->path, entry->path) != 0;
        return true;
    }
    if (by_path != NULL && entry_is_replaced(op, entry, by_path))
        return true;
    if (by_path != NULL) {
        entry_is_away(op, entry, by_path);
        return true;
    }
    op->changed = true;
    if (entry->dir != NULL && entry->dir->cluster_id[0] == '\0')
        return true; /* a first start was cut short */
    if (entry->dir != NULL)
        return log_refuse(op->error, LOG_ERROR_FOREIGN,
                          "%s is a log directory of another broker; choose another directory",
                          entry->path);
    if (entry->error.kind == LOG_ERROR_MISSING)
        return true; /* to be made when all are known */
    *op->error = entry->error;
    return false;
}

/* Nothing that holds logs is left out in silence. */
static bool none_is_left_out(struct opening *op)
{
    for (uint32_t i = 0; i < op->known.count; i++) {
        const struct known_dir *known = &op->known.dirs[i];
        bool there = false;
        for (uint32_t e = 0; e < op->dirs->count; e++)
            there = there || same_uuid(op->dirs->entries[e].uuid, known->uuid);
        if (there)
            continue;
        if (!is_given_up(op, known)) {
            char text[LOG_DIRS_LOST_TEXT_LEN + 1];
            log_dirs_lost_text(known->uuid, text);
            return log_refuse(op->error, LOG_ERROR_MISSING,
                              "log.dirs does not name %s any more, which holds logs of this "
                              "broker; name it; if it is lost for ever, start with "
                              "--replaced-directory %s",
                              known->path, text);
        }
        op->known.lost = true;
        op->changed = true;
    }
    return true;
}

static bool none_is_twice(struct opening *op)
{
    const struct log_dirs *dirs = op->dirs;
    for (uint32_t i = 0; i < dirs->count; i++) {
        for (uint32_t e = 0; e < i; e++) {
            const struct log_dirs_entry *a = &dirs->entries[e];
            const struct log_dirs_entry *b = &dirs->entries[i];
            if (a->dir != NULL && b->dir != NULL && same_uuid(a->uuid, b->uuid))
                return log_refuse(op->error, LOG_ERROR_FOREIGN,
                                  "%s and %s are the same log directory, one is a copy; name the "
                                  "one that was in use",
                                  a->path, b->path);
        }
    }
    return true;
}

static bool make_new(struct opening *op)
{
    struct log_dirs *dirs = op->dirs;
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct log_dirs_entry *entry = &dirs->entries[i];
        if (entry->dir != NULL || known_path(op, entry->path) != NULL)
            continue;
        entry_open(op, entry, true);
        if (entry->dir == NULL) {
            *op->error = entry->error;
            return false;
        }
    }
    static const uint8_t none[16];
    if (same_uuid(dirs->identity, none))
        memcpy(dirs->identity, dirs->entries[0].uuid, sizeof(dirs->identity));
    return true;
}

/* All that work learn which there are, before anything lies in a new one; so does one that was away
 * when that changed. */
static bool write_lists(struct opening *op)
{
    struct log_dirs *dirs = op->dirs;
    dirs->lost = op->known.lost;
    if (dirs->count == 1 && !dirs->lost)
        return true;
    dirs->generation += op->changed;
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct log_dirs_entry *entry = &dirs->entries[i];
        if (entry->dir == NULL || (entry->generation == dirs->generation && entry->dir->joined))
            continue;
        if (!list_write(dirs, entry->dir, op->error) || !log_dir_join(entry->dir, op->error))
            return false;
    }
    return true;
}

/* One that does not work is offline if the broker can be without it. */
static bool recover_all(struct opening *op)
{
    struct log_dirs *dirs = op->dirs;
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct log_dirs_entry *entry = &dirs->entries[i];
        if (entry->dir != NULL && !log_dir_recover(entry->dir, &entry->error))
            entry_close(entry);
        if (entry->dir == NULL && (is_needed(op, entry->uuid) || ++dirs->missing == dirs->count ||
                                   entry->error.kind == LOG_ERROR_NEWER)) {
            *op->error = entry->error;
            return false;
        }
        if (entry->dir != NULL)
            dirs->recovered_count += entry->dir->recovered_count;
    }
    return true;
}

static bool judge_all(struct opening *op)
{
    for (uint32_t i = 0; i < op->dirs->count; i++) {
        if (!entry_judge(op, &op->dirs->entries[i]))
            return false;
    }
    return true;
}

struct log_dirs *log_dirs_open(const struct log_dirs_options *options, struct log_error *error)
{
    struct opening *op = mem_zalloc(sizeof(*op));
    struct log_dirs *dirs = mem_zalloc(sizeof(*dirs));
    *op = (struct opening){.options = options, .dirs = dirs, .error = error};
    *error = (struct log_error){0};
    take_paths(dirs, options->paths);
    bool good = open_all(op) && choose_identity(op) && judge_all(op) && none_is_left_out(op) &&
                none_is_twice(op) && make_new(op) && write_lists(op) && recover_all(op);
    mem_free(op);
    if (good)
        return dirs;
    log_dirs_close(dirs);
    return NULL;
}

void log_dirs_close(struct log_dirs *dirs)
{
    for (uint32_t i = 0; i < dirs->count; i++) {
        entry_close(&dirs->entries[i]);
        mem_free(dirs->entries[i].path);
    }
    mem_free(dirs);
}

bool log_dirs_set_identity(struct log_dirs *dirs, const char *cluster_id, int32_t node_id,
                           struct log_error *error)
{
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct log_dir *dir = dirs->entries[i].dir;
        if (dir != NULL && !log_dir_set_identity(dir, cluster_id, node_id, error))
            return false;
    }
    return true;
}

bool log_dirs_set_mark(struct log_dirs *dirs, struct metadata_mark mark, struct log_error *error)
{
    bool good = true;
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct log_dir *dir = dirs->entries[i].dir;
        if (dir != NULL && !log_dir_set_mark(dir, mark, error))
            good = false;
    }
    return good;
}
