/* SPDX-License-Identifier: Apache-2.0
 *
 * What an import reads of Apache Kafka's directories, as any bytes: the first byte says as what.
 * No crash, every bound holds.
 */
#include "tools/millrace/import/kafka_kraft.h"
#include "tools/millrace/import/kafka_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_text(uint8_t kind, const char *text, size_t len)
{
    char sentence[320] = "";
    char topic[LOG_TOPIC_MAX + 1];
    struct kafka_meta meta;
    struct kafka_marks marks = {0};
    struct uuid id;
    int32_t number;
    switch (kind % 5) {
    case 0:
        if (kafka_meta_parse(&meta, text, len, sentence, sizeof(sentence)))
            must(meta.node_id >= 0 && meta.cluster_id[0] != '\0');
        else
            must(sentence[0] != '\0');
        break;
    case 1:
        (void)!kafka_topic_id_parse(&id, text, len);
        break;
    case 2:
        (void)!kafka_epochs_parse(&number, text, len);
        break;
    case 3:
        if (kafka_marks_parse(&marks, text, len))
            must(marks.count <= len);
        kafka_marks_fini(&marks);
        break;
    case 4:
        if (kafka_folder_parse(text, topic, &number))
            must(number >= 0 && topic[0] != '\0');
        break;
    }
}

/* Records one after another, each behind a byte with its length. */
static void as_records(const uint8_t *data, size_t size)
{
    struct kafka_cluster cluster;
    struct kraft kraft;
    char sentence[320] = "";
    size_t at = 0;
    bool good = true;
    kafka_cluster_init(&cluster, 1);
    kraft_init(&kraft, &cluster);
    while (good && at < size) {
        size_t len = min_u64(data[at], size - at - 1);
        good = kraft_take(&kraft, (struct bytes){data + at + 1, (int32_t)len}, sentence,
                          sizeof(sentence));
        at += len + 1;
    }
    must(good || sentence[0] != '\0');
    uint32_t count;
    mem_free(kafka_topics_sorted(&cluster, &count));
    kraft_fini(&kraft);
    kafka_cluster_fini(&cluster);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0) {
        as_records(data + 1, size - 1);
        return 0;
    }
    char *text = mem_alloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    as_text(data[0] / 2, text, size - 1);
    mem_free(text);
    return 0;
}
