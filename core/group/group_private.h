/* SPDX-License-Identifier: Apache-2.0
 *
 * A group from inside: what core/group/group.c and core/group/group_join.c know of each other and
 * nobody else.
 */
#pragma once

#include "core/group/group.h"

/* ---- core/group/group.c ---- */

uint64_t group_now(const struct group *g);
uint64_t group_after_ms(const struct group *g, int64_t ms);
/* Something happens then: the next tick is not later. */
void group_due_at(struct group *g, uint64_t at_ns);
bool group_may_become(const struct group *g, enum group_state state);
void group_become(struct group *g, enum group_state state);
void group_set_text(struct str *to, struct str text);
struct group_member *group_find_member(const struct group *g, struct str id);
struct group_member *group_find_static(const struct group *g, struct str instance_id);
bool group_is_leader(const struct group *g, const struct group_member *member);
void group_link(struct group *g, struct group_member *member);
void group_unlink(struct group *g, struct group_member *member);
void group_account(struct group *g, size_t before, size_t after);
enum err group_check_member(const struct group *g, struct str member_id, struct str instance_id);
void group_set_joined(struct group *g, struct group_member *member, bool joined);
void group_set_sync_pending(struct group *g, struct group_member *member, bool pending);
void group_join_detach(struct group_join *join);
void group_join_fail(struct group_join *join, enum err error, struct str member_id);
void group_join_answer(const struct group *g, const struct group_member *member,
                       struct group_join *join, bool with_members);
void group_end_join(struct group *g, struct group_member *member, enum err error,
                    struct str member_id);
void group_sync_end(struct group_sync *sync, enum err error);
void group_end_sync(struct group *g, struct group_member *member, enum err error);
void group_pending_remove(struct group *g, struct group_pending *pending);
struct group_pending *group_pending_find(const struct group *g, struct str id);
const struct group_pending *group_pending_add(struct group *g, struct str id, int32_t timeout_ms);
void group_add_member(struct group *g, struct group_member *member);
void group_remove_member(struct group *g, struct group_member *member, enum err error);
void group_member_is_alive(struct group *g, struct group_member *member);

/* ---- core/group/group_join.c ---- */

/* Of those that all members speak; there is one. */
struct str group_choose_protocol(const struct group *g);
void group_drop_decision(struct group *g, enum err error);
void group_maybe_prepare_rebalance(struct group *g);
void group_store_now(struct group *g);
void group_maybe_complete_join(struct group *g);
void group_join_time_over(struct group *g);
void group_after_removal(struct group *g);
void group_static_stored(struct group *g, struct group_join *join, enum err error);
