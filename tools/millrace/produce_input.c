/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/produce_input.h"

#include "io/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_SIZE (256U << 10)

bool input_init(struct input *input, const struct invocation *inv, const char *format, int file,
                bool *news)
{
    *input = (struct input){.file = file, .news = news};
    if (!record_format_parse(&input->format, inv, format, INPUT_TOKENS))
        return false;
    for (uint32_t i = 0; i + 1 < input->format.count; i++) {
        if (input->format.items[i].token && input->format.items[i + 1].token) {
            (void)usage_error(inv, "-f %s: between two tokens there must be text", format);
            return false;
        }
    }
    if (input->format.count == 0) {
        (void)usage_error(inv, "-f: the format is empty");
        return false;
    }
    input->piece = mem_alloc(PIECE_SIZE);
    input->size = PIECE_SIZE;
    input->held = mem_alloc(input->size);
    return true;
}

void input_fini(struct input *input)
{
    record_format_fini(&input->format);
    mem_free(input->piece);
    mem_free(input->held);
}

/* ---- reading ---- */

static void read_piece(void *argument)
{
    struct input *input = argument;
    do
        input->piece_len = read(input->file, input->piece, PIECE_SIZE);
    while (input->piece_len < 0 && errno == EINTR);
    input->error = input->piece_len < 0 ? errno : 0;
}

static void on_read(struct io_op *op)
{
    struct input *input = container_of(op, struct input, op);
    input->reading = false;
    *input->news = true;
    if (input->piece_len <= 0) {
        input->at_end = true;
        return;
    }
    size_t more = (size_t)input->piece_len;
    if (input->at > 0) {
        memmove(input->held, input->held + input->at, input->len - input->at);
        input->len -= input->at;
        input->at = 0;
    }
    if (input->size < input->len + more) {
        input->size = max_u64(input->size * 2, input->len + more);
        input->held = mem_realloc(input->held, input->size);
    }
    memcpy(input->held + input->len, input->piece, more);
    input->len += more;
}

void input_read(struct input *input, struct io *io)
{
    if (input->reading || input->at_end)
        return;
    input->reading = true;
    input->op.done = on_read;
    io_work(io, &input->op, read_piece, input);
}

/* ---- cutting ---- */

static bool number_of(const char *text, int32_t len, int64_t *number)
{
    char copy[32];
    if (len <= 0 || len >= (int32_t)sizeof(copy))
        return false;
    memcpy(copy, text, (size_t)len);
    copy[len] = 0;
    char *end;
    errno = 0;
    *number = strtoll(copy, &end, 10);
    return errno == 0 && *end == 0;
}

/* k=v,k=v; a header without '=' has a null value. */
static bool headers_of(struct input_record *record, char *text, int32_t len, uint8_t encoding)
{
    for (char *end = text + len; text < end;) {
        char *comma = memchr(text, ',', (size_t)(end - text));
        char *stop = comma ? comma : end;
        char *equals = memchr(text, '=', (size_t)(stop - text));
        if (record->header_count == (int32_t)INPUT_HEADERS_MAX)
            return false;
        struct record_header *header = &record->headers[record->header_count++];
        *header = (struct record_header){
            .key = text,
            .key_len = (int32_t)((equals ? equals : stop) - text),
            .value = equals ? (const uint8_t *)equals + 1 : NULL,
            .value_len = -1,
        };
        if (equals)
            header->value_len = decode_in_place(equals + 1, (int32_t)(stop - equals - 1), encoding);
        if (equals && header->value_len < 0)
            return false;
        text = stop + 1;
    }
    return true;
}

static bool token_take(const struct input *input, struct input_record *record,
                       const struct format_item *item, char *text, int32_t len)
{
    int64_t number = 0;
    bool good;
    switch (item->token) {
    case 's':
    case 'k': {
        int32_t bytes = decode_in_place(text, len, (enum encoding)item->encoding);
        bool is_null = bytes == 0 && input->empty_is_null;
        struct bytes_or_null *to = item->token == 's' ? &record->value : &record->key;
        *to = is_null ? BYTES_NULL : (struct bytes_or_null){.data = text, .len = bytes};
        return bytes >= 0;
    }
    case 'p':
        good = number_of(text, len, &number) && number >= 0 && number <= INT32_MAX;
        record->partition = (int32_t)number;
        return good;
    case 'T':
        good = number_of(text, len, &number);
        record->timestamp = number;
        return good;
    default:
        return headers_of(record, text, len, item->encoding);
    }
}

static char *text_find(char *from, char *end, const struct format_item *item)
{
    return memmem(from, (size_t)(end - from), item->text, item->len);
}

/* Cuts one record's bytes into its tokens. count: items without the text that ends a record. */
static bool cut(struct input *input, struct input_record *record, char *at, char *end,
                uint32_t count)
{
    const struct format_item *items = input->format.items;
    for (uint32_t i = 0; i < count; i++) {
        const struct format_item *item = &items[i];
        if (!item->token) { /* text that nothing stands before */
            if ((size_t)(end - at) < item->len || memcmp(at, item->text, item->len) != 0)
                return false;
            at += item->len;
            continue;
        }
        const struct format_item *behind = i + 1 < count ? &items[i + 1] : NULL;
        char *stop = behind ? text_find(at, end, behind) : end;
        if (!stop && item->token == 'k') {
            i++; /* no key here: the rest of the format reads on */
            continue;
        }
        if (!stop || !token_take(input, record, item, at, (int32_t)(stop - at)))
            return false;
        at = stop;
    }
    return at == end;
}

static enum input_status bad(struct input *input, const char *what)
{
    (void)snprintf(input->problem, sizeof(input->problem), "record %llu of the input %s",
                   (unsigned long long)input->records + 1, what);
    return INPUT_BAD;
}

enum input_status input_next(struct input *input, struct input_record *record)
{
    char *at = input->held + input->at;
    size_t left = input->len - input->at;
    uint32_t count = input->format.count;
    const struct format_item *last = &input->format.items[count - 1];
    char *stop = NULL;
    if (left > 0 && !last->token) {
        char *from = at + input->searched;
        stop = text_find(from, at + left, last);
        if (!stop) /* its first bytes may be the last there are */
            input->searched = left > last->len ? left - last->len : 0;
    }
    if (left > INPUT_RECORD_MAX && !stop)
        return bad(input, "is larger than 100 MiB");
    if (!stop && !input->at_end)
        return INPUT_MORE;
    if (left == 0)
        return INPUT_END;
    *record = (struct input_record){
        .key = BYTES_NULL,
        .value = BYTES_NULL,
        .partition = -1,
        .timestamp = BATCH_NO_TIMESTAMP,
    };
    char *end = stop ? stop : at + left;
    input->at += (size_t)(end - at) + (stop ? last->len : 0);
    input->searched = 0;
    if (!cut(input, record, at, end, last->token ? count : count - 1))
        return bad(input, "does not fit the format (-f, -K)");
    input->records++;
    return INPUT_RECORD;
}
