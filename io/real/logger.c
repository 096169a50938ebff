/* SPDX-License-Identifier: Apache-2.0
 *
 * Log lines leave the shard through a pipe of its own, a bounded ring of bytes that it writes and
 * one thread of the process reads: a shard never waits for a terminal or a full disk. When the ring
 * is full the line is lost, counted, and the writer says so in a line of its own. Threads that
 * have no door share one such pipe while there are doors; without any they write themselves.
 *
 * The writer sleeps on an eventfd under the same protocol as a shard (uring.c): flag up, fence,
 * look again; a shard puts its line, fence, looks at the flag. It holds no lock while it writes, so
 * that a terminal that hangs holds up neither a new door nor one that closes.
 */
#include "io/diag.h"
#include "io/real/ring.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define PIPE_SIZE       (256U * 1024)
#define DETACH_WAIT_SEC 1

/* Of all threads that have no door. */
static uint8_t outside_bytes[PIPE_SIZE];
static struct log_pipe outside = {.bytes = outside_bytes, .file = STDERR_FILENO};

static struct {
    pthread_mutex_t lock; /* the list, `current`, and each pipe's reading end */
    pthread_cond_t written;
    TAILQ_HEAD(, log_pipe) pipes; /* the one that waited longest for its turn is first */
    struct log_pipe *current;     /* whose bytes are being written; NULL when it has left */
    uint8_t bytes[64 * 1024];     /* the writer's own: it holds no lock while it writes */
    bool started;
    uint32_t doors; /* whose lines are written; while there are some, others use `outside` */
    int bell;
    uint32_t sleeping;
} writer = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .written = PTHREAD_COND_INITIALIZER,
    .pipes = TAILQ_HEAD_INITIALIZER(writer.pipes),
};

static struct io_log_style style;
static uint8_t levels[IO_LOGGERS_MAX];

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

/* With the lock held: copies what comes next out of the pipe; how much. */
static size_t pipe_peek(const struct log_pipe *pipe)
{
    uint64_t head = __atomic_load_n(&pipe->head, __ATOMIC_ACQUIRE);
    uint64_t at = pipe->tail % PIPE_SIZE;
    uint64_t len = min_u64(head - pipe->tail, sizeof(writer.bytes));
    uint64_t first = min_u64(len, PIPE_SIZE - at);
    memcpy(writer.bytes, pipe->bytes + at, first);
    memcpy(writer.bytes + first, pipe->bytes, len - first);
    return len;
}

/* With the lock held: the pipe that has something to write, NULL when none has. */
static struct log_pipe *pipe_next(void)
{
    struct log_pipe *pipe;
    TAILQ_FOREACH (pipe, &writer.pipes, link) {
        if (__atomic_load_n(&pipe->head, __ATOMIC_ACQUIRE) != pipe->tail) {
            TAILQ_REMOVE(&writer.pipes, pipe, link);
            TAILQ_INSERT_TAIL(&writer.pipes, pipe, link);
            return pipe;
        }
    }
    return NULL;
}

/* Between lines only, so that the notice does not cut one in two. */
static void write_lost(struct log_pipe *pipe, int file)
{
    uint64_t lost = __atomic_exchange_n(&pipe->lost, 0, __ATOMIC_RELAXED);
    if (lost == 0)
        return;
    char line[64];
    int len = snprintf(line, sizeof(line), "level=warn event=log.lost lines=%llu\n",
                       (unsigned long long)lost);
    unlock();
    write_all(file, (uint8_t *)line, (size_t)len);
    lock();
}

/* Writes some of one pipe; false when there is nothing to write. */
static bool drain_some(void)
{
    lock();
    struct log_pipe *pipe = pipe_next();
    if (pipe == NULL) {
        unlock();
        return false;
    }
    writer.current = pipe;
    int file = pipe->file;
    size_t len = pipe_peek(pipe);
    unlock();
    write_all(file, writer.bytes, len);
    lock();
    if (writer.current == pipe && writer.bytes[len - 1] == '\n')
        write_lost(pipe, file);
    if (writer.current == pipe)
        __atomic_store_n(&pipe->tail, pipe->tail + len, __ATOMIC_RELEASE);
    writer.current = NULL;
    pthread_cond_broadcast(&writer.written);
    unlock();
    return true;
}

static void *write_lines(void *nothing)
{
    (void)nothing;
    (void)pthread_setname_np(pthread_self(), "log-writer");
    for (;;) {
        while (drain_some())
            ;
        __atomic_store_n(&writer.sleeping, 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (!drain_some()) {
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
        TAILQ_INSERT_TAIL(&writer.pipes, &outside, link);
    }
    writer.doors++;
    TAILQ_INSERT_TAIL(&writer.pipes, &io->log, link);
    unlock();
}

/* Waits for the last lines to be written, but not for ever: a terminal that nobody reads must not
 * keep a broker from ending. */
void logger_detach(struct io *io)
{
    struct log_pipe *pipe = &io->log;
    if (pipe->file < 0)
        return;
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += DETACH_WAIT_SEC;
    lock();
    int result = 0;
    writer.doors--;
    while ((pipe->tail != pipe->head || outside.tail != outside.head) && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&writer.written, &writer.lock, &deadline);
    if (writer.current == pipe)
        writer.current = NULL;
    TAILQ_REMOVE(&writer.pipes, pipe, link);
    unlock();
    mem_pages_free(pipe->bytes, PIPE_SIZE);
}

struct io_log_style io_log_style(void)
{
    return style;
}

void io_log_style_set(struct io_log_style wanted)
{
    style = wanted;
}

uint8_t io_log_level(uint32_t logger)
{
    return __atomic_load_n(&levels[logger], __ATOMIC_RELAXED);
}

void io_log_level_set(uint32_t logger, uint8_t level)
{
    __atomic_store_n(&levels[logger], level, __ATOMIC_RELAXED);
}

/* False: it is full, and the line is lost. */
static bool pipe_put(struct log_pipe *pipe, const char *line, size_t len)
{
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

/* The thread that waits for signals must not wait for a terminal, either. */
static bool log_from_outside(const char *line, size_t len)
{
    lock();
    bool piped = writer.doors > 0;
    bool put = piped && pipe_put(&outside, line, len);
    unlock();
    if (piped)
        return put;
    write_all(STDERR_FILENO, (const uint8_t *)line, len);
    return true;
}

bool io_log(struct io *io, const char *line, size_t len)
{
    if (io == NULL)
        return log_from_outside(line, len);
    return io->log.file < 0 || pipe_put(&io->log, line, len);
}
