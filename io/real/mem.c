/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory in the real world. The broker is linked with jemalloc, which takes the place of malloc;
 * tests and sanitizers bring their own.
 */
#include "io/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* jemalloc reads it before main(). Without a thread of its own what was freed goes back to the
 * system only while the same thread goes on allocating, and a broker at rest never does: large
 * requests of strangers left 100 MiB for good, where they leave 10 s later now. */
extern const char *malloc_conf;
const char *malloc_conf = "background_thread:true";

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
 * count against a strict overcommit limit. No huge pages: to clear 2 MiB in a turn took 4 to 7 ms
 * where a host gives memory on demand, and one request in a hundred waited for it; memory that is
 * used again and again (core/log/tail.c) has little to gain from them. */
void *mem_pages(size_t size)
{
    void *pages = mmap(NULL, round_up(size, 4096), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(pages != MAP_FAILED);
    return pages;
}

void mem_pages_free(void *pages, size_t size)
{
    int result = munmap(pages, round_up(size, 4096));
    must(result == 0);
}
