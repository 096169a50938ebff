/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a properties file: no crash, and every bound of the interface holds.
 */
#include "core/properties.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    properties_fini(&properties);
    return 0;
}
