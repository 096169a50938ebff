/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages for the codec's benchmarks: filled by the generated walk over all fields
 * (net/kafka_fill.h), so that a key is measured from the day it is served.
 */
#include "bench/shim.h"
#include "io/mem.h"
#include "net/header.h"

#include <stdio.h>
#include <string.h>

#define ARENA_BYTES  ((size_t)64 << 20)
#define RECORD_BYTES 1024

struct fill {
    struct arena *arena;
    int32_t elements;
    bool by_reference; /* records, as the answer to a Fetch has them */
    int32_t next;
};

struct shim_codec {
    int16_t key, version;
    struct arena messages; /* what is encoded */
    struct arena scratch;  /* of one request */
    void *request, *response;
    struct piece piece; /* the request's bytes */
    uint8_t *bytes;
    uint32_t len;
};

static int32_t fill_i32(struct fill *f)
{
    return f->next++ & 0x7fff;
}

static int64_t fill_i64(struct fill *f)
{
    return (int64_t)fill_i32(f) << 20;
}

static int16_t fill_i16(struct fill *f)
{
    return (int16_t)fill_i32(f);
}

static uint16_t fill_u16(struct fill *f)
{
    return (uint16_t)fill_i32(f);
}

static int8_t fill_i8(struct fill *f)
{
    return (int8_t)(fill_i32(f) & 0x3f);
}

static bool fill_bool(struct fill *f)
{
    return fill_i32(f) & 1;
}

static double fill_f64(struct fill *f)
{
    return fill_i32(f);
}

static int32_t fill_count(struct fill *f, bool nullable)
{
    (void)nullable;
    return f->elements;
}

static void *fill_room(struct fill *f, int32_t count, size_t size)
{
    void *room = arena_array(f->arena, (size_t)count, size);
    must(room != NULL);
    return room;
}

static struct uuid fill_uuid(struct fill *f)
{
    return uuid_of_random((uint64_t)fill_i64(f) * 0x9e3779b97f4a7c15U, 0x2545f4914f6cdd1dU);
}

static struct str fill_str(struct fill *f, bool nullable)
{
    (void)f;
    (void)nullable;
    return str_of("orders-eu-west-1");
}

static struct bytes fill_bytes(struct fill *f, bool nullable)
{
    (void)nullable;
    uint8_t *room = fill_room(f, 16, 1);
    memset(room, 'b', 16);
    return (struct bytes){room, 16};
}

static struct records fill_records(struct fill *f, bool nullable)
{
    (void)nullable;
    if (f->by_reference)
        return records_ref(RECORD_BYTES, 1);
    uint8_t *room = fill_room(f, RECORD_BYTES, 1);
    struct piece *piece = fill_room(f, 1, sizeof(*piece));
    memset(room, 'r', RECORD_BYTES);
    return records_of(span_of(piece, room, RECORD_BYTES));
}

#include "net/kafka_fill.h"

static const struct kafka_api *served(unsigned index)
{
    for (size_t i = 0; i < kafka_apis_count; i++) {
        if (kafka_apis[i].served_max >= 0 && index-- == 0)
            return &kafka_apis[i];
    }
    return NULL;
}

unsigned shim_codec_count(void)
{
    unsigned count = 0;
    while (served(count) != NULL)
        count++;
    return count;
}

const char *shim_codec_name(unsigned index)
{
    static char name[64]; /* until the next call */
    const struct kafka_api *api = served(index);
    (void)snprintf(name, sizeof(name), "%s.v%d", api->name, api->served_max);
    return name;
}

static void *message_of(struct fill *f, enum kafka_kind kind)
{
    void *message = arena_alloc(f->arena, kafka_messages[kind].size);
    must(message != NULL);
    memset(message, 0, kafka_messages[kind].size);
    fill_message(f, kind, message);
    return message;
}

/* The request as one run of bytes, without the length of its frame. */
static void request_bytes_make(struct shim_codec *codec)
{
    struct wr w;
    wr_init(&w, &codec->scratch);
    header_begin_request(&w, codec->key, codec->version, 7, str_of("orders-service"));
    kafka_write(kafka_request_kind(codec->key), &w, codec->version, codec->request);
    wr_frame_end(&w);
    must(!w.bad);
    codec->bytes = mem_alloc(wr_len(&w));
    uint32_t at = 0;
    for (const struct out_part *part = wr_finish(&w); part != NULL; part = part->next) {
        memcpy(codec->bytes + at, part->data, part->len);
        at += part->len;
    }
    codec->len = at - 4;
    memmove(codec->bytes, codec->bytes + 4, codec->len);
}

struct shim_codec *shim_codec_open(unsigned index, int32_t elements)
{
    const struct kafka_api *api = served(index);
    struct shim_codec *codec = mem_zalloc(sizeof(*codec));
    codec->key = api->key;
    codec->version = api->served_max;
    arena_init(&codec->messages, ARENA_BYTES);
    arena_init(&codec->scratch, ARENA_BYTES);
    struct fill fill = {.arena = &codec->messages, .elements = elements};
    codec->request = message_of(&fill, kafka_request_kind(api->key));
    fill.by_reference = true;
    codec->response = message_of(&fill, kafka_response_kind(api->key));
    request_bytes_make(codec);
    return codec;
}

size_t shim_codec_decode_request(struct shim_codec *codec)
{
    struct rd r;
    struct request_header header;
    enum kafka_kind kind = kafka_request_kind(codec->key);
    arena_reset(&codec->scratch);
    rd_init(&r, span_of(&codec->piece, codec->bytes, codec->len));
    bool good = header_read_request(&r, &codec->scratch, &header);
    void *message = arena_alloc(&codec->scratch, kafka_messages[kind].size);
    good =
        good && message != NULL && kafka_read(kind, &r, &codec->scratch, codec->version, message);
    must(good && rd_left(&r) == 0);
    return codec->len;
}

size_t shim_codec_encode_response(struct shim_codec *codec)
{
    struct wr w;
    arena_reset(&codec->scratch);
    wr_init(&w, &codec->scratch);
    header_begin_response(&w, codec->key, codec->version, 7);
    kafka_write(kafka_response_kind(codec->key), &w, codec->version, codec->response);
    wr_frame_end(&w);
    const struct out_part *parts = wr_finish(&w);
    must(parts != NULL && !w.bad);
    return wr_len(&w);
}

void shim_codec_close(struct shim_codec *codec)
{
    arena_fini(&codec->messages);
    arena_fini(&codec->scratch);
    mem_free(codec->bytes);
    mem_free(codec);
}
