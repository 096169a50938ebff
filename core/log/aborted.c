/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/aborted.h"

#include "io/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define ABORTED_MAGIC      "MRABORT1"
#define ABORTED_ITEM_BYTES 24U

struct aborted_list aborted_of(struct aborted_transaction *take_items, uint32_t count)
{
    struct aborted_list list = {.items = take_items, .count = count};
    for (uint32_t i = 0; i < count; i++)
        list.span_max =
            max_i64(list.span_max, take_items[i].last_offset - take_items[i].first_offset);
    return list;
}

void aborted_fini(struct aborted_list *list)
{
    mem_free(list->items);
    *list = (struct aborted_list){0};
}

void aborted_copy(struct aborted_list *to, const struct aborted_list *from)
{
    *to = *from;
    to->items = NULL;
    if (from->count == 0)
        return;
    to->items = mem_alloc(from->count * sizeof(to->items[0]));
    memcpy(to->items, from->items, from->count * sizeof(to->items[0]));
}

/* ---- asking ---- */

/* The first that ends at `offset` or behind it. */
static uint32_t ends_from(const struct aborted_list *list, int64_t offset)
{
    uint32_t low = 0;
    uint32_t high = list->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (list->items[middle].last_offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Transactions of one producer follow one another: the first of its own that ends behind the batch
 * decides. */
bool aborted_has(const struct aborted_list *list, const struct batch_header *header)
{
    if (!(header->attributes & BATCH_TRANSACTIONAL) || (header->attributes & BATCH_CONTROL))
        return false;
    int64_t offset = header->base_offset;
    for (uint32_t i = ends_from(list, offset); i < list->count; i++) {
        if (list->items[i].last_offset - list->span_max > offset)
            return false; /* neither this one nor any behind it began in time */
        if (list->items[i].producer_id == header->producer_id)
            return list->items[i].first_offset <= offset;
    }
    return false;
}

static int by_first(const void *a, const void *b)
{
    const struct aborted_transaction *x = a;
    const struct aborted_transaction *y = b;
    return x->first_offset < y->first_offset ? -1 : x->first_offset > y->first_offset;
}

struct aborted_transaction *aborted_between(const struct aborted_list *list, int64_t from,
                                            int64_t upto, uint32_t batches_max, uint32_t *count)
{
    struct aborted_transaction *found = NULL;
    uint32_t first = ends_from(list, from);
    *count = 0;
    /* Each has a marker of its own: so many do not lie before the end of what he gets. */
    if (list->count - first > batches_max)
        upto = min_i64(upto, list->items[first + batches_max].last_offset);
    for (uint32_t i = first; i < list->count; i++) {
        if (list->items[i].last_offset - list->span_max >= upto)
            break;
        if (list->items[i].first_offset >= upto)
            continue;
        if ((*count & (*count - 1)) == 0)
            found = mem_realloc(found, max_u64(2 * (uint64_t)*count, 1) * sizeof(found[0]));
        found[(*count)++] = list->items[i];
    }
    if (*count > 1)
        qsort(found, *count, sizeof(found[0]), by_first);
    return found;
}

/* ---- the file ---- */

static char *aborted_path(const char *directory)
{
    size_t size = strlen(directory) + sizeof("/" ABORTED_NAME);
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/" ABORTED_NAME, directory);
    return path;
}

static int64_t write_all(struct fs *fs, const char *path, const uint8_t *bytes, size_t size)
{
    int64_t result = fs_open(fs, path, FS_WRITE | FS_CREATE);
    if (result < 0)
        return result;
    int file = (int)result;
    result = fs_write(fs, file, bytes, size, 0);
    if (result >= 0)
        result = fs_truncate(fs, file, size);
    if (result >= 0)
        result = fs_sync(fs, file);
    fs_close(fs, file);
    return result;
}

bool aborted_write(struct fs *fs, const char *directory, const uint8_t uuid[16],
                   const struct aborted_list *list, struct log_error *error)
{
    must(list->count <= ABORTED_MAX);
    size_t size = FS_BLOCK + (size_t)list->count * ABORTED_ITEM_BYTES;
    uint8_t *bytes = mem_alloc(size);
    struct bytes_out out = bytes_out_of(bytes + FS_BLOCK, size - FS_BLOCK);
    for (uint32_t i = 0; i < list->count; i++) {
        put_i64(&out, list->items[i].producer_id);
        put_i64(&out, list->items[i].first_offset);
        put_i64(&out, list->items[i].last_offset);
    }
    must(!out.overrun);
    out = format_begin(bytes, ABORTED_MAGIC, 1, 1, uuid);
    put_u32(&out, list->count);
    put_u32(&out, crc32c(0, bytes + FS_BLOCK, size - FS_BLOCK));
    format_end(bytes);
    char *path = aborted_path(directory);
    int64_t result = write_all(fs, path, bytes, size);
    if (result >= 0)
        result = fs_sync_dir(fs, directory);
    bool good = result >= 0 || log_refuse_io(error, "write", path, result);
    mem_free(path);
    mem_free(bytes);
    return good;
}

static bool take_items(struct aborted_list *list, const uint8_t *bytes, size_t size,
                       const uint8_t uuid[16])
{
    struct bytes_in own;
    const uint8_t *owner;
    if (size < FS_BLOCK || format_check(bytes, ABORTED_MAGIC, 1, &own, &owner) != FORMAT_OK ||
        memcmp(owner, uuid, 16) != 0)
        return false;
    uint32_t count = take_u32(&own);
    uint32_t crc = take_u32(&own);
    if (count > ABORTED_MAX || size - FS_BLOCK != (size_t)count * ABORTED_ITEM_BYTES ||
        crc != crc32c(0, bytes + FS_BLOCK, size - FS_BLOCK))
        return false;
    struct bytes_in in = bytes_in_of(bytes + FS_BLOCK, size - FS_BLOCK);
    struct aborted_transaction *items = count > 0 ? mem_alloc(count * sizeof(items[0])) : NULL;
    bool good = true;
    for (uint32_t i = 0; i < count; i++) {
        struct aborted_transaction *item = &items[i];
        item->producer_id = take_i64(&in);
        item->first_offset = take_i64(&in);
        item->last_offset = take_i64(&in);
        good = good && item->first_offset >= 0 && item->first_offset <= item->last_offset &&
               (i == 0 || item->last_offset > items[i - 1].last_offset);
    }
    *list = aborted_of(items, count);
    return good;
}

bool aborted_read(struct fs *fs, const char *directory, const uint8_t uuid[16],
                  struct aborted_list *list, struct log_error *error)
{
    char *path = aborted_path(directory);
    uint8_t *bytes = NULL;
    *list = (struct aborted_list){0};
    int64_t result = fs_open(fs, path, FS_READ);
    if (result >= 0) {
        int file = (int)result;
        result = fs_size(fs, file);
        size_t size = (size_t)min_i64(max_i64(result, 0),
                                      FS_BLOCK + (int64_t)ABORTED_MAX * ABORTED_ITEM_BYTES);
        bytes = mem_alloc(size + 1);
        if (result >= 0)
            result = fs_read(fs, file, bytes, size, 0);
        fs_close(fs, file);
    }
    bool good = result >= 0;
    if (!good)
        (void)log_refuse_io(error, "read", path, result);
    else if (!take_items(list, bytes, (size_t)result, uuid))
        good = log_refuse(error, LOG_ERROR_DAMAGED,
                          "%s, which says what transactions were aborted, is damaged; restore it "
                          "from a copy",
                          path);
    if (!good)
        aborted_fini(list);
    mem_free(bytes);
    mem_free(path);
    return good;
}
