/* SPDX-License-Identifier: Apache-2.0
 *
 * Several log directories: where new partitions go, what is answered when one of them fails or is
 * missing, and that nothing is made anew in silence (core/log/log_dirs.h, core/broker_logs.h).
 */
#include "tests/unit/sim/desk_topics.h"

#include <errno.h>
#include <stdio.h>

static void begin(struct desk *desk, const char *dirs)
{
    desk_begin(desk, 7);
    desk->node.log_dirs = dirs;
    desk->node.tail_bytes = 2U << 20;
    desk_broker_start(desk, 1);
}

/* The broker is not running. */
static void move(struct desk *desk, const char *from, const char *to)
{
    struct fs *fs = machine_fs(desk->node.machine);
    assert_int_equal(fs_rename(fs, from, to), 0);
    assert_int_equal(fs_sync_dir(fs, "/"), 0);
}

static bool is_refused(void *argument)
{
    return ((struct desk *)argument)->node.failure[0] != '\0';
}

/* A start that ends with this in its sentence. */
static void start_is_refused(struct desk *desk, const char *because)
{
    if (node_start(&desk->node, 1)) {
        desk_until(desk, is_refused, desk);
        desk_until(desk, desk_node_is_gone, desk);
    }
    if (!strstr(desk->node.failure, because))
        fail_msg("\"%s\" does not say \"%s\"", desk->node.failure, because);
}

static enum err fetch(struct desk *desk, const char *topic)
{
    struct question question;
    fetch_ask(desk, &question, topic, 11, 0, 0);
    return (enum err)fetch_answer(&question).error_code;
}

static enum err trim(struct desk *desk, const char *topic)
{
    int64_t low_watermark;
    return delete_records(desk, topic, 0, &low_watermark);
}

/* Metadata, on whatever shard the connection is: does anybody lead it? */
static bool is_led(struct desk *desk, const char *topic)
{
    bool led = false;
    for (unsigned i = 0; i < 3; i++) {
        struct metadata_response response = metadata_ask(desk, i, topic, 12);
        const struct metadata_response_partition *found = &response.topics[0].partitions[0];
        led = found->leader_id == 1;
        assert_int_equal(found->error_code, led ? ERR_NONE : ERR_LEADER_NOT_AVAILABLE);
        assert_int_equal(found->offline_replicas_count, led ? 0 : 1);
    }
    return led;
}

static void all_answer(struct desk *desk, const char *topic, enum err error)
{
    assert_int_equal(record_produce(desk, topic), error);
    assert_int_equal(fetch(desk, topic), error);
    assert_int_equal(offset_ask(desk, topic, 9, LATEST).error_code, error);
    assert_int_equal(trim(desk, topic), error);
    desk_pass(desk, 1);
    assert_int_equal(is_led(desk, topic), error == ERR_NONE);
}

/* What DescribeLogDirs says about directory `index`. */
static struct describe_log_dirs_response_result describe(struct desk *desk, int32_t index)
{
    struct describe_log_dirs_request request;
    struct describe_log_dirs_response response;
    init_describe_log_dirs_request(&request);
    request.topics_count = -1;
    desk_ask(desk, 0, KEY_DESCRIBE_LOG_DIRS, 4, &request, &response);
    assert_true(index < response.results_count);
    return response.results[index];
}

static bool lies_in(struct desk *desk, int32_t index, const char *topic)
{
    struct describe_log_dirs_response_result dir = describe(desk, index);
    for (int32_t i = 0; i < dir.topics_count; i++)
        if (str_equal(dir.topics[i].name, str_of(topic)))
            return true;
    return false;
}

static void make(struct desk *desk, const char *topic)
{
    topic_create(desk, topic, NULL, 0);
}

static void fail_for_ever(struct desk *desk, const char *prefix)
{
    struct disk_fault fault = {.calls = DISK_WRITE, .times = UINT32_MAX, .error = -EIO};
    (void)snprintf(fault.prefix, sizeof(fault.prefix), "%s", prefix);
    machine_disk_fault(desk->node.machine, &fault);
}

static void make_in(struct desk *desk, int32_t index, const char *topic)
{
    make(desk, topic);
    assert_true(lies_in(desk, index, topic));
}

/* One more record. */
static void write_to(struct desk *desk, const char *topic)
{
    assert_int_equal(record_produce(desk, topic), ERR_NONE);
}

static void has_records(struct desk *desk, const char *topic, int64_t count)
{
    assert_int_equal(offset_at(desk, topic, LATEST), count);
}

static void stop_and_set(struct desk *desk, const char *dirs)
{
    desk_broker_stop(desk);
    desk->node.log_dirs = dirs;
}

/* The broker has stopped; it starts with other directories, or with them in another order. */
static void start_with(struct desk *desk, const char *dirs)
{
    desk->node.log_dirs = dirs;
    desk_broker_start(desk, 1);
}

/* The disk of /more is away when the broker starts again. */
static void restart_without_more(struct desk *desk)
{
    desk_broker_stop(desk);
    move(desk, "/more", "/elsewhere");
    desk_broker_start(desk, 1);
}

/* Two directories, and a topic in each: a in /data, b in /more. */
static void begin_with_two(struct desk *desk)
{
    begin(desk, "/data,/more");
    make(desk, "a");
    make_in(desk, 1, "b");
}

/* One directory, and a topic with one record in it. */
static void begin_with_a_record(struct desk *desk)
{
    begin(desk, "/data");
    make(desk, "a");
    write_to(desk, "a");
}

/* ---- */

static void a_new_log_goes_where_the_fewest_are(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, "/data,/more,/third");
    static const char *const topics[] = {"a", "b", "c", "d", "e", "f", "g"};
    for (size_t i = 0; i < array_count(topics); i++) {
        make_in(&desk, (int32_t)(i % 3), topics[i]);
        write_to(&desk, topics[i]);
    }
    assert_true(str_equal(describe(&desk, 1).log_dir, str_of("/more")));
    desk_broker_stop(&desk);
    desk_broker_start(&desk, 3);
    for (size_t i = 0; i < array_count(topics); i++) {
        assert_true(lies_in(&desk, (int32_t)(i % 3), topics[i]));
        has_records(&desk, topics[i], 1);
    }
    desk_end(&desk);
}

static void one_fails_and_the_others_go_on(void **state)
{
    (void)state;
    struct desk desk;
    struct question parked;
    begin_with_two(&desk);
    write_to(&desk, "a");
    write_to(&desk, "b");
    fetch_ask(&desk, &parked, "b", 11, 1, 600000);
    desk_pass(&desk, 10);
    assert_false(parked.done);
    fail_for_ever(&desk, "/more/");
    assert_int_equal(record_produce(&desk, "b"), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(fetch_answer(&parked).error_code, ERR_KAFKA_STORAGE_ERROR);
    all_answer(&desk, "b", ERR_KAFKA_STORAGE_ERROR);
    all_answer(&desk, "a", ERR_NONE);
    assert_int_equal(describe(&desk, 0).error_code, ERR_NONE);
    assert_int_equal(describe(&desk, 1).error_code, ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(describe(&desk, 1).topics_count, 0);
    make_in(&desk, 0, "c");
    all_answer(&desk, "c", ERR_NONE);
    machine_disk_heal(desk.node.machine); /* it stays offline */
    all_answer(&desk, "b", ERR_KAFKA_STORAGE_ERROR);
    desk_broker_stop(&desk);
    desk_broker_start(&desk, 2);
    has_records(&desk, "b", 1);
    all_answer(&desk, "b", ERR_NONE);
    desk_end(&desk);
}

static void one_is_missing_at_the_start(void **state)
{
    (void)state;
    struct desk desk;
    begin_with_two(&desk);
    write_to(&desk, "b");
    desk_broker_stop(&desk);
    move(&desk, "/more", "/elsewhere");
    for (uint16_t life = 1; life < 4; life++) {
        desk_broker_start(&desk, life);
        all_answer(&desk, "a", ERR_NONE);
        all_answer(&desk, "b", ERR_KAFKA_STORAGE_ERROR);
        assert_int_equal(describe(&desk, 1).error_code, ERR_KAFKA_STORAGE_ERROR);
        if (life == 1)
            make(&desk, "c");
        config_set(&desk, "b", "retention.ms", life == 1 ? "60000" : "70000"); /* a new image */
        all_answer(&desk, "b", ERR_KAFKA_STORAGE_ERROR);
        all_answer(&desk, "c", ERR_NONE);
        desk_broker_stop(&desk);
        if (life == 1) { /* an empty place where a disk should be mounted */
            assert_int_equal(fs_mkdir(machine_fs(desk.node.machine), "/more"), 0);
            assert_int_equal(fs_sync_dir(machine_fs(desk.node.machine), "/"), 0);
        }
    }
    struct fs_list list = {0};
    assert_int_equal(fs_list(machine_fs(desk.node.machine), "/more", &list), 0);
    assert_int_equal(list.count, 0);
    fs_list_free(&list);
    assert_int_equal(fs_rmdir(machine_fs(desk.node.machine), "/more"), 0);
    move(&desk, "/elsewhere", "/more");
    desk_broker_start(&desk, 1);
    has_records(&desk, "b", 1);
    has_records(&desk, "c", 3);
    all_answer(&desk, "b", ERR_NONE);
    desk_end(&desk);
}

static int32_t leader_of(struct desk *desk, const char *topic)
{
    return metadata_ask(desk, 0, topic, 12).topics[0].partitions[0].leader_id;
}

/* Says that /more is lost for ever, while the broker runs. */
static void give_up_more(struct desk *desk, char text[LOG_DIRS_LOST_TEXT_LEN + 1])
{
    log_dirs_lost_text(desk->node.broker->dirs->entries[1].uuid, text);
    desk->node.settings[desk->node.setting_count++] =
        (struct conf_assignment){.name = "millrace.replaced.directory", .value = text};
}

/* Three starts, the first of them with what give_up_more() says: a goes on, and b is led by nobody.
 */
static void lives_without_b(struct desk *desk, int64_t records_of_a)
{
    for (uint16_t life = 1; life < 4; life++) {
        desk_broker_start(desk, life);
        desk_pass(desk, 1000);
        has_records(desk, "a", records_of_a++);
        write_to(desk, "a");
        assert_int_equal(leader_of(desk, "b"), -1);
        assert_int_equal(record_produce(desk, "b"), ERR_NOT_LEADER_OR_FOLLOWER);
        desk_broker_stop(desk);
        desk->node.setting_count -= life == 1;
    }
}

/* What was in it is lost, and nobody makes it anew before somebody asks for that; the rest goes on,
 * and the new one serves. */
static void a_lost_one_is_replaced(void **state)
{
    (void)state;
    struct desk desk;
    char text[LOG_DIRS_LOST_TEXT_LEN + 1];
    begin_with_two(&desk);
    write_to(&desk, "a");
    write_to(&desk, "b");
    restart_without_more(&desk);
    all_answer(&desk, "b", ERR_KAFKA_STORAGE_ERROR);
    give_up_more(&desk, text);
    desk_broker_stop(&desk);
    lives_without_b(&desk, 1);
    desk_broker_start(&desk, 1);
    topic_delete(&desk, "b");
    make_in(&desk, 1, "b");
    write_to(&desk, "b");
    desk_end(&desk);
}

/* What has been made since then is there, though nothing was ever written to it. */
static void one_was_lost_long_ago(void **state)
{
    (void)state;
    struct desk desk;
    char text[LOG_DIRS_LOST_TEXT_LEN + 1];
    begin(&desk, "/data,/more");
    give_up_more(&desk, text);
    restart_without_more(&desk);
    make(&desk, "a");
    desk_broker_stop(&desk);
    desk_broker_start(&desk, 1);
    assert_int_equal(leader_of(&desk, "a"), 1);
    make(&desk, "b");
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 1);
    desk_pass(&desk, 1000);
    assert_int_equal(leader_of(&desk, "a"), 1);
    assert_int_equal(leader_of(&desk, "b"), 1);
    desk_end(&desk);
}

/* Without another one in its place. */
static void a_lost_one_is_left_out(void **state)
{
    (void)state;
    struct desk desk;
    char text[LOG_DIRS_LOST_TEXT_LEN + 1];
    begin_with_two(&desk);
    give_up_more(&desk, text);
    desk_broker_stop(&desk);
    desk.node.setting_count--;
    desk.node.log_dirs = "/data";
    start_is_refused(&desk, text);
    struct conf_assignment *given = &desk.node.settings[desk.node.setting_count++];
    given->value = text + strlen(LOG_DIRS_LOST); /* that says that all are lost */
    start_is_refused(&desk, text);
    given->value = text;
    lives_without_b(&desk, 0);
    desk_broker_start(&desk, 1);
    desk_end(&desk);
}

static void deleted_while_it_was_away(void **state)
{
    (void)state;
    struct desk desk;
    begin_with_two(&desk);
    write_to(&desk, "b");
    restart_without_more(&desk);
    topic_delete(&desk, "b");
    make_in(&desk, 0, "b");
    write_to(&desk, "b");
    desk_broker_stop(&desk);
    move(&desk, "/elsewhere", "/more");
    desk_broker_start(&desk, 1);
    has_records(&desk, "b", 1);
    assert_true(lies_in(&desk, 0, "b"));
    assert_false(lies_in(&desk, 1, "b"));
    desk_pass(&desk, 1000);
    struct fs_list list = {0};
    assert_true(fs_list(machine_fs(desk.node.machine), "/more/b-0", &list) < 0);
    desk_end(&desk);
}

static void the_one_with_the_metadata_is_needed(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, "/data,/more");
    make(&desk, "a");
    desk_broker_stop(&desk);
    move(&desk, "/data", "/elsewhere");
    start_is_refused(&desk, "/data is missing");
    desk.node.log_dirs = "/more";
    start_is_refused(&desk, "does not name /data any more");
    move(&desk, "/elsewhere", "/data");
    start_with(&desk, "/more,/data");
    fail_for_ever(&desk, "/data/");
    assert_int_equal(record_produce(&desk, "a"), ERR_KAFKA_STORAGE_ERROR);
    desk_until(&desk, desk_node_is_gone, &desk);
    assert_non_null(strstr(desk.node.failure, "/data/journal-0"));
    machine_disk_heal(desk.node.machine);
    desk_until(&desk, desk_is_alone, &desk);
    desk_broker_start(&desk, 1);
    desk_end(&desk);
}

static void one_more_and_never_one_less(void **state)
{
    (void)state;
    struct desk desk;
    begin_with_a_record(&desk);
    stop_and_set(&desk, "/more,/data");
    desk_broker_start(&desk, 1);
    make_in(&desk, 0, "b");
    write_to(&desk, "b");
    has_records(&desk, "a", 1);
    stop_and_set(&desk, "/data");
    start_is_refused(&desk, "does not name /more any more");
    move(&desk, "/data", "/x"); /* each where the other was */
    move(&desk, "/more", "/data");
    move(&desk, "/x", "/more");
    start_with(&desk, "/data,/more");
    has_records(&desk, "a", 1);
    has_records(&desk, "b", 1);
    assert_true(lies_in(&desk, 0, "b"));
    desk_end(&desk);
}

static bool is_ready_or_gone(void *argument)
{
    struct desk *desk = argument;
    return desk->node.ready || !node_runs(&desk->node);
}

/* Power goes in the middle of the start that makes the second one: at every call. */
static void one_more_in_spite_of_crashes(void **state)
{
    (void)state;
    for (uint32_t call = 1; call < 60; call++) {
        struct desk desk;
        begin_with_a_record(&desk);
        stop_and_set(&desk, "/data,/more");
        machine_crash_in_call(desk.node.machine, CRASH_POWER, call);
        if (node_start(&desk.node, 1))
            desk_until(&desk, is_ready_or_gone, &desk);
        assert_string_equal(desk.node.failure, "");
        machine_crash_in_call(desk.node.machine, CRASH_POWER, 0);
        if (node_runs(&desk.node))
            machine_crash(desk.node.machine, CRASH_POWER);
        desk_broker_start(&desk, 1);
        has_records(&desk, "a", 1);
        make_in(&desk, 1, "b");
        write_to(&desk, "b");
        desk_end(&desk);
    }
}

static void another_brokers_is_refused(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, "/data");
    stop_and_set(&desk, "/other");
    desk_broker_start(&desk, 1);
    stop_and_set(&desk, "/data,/other");
    start_is_refused(&desk, "each the only directory");
    start_with(&desk, "/data,/more");
    stop_and_set(&desk, "/data,/more,/other");
    start_is_refused(&desk, "of another broker");
    desk.node.log_dirs = "/data,/more"; /* a foreign disk where a known one should be */
    move(&desk, "/more", "/elsewhere");
    move(&desk, "/other", "/more");
    desk_broker_start(&desk, 1);
    assert_int_equal(describe(&desk, 1).error_code, ERR_KAFKA_STORAGE_ERROR);
    desk_end(&desk);
}

static void copy_file(struct desk *desk, const char *from, const char *to)
{
    struct fs *fs = machine_fs(desk->node.machine);
    char bytes[16384];
    int in = fs_open(fs, from, FS_READ);
    int out = fs_open(fs, to, FS_WRITE | FS_CREATE);
    assert_true(in >= 0 && out >= 0);
    int64_t len = fs_read(fs, in, bytes, sizeof(bytes), 0);
    assert_in_range(len, 1, sizeof(bytes) - 1);
    assert_int_equal(fs_write(fs, out, bytes, (size_t)len, 0), len);
    fs_close(fs, in);
    fs_close(fs, out);
}

/* cp -a of one that is known: it must not be taken for the one that was in use. */
static void a_copy_is_refused(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, "/data,/more");
    desk_broker_stop(&desk);
    assert_int_equal(fs_mkdir(machine_fs(desk.node.machine), "/copy"), 0);
    copy_file(&desk, "/more/millrace.meta", "/copy/millrace.meta");
    copy_file(&desk, "/more/directories", "/copy/directories");
    desk.node.log_dirs = "/data,/copy,/more";
    start_is_refused(&desk, "are the same log directory");
    start_with(&desk, "/data,/more");
    desk_end(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_log_goes_where_the_fewest_are),
        cmocka_unit_test(one_fails_and_the_others_go_on),
        cmocka_unit_test(one_is_missing_at_the_start),
        cmocka_unit_test(a_lost_one_is_replaced),
        cmocka_unit_test(one_was_lost_long_ago),
        cmocka_unit_test(a_lost_one_is_left_out),
        cmocka_unit_test(deleted_while_it_was_away),
        cmocka_unit_test(the_one_with_the_metadata_is_needed),
        cmocka_unit_test(one_more_and_never_one_less),
        cmocka_unit_test(one_more_in_spite_of_crashes),
        cmocka_unit_test(another_brokers_is_refused),
        cmocka_unit_test(a_copy_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
