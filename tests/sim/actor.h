/* SPDX-License-Identifier: Apache-2.0
 *
 * Simulated clients: an actor owns one connection (net/client.h), connects again whenever it is
 * lost, and asks what its kind does, step by step, at random moments. All actors are one program on
 * a machine of their own, which outlives the broker; what they learn goes to the model.
 *
 * Every question has a deadline far beyond what a living broker may take: one that passes while the
 * broker ran all the time is wrong, and so are bytes that are no answer to the oldest question.
 */
#pragma once

#include "net/client.h"
#include "tests/sim/model.h"

/* A connection of tiny pieces takes seconds for what is under way on it. */
#define ANSWER_PATIENCE_NS (20 * S)

struct actor;

struct actor_kind {
    const char *name;
    size_t size; /* of the struct that begins with a struct actor */
    void (*start)(struct actor *a);
    void (*connected)(struct actor *a);  /* NULL: nothing to do */
    void (*step)(struct actor *a);       /* connected, and its time has come */
    bool (*busy)(const struct actor *a); /* has something that must end before the reckoning */
};

extern const struct actor_kind actor_producer;
extern const struct actor_kind actor_consumer;
extern const struct actor_kind actor_admin;
extern const struct actor_kind actor_reader;
extern const struct actor_kind actor_member;
extern const struct actor_kind actor_fellow;
extern const struct actor_kind actor_elder;
extern const struct actor_kind actor_keeper;
extern const struct actor_kind actor_trimmer;
extern const struct actor_kind actor_changer;
extern const struct actor_kind actor_key_writer;
extern const struct actor_kind actor_key_reader;

struct actor {
    struct client client;
    const struct actor_kind *kind;
    struct model *model;
    struct shard *sh;
    struct rng rng;
    struct timer timer;
    uint32_t number;     /* among its kind */
    uint32_t connection; /* how many it had */
};

/* One request and its answer; embedded by what asks. */
struct ask {
    struct client_call call;
    struct actor *actor;
    uint32_t life;
    uint64_t asked_ns; /* of the world */
    bool under_way;    /* sent, and not ended yet: ask_answered() */
};

/* The step comes at a random moment before `within_ns`, or earlier if one was due already. */
void actor_later(struct actor *a, uint64_t within_ns);
/* May it ask? Otherwise ask_begin() must not be called. */
bool actor_connected(const struct actor *a);

struct wr *ask_begin(struct actor *a, struct ask *ask, int16_t key, int16_t version);
void ask_send(struct ask *ask, client_call_fn *done);
void ask_send_silent(struct ask *ask, client_call_fn *done);
/* True when it was answered; what may not be is wrong. */
bool ask_answered(struct ask *ask);
/* FindCoordinator, which makes the topic that groups are kept in; who it is does not matter. */
void ask_coordinator(struct actor *a, struct ask *ask, const char *group);
/* A version that the broker speaks, at least `min`. */
int16_t actor_version(struct actor *a, int16_t key, int16_t min);

#define ask_read(ask, read_fn, response)                                                           \
    ask_read_checked((ask), #read_fn,                                                              \
                     read_fn(ask_reader(ask, &(struct rd){0}), (ask)->call.arena,                  \
                             (ask)->call.version, (response)))
struct rd *ask_reader(const struct ask *ask, struct rd *rd);
bool ask_read_checked(const struct ask *ask, const char *what, bool good);

/* ---- the program ---- */

/* Who is there, in place of the usual clients. */
struct cast {
    const struct actor_kind *kind;
    uint32_t count;
};

struct crowd {
    struct model *model;
    const struct cast *cast; /* [cast_count]; none: the usual ones */
    size_t cast_count;
    uint32_t count;
    struct actor *actors[16];
};

/* Starts it on the machine; the crowd belongs to the caller. */
void crowd_start(struct crowd *crowd, struct machine *machine);
/* Somebody of whom something is open; NULL: everybody is at rest. */
const struct actor *crowd_busy(const struct crowd *crowd);
