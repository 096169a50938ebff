/* SPDX-License-Identifier: Apache-2.0
 *
 * Logs that were brought back, and who takes them: a shard (log_adopt), or nobody
 * (recovery_forget).
 */
#include "core/log/promise.h"
#include "core/log/recovery.h"

void recovery_publish(struct recovery *rc)
{
    struct log_dir *dir = rc->dir;
    dir->recovered = mem_zalloc((rc->count + 1) * sizeof(dir->recovered[0]));
    dir->recovered_count = rc->count;
    for (uint32_t i = 0; i < rc->count; i++) {
        struct recovery_log *log = rc->logs[i];
        struct recovered_state *state = mem_zalloc(sizeof(*state));
        struct recovered_log *out = &dir->recovered[i];
        state->incarnation = log->incarnation;
        state->change = log->entry.change;
        state->segments = log->segments;
        state->segment_count = log->segment_count;
        state->sealed_count = log->entry.sealed_count;
        state->sealed_bytes = log->entry.sealed_bytes;
        state->anchor = log->entry.anchor;
        state->clean_upto = log->entry.clean_upto;
        state->relaxed = log->entry.relaxed;
        out->may_have_lost = log->entry.may_have_lost;
        state->epochs = log->epochs;
        state->producers = log->producers;
        state->aborted = log->aborted;
        out->id = log->id;
        out->topic = mem_strdup(log->entry.topic);
        out->start_offset = log->entry.start_offset;
        out->end_offset = log->entry.end_offset;
        for (uint32_t n = 0; n < log->segment_count; n++)
            out->size_bytes += log->segments[n].size;
        out->state = state;
        log->segments = NULL;
        log->epochs = (struct epoch_history){0};
        log->producers = (struct producer_state){0};
        log->aborted = (struct aborted_list){0};
    }
}

static void recovered_fini(struct recovered_log *recovered)
{
    struct recovered_state *state = recovered->state;
    if (state != NULL) {
        mem_free(state->segments);
        epoch_fini(&state->epochs);
        producer_state_fini(&state->producers);
        aborted_fini(&state->aborted);
        mem_free(state);
    }
    recovered->state = NULL;
    union {
        const char *in;
        char *out;
    } topic = {.in = recovered->topic};
    mem_free(topic.out);
    recovered->topic = NULL;
}

void recovery_forget(struct log_dir *dir)
{
    for (uint32_t i = 0; i < dir->recovered_count; i++)
        recovered_fini(&dir->recovered[i]);
    mem_free(dir->recovered);
    dir->recovered = NULL;
    dir->recovered_count = 0;
}

bool recovered_is_newer(const struct recovered_log *a, const struct recovered_log *b)
{
    int32_t a_epoch = epoch_latest(&a->state->epochs);
    int32_t b_epoch = epoch_latest(&b->state->epochs);
    return a_epoch != b_epoch ? a_epoch > b_epoch : a->end_offset > b->end_offset;
}

struct log *log_adopt(struct log_shard *ls, struct recovered_log *recovered,
                      const struct log_config *config)
{
    must(log_at_home(ls) && recovered->state != NULL);
    struct recovered_state *state = recovered->state;
    struct log_body *lg = log_body_new(ls, &recovered->id, recovered->topic, config);
    lg->adopted = true;
    lg->incarnation = state->incarnation;
    lg->change = state->change;
    lg->flushed_change = state->change;
    lg->log.start_offset = recovered->start_offset;
    lg->clean_upto =
        max_i64(recovered->start_offset, min_i64(state->clean_upto, recovered->end_offset));
    lg->log.end_offset = recovered->end_offset;
    lg->log.durable_offset = recovered->end_offset;
    lg->log.may_have_lost = recovered->may_have_lost;
    lg->log.leader_epoch = epoch_latest(&state->epochs);
    for (uint32_t i = 0; i < state->segment_count; i++) {
        struct segment *segment = segment_new(lg, state->segments[i].base);
        bool last = i + 1 == state->segment_count;
        segment->size = state->segments[i].size;
        segment->written = segment->size;
        segment->issued = segment->size;
        segment->allocated = state->segments[i].length;
        uint32_t anchor = last ? state->anchor : LOG_NO_ANCHOR;
        segment->anchors = (struct log_anchors){anchor, anchor};
        segment->sealed = state->segments[i].sealed;
        segment->closed = !last;
        segment->index_asked = segment->size == 0;
        segment->end_offset = last ? recovered->end_offset : state->segments[i + 1].base;
        lg->log.size_bytes += segment->size;
        lg->active = segment;
    }
    lg->sealed_count = state->sealed_count;
    lg->sealed_bytes = state->sealed_bytes;
    lg->flushed_segment = lg->active;
    lg->durable_segment = lg->active;
    lg->flushed_position = lg->active->size;
    lg->durable_position = lg->active->size;
    lg->epochs = state->epochs;
    lg->producers = state->producers;
    lg->aborted = state->aborted;
    state->epochs = (struct epoch_history){0};
    state->producers = (struct producer_state){0};
    state->aborted = (struct aborted_list){0};
    bool relaxed = state->relaxed;
    if (lg->sealed_count + 1 < state->segment_count)
        writer_want(lg); /* it seals the others */
    mem_free(state->segments);
    mem_free(state);
    recovered->state = NULL;
    promise_adopt(lg, relaxed);
    return &lg->log;
}
