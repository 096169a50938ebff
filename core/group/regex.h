/* SPDX-License-Identifier: Apache-2.0
 *
 * Regular expressions of subscriptions: RE2's syntax, as in Kafka, and RE2 itself, whose time is
 * linear in the text. An expression has to mean the whole name. None of them outlives a turn or a
 * piece of work: the library's memory is not the door's (io/mem.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct regex;

#define REGEX_BYTES_MAX 1024 /* of its text */

/* NULL: it is none, or too large for the memory that one may have. */
struct regex *regex_new(const char *text, size_t len);
void regex_free(struct regex *regex);
bool regex_matches(const struct regex *regex, const char *text, size_t len);

#ifdef __cplusplus
}
#endif
