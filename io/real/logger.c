/* SPDX-License-Identifier: Apache-2.0
 *
 * Log lines leave the shard through a pipe of its own, a bounded ring of bytes that it writes and
 * one thread of the process reads: a shard never waits for a terminal or a full disk. When the ring
 * is full the line is lost, counted, and the writer says so in a line of its own.
 *
 * The writer sleeps on an eventfd under the same protocol as a shard (uring.c): flag up, fence,
 * look again; a shard puts its line, fence, looks at the flag.
 */
#include "io/real/ring.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define PIPE_SIZE (256U * 1024)

static struct {
    pthread_mutex_t lock; /* the list, and each pipe's reading end */
    TAILQ_HEAD(, log_pipe) pipes;
    bool started;
    int bell;
    uint32_t sleeping;
} writer = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .pipes = TAILQ_HEAD_INITIALIZER(writer.pipes),
};

static void lock(void)
{
    int result = pthread_mutex_lock(&writer.lock);
    must(result == 0);
}

static void unlock(void)
{
    int result = pthread_mutex_unlock(&writer.lock);
    must(result == 0);
}

/* Where log lines cannot be written there is nobody left to tell. */
static void write_all(int file, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(file, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        bytes += n;
        len -= (size_t)n;
    }
}

/* With the lock held. True when something was there. */
static bool pipe_drain(struct log_pipe *pipe)
{
    uint64_t head = __atomic_load_n(&pipe->head, __ATOMIC_ACQUIRE);
    uint64_t tail = pipe->tail;
    if (head == tail)
        return false;
    uint64_t at = tail % PIPE_SIZE;
    uint64_t first = min_u64(head - tail, PIPE_SIZE - at);
    write_all(pipe->file, pipe->bytes + at, first);
    write_all(pipe->file, pipe->bytes, head - tail - first);
    __atomic_store_n(&pipe->tail, head, __ATOMIC_RELEASE);
    uint64_t lost = __atomic_exchange_n(&pipe->lost, 0, __ATOMIC_RELAXED);
    if (lost > 0) {
        char line[64];
        int len = snprintf(line, sizeof(line), "level=warn event=log.lost lines=%llu\n",
                           (unsigned long long)lost);
        write_all(pipe->file, (uint8_t *)line, (size_t)len);
    }
    return true;
}

static bool drain_all(void)
{
    bool any = false;
    struct log_pipe *pipe;
    lock();
    TAILQ_FOREACH (pipe, &writer.pipes, link) {
        any |= pipe_drain(pipe);
    }
    unlock();
    return any;
}

static void *write_lines(void *nothing)
{
    (void)nothing;
    (void)pthread_setname_np(pthread_self(), "log-writer");
    for (;;) {
        while (drain_all())
            ;
        __atomic_store_n(&writer.sleeping, 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (!drain_all()) {
            uint64_t rung;
            ssize_t n = read(writer.bell, &rung, sizeof(rung));
            must(n == (ssize_t)sizeof(rung) || errno == EINTR);
        }
        __atomic_store_n(&writer.sleeping, 0, __ATOMIC_RELAXED);
    }
    return NULL;
}

void logger_attach(struct io *io, int file)
{
    io->log.file = file;
    if (file < 0)
        return;
    io->log.bytes = mem_pages(PIPE_SIZE);
    lock();
    if (!writer.started) {
        writer.bell = eventfd(0, EFD_CLOEXEC);
        writer.started = writer.bell >= 0 && helper_thread(write_lines, NULL) == 0;
        must(writer.started);
    }
    TAILQ_INSERT_TAIL(&writer.pipes, &io->log, link);
    unlock();
}

void logger_detach(struct io *io)
{
    if (io->log.file < 0)
        return;
    lock();
    (void)pipe_drain(&io->log);
    TAILQ_REMOVE(&writer.pipes, &io->log, link);
    unlock();
    mem_pages_free(io->log.bytes, PIPE_SIZE);
}

bool io_log(struct io *io, const char *line, size_t len)
{
    if (io == NULL) {
        write_all(STDERR_FILENO, (const uint8_t *)line, len);
        return true;
    }
    struct log_pipe *pipe = &io->log;
    if (pipe->file < 0)
        return true;
    uint64_t head = pipe->head;
    uint64_t used = head - __atomic_load_n(&pipe->tail, __ATOMIC_ACQUIRE);
    if (len > PIPE_SIZE - used) {
        __atomic_fetch_add(&pipe->lost, 1, __ATOMIC_RELAXED);
        return false;
    }
    uint64_t at = head % PIPE_SIZE;
    uint64_t first = min_u64(len, PIPE_SIZE - at);
    memcpy(pipe->bytes + at, line, first);
    memcpy(pipe->bytes, line + first, len - first);
    __atomic_store_n(&pipe->head, head + len, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&writer.sleeping, __ATOMIC_RELAXED) != 0 &&
        __atomic_exchange_n(&writer.sleeping, 0, __ATOMIC_RELAXED) != 0) {
        uint64_t one = 1;
        ssize_t n = write(writer.bell, &one, sizeof(one));
        must(n == (ssize_t)sizeof(one) || errno == EINTR);
    }
    return true;
}
