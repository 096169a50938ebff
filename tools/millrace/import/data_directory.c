/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/data_directory.h"

#include "io/threads.h"

#include <unistd.h>

#define MEMORY_BYTES (64ULL << 20)

struct log_dir_options data_directory_options(const char *path)
{
    return (struct log_dir_options){
        .path = path,
        .fs = fs_host(),
        .node_id = -1,
        .pid = (uint32_t)getpid(),
        .shards = 1,
        .tail_bytes = MEMORY_BYTES,
        .cold_bytes = MEMORY_BYTES,
    };
}
