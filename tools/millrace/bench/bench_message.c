/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_message.h"

#include "io/mem.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROOM_FIRST 4096U

uint64_t message_clock_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* ---- reading ---- */

void message_reader_init(struct message_reader *reader, int file, size_t bytes_max)
{
    *reader = (struct message_reader){.file = file, .bytes_max = bytes_max};
}

void message_reader_fini(struct message_reader *reader)
{
    mem_free(reader->data);
    reader->data = NULL;
}

static void lose(struct message_reader *reader, const char *why)
{
    reader->ended = true;
    (void)snprintf(reader->why, sizeof(reader->why), "%s", why);
}

/* A line that has not ended is not longer than bytes_max (message_take() has looked), and one byte
 * more shows that it is. */
static void make_room(struct message_reader *reader)
{
    if (reader->taken > 0)
        memmove(reader->data, reader->data + reader->taken, reader->len - reader->taken);
    reader->len -= reader->taken;
    reader->taken = 0;
    if (reader->len < reader->room)
        return;
    reader->room = reader->room > 0 ? 2 * reader->room : ROOM_FIRST;
    reader->room = min_u64(reader->room, reader->bytes_max + 1);
    reader->data = mem_realloc(reader->data, reader->room);
}

void message_fill(struct message_reader *reader)
{
    if (reader->ended)
        return;
    make_room(reader);
    ssize_t got = read(reader->file, reader->data + reader->len, reader->room - reader->len);
    if (got > 0)
        reader->len += (size_t)got;
    else if (got == 0)
        lose(reader, "has closed the connection");
    else if (errno != EINTR && errno != EAGAIN)
        lose(reader, strerror(errno));
}

enum message_state message_take(struct message_reader *reader, json_t **message)
{
    const size_t from = reader->taken + reader->looked;
    const char *end =
        reader->len > from ? memchr(reader->data + from, '\n', reader->len - from) : NULL;
    *message = NULL;
    if (!end) {
        reader->looked = reader->len - reader->taken;
        if (reader->looked > reader->bytes_max && !reader->ended)
            lose(reader, "has sent a message that is too long");
        return reader->ended ? MESSAGE_LOST : MESSAGE_NONE;
    }
    const char *line = reader->data + reader->taken;
    const size_t len = (size_t)(end - line);
    reader->taken += len + 1;
    reader->looked = 0;
    *message = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_string(json_object_get(*message, "type")))
        return MESSAGE_TAKEN;
    json_decref(*message);
    *message = NULL;
    reader->len = reader->taken; /* what follows is no better */
    lose(reader, "has sent something that is no message");
    return MESSAGE_LOST;
}

enum message_state message_wait(struct message_reader *reader, uint64_t until_ns, json_t **message)
{
    for (;;) {
        enum message_state state = message_take(reader, message);
        const uint64_t now_ns = message_clock_ns();
        if (state != MESSAGE_NONE || now_ns >= until_ns)
            return state;
        struct pollfd file = {.fd = reader->file, .events = POLLIN};
        const uint64_t wait_ms = (until_ns - now_ns) / NS_PER_MS + 1;
        int ready = poll(&file, 1, (int)min_u64(wait_ms, INT32_MAX));
        if (ready < 0 && errno == EINTR)
            return MESSAGE_NONE;
        if (ready > 0)
            message_fill(reader);
    }
}

/* ---- sending ---- */

bool message_send_text(int file, const char *line, size_t len)
{
    while (len > 0) {
        ssize_t put = write(file, line, len);
        if (put < 0 && errno != EINTR)
            return false;
        line += put > 0 ? put : 0;
        len -= put > 0 ? (size_t)put : 0;
    }
    return true;
}

bool message_send(int file, json_t *message)
{
    char *text = json_dumps(message, JSON_COMPACT);
    must(text != NULL);
    json_decref(message);
    size_t len = strlen(text);
    text[len++] = '\n'; /* in place of its end */
    bool sent = message_send_text(file, text, len);
    free(text);
    return sent;
}

/* ---- members ---- */

bool message_is(const json_t *message, const char *type)
{
    return strcmp(json_string_value(json_object_get(message, "type")), type) == 0;
}

bool message_u64(const json_t *message, const char *name, uint64_t max, uint64_t *value)
{
    const json_t *member = json_object_get(message, name);
    const json_int_t number = json_integer_value(member);
    if (!json_is_integer(member) || number < 0 || (uint64_t)number > max)
        return false;
    *value = (uint64_t)number;
    return true;
}

bool message_real(const json_t *message, const char *name, double max, double *value)
{
    const json_t *member = json_object_get(message, name);
    const double number = json_number_value(member);
    if (!json_is_number(member) || !(number >= 0 && number <= max))
        return false;
    *value = number;
    return true;
}

const char *message_text(const json_t *message, const char *name, size_t len_max)
{
    const json_t *member = json_object_get(message, name);
    const char *text = json_string_value(member);
    if (!text || json_string_length(member) > len_max)
        return NULL;
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            return NULL;
    return text;
}
