/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that fills up under a producer keeps its reserve (core/log/disk_room.h): what is left is
 * enough for a stop and a start, and there are no refusals before it is needed.
 */
#include "tests/unit/sim/desk_topics.h"

#define MIB       (1ULL << 20)
#define RESERVE   (64 * MIB) /* the broker's */
#define FREE      (RESERVE + 60 * MIB)
#define TOLERANCE (16 * MIB) /* accepted before the disk has answered for the first time */
#define JOURNALS  (32 * MIB) /* what they grow meanwhile */
#define VALUE     200000U
#define TRIES     1000U

static struct desk desk;
static struct batch_builder builder;
static struct deflater deflater;
static uint8_t value[VALUE];

static uint64_t free_bytes(void)
{
    struct fs_space space;
    assert_int_equal(fs_space(machine_fs(desk.node.machine), "/", &space), 0);
    return space.free_bytes;
}

static enum err produce(void)
{
    const uint8_t *bytes;
    batch_builder_start(&builder);
    batch_builder_add(&builder, 1000, BYTES_NULL,
                      (struct bytes_or_null){.data = value, .len = sizeof(value)}, NULL, 0);
    size_t len = batch_builder_finish(&builder, &deflater, CODEC_NONE, 1, &bytes);
    return (enum err)batch_produce(&desk, "topic", 7, bytes, len).error_code;
}

static void begin(const char *mistake)
{
    desk_mistake = mistake;
    desk_begin(&desk, 1);
    desk_set(&desk, "connections.max.idle.ms", "-1");
    desk.node.tail_bytes = 16 * MIB;
    desk.node.segment_bytes = (int32_t)(32 * MIB);
    desk_broker_start(&desk, 2);
    batch_builder_init(&builder);
    deflater_init(&deflater);
    TOPIC(&desk, "topic");
    machine_disk_free(desk.node.machine, FREE);
}

static void end(void)
{
    batch_builder_fini(&builder);
    deflater_fini(&deflater);
    desk_end(&desk);
    desk_mistake = NULL;
}

/* Until it is refused; what was least free meanwhile. */
static uint64_t fill(uint32_t *accepted, enum err *refusal)
{
    uint64_t least = free_bytes();
    *refusal = ERR_NONE;
    for (*accepted = 0; *accepted < TRIES; ++*accepted) {
        *refusal = produce();
        least = min_u64(least, free_bytes());
        if (*refusal != ERR_NONE)
            break;
    }
    desk_pass(&desk, 10000); /* whatever was accepted comes to its segment */
    return min_u64(least, free_bytes());
}

static void a_reserve_is_kept(void **state)
{
    (void)state;
    uint32_t accepted;
    enum err refusal;
    begin(NULL);
    uint64_t least = fill(&accepted, &refusal);
    assert_int_equal(refusal, ERR_KAFKA_STORAGE_ERROR);
    assert_in_range(least, RESERVE - TOLERANCE, RESERVE + MIB);
    assert_in_range(accepted * VALUE, FREE - RESERVE - JOURNALS, FREE - RESERVE + TOLERANCE);
    desk_broker_stop(&desk);
    desk_broker_start(&desk, 2);
    assert_in_range(fill(&accepted, &refusal), RESERVE - TOLERANCE, RESERVE + MIB);
    assert_int_equal(refusal, ERR_KAFKA_STORAGE_ERROR);
    machine_disk_free(desk.node.machine, FREE);
    desk_pass(&desk, 2000);
    assert_int_equal(produce(), ERR_NONE);
    end();
}

static void it_is_not_kept_by_asking_now_and_then(void **state)
{
    (void)state;
    uint32_t accepted;
    enum err refusal;
    begin("disk_room.not_counted");
    assert_true(fill(&accepted, &refusal) < RESERVE - TOLERANCE);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reserve_is_kept),
        cmocka_unit_test(it_is_not_kept_by_asking_now_and_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
