/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/kafka_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool meta(struct kafka_meta *meta, const char *text, char sentence[320])
{
    return kafka_meta_parse(meta, text, strlen(text), sentence, 320);
}

static void test_meta(void **state)
{
    (void)state;
    struct kafka_meta found;
    char why[320];
    assert_true(meta(&found,
                     "#\n#Sun Nov 29 12:00:00 UTC 2026\nnode.id=7\nversion=1\n"
                     "directory.id=abc\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\n",
                     why));
    assert_int_equal(found.version, 1);
    assert_int_equal(found.node_id, 7);
    assert_string_equal(found.cluster_id, "MkU3OEVBNTcwNTJENDM2Qg");
    assert_true(meta(&found, "broker.id=0\nversion=0\ncluster.id=x\n", why));
    assert_int_equal(found.node_id, 0);
    assert_false(meta(&found, "broker.id=0\nversion=2\ncluster.id=x\n", why));
    assert_non_null(strstr(why, "version"));
    assert_false(meta(&found, "version=1\ncluster.id=x\n", why));
    assert_false(meta(&found, "version=1\nnode.id=1\n", why));
    assert_false(meta(&found, "version=1\nnode.id=99999999999\ncluster.id=x\n", why));
    assert_non_null(strstr(why, "line 2"));
    assert_false(meta(&found, "version=-1\nnode.id=1\ncluster.id=x\n", why));
    assert_false(meta(&found, "", why));
}

static bool topic_id(struct uuid *id, const char *text)
{
    return kafka_topic_id_parse(id, text, strlen(text));
}

static void test_topic_id(void **state)
{
    (void)state;
    struct uuid id;
    char text[UUID_TEXT_LEN + 1];
    assert_true(topic_id(&id, "version: 0\ntopic_id: oiwfA5NtSO2kAE2CwXQ0jQ"));
    uuid_text(&id, text);
    assert_string_equal(text, "oiwfA5NtSO2kAE2CwXQ0jQ");
    assert_true(topic_id(&id, "version: 0\ntopic_id: oiwfA5NtSO2kAE2CwXQ0jQ\n"));
    assert_false(topic_id(&id, "version: 1\ntopic_id: oiwfA5NtSO2kAE2CwXQ0jQ"));
    assert_false(topic_id(&id, "version: 0\ntopic_id: short"));
    assert_false(topic_id(&id, "version: 0\n"));
    assert_false(topic_id(&id, ""));
}

static void test_marks(void **state)
{
    (void)state;
    static const char good[] = "0\n2\norders 3 17\na.b_c 0 9223372036854775807\n";
    static const char *const bad[] = {
        "",        "1\n0\n",          "0\n1\n",           "0\n0\norders 3 17\n",
        "0\n1\n",  "0\n1\norders 3",  "0\n1\norders x 1", "0\n1\norders 1 9223372036854775808",
        "0\nx\n",  "0\n1\n3 17\n",    "0\n1\na b c d\n",  "0\n1\norders 1 -1\n",
        "0\n-1\n", "0\n4294967296\n",
    };
    struct kafka_marks marks = {0};
    assert_true(kafka_marks_parse(&marks, good, strlen(good)));
    assert_int_equal(kafka_marks_find(&marks, "orders", 3), 17);
    assert_int_equal(kafka_marks_find(&marks, "a.b_c", 0), INT64_MAX);
    assert_int_equal(kafka_marks_find(&marks, "orders", 4), -1);
    kafka_marks_fini(&marks);
    for (size_t i = 0; i < array_count(bad); i++) {
        struct kafka_marks none = {0};
        assert_false(kafka_marks_parse(&none, bad[i], strlen(bad[i])));
        kafka_marks_fini(&none);
    }
}

static void test_epochs(void **state)
{
    (void)state;
    int32_t latest;
    assert_true(kafka_epochs_parse(&latest, "0\n0\n", 4));
    assert_int_equal(latest, -1);
    assert_true(kafka_epochs_parse(&latest, "0\n2\n0 0\n5 100\n", 14));
    assert_int_equal(latest, 5);
    assert_false(kafka_epochs_parse(&latest, "0\n1\n0 0\n5 100\n", 14));
    assert_false(kafka_epochs_parse(&latest, "0\n1\n5 100 7\n", 12));
}

static void test_folder(void **state)
{
    (void)state;
    char topic[LOG_TOPIC_MAX + 1];
    int32_t partition;
    assert_true(kafka_folder_parse("orders-0", topic, &partition));
    assert_string_equal(topic, "orders");
    assert_int_equal(partition, 0);
    assert_true(kafka_folder_parse("a-b-17", topic, &partition));
    assert_string_equal(topic, "a-b");
    assert_int_equal(partition, 17);
    assert_false(kafka_folder_parse("orders-0.8d3e-delete", topic, &partition));
    assert_false(kafka_folder_parse("orders-0.8d3e-stray", topic, &partition));
    assert_false(kafka_folder_parse("orders-", topic, &partition));
    assert_false(kafka_folder_parse("-1", topic, &partition));
    assert_false(kafka_folder_parse("orders-2147483648", topic, &partition));
    assert_false(kafka_folder_parse("meta.properties", topic, &partition));
    assert_false(kafka_folder_parse("..-1", topic, &partition));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meta),   cmocka_unit_test(test_topic_id),
        cmocka_unit_test(test_marks),  cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
