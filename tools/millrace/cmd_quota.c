/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace cluster quota list`, `set` and `delete`: what clients may use. Whose quotas are meant
 * is said by --user, --client-id and --ip, or --default of one of them.
 */
#include "net/err.h"
#include "tools/millrace/cluster.h"

#include <stdlib.h>
#include <string.h>

#define TYPES      3U
#define LIMITS_MAX 64U
#define DEFAULTS   "<default>"

enum match { MATCH_EXACT = 0, MATCH_DEFAULT = 1, MATCH_ANY = 2 };

/* Of entities, as the protocol and as the options and columns call them. */
static const char *const types[TYPES] = {"user", "client-id", "ip"};
static const char *const members[TYPES] = {"user", "client_id", "ip"};

static const struct column list_columns[] = {
    {.key = "user", .title = "USER"},
    {.key = "client_id", .title = "CLIENT-ID"},
    {.key = "ip", .title = "IP"},
    {.key = "producer_byte_rate", .title = "PRODUCE/S", .unit = UNIT_BYTES},
    {.key = "consumer_byte_rate", .title = "FETCH/S", .unit = UNIT_BYTES},
    {.key = "request_percentage", .title = "REQUEST-%"},
    {.key = "controller_mutation_rate", .title = "PARTITIONS/S"},
    {.key = "connection_creation_rate", .title = "CONNECTIONS/S"},
};
#define QUOTAS_FIRST 3U /* of the columns */

static const struct column change_columns[] = {
    {.key = "user", .title = "USER"},
    {.key = "client_id", .title = "CLIENT-ID"},
    {.key = "ip", .title = "IP"},
    {.key = "result", .title = "RESULT"},
    {.key = "error", .title = "ERROR", .wide = true},
};

/* ---- whose ---- */

struct whose {
    bool given;
    bool by_default;
    const char *name;
};

static int type_of(const char *text)
{
    for (int i = 0; i < (int)TYPES; i++)
        if (strcmp(text, types[i]) == 0)
            return i;
    return -1;
}

static bool take_defaults(const struct invocation *inv, struct whose whose[TYPES])
{
    const char *text;
    for (uint32_t cursor = 0; (text = option_next(inv, "default", &cursor));) {
        int type = type_of(text);
        must(type >= 0); /* the option has choices */
        if (whose[type].given) {
            (void)usage_error(inv, "--default %s: a name of it is given as well", text);
            return false;
        }
        whose[type] = (struct whose){.given = true, .by_default = true};
    }
    return true;
}

static bool take_whose(const struct invocation *inv, struct whose whose[TYPES])
{
    for (unsigned i = 0; i < TYPES; i++) {
        const char *name = option_text(inv, types[i]);
        whose[i] = (struct whose){.given = name != NULL, .name = name};
    }
    return take_defaults(inv, whose);
}

/* ---- list ---- */

static int64_t whole_of(double value)
{
    return value < 9e18 ? (int64_t)value : INT64_MAX;
}

static json_t *json_of_limit(double value)
{
    int64_t whole = whole_of(value);
    return (double)whole == value ? json_integer(whole) : json_real(value);
}

static json_t *row_of(const struct describe_client_quotas_response_entry *entry)
{
    json_t *row = json_object();
    for (unsigned i = 0; i < array_count(list_columns); i++)
        (void)json_object_set_new(row, list_columns[i].key, json_null());
    for (int32_t i = 0; i < entry->entity_count; i++) {
        const struct describe_client_quotas_response_entity *entity = &entry->entity[i];
        for (unsigned type = 0; type < TYPES; type++)
            if (str_equal(entity->entity_type, str_of(types[type])))
                (void)json_object_set_new(row, members[type],
                                          entity->entity_name.len < 0
                                              ? json_string(DEFAULTS)
                                              : json_of(entity->entity_name));
    }
    for (int32_t i = 0; i < entry->values_count; i++)
        for (unsigned at = QUOTAS_FIRST; at < array_count(list_columns); at++)
            if (str_equal(entry->values[i].key, str_of(list_columns[at].key)))
                (void)json_object_set_new(row, list_columns[at].key,
                                          json_of_limit(entry->values[i].value));
    return row;
}

static int components_of(const struct invocation *inv, const struct whose whose[TYPES],
                         struct describe_client_quotas_request *request)
{
    struct describe_client_quotas_request_component *out = request->components;
    const char *any;
    bool wanted[TYPES];
    for (unsigned i = 0; i < TYPES; i++) {
        wanted[i] = whose[i].given;
        if (wanted[i])
            out[request->components_count++] = (struct describe_client_quotas_request_component){
                .entity_type = str_of(types[i]),
                .match_type = whose[i].by_default ? MATCH_DEFAULT : MATCH_EXACT,
                .match = whose[i].by_default ? str_null() : str_of(whose[i].name)};
    }
    for (uint32_t cursor = 0; (any = option_next(inv, "any", &cursor));) {
        int type = type_of(any);
        must(type >= 0);
        if (wanted[type])
            return usage_error(inv, "--any %s: one of it is named as well", any);
        wanted[type] = true;
        out[request->components_count++] = (struct describe_client_quotas_request_component){
            .entity_type = str_of(types[type]), .match_type = MATCH_ANY, .match = str_null()};
    }
    return EXIT_OK;
}

static int list(struct session *s)
{
    struct whose whose[TYPES];
    struct describe_client_quotas_request request;
    struct describe_client_quotas_response response;
    struct describe_client_quotas_request_component components[TYPES];
    init_describe_client_quotas_request(&request);
    request.components = components;
    request.strict = option_on(s->inv, "strict");
    if (!take_whose(s->inv, whose))
        return EXIT_USAGE;
    int code = components_of(s->inv, whose, &request);
    if (code == EXIT_OK)
        code = session_call(s, NULL, KEY_DESCRIBE_CLIENT_QUOTAS, CLIENT_NEWEST, &request, &response,
                            &s->arena);
    if (code != EXIT_OK)
        return code;
    if (response.error_code != ERR_NONE)
        return broker_error(s, "quotas", response.error_code, response.error_message);
    struct listing *listing = listing_open(s->inv, list_columns, array_count(list_columns));
    for (int32_t i = 0; i < response.entries_count; i++)
        listing_row(listing, row_of(&response.entries[i]));
    listing_close(listing);
    return EXIT_OK;
}

int cmd_cluster_quota_list(struct invocation *inv)
{
    return session_run(inv, list);
}

/* ---- set, delete ---- */

struct change {
    struct whose whose[TYPES];
    struct alter_client_quotas_request_op ops[LIMITS_MAX];
    int32_t op_count;
};

static int report(struct session *s, const struct change *change, const char *done,
                  const struct alter_client_quotas_response_entry *entry)
{
    int code = EXIT_OK;
    if (entry->error_code != ERR_NONE)
        code = broker_error(s, "quota", entry->error_code, entry->error_message);
    json_t *row = json_pack("{s:s, s:s?}", "result", entry->error_code ? "failed" : done, "error",
                            entry->error_code ? err_name(entry->error_code) : NULL);
    for (unsigned i = 0; i < TYPES; i++) {
        const struct whose *whose = &change->whose[i];
        (void)json_object_set_new(row, members[i],
                                  !whose->given       ? json_null()
                                  : whose->by_default ? json_string(DEFAULTS)
                                                      : json_of(str_of(whose->name)));
    }
    struct listing *listing =
        listing_open_report(s->inv, change_columns, array_count(change_columns));
    listing_row(listing, row);
    listing_close(listing);
    return code;
}

static int send(struct session *s, struct change *change, const char *done)
{
    struct alter_client_quotas_request request;
    struct alter_client_quotas_response response;
    struct alter_client_quotas_request_entry entry;
    struct alter_client_quotas_request_entity entity[TYPES];
    init_alter_client_quotas_request(&request);
    init_alter_client_quotas_request_entry(&entry);
    entry.entity = entity;
    entry.ops = change->ops;
    entry.ops_count = change->op_count;
    for (unsigned i = 0; i < TYPES; i++)
        if (change->whose[i].given)
            entity[entry.entity_count++] = (struct alter_client_quotas_request_entity){
                .entity_type = str_of(types[i]), .entity_name = str_of(change->whose[i].name)};
    if (entry.entity_count == 0)
        return usage_error(s->inv, "whose quota? --user, --client-id, --ip or --default is wanted");
    request.entries = &entry;
    request.entries_count = 1;
    request.validate_only = option_on(s->inv, "dry-run");
    struct broker_link *link = cluster_controller(s);
    if (!link)
        return EXIT_UNREACHABLE;
    int code = session_call(s, link, KEY_ALTER_CLIENT_QUOTAS, CLIENT_NEWEST, &request, &response,
                            &s->arena);
    if (code != EXIT_OK)
        return code;
    if (response.entries_count != 1) {
        complain(s->inv, "the broker answered about %d entities, not one", response.entries_count);
        return EXIT_FAILED;
    }
    return report(s, change, request.validate_only ? "valid" : done, &response.entries[0]);
}

static int set(struct session *s)
{
    struct change change = {0};
    if (!take_whose(s->inv, change.whose))
        return EXIT_USAGE;
    if (s->inv->operand_count > LIMITS_MAX)
        return usage_error(s->inv, "more than %u quotas", LIMITS_MAX);
    for (uint32_t i = 0; i < s->inv->operand_count; i++) {
        const char *text = s->inv->operands[i];
        const char *equals = strchr(text, '=');
        char *end = NULL;
        double value = equals ? strtod(equals + 1, &end) : 0;
        if (!equals || equals == text || end == equals + 1 || *end != '\0')
            return usage_error(s->inv, "%s: KEY=NUMBER is wanted", text);
        change.ops[change.op_count++] = (struct alter_client_quotas_request_op){
            .key = {text, (int32_t)(equals - text)}, .value = value};
    }
    return send(s, &change, "set");
}

int cmd_cluster_quota_set(struct invocation *inv)
{
    return session_run(inv, set);
}

static int remove_quotas(struct session *s)
{
    struct change change = {0};
    if (!take_whose(s->inv, change.whose))
        return EXIT_USAGE;
    if (s->inv->operand_count > LIMITS_MAX)
        return usage_error(s->inv, "more than %u quotas", LIMITS_MAX);
    for (uint32_t i = 0; i < s->inv->operand_count; i++)
        change.ops[change.op_count++] = (struct alter_client_quotas_request_op){
            .key = str_of(s->inv->operands[i]), .remove = true};
    for (unsigned at = QUOTAS_FIRST; s->inv->operand_count == 0 && at < array_count(list_columns);
         at++) {
        bool of_ip = strcmp(list_columns[at].key, "connection_creation_rate") == 0;
        if (of_ip == change.whose[TYPES - 1].given)
            change.ops[change.op_count++] = (struct alter_client_quotas_request_op){
                .key = str_of(list_columns[at].key), .remove = true};
    }
    return send(s, &change, "deleted");
}

int cmd_cluster_quota_delete(struct invocation *inv)
{
    return session_run(inv, remove_quotas);
}
