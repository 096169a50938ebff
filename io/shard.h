/* SPDX-License-Identifier: Apache-2.0
 *
 * A shard: one core, one thread, one owner. Everything that can change belongs to exactly one
 * shard, and only that shard touches it; shards talk by mail. The turn below is the only scheduler.
 *
 * Mail is intrusive: a struct mail is embedded in the operation that travels, so posting never
 * allocates and never fails. shard_answer() sends the same mail back to where it came from, now or
 * much later; a mail that is not answered was handed over for good. Per ordered pair of shards
 * there is one SPSC ring of 2N slots and N credits: a mail takes a credit, and the credit comes
 * home when the mail has been taken out of the ring. Without a credit it waits in the sender's own
 * queue, in order, where it costs nothing: nobody spins, nothing is dropped, and no cycle of full
 * rings can block, because taking mail needs neither credit nor slot. How many operations may be
 * under way is bounded where they begin (requests per connection, bytes of unfinished frames).
 *
 * The turn: mail, completions, ready tasks, deadlines, end-of-turn tasks, submit. Tasks per turn
 * are bounded; a turn over SHARD_STALL_NS is counted and remembered with the name of its longest
 * step.
 *
 * Fairness: a task does what SHARD_YIELD_NS allow and queues itself again, behind the others. Ready
 * tasks and end-of-turn tasks have a share of the turn each; what does not fit waits for the next
 * turn, in order, and at least one of each kind runs whatever the turn has cost before. So work
 * that has no end delays the rest of the shard by a turn, and a turn is about half a millisecond at
 * most.
 */
#pragma once

#include "io/durations.h"
#include "io/io.h"

struct diag;
struct shard;
struct mail;
struct task;
struct timer;

TAILQ_HEAD(task_queue, task);
STAILQ_HEAD(mail_queue, mail);

typedef void mail_fn(struct shard *here, struct mail *mail);
typedef void task_fn(struct shard *here, struct task *task);
typedef void timer_fn(struct shard *here, struct timer *timer);

struct mail {
    mail_fn *fn; /* runs on the receiving shard */
    /* private */
    STAILQ_ENTRY(mail) link;
    uint16_t from;
    uint8_t kind;
};

/* Something to run soon on its own shard. name: for stalls and panics, "area.step". */
struct task {
    task_fn *fn;
    const char *name;
    /* private */
    TAILQ_ENTRY(task) link;
    struct task_queue *queue; /* where it waits, NULL when it does not */
};

struct timer {
    timer_fn *fn;
    const char *name;
    /* private */
    uint64_t at_ns;
    uint32_t slot; /* place in the heap + 1; 0: not set */
};

#define SHARDS_MAX           256U
#define SHARD_CREDITS        511U /* a ring of 1,024 slots keeps one of them empty */
#define SHARD_MAILS_PER_TURN 256U /* from each of the others */
#define SHARD_TASKS_PER_TURN 256U
#define SHARD_STALL_NS       1000000U
#define SHARD_YIELD_NS       100000U /* a handler over many items gives way after this */
#define SHARD_STALLS_NAMED   16U     /* steps that are told apart in the account of stalls */

/* All shards of one broker. Made before the threads start, freed after they ended. */
struct shard_group;

struct shard_stall {
    const char *name;
    uint64_t ns;
};

/* The turns that one step made too long. */
struct shard_stalls {
    const char *name; /* NULL: an unused place, or what no step could be blamed for */
    uint64_t count;
    uint64_t longest_ns; /* of the step, not of the turn */
};

struct shard {
    uint16_t id;
    uint16_t count; /* shards of this broker */
    struct io *io;
    struct shard_group *group;
    void *user; /* the broker's state of this shard */

    /* counters, read by others without order */
    uint64_t turns;
    uint64_t busy_ns;
    uint64_t stalls;
    uint64_t mails;
    struct shard_stall longest;                        /* since start */
    struct durations long_turns;                       /* of SHARD_YIELD_NS and more */
    struct shard_stalls stalls_of[SHARD_STALLS_NAMED]; /* the last one also counts the rest */

    const char *step;  /* what runs now, for stalls and panics; shard_step() */
    struct diag *diag; /* recent events and the state of log lines: io/diag.h */

    /* private */
    struct task_queue ready;
    struct task_queue at_end;
    struct timer **heap;
    uint32_t heap_count;
    uint32_t heap_size;
    struct shard_peer *peers; /* [count] */
    uint16_t *wake;           /* peers that got mail in this turn */
    uint16_t wake_count;
    uint16_t mail_first; /* whose mail comes first in the next turn */
    struct mail_queue self;
    uint64_t step_began_ns;
    struct shard_stall turn_longest;
    bool stopping;
};

/* credits: SHARD_CREDITS, or what the simulation draws (from 1). */
struct shard_group *shard_group_new(uint16_t count, uint32_t credits);
void shard_group_free(struct shard_group *group);
struct shard *shard_of(struct shard_group *group, uint16_t id);

/* On the shard's own thread, with its door open. */
void shard_init(struct shard *sh, struct io *io);
void shard_fini(struct shard *sh);

/* One turn without sleeping; true when there is more to do at once. */
bool shard_turn(struct shard *sh);
/* Turns until shard_stop(); sleeps in between. Real world only: the simulation calls shard_turn().
 */
void shard_run(struct shard *sh);
/* From any thread: shard_run returns after its turn. The door stays open until shard_stop() has
 * returned, and until every shard that may send mail here has left shard_run(). */
void shard_stop(struct shard *sh);
/* The next deadline, UINT64_MAX for none. */
uint64_t shard_deadline_ns(const struct shard *sh);

/* The shard whose turn this is, NULL outside a turn: for must(shard_here() == pt->shard). */
struct shard *shard_here(void);

/* When the step began that runs now: a clock that is read anyway, not before io_now_ns(). */
static inline uint64_t shard_step_ns(const struct shard *sh)
{
    return sh->step_began_ns;
}

/* Names what a mail or a completion does, where the turn knows no better ("area.step"). */
static inline void shard_step(struct shard *sh, const char *name)
{
    sh->step = name;
}

/* Mail to `to` (also to itself, then it arrives in the next turn). See the head of this file. */
void shard_post(struct shard *sh, uint16_t to, struct mail *mail, mail_fn *fn);
void shard_answer(struct shard *sh, struct mail *mail, mail_fn *fn);

void shard_ready(struct shard *sh,
                 struct task *task); /* at most once queued; runs this turn or the next */
void shard_at_end(struct shard *sh,
                  struct task *task); /* after all work of this turn, before the submit */
void task_cancel(struct shard *sh, struct task *task);

void timer_set(struct shard *sh, struct timer *timer, uint64_t at_ns); /* sets or moves */
void timer_cancel(struct shard *sh, struct timer *timer);
static inline bool timer_is_set(const struct timer *timer)
{
    return timer->slot != 0;
}

/* All turns, with the short ones as SHARD_YIELD_NS long; on the shard itself. */
void shard_turns(const struct shard *sh, struct durations *turns);

/* Has this handler used up its share of the turn? (SHARD_YIELD_NS since the handler began) */
bool shard_should_yield(const struct shard *sh, uint64_t began_ns);
