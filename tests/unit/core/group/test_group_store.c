/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/group_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What the log answers, what a committer is told of it, and what the members of a group are. */
static const struct {
    enum err of_log, of_commit, of_group;
} translations[] = {
    {ERR_NONE, ERR_NONE, ERR_NONE},
    {ERR_REQUEST_TIMED_OUT, ERR_REQUEST_TIMED_OUT, ERR_REBALANCE_IN_PROGRESS},
    {ERR_UNKNOWN_TOPIC_OR_PARTITION, ERR_COORDINATOR_NOT_AVAILABLE, ERR_COORDINATOR_NOT_AVAILABLE},
    {ERR_NOT_ENOUGH_REPLICAS, ERR_COORDINATOR_NOT_AVAILABLE, ERR_COORDINATOR_NOT_AVAILABLE},
    {ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, ERR_COORDINATOR_NOT_AVAILABLE,
     ERR_COORDINATOR_NOT_AVAILABLE},
    {ERR_NOT_LEADER_OR_FOLLOWER, ERR_NOT_COORDINATOR, ERR_NOT_COORDINATOR},
    {ERR_KAFKA_STORAGE_ERROR, ERR_NOT_COORDINATOR, ERR_NOT_COORDINATOR},
    {ERR_MESSAGE_TOO_LARGE, ERR_INVALID_COMMIT_OFFSET_SIZE, ERR_UNKNOWN_SERVER_ERROR},
    {ERR_RECORD_LIST_TOO_LARGE, ERR_INVALID_COMMIT_OFFSET_SIZE, ERR_UNKNOWN_SERVER_ERROR},
};

static void o3_what_the_log_says_is_translated(void **state)
{
    (void)state;
    for (size_t i = 0; i < array_count(translations); i++) {
        assert_int_equal(group_store_offset_error(translations[i].of_log),
                         translations[i].of_commit);
        assert_int_equal(group_store_group_error(translations[i].of_log), translations[i].of_group);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(o3_what_the_log_says_is_translated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
