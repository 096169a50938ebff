/* SPDX-License-Identifier: Apache-2.0
 *
 * Partitions as people name them: "0,3-5".
 */
#pragma once

#include "io/base.h"

#define PARTITION_MAX 65536

/* Is it in the list? NULL is the list of all. Sets *bad when the list is none. */
bool partition_list_has(const char *list, int32_t partition, bool *bad);

/* "orders" or "orders:0,3-5", as kafka-consumer-groups writes it. */
struct topic_choice {
    const char *topic; /* len bytes of it */
    size_t len;
    const char *list; /* NULL: all partitions */
};
struct topic_choice topic_choice_of(const char *text);
