/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/kafka_text.h"

#include "core/conf/properties.h"
#include "core/topic_name.h"
#include "io/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

char *kafka_path(const char *directory, const char *name)
{
    size_t size = strlen(directory) + strlen(name) + 2;
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/%s", directory, name);
    return path;
}

static char *read_all(int file, size_t size, size_t *len, int *error)
{
    char *text = mem_alloc(size + 1);
    *len = 0;
    while (*len < size) {
        ssize_t got = read(file, text + *len, size - *len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            *error = errno;
            mem_free(text);
            return NULL;
        }
        if (got == 0)
            break;
        *len += (size_t)got;
    }
    text[*len] = '\0';
    return text;
}

char *kafka_text_read(const char *directory, const char *name, size_t *len, int *error)
{
    char *path = kafka_path(directory, name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    char *text = NULL;
    struct stat about;
    *error = 0;
    if (file < 0 || fstat(file, &about) != 0)
        *error = errno;
    else if (!S_ISREG(about.st_mode) || about.st_size > KAFKA_TEXT_BYTES_MAX)
        *error = EFBIG;
    else
        text = read_all(file, (size_t)about.st_size, len, error);
    if (file >= 0)
        close(file);
    mem_free(path);
    return text;
}

/* ---- meta.properties ---- */

/* False: it is no number of this range. */
static bool number_of(const char *text, size_t len, int64_t max, int64_t *number)
{
    int64_t value = 0;
    if (len == 0 || len > 19)
        return false;
    for (size_t i = 0; i < len; i++) {
        int64_t digit = text[i] - '0';
        if (digit < 0 || digit > 9 || value > max / 10 || value * 10 > max - digit)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}

static bool meta_take(struct kafka_meta *meta, const struct property *entry)
{
    int64_t number;
    bool node = strcmp(entry->key, "node.id") == 0 || strcmp(entry->key, "broker.id") == 0;
    if (strcmp(entry->key, "cluster.id") == 0) {
        if (strlen(entry->value) >= sizeof(meta->cluster_id))
            return false;
        (void)snprintf(meta->cluster_id, sizeof(meta->cluster_id), "%s", entry->value);
    } else if (node || strcmp(entry->key, "version") == 0) {
        if (!number_of(entry->value, strlen(entry->value), INT32_MAX, &number))
            return false;
        *(node ? &meta->node_id : &meta->version) = (int32_t)number;
    }
    return true;
}

bool kafka_meta_parse(struct kafka_meta *meta, const char *text, size_t len, char *sentence,
                      size_t sentence_size)
{
    struct properties properties;
    struct properties_error error;
    *meta = (struct kafka_meta){.version = -1, .node_id = -1};
    if (!properties_read(&properties, text, len, &error)) {
        (void)snprintf(sentence, sentence_size, "line %u: %s", error.line, error.text);
        return false;
    }
    bool good = true;
    for (uint32_t i = 0; good && i < properties.count; i++) {
        good = meta_take(meta, &properties.entry[i]);
        if (!good)
            (void)snprintf(sentence, sentence_size, "line %u: %s has a value that is none",
                           properties.entry[i].line, properties.entry[i].key);
    }
    properties_fini(&properties);
    if (good && meta->version != 0 && meta->version != 1) {
        (void)snprintf(sentence, sentence_size,
                       "its version is none that Kafka 3.9 and 4 write (0 and 1)");
        good = false;
    }
    if (good && (meta->cluster_id[0] == '\0' || meta->node_id < 0)) {
        (void)snprintf(sentence, sentence_size, "it lacks cluster.id, or node.id (broker.id)");
        good = false;
    }
    return good;
}

/* ---- lines ---- */

struct lines {
    const char *at;
    const char *end;
};

/* The next line without its end; false: there is none. */
static bool line_next(struct lines *lines, const char **line, size_t *len)
{
    if (lines->at == lines->end)
        return false;
    const char *newline = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));
    const char *stop = newline ? newline : lines->end;
    *line = lines->at;
    *len = (size_t)(stop - lines->at);
    lines->at = newline ? newline + 1 : lines->end;
    return true;
}

/* The next word of a line. */
static size_t word_next(const char **line, size_t *len, const char **word)
{
    while (*len > 0 && **line == ' ') {
        (*line)++;
        (*len)--;
    }
    *word = *line;
    while (*len > 0 && **line != ' ') {
        (*line)++;
        (*len)--;
    }
    return (size_t)(*line - *word);
}

static bool word_number(const char **line, size_t *len, int64_t max, int64_t *number)
{
    const char *word;
    size_t word_len = word_next(line, len, &word);
    return number_of(word, word_len, max, number);
}

/* "0", and the count of the lines that follow. */
static bool lines_begin(struct lines *lines, const char *text, size_t len, int64_t *count)
{
    const char *line;
    size_t line_len;
    int64_t version;
    *lines = (struct lines){text, text + len};
    return line_next(lines, &line, &line_len) && number_of(line, line_len, 0, &version) &&
           line_next(lines, &line, &line_len) && number_of(line, line_len, INT32_MAX, count);
}

bool kafka_topic_id_parse(struct uuid *id, const char *text, size_t len)
{
    static const char first[] = "version: 0";
    static const char second[] = "topic_id: ";
    struct lines lines = {text, text + len};
    const char *line;
    size_t line_len;
    if (!line_next(&lines, &line, &line_len) || line_len != strlen(first) ||
        memcmp(line, first, line_len) != 0)
        return false;
    return line_next(&lines, &line, &line_len) && line_len > strlen(second) &&
           memcmp(line, second, strlen(second)) == 0 &&
           uuid_of_text(id, line + strlen(second), line_len - strlen(second));
}

bool kafka_epochs_parse(int32_t *latest, const char *text, size_t len)
{
    struct lines lines;
    int64_t count;
    const char *line;
    size_t line_len;
    *latest = -1;
    if (!lines_begin(&lines, text, len, &count))
        return false;
    while (line_next(&lines, &line, &line_len)) {
        int64_t epoch;
        int64_t offset;
        if (count-- == 0 || !word_number(&line, &line_len, INT32_MAX, &epoch) ||
            !word_number(&line, &line_len, INT64_MAX, &offset) || line_len > 0)
            return false;
        *latest = (int32_t)max_i64(*latest, epoch);
    }
    return count == 0;
}

static bool mark_parse(struct kafka_mark *mark, const char *line, size_t len)
{
    const char *topic;
    int64_t partition;
    size_t topic_len = word_next(&line, &len, &topic);
    *mark = (struct kafka_mark){0};
    if (topic_len == 0 || topic_len > LOG_TOPIC_MAX ||
        !word_number(&line, &len, INT32_MAX, &partition) ||
        !word_number(&line, &len, INT64_MAX, &mark->offset) || len > 0)
        return false;
    memcpy(mark->topic, topic, topic_len);
    mark->partition = (int32_t)partition;
    return true;
}

bool kafka_marks_parse(struct kafka_marks *marks, const char *text, size_t len)
{
    struct lines lines;
    int64_t count;
    const char *line;
    size_t line_len;
    if (!lines_begin(&lines, text, len, &count))
        return false;
    while (line_next(&lines, &line, &line_len)) {
        struct kafka_mark mark;
        if (count-- == 0 || !mark_parse(&mark, line, line_len))
            return false;
        if ((marks->count & (marks->count - 1)) == 0)
            marks->marks =
                mem_realloc(marks->marks, max_u64(2 * (uint64_t)marks->count, 1) * sizeof(mark));
        marks->marks[marks->count++] = mark;
    }
    return count == 0;
}

int64_t kafka_marks_find(const struct kafka_marks *marks, const char *topic, int32_t partition)
{
    for (uint32_t i = 0; i < marks->count; i++)
        if (marks->marks[i].partition == partition && strcmp(marks->marks[i].topic, topic) == 0)
            return marks->marks[i].offset;
    return -1;
}

void kafka_marks_fini(struct kafka_marks *marks)
{
    mem_free(marks->marks);
    *marks = (struct kafka_marks){0};
}

bool kafka_folder_parse(const char *name, char topic[LOG_TOPIC_MAX + 1], int32_t *partition)
{
    const char *dash = strrchr(name, '-');
    int64_t number;
    if (!dash || (size_t)(dash - name) > LOG_TOPIC_MAX ||
        !number_of(dash + 1, strlen(dash + 1), INT32_MAX, &number))
        return false;
    memcpy(topic, name, (size_t)(dash - name));
    topic[dash - name] = '\0';
    *partition = (int32_t)number;
    return topic_name_problem(str_of(topic)) == NULL;
}
