/* SPDX-License-Identifier: Apache-2.0
 *
 * A consumer group from inside: what its files (consumer_group.c, consumer_heartbeat.c,
 * consumer_classic.c, consumer_migrate.c, consumer_reconcile.c, consumer_plan.c,
 * consumer_restore.c) know of each other and nobody else.
 */
#pragma once

#include "core/group/consumer_group.h"

/* ---- core/group/consumer_group.c ---- */

uint64_t consumer_after_ms(const struct consumer_group *g, int64_t ms);
/* Something happens then: the next tick is not later. */
void consumer_due_at(struct consumer_group *g, uint64_t at_ns);
void consumer_set_text(struct consumer_group *g, struct str *to, struct str text);
struct consumer_member *consumer_find(const struct consumer_group *g, struct str id);
struct consumer_member *consumer_find_static(const struct consumer_group *g, struct str instance);
void consumer_mark(struct consumer_group *g, struct consumer_member *member, unsigned dirty);
/* Its members, what they want, or the topics have changed. */
void consumer_bump(struct consumer_group *g);

struct consumer_member *consumer_member_add(struct consumer_group *g, struct str id,
                                            struct str instance_id);
/* Its records go; the epoch stays. What it held is free. */
void consumer_member_remove(struct consumer_group *g, struct consumer_member *member);
/* It is no member any more, and the others are to share what it had. */
void consumer_member_fence(struct consumer_group *g, struct consumer_member *member);
void consumer_member_is_alive(struct consumer_group *g, struct consumer_member *member);
/* Another subscription; the expression that nobody uses any more is taken back. */
void consumer_member_subscribe(struct consumer_group *g, struct consumer_member *member,
                               const struct str *names, uint32_t count, struct str regex);
/* One reference less. */
void consumer_member_forget(struct consumer_group *g, struct consumer_subscription *sub);
void consumer_member_vote(struct consumer_group *g, struct consumer_member *member,
                          int32_t assignor);
void consumer_recount(struct consumer_group *g, struct consumer_member *member);
void consumer_account(struct consumer_group *g, size_t before, size_t after);
/* It speaks the classic protocol with these from now on. Count 0: it does not any more. */
void consumer_set_classic(struct consumer_group *g, struct consumer_member *member,
                          int32_t session_timeout_ms, const struct group_protocol *protocols,
                          uint32_t count);

struct consumer_holding *consumer_holding_find(const struct consumer_group *g,
                                               const struct tp *part);
void consumer_hold(struct consumer_group *g, struct consumer_member *member, const struct tp *part,
                   int32_t epoch);
void consumer_let_go(struct consumer_group *g, const struct tp *part);

/* ---- core/group/consumer_heartbeat.c ---- */

/* Under another id: what the old one had is its own, and nobody has to share anew. */
struct consumer_member *consumer_succeed(struct consumer_group *g, struct consumer_member *old,
                                         struct str id);
/* With an epoch in which nobody has anything, if there is none yet. */
void consumer_begin(struct consumer_group *g);
bool consumer_wants_nothing(const struct consumer_member *member);
bool consumer_set_changed(struct consumer_group *g, struct str *to, struct str text);
/* What it wants is looked at, and the group plans if need be. True: what it has has changed. */
bool consumer_bring_on(struct consumer_group *g, struct consumer_member *member, bool bump,
                       const struct tp_set *owned, bool anew);

/* ---- core/group/consumer_reconcile.c ---- */

/* Brings the member as near to its target as can be. owned: what it says that it has; NULL: it does
 * not say. True: what it is assigned has changed. */
bool consumer_reconcile(struct consumer_group *g, struct consumer_member *member,
                        const struct tp_set *owned, bool subscribes_anew);
void consumer_set_current(struct consumer_group *g, struct consumer_member *member,
                          struct tp_set assigned, struct tp_set revoking);

/* Taken over. */
void consumer_set_target(struct consumer_group *g, struct consumer_member *member,
                         struct tp_set target);

/* ---- core/group/consumer_plan.c ---- */

/* No plan with what it wants could be kept: it is out, with that error. */
enum err consumer_refuse(struct consumer_group *g, struct consumer_member *member,
                         const char **message);

/* The topics of its subscription as they are now. */
void consumer_refresh(struct consumer_group *g, struct consumer_subscription *sub);
/* The group's epoch grows if its topics are not what they were. */
void consumer_look_at_topics(struct consumer_group *g);
/* Who has come to the target is counted anew. */
void consumer_set_assignment_epoch(struct consumer_group *g, int32_t epoch);
/* A target for the group's epoch, if there is none yet. */
void consumer_maybe_plan(struct consumer_group *g);
