/* SPDX-License-Identifier: Apache-2.0
 *
 * Helper threads for what burns or blocks. The shards of the process share a few of them; they
 * start when there is work and then stay, asleep when idle. Jobs of one shard run one after
 * another, in the order they were asked for; jobs of different shards run beside each other.
 *
 * A finished job is pushed on its shard's stack and the shard is woken while the lock is held: so
 * a shard that closes its door, and takes the lock for it, finds no helper with a hand on it.
 */
#include "io/mem.h"
#include "io/real/ring.h"

#include <pthread.h>

#define HELPERS_MAX 4U

/* The process's, not a broker's, because threads and CPUs are the process's too. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    TAILQ_HEAD(, work_queue) queues; /* with a job to start */
    uint32_t helpers;
    uint32_t idle;
} pool = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .ready = PTHREAD_COND_INITIALIZER,
    .queues = TAILQ_HEAD_INITIALIZER(pool.queues),
};

static void lock(void)
{
    int result = pthread_mutex_lock(&pool.lock);
    must(result == 0);
}

static void unlock(void)
{
    int result = pthread_mutex_unlock(&pool.lock);
    must(result == 0);
}

/* With the lock held. */
static void queue_list(struct work_queue *queue)
{
    if (queue->listed || queue->running || TAILQ_EMPTY(&queue->jobs))
        return;
    queue->listed = true;
    TAILQ_INSERT_TAIL(&pool.queues, queue, link);
    pthread_cond_signal(&pool.ready);
}

static void work_push(struct io *io, struct io_op *op)
{
    struct io_op *top = __atomic_load_n(&io->work_done, __ATOMIC_RELAXED);
    do
        request_of(op)->work.next = top;
    while (!__atomic_compare_exchange_n(&io->work_done, &top, op, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED));
    io_wake(NULL, io);
}

/* With the lock held. */
static void work_end(struct io_op *op)
{
    struct request *request = request_of(op);
    if (request->work.io == NULL) {
        mem_free(request->work.argument);
        return;
    }
    request->work.back = true;
    work_push(request->work.io, op);
}

static void *helper(void *nothing)
{
    (void)nothing;
    (void)pthread_setname_np(pthread_self(), "helper");
    lock();
    for (;;) {
        pool.idle++;
        while (TAILQ_EMPTY(&pool.queues))
            pthread_cond_wait(&pool.ready, &pool.lock);
        pool.idle--;
        struct work_queue *queue = TAILQ_FIRST(&pool.queues);
        TAILQ_REMOVE(&pool.queues, queue, link);
        queue->listed = false;
        queue->running = true;
        struct io_op *op = TAILQ_FIRST(&queue->jobs);
        TAILQ_REMOVE(&queue->jobs, op, link);
        const struct request *request = request_of(op);
        bool wanted = request->work.io != NULL;
        unlock();
        if (wanted)
            request->work.fn(request->work.argument);
        lock();
        queue->running = false;
        queue_list(queue);
        work_end(op);
    }
    return NULL; /* for gcc */
}

/* With the lock held. */
static void helper_start(void)
{
    if (helper_thread(helper, NULL) == 0)
        pool.helpers++;
    must(pool.helpers > 0); /* without any, work would wait for ever */
}

void work_start(struct io *io, struct io_op *op, struct work_queue *queue,
                void (*work)(void *argument), void *argument)
{
    request_start(io, op, REQUEST_WORK, -1);
    struct request *request = request_of(op);
    request->place = PLACE_HELPER;
    request->work.fn = work;
    request->work.argument = argument;
    request->work.io = io;
    lock();
    TAILQ_INSERT_TAIL(&queue->jobs, op, link);
    queue_list(queue);
    if (pool.idle == 0 && pool.helpers < HELPERS_MAX)
        helper_start();
    unlock();
}

void io_work(struct io *io, struct io_op *op, void (*work)(void *argument), void *argument)
{
    work_start(io, op, &io->work, work, argument);
}

bool work_forsake(struct io *io, struct io_op *op)
{
    struct request *request = request_of(op);
    lock();
    bool back = request->work.back;
    if (!back)
        request->work.io = NULL;
    unlock();
    if (!back)
        io->in_flight--;
    return !back;
}

bool work_is_done(const struct io *io)
{
    return __atomic_load_n(&io->work_done, __ATOMIC_RELAXED) != NULL;
}

unsigned work_reap(struct io *io)
{
    if (!work_is_done(io))
        return 0;
    struct io_op *op = __atomic_exchange_n(&io->work_done, NULL, __ATOMIC_ACQUIRE);
    struct io_op *oldest = NULL;
    while (op != NULL) {
        struct io_op *next = request_of(op)->work.next;
        request_of(op)->work.next = oldest;
        oldest = op;
        op = next;
    }
    unsigned count = 0;
    while (oldest != NULL) {
        op = oldest;
        oldest = request_of(op)->work.next;
        request_done(io, op, 0);
        count++;
    }
    return count;
}

void work_init(struct io *io)
{
    TAILQ_INIT(&io->work.jobs);
}

void work_fini(struct io *io)
{
    lock();
    must(TAILQ_EMPTY(&io->work.jobs) && !io->work.listed && !io->work.running);
    unlock();
}
