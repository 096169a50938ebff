/* SPDX-License-Identifier: Apache-2.0
 *
 * DescribeLogDirs: how many bytes each partition has in which directory, and how much room its disk
 * has. A directory that is offline says so and nothing else. In tags of our own: segments, what is
 * known to be damaged, and the bytes of files of segments that are gone.
 *
 * The rows are laid out first, by this shard's image. Then every shard fills in those of its own
 * partitions, each in the pieces of time that it has, while a helper thread asks the file systems;
 * at last the rows are sorted into directories, one directory per step.
 */
#include "core/api/api.h"
#include "core/log/recycle.h"

#include <string.h>

#define LAY_OUT_ITEMS 64U /* per step */
#define FILL_ITEMS    64U /* between looks at the clock */
#define NOT_HERE      UINT32_MAX

struct row {
    struct partition_key key;
    uint16_t home;
    uint32_t dir; /* NOT_HERE: it lies on other brokers, or its directory is offline */
    int64_t size;
    struct log_storage storage;
};

/* The rows of one topic. */
struct row_topic {
    struct str name;
    uint32_t first;
    uint32_t count;
};

struct room {
    struct fs_space space;
    uint64_t recycled_bytes;
    int result;
};

struct describe;

/* To one shard and back. */
struct visit {
    struct mail mail;
    struct task task;
    struct describe *op;
    uint32_t next;
};

struct describe {
    struct api_work work;
    struct request *q;
    struct describe_log_dirs_request request;
    struct describe_log_dirs_response response;
    struct row *rows;
    uint32_t row_count;
    uint32_t rows_size;
    struct row_topic *topics;
    uint32_t topic_count;
    int32_t topic; /* the next one: of the request, or of the image */
    bool failed;

    struct visit *visits; /* [shards] */
    struct io_op space_op;
    const struct log_dirs *dirs; /* and the next: also for the helper thread, which may not touch
                                    the shard */
    struct fs *fs;
    struct room *rooms; /* [directories] */
    uint32_t waiting;
    struct task sort;
};

/* ---- the answer, when all is known ---- */

static bool add_partitions(struct describe *op, struct describe_log_dirs_response_topic *out,
                           const struct row_topic *topic, uint32_t dir)
{
    out->partitions = arena_array(&op->q->arena, topic->count, sizeof(*out->partitions));
    if (!out->partitions)
        return false;
    for (uint32_t i = topic->first; i < topic->first + topic->count; i++) {
        struct describe_log_dirs_response_partition *at = &out->partitions[out->partitions_count];
        if (op->rows[i].dir != dir)
            continue;
        out->partitions_count++;
        init_describe_log_dirs_response_partition(at);
        at->partition_index = op->rows[i].key.partition;
        at->partition_size = op->rows[i].size;
        at->segments = (int32_t)op->rows[i].storage.segments;
        at->damaged_batches = (int32_t)op->rows[i].storage.damaged;
    }
    return true;
}

static bool lies_in(const struct describe *op, const struct row_topic *topic, uint32_t dir)
{
    for (uint32_t i = topic->first; i < topic->first + topic->count; i++)
        if (op->rows[i].dir == dir)
            return true;
    return false;
}

static bool fill_dir(struct describe *op, uint32_t dir)
{
    struct describe_log_dirs_response_result *out = &op->response.results[dir];
    uint32_t count = 0;
    for (uint32_t i = 0; i < op->topic_count; i++)
        count += lies_in(op, &op->topics[i], dir);
    out->topics = arena_array(&op->q->arena, count, sizeof(*out->topics));
    if (!out->topics && count > 0)
        return false;
    for (uint32_t i = 0; i < op->topic_count; i++) {
        if (!lies_in(op, &op->topics[i], dir))
            continue;
        struct describe_log_dirs_response_topic *topic = &out->topics[out->topics_count++];
        init_describe_log_dirs_response_topic(topic);
        topic->name = op->topics[i].name;
        if (!add_partitions(op, topic, &op->topics[i], dir))
            return false;
    }
    if (op->rooms[dir].result >= 0) {
        out->total_bytes = (int64_t)op->rooms[dir].space.total_bytes;
        out->usable_bytes = (int64_t)op->rooms[dir].space.free_bytes;
        out->recycled_bytes = (int64_t)op->rooms[dir].recycled_bytes;
    }
    return true;
}

static bool is_offline(const struct describe *op, uint32_t dir)
{
    const struct log_shard *ls = api_shard(op->q)->logs.of[dir];
    return ls == NULL || log_shard_offline(ls);
}

static void sort_step(struct shard *sh, struct task *task)
{
    struct describe *op = container_of(task, struct describe, sort);
    const uint32_t dir = (uint32_t)op->response.results_count;
    struct describe_log_dirs_response_result *out = &op->response.results[dir];
    init_describe_log_dirs_response_result(out);
    out->log_dir = str_of(op->dirs->entries[dir].path);
    if (is_offline(op, dir)) {
        out->error_code = ERR_KAFKA_STORAGE_ERROR;
    } else if (!fill_dir(op, dir)) {
        api_malformed(op->q);
        return;
    }
    if ((uint32_t)++op->response.results_count < op->dirs->count)
        shard_ready(sh, task);
    else
        api_work_answer(&op->work, KAFKA_DESCRIBE_LOG_DIRS_RESPONSE, &op->response);
}

static void one_less(struct describe *op)
{
    if (--op->waiting == 0)
        sort_step(op->q->conn->net->sh, &op->sort);
}

/* ---- sizes, on each shard ---- */

static void on_visited(struct shard *here, struct mail *mail)
{
    (void)here;
    one_less(container_of(mail, struct visit, mail)->op);
}

static void fill_row(const struct broker_shard *bs, struct row *row)
{
    const struct partition *pt = partition_find(&bs->partitions, &row->key);
    if (!pt)
        return;
    row->size = (int64_t)pt->log->size_bytes;
    log_storage_look(pt->log, &row->storage);
    for (uint32_t i = 0; i < bs->broker->dirs->count; i++)
        if (pt->log->home == bs->logs.of[i])
            row->dir = i;
}

static void visit_step(struct shard *sh, struct task *task)
{
    struct visit *visit = container_of(task, struct visit, task);
    const struct describe *op = visit->op;
    const uint64_t began_ns = io_clock_ns(sh->io);
    while (visit->next < op->row_count) {
        struct row *row = &op->rows[visit->next++];
        if (row->home == sh->id)
            fill_row(broker_shard_of(sh), row);
        if (visit->next % FILL_ITEMS == 0 && shard_should_yield(sh, began_ns)) {
            shard_ready(sh, task);
            return;
        }
    }
    if (op->q->conn->net->sh == sh)
        one_less(visit->op);
    else
        shard_answer(sh, &visit->mail, on_visited);
}

static void on_visit(struct shard *here, struct mail *mail)
{
    struct visit *visit = container_of(mail, struct visit, mail);
    visit_step(here, &visit->task);
}

/* On a helper thread. */
static void ask_space(void *argument)
{
    struct describe *op = argument;
    for (uint32_t i = 0; i < op->dirs->count; i++) {
        const struct log_dir *dir = op->dirs->entries[i].dir;
        struct room *room = &op->rooms[i];
        room->result = dir ? fs_space(op->fs, dir->path, &room->space) : -1;
        if (!dir)
            continue;
        const struct recycle_pool pool = log_dir_pool(dir);
        room->recycled_bytes = recycle_bytes(&pool);
    }
}

static void on_space(struct io_op *op)
{
    one_less(container_of(op, struct describe, space_op));
}

static void laid_out(struct api_work *work)
{
    struct describe *op = container_of(work, struct describe, work);
    const struct broker_shard *bs = api_shard(op->q);
    const uint16_t shards = bs->broker->shard_count;
    struct arena *arena = &op->q->arena;
    op->visits = arena_array(arena, shards, sizeof(*op->visits));
    op->rooms = arena_array(arena, op->dirs->count, sizeof(*op->rooms));
    op->response.results = arena_array(arena, op->dirs->count, sizeof(*op->response.results));
    if (!op->visits || !op->rooms || !op->response.results || op->failed) {
        api_malformed(op->q);
        return;
    }
    op->waiting = shards + 1U;
    op->sort = (struct task){.fn = sort_step, .name = "log_dirs"};
    op->space_op.done = on_space;
    io_work(bs->sh->io, &op->space_op, ask_space, op);
    for (uint16_t i = 0; i < shards; i++) {
        op->visits[i] = (struct visit){.op = op, .task = {.fn = visit_step, .name = "log_dirs"}};
        if (i == bs->sh->id)
            visit_step(bs->sh, &op->visits[i].task);
        else
            shard_post(bs->sh, i, &op->visits[i].mail, on_visit);
    }
}

/* ---- rows ---- */

static bool rows_reserve(struct describe *op, uint32_t more)
{
    if (op->rows_size - op->row_count >= more)
        return true;
    uint32_t size = (op->row_count + more) * 2;
    struct row *rows = arena_array(&op->q->arena, size, sizeof(*rows));
    if (!rows)
        return false;
    if (op->row_count > 0)
        memcpy(rows, op->rows, op->row_count * sizeof(*rows));
    op->rows = rows;
    op->rows_size = size;
    return true;
}

static void add_row(struct describe *op, const struct topic_image *topic, int32_t partition)
{
    const struct partition_image *image = image_partition(topic, partition);
    if (!image)
        return;
    op->rows[op->row_count++] = (struct row){.key = {.topic_id = topic->id, .partition = partition},
                                             .home = image->home,
                                             .dir = NOT_HERE};
}

/* Some of its partitions; NULL: all. What does not exist is left out, as by Kafka. */
static bool add_topic(struct describe *op, const struct topic_image *topic,
                      const struct describe_log_dirs_request_topic *asked)
{
    if (!topic)
        return true;
    int32_t count = asked ? asked->partitions_count : (int32_t)topic->partition_count;
    struct row_topic *out = &op->topics[op->topic_count];
    *out = (struct row_topic){.first = op->row_count};
    out->name = str_of(arena_text(&op->q->arena, topic->name)); /* the image may go before it */
    if (out->name.len < 0 || !rows_reserve(op, (uint32_t)count))
        return false;
    for (int32_t i = 0; i < count; i++)
        add_row(op, topic, asked ? asked->partitions[i] : i);
    out->count = op->row_count - out->first;
    op->topic_count++;
    return true;
}

static int32_t topics_asked(const struct describe *op)
{
    return op->request.topics_count >= 0 ? op->request.topics_count
                                         : (int32_t)op->work.image->topic_count;
}

static bool lay_out(struct api_work *work)
{
    struct describe *op = container_of(work, struct describe, work);
    const struct image *image = work->image;
    const uint32_t rows_until = op->row_count + LAY_OUT_ITEMS;
    if (!op->topics) {
        op->topics = arena_array(&op->q->arena, (size_t)topics_asked(op), sizeof(*op->topics));
        op->failed = !op->topics;
    }
    for (uint32_t i = 0; i < LAY_OUT_ITEMS && op->row_count < rows_until; i++) {
        if (op->failed || op->topic == topics_asked(op))
            return false;
        const struct describe_log_dirs_request_topic *asked =
            op->request.topics_count >= 0 ? &op->request.topics[op->topic] : NULL;
        const struct topic_image *topic =
            asked ? image_topic_by_name(image, asked->topic.data, (size_t)asked->topic.len)
                  : image->topics[op->topic];
        op->topic++;
        op->failed = !add_topic(op, topic, asked);
    }
    return true;
}

void api_describe_log_dirs(struct broker_shard *bs, struct request *q)
{
    struct rd rd;
    struct describe *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    if (!read_describe_log_dirs_request(&rd, &q->arena, q->header.request_api_version,
                                        &op->request)) {
        api_malformed(q);
        return;
    }
    api_work_init(&op->work, q);
    op->q = q;
    init_describe_log_dirs_response(&op->response);
    if (!api_may(q, OPERATION_DESCRIBE, RESOURCE_CLUSTER, str_of("kafka-cluster"))) {
        op->response.error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
        api_answer(q, KAFKA_DESCRIBE_LOG_DIRS_RESPONSE, &op->response);
        return;
    }
    op->dirs = bs->broker->dirs;
    op->fs = bs->broker->options.fs;
    api_work_go(&op->work, lay_out, laid_out);
}
