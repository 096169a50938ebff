/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_options_json.h"

#include <string.h>

/* A member that a helper program needs. */
struct member {
    const char *name;
    size_t offset, size;
    bool real;
};

#define WHOLE(field)                                                                               \
    {                                                                                              \
#field, offsetof(struct bench_options, field), sizeof(((struct bench_options *)0)->field), \
            false                                                                                  \
    }
#define REAL(field)                                                                                \
    {                                                                                              \
#field, offsetof(struct bench_options, field), sizeof(double), true                        \
    }

static const struct member members[] = {
    WHOLE(topics),       WHOLE(connections),  WHOLE(in_flight),
    WHOLE(record_bytes), WHOLE(batch_bytes),  WHOLE(linger_ns),
    WHOLE(joins),        REAL(rate),          WHOLE(duration_ns),
    WHOLE(warm_ns),      WHOLE(drain_ns),     WHOLE(records_max),
    WHOLE(bytes_max),    WHOLE(keys),         WHOLE(key_count),
    REAL(key_skew),      WHOLE(compressible), WHOLE(codec),
    WHOLE(acks),         WHOLE(idempotent),   WHOLE(stamped),
    WHOLE(seed),         WHOLE(from_end),     WHOLE(follow),
    WHOLE(readers),      WHOLE(fetch_bytes),  WHOLE(fetch_bytes_max),
    WHOLE(wait_ns),
};

/* Little-endian, as all machines that the broker runs on. */
static int64_t whole_of(const struct bench_options *o, const struct member *member)
{
    int64_t value = 0;
    int16_t small;
    memcpy(&value, (const char *)o + member->offset, member->size);
    if (member->size != sizeof(small)) /* acks, the one that may be negative */
        return value;
    memcpy(&small, (const char *)o + member->offset, sizeof(small));
    return small;
}

json_t *options_json(const struct bench_options *o)
{
    json_t *object = json_pack("{s:s, s:s}", "kind", o->kind, "arrival", o->arrival);
    for (size_t i = 0; object && i < array_count(members); i++) {
        double real;
        memcpy(&real, (const char *)o + members[i].offset, sizeof(real));
        (void)json_object_set_new(object, members[i].name,
                                  members[i].real ? json_real(real)
                                                  : json_integer(whole_of(o, &members[i])));
    }
    return object;
}

bool options_take(const json_t *object, struct bench_options *o)
{
    *o = (struct bench_options){.parts = 1, .batch_records = 1};
    o->kind = json_string_value(json_object_get(object, "kind"));
    o->arrival = json_string_value(json_object_get(object, "arrival"));
    for (size_t i = 0; i < array_count(members); i++) {
        const json_t *value = json_object_get(object, members[i].name);
        const double real = json_real_value(value);
        const int64_t whole = json_integer_value(value);
        char *to = (char *)o + members[i].offset;
        if (members[i].real ? !json_is_real(value) : !json_is_integer(value))
            return false;
        if (members[i].real)
            memcpy(to, &real, sizeof(real));
        else
            memcpy(to, &whole, members[i].size);
        if (!members[i].real && whole_of(o, &members[i]) != whole)
            return false;
    }
    return o->kind && o->arrival;
}
