/* SPDX-License-Identifier: Apache-2.0
 *
 * Deadlines of a shard: a binary heap of pointers in which each timer knows its place, so that
 * moving or cancelling one costs log n and a timer embedded in an operation costs nothing while it
 * is not set. Timers with equal deadlines fire in an order that depends only on what was set and
 * cancelled, never on addresses.
 */
#include "io/group.h"

#define TIMERS_PER_TURN 256U

static void timer_place(struct shard *sh, struct timer *timer, uint32_t at)
{
    sh->heap[at] = timer;
    timer->slot = at + 1;
}

static void timer_up(struct shard *sh, struct timer *timer, uint32_t at)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (sh->heap[parent]->at_ns <= timer->at_ns)
            break;
        timer_place(sh, sh->heap[parent], at);
        at = parent;
    }
    timer_place(sh, timer, at);
}

static void timer_down(struct shard *sh, struct timer *timer, uint32_t at)
{
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child >= sh->heap_count)
            break;
        if (child + 1 < sh->heap_count && sh->heap[child + 1]->at_ns < sh->heap[child]->at_ns)
            child++;
        if (timer->at_ns <= sh->heap[child]->at_ns)
            break;
        timer_place(sh, sh->heap[child], at);
        at = child;
    }
    timer_place(sh, timer, at);
}

static void timer_settle(struct shard *sh, struct timer *timer, uint32_t at)
{
    if (at > 0 && sh->heap[(at - 1) / 2]->at_ns > timer->at_ns)
        timer_up(sh, timer, at);
    else
        timer_down(sh, timer, at);
}

void timer_set(struct shard *sh, struct timer *timer, uint64_t at_ns)
{
    must(shard_here() == sh || shard_here() == NULL);
    timer->at_ns = at_ns;
    if (timer->slot == 0) {
        if (sh->heap_count == sh->heap_size) {
            sh->heap_size = sh->heap_size == 0 ? 64 : sh->heap_size * 2;
            sh->heap = mem_realloc(sh->heap, sh->heap_size * sizeof(sh->heap[0]));
        }
        timer->slot = ++sh->heap_count;
    }
    must(timer->slot <= sh->heap_count);
    timer_settle(sh, timer, timer->slot - 1);
}

void timer_cancel(struct shard *sh, struct timer *timer)
{
    must(shard_here() == sh || shard_here() == NULL);
    if (timer->slot == 0)
        return;
    uint32_t at = timer->slot - 1;
    must(at < sh->heap_count && sh->heap[at] == timer);
    timer->slot = 0;
    struct timer *last = sh->heap[--sh->heap_count];
    if (last != timer)
        timer_settle(sh, last, at);
}

uint64_t shard_deadline_ns(const struct shard *sh)
{
    return sh->heap_count == 0 ? UINT64_MAX : sh->heap[0]->at_ns;
}

bool timer_run(struct shard *sh)
{
    uint64_t now_ns = io_now_ns(sh->io);
    for (unsigned i = 0; shard_deadline_ns(sh) <= now_ns; i++) {
        if (i == TIMERS_PER_TURN)
            return true;
        struct timer *timer = sh->heap[0];
        timer_cancel(sh, timer);
        shard_step_begin(sh, timer->name);
        timer->fn(sh, timer);
    }
    return false;
}
