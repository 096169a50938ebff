/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a log's segments, its indexes and its checkpoint entry, and a broker's log on top of
 * them. The input is a recipe (tests/fuzz/fuzz_disk.h): batches, damage in them, entries of .index
 * and .timeindex files, one log's entry of the checkpoint file, then questions.
 *
 * Beyond not crashing: a start that is refused says why; bytes that are handed out are the file's;
 * no whole batch whose checksum lies is among them; a stop after all that is clean, and the next
 * start finds the logs where they were.
 */
#include "core/log/log_directory.h"
#include "io/mem.h"
#include "tests/fuzz/fuzz_disk.h"

#include <stdlib.h>

#define SEGMENTS      3U
#define SEGMENT_BYTES (160U << 10)
#define QUESTIONS     8U
#define INDEX_BYTES   512U
#define SECOND        1000000000ULL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct file {
    int64_t base;
    uint8_t bytes[SEGMENT_BYTES];
    uint32_t size;
    uint8_t index[INDEX_BYTES];
    uint32_t index_len;
    uint8_t times[INDEX_BYTES];
    uint32_t times_len;
};

enum question_kind { ASK_OFFSET, ASK_TIMESTAMP, ASK_TIMESTAMP_MAX, TRUNCATE, SET_START, APPEND };

struct question {
    enum question_kind kind;
    int64_t offset;
    uint32_t bytes_max;
};

struct recipe {
    struct bytes_in in;
    struct file files[SEGMENTS];
    uint32_t file_count;
    int64_t next_offset;
    uint8_t entry[2048];
    uint32_t entry_len;
    struct question questions[QUESTIONS];
    uint32_t question_count;
};

/* The run: one shard, one log, one question after another. */
struct run {
    const struct recipe *re;
    struct log_dir *dir;
    struct log_shard *ls;
    struct shard *sh;
    struct log *lg;
    struct log_config config;
    bool refused;
    bool again;   /* the second start */
    bool changed; /* files are not what the recipe wrote */
    bool ended;
    uint32_t asked;
    uint32_t got; /* of the range */
    int64_t start_offset;
    int64_t end_offset;
    struct log_find find;
    struct log_pin pin;
    struct log_check check;
    struct log_change change;
    struct log_append append;
    struct piece piece;
    uint8_t batch[200];
    uint8_t range[SEGMENT_BYTES];
};

/* ---- cooking ---- */

static void put_batch(struct recipe *re, struct file *file)
{
    struct bytes_in *in = &re->in;
    uint8_t mask = take_u8(in);
    uint32_t size = BATCH_HEADER_SIZE + take_u8(in) * (mask & 0x80 ? 256U : 4U);
    if (size > SEGMENT_BYTES - file->size)
        return;
    uint8_t *to = file->bytes + file->size;
    int32_t count = 1 + (take_u8(in) & 7);
    test_batch(to, size, take_u8(in), count, -1, 0, -1);
    int64_t offset = (int64_t)fuzz_number(in, mask, 0, (uint64_t)re->next_offset);
    batch_put_place(to, offset, (int32_t)fuzz_number(in, mask, 1, 0));
    if (mask & 4)
        to[take_u8(in) % size] ^= take_u8(in);
    if (mask & 8) /* a length that lies */
        to[BATCH_AT_LENGTH + 3] = take_u8(in);
    re->next_offset = (int64_t)((uint64_t)offset + (uint64_t)count);
    file->size += size;
}

static void put_raw(struct recipe *re, struct file *file)
{
    uint8_t len = take_u8(&re->in);
    const uint8_t *bytes = take_bytes(&re->in, len);
    if (bytes == NULL || len > SEGMENT_BYTES - file->size)
        return;
    memcpy(file->bytes + file->size, bytes, len);
    file->size += len;
}

static void put_index(struct recipe *re, struct file *file)
{
    uint32_t pair[2] = {htobe32(take_u8(&re->in)), htobe32(take_u16(&re->in))};
    if (file->index_len + 8 > INDEX_BYTES)
        return;
    memcpy(file->index + file->index_len, pair, 8);
    file->index_len += 8;
}

static void put_time(struct recipe *re, struct file *file)
{
    uint32_t words[3] = {0, htobe32(take_u8(&re->in)), htobe32(take_u8(&re->in))};
    if (file->times_len + sizeof(words) > INDEX_BYTES)
        return;
    memcpy(file->times + file->times_len, words, sizeof(words));
    file->times_len += sizeof(words);
}

static void new_file(struct recipe *re)
{
    if (re->file_count == SEGMENTS || re->files[re->file_count - 1].size == 0)
        return;
    struct file *file = &re->files[re->file_count++];
    file->base = (int64_t)fuzz_number(&re->in, take_u8(&re->in) & 1, 0, (uint64_t)re->next_offset);
    file->size = 0;
    file->index_len = 0;
    file->times_len = 0;
}

static void put_entry(struct recipe *re, uint32_t anchor)
{
    const struct file *last = &re->files[re->file_count - 1];
    struct fuzz_log log = {.change = 9,
                           .anchor = anchor,
                           .segment_base = last->base,
                           .position = last->size,
                           .end_offset = re->next_offset};
    for (uint32_t i = 0; i + 1 < re->file_count; i++) {
        log.sealed_count++;
        log.sealed_bytes += re->files[i].size;
    }
    struct bytes_out out = bytes_out_of(re->entry, sizeof(re->entry));
    fuzz_entry(&re->in, &log, 0, &out);
    re->entry_len = (uint32_t)(out.at - re->entry);
}

static void put_question(struct recipe *re, uint8_t kind)
{
    if (re->question_count == QUESTIONS)
        return;
    struct question *question = &re->questions[re->question_count++];
    question->kind = (enum question_kind)(kind % (APPEND + 1));
    question->offset = take_u8(&re->in);
    question->bytes_max = take_u16(&re->in) * 4U;
}

static void cook(struct recipe *re, const uint8_t *data, size_t size)
{
    re->in = bytes_in_of(data, size);
    re->file_count = 1;
    re->files[0].base = 0;
    re->files[0].size = 0;
    re->files[0].index_len = 0;
    re->files[0].times_len = 0;
    re->next_offset = 0;
    re->entry_len = 0;
    re->question_count = 0;
    while (re->in.at < re->in.end) {
        uint8_t op = take_u8(&re->in);
        struct file *file = &re->files[re->file_count - 1];
        if ((op & 7) < 3)
            put_batch(re, file);
        else if ((op & 7) == 3)
            put_raw(re, file);
        else if ((op & 7) == 4 && (op & 8))
            put_time(re, file);
        else if ((op & 7) == 4)
            put_index(re, file);
        else if ((op & 7) == 5)
            new_file(re);
        else if ((op & 7) == 6)
            put_entry(re, op & 8 ? LOG_NO_ANCHOR : 0);
        else
            put_question(re, op >> 3);
    }
    if (re->entry_len == 0) /* the right one; a start looks into the segment, or does not */
        put_entry(re, size & 1 ? LOG_NO_ANCHOR : 0);
}

/* ---- serving it ---- */

static void write_files(const struct recipe *re, struct log_dir *dir)
{
    struct fs *fs = dir->fs;
    char path[128];
    uint8_t *identity = mem_pages(FS_BLOCK);
    struct log_id id = fuzz_id(0);
    log_identity_encode(identity, dir->uuid, &id, FUZZ_INCARNATION);
    must(log_directory_claim(fs, FUZZ_DIRECTORY "/t-0", identity) == 0);
    mem_pages_free(identity, FS_BLOCK);
    for (uint32_t i = 0; i < re->file_count; i++) {
        const struct file *file = &re->files[i];
        if (file->base < 0)
            continue;
        (void)snprintf(path, sizeof(path), FUZZ_DIRECTORY "/t-0/%020lld.log",
                       (long long)file->base);
        fuzz_file(fs, path, file->bytes, file->size);
        (void)snprintf(path, sizeof(path), FUZZ_DIRECTORY "/t-0/%020lld.index",
                       (long long)file->base);
        fuzz_file(fs, path, file->index, file->index_len);
        (void)snprintf(path, sizeof(path), FUZZ_DIRECTORY "/t-0/%020lld.timeindex",
                       (long long)file->base);
        fuzz_file(fs, path, file->times, file->times_len);
    }
    uint8_t payload[sizeof(re->entry) + 4];
    struct bytes_out out = bytes_out_of(payload, sizeof(payload));
    put_u32(&out, re->entry_len);
    put_bytes(&out, re->entry, re->entry_len);
    const struct record_payload one = {.data = payload, .length = re->entry_len + 4};
    struct record_file rf;
    struct log_error error;
    must(record_file_create(&rf, fs, FUZZ_DIRECTORY "/checkpoint-0", CHECKPOINT_MAGIC, dir->uuid, 1,
                            &one, 1, &error));
    record_file_close(&rf);
}

static void *prepare(struct fs *fs, void *argument, bool *failed)
{
    struct run *run = argument;
    struct log_dir_options options = fuzz_options(fs, 1);
    struct log_error error;
    run->dir = log_dir_open(&options, &error);
    must(run->dir != NULL);
    if (!run->again)
        write_files(run->re, run->dir);
    run->refused = !log_dir_recover(run->dir, &error);
    if (run->refused) {
        must(error.kind != LOG_ERROR_NONE && error.kind != LOG_ERROR_IO && error.text[0] != '\0');
        must(!run->again); /* what one start takes, the next one takes */
        log_dir_close(run->dir);
    }
    *failed = run->refused;
    return run;
}

static void on_stopped(void *argument)
{
    struct run *run = argument;
    if (run->lg != NULL)
        log_free(run->lg);
    log_shard_free(run->ls);
    run->ended = true;
    shard_stop(run->sh);
}

static void ask(struct run *run);

/* What came of one range: batches that are what they say, but for the last, which may be cut. */
static void judge(const struct run *run)
{
    uint32_t at = 0;
    while (run->got - at >= BATCH_HEADER_SIZE) {
        struct batch_header header;
        batch_header_of(&header, run->range + at);
        int64_t size = batch_size(&header);
        must(size >= BATCH_HEADER_SIZE && header.magic == BATCH_MAGIC);
        if (size > run->got - at)
            return;
        must(fuzz_crc(run->range + at + BATCH_CRC_FROM, (size_t)size - BATCH_CRC_FROM) ==
             header.crc);
        at += (uint32_t)size;
    }
}

static void read_on(struct run *run);

static void on_pin(struct log_pin *pin)
{
    struct run *run = container_of(pin, struct run, pin);
    if (pin->verdict != LOG_OK) {
        must(pin->verdict == LOG_CORRUPT || pin->verdict == LOG_CLOSED);
        must(pin->verdict == LOG_CORRUPT || run->changed);
        ask(run);
        return;
    }
    must(pin->length > 0 && pin->length <= run->find.range.length - run->got);
    for (uint32_t i = 0; i < pin->pieces; i++) {
        memcpy(run->range + run->got, pin->iov[i].iov_base, pin->iov[i].iov_len);
        run->got += (uint32_t)pin->iov[i].iov_len;
    }
    log_unpin(pin);
    read_on(run);
}

static void read_on(struct run *run)
{
    if (run->got < run->find.range.length) {
        run->pin.done = on_pin;
        run->pin.check = &run->check;
        if (log_pin(run->lg, &run->find.range, run->got, 70000, &run->pin))
            on_pin(&run->pin);
        return;
    }
    judge(run);
    ask(run);
}

static void on_find(struct log_find *find)
{
    struct run *run = container_of(find, struct run, find);
    run->got = 0;
    run->check.begun = false;
    if (find->verdict == LOG_OK && find->range.length > 0) {
        must(find->range.length <= SEGMENT_BYTES);
        read_on(run);
    } else {
        must(find->verdict == LOG_OK || find->verdict == LOG_CORRUPT ||
             find->verdict == LOG_OUT_OF_RANGE);
        ask(run);
    }
}

static void on_change(struct log_change *change)
{
    ask(container_of(change, struct run, change));
}

static void on_append(struct log_append *op)
{
    must(op->verdict == LOG_OK);
    ask(container_of(op, struct run, append));
}

static void append(struct run *run)
{
    test_batch(run->batch, sizeof(run->batch), 1, 1, -1, 0, -1);
    run->append = (struct log_append){.batch = span_of(&run->piece, run->batch, sizeof(run->batch)),
                                      .leader_epoch = INT32_MAX, /* they never go down */
                                      .append_time_ms = -1,
                                      .max_timestamp = LOG_KEEP,
                                      .done = on_append};
    enum log_verdict verdict = log_append(run->lg, &run->append);
    must(verdict == LOG_OK || verdict == LOG_WAIT);
}

static void ask(struct run *run)
{
    run->start_offset = run->lg->start_offset;
    run->end_offset = run->lg->end_offset;
    if (run->asked == run->re->question_count) {
        log_shard_stop(run->ls, on_stopped, run);
        return;
    }
    const struct question *question = &run->re->questions[run->asked++];
    run->find = (struct log_find){.offset = question->kind == ASK_OFFSET ? question->offset : 0,
                                  .upto_offset = question->bytes_max & 4 ? question->bytes_max % 257
                                                                         : INT64_MAX,
                                  .bytes_max = question->bytes_max,
                                  .one_at_least = (question->bytes_max & 8) != 0,
                                  .done = on_find};
    run->change = (struct log_change){.done = on_change};
    bool now = false;
    switch (question->kind) {
    case ASK_OFFSET:
        now = log_find(run->lg, &run->find);
        break;
    case ASK_TIMESTAMP:
        now = log_find_timestamp(run->lg, &run->find, question->offset);
        break;
    case ASK_TIMESTAMP_MAX:
        now = log_find_timestamp_max(run->lg, &run->find);
        break;
    case TRUNCATE:
        run->changed = true;
        log_truncate(run->lg, &run->change, max_i64(question->offset, run->lg->start_offset));
        break;
    case SET_START:
        run->changed = true;
        log_start_set(run->lg, &run->change, question->offset);
        break;
    case APPEND:
        run->changed = true;
        append(run);
        break;
    }
    if (now)
        on_find(&run->find);
}

static void start(struct shard *sh, void *prepared)
{
    struct run *run = prepared;
    run->sh = sh;
    run->ls = log_shard_start(run->dir, sh);
    run->lg = NULL;
    if (run->dir->recovered_count > 0) {
        struct recovered_log *recovered = &run->dir->recovered[0];
        if (run->again)
            must(recovered->start_offset == run->start_offset &&
                 recovered->end_offset == run->end_offset);
        run->lg = log_adopt(run->ls, recovered, &run->config);
    }
    if (run->lg == NULL || run->again)
        log_shard_stop(run->ls, on_stopped, run);
    else
        ask(run);
}

static void end(void *prepared)
{
    log_dir_close(((struct run *)prepared)->dir);
}

static bool has_ended(void *argument)
{
    return ((const struct run *)argument)->ended;
}

static bool serve(struct fuzz_disk *disk, struct run *run)
{
    const struct program program = {.name = "log",
                                    .shards = 1,
                                    .prepare = prepare,
                                    .start = start,
                                    .stop = end,
                                    .argument = run};
    run->ended = false;
    struct process *process = machine_start(disk->machine, &program);
    if (process == NULL)
        return false;
    must(world_run_until(disk->world, has_ended, run, world_now_ns(disk->world) + 100 * SECOND));
    world_run(disk->world, world_now_ns(disk->world) + SECOND / 100);
    must(process_state(process) == PROCESS_STOPPED && process_memory(process) == 0);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct recipe re;
    static struct run run;
    cook(&re, data, size);
    memset(&run, 0, offsetof(struct run, range));
    run.re = &re;
    run.config = log_config_default;
    struct fuzz_disk disk;
    fuzz_disk_open(&disk);
    if (serve(&disk, &run)) {
        run.again = true;
        (void)serve(&disk, &run);
    }
    world_free(disk.world);
    return 0;
}
