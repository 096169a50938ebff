/* SPDX-License-Identifier: Apache-2.0
 *
 * What the controller decides about levels of features, and what waits for one.
 */
#include "core/controller/controller_features.h"
#include "tests/unit/core/controller/controller_world.h"

static int16_t update(struct world *w, const char *name, int16_t level, int8_t type)
{
    struct control_item item = {.name = str_of(name), .level = level, .upgrade_type = type};
    return decide(w, CONTROL_UPDATE_FEATURES, &item);
}

static int16_t raise_to(struct world *w, int16_t level)
{
    return update(w, METADATA_LEVEL, level, UPGRADE);
}

static int16_t set_quota(struct world *w)
{
    struct quota_entity entity = {.part[QUOTA_OF_CLIENT] = {QUOTA_DEFAULT, str_null()}};
    const struct control_limit limit = {.key = str_of("producer_byte_rate"), .value = 1};
    struct control_item item = {.quota = &entity, .limits = &limit, .limit_count = 1};
    return decide(w, CONTROL_ALTER_QUOTAS, &item);
}

static void raised_when_all_know(void **state)
{
    (void)state;
    struct world *w = world_of("", 3);
    set_level(w, 1);
    assert_int_equal(set_quota(w), ERR_UNSUPPORTED_VERSION);
    w->step.lowest = (struct controller_level){.node = 3, .level = 1};
    assert_int_equal(raise_to(w, 2), ERR_INVALID_UPDATE_VERSION);
    assert_int_equal(raise_to(w, 1), ERR_NONE); /* it is so already */
    assert_int_equal(end_batch(w), 0);
    w->step.lowest.level = 2;
    assert_int_equal(raise_to(w, 3), ERR_INVALID_UPDATE_VERSION);
    assert_int_equal(raise_to(w, 2), ERR_NONE);
    assert_int_equal(image_level(image_edit_peek(w->step.edit)), 2);
    assert_int_equal(set_quota(w), ERR_NONE); /* in the same batch, behind it */
    assert_int_equal(end_batch(w), 2);
    assert_int_equal(image_level(w->image), 2);
    world_free(w);
}

static void what_is_refused(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    assert_int_equal(update(w, "metadata.version", 2, UPGRADE), ERR_INVALID_UPDATE_VERSION);
    assert_int_equal(update(w, METADATA_LEVEL, 2, 0), ERR_INVALID_UPDATE_VERSION);
    assert_int_equal(update(w, METADATA_LEVEL, 2, 4), ERR_INVALID_UPDATE_VERSION);
    assert_int_equal(raise_to(w, 0), ERR_INVALID_UPDATE_VERSION);
    assert_int_equal(raise_to(w, -1), ERR_INVALID_UPDATE_VERSION);
    for (int type = UPGRADE; type <= UNSAFE_DOWNGRADE; type++)
        assert_int_equal(update(w, METADATA_LEVEL, 1, (int8_t)type), ERR_INVALID_UPDATE_VERSION);
    set_level(w, 1);
    assert_int_equal(update(w, METADATA_LEVEL, 2, SAFE_DOWNGRADE), ERR_INVALID_UPDATE_VERSION);
    assert_int_equal(end_batch(w), 0);
    world_free(w);
}

/* One that is refused keeps the others back; one that is only to be checked changes nothing. */
static void all_or_none(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    set_level(w, 1);
    struct control_item items[] = {
        {.name = str_of(METADATA_LEVEL), .level = 2, .upgrade_type = UPGRADE},
        {.name = str_of("group.version"), .level = 1, .upgrade_type = UPGRADE},
    };
    struct control_op op = {
        .kind = CONTROL_UPDATE_FEATURES, .arena = &w->arena, .items = items, .item_count = 2};
    assert_true(controller_step(&w->step, &op));
    assert_int_equal(items[0].error, ERR_NONE);
    assert_int_equal(items[1].error, ERR_INVALID_UPDATE_VERSION);
    assert_non_null(strstr(items[1].message, "group.version"));
    op = (struct control_op){.kind = CONTROL_UPDATE_FEATURES,
                             .arena = &w->arena,
                             .items = items,
                             .item_count = 1,
                             .validate_only = true};
    assert_true(controller_step(&w->step, &op));
    assert_int_equal(items[0].error, ERR_NONE);
    assert_int_equal(end_batch(w), 0);
    world_free(w);
}

/* Whoever adds a kind of record raises three numbers. */
static void newest_level(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    int16_t newest = METADATA_LEVEL_OLDEST;
#define X(name, number, text, mandatory, level) newest = (level) > newest ? (level) : newest;
    METADATA_KINDS(X)
#undef X
    assert_int_equal(newest, METADATA_LEVEL_NEWEST);
    assert_int_equal(w->conf.broker.metadata_level, METADATA_LEVEL_NEWEST);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raised_when_all_know),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(all_or_none),
        cmocka_unit_test(newest_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
