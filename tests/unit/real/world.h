/* SPDX-License-Identifier: Apache-2.0
 *
 * Some shards on real threads, for tests: each opens its door, runs `begin` and then its turns
 * until world_stop(). Include in one file of a test program.
 */
#pragma once

#include "io/io.h"
#include "io/mem.h"
#include "io/shard.h"
#include "io/threads.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

struct world {
    struct shard_group *group;
    struct threads *threads;
    pthread_barrier_t begun; /* of the shards */
    pthread_barrier_t ended; /* of the shards and world_stop(): nobody wakes a closed door */
    void (*begin)(struct shard *sh); /* on the shard's thread, before its first turn; or NULL */
    uint64_t spin_ns;
    unsigned finished; /* counted up by the test's own code */
};

static void world_thread(uint32_t index, void *argument)
{
    struct world *world = argument;
    char error[512];
    struct io_options options = {
        .shard = index, .receive_pool_bytes = 1 << 20, .spin_ns = world->spin_ns, .log_file = -1};
    struct io *io = io_open(&options, error, sizeof(error));
    if (io == NULL)
        fprintf(stderr, "%s\n", error);
    must(io != NULL);
    struct shard *sh = shard_of(world->group, (uint16_t)index);
    sh->user = world;
    shard_init(sh, io);
    pthread_barrier_wait(&world->begun);
    if (world->begin != NULL)
        world->begin(sh);
    shard_run(sh);
    pthread_barrier_wait(&world->ended);
    shard_fini(sh);
    io_close_all(io);
}

static void world_start(struct world *world, uint16_t count, uint32_t credits)
{
    world->group = shard_group_new(count, credits);
    pthread_barrier_init(&world->begun, NULL, count);
    pthread_barrier_init(&world->ended, NULL, count + 1U);
    int result = threads_start(&world->threads, NULL, count, world_thread, world);
    must(result == 0);
}

static void world_wait(struct world *world, unsigned finished)
{
    for (unsigned ms = 0; __atomic_load_n(&world->finished, __ATOMIC_ACQUIRE) < finished; ms++) {
        must(ms < 30000);
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static void world_stop(struct world *world)
{
    uint16_t count = shard_of(world->group, 0)->count;
    for (uint16_t i = 0; i < count; i++)
        shard_stop(shard_of(world->group, i));
    pthread_barrier_wait(&world->ended);
    threads_join(world->threads);
    pthread_barrier_destroy(&world->begun);
    pthread_barrier_destroy(&world->ended);
    shard_group_free(world->group);
}

static inline void world_finish_one(struct shard *sh)
{
    struct world *world = sh->user;
    __atomic_fetch_add(&world->finished, 1, __ATOMIC_RELEASE);
}
