/* SPDX-License-Identifier: Apache-2.0
 *
 * Options of a load on their way to a helper program.
 */
#include "tools/millrace/bench/bench_options_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct bench_options given = {
    .kind = "e2e",
    .arrival = "step:20k,40k",
    .topics = 3,
    .connections = 7,
    .in_flight = 4096,
    .record_bytes = 1LL << 40,
    .linger_ns = 5000000,
    .joins = true,
    .rate = 12500.25,
    .duration_ns = UINT64_C(1) << 62,
    .keys = KEY_ZIPF,
    .key_count = 1000,
    .key_skew = 0.99,
    .codec = CODEC_LZ4,
    .acks = -1,
    .idempotent = true,
    .stamped = true,
    .follow = true,
    .wait_ns = 500000000,
};

static void test_there_and_back(void **state)
{
    (void)state;
    struct bench_options o;
    json_t *object = options_json(&given);
    assert_true(options_take(object, &o));
    assert_string_equal(o.kind, given.kind);
    assert_string_equal(o.arrival, given.arrival);
    assert_true(o.topics == 3 && o.connections == 7 && o.in_flight == 4096);
    assert_true(o.record_bytes == given.record_bytes && o.duration_ns == given.duration_ns);
    assert_true(o.joins && o.idempotent && o.stamped && o.follow && !o.from_end);
    assert_true(o.rate >= 12500.25 && o.rate <= 12500.25);
    assert_true(o.key_skew >= 0.99 && o.key_skew <= 0.99);
    assert_int_equal(o.keys, KEY_ZIPF);
    assert_int_equal(o.codec, CODEC_LZ4);
    assert_int_equal(o.acks, -1);
    assert_true(o.batch_records == 1 && o.parts == 1); /* what a helper has no choice of */
    json_decref(object);
}

/* Each of them, of another type or not there, and what does not fit into its field. */
static void test_refused(void **state)
{
    (void)state;
    struct bench_options o;
    json_t *object = options_json(&given);
    const char *name;
    json_t *value;
    void *next;
    json_object_foreach_safe(object, next, name, value)
    {
        json_t *other = json_copy(object);
        assert_true(options_take(other, &o));
        (void)json_object_set_new(other, name, json_null());
        assert_false(options_take(other, &o));
        (void)json_object_del(other, name);
        assert_false(options_take(other, &o));
        json_decref(other);
    }
    (void)json_object_set_new(object, "acks", json_integer(65535));
    assert_false(options_take(object, &o));
    json_decref(object);
}

static void test_not_utf8(void **state)
{
    (void)state;
    struct bench_options o = given;
    o.arrival = "\xff";
    assert_null(options_json(&o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_not_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
