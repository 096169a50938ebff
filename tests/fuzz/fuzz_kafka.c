/* SPDX-License-Identifier: Apache-2.0
 *
 * Any reader of the codec: the first byte chooses the message, the second its version, the third
 * where the rest is cut into pieces. What can be read must be writable, and what was written must
 * be read back and written again as the same bytes.
 */
#include "net/kafka.h"

#include <stdlib.h>

#define ARENA_BYTES ((size_t)4 << 20)
#define LARGEST     4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *write_flat(struct arena *arena, enum kafka_kind kind, int16_t version,
                           const void *message, uint32_t *len)
{
    struct wr w;
    wr_init(&w, arena);
    kafka_write(kind, &w, version, message);
    uint8_t *flat = NULL;
    *len = 0;
    struct out_part *part = wr_finish(&w);
    if (!w.bad) {
        flat = arena_alloc(arena, wr_len(&w));
        for (; part && flat; part = part->next) {
            memcpy(flat + *len, part->data, part->len);
            *len += part->len;
        }
    }
    return flat;
}

static void check_again(struct arena *arena, enum kafka_kind kind, int16_t version, void *message)
{
    uint32_t first_len, second_len;
    uint8_t *first = write_flat(arena, kind, version, message, &first_len);
    if (!first)
        return; /* the arena was full */
    struct piece piece;
    struct rd r;
    rd_init(&r, span_of(&piece, first, first_len));
    struct arena fresh;
    arena_init(&fresh, ARENA_BYTES * 4);
    must(kafka_read(kind, &r, &fresh, version, message));
    must(rd_left(&r) == 0);
    uint8_t *second = write_flat(&fresh, kind, version, message, &second_len);
    must(second && second_len == first_len && memcmp(first, second, first_len) == 0);
    arena_fini(&fresh);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static union {
        uint8_t bytes[LARGEST];
        max_align_t align;
    } message;
    if (size < 3)
        return 0;
    enum kafka_kind kind = (enum kafka_kind)(data[0] % KAFKA_MESSAGES);
    const struct kafka_message *about = &kafka_messages[kind];
    must(about->size <= LARGEST);
    int16_t version = (int16_t)(about->min + data[1] % (about->max - about->min + 1));
    uint32_t len = (uint32_t)size - 3;
    uint32_t cut = len ? data[2] % len : 0;

    /* Allocations of their exact size, so that a read past a piece is seen. */
    uint8_t *head = malloc(cut + 1), *tail = malloc(len - cut + 1);
    memcpy(head + 1, data + 3, cut);
    memcpy(tail + 1, data + 3 + cut, len - cut);
    struct piece pieces[] = {{head + 1, cut}, {tail + 1, len - cut}};
    struct span frame = {.piece = cut ? pieces : pieces + 1, .len = len};

    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct rd r;
    rd_init(&r, frame);
    if (kafka_read(kind, &r, &arena, version, message.bytes))
        check_again(&arena, kind, version, message.bytes);
    must(arena.held_bytes <= arena.bytes_max);
    arena_fini(&arena);
    free(head);
    free(tail);
    return 0;
}
