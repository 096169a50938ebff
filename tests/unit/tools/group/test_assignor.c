/* SPDX-License-Identifier: Apache-2.0
 *
 * Who reads what: the examples of the Kafka clients' documentation, and for random groups that each
 * partition has one reader who wants it, and that nobody has much more than the others.
 */
#include "tools/millrace/group/assignor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MEMBERS_MAX 12U
#define TOPICS_MAX  6U

struct fixture {
    struct arena arena;
    struct assignor_member members[MEMBERS_MAX];
    struct assignor_topic topics[TOPICS_MAX];
    struct str wanted[MEMBERS_MAX][TOPICS_MAX];
    char names[MEMBERS_MAX + TOPICS_MAX][16];
};

static void add_member(struct fixture *f, uint32_t i, const char *id, const char *instance_id,
                       const char *const *topics, int32_t count)
{
    for (int32_t t = 0; t < count; t++)
        f->wanted[i][t] = str_of(topics[t]);
    f->members[i] = (struct assignor_member){.id = str_of(id),
                                             .instance_id = str_of(instance_id),
                                             .topics = f->wanted[i],
                                             .topic_count = count};
}

/* "a:0,1 b:2" */
static const char *text_of(const struct assignor_member *member, char text[256])
{
    size_t used = 0;
    text[0] = 0;
    for (int32_t t = 0; t < member->assignment.assigned_partitions_count; t++) {
        const struct consumer_protocol_assignment_assigned_partition *topic =
            &member->assignment.assigned_partitions[t];
        used += (size_t)snprintf(text + used, 256 - used, "%s%.*s:", t ? " " : "", topic->topic.len,
                                 topic->topic.data);
        for (int32_t p = 0; p < topic->partitions_count; p++)
            used += (size_t)snprintf(text + used, 256 - used, "%s%d", p ? "," : "",
                                     topic->partitions[p]);
    }
    return text;
}

static void run(struct fixture *f, enum assignor assignor, uint32_t members, uint32_t topics)
{
    arena_init(&f->arena, 1U << 20);
    assert_true(assignor_run(assignor, f->members, members, f->topics, topics, &f->arena));
}

static void test_range(void **state)
{
    (void)state;
    static const char *const both[] = {"t0", "t1"};
    struct fixture f = {0};
    char text[256];
    add_member(&f, 0, "c1", NULL, both, 2);
    add_member(&f, 1, "c0", NULL, both, 2);
    f.topics[0] = (struct assignor_topic){str_of("t1"), 3};
    f.topics[1] = (struct assignor_topic){str_of("t0"), 3};
    run(&f, ASSIGNOR_RANGE, 2, 2);
    assert_true(str_equal(f.members[0].id, str_of("c0")));
    assert_string_equal(text_of(&f.members[0], text), "t0:0,1 t1:0,1");
    assert_string_equal(text_of(&f.members[1], text), "t0:2 t1:2");
    arena_fini(&f.arena);
}

static void test_round_robin(void **state)
{
    (void)state;
    static const char *const topics[] = {"t0", "t1", "t2"};
    struct fixture f = {0};
    char text[256];
    add_member(&f, 0, "c0", NULL, topics, 1);
    add_member(&f, 1, "c1", NULL, topics, 2);
    add_member(&f, 2, "c2", NULL, topics, 3);
    for (int32_t t = 0; t < 3; t++)
        f.topics[t] = (struct assignor_topic){str_of(topics[t]), t + 1};
    run(&f, ASSIGNOR_ROUND_ROBIN, 3, 3);
    assert_string_equal(text_of(&f.members[0], text), "t0:0");
    assert_string_equal(text_of(&f.members[1], text), "t1:0");
    assert_string_equal(text_of(&f.members[2], text), "t1:1 t2:0,1,2");
    arena_fini(&f.arena);
}

/* Static members come first, by their instance ids, so that their places last over restarts. */
static void test_static_members(void **state)
{
    (void)state;
    static const char *const topics[] = {"t"};
    struct fixture f = {0};
    char text[256];
    add_member(&f, 0, "a", NULL, topics, 1);
    add_member(&f, 1, "b", "two", topics, 1);
    add_member(&f, 2, "c", "one", topics, 1);
    f.topics[0] = (struct assignor_topic){str_of("t"), 4};
    run(&f, ASSIGNOR_RANGE, 3, 1);
    assert_true(str_equal(f.members[0].instance_id, str_of("one")));
    assert_string_equal(text_of(&f.members[0], text), "t:0,1");
    assert_string_equal(text_of(&f.members[1], text), "t:2");
    assert_true(str_equal(f.members[2].id, str_of("a")));
    arena_fini(&f.arena);
}

static void test_nothing_to_give(void **state)
{
    (void)state;
    static const char *const topics[] = {"here", "gone"};
    struct fixture f = {0};
    add_member(&f, 0, "a", NULL, topics, 2);
    f.topics[0] = (struct assignor_topic){str_of("gone"), 0};
    f.topics[1] = (struct assignor_topic){str_of("nobody's"), 3};
    for (unsigned a = 0; a < ASSIGNOR_COUNT; a++) {
        run(&f, (enum assignor)a, 1, 2);
        assert_int_equal(f.members[0].assignment.assigned_partitions_count, 0);
        arena_fini(&f.arena);
    }
    run(&f, ASSIGNOR_RANGE, 0, 2);
    arena_fini(&f.arena);
}

static bool wants(const struct assignor_member *member, struct str topic)
{
    for (int32_t t = 0; t < member->topic_count; t++)
        if (str_equal(member->topics[t], topic))
            return true;
    return false;
}

/* Every partition that somebody wants has one reader, who wants it. With equal wishes nobody has
 * more than one (round robin) or one per topic (range) more than another. */
static void check(const struct fixture *f, enum assignor assignor, uint32_t members,
                  uint32_t topics, bool equal_wishes)
{
    int32_t most = 0;
    int32_t least = INT32_MAX;
    uint64_t owned[TOPICS_MAX] = {0};
    for (uint32_t m = 0; m < members; m++) {
        int32_t count = 0;
        for (int32_t i = 0; i < f->members[m].assignment.assigned_partitions_count; i++) {
            const struct consumer_protocol_assignment_assigned_partition *given =
                &f->members[m].assignment.assigned_partitions[i];
            assert_true(wants(&f->members[m], given->topic));
            uint32_t t = 0;
            while (!str_equal(f->topics[t].name, given->topic))
                t++;
            count += given->partitions_count;
            for (int32_t p = 0; p < given->partitions_count; p++) {
                assert_true(given->partitions[p] < f->topics[t].partitions);
                assert_false(owned[t] >> given->partitions[p] & 1);
                owned[t] |= 1ULL << given->partitions[p];
            }
        }
        most = count > most ? count : most;
        least = count < least ? count : least;
    }
    for (uint32_t t = 0; t < topics; t++) {
        bool wanted = false;
        for (uint32_t m = 0; m < members; m++)
            wanted |= wants(&f->members[m], f->topics[t].name);
        assert_int_equal(owned[t], wanted ? (1ULL << f->topics[t].partitions) - 1 : 0);
    }
    if (equal_wishes && assignor == ASSIGNOR_ROUND_ROBIN)
        assert_true(most - least <= 1);
    if (equal_wishes && assignor == ASSIGNOR_RANGE)
        assert_true(most - least <= (int32_t)topics);
}

static void test_random_groups(void **state)
{
    (void)state;
    srand(20261128);
    for (int round = 0; round < 2000; round++) {
        struct fixture f = {0};
        uint32_t members = 1 + (uint32_t)rand() % MEMBERS_MAX;
        uint32_t topics = 1 + (uint32_t)rand() % TOPICS_MAX;
        bool equal_wishes = rand() % 2;
        const char *names[TOPICS_MAX];
        for (uint32_t t = 0; t < topics; t++) {
            (void)snprintf(f.names[t], sizeof(f.names[t]), "t%u", t);
            names[t] = f.names[t];
            f.topics[t] = (struct assignor_topic){str_of(names[t]), rand() % 20};
        }
        for (uint32_t m = 0; m < members; m++) {
            char *id = f.names[TOPICS_MAX + m];
            (void)snprintf(id, sizeof(f.names[0]), "m%d", rand());
            add_member(&f, m, id, NULL, names,
                       equal_wishes ? (int32_t)topics : rand() % (int32_t)(topics + 1));
        }
        enum assignor assignor = (enum assignor)(rand() % ASSIGNOR_COUNT);
        run(&f, assignor, members, topics);
        check(&f, assignor, members, topics, equal_wishes);
        arena_fini(&f.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_range),          cmocka_unit_test(test_round_robin),
        cmocka_unit_test(test_static_members), cmocka_unit_test(test_nothing_to_give),
        cmocka_unit_test(test_random_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
