/* SPDX-License-Identifier: Apache-2.0
 *
 * Where in a segment offsets and times are, about: core/log/segment_index.c.
 */
#pragma once

#include "core/log/segment.h"

struct batch_header;

/* A batch was appended or met on a walk. False: it gives the lie to what was read from a file, and
 * all that is forgotten: who relied on it begins again. */
bool segment_noted(struct segment *segment, const struct batch_header *header, uint32_t position,
                   uint32_t interval);
/* The first entry behind a position; NULL: there is none. */
const struct index_entry *segment_index_after(const struct segment *segment, uint32_t position);
/* The entry was wrong. */
void segment_index_disown(struct segment *segment, uint32_t position);
/* The last indexed place at or before `offset`: position 0 when there is none. */
struct index_entry segment_index_find(const struct segment *segment, int64_t offset);
/* Before which entry's batch no timestamp reaches `timestamp`: the last such one whose offset is
 * below `upto_offset`; NULL: none is known. INT64_MAX: the greatest. */
const struct time_entry *segment_time_find(const struct segment *segment, int64_t timestamp,
                                           int64_t upto_offset);
/* May this batch stand where the entry says that no batch before its own has its timestamp? *met:
 * it is the entry's own. */
bool segment_time_claim_holds(const struct segment *segment, const struct time_entry *claim,
                              const struct batch_header *header, bool *met);
/* Is every timestamp in it accounted for? */
static inline bool segment_times_known(const struct segment *segment)
{
    return segment->times.upto == segment->size && !segment->times.claimed;
}
/* The times were wrong: nothing is known of them any more. */
void segment_times_drop(struct segment *segment);
/* The segment ends there. */
void segment_index_cut(struct segment *segment, uint32_t position);
/* The entries go, what is known of the timestamps stays. */
void segment_index_forget(struct segment *segment);
/* True when its index files are being read: its readers run when they are. */
bool segment_index_load(struct segment *segment);
/* The job gets what its write needs. */
void segment_index_save(struct segment *segment, struct file_job *job);
/* When the times are known now that no file holds. */
void segment_index_rewrite(struct segment *segment);
/* On the helper thread. */
int64_t segment_index_write(struct file_job *job);
int64_t segment_index_read(struct file_job *job);
/* Whole entries of an index file, as many as there may be; NULL: none. The caller frees. */
uint8_t *segment_index_file(struct fs *fs, const char *path, size_t entry_size, uint32_t *count);
void segment_index_unlink(const struct file_job *job);
