/* SPDX-License-Identifier: Apache-2.0
 *
 * The ground everything stands on: the always-on assertion, and the few helpers C lacks.
 *
 * must() states a belief whose failure is a bug in Millrace, never in its input: it stays on in
 * release builds, because a broker that goes on after a broken invariant damages data. Outside
 * input, the disk and the network never reach a must(); they get an error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define must(condition)                                                                            \
    ((__builtin_expect(!!(condition), 1)) ? (void)0 : must_failed(#condition, __FILE__, __LINE__))

/* Prints the failed condition, the shard, its step and its recent events (io/diag.h), then aborts.
 */
_Noreturn void must_failed(const char *condition, const char *file, int line);

#define NS_PER_MS 1000000ULL
#define NS_PER_S  1000000000ULL

#define array_count(array) (sizeof(array) / sizeof((array)[0]))

#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define warn_unused              __attribute__((warn_unused_result))
#define printf_like(text, first) __attribute__((format(printf, text, first)))

/* For interfaces of others that take a pointer to mutable bytes and do not change them, and for
 * memory of our own that is held as read-only. */
static inline void *no_const(const void *pointer)
{
    union {
        const void *in;
        void *out;
    } cast = {.in = pointer};
    return cast.out;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Counters: one thread writes each, others read it without order. */
static inline void count_set(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

static inline void count_up(uint64_t *counter, uint64_t by)
{
    count_set(counter, *counter + by);
}

static inline uint64_t count_read(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static inline int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* step must be a power of two. */
static inline uint64_t round_up(uint64_t value, uint64_t step)
{
    return (value + step - 1) & ~(step - 1);
}

static inline uint64_t round_down(uint64_t value, uint64_t step)
{
    return value & ~(step - 1);
}
