/* SPDX-License-Identifier: Apache-2.0
 *
 * One io_uring per shard, made and used by the shard's own thread.
 *
 * The ring runs completions only when its thread asks (DEFER_TASKRUN), so a turn sees the kernel
 * once: one io_uring_enter submits what the turn asked for, runs the kernel's share of the work,
 * and, when there is nothing else to do, sleeps. SQPOLL and IOPOLL were measured and rejected: the
 * first burns a second core for nothing, the second needs devices that poll.
 *
 * Sleeping. The shard raises `sleeping`, then looks at its mail once more; a sender puts its mail,
 * then looks at `sleeping`. A full fence stands between the two steps on both sides, so at least
 * one of them sees the other. The first sender to see the flag lowers it and rings; the bell is a
 * message from ring to ring that travels with the sender's next submit, and an eventfd where the
 * kernel has no such message or the sender has no ring.
 *
 * The library is liburing 2.3 (kernel 6.1's header): what is newer is defined here and probed.
 */
#include "io/real/ring.h"

#include "io/fs.h"
#include "io/threads.h"

#include <ck_pr.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RING_ENTRIES     4096U
#define RING_COMPLETIONS 32768U
#define REAP_MAX         512U
#define IOWQ_WORKERS     16U

#define FEATURE_NO_IOWAIT (1U << 17) /* Linux 6.15 */
#define ENTER_NO_IOWAIT   (1U << 7)

/* ---- clocks and chance ---- */

static uint64_t clock_monotonic(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

uint64_t io_now_ns(const struct io *io)
{
    return io->now_ns;
}

int64_t io_wall_ms(const struct io *io)
{
    return io->wall_ms;
}

uint64_t io_clock_ns(const struct io *io)
{
    (void)io;
    return clock_monotonic();
}

int64_t io_wall_us(const struct io *io)
{
    (void)io;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* The kernel's generator, in batches: ids and hash seeds must not be guessable from earlier ones.
 */
uint64_t io_random(struct io *io)
{
    uint64_t word;
    if (io->random_left < sizeof(word)) {
        ssize_t n = getrandom(io->random, sizeof(io->random), 0);
        must(n == (ssize_t)sizeof(io->random)); /* up to 256 bytes come whole */
        io->random_left = sizeof(io->random);
    }
    io->random_left -= (uint32_t)sizeof(word);
    memcpy(&word, io->random + io->random_left, sizeof(word));
    return word;
}

bool io_chance(struct io *io, const char *name, uint32_t one_in)
{
    (void)io;
    (void)name;
    (void)one_in;
    return false;
}

bool io_mutation(const struct io *io, const char *name)
{
    (void)io;
    (void)name;
    return false;
}

struct fs *io_fs(struct io *io)
{
    (void)io;
    return fs_host();
}

const struct io_counts *io_counts(const struct io *io)
{
    return &io->counts;
}

/* ---- entering the kernel ---- */

/* Publishes the prepared entries, as liburing does inside its own submit; how many. The index array
 * is written for versions of the library that do not fill it once at the start. */
static unsigned ring_publish(struct io *io)
{
    struct io_uring_sq *sq = &io->ring.sq;
    unsigned mask = *sq->kring_mask;
    unsigned tail = *sq->ktail;
    while (sq->sqe_head != sq->sqe_tail) {
        sq->array[tail & mask] = sq->sqe_head & mask;
        tail++;
        sq->sqe_head++;
    }
    io_uring_smp_store_release(sq->ktail, tail);
    return tail - *sq->khead;
}

/* wait: the least number of completions to sleep for; until_ns counts when it is not 0. Errors
 * (EINTR, ETIME, EBUSY, EAGAIN) leave what was not taken in the queue for the next call. */
static void ring_enter(struct io *io, unsigned wait, uint64_t until_ns)
{
    pool_offer(io);
    unsigned submitting = ring_publish(io);
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | io->enter_flags;
    struct __kernel_timespec timeout;
    struct io_uring_getevents_arg argument = {0};
    if (wait > 0) {
        flags |= io->sleep_flags;
        if (until_ns != UINT64_MAX) {
            uint64_t now_ns = clock_monotonic();
            uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
            timeout.tv_sec = (int64_t)(left_ns / 1000000000U);
            timeout.tv_nsec = (long long)(left_ns % 1000000000U);
            argument.ts = (uintptr_t)&timeout;
        }
    }
    count_up(&io->counts.enters, 1);
    long result = syscall(__NR_io_uring_enter, io->enter_fd, submitting, wait, flags, &argument,
                          sizeof(argument));
    if (result > 0)
        count_up(&io->counts.submissions, (uint64_t)result);
    if (result < 0)
        must(errno == EINTR || errno == ETIME || errno == EBUSY || errno == EAGAIN ||
             errno == ENOMEM);
}

struct io_uring_sqe *ring_sqe(struct io *io)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);
    if (sqe == NULL) {
        ring_enter(io, 0, 0);
        sqe = io_uring_get_sqe(&io->ring);
    }
    return sqe;
}

static bool ring_has_work(const struct io *io)
{
    unsigned flags = IO_URING_READ_ONCE(*io->ring.sq.kflags);
    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

static bool ring_has_completions(struct io *io)
{
    return io_uring_cq_ready(&io->ring) > 0;
}

static bool ring_has_submissions(const struct io *io)
{
    return io->ring.sq.sqe_tail != io->ring.sq.sqe_head ||
           *io->ring.sq.ktail != IO_URING_READ_ONCE(*io->ring.sq.khead);
}

/* ---- operations ---- */

void request_start(struct io *io, struct io_op *op, int kind, int number)
{
    struct request *request = request_of(op);
    *request = (struct request){.kind = (uint8_t)kind, .number = number};
    io->in_flight++;
}

void request_issue(struct io *io, struct io_op *op)
{
    struct request *request = request_of(op);
    struct io_uring_sqe *sqe = TAILQ_EMPTY(&io->waiting) ? ring_sqe(io) : NULL;
    if (sqe == NULL) {
        request->place = PLACE_WAITING;
        TAILQ_INSERT_TAIL(&io->waiting, op, link);
        return;
    }
    request->place = PLACE_KERNEL;
    if (request->kind <= REQUEST_SYNC)
        files_prepare(io, op, sqe);
    else
        network_prepare(io, op, sqe);
    io_uring_sqe_set_data(sqe, op);
}

static void queue_issue(struct io *io, struct op_queue *from)
{
    struct op_queue queue = TAILQ_HEAD_INITIALIZER(queue);
    TAILQ_CONCAT(&queue, from, link);
    struct io_op *op;
    while ((op = TAILQ_FIRST(&queue)) != NULL) {
        TAILQ_REMOVE(&queue, op, link);
        request_issue(io, op);
    }
}

/* What has completed meanwhile is not in the list any more (complete()). */
static void cancels_issue(struct io *io)
{
    struct io_op *op;
    while ((op = TAILQ_FIRST(&io->cancels)) != NULL) {
        struct io_uring_sqe *sqe = ring_sqe(io);
        if (sqe == NULL)
            return;
        TAILQ_REMOVE(&io->cancels, op, link);
        request_of(op)->place = PLACE_KERNEL;
        io_uring_prep_cancel(sqe, op, 0);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        sqe->user_data = DATA_IGNORED;
    }
}

/* Receives that found no block are tried again, no more of them than there are blocks: each try
 * that fails would be a trip to the kernel for nothing. */
static void starved_issue(struct io *io)
{
    pool_offer(io);
    uint32_t tries = io->starved_count < io->pool.offered ? io->starved_count : io->pool.offered;
    for (uint32_t i = 0; i < tries; i++) {
        struct io_op *op = TAILQ_FIRST(&io->starved);
        TAILQ_REMOVE(&io->starved, op, link);
        io->starved_count--;
        request_issue(io, op);
    }
}

void request_finish(struct io *io, struct io_op *op, int64_t res)
{
    request_of(op)->place = PLACE_FINISHED;
    op->res = res;
    TAILQ_INSERT_TAIL(&io->finished, op, link);
}

void request_done(struct io *io, struct io_op *op, int64_t res)
{
    must(io->reaping);
    struct request *request = request_of(op);
    request->place = PLACE_NONE;
    io->in_flight--;
    if (request->kind >= REQUEST_ACCEPT && request->kind <= REQUEST_SEND &&
        request->kind != REQUEST_CONNECT)
        socket_leave(io, request->number);
    op->res = res;
    op->done(op);
}

struct vectors *vectors_get(struct io *io, const struct iovec *iov, unsigned count)
{
    must(count <= IO_VECTORS_MAX);
    struct vectors *vectors = io->vectors_unused;
    if (vectors != NULL)
        io->vectors_unused = vectors->next;
    else
        vectors = mem_alloc(sizeof(*vectors));
    vectors->first = 0;
    vectors->count = count;
    memcpy(vectors->iov, iov, count * sizeof(iov[0]));
    return vectors;
}

void vectors_put(struct io *io, struct vectors *vectors)
{
    if (vectors == NULL)
        return;
    vectors->next = io->vectors_unused;
    io->vectors_unused = vectors;
}

bool transfer_advance(struct transfer *transfer, uint64_t bytes)
{
    transfer->done_bytes += bytes;
    must(transfer->done_bytes <= transfer->length);
    struct vectors *vectors = transfer->vectors;
    while (vectors != NULL && bytes > 0) {
        struct iovec *iov = &vectors->iov[vectors->first];
        size_t step = min_u64(bytes, iov->iov_len);
        iov->iov_base = (uint8_t *)iov->iov_base + step;
        iov->iov_len -= step;
        bytes -= step;
        if (iov->iov_len == 0)
            vectors->first++;
    }
    return transfer->done_bytes == transfer->length;
}

/* ---- completions ---- */

static void wake_read(struct io *io)
{
    struct io_uring_sqe *sqe = ring_sqe(io);
    io->wake_unarmed = sqe == NULL;
    if (sqe == NULL)
        return;
    io_uring_prep_read(sqe, io->wake_file, &io->wake_value, sizeof(io->wake_value), 0);
    sqe->user_data = DATA_WAKE_READ;
}

static void wake_by_file(struct io *to)
{
    uint64_t one = 1;
    ssize_t n = write(to->wake_file, &one, sizeof(one));
    must(n == (ssize_t)sizeof(one) || errno == EAGAIN || errno == EINTR);
}

static void complete(struct io *io, uint64_t data, int res, unsigned flags)
{
    if (data == DATA_WAKE_READ) {
        wake_read(io);
    } else if (data == DATA_RUNG || data == DATA_IGNORED) {
        return;
    } else if (data & 1) { /* a message to another ring failed */
        wake_by_file((struct io *)(uintptr_t)(data - 1));
    } else {
        struct io_op *op = (struct io_op *)(uintptr_t)data;
        count_up(&io->counts.completions, 1);
        if (request_of(op)->place == PLACE_CANCEL)
            TAILQ_REMOVE(&io->cancels, op, link);
        if (request_of(op)->kind <= REQUEST_SYNC)
            files_complete(io, op, res);
        else
            network_complete(io, op, res, flags);
    }
}

static unsigned finished_reap(struct io *io)
{
    struct op_queue queue = TAILQ_HEAD_INITIALIZER(queue);
    TAILQ_CONCAT(&queue, &io->finished, link);
    unsigned count = 0;
    struct io_op *op;
    while ((op = TAILQ_FIRST(&queue)) != NULL) {
        TAILQ_REMOVE(&queue, op, link);
        request_done(io, op, op->res);
        count++;
    }
    return count;
}

unsigned io_reap(struct io *io)
{
    must(!io->reaping);
    io->reaping = true;
    unsigned count = finished_reap(io);
    count += work_reap(io);
    for (unsigned i = 0; i < REAP_MAX; i++) {
        /* Not io_uring_peek_cqe(): it enters the kernel when it finds nothing. */
        if (!ring_has_completions(io))
            break;
        const struct io_uring_cq *cq = &io->ring.cq;
        const struct io_uring_cqe *cqe = &cq->cqes[*cq->khead & *cq->kring_mask];
        uint64_t data = cqe->user_data;
        int res = cqe->res;
        unsigned flags = cqe->flags;
        io_uring_cq_advance(&io->ring, 1);
        complete(io, data, res, flags);
        count++;
    }
    io->reaping = false;
    count_set(&io->counts.overflows, *io->ring.cq.koverflow);
    return count;
}

/* ---- the turn ---- */

void io_turn_begin(struct io *io)
{
    io->now_ns = clock_monotonic();
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    io->wall_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void prepare_all(struct io *io)
{
    if (!TAILQ_EMPTY(&io->waiting))
        queue_issue(io, &io->waiting);
    if (!TAILQ_EMPTY(&io->cancels))
        cancels_issue(io);
    if (io->starved_count > 0)
        starved_issue(io);
    if (!TAILQ_EMPTY(&io->receives))
        queue_issue(io, &io->receives);
    if (io->wake_unarmed)
        wake_read(io);
}

void io_submit(struct io *io)
{
    prepare_all(io);
    if (ring_has_submissions(io) || ring_has_work(io))
        ring_enter(io, 0, 0);
}

/* Is there something to do that no completion will announce? */
static bool must_not_sleep(struct io *io)
{
    return ring_has_completions(io) || !TAILQ_EMPTY(&io->finished) || work_is_done(io) ||
           io->wake_unarmed || !TAILQ_EMPTY(&io->waiting) || !TAILQ_EMPTY(&io->cancels) ||
           (io->starved_count > 0 && io->pool.offered > 0);
}

static bool has_come(struct io *io, bool (*pending)(void *argument), void *argument)
{
    for (int i = 0; i < 16; i++) {
        if (ring_has_completions(io) || work_is_done(io) || pending(argument))
            return true;
        if (ring_has_work(io)) {
            ring_enter(io, 0, 0);
            return true;
        }
        ck_pr_stall();
    }
    return false;
}

/* True when something came or the time is up. Looks at memory only; entering the kernel blindly was
 * measured to cost more than it gains. */
static bool spin(struct io *io, uint64_t until_ns, bool (*pending)(void *argument), void *argument)
{
    const uint64_t began_ns = clock_monotonic();
    const uint64_t stop_ns = min_u64(until_ns, began_ns + io->spin_ns);
    uint64_t now_ns = began_ns;
    bool came;
    while (!(came = has_come(io, pending, argument)) && now_ns < stop_ns)
        now_ns = clock_monotonic();
    count_up(&io->counts.spun_ns, now_ns - began_ns);
    return came || now_ns >= until_ns;
}

void io_wait(struct io *io, uint64_t until_ns, bool (*pending)(void *argument), void *argument)
{
    prepare_all(io);
    if (must_not_sleep(io) || until_ns <= io->now_ns) {
        io_submit(io);
        return;
    }
    if (io->spin_ns > 0) {
        io_submit(io);
        if (must_not_sleep(io) || spin(io, until_ns, pending, argument))
            return;
    }
    __atomic_store_n(&io->sleeping, 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (pending(argument) || work_is_done(io)) {
        __atomic_store_n(&io->sleeping, 0, __ATOMIC_RELAXED);
        io_submit(io);
        return;
    }
    count_up(&io->counts.sleeps, 1);
    ring_enter(io, 1, until_ns);
    __atomic_store_n(&io->sleeping, 0, __ATOMIC_RELAXED);
}

void io_wake(struct io *from, struct io *to)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&to->sleeping, __ATOMIC_RELAXED) == 0 ||
        __atomic_exchange_n(&to->sleeping, 0, __ATOMIC_RELAXED) == 0)
        return;
    struct io_uring_sqe *sqe = from != NULL && from->message_ring ? ring_sqe(from) : NULL;
    if (sqe == NULL) {
        wake_by_file(to);
        return;
    }
    io_uring_prep_rw(IORING_OP_MSG_RING, sqe, to->ring.ring_fd, NULL, 0, DATA_RUNG);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = (uintptr_t)to + 1;
}

/* ---- opening and closing ---- */

static int ring_create(struct io *io)
{
    static const unsigned ladder[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
            IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
        0,
    };
    int result = -EINVAL;
    for (size_t i = 0; i < array_count(ladder) && result == -EINVAL; i++) {
        struct io_uring_params params = {.flags = ladder[i] | IORING_SETUP_CQSIZE,
                                         .cq_entries = RING_COMPLETIONS};
        result = io_uring_queue_init_params(RING_ENTRIES, &io->ring, &params);
        io->polls_first = (ladder[i] & IORING_SETUP_DEFER_TASKRUN) != 0; /* both since Linux 6.1 */
    }
    return result;
}

/* Kernel threads that do what blocks would else share the shard's one CPU. Linux 6.18 says yes and
 * lets them share it all the same: a worker inherits what its parent asked for with
 * sched_setaffinity, and no mask goes beyond that. With shard and workers on both of two CPUs p99
 * was the same. */
static void ring_tune(struct io *io)
{
    cpu_set_t cpus;
    host_cpus(&cpus);
    (void)io_uring_register_iowq_aff(&io->ring, sizeof(cpus), &cpus);
    unsigned workers[2] = {IOWQ_WORKERS, IOWQ_WORKERS};
    (void)io_uring_register_iowq_max_workers(&io->ring, workers);
    (void)io_uring_ring_dontfork(&io->ring);

    io->enter_fd = io->ring.ring_fd;
    if (io_uring_register_ring_fd(&io->ring) == 1) {
        io->enter_fd = io->ring.enter_ring_fd;
        io->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
    if (io->ring.features & FEATURE_NO_IOWAIT)
        io->sleep_flags = ENTER_NO_IOWAIT;
}

static const char *ring_lacks(struct io *io)
{
    static const struct {
        int code;
        const char *name;
    } needed[] = {
        {IORING_OP_READ, "read"},       {IORING_OP_WRITE, "write"},
        {IORING_OP_WRITEV, "writev"},   {IORING_OP_FSYNC, "fsync"},
        {IORING_OP_ACCEPT, "accept"},   {IORING_OP_CONNECT, "connect"},
        {IORING_OP_RECV, "recv"},       {IORING_OP_SEND, "send"},
        {IORING_OP_SENDMSG, "sendmsg"}, {IORING_OP_ASYNC_CANCEL, "cancel"},
    };
    if (!(io->ring.features & IORING_FEAT_EXT_ARG))
        return "waiting with a deadline";
    if (!(io->ring.features & IORING_FEAT_NODROP))
        return "completions that are never dropped";
    struct io_uring_probe *probe = io_uring_get_probe_ring(&io->ring);
    if (probe == NULL)
        return "a list of its operations";
    const char *lacks = NULL;
    for (size_t i = 0; i < array_count(needed) && lacks == NULL; i++)
        if (!io_uring_opcode_supported(probe, needed[i].code))
            lacks = needed[i].name;
    io->message_ring = io_uring_opcode_supported(probe, IORING_OP_MSG_RING) &&
                       (io->ring.features & IORING_FEAT_CQE_SKIP);
    io_uring_free_probe(probe);
    return lacks;
}

static bool io_set_up(struct io *io, const struct io_options *options, char *error, size_t size)
{
    const char *lacks = ring_lacks(io);
    if (lacks != NULL) {
        refusal_of_operations(lacks, error, size);
        return false;
    }
    ring_tune(io);
    io->wake_file = eventfd(0, EFD_CLOEXEC); /* blocking: else the ring would not wait for it */
    if (io->wake_file < 0) {
        refusal_of_ring(-errno, error, size);
        return false;
    }
    int result = pool_init(io, options->receive_pool_bytes);
    if (result != 0) {
        refusal_of_buffers(result, error, size);
        close(io->wake_file);
        return false;
    }
    return true;
}

struct io *io_open(const struct io_options *options, char *error, size_t error_size)
{
    struct io *io = mem_pages(sizeof(*io)); /* aligned, and its own cache lines */
    TAILQ_INIT(&io->waiting);
    TAILQ_INIT(&io->receives);
    TAILQ_INIT(&io->cancels);
    TAILQ_INIT(&io->starved);
    TAILQ_INIT(&io->finished);
    io->spin_ns = options->spin_ns;
    int result = ring_create(io);
    if (result != 0) {
        refusal_of_ring(result, error, error_size);
        mem_pages_free(io, sizeof(*io));
        return NULL;
    }
    if (!io_set_up(io, options, error, error_size)) {
        io_uring_queue_exit(&io->ring);
        mem_pages_free(io, sizeof(*io));
        return NULL;
    }
    work_init(io);
    logger_attach(io, options->log_file == 0 ? STDERR_FILENO : options->log_file);
    wake_read(io);
    io_turn_begin(io);
    return io;
}

void io_close_all(struct io *io)
{
    must(io->in_flight == 0 && !io->reaping);
    work_fini(io);
    logger_detach(io);
    io_uring_queue_exit(&io->ring);
    close(io->wake_file);
    pool_fini(io);
    sockets_fini(io);
    while (io->vectors_unused != NULL) {
        struct vectors *vectors = io->vectors_unused;
        io->vectors_unused = vectors->next;
        mem_free(vectors);
    }
    mem_pages_free(io, sizeof(*io));
}
