/* SPDX-License-Identifier: Apache-2.0
 *
 * The library: producers, each with a record's report for each record, and consumers of partitions
 * that are told to them.
 */
#include "core/record/deflate.h"
#include "io/mem.h"
#include "tools/librdkafka/load.h"

#include <inttypes.h>
#include <string.h>

#define MESSAGES_AT_ONCE 1000U
#define FLUSH_MS         1000
#define QUEUE_RECORDS    "10000000" /* what --in-flight allows is less */
#define QUEUE_KBYTES     "2097151"
#define MESSAGE_BYTES    "1000000000"

static bool fail(struct load *l, const char *what, const char *why)
{
    (void)snprintf(l->why, sizeof(l->why), "librdkafka: %s: %s", what, why);
    return false;
}

/* ---- configuration ---- */

static bool set(struct load *l, rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[LOAD_WHY_SIZE / 2];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) == RD_KAFKA_CONF_OK)
        return true;
    return fail(l, name, why);
}

static bool set_number(struct load *l, rd_kafka_conf_t *conf, const char *name, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    return set(l, conf, name, text);
}

static bool set_common(struct load *l, rd_kafka_conf_t *conf)
{
    return set(l, conf, "bootstrap.servers", l->servers) &&
           set(l, conf, "client.id", l->client_id) && set(l, conf, "log_level", "3");
}

/* Nothing is sent twice, as by the other client, unless numbers keep it from being there twice. */
static bool set_producer(struct load *l, rd_kafka_conf_t *conf)
{
    const struct bench_options *o = &l->o;
    const double linger_ms = (double)o->linger_ns / (double)NS_PER_MS;
    char linger[32];
    (void)snprintf(linger, sizeof(linger), "%.6f", o->joins ? linger_ms : 0);
    return set_common(l, conf) && set_number(l, conf, "acks", o->acks) &&
           set(l, conf, "compression.codec", codec_name((int)o->codec)) &&
           set(l, conf, "linger.ms", linger) &&
           (!o->joins || set_number(l, conf, "batch.size", o->batch_bytes)) &&
           (l->level == CODEC_LEVEL_DEFAULT ||
            set_number(l, conf, "compression.level", l->level)) &&
           set(l, conf, "enable.idempotence", o->idempotent ? "true" : "false") &&
           (o->idempotent || set(l, conf, "message.send.max.retries", "0")) &&
           set_number(l, conf, "request.timeout.ms", (int64_t)min_u64(l->timeout_ms, 900000)) &&
           set_number(l, conf, "message.timeout.ms", (int64_t)l->timeout_ms) &&
           set(l, conf, "message.max.bytes", MESSAGE_BYTES) &&
           set(l, conf, "queue.buffering.max.messages", QUEUE_RECORDS) &&
           set(l, conf, "queue.buffering.max.kbytes", QUEUE_KBYTES);
}

static bool set_consumer(struct load *l, rd_kafka_conf_t *conf)
{
    const struct bench_options *o = &l->o;
    return set_common(l, conf) && set(l, conf, "group.id", "millrace-bench") && /* it joins none */
           set(l, conf, "enable.auto.commit", "false") &&
           set(l, conf, "enable.partition.eof", "true") && set(l, conf, "check.crcs", "true") &&
           set_number(l, conf, "fetch.wait.max.ms", (int64_t)(o->wait_ns / NS_PER_MS)) &&
           set_number(l, conf, "fetch.min.bytes", (int64_t)max_u64(l->min_bytes, 1)) &&
           set_number(l, conf, "max.partition.fetch.bytes", min_i64(o->fetch_bytes, 1000000000)) &&
           set_number(l, conf, "fetch.max.bytes", o->fetch_bytes_max) &&
           set_number(l, conf, "receive.message.max.bytes",
                      min_i64(o->fetch_bytes_max + (64 << 20), INT32_MAX));
}

/* ---- producers ---- */

/* Kafka's error as it is; the library's own ones mean that no answer came. */
static int code_of(rd_kafka_resp_err_t error)
{
    return error > 0 && (int)error < MEASURE_UNSENT - 1 ? (int)error : MEASURE_LOST;
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct load *l = opaque;
    struct handed *handed = message->_private;
    const struct acked acked = {.due_ns = handed->due_ns,
                                .planned_ns = handed->planned_ns,
                                .sent_ns = handed->sent_ns,
                                .now_ns = message_clock_ns(),
                                .count = 1,
                                .bytes = message->len + message->key_len};
    (void)rk;
    if (message->err)
        measure_failed(&l->measure, handed->due_ns, code_of(message->err), 1);
    else
        measure_acked(&l->measure, &acked);
    if (!message->err && l->o.stamped)
        checks_acked(&l->checks, handed->lane, handed->sequence, 1);
    producer_freed(handed->producer);
    handed->next = l->free;
    l->free = handed;
}

static rd_kafka_t *client_new(struct load *l, rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char why[LOAD_WHY_SIZE / 2];
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof(why));
    if (!rk)
        (void)fail(l, "a client", why);
    return rk;
}

static void tell_events(const struct load *l, rd_kafka_queue_t *queue)
{
    const uint64_t one = 1; /* what an eventfd takes */
    rd_kafka_queue_io_event_enable(queue, l->events, &one, sizeof(one));
}

bool producers_open(struct load *l)
{
    l->producers = mem_zalloc((size_t)l->o.connections * sizeof(*l->producers));
    for (uint32_t i = 0; i < l->o.connections; i++) {
        struct producer *producer = &l->producers[i];
        const struct rd_kafka_metadata *metadata;
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_conf_set_dr_msg_cb(conf, on_report);
        rd_kafka_conf_set_opaque(conf, l);
        if (!set_producer(l, conf) || !(producer->rk = client_new(l, RD_KAFKA_PRODUCER, conf))) {
            rd_kafka_conf_destroy(conf);
            return false;
        }
        producer->load = l;
        producer->queue = rd_kafka_queue_get_main(producer->rk);
        l->producer_count++;
        tell_events(l, producer->queue);
        /* It knows the leaders and is connected before anything is due. */
        rd_kafka_resp_err_t error =
            rd_kafka_metadata(producer->rk, 1, NULL, &metadata, (int)l->timeout_ms);
        if (error)
            return fail(l, l->servers, rd_kafka_err2str(error));
        rd_kafka_metadata_destroy(metadata);
    }
    return true;
}

/* ---- consumers ---- */

/* Every count-th lane; when there are fewer lanes than consumers, some are read by several. */
static bool consumer_assign(struct load *l, struct consumer *consumer, uint32_t number)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)l->lane_count);
    for (uint32_t i = number % l->lane_count; i < l->lane_count; i += l->consumer_count)
        rd_kafka_topic_partition_list_add(list, l->lanes[i].topic, l->lanes[i].partition)->offset =
            l->lanes[i].next;
    rd_kafka_resp_err_t error = rd_kafka_assign(consumer->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return !error || fail(l, "assign", rd_kafka_err2str(error));
}

bool consumers_open(struct load *l)
{
    const int64_t most = l->o.stamped ? min_i64(l->o.readers, l->lane_count) : l->o.readers;
    l->consumer_count = (uint32_t)most;
    l->consumers = mem_zalloc(l->consumer_count * sizeof(*l->consumers));
    for (uint32_t i = 0; i < l->lane_count; i++)
        l->lanes[i].next = l->o.from_end ? l->lanes[i].end : l->lanes[i].start;
    for (uint32_t i = 0; i < l->consumer_count; i++) {
        struct consumer *consumer = &l->consumers[i];
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        if (!set_consumer(l, conf) || !(consumer->rk = client_new(l, RD_KAFKA_CONSUMER, conf))) {
            rd_kafka_conf_destroy(conf);
            return false;
        }
        (void)rd_kafka_poll_set_consumer(consumer->rk);
        consumer->queue = rd_kafka_queue_get_consumer(consumer->rk);
        tell_events(l, consumer->queue);
    }
    return true;
}

bool consumers_begin(struct load *l)
{
    for (uint32_t i = 0; i < l->consumer_count; i++)
        if (!consumer_assign(l, &l->consumers[i], i))
            return false;
    return true;
}

static struct load_lane *lane_of(struct load *l, const rd_kafka_message_t *message)
{
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : "";
    for (uint32_t i = 0; message->partition >= 0 && i < l->lane_count; i++) {
        /* With one topic it is the first that is looked at. */
        struct load_lane *lane = &l->lanes[((uint32_t)message->partition + i) % l->lane_count];
        if (lane->partition == message->partition && strcmp(lane->topic, topic) == 0)
            return lane;
    }
    return NULL;
}

static void take(struct load *l, struct load_lane *lane, const rd_kafka_message_t *message,
                 uint64_t now_ns)
{
    struct bench_stamp stamp;
    const size_t bytes = message->len + message->key_len;
    lane->next = max_i64(lane->next, message->offset + 1);
    if (!l->o.stamped) {
        measure_read(&l->measure, now_ns, 1, bytes);
        return;
    }
    if (!stamp_read(&stamp, message->payload, (int32_t)message->len) || stamp.run_id != l->run_id) {
        l->foreign++;
        return;
    }
    measure_arrived(&l->measure, stamp.due_ns, now_ns, bytes);
    (void)checks_seen(&l->checks, (uint32_t)(lane - l->lanes), stamp.sequence, lane->sequence);
}

static void consumer_serve(struct load *l, const struct consumer *consumer)
{
    rd_kafka_message_t *messages[MESSAGES_AT_ONCE];
    ssize_t count;
    while ((count = rd_kafka_consume_batch_queue(consumer->queue, 0, messages, MESSAGES_AT_ONCE)) >
           0) {
        const uint64_t now_ns = message_clock_ns();
        for (ssize_t i = 0; i < count; i++) {
            const rd_kafka_message_t *message = messages[i];
            struct load_lane *lane = lane_of(l, message);
            if (lane && !message->err)
                take(l, lane, message, now_ns);
            else if (lane && message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
                lane->next = max_i64(lane->next, message->offset);
            else if (message->err) /* the library tries again */
                measure_failed(&l->measure, 0, code_of(message->err), 0);
            rd_kafka_message_destroy(messages[i]);
        }
    }
}

bool lanes_extend(struct load *l)
{
    for (uint32_t i = 0; i < l->lane_count; i++) {
        int64_t low;
        rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(
            l->consumers[0].rk, l->lanes[i].topic, l->lanes[i].partition, &low, &l->lanes[i].end,
            (int)l->timeout_ms);
        if (error)
            return fail(l, l->lanes[i].topic, rd_kafka_err2str(error));
    }
    return true;
}

bool lanes_pending(const struct load *l)
{
    for (uint32_t i = 0; i < l->lane_count; i++)
        if (l->lanes[i].next < l->lanes[i].end)
            return true;
    return false;
}

/* ---- both ---- */

void clients_serve(struct load *l)
{
    for (uint32_t i = 0; i < l->producer_count; i++)
        (void)rd_kafka_poll(l->producers[i].rk, 0);
    for (uint32_t i = 0; i < l->consumer_count; i++)
        consumer_serve(l, &l->consumers[i]);
}

void clients_close(struct load *l)
{
    for (uint32_t i = 0; i < l->producer_count; i++) {
        rd_kafka_queue_destroy(l->producers[i].queue);
        (void)rd_kafka_purge(l->producers[i].rk,
                             RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        (void)rd_kafka_flush(l->producers[i].rk, FLUSH_MS); /* what is still out has failed */
        rd_kafka_destroy(l->producers[i].rk);
    }
    for (uint32_t i = 0; i < l->consumer_count; i++) {
        if (!l->consumers[i].rk)
            continue;
        rd_kafka_queue_destroy(l->consumers[i].queue);
        rd_kafka_destroy(l->consumers[i].rk);
    }
}
