/* SPDX-License-Identifier: Apache-2.0
 *
 * Shards for the benchmarks. The thread of the benchmark is shard 0 and takes its turns in the
 * functions below; shard 1, where there is one, runs on a thread of its own.
 */
#include "bench/shim.h"
#include "io/mail_ring.h"
#include "io/mem.h"
#include "io/shard.h"
#include "io/threads.h"

#include <pthread.h>

#define RING_WORDS 512U

static struct io *io_of(uint32_t shard, uint64_t spin_ns)
{
    char error[512];
    const struct io_options options = {
        .shard = shard, .receive_pool_bytes = 1U << 20, .spin_ns = spin_ns, .log_file = -1};
    struct io *io = io_open(&options, error, sizeof(error));
    must(io != NULL);
    return io;
}

/* ---- the ring ---- */

struct shim_ring {
    struct mail_ring ring;
};

struct shim_ring *shim_ring_open(void)
{
    struct shim_ring *ring = mem_zalloc(sizeof(*ring));
    mail_ring_init(&ring->ring, RING_WORDS);
    return ring;
}

void shim_ring_pass(struct shim_ring *ring, uint32_t words)
{
    void *word;
    uint32_t taken = 0;
    for (uint32_t i = 0; i < words; i++)
        must(mail_ring_put(&ring->ring, ring));
    while (mail_ring_take(&ring->ring, &word))
        taken++;
    must(taken == words);
}

void shim_ring_close(struct shim_ring *ring)
{
    mail_ring_fini(&ring->ring);
    mem_free(ring);
}

/* ---- mail ---- */

struct letter {
    struct mail mail;
    struct shim_mail *owner;
};

struct shim_mail {
    struct shard_group *group;
    struct shard *here;
    struct threads *threads;
    pthread_barrier_t begun, ended;
    uint64_t spin_ns;
    uint32_t waiting;
    struct letter letters[SHARD_CREDITS];
};

static void other_shard(uint32_t index, void *argument)
{
    struct shim_mail *mail = argument;
    struct io *io = io_of(index + 1, mail->spin_ns);
    struct shard *sh = shard_of(mail->group, 1);
    shard_init(sh, io);
    pthread_barrier_wait(&mail->begun);
    shard_run(sh);
    pthread_barrier_wait(&mail->ended); /* nobody wakes a closed door */
    shard_fini(sh);
    io_close_all(io);
}

struct shim_mail *shim_mail_open(uint64_t spin_ns)
{
    struct shim_mail *mail = mem_zalloc(sizeof(*mail));
    mail->spin_ns = spin_ns;
    mail->group = shard_group_new(2, SHARD_CREDITS);
    mail->here = shard_of(mail->group, 0);
    pthread_barrier_init(&mail->begun, NULL, 2);
    pthread_barrier_init(&mail->ended, NULL, 2);
    shard_init(mail->here, io_of(0, spin_ns));
    int result = threads_start(&mail->threads, NULL, 1, other_shard, mail);
    must(result == 0);
    pthread_barrier_wait(&mail->begun);
    return mail;
}

static void letter_came_back(struct shard *here, struct mail *mail)
{
    (void)here;
    container_of(mail, struct letter, mail)->owner->waiting--;
}

static void letter_arrived(struct shard *there, struct mail *mail)
{
    shard_answer(there, mail, letter_came_back);
}

static bool nothing_else(void *argument)
{
    (void)argument;
    return false;
}

/* A turn as shard_run() takes it, but for looking at the ring while spinning, which is private to
 * io/shard.c: the doorbell ends the wait. */
static void turn(struct shard *sh)
{
    if (!shard_turn(sh))
        io_wait(sh->io, io_now_ns(sh->io) + 1000000, nothing_else, NULL);
}

void shim_mail_round_trip(struct shim_mail *mail, uint32_t count)
{
    must(count <= SHARD_CREDITS);
    mail->waiting = count;
    for (uint32_t i = 0; i < count; i++) {
        mail->letters[i].owner = mail;
        shard_post(mail->here, 1, &mail->letters[i].mail, letter_arrived);
    }
    while (mail->waiting > 0)
        turn(mail->here);
}

void shim_mail_close(struct shim_mail *mail)
{
    struct io *io = mail->here->io;
    shard_stop(shard_of(mail->group, 1));
    pthread_barrier_wait(&mail->ended);
    threads_join(mail->threads);
    shard_fini(mail->here);
    io_close_all(io);
    shard_group_free(mail->group);
    mem_free(mail);
}

/* ---- timers ---- */

struct shim_timers {
    struct shard_group *group;
    struct shard *sh;
    uint32_t count, fired;
    uint64_t random;
    struct timer one_more;
    struct counted_timer {
        struct timer timer;
        struct shim_timers *owner;
    } * timers;
};

static void timer_fired(struct shard *sh, struct timer *timer)
{
    (void)sh;
    container_of(timer, struct counted_timer, timer)->owner->fired++;
}

/* Some minute of the next hour but this one: none is due while the benchmark runs. */
static uint64_t far_away_ns(struct shim_timers *timers)
{
    timers->random = timers->random * 6364136223846793005U + 1442695040888963407U;
    return io_now_ns(timers->sh->io) + 3600000000000U + (timers->random >> 22);
}

struct shim_timers *shim_timers_open(uint32_t count)
{
    struct shim_timers *timers = mem_zalloc(sizeof(*timers));
    timers->group = shard_group_new(1, SHARD_CREDITS);
    timers->sh = shard_of(timers->group, 0);
    shard_init(timers->sh, io_of(0, 0));
    timers->count = count;
    timers->one_more = (struct timer){.fn = timer_fired, .name = "bench.timer"};
    timers->timers = mem_zalloc(count * sizeof(*timers->timers));
    for (uint32_t i = 0; i < count; i++) {
        timers->timers[i].owner = timers;
        timers->timers[i].timer = timers->one_more;
        timer_set(timers->sh, &timers->timers[i].timer, far_away_ns(timers));
    }
    return timers;
}

void shim_timers_set_and_cancel(struct shim_timers *timers)
{
    timer_set(timers->sh, &timers->one_more, far_away_ns(timers));
    timer_cancel(timers->sh, &timers->one_more);
}

void shim_timers_move(struct shim_timers *timers)
{
    uint64_t at_ns = far_away_ns(timers);
    timer_set(timers->sh, &timers->timers[timers->random % timers->count].timer, at_ns);
}

/* All are moved to times that are past, in random order, and fire. */
void shim_timers_expire(struct shim_timers *timers)
{
    timers->fired = 0;
    for (uint32_t i = 0; i < timers->count; i++) {
        timers->random = timers->random * 6364136223846793005U + 1442695040888963407U;
        timer_set(timers->sh, &timers->timers[i].timer, timers->random >> 48);
    }
    while (timers->fired < timers->count)
        (void)shard_turn(timers->sh);
    for (uint32_t i = 0; i < timers->count; i++)
        timer_set(timers->sh, &timers->timers[i].timer, far_away_ns(timers));
}

void shim_timers_close(struct shim_timers *timers)
{
    struct io *io = timers->sh->io;
    for (uint32_t i = 0; i < timers->count; i++)
        timer_cancel(timers->sh, &timers->timers[i].timer);
    shard_fini(timers->sh);
    io_close_all(io);
    shard_group_free(timers->group);
    mem_free(timers->timers);
    mem_free(timers);
}
