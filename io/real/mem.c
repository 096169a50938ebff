/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory in the real world. The broker is linked with jemalloc, which takes the place of malloc;
 * tests and sanitizers bring their own.
 */
#include "io/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE (2U << 20)

void *mem_alloc(size_t size)
{
    void *memory = malloc(size != 0 ? size : 1);
    must(memory != NULL);
    return memory;
}

void *mem_zalloc(size_t size)
{
    void *memory = calloc(1, size != 0 ? size : 1);
    must(memory != NULL);
    return memory;
}

void *mem_realloc(void *pointer, size_t size)
{
    void *memory = realloc(pointer, size != 0 ? size : 1);
    must(memory != NULL);
    return memory;
}

void mem_free(void *pointer)
{
    free(pointer);
}

char *mem_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = mem_alloc(size);
    memcpy(copy, text, size);
    return copy;
}

/* NORESERVE: the plan reserves address space for the worst case; what is never touched must not
 * count against a strict overcommit limit. */
static uint8_t *map(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(pages != MAP_FAILED);
    return pages;
}

static void unmap(uint8_t *pages, size_t size)
{
    int result = size > 0 ? munmap(pages, size) : 0;
    must(result == 0);
}

/* Pools get huge pages where the system lets a program ask for them: a new block costs one fault in
 * 512, and the kernel pins a direct write's memory by one entry where it had 64. */
void *mem_pages(size_t size)
{
    size = round_up(size, 4096);
    if (size < HUGE_PAGE)
        return map(size);
    uint8_t *room = map(size + HUGE_PAGE);
    size_t before = round_up((uintptr_t)room, HUGE_PAGE) - (uintptr_t)room;
    unmap(room, before);
    unmap(room + before + size, HUGE_PAGE - before);
    (void)madvise(room + before, size, MADV_HUGEPAGE);
    return room + before;
}

void mem_pages_free(void *pages, size_t size)
{
    unmap(pages, round_up(size, 4096));
}
