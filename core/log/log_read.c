/* SPDX-License-Identifier: Apache-2.0
 *
 * What readers of a log share: how far they may read, and their turn when what they waited for came
 * back; and the small questions about a log that need no reading.
 */
#include "core/log/log_read.h"

#include "core/log/log_find.h"
#include "core/log/log_private.h"
#include "core/record/batch.h"

uint32_t log_read_limit(const struct log_body *lg, const struct segment *segment)
{
    if (segment->base > lg->acked_segment->base)
        return 0;
    return segment == lg->acked_segment ? lg->acked_position : segment->size;
}

void log_read_run(struct log_shard *ls)
{
    ls->reads_again = false;
    struct log_find *last_find = TAILQ_LAST(&ls->finds_waiting, log_finds);
    struct log_pin *last_pin = TAILQ_LAST(&ls->pins_waiting, log_pins);
    struct log_find *find;
    while (last_find != NULL && (find = TAILQ_FIRST(&ls->finds_waiting)) != NULL) {
        TAILQ_REMOVE(&ls->finds_waiting, find, priv.link);
        bool end = find == last_find;
        find_again(find);
        if (end)
            break;
    }
    struct log_pin *pin;
    while (last_pin != NULL && (pin = TAILQ_FIRST(&ls->pins_waiting)) != NULL) {
        TAILQ_REMOVE(&ls->pins_waiting, pin, priv.link);
        bool end = pin == last_pin;
        pin_again(pin);
        if (end)
            break;
    }
}

const struct producer_state *log_producers(const struct log *log)
{
    return &log_body_of_const(log)->producers;
}

void log_expire_producers(struct log *log, int64_t now_ms)
{
    struct log_body *lg = log_body_of(log);
    producer_expire(&lg->producers, now_ms - (int64_t)lg->config.producer_expiration_ms);
}

bool log_epoch_end(const struct log *log, int32_t asked, int32_t *epoch, int64_t *end_offset)
{
    return epoch_end(&log_body_of_const(log)->epochs, asked, log->end_offset, epoch, end_offset);
}

int32_t log_oldest_epoch(const struct log *log)
{
    return epoch_oldest(&log_body_of_const(log)->epochs);
}

struct aborted_transaction *log_aborted(const struct log *log, const struct log_range *range,
                                        int64_t from, uint32_t *count)
{
    const struct log_body *lg = log_body_of_const(log);
    *count = 0;
    if (lg->aborted.count == 0 || range->length == 0)
        return NULL;
    const struct segment *segment = segment_named(lg, range->segment_base, range->segment_version);
    int64_t upto = segment != NULL ? segment->end_offset : lg->log.end_offset;
    return aborted_between(&lg->aborted, min_i64(from, range->base_offset), upto,
                           range->length / BATCH_HEADER_SIZE, count);
}

bool log_is_aborted(const struct log *log, const struct batch_header *header)
{
    return aborted_has(&log_body_of_const(log)->aborted, header);
}
