/* SPDX-License-Identifier: Apache-2.0
 *
 * See wire.h.
 */
#include "tests/crash/wire.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- bytes ---- */

uint8_t *room_for(struct bytes *bytes, size_t len)
{
    if (bytes->len + len > bytes->room) {
        bytes->room = (bytes->len + len) * 2;
        bytes->data = realloc(bytes->data, bytes->room);
        if (!bytes->data)
            abort();
    }
    return bytes->data + bytes->len;
}

void put(struct bytes *to, const void *from, size_t len)
{
    memcpy(room_for(to, len), from, len);
    to->len += len;
}

void put8(struct bytes *to, uint8_t value)
{
    put(to, &value, 1);
}

void put16(struct bytes *to, int16_t value)
{
    uint16_t wire = htobe16((uint16_t)value);
    put(to, &wire, sizeof(wire));
}

void put32(struct bytes *to, int64_t value)
{
    uint32_t wire = htobe32((uint32_t)value);
    put(to, &wire, sizeof(wire));
}

void put64(struct bytes *to, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);
    put(to, &wire, sizeof(wire));
}

void set32(struct bytes *to, size_t at, size_t value)
{
    uint32_t wire = htobe32((uint32_t)value);
    memcpy(to->data + at, &wire, sizeof(wire));
}

void put_string(struct bytes *to, const char *text)
{
    put16(to, (int16_t)strlen(text));
    put(to, text, strlen(text));
}

void put_varint(struct bytes *to, int64_t value)
{
    uint64_t left = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    while (left > 0x7f) {
        put8(to, (uint8_t)(left | 0x80));
        left >>= 7;
    }
    put8(to, (uint8_t)left);
}

const uint8_t *take(struct reader *reader, size_t len)
{
    static const uint8_t zeros[64];
    if (len > (size_t)(reader->end - reader->at)) {
        reader->bad = true;
        return len <= sizeof(zeros) ? zeros : NULL;
    }
    reader->at += len;
    return reader->at - len;
}

int16_t take16(struct reader *reader)
{
    uint16_t value;
    memcpy(&value, take(reader, sizeof(value)), sizeof(value));
    return (int16_t)be16toh(value);
}

int32_t take32(struct reader *reader)
{
    uint32_t value;
    memcpy(&value, take(reader, sizeof(value)), sizeof(value));
    return (int32_t)be32toh(value);
}

int64_t take64(struct reader *reader)
{
    uint64_t value;
    memcpy(&value, take(reader, sizeof(value)), sizeof(value));
    return (int64_t)be64toh(value);
}

int64_t take_varint(struct reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = *take(reader, 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            break;
    }
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* ---- connections ---- */

int connect_to(uint16_t port)
{
    int file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htobe16(port)};
    address.sin_addr.s_addr = htobe32(INADDR_LOOPBACK);
    if (file < 0)
        return -1;
    struct timeval limit = {.tv_sec = 20};
    int one = 1;
    (void)setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(file, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    (void)setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(file, (struct sockaddr *)&address, sizeof(address)) == 0)
        return file;
    close(file);
    return -1;
}

static bool send_all(int file, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(file, data, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

static bool receive_all(int file, uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t got = recv(file, data, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        data += got;
        len -= (size_t)got;
    }
    return true;
}

void begin_request(struct bytes *out, enum api api, int16_t version, int32_t correlation_id)
{
    out->len = 0;
    put32(out, 0);
    put16(out, (int16_t)api);
    put16(out, version);
    put32(out, correlation_id);
    put_string(out, "crash-load");
}

bool send_request(int file, struct bytes *out)
{
    set32(out, 0, out->len - 4);
    return send_all(file, out->data, out->len);
}

bool receive_answer(int file, struct bytes *in, struct reader *reader, int32_t *correlation_id)
{
    uint32_t len;
    if (!receive_all(file, (uint8_t *)&len, sizeof(len)))
        return false;
    len = be32toh(len);
    in->len = 0;
    if (!receive_all(file, room_for(in, len), len))
        return false;
    *reader = (struct reader){.at = in->data, .end = in->data + len};
    *correlation_id = take32(reader);
    return true;
}

bool call(int file, struct bytes *out, struct bytes *in, struct reader *reader)
{
    int32_t correlation_id;
    return send_request(file, out) && receive_answer(file, in, reader, &correlation_id);
}
