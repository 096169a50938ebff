/* SPDX-License-Identifier: Apache-2.0
 *
 * The next image in the making: an image, and the records of the batches after it.
 *
 * The controller decides on it (each decision sees those before it in the same batch), and
 * either finishes it into a new image or throws it away when the batch did not become durable. The
 * image it began with is never touched: a topic that changes is copied first, all others are
 * shared.
 *
 * Placement is decided here, too: a new partition of this broker gets the shard that has the
 * fewest, and keeps it as long as the broker runs. At a restart all are placed anew, whatever the
 * number of shards was before: recovery does not depend on it.
 * home: the control shard.
 */
#pragma once

#include "core/metadata/image.h"
#include "core/metadata/metadata_record.h"

struct image_edit;

/* What is the same in all images of a running broker. */
struct image_options {
    const struct conf *conf; /* outlives the images */
    const char *cluster_id;
    int32_t node_id;
    uint16_t shard_count;
    uint64_t seed;      /* of the hashes: random */
    bool mutate_shared; /* a deliberate mistake: topics are changed without being copied */
    /* The image that a snapshot takes the place of while the broker runs, or NULL; it must stay
     * until image_edit_end(). Partitions stay at home where they are. */
    const struct image *before;
};

/* From nothing. */
struct image_edit *image_edit_new(const struct image_options *options);
/* From `base`, which must stay until image_edit_end(). */
struct image_edit *image_edit_begin(const struct image *base);
/* False, and a sentence, when the record does not fit what is there: the log is damaged, or the
 * decision was wrong. Then only image_edit_cancel() may follow. */
bool image_edit_apply(struct image_edit *edit, const struct metadata_record *record, char *sentence,
                      size_t sentence_size) warn_unused;
/* batch: of the last record. Uses up the edit. */
struct image *image_edit_end(struct image_edit *edit, uint64_t batch);
void image_edit_cancel(struct image_edit *edit);

/* ---- what it would be ---- */

const struct topic_image *image_edit_topic_by_name(const struct image_edit *edit, struct str name);
const struct topic_image *image_edit_topic_by_id(const struct image_edit *edit,
                                                 const struct uuid *id);
/* A topic whose name is `name`, or differs from it only by '.' and '_'; NULL: none. */
const struct topic_image *image_edit_collision(const struct image_edit *edit, struct str name);
/* Its brokers, producer ids, features and settings; topics only by the calls above. */
const struct image *image_edit_peek(const struct image_edit *edit);
/* Settings of all brokers (-1) or one; NULL: none. */
const struct overrides *image_edit_settings(const struct image_edit *edit, int32_t broker_id);
uint64_t image_edit_partition_count(const struct image_edit *edit);
/* Settings that were in records and are unknown or not valid here: left out, by a newer version. */
uint32_t image_edit_ignored(const struct image_edit *edit);

/* All of an image as records, in an order that image_edit_apply() takes: a snapshot. Views into
 * the image; the record is valid during the call. */
void image_records(const struct image *image,
                   void (*on_record)(void *user, const struct metadata_record *record), void *user);
