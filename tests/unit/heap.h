/* SPDX-License-Identifier: Apache-2.0
 *
 * io/mem.h on plain malloc, for tests that are linked without a body of the door; where there is
 * one, its functions take the place of these weak ones. Include in one file of a test program.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "io/mem.h"

__attribute__((weak)) void *mem_alloc(size_t size)
{
    void *memory = malloc(size > 0 ? size : 1);
    must(memory != NULL);
    return memory;
}

__attribute__((weak)) void *mem_zalloc(size_t size)
{
    return memset(mem_alloc(size), 0, size);
}

__attribute__((weak)) void *mem_realloc(void *pointer, size_t size)
{
    void *memory = realloc(pointer, size > 0 ? size : 1);
    must(memory != NULL);
    return memory;
}

__attribute__((weak)) void mem_free(void *pointer)
{
    free(pointer);
}

__attribute__((weak)) char *mem_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(mem_alloc(size), text, size);
}

__attribute__((weak)) void *mem_pages(size_t size)
{
    size = (size + 4095) & ~(size_t)4095;
    void *pages = aligned_alloc(4096, size);
    must(pages != NULL);
    return memset(pages, 0, size);
}

__attribute__((weak)) void mem_pages_free(void *pages, size_t size)
{
    (void)size;
    free(pages);
}
