/* SPDX-License-Identifier: Apache-2.0
 *
 * Which replicas a topic's settings hold up.
 */
#include "core/replica/replica_throttle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void set(struct topic_image *topic, const char *name, const char *value)
{
    const struct conf_view view = {0};
    struct conf_error error;
    assert_true(overrides_alter(&topic->overrides, OVERRIDE_SET, name, strlen(name), value,
                                strlen(value), &view, &error));
}

static bool is_named(const struct topic_image *topic, int32_t partition, int32_t broker)
{
    return replica_throttle_names(topic, partition, broker, REPLICA_FOLLOWS);
}

static void what_is_named_is_held_up(void **state)
{
    (void)state;
    struct topic_image topic = {0};
    overrides_init(&topic.overrides, CONF_TOPIC);
    assert_false(is_named(&topic, 0, 1));
    set(&topic, "follower.replication.throttled.replicas", "0:1,12:345,3:4");
    assert_true(is_named(&topic, 0, 1));
    assert_true(is_named(&topic, 12, 345));
    assert_true(is_named(&topic, 3, 4));
    assert_false(is_named(&topic, 1, 0));
    assert_false(is_named(&topic, 0, 345));
    assert_false(is_named(&topic, 12, 34));
    assert_false(is_named(&topic, 3, 1));
    assert_false(replica_throttle_names(&topic, 0, 1, REPLICA_LEADS));
    set(&topic, "leader.replication.throttled.replicas", "*");
    assert_true(replica_throttle_names(&topic, 7, 8, REPLICA_LEADS));
    assert_false(is_named(&topic, 7, 8));
    set(&topic, "follower.replication.throttled.replicas", "");
    assert_false(is_named(&topic, 0, 1));
    overrides_fini(&topic.overrides);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_named_is_held_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
