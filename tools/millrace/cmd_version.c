/* SPDX-License-Identifier: Apache-2.0 */
#include "net/kafka.h"
#include "tools/millrace/output.h"

#include <jansson.h>
#include <sys/utsname.h>

/* The keys and versions that the broker answers. */
static json_t *served_apis(void)
{
    json_t *apis = json_array();
    for (size_t i = 0; i < kafka_apis_count; i++) {
        const struct kafka_api *api = &kafka_apis[i];
        if (api->served_max >= 0)
            (void)json_array_append_new(apis, json_pack("{s:i, s:s, s:i, s:i}", "key", api->key,
                                                        "name", api->name, "min", api->served_min,
                                                        "max", api->served_max));
    }
    return apis;
}

int cmd_version(struct invocation *inv)
{
    static const struct column columns[] = {
        {.key = "key", .title = "KEY"},
        {.key = "name", .title = "API"},
        {.key = "min", .title = "FROM"},
        {.key = "max", .title = "TO"},
    };
    struct utsname machine;
    const char *kernel = uname(&machine) == 0 ? machine.release : "?";
    if (!format_is_table(inv) && format_of(inv) != FORMAT_AWK) {
        print_object(inv, json_pack("{s:s, s:s, s:s, s:s, s:o}", "version", MR_VERSION, "compiler",
                                    __VERSION__, "kernel", kernel, "protocol", "kafka", "apis",
                                    served_apis()));
        return EXIT_OK;
    }
    puts("millrace " MR_VERSION);
    if (!inv->verbose)
        return EXIT_OK;
    puts("compiler " __VERSION__);
    printf("kernel %s\n", kernel);
    json_t *apis = served_apis();
    struct listing *listing = listing_open(inv, columns, array_count(columns));
    size_t index;
    json_t *api;
    json_array_foreach(apis, index, api) listing_row(listing, json_incref(api));
    listing_close(listing);
    json_decref(apis);
    return EXIT_OK;
}
