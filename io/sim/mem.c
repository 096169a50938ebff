/* SPDX-License-Identifier: Apache-2.0
 *
 * A header before each piece, in the list of its owner. Fresh memory is filled with a pattern, so
 * that code which reads what it never wrote does the same in every run instead of something else
 * each time. Pages carry their header at the end of a page of their own in front.
 */
#include "io/sim/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096U
#define PAGES_MAPPED                                                                               \
    ((size_t)1024 * 1024) // from here on straight from the kernel: zero until touched
#define FILL_BYTE    0xa5
#define FILL_MAX     ((size_t)64 * 1024)
#define MAGIC_PIECE  0x6d72706965636531U
#define MAGIC_PAGES  0x6d72706167657331U
#define MAGIC_MAPPED 0x6d726d6170706531U
#define MAGIC_FREED  0x6d72667265656431U

struct mem_head {
    LIST_ENTRY(mem_head) link;
    struct mem_owner *owner;
    uint64_t size;
    uint64_t magic;
    uint64_t pad;
};

_Static_assert(sizeof(struct mem_head) % 16 == 0, "what follows stays aligned");

static _Thread_local struct mem_owner *owner_here;

void mem_owner_init(struct mem_owner *owner)
{
    LIST_INIT(&owner->list);
    owner->bytes = 0;
    owner->count = 0;
}

struct mem_owner *mem_owner_set(struct mem_owner *owner)
{
    struct mem_owner *before = owner_here;
    owner_here = owner;
    return before;
}

static void head_link(struct mem_head *head, uint64_t size, uint64_t magic)
{
    head->size = size;
    head->magic = magic;
    head->owner = owner_here;
    if (head->owner) {
        LIST_INSERT_HEAD(&head->owner->list, head, link);
        head->owner->bytes += size;
        head->owner->count++;
    }
}

static void head_unlink(struct mem_head *head)
{
    if (head->owner) {
        LIST_REMOVE(head, link);
        head->owner->bytes -= head->size;
        head->owner->count--;
    }
    head->magic = MAGIC_FREED;
}

static struct mem_head *head_of(void *pointer)
{
    return (struct mem_head *)pointer - 1;
}

void *mem_alloc(size_t size)
{
    struct mem_head *head = malloc(sizeof(*head) + size);
    must(head != NULL);
    head_link(head, size, MAGIC_PIECE);
    memset(head + 1, FILL_BYTE, min_u64(size, FILL_MAX));
    return head + 1;
}

void *mem_zalloc(size_t size)
{
    struct mem_head *head = calloc(1, sizeof(*head) + size);
    must(head != NULL);
    head_link(head, size, MAGIC_PIECE);
    return head + 1;
}

/* Always moves, so that a stale pointer into the old piece is found at once. */
void *mem_realloc(void *pointer, size_t size)
{
    void *moved = mem_alloc(size);
    if (pointer) {
        must(head_of(pointer)->magic == MAGIC_PIECE);
        memcpy(moved, pointer, min_u64(size, head_of(pointer)->size));
        mem_free(pointer);
    }
    return moved;
}

void mem_free(void *pointer)
{
    if (!pointer)
        return;
    struct mem_head *head = head_of(pointer);
    must(head->magic == MAGIC_PIECE);
    head_unlink(head);
    free(head);
}

char *mem_strdup(const char *text)
{
    size_t len = strlen(text) + 1;
    return memcpy(mem_alloc(len), text, len);
}

void *mem_pages(size_t size)
{
    size_t whole = round_up(size, PAGE);
    uint8_t *base;
    uint64_t magic = MAGIC_PAGES;
    if (whole >= PAGES_MAPPED) {
        base = mmap(NULL, whole + PAGE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        must(base != MAP_FAILED);
        magic = MAGIC_MAPPED;
    } else {
        base = aligned_alloc(PAGE, whole + PAGE);
        must(base != NULL);
        memset(base + PAGE, 0, whole);
    }
    head_link(head_of(base + PAGE), whole, magic);
    return base + PAGE;
}

static void pages_release(struct mem_head *head)
{
    uint64_t size = head->size;
    uint64_t magic = head->magic;
    uint8_t *base = (uint8_t *)(head + 1) - PAGE;
    must(magic == MAGIC_PAGES || magic == MAGIC_MAPPED);
    head_unlink(head);
    if (magic == MAGIC_MAPPED)
        must(munmap(base, size + PAGE) == 0);
    else
        free(base);
}

void mem_pages_free(void *pages, size_t size)
{
    if (!pages)
        return;
    must(head_of(pages)->size == round_up(size, PAGE));
    pages_release(head_of(pages));
}

/* The analyzer does not see that unlinking moves the head of the list. */
// NOLINTBEGIN(clang-analyzer-unix.Malloc)
void mem_owner_free_all(struct mem_owner *owner)
{
    struct mem_head *head;
    while ((head = LIST_FIRST(&owner->list)) != NULL) {
        if (head->magic == MAGIC_PIECE)
            mem_free(head + 1);
        else
            pages_release(head);
    }
    must(owner->bytes == 0 && owner->count == 0);
}
// NOLINTEND(clang-analyzer-unix.Malloc)
