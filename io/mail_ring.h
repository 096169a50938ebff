/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring between two shards: one writes, one reads, of words that are a pointer to mail or a
 * small number. It is Concurrency Kit's SPSC ring; this file sizes it and explains it to the thread
 * sanitizer, which cannot see the library's barriers: what the writer did before mail_ring_put()
 * happened before what the reader does after mail_ring_take().
 */
#pragma once

#include "io/base.h"
#include "io/mem.h"

#include <ck_ring.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MAIL_RING_TSAN 1
#endif
#endif

#ifdef MAIL_RING_TSAN
#include <sanitizer/tsan_interface.h>
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);

static inline void mail_ring_unseen_begin(void)
{
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}

static inline void mail_ring_unseen_end(void)
{
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
#else
static inline void mail_ring_unseen_begin(void)
{
}

static inline void mail_ring_unseen_end(void)
{
}
#endif

struct mail_ring {
    ck_ring_t ring;
    ck_ring_buffer_t *slots;
    uint32_t size;
};

/* Room for `words` at once. */
static inline void mail_ring_init(struct mail_ring *ring, uint32_t words)
{
    uint32_t size = 4; /* the library's least, and a power of two; one slot stays empty */
    while (size < words + 1)
        size *= 2;
    ring->size = size;
    ring->slots = mem_pages(size * sizeof(ring->slots[0]));
    ck_ring_init(&ring->ring, size);
}

static inline void mail_ring_fini(struct mail_ring *ring)
{
    mem_pages_free(ring->slots, ring->size * sizeof(ring->slots[0]));
    ring->slots = NULL;
}

/* The writer's side; false when full. */
static inline bool mail_ring_put(struct mail_ring *ring, void *word)
{
#ifdef MAIL_RING_TSAN
    __tsan_release(ring);
#endif
    mail_ring_unseen_begin();
    bool put = ck_ring_enqueue_spsc(&ring->ring, ring->slots, word);
    mail_ring_unseen_end();
    return put;
}

/* The reader's side; false when empty. */
static inline bool mail_ring_take(struct mail_ring *ring, void **word)
{
    mail_ring_unseen_begin();
    bool taken = ck_ring_dequeue_spsc(&ring->ring, ring->slots, word);
    mail_ring_unseen_end();
#ifdef MAIL_RING_TSAN
    if (taken)
        __tsan_acquire(ring);
#endif
    return taken;
}

static inline bool mail_ring_empty(struct mail_ring *ring)
{
    mail_ring_unseen_begin();
    bool empty = ck_ring_size(&ring->ring) == 0;
    mail_ring_unseen_end();
    return empty;
}
