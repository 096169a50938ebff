/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a workload and as a driver: no crash, every error has its words, and what is taken
 * is within its bounds.
 */
#include "tools/millrace/bench/bench_workload.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good, const struct yaml_error *error)
{
    must(good || (error->text[0] != 0 && strlen(error->text) < sizeof(error->text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct yaml_map map;
    struct yaml_error error = {.text = ""};
    struct workload workload;
    struct driver driver;
    if (!yaml_map_read(&map, (const char *)data, size, &error)) {
        check(false, &error);
        return 0;
    }
    must(map.count <= YAML_ENTRIES_MAX);
    for (uint32_t i = 0; i < map.count; i++)
        must(map.entries[i].key != NULL && map.entries[i].line > 0);
    bool good = workload_read(&workload, &map, &error);
    check(good, &error);
    if (good) {
        must(workload.topics > 0 && workload.partitions > 0 && workload.producers > 0);
        must(workload.message_bytes > 0 && workload.rate >= 0);
        must(!workload.randomized || workload.pool * workload.message_bytes <= 256 << 20);
        must(workload.random_ratio >= 0 && workload.random_ratio <= 1);
        must(workload.keys >= WORKLOAD_NO_KEY && workload.keys <= WORKLOAD_RANDOM);
    }
    good = driver_read(&driver, &map, &error);
    check(good, &error);
    yaml_map_fini(&map);
    return 0;
}
