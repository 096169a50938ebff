/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_share.h"

#include "io/mem.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX  20U /* of a uint64_t */
#define SECONDS_MAX 1e6
#define NS_MAX      (1ULL << 62)

/* A member of a struct, by the name that it has in a message. */
struct member {
    const char *name;
    size_t offset;
};

#define OF_SECOND(field)                                                                           \
    {                                                                                              \
#field, offsetof(struct bench_second, field)                                               \
    }
#define OF_RUN(field)                                                                              \
    {                                                                                              \
#field, offsetof(struct measure, field)                                                    \
    }

static const struct member second_counts[] = {
    OF_SECOND(records), OF_SECOND(bytes),         OF_SECOND(requests), OF_SECOND(errors),
    OF_SECOND(arrived), OF_SECOND(arrived_bytes), OF_SECOND(held),     OF_SECOND(in_flight),
};
static const struct member second_shares[] = {
    /* the worst counts */
    OF_SECOND(seconds),     OF_SECOND(own_cpu), OF_SECOND(own_wait),
    OF_SECOND(machine_cpu), OF_SECOND(steal),
};
static const struct member run_counts[] = {
    OF_RUN(records),       OF_RUN(bytes),   OF_RUN(rate_records),  OF_RUN(rate_bytes),
    OF_RUN(rate_requests), OF_RUN(arrived), OF_RUN(arrived_bytes), OF_RUN(failed),
    OF_RUN(held),          OF_RUN(sent),    OF_RUN(acked),         OF_RUN(lost),
    OF_RUN(reconnects),
};

static uint64_t member_of(const void *base, const struct member *member)
{
    uint64_t count;
    memcpy(&count, (const char *)base + member->offset, sizeof(count));
    return count;
}

static void member_set(void *base, const struct member *member, uint64_t count)
{
    memcpy((char *)base + member->offset, &count, sizeof(count));
}

static double real_of(const void *base, const struct member *member)
{
    double share;
    memcpy(&share, (const char *)base + member->offset, sizeof(share));
    return share;
}

static void real_set(void *base, const struct member *member, double share)
{
    memcpy((char *)base + member->offset, &share, sizeof(share));
}

/* ---- writing: by hand, as it happens while a load runs and has thousands of numbers ---- */

void share_line_fini(struct share_line *line)
{
    mem_free(line->data);
    *line = (struct share_line){0};
}

static char *make_room(struct share_line *line, size_t bytes)
{
    if (line->room - line->len < bytes) {
        line->room = max_u64(2 * line->room, line->len + bytes);
        line->data = mem_realloc(line->data, line->room);
    }
    return line->data + line->len;
}

static void add(struct share_line *line, const char *format, ...) printf_like(2, 3);

static void add(struct share_line *line, const char *format, ...)
{
    const size_t most = 128;
    va_list arguments;
    va_start(arguments, format);
    line->len += (size_t)vsnprintf(make_room(line, most), most, format, arguments);
    va_end(arguments);
}

static void add_number(struct share_line *line, uint64_t number)
{
    char digits[DIGITS_MAX];
    size_t at = sizeof(digits);
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    memcpy(make_room(line, sizeof(digits)), digits + at, sizeof(digits) - at);
    line->len += sizeof(digits) - at;
}

static void add_comma(struct share_line *line)
{
    *make_room(line, 1) = ',';
    line->len++;
}

static void add_counts(struct share_line *line, const void *base, const struct member *members,
                       size_t count)
{
    for (size_t i = 0; i < count; i++)
        add(line, ",\"%s\":%llu", members[i].name,
            (unsigned long long)member_of(base, &members[i]));
}

static void add_histogram(struct share_line *line, const char *name, const struct histogram *from)
{
    uint64_t ns;
    uint64_t count;
    bool first = true;
    if (!from)
        return;
    add(line, ",\"%s\":{\"sum_ns\":%.17g,\"max_ns\":%llu,\"buckets\":[", name, from->sum_ns,
        (unsigned long long)from->max_ns);
    for (uint32_t cursor = 0; histogram_next(from, &cursor, &ns, &count); first = false) {
        if (!first)
            add_comma(line);
        add_number(line, ns);
        add_comma(line);
        add_number(line, count);
    }
    add(line, "]}");
}

void share_second(const struct measure *m, struct share_line *line)
{
    line->len = 0;
    add(line, "{\"type\":\"second\",\"from_ns\":%llu,\"lag_p99\":%llu",
        (unsigned long long)(m->now_began_ns - m->began_ns), (unsigned long long)m->now.lag_p99);
    add_counts(line, &m->now, second_counts, array_count(second_counts));
    for (size_t i = 0; i < array_count(second_shares); i++)
        add(line, ",\"%s\":%.9g", second_shares[i].name, real_of(&m->now, &second_shares[i]));
    add_histogram(line, "response", m->now_response);
    add_histogram(line, "delay", m->now_delay);
    add_histogram(line, "e2e", m->now_e2e);
    add(line, "}\n");
}

void share_end(const struct measure *m, uint64_t connections, struct share_line *line)
{
    const uint64_t measured_ns = m->began_ns > 0 ? m->ends_ns - m->began_ns : 0;
    bool first = true;
    line->len = 0;
    add(line, "{\"type\":\"end\",\"measured_ns\":%llu,\"connections\":%llu",
        (unsigned long long)measured_ns, (unsigned long long)connections);
    add_counts(line, m, run_counts, array_count(run_counts));
    add(line, ",\"errors\":[");
    for (size_t i = 0; i < MEASURE_CODES; i++) {
        if (m->codes[i] == 0)
            continue;
        add(line, "%s[%zu,%llu]", first ? "" : ",", i, (unsigned long long)m->codes[i]);
        first = false;
    }
    add(line, "]");
    add_histogram(line, "response", m->response);
    add_histogram(line, "service", m->service);
    add_histogram(line, "delay", m->delay);
    add_histogram(line, "e2e", m->e2e);
    add(line, "}\n");
}

/* ---- reading ---- */

static bool take_counts(const json_t *message, void *base, const struct member *members,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t more;
        if (!message_u64(message, members[i].name, MESSAGE_NUMBER_MAX, &more))
            return false;
        member_set(base, &members[i], member_of(base, &members[i]) + more);
    }
    return true;
}

static bool number_at(const json_t *array, size_t at, uint64_t max, uint64_t *number)
{
    const json_t *item = json_array_get(array, at);
    const json_int_t value = json_integer_value(item);
    *number = (uint64_t)value;
    return json_is_integer(item) && value >= 0 && *number <= max;
}

/* Adds buckets whose ends grow, none of them empty. */
static bool take_buckets(const json_t *buckets, struct histogram *into, uint64_t max_ns)
{
    const size_t size = json_array_size(buckets);
    const uint64_t count_max = into->count + MESSAGE_NUMBER_MAX;
    uint64_t last_ns = 0;
    uint64_t ns = 0;
    uint64_t count;
    if (!json_is_array(buckets) || size % 2 != 0 || (size == 0 && max_ns != 0))
        return false;
    for (size_t i = 0; i < size; i += 2, last_ns = ns) {
        if (!number_at(buckets, i, NS_MAX, &ns) ||
            !number_at(buckets, i + 1, MESSAGE_NUMBER_MAX, &count) || count == 0 ||
            (i > 0 && ns <= last_ns) || (i + 2 == size && i > 0 && max_ns <= last_ns))
            return false;
        histogram_add_n(into, ns, count);
        if (into->count > count_max)
            return false;
    }
    return max_ns <= ns; /* it stands in the last one */
}

/* The sum and the largest value are exact, where buckets have only their ends. */
static bool take_histogram(const json_t *message, const char *name, struct histogram *into)
{
    const json_t *from = json_object_get(message, name);
    uint64_t max_ns;
    double sum_ns;
    if (!into)
        return from == NULL;
    const double old_sum_ns = into->sum_ns;
    const uint64_t old_max_ns = into->max_ns;
    if (!message_u64(from, "max_ns", NS_MAX, &max_ns) ||
        !message_real(from, "sum_ns", (double)NS_MAX * (double)MESSAGE_NUMBER_MAX, &sum_ns) ||
        !take_buckets(json_object_get(from, "buckets"), into, max_ns))
        return false;
    const double most_ns = into->sum_ns - old_sum_ns;
    into->sum_ns = old_sum_ns + sum_ns;
    into->max_ns = max_u64(old_max_ns, max_ns);
    return sum_ns <= most_ns * (1 + 1e-9);
}

bool share_take_second(const json_t *message, struct measure *into, struct bench_second *own)
{
    *own = (struct bench_second){0};
    if (!take_counts(message, own, second_counts, array_count(second_counts)) ||
        !message_u64(message, "lag_p99", NS_MAX, &own->lag_p99))
        return false;
    for (size_t i = 0; i < array_count(second_counts); i++)
        member_set(&into->now, &second_counts[i],
                   member_of(&into->now, &second_counts[i]) + member_of(own, &second_counts[i]));
    for (size_t i = 0; i < array_count(second_shares); i++) {
        double share;
        if (!message_real(message, second_shares[i].name, SECONDS_MAX, &share))
            return false;
        real_set(own, &second_shares[i], share);
        if (share > real_of(&into->now, &second_shares[i]))
            real_set(&into->now, &second_shares[i], share);
    }
    into->now.lag_p99 = max_u64(into->now.lag_p99, own->lag_p99);
    return own->seconds > 0 && take_histogram(message, "response", into->now_response) &&
           take_histogram(message, "delay", into->now_delay) &&
           take_histogram(message, "e2e", into->now_e2e);
}

static bool take_errors(const json_t *errors, struct measure *into)
{
    size_t at;
    const json_t *item;
    if (!json_is_array(errors) || json_array_size(errors) > MEASURE_CODES)
        return false;
    json_array_foreach(errors, at, item)
    {
        uint64_t code;
        uint64_t count;
        if (json_array_size(item) != 2 || !number_at(item, 0, MEASURE_CODES - 1, &code) ||
            !number_at(item, 1, MESSAGE_NUMBER_MAX, &count))
            return false;
        into->codes[code] += count;
    }
    return true;
}

/* The measured time is the longest one. */
bool share_take_end(const json_t *message, struct measure *into, uint64_t *connections)
{
    uint64_t measured_ns;
    if (!message_u64(message, "measured_ns", SHARE_SECONDS_MAX * NS_PER_S, &measured_ns) ||
        !message_u64(message, "connections", INT32_MAX, connections) ||
        !take_counts(message, into, run_counts, array_count(run_counts)) ||
        !take_errors(json_object_get(message, "errors"), into))
        return false;
    const uint64_t before_ns = into->began_ns > 0 ? into->ends_ns - into->began_ns : 0;
    into->began_ns = 1;
    into->ends_ns = into->began_ns + max_u64(before_ns, measured_ns);
    return take_histogram(message, "response", into->response) &&
           take_histogram(message, "service", into->service) &&
           take_histogram(message, "delay", into->delay) &&
           take_histogram(message, "e2e", into->e2e);
}
