/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/epoch.h"

#include "io/mem.h"

void epoch_fini(struct epoch_history *history)
{
    mem_free(history->entries);
    *history = (struct epoch_history){0};
}

static void epoch_push(struct epoch_history *history, int32_t epoch, int64_t start_offset)
{
    if (history->count == history->size) {
        history->size = history->size == 0 ? 4 : history->size * 2;
        history->entries =
            mem_realloc(history->entries, history->size * sizeof(history->entries[0]));
    }
    history->entries[history->count++] =
        (struct epoch_entry){.epoch = epoch, .start_offset = start_offset};
}

void epoch_assign(struct epoch_history *history, int32_t epoch, int64_t start_offset)
{
    if (epoch < 0 || epoch <= epoch_latest(history))
        return;
    /* An epoch without a single record leaves no trace: its entry would begin where this one does.
     */
    epoch_truncate_end(history, start_offset);
    epoch_push(history, epoch, start_offset);
}

int32_t epoch_latest(const struct epoch_history *history)
{
    return history->count == 0 ? -1 : history->entries[history->count - 1].epoch;
}

int32_t epoch_oldest(const struct epoch_history *history)
{
    return history->count > 0 ? history->entries[0].epoch : -1;
}

/* Entries that begin at or below it. */
static uint32_t entries_upto(const struct epoch_history *history, int64_t offset)
{
    uint32_t at = history->count;
    while (at > 0 && history->entries[at - 1].start_offset > offset)
        at--;
    return at;
}

bool epoch_holds(const struct epoch_history *history, int64_t offset, int32_t epoch)
{
    int32_t least;
    int32_t most;
    epoch_bounds(history, offset, offset + 1, &least, &most);
    return epoch >= least && epoch <= most;
}

void epoch_bounds(const struct epoch_history *history, int64_t from, int64_t upto, int32_t *least,
                  int32_t *most)
{
    uint32_t first = entries_upto(history, from);
    uint32_t last = entries_upto(history, upto - 1);
    *least = first > 0 ? history->entries[first - 1].epoch : -1;
    *most = INT32_MAX;
    if (history->count > 0)
        *most = history->entries[last > 0 ? last - 1 : 0].epoch;
}

bool epoch_end(const struct epoch_history *history, int32_t asked, int64_t end_offset,
               int32_t *epoch, int64_t *offset)
{
    *epoch = -1;
    *offset = -1;
    if (asked < 0 || asked > epoch_latest(history))
        return false;
    if (asked < history->entries[0].epoch) {
        *epoch = asked;
        *offset = history->entries[0].start_offset;
        return true;
    }
    uint32_t at = history->count - 1;
    while (history->entries[at].epoch > asked)
        at--;
    *epoch = history->entries[at].epoch;
    *offset = at + 1 < history->count ? history->entries[at + 1].start_offset : end_offset;
    return true;
}

void epoch_truncate_end(struct epoch_history *history, int64_t offset)
{
    while (history->count > 0 && history->entries[history->count - 1].start_offset >= offset)
        history->count--;
}

void epoch_truncate_start(struct epoch_history *history, int64_t offset)
{
    uint32_t drop = 0;
    while (drop + 1 < history->count && history->entries[drop + 1].start_offset <= offset)
        drop++;
    if (drop > 0) {
        history->count -= drop;
        memmove(history->entries, history->entries + drop,
                history->count * sizeof(history->entries[0]));
    }
    if (history->count > 0 && history->entries[0].start_offset < offset)
        history->entries[0].start_offset = offset;
}

size_t epoch_encoded_size(const struct epoch_history *history)
{
    return 4 + 12U * (size_t)history->count;
}

void epoch_encode(const struct epoch_history *history, struct bytes_out *out)
{
    put_u32(out, history->count);
    for (uint32_t i = 0; i < history->count; i++) {
        put_i32(out, history->entries[i].epoch);
        put_i64(out, history->entries[i].start_offset);
    }
}

bool epoch_decode(struct epoch_history *history, struct bytes_in *in)
{
    must(history->count == 0);
    uint32_t count = take_u32(in);
    if (in->overrun || count > (size_t)(in->end - in->at) / 12)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        int32_t epoch = take_i32(in);
        int64_t start_offset = take_i64(in);
        if (epoch <= epoch_latest(history) ||
            (i > 0 && start_offset <= history->entries[i - 1].start_offset))
            return false;
        epoch_push(history, epoch, start_offset);
    }
    return !in->overrun;
}
