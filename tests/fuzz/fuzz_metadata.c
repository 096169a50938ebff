/* SPDX-License-Identifier: Apache-2.0
 *
 * Metadata records and the images they add up to, from any bytes. What is accepted must come back
 * the same from its own snapshot.
 */
#include "core/metadata/image_edit.h"
#include "io/mem.h"
#include "tests/unit/heap.h"

#include <stdint.h>

static struct conf conf;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    const struct conf_input input = {.hostname = "localhost"};
    must(conf_load(&conf, &input));
    return 0;
}

static struct image *image_of(const uint8_t *data, size_t size, bool must_fit)
{
    const struct image_options options = {
        .conf = &conf, .cluster_id = "c", .node_id = 1, .shard_count = 3, .seed = 42};
    struct image_edit *edit = image_edit_new(&options);
    struct bytes_in in = bytes_in_of(data, size);
    struct arena arena;
    arena_init(&arena, 1U << 20);
    enum metadata_verdict verdict;
    do {
        struct metadata_record record;
        char sentence[200];
        arena_reset(&arena);
        verdict = metadata_record_decode(&in, METADATA_LEVEL_NEWEST, &arena, &record, sentence,
                                         sizeof(sentence));
        if (verdict == METADATA_READ &&
            !image_edit_apply(edit, &record, sentence, sizeof(sentence)))
            verdict = METADATA_REFUSED;
    } while (verdict == METADATA_READ || verdict == METADATA_SKIPPED);
    arena_fini(&arena);
    must(!must_fit || verdict == METADATA_END);
    if (verdict == METADATA_END)
        return image_edit_end(edit, 1);
    image_edit_cancel(edit);
    return NULL;
}

static void add(void *user, const struct metadata_record *record)
{
    metadata_records_add(user, record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image *image = image_of(data, size, false);
    if (!image)
        return 0;
    struct metadata_records first = {0};
    struct metadata_records second = {0};
    image_records(image, add, &first);
    struct image *again = image_of(first.data, first.length, true);
    image_records(again, add, &second);
    must(first.length == second.length && memcmp(first.data, second.data, first.length) == 0);
    metadata_records_fini(&first);
    metadata_records_fini(&second);
    image_free(again);
    image_free(image);
    return 0;
}
