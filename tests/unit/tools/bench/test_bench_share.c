/* SPDX-License-Identifier: Apache-2.0
 *
 * What runs elsewhere tell: merged, it is what one run would have told, bucket by bucket; and
 * nothing that cannot be true is taken.
 */
#include "tools/millrace/bench/bench_share.h"

#include "io/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PARTS  3U
#define VALUES 20000U

static void init(struct measure *m, bool e2e)
{
    *m = (struct measure){.began_ns = 1, .ends_ns = 1 + NS_PER_S};
    struct histogram **all[] = {&m->response,  &m->service, &m->delay, &m->now_response,
                                &m->now_delay, &m->now_lag, &m->e2e,   &m->now_e2e};
    for (size_t i = 0; i < array_count(all) - (e2e ? 0 : 2); i++)
        *all[i] = mem_zalloc(sizeof(struct histogram));
}

static void fini(struct measure *m)
{
    struct histogram *all[] = {m->response,  m->service, m->delay, m->now_response,
                               m->now_delay, m->now_lag, m->e2e,   m->now_e2e};
    for (size_t i = 0; i < array_count(all); i++)
        mem_free(all[i]);
}

static json_t *message_of(const struct share_line *line)
{
    json_t *message = json_loadb(line->data, line->len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(message);
    assert_int_equal(line->data[line->len - 1], '\n');
    assert_null(memchr(line->data, '\n', line->len - 1));
    return message;
}

static uint64_t draw(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random >> (20 + (*random & 31));
}

static void same(const struct histogram *merged, const struct histogram *whole)
{
    assert_int_equal(merged->count, whole->count);
    assert_int_equal(merged->max_ns, whole->max_ns);
    assert_memory_equal(merged->buckets, whole->buckets, sizeof(whole->buckets));
    assert_true(merged->sum_ns > whole->sum_ns * (1 - 1e-12));
    assert_true(merged->sum_ns < whole->sum_ns * (1 + 1e-12));
    for (int i = 0; i <= 1000; i++)
        assert_int_equal(histogram_quantile_ns(merged, i / 1000.0),
                         histogram_quantile_ns(whole, i / 1000.0));
}

/* Into every histogram of a run and of its second, the same values into `whole`. */
static void load(struct measure *m, struct measure *whole, uint64_t *random)
{
    for (uint32_t i = 0; i < VALUES; i++) {
        const uint64_t ns = draw(random);
        struct histogram *to[] = {m->response,     whole->response,     m->service, whole->service,
                                  m->now_response, whole->now_response, m->now_e2e, whole->now_e2e};
        for (size_t k = 0; k < array_count(to); k++)
            histogram_add(to[k], ns);
        histogram_add_n(m->delay, ns / 7, 3);
        histogram_add_n(whole->delay, ns / 7, 3);
    }
}

static void merged_is_exact(void **state)
{
    (void)state;
    struct measure part[PARTS];
    struct measure whole;
    struct measure merged;
    struct share_line line = {0};
    uint64_t random = 88172645463325252U;
    init(&whole, true);
    init(&merged, true);
    merged.began_ns = 0;
    for (uint32_t i = 0; i < PARTS; i++) {
        uint64_t connections;
        struct bench_second own;
        init(&part[i], true);
        part[i].ends_ns += i;
        part[i].sent = 1000 * (i + 1);
        part[i].codes[7] = i;
        part[i].codes[MEASURE_LOST] = 1;
        part[i].now_began_ns = part[i].began_ns + 5 * NS_PER_S;
        part[i].now = (struct bench_second){
            .records = 10, .seconds = 1, .own_cpu = 0.1 * i, .lag_p99 = 5 - i, .in_flight = i};
        load(&part[i], &whole, &random);
        share_second(&part[i], &line);
        json_t *message = message_of(&line);
        uint64_t from_ns;
        assert_true(message_is(message, "second"));
        assert_true(message_u64(message, "from_ns", INT64_MAX, &from_ns));
        assert_int_equal(from_ns, 5 * NS_PER_S);
        assert_true(share_take_second(message, &merged, &own));
        assert_int_equal(own.lag_p99, 5 - i);
        json_decref(message);
        share_end(&part[i], 4, &line);
        message = message_of(&line);
        assert_true(share_take_end(message, &merged, &connections));
        assert_int_equal(connections, 4);
        json_decref(message);
        fini(&part[i]);
    }
    same(merged.response, whole.response);
    same(merged.service, whole.service);
    same(merged.delay, whole.delay);
    same(merged.now_response, whole.now_response);
    same(merged.now_e2e, whole.now_e2e);
    assert_int_equal(merged.now.records, 10 * PARTS);
    assert_int_equal(merged.now.in_flight, 0 + 1 + 2);
    assert_int_equal(merged.now.lag_p99, 5); /* the worst of them */
    assert_true(merged.now.own_cpu > 0.19 && merged.now.own_cpu < 0.21);
    assert_int_equal(merged.sent, 1000 + 2000 + 3000);
    assert_int_equal(merged.codes[7], 0 + 1 + 2);
    assert_int_equal(merged.codes[MEASURE_LOST], PARTS);
    assert_int_equal(merged.ends_ns - merged.began_ns, NS_PER_S + PARTS - 1); /* the longest */
    share_line_fini(&line);
    fini(&whole);
    fini(&merged);
}

/* A small end as text, with `wrong` in place of `right`. */
static bool taken(const char *right, const char *wrong)
{
    static const char good[] =
        "{\"type\":\"end\",\"measured_ns\":1000,\"connections\":1,\"records\":3,\"bytes\":3,"
        "\"rate_records\":3,\"rate_bytes\":3,\"rate_requests\":3,\"arrived\":0,\"arrived_bytes\":0,"
        "\"failed\":0,\"held\":0,\"sent\":3,\"acked\":3,\"lost\":0,\"reconnects\":0,"
        "\"errors\":[[5,1]],\"response\":{\"sum_ns\":30.5,\"max_ns\":12,\"buckets\":[9,2,13,1]},"
        "\"service\":{\"sum_ns\":0,\"max_ns\":0,\"buckets\":[]},"
        "\"delay\":{\"sum_ns\":0,\"max_ns\":0,\"buckets\":[]}}";
    char text[sizeof(good) + 100];
    const char *at = strstr(good, right);
    struct measure m;
    uint64_t connections;
    assert_non_null(at);
    (void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, wrong,
                   at + strlen(right));
    json_t *message = json_loads(text, 0, NULL);
    assert_non_null(message);
    init(&m, false);
    m.began_ns = 0;
    const bool good_one = share_take_end(message, &m, &connections);
    fini(&m);
    json_decref(message);
    return good_one;
}

static void what_cannot_be_true(void **state)
{
    (void)state;
    static const char *const wrongs[][2] = {
        {"\"records\":3", "\"records\":-3"},
        {"\"records\":3", "\"records\":\"3\""},
        {"\"records\":3", "\"records\":3.5"},
        {"\"records\":3", "\"recodrs\":3"},
        {"\"records\":3", "\"records\":9007199254740993"},
        {"\"measured_ns\":1000", "\"measured_ns\":9000000000000000000"},
        {"\"connections\":1", "\"connections\":3000000000"},
        {"[[5,1]]", "{}"},
        {"[[5,1]]", "[[256,1]]"},
        {"[[5,1]]", "[[-1,1]]"},
        {"[[5,1]]", "[[5]]"},
        {"[[5,1]]", "[5,1]"},
        {"\"buckets\":[9,2,13,1]", "\"buckets\":[9,2,13]"},
        {"\"buckets\":[9,2,13,1]", "\"buckets\":[13,2,9,1]"},
        {"\"buckets\":[9,2,13,1]", "\"buckets\":[9,2,9,1]"},
        {"\"buckets\":[9,2,13,1]", "\"buckets\":[9,2,13,0]"},
        {"\"buckets\":[9,2,13,1]", "\"buckets\":[9,2,13,-1]"},
        {"\"buckets\":[9,2,13,1]", "\"buckets\":[-9,2,13,1]"},
        {"\"buckets\":[9,2,13,1]", "\"buckets\":[9,2,\"13\",1]"},
        {"\"buckets\":[9,2,13,1]", "\"buckets\":[9,9007199254740992,13,9007199254740992]"},
        {"\"buckets\":[9,2,13,1]", "\"buckets\":[]"},
        {"\"buckets\":[9,2,13,1]", "\"buckets\":{}"},
        {"\"max_ns\":12", "\"max_ns\":14"},
        {"\"max_ns\":12", "\"max_ns\":9"},
        {"\"max_ns\":12", "\"max_ns\":-1"},
        {"\"sum_ns\":30.5", "\"sum_ns\":32"},
        {"\"sum_ns\":30.5", "\"sum_ns\":-1"},
        {"\"sum_ns\":30.5", "\"sum_ns\":true"},
        {"\"delay\"", "\"e2e\""},
    };
    assert_true(taken("\"type\"", "\"type\""));
    for (size_t i = 0; i < array_count(wrongs); i++)
        if (taken(wrongs[i][0], wrongs[i][1]))
            fail_msg("%s is taken", wrongs[i][1]);
}

/* Whatever a message has become by flipped bytes: it is taken or not, and nothing else happens. */
static void damaged(void **state)
{
    (void)state;
    struct measure m;
    struct share_line line = {0};
    uint64_t random = 4711;
    uint32_t refused = 0;
    init(&m, true);
    m.now.seconds = 1;
    m.now_began_ns = 1;
    for (uint64_t ns = 1; ns < 100000; ns = ns * 3 / 2 + 1)
        histogram_add(m.now_response, ns);
    share_second(&m, &line);
    for (uint32_t i = 0; i < 5000; i++) {
        char *copy = mem_alloc(line.len);
        memcpy(copy, line.data, line.len);
        for (uint64_t flips = draw(&random) % 3; flips < 3; flips++)
            copy[draw(&random) % line.len] = "0123456789-.e[]{}\",:"[draw(&random) % 20];
        json_t *message = json_loadb(copy, line.len, 0, NULL);
        struct measure into;
        struct bench_second own;
        if (message) {
            init(&into, true);
            refused += !share_take_second(message, &into, &own);
            fini(&into);
        }
        json_decref(message);
        mem_free(copy);
    }
    assert_true(refused > 100); /* they were damaged */
    share_line_fini(&line);
    fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_is_exact),
        cmocka_unit_test(what_cannot_be_true),
        cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
