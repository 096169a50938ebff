/* SPDX-License-Identifier: Apache-2.0
 *
 * fs_each() of the real world: a disk answers sixteen questions in the time of two or three, so
 * threads ask them beside each other, for as long as the call lasts. A ring would need every step
 * between open and close as a state; these calls come at a start and a stop, where threads may
 * block.
 */
#include "io/fs.h"

#include <pthread.h>

struct each {
    fs_each_fn *fn;
    void *argument;
    uint32_t next;   /* atomic, as is the next */
    uint32_t failed; /* the lowest so far; count: none */
};

struct each_worker {
    struct each *each;
    uint32_t number;
    pthread_t thread;
};

static void each_fail(struct each *each, uint32_t index)
{
    uint32_t lowest = __atomic_load_n(&each->failed, __ATOMIC_RELAXED);
    while (index < lowest && !__atomic_compare_exchange_n(&each->failed, &lowest, index, true,
                                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static void *each_run(void *argument)
{
    const struct each_worker *worker = argument;
    struct each *each = worker->each;
    for (;;) {
        uint32_t index = __atomic_fetch_add(&each->next, 1, __ATOMIC_RELAXED);
        if (index >= __atomic_load_n(&each->failed, __ATOMIC_RELAXED))
            return NULL;
        if (!each->fn(each->argument, worker->number, index))
            each_fail(each, index);
    }
}

uint32_t fs_each(struct fs *fs, uint32_t count, fs_each_fn *fn, void *argument)
{
    (void)fs;
    struct each each = {.fn = fn, .argument = argument, .failed = count};
    struct each_worker workers[FS_WORKERS];
    uint32_t started = 1;
    workers[0] = (struct each_worker){.each = &each};
    for (; started < FS_WORKERS && started < count; started++) {
        struct each_worker *worker = &workers[started];
        *worker = (struct each_worker){.each = &each, .number = started};
        if (pthread_create(&worker->thread, NULL, each_run, worker) != 0)
            break; /* fewer are slower, that is all */
    }
    (void)each_run(&workers[0]);
    for (uint32_t i = 1; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    return each.failed;
}
