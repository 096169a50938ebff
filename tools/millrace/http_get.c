/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/http_get.h"

#include "io/mem.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_MAX (16U << 20)

static bool failed(struct http_got *got, const char *problem)
{
    (void)snprintf(got->problem, sizeof(got->problem), "%s", problem);
    return false;
}

static int connect_to(const struct address *address, int64_t timeout_ms, struct http_got *got)
{
    char port[8];
    const struct timeval timeout = {.tv_sec = timeout_ms / 1000,
                                    .tv_usec = timeout_ms % 1000 * 1000};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    (void)snprintf(port, sizeof(port), "%u", address->port);
    int error = getaddrinfo(address->host[0] ? address->host : "127.0.0.1", port, &hints, &found);
    if (error) {
        (void)failed(got, gai_strerror(error));
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            break;
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
        if (connect(fd, at->ai_addr, at->ai_addrlen) == 0)
            break;
        (void)failed(got, strerror(errno));
        (void)close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

/* Until the other side closes; got->body holds everything. */
static bool read_all(int fd, struct http_got *got)
{
    size_t room = 64U << 10;
    got->body = mem_alloc(room);
    for (;;) {
        ssize_t n = recv(fd, got->body + got->len, room - got->len - 1, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(got, errno == EAGAIN ? "no answer in time" : strerror(errno));
        if (n == 0)
            break;
        got->len += (size_t)n;
        if (got->len + 1 < room)
            continue;
        if (room >= ANSWER_MAX)
            return failed(got, "the answer is too long");
        char *grown = mem_alloc(2 * room);
        memcpy(grown, got->body, got->len);
        mem_free(got->body);
        got->body = grown;
        room *= 2;
    }
    got->body[got->len] = 0;
    return true;
}

/* Takes status and headers off the front. */
static bool take_head(struct http_got *got)
{
    char *end = strstr(got->body, "\r\n\r\n");
    if (!end || strncmp(got->body, "HTTP/1.", strlen("HTTP/1.")) != 0)
        return failed(got, "the answer is no HTTP");
    const char *space = strchr(got->body, ' ');
    got->status = space && space < end ? (int)strtol(space, NULL, 10) : 0;
    *end = 0;
    size_t head = (size_t)(end - got->body) + strlen("\r\n\r\n");
    const char *length = strcasestr(got->body, "\r\ncontent-length:");
    bool whole =
        length && strtoull(length + strlen("\r\ncontent-length:"), NULL, 10) == got->len - head;
    got->len -= head;
    memmove(got->body, got->body + head, got->len + 1);
    return whole || failed(got, "the answer is cut off");
}

bool http_get(const struct address *address, const char *path, int64_t timeout_ms,
              struct http_got *got)
{
    char request[512];
    char text[ADDRESS_TEXT_SIZE];
    *got = (struct http_got){0};
    int fd = connect_to(address, timeout_ms, got);
    if (fd < 0)
        return false;
    int len = snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path,
                       address_print(address, text));
    bool good = send(fd, request, (size_t)len, MSG_NOSIGNAL) == len;
    good = good ? read_all(fd, got) && take_head(got) : failed(got, strerror(errno));
    (void)close(fd);
    if (!good)
        mem_free(got->body);
    return good;
}
