/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a properties file, and any such file as a configuration: no crash, every bound of
 * the interface holds, and a configuration that is accepted has at least one listener.
 */
#include "core/conf/conf.h"
#include "core/conf/properties.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const char *data, size_t size)
{
    static struct conf conf;
    struct conf_input input = {
        .file_name = "file", .file = data, .file_len = size, .hostname = "host"};
    if (conf_load(&conf, &input)) {
        must(conf.listeners.count > 0);
        must(conf.broker.num_partitions > 0 && conf.broker.node_id >= 0);
    }
    for (uint32_t i = 0; i < conf.line_count; i++)
        must(strchr(conf.line[i].text, '\n') == NULL);
    conf_fini(&conf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct properties properties;
    struct properties_error error;
    if (!properties_read(&properties, (const char *)data, size, &error)) {
        must(strlen(error.text) > 0);
        return 0;
    }
    uint32_t line = 0;
    for (uint32_t i = 0; i < properties.count; i++) {
        const struct property *entry = &properties.entry[i];
        must(strlen(entry->key) <= PROPERTY_KEY_LEN_MAX);
        must(strlen(entry->value) <= PROPERTY_VALUE_LEN_MAX);
        must(entry->line > line);
        line = entry->line;
    }
    /* The search for the names nearest to many unknown ones would eat the time for reading. */
    if (properties.count <= 8)
        load((const char *)data, size);
    properties_fini(&properties);
    return 0;
}
