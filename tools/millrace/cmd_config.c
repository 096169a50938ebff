/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace config list` and `millrace config explain`: the table of keys (core/conf/conf.def), for
 * people. No broker is asked.
 */
#include "core/conf/overrides.h"
#include "tools/millrace/output.h"

#include <string.h>

static const struct column columns[] = {
    {.key = "key", .title = "KEY"},
    {.key = "scope", .title = "SCOPE", .wide = true},
    {.key = "class", .title = "CLASS"},
    {.key = "type", .title = "TYPE", .wide = true},
    {.key = "default", .title = "DEFAULT"},
    {.key = "unit", .title = "UNIT", .wide = true},
    {.key = "changes", .title = "CHANGES", .wide = true},
};

static const char *const scope_names[] = {[CONF_BROKER] = "broker", [CONF_TOPIC] = "topic"};

static const char *changes_of(const struct conf_key *key)
{
    if (key->scope == CONF_TOPIC)
        return "at run time, per topic";
    switch ((enum conf_dynamic)key->dynamic) {
    case CONF_READ_ONLY:
        return "with a restart";
    case CONF_PER_BROKER:
        return "at run time, per broker";
    case CONF_CLUSTER_WIDE:
        return "at run time, for the cluster";
    }
    return "";
}

/* What holds where nothing is set: the key's default, or that of one that counts instead. */
static void find_in_effect(const struct conf_key *key, struct conf_value *value)
{
    static const struct conf nothing_set;
    conf_value_find(&(struct conf_view){.conf = &nothing_set}, key, value);
}

static json_t *key_row(const struct conf_key *key)
{
    char expects[256];
    struct conf_value in_effect;
    find_in_effect(key, &in_effect);
    const char *words = conf_expects(key, expects, sizeof(expects));
    const char *unit = conf_unit_of(key);
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:s, s:s?, s:s}", "key", key->name, "scope",
        scope_names[key->scope], "class", conf_class_name((enum conf_class)key->class), "type",
        conf_type_name(key), "default", key->fallback, "in_effect", in_effect.text, "unit",
        unit[0] ? unit : NULL, "expects", words[0] ? words : NULL, "changes", changes_of(key),
        "twins", key->twins && key->twins[0] ? key->twins : NULL, "doc", key->doc);
}

int cmd_config_list(struct invocation *inv)
{
    const char *word = inv->operand_count > 0 ? inv->operands[0] : "";
    bool all = option_on(inv, "all");
    const char *scope = option_text(inv, "scope");
    struct listing *listing = listing_open(inv, columns, array_count(columns));
    for (uint16_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        bool works = key->class == CONF_HONOURED || key->class == CONF_MAPPED;
        if ((works || all) && strstr(key->name, word) &&
            (!scope || strcmp(scope, scope_names[key->scope]) == 0))
            listing_row(listing, key_row(key));
    }
    listing_close(listing);
    if (!all && format_is_table(inv))
        note(inv, "keys that do something; --all shows Kafka's others too");
    return EXIT_OK;
}

static void explain_default(const struct conf_key *key)
{
    struct conf_value in_effect;
    find_in_effect(key, &in_effect);
    printf("  default  %s", key->fallback ? key->fallback : "none");
    if (!key->fallback && in_effect.text)
        printf(", so %s by %s is in effect", in_effect.text, in_effect.key->name);
    putchar('\n');
}

/* "a,b" */
static void explain_twins(const char *twins)
{
    const char *before = "  not set  ";
    for (const char *at = twins; *at;) {
        int len = (int)strcspn(at, ",");
        printf("%s%.*s counts", before, len, at);
        before = ", else ";
        at += len + (at[len] == ',');
    }
    putchar('\n');
}

static void explain(const struct conf_key *key)
{
    char expects[256];
    const char *unit = conf_unit_of(key);
    printf("%s (%s)\n  %s\n", key->name, scope_names[key->scope], key->doc);
    printf("  class    %s\n", conf_class_name((enum conf_class)key->class));
    printf("  type     %s%s%s\n", conf_type_name(key), unit[0] ? ", " : "", unit);
    explain_default(key);
    if (conf_expects(key, expects, sizeof(expects))[0])
        printf("  takes    %s\n", expects);
    printf("  changes  %s\n", changes_of(key));
    if (key->twins && key->twins[0])
        explain_twins(key->twins);
}

int cmd_config_explain(struct invocation *inv)
{
    const char *name = inv->operands[0];
    const struct conf_key *found[] = {conf_find(CONF_BROKER, name), conf_find(CONF_TOPIC, name)};
    if (!found[0] && !found[1]) {
        const struct conf_key *near = conf_nearest(CONF_BROKER, name);
        if (!near)
            near = conf_nearest(CONF_TOPIC, name);
        complain(inv, "there is no key '%s'%s", name, did_you_mean(near ? near->name : NULL));
        return EXIT_PRESENCE;
    }
    bool table = format_is_table(inv);
    struct listing *listing = table ? NULL : listing_open(inv, columns, array_count(columns));
    for (size_t i = 0; i < array_count(found); i++) {
        if (found[i] && table)
            explain(found[i]);
        else if (found[i])
            listing_row(listing, key_row(found[i]));
    }
    if (listing)
        listing_close(listing);
    return EXIT_OK;
}
