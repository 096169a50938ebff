/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a log from its file, one answer after another: what is read ahead is what the next answer
 * needs, no more than once, and never what a truncation has taken back.
 */
#include "io/mem.h"
#include "tests/unit/sim/one_log.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCHES 600U
#define SIZE    8000U
#define CUT     300 /* the offset of the truncation */
#define STOP    270 /* where the first reader stops: what it was to read next is in memory */
#define ANSWER  100000U
#define HOLDERS 4U

/* `tags` of the batches that are there, by offset. */
struct reading {
    struct one_log one;
    struct timer timer;
    void (*next)(struct reading *rd); /* when what is under way is done */
    struct log_append appends[BATCHES];
    struct piece pieces[BATCHES];
    uint8_t *bytes;
    uint64_t tags[BATCHES];
    uint32_t asked;
    uint32_t durable;
    struct log_change change;
    struct log_find find;
    struct log_pin pin;
    struct log_check check;
    uint8_t *got;
    uint32_t got_bytes;
    int64_t offset;
    int64_t upto;
    uint64_t cold_before;
    uint64_t cold; /* of the last reading */
    uint32_t answers;
    bool stale; /* a batch was not what was written last */
    bool holds;
    struct log_range places[HOLDERS];
    struct log_pin holders[HOLDERS];
    uint32_t found;
    uint32_t held;
};

/* ---- appending ---- */

static void appended(struct log_append *append)
{
    struct reading *rd = append->user;
    assert_int_equal(append->verdict, LOG_OK);
    if (++rd->durable == rd->asked)
        rd->next(rd);
}

static void append(struct reading *rd, uint32_t offset, uint64_t tag)
{
    uint8_t *bytes = rd->bytes + offset * SIZE;
    rd->tags[offset] = tag;
    test_batch(bytes, SIZE, tag, 1, -1, -1, -1);
    one_log_append(&rd->one, &rd->appends[offset], &rd->pieces[offset], bytes, SIZE, appended, rd);
}

static void append_all(struct reading *rd, uint32_t from, uint64_t tag)
{
    rd->asked = BATCHES - from;
    rd->durable = 0;
    for (uint32_t i = from; i < BATCHES; i++)
        append(rd, i, tag + i);
}

/* So that it is in the segment, and the tail has forgotten most of it. */
static void later(struct reading *rd, void (*next)(struct reading *rd))
{
    rd->next = next;
    timer_set(rd->one.sh, &rd->timer, io_now_ns(rd->one.sh->io) + 20 * S);
}

static void on_timer(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct reading *rd = container_of(timer, struct reading, timer);
    rd->next(rd);
}

/* ---- reading ---- */

static uint64_t cold_bytes(const struct reading *rd)
{
    struct log_counts counts;
    log_shard_counts(rd->one.ls, &counts);
    return counts.cold_bytes;
}

static void look_for(struct reading *rd);
static void look_for_place(struct reading *rd);

static void batches_check(struct reading *rd)
{
    uint8_t *expected = mem_alloc(SIZE);
    assert_true(rd->got_bytes >= SIZE);
    for (uint32_t at = 0; at + SIZE <= rd->got_bytes; at += SIZE) {
        test_batch(expected, SIZE, rd->tags[rd->offset], 1, -1, -1, -1);
        rd->stale |= memcmp(expected + BATCH_HEADER_SIZE, rd->got + at + BATCH_HEADER_SIZE,
                            SIZE - BATCH_HEADER_SIZE) != 0;
        rd->offset++;
    }
    mem_free(expected);
}

static void read_on(struct reading *rd);

static void pinned(struct log_pin *pin)
{
    struct reading *rd = container_of(pin, struct reading, pin);
    assert_int_equal(pin->verdict, LOG_OK);
    for (uint32_t i = 0; i < pin->pieces; i++) {
        memcpy(rd->got + rd->got_bytes, pin->iov[i].iov_base, pin->iov[i].iov_len);
        rd->got_bytes += (uint32_t)pin->iov[i].iov_len;
    }
    log_unpin(pin);
    read_on(rd);
}

static void read_on(struct reading *rd)
{
    if (rd->got_bytes < rd->find.range.length) {
        rd->pin = (struct log_pin){.done = pinned, .check = &rd->check};
        if (log_pin(rd->one.lg, &rd->find.range, rd->got_bytes, 1U << 20, &rd->pin))
            pinned(&rd->pin);
        return;
    }
    batches_check(rd);
    mem_free(rd->got);
    rd->got = NULL;
    look_for(rd);
}

static void found(struct log_find *find)
{
    struct reading *rd = container_of(find, struct reading, find);
    assert_int_equal(find->verdict, LOG_OK);
    assert_true(find->range.length > 0);
    rd->answers++;
    rd->got_bytes = 0;
    rd->check.begun = false;
    rd->got = mem_alloc(find->range.length);
    read_on(rd);
}

static void look_for(struct reading *rd)
{
    if (rd->offset >= rd->upto || rd->stale) {
        rd->cold = cold_bytes(rd) - rd->cold_before;
        rd->next(rd);
        return;
    }
    rd->find = (struct log_find){.offset = rd->offset,
                                 .upto_offset = INT64_MAX,
                                 .bytes_max = ANSWER,
                                 .one_at_least = true,
                                 .done = found};
    if (log_find(rd->one.lg, &rd->find))
        found(&rd->find);
}

static void read_from(struct reading *rd, int64_t offset, int64_t upto,
                      void (*next)(struct reading *rd))
{
    rd->next = next;
    rd->offset = offset;
    rd->upto = upto;
    rd->answers = 0;
    rd->cold_before = cold_bytes(rd);
    look_for(rd);
}

/* ---- the story ---- */

static void at_end(struct reading *rd)
{
    rd->one.done = true;
}

static void read_what_is_new(struct reading *rd)
{
    read_from(rd, STOP, BATCHES, at_end);
}

static void written_again(struct reading *rd)
{
    later(rd, read_what_is_new);
}

static void truncated(struct log_change *change)
{
    struct reading *rd = container_of(change, struct reading, change);
    assert_int_equal(change->verdict, LOG_OK);
    rd->next = written_again;
    append_all(rd, CUT, 1000000);
}

static void truncate(struct reading *rd)
{
    /* Nothing was read twice, but for the block at the end of an answer or two and headers. */
    printf("%u answers, %llu KiB for %u KiB\n", rd->answers, (unsigned long long)rd->cold >> 10,
           STOP * SIZE >> 10);
    assert_true(rd->answers > STOP * SIZE / ANSWER / 2);
    assert_true(rd->cold < STOP * SIZE + (3U << 20) / 2);
    rd->change = (struct log_change){.done = truncated};
    log_truncate(rd->one.lg, &rd->change, CUT);
}

static void read_what_is_old(struct reading *rd)
{
    read_from(rd, 0, STOP, truncate);
}

static void written(struct reading *rd)
{
    later(rd, rd->holds ? look_for_place : read_what_is_old);
}

/* ---- memory ----
 *
 * Of four blocks the first holder's pin has one, what was read ahead for it another, the next two
 * holders the rest. The last one waits, and nobody gives anything back: it gets what was read ahead
 * as soon as that is no longer being read. */

static void held(struct log_pin *pin)
{
    struct reading *rd = pin->user;
    assert_int_equal(pin->verdict, LOG_OK);
    rd->held++;
}

static void hold(struct reading *rd, uint32_t number, void (*done)(struct log_pin *pin))
{
    struct log_pin *pin = &rd->holders[number];
    *pin = (struct log_pin){.done = done, .user = rd};
    assert_false(log_pin(rd->one.lg, &rd->places[number], 0, 1U << 20, pin));
}

static void first_held(struct log_pin *pin)
{
    struct reading *rd = pin->user;
    held(pin);
    for (uint32_t i = 1; i < HOLDERS; i++)
        hold(rd, i, held);
}

static void all_held(struct reading *rd)
{
    for (uint32_t i = 0; i < HOLDERS; i++)
        log_unpin(&rd->holders[i]);
    at_end(rd);
}

static void place_found(struct log_find *find)
{
    struct reading *rd = container_of(find, struct reading, find);
    assert_int_equal(find->verdict, LOG_OK);
    rd->places[rd->found++] = find->range;
    look_for_place(rd);
}

static void look_for_place(struct reading *rd)
{
    if (rd->found == HOLDERS) {
        later(rd, all_held);
        hold(rd, 0, first_held);
        return;
    }
    rd->find = (struct log_find){.offset = 100 * rd->found,
                                 .upto_offset = INT64_MAX,
                                 .bytes_max = ANSWER,
                                 .one_at_least = true,
                                 .done = place_found};
    if (log_find(rd->one.lg, &rd->find))
        place_found(&rd->find);
}

static void begin(struct one_log *one)
{
    struct reading *rd = container_of(one, struct reading, one);
    rd->timer = (struct timer){.fn = on_timer, .name = "script"};
    rd->next = written;
    append_all(rd, 0, 1);
}

/* To be freed. */
static struct reading *play(bool holds, uint64_t cold_bytes, const char *mutation)
{
    struct reading *rd = calloc(1, sizeof(*rd));
    rd->holds = holds;
    rd->bytes = calloc(BATCHES, SIZE);
    one_log_init(&rd->one, 1U << 20, cold_bytes, mutation);
    one_log_run(&rd->one, begin, 200 * S);
    free(rd->bytes);
    return rd;
}

static bool is_stale(const char *mutation)
{
    struct reading *rd = play(false, 4U << 20, mutation);
    bool stale = rd->stale;
    free(rd);
    return stale;
}

static void what_was_cut_is_not_read(void **state)
{
    (void)state;
    assert_false(is_stale(NULL));
}

static void and_would_be_noticed(void **state)
{
    (void)state;
    assert_true(is_stale("read_ahead.outlives_a_cut"));
}

static void who_waits_for_memory_gets_what_was_read_ahead(void **state)
{
    (void)state;
    struct reading *rd = play(true, 1U << 20, NULL);
    assert_int_equal(rd->held, HOLDERS);
    free(rd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_cut_is_not_read),
        cmocka_unit_test(and_would_be_noticed),
        cmocka_unit_test(who_waits_for_memory_gets_what_was_read_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
