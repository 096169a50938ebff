/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for everything that is not planned at start: part of the door, because the simulated world
 * must be able to take back all that a crashed broker held (io/sim tags each allocation with the
 * broker that runs). The real body is jemalloc. None of these returns NULL: what may grow is
 * bounded by a named limit before it gets here, so running out is a bug in a bound.
 *
 * Big, long-lived memory (tail blocks, receive blocks, journal buffers) comes as whole pages.
 */
#pragma once

#include "io/base.h"

void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_realloc(void *pointer, size_t size);
void mem_free(void *pointer); /* NULL is allowed */
char *mem_strdup(const char *text);

/* Zeroed, page-aligned, touched only when used; size is rounded up to whole pages. */
void *mem_pages(size_t size);
void mem_pages_free(void *pages, size_t size);
