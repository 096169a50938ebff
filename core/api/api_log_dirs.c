/* SPDX-License-Identifier: Apache-2.0
 *
 * DescribeLogDirs: how many bytes each partition has on disk, and how much room the disk has.
 *
 * The answer's rows are laid out first, by this shard's image. Then every shard fills in the rows
 * of its own partitions, each in the pieces of time that it has, and a helper thread asks the file
 * system meanwhile.
 */
#include "core/api/api.h"

#include <string.h>

#define LAY_OUT_ITEMS 64U /* per step */
#define FILL_ITEMS    64U /* between looks at the clock */

struct row {
    struct partition_key key;
    uint16_t home;
    struct describe_log_dirs_response_partition *out;
};

struct log_dirs;

/* To one shard and back. */
struct visit {
    struct mail mail;
    struct task task;
    struct log_dirs *op;
    uint32_t next;
};

struct log_dirs {
    struct api_work work;
    struct request *q;
    struct describe_log_dirs_request request;
    struct describe_log_dirs_response response;
    struct describe_log_dirs_response_result dir;
    struct row *rows;
    uint32_t row_count;
    uint32_t rows_size;
    int32_t topic; /* the next one: of the request, or of the image */
    bool failed;

    struct visit *visits; /* [shards] */
    struct io_op space_op;
    struct fs *fs; /* both for the helper thread, which may not touch the shard */
    const char *path;
    struct fs_space space;
    int space_result;
    uint32_t waiting;
};

/* ---- the answer, when all is known ---- */

static void one_less(struct log_dirs *op)
{
    if (--op->waiting > 0)
        return;
    const struct broker_shard *bs = api_shard(op->q);
    if (log_shard_offline(bs->logs)) {
        op->dir.error_code = ERR_KAFKA_STORAGE_ERROR;
        op->dir.topics_count = 0;
    } else if (op->space_result >= 0) {
        op->dir.total_bytes = (int64_t)op->space.total_bytes;
        op->dir.usable_bytes = (int64_t)op->space.free_bytes;
    }
    api_work_answer(&op->work, KAFKA_DESCRIBE_LOG_DIRS_RESPONSE, &op->response);
}

/* ---- sizes, on each shard ---- */

static void on_visited(struct shard *here, struct mail *mail)
{
    (void)here;
    one_less(container_of(mail, struct visit, mail)->op);
}

static void visit_step(struct shard *sh, struct task *task)
{
    struct visit *visit = container_of(task, struct visit, task);
    const struct log_dirs *op = visit->op;
    const struct broker_shard *bs = broker_shard_of(sh);
    const uint64_t began_ns = io_clock_ns(sh->io);
    while (visit->next < op->row_count) {
        struct row *row = &op->rows[visit->next++];
        if (row->home == sh->id) {
            const struct partition *pt = partition_find(&bs->partitions, &row->key);
            row->out->partition_size = pt ? (int64_t)pt->log->size_bytes : 0;
        }
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
    struct log_dirs *op = argument;
    op->space_result = fs_space(op->fs, op->path, &op->space);
}

static void on_space(struct io_op *op)
{
    one_less(container_of(op, struct log_dirs, space_op));
}

static void laid_out(struct api_work *work)
{
    struct log_dirs *op = container_of(work, struct log_dirs, work);
    const struct broker_shard *bs = api_shard(op->q);
    const uint16_t shards = bs->broker->shard_count;
    op->visits = arena_array(&op->q->arena, shards, sizeof(*op->visits));
    if (!op->visits || op->failed) {
        api_malformed(op->q);
        return;
    }
    op->waiting = shards + 1U;
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

static bool rows_reserve(struct log_dirs *op, uint32_t more)
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

static void add_row(struct log_dirs *op, struct describe_log_dirs_response_topic *out,
                    const struct topic_image *topic, int32_t partition)
{
    const struct partition_image *image = image_partition(topic, partition);
    if (!image)
        return;
    struct describe_log_dirs_response_partition *at = &out->partitions[out->partitions_count++];
    init_describe_log_dirs_response_partition(at);
    at->partition_index = partition;
    op->rows[op->row_count++] = (struct row){
        .key = {.topic_id = topic->id, .partition = partition}, .home = image->home, .out = at};
}

/* Some of its partitions; NULL: all. What does not exist is left out, as by Kafka. */
static bool add_topic(struct log_dirs *op, const struct topic_image *topic,
                      const struct describe_log_dirs_request_topic *asked)
{
    if (!topic)
        return true;
    int32_t count = asked ? asked->partitions_count : (int32_t)topic->partition_count;
    struct describe_log_dirs_response_topic *out = &op->dir.topics[op->dir.topics_count];
    init_describe_log_dirs_response_topic(out);
    out->name = str_of(arena_text(&op->q->arena, topic->name)); /* the image may go before it */
    out->partitions = arena_array(&op->q->arena, (size_t)count, sizeof(*out->partitions));
    if (!out->partitions || !rows_reserve(op, (uint32_t)count))
        return false;
    for (int32_t i = 0; i < count; i++)
        add_row(op, out, topic, asked ? asked->partitions[i] : i);
    op->dir.topics_count += out->partitions_count > 0;
    return true;
}

static int32_t topics_asked(const struct log_dirs *op)
{
    return op->request.topics ? op->request.topics_count : (int32_t)op->work.image->topic_count;
}

static bool lay_out(struct api_work *work)
{
    struct log_dirs *op = container_of(work, struct log_dirs, work);
    const struct image *image = work->image;
    const uint32_t rows_until = op->row_count + LAY_OUT_ITEMS;
    if (!op->dir.topics) {
        op->dir.topics =
            arena_array(&op->q->arena, (size_t)topics_asked(op), sizeof(*op->dir.topics));
        op->failed = !op->dir.topics;
    }
    for (uint32_t i = 0; i < LAY_OUT_ITEMS && op->row_count < rows_until; i++) {
        if (op->failed || op->topic == topics_asked(op))
            return false;
        const struct describe_log_dirs_request_topic *asked =
            op->request.topics ? &op->request.topics[op->topic] : NULL;
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
    struct log_dirs *op = arena_alloc(&q->arena, sizeof(*op));
    struct rd rd;
    rd_init(&rd, q->body);
    if (op)
        memset(op, 0, sizeof(*op));
    if (!op || !read_describe_log_dirs_request(&rd, &q->arena, q->header.request_api_version,
                                               &op->request)) {
        api_malformed(q);
        return;
    }
    api_work_init(&op->work, q);
    op->q = q;
    init_describe_log_dirs_response(&op->response);
    init_describe_log_dirs_response_result(&op->dir);
    if (!api_may(q, OPERATION_DESCRIBE, RESOURCE_CLUSTER, str_of("kafka-cluster"))) {
        op->response.error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
        api_answer(q, KAFKA_DESCRIBE_LOG_DIRS_RESPONSE, &op->response);
        return;
    }
    op->fs = bs->broker->dir->fs;
    op->path = bs->broker->dir->path;
    op->dir.log_dir = str_of(op->path);
    op->response.results = &op->dir;
    op->response.results_count = 1;
    api_work_go(&op->work, lay_out, laid_out);
}
