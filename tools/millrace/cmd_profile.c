/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace profile create`, `use`, `list`, `show` and `delete`: named sets of settings.
 */
#include "tools/millrace/output.h"
#include "tools/millrace/profile.h"
#include "tools/millrace/settings.h"

#include <string.h>

/* Writes what has become of them and lets go of them. */
static int profiles_change(const struct invocation *inv, json_t *profiles)
{
    int code = profiles_write(inv, profiles) ? EXIT_OK : EXIT_FAILED;
    json_decref(profiles);
    return code;
}

static int setting_add(const struct invocation *inv, json_t *typed, const char *text)
{
    size_t len = strcspn(text, "=");
    char key[128];
    int code = settings_check(inv, text);
    if (code != EXIT_OK)
        return code;
    (void)snprintf(key, sizeof(key), "%.*s", (int)len, text);
    if (json_object_set_new(typed, key, json_string(text + len + 1)) != 0)
        return usage_error(inv, "setting %s: its value is no UTF-8", key);
    return EXIT_OK;
}

static int create(const struct invocation *inv, json_t *profiles)
{
    const char *name = inv->operands[0];
    json_t *all = json_object_get(profiles, "profiles");
    if (json_object_get(all, name) && !option_on(inv, "replace")) {
        complain(inv, "profile '%s' is there already; --replace makes it anew", name);
        return EXIT_PRESENCE;
    }
    json_t *typed = json_object();
    (void)json_object_set_new(all, name, typed);
    for (uint32_t i = 1; i < inv->operand_count; i++) {
        int code = setting_add(inv, typed, inv->operands[i]);
        if (code != EXIT_OK)
            return code;
    }
    if (option_on(inv, "use"))
        (void)json_object_set_new(profiles, "use", json_string(name));
    return profiles_write(inv, profiles) ? EXIT_OK : EXIT_FAILED;
}

int cmd_profile_create(struct invocation *inv)
{
    if (!profile_name_good(inv->operands[0]))
        return usage_error(inv, "'%s' is no name of a profile: letters, digits, _ and - are wanted",
                           inv->operands[0]);
    json_t *profiles = profiles_read(inv);
    int code = profiles ? create(inv, profiles) : EXIT_FAILED;
    json_decref(profiles);
    return code;
}

int cmd_profile_use(struct invocation *inv)
{
    json_t *profiles = profiles_read(inv);
    if (!profiles)
        return EXIT_FAILED;
    const char *name = inv->operand_count > 0 ? inv->operands[0] : NULL;
    if (name && !profile_find(inv, profiles, name)) {
        json_decref(profiles);
        return EXIT_PRESENCE;
    }
    (void)json_object_set_new(profiles, "use", name ? json_string(name) : json_null());
    if (!name)
        note(inv, "no profile is in use");
    return profiles_change(inv, profiles);
}

int cmd_profile_list(struct invocation *inv)
{
    static const struct column columns[] = {
        {.key = "profile", .title = "PROFILE"},
        {.key = "used", .title = "USED"},
        {.key = "bootstrap_servers", .title = "SERVERS"},
    };
    json_t *profiles = profiles_read(inv);
    if (!profiles)
        return EXIT_FAILED;
    const char *used = profile_in_use(profiles);
    const char *name;
    json_t *settings;
    json_t *all = json_object_get(profiles, "profiles");
    struct listing *listing = listing_open(inv, columns, array_count(columns));
    json_object_foreach(all, name, settings)
    {
        const char *servers = json_string_value(json_object_get(settings, "bootstrap.servers"));
        listing_row(listing, json_pack("{s:s, s:b, s:s?, s:O}", "profile", name, "used",
                                       used && strcmp(used, name) == 0, "bootstrap_servers",
                                       servers, "settings", settings));
    }
    listing_close(listing);
    if (json_object_size(all) == 0 && format_is_table(inv))
        note(inv, "no profiles; millrace profile create makes one");
    json_decref(profiles);
    return EXIT_OK;
}

int cmd_profile_show(struct invocation *inv)
{
    static const struct column columns[] = {
        {.key = "key", .title = "KEY"},
        {.key = "value", .title = "VALUE"},
    };
    json_t *profiles = profiles_read(inv);
    if (!profiles)
        return EXIT_FAILED;
    const char *name = inv->operand_count > 0 ? inv->operands[0] : profile_in_use(profiles);
    if (!name)
        complain(inv, "no profile is in use; name one, or millrace profile use NAME");
    json_t *found = name ? profile_find(inv, profiles, name) : NULL;
    if (found) {
        const char *key;
        json_t *value;
        struct listing *listing = listing_open(inv, columns, array_count(columns));
        json_object_foreach(found, key, value)
            listing_row(listing, json_pack("{s:s, s:O}", "key", key, "value", value));
        listing_close(listing);
    }
    int code = found ? EXIT_OK : EXIT_PRESENCE;
    json_decref(profiles);
    return code;
}

int cmd_profile_delete(struct invocation *inv)
{
    const char *name = inv->operands[0];
    json_t *profiles = profiles_read(inv);
    if (!profiles)
        return EXIT_FAILED;
    if (!profile_find(inv, profiles, name)) {
        json_decref(profiles);
        return EXIT_PRESENCE;
    }
    (void)json_object_del(json_object_get(profiles, "profiles"), name);
    const char *used = profile_in_use(profiles);
    if (used && strcmp(used, name) == 0) {
        (void)json_object_set_new(profiles, "use", json_null());
        note(inv, "it was in use; no profile is now");
    }
    return profiles_change(inv, profiles);
}
