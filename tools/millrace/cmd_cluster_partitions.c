/* SPDX-License-Identifier: Apache-2.0
 *
 * Where partitions are and where they shall be: `millrace cluster partitions`, `cluster reassign`
 * and `cluster leader-elect`. Each prints a row per partition.
 */
#include "net/err.h"
#include "tools/millrace/cluster.h"
#include "tools/millrace/partition_list.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_EVERY_NS   500000000U
#define REPLICAS_MAX    64U
#define MOVES_BYTES_MAX (64U << 20) /* of a list of moves */
#define PREFERRED       0           /* election types */
#define UNCLEAN         1

/* ---- which ---- */

/* The partitions that the operands name, topic by topic, in the order of the operands. */
struct chosen {
    struct chosen_topic {
        struct str name;
        int32_t *partitions;
        int32_t count;
    } * topics;
    uint32_t count;
    uint32_t partitions; /* of all */
};

static const struct metadata_response_topic *topic_of(const struct metadata_response *metadata,
                                                      struct str name)
{
    for (int32_t i = 0; i < metadata->topics_count; i++)
        if (str_equal(metadata->topics[i].name, name))
            return &metadata->topics[i];
    return NULL;
}

static int choose_one(struct session *s, const struct topic_choice *choice,
                      const struct metadata_response *metadata, struct chosen_topic *out)
{
    out->name = (struct str){choice->topic, (int32_t)choice->len};
    const struct metadata_response_topic *topic = topic_of(metadata, out->name);
    if (!topic || topic->error_code != ERR_NONE)
        return topic_not_found(s, text_of(s, out->name));
    out->partitions =
        arena_array(&s->arena, (size_t)topic->partitions_count, sizeof(*out->partitions));
    must(out->partitions != NULL);
    bool bad = false;
    for (int32_t i = 0; i < topic->partitions_count; i++)
        if (partition_list_has(choice->list, topic->partitions[i].partition_index, &bad))
            out->partitions[out->count++] = topic->partitions[i].partition_index;
    if (bad)
        return usage_error(s->inv, "'%s' is no list of partitions, as 0,3-5", choice->list);
    if (out->count > 0)
        return EXIT_OK;
    complain(s->inv, "topic '%s' has no such partition: %s", text_of(s, out->name),
             choice->list ? choice->list : "it has none");
    return EXIT_PRESENCE;
}

static int choose(struct session *s, struct chosen *chosen)
{
    const struct invocation *inv = s->inv;
    struct metadata_response metadata;
    int code = cluster_metadata(s, NULL, 0, false, &metadata);
    *chosen = (struct chosen){.count = inv->operand_count};
    chosen->topics = arena_array(&s->arena, inv->operand_count, sizeof(*chosen->topics));
    must(chosen->topics != NULL);
    for (uint32_t i = 0; code == EXIT_OK && i < inv->operand_count; i++) {
        const struct topic_choice choice = topic_choice_of(inv->operands[i]);
        chosen->topics[i] = (struct chosen_topic){0};
        code = choose_one(s, &choice, &metadata, &chosen->topics[i]);
        chosen->partitions += (uint32_t)chosen->topics[i].count;
    }
    return code;
}

/* ---- what came of it ---- */

static const struct column change_columns[] = {
    {.key = "topic", .title = "TOPIC"},
    {.key = "partition", .title = "PARTITION"},
    {.key = "result", .title = "RESULT"},
    {.key = "error", .title = "ERROR", .wide = true},
};

struct report {
    struct session *s;
    struct listing *listing;
    struct tally tally;
};

static void report_open(struct report *report, struct session *s)
{
    *report = (struct report){.s = s};
    report->listing = listing_open_report(s->inv, change_columns, array_count(change_columns));
}

static int report_close(struct report *report)
{
    listing_close(report->listing);
    return tally_code(&report->tally);
}

static void report_add(struct report *report, struct str topic, int32_t partition, int16_t error,
                       struct str text, const char *done)
{
    int code = EXIT_OK;
    if (error != ERR_NONE) {
        char thing[300];
        (void)snprintf(thing, sizeof(thing), "%.249s-%d", text_of(report->s, topic), partition);
        code = broker_error(report->s, thing, error, text);
    }
    tally_add(&report->tally, code);
    listing_row(report->listing,
                json_pack("{s:o, s:i, s:s, s:s?, s:o}", "topic", json_of(topic), "partition",
                          partition, "result", error ? "failed" : done, "error",
                          error ? err_name(error) : NULL, "message",
                          error ? json_of(text) : json_null()));
}

/* ---- moves under way ---- */

static int list_moves(struct session *s, struct list_partition_reassignments_response *moves,
                      struct arena *arena)
{
    struct list_partition_reassignments_request request;
    init_list_partition_reassignments_request(&request);
    request.timeout_ms = (int32_t)s->settings.request_timeout_ms;
    request.topics_count = -1; /* all */
    int code = cluster_ask_controller(s, KEY_LIST_PARTITION_REASSIGNMENTS, &request, moves, arena);
    if (code == EXIT_OK && moves->error_code != ERR_NONE)
        code = broker_error(s, "the list of moves", moves->error_code, moves->error_message);
    return code;
}

static const struct list_partition_reassignments_response_partition *
move_of(const struct list_partition_reassignments_response *moves, struct str topic,
        int32_t partition)
{
    for (int32_t i = 0; i < moves->topics_count; i++) {
        if (!str_equal(moves->topics[i].name, topic))
            continue;
        for (int32_t p = 0; p < moves->topics[i].partitions_count; p++)
            if (moves->topics[i].partitions[p].partition_index == partition)
                return &moves->topics[i].partitions[p];
    }
    return NULL;
}

/* ---- partitions ---- */

static const struct column partition_columns[] = {
    {.key = "topic", .title = "TOPIC"},
    {.key = "partition", .title = "PARTITION"},
    {.key = "leader", .title = "LEADER"},
    {.key = "replicas", .title = "REPLICAS"},
    {.key = "in_sync", .title = "IN-SYNC"},
    {.key = "state", .title = "STATE"},
    {.key = "adding", .title = "ADDING", .wide = true},
    {.key = "removing", .title = "REMOVING", .wide = true},
};

static const char *state_of(const struct metadata_response_partition *partition,
                            const struct list_partition_reassignments_response_partition *move)
{
    if (partition->leader_id < 0)
        return "no leader";
    if (move)
        return "moving";
    if (partition->isr_nodes_count < partition->replica_nodes_count)
        return "under-replicated";
    if (partition->replica_nodes_count > 0 && partition->replica_nodes[0] != partition->leader_id)
        return "not the preferred leader";
    return "good";
}

static void partition_row(struct listing *listing, bool all, struct str topic,
                          const struct metadata_response_partition *partition,
                          const struct list_partition_reassignments_response_partition *move)
{
    const char *state = state_of(partition, move);
    if (!all && strcmp(state, "good") == 0)
        return;
    listing_row(
        listing,
        json_pack(
            "{s:o, s:i, s:o, s:o, s:o, s:s, s:o, s:o}", "topic", json_of(topic), "partition",
            partition->partition_index, "leader", json_of_offset(partition->leader_id), "replicas",
            json_of_i32s(partition->replica_nodes, partition->replica_nodes_count), "in_sync",
            json_of_i32s(partition->isr_nodes, partition->isr_nodes_count), "state", state,
            "adding",
            move ? json_of_i32s(move->adding_replicas, move->adding_replicas_count) : json_array(),
            "removing",
            move ? json_of_i32s(move->removing_replicas, move->removing_replicas_count)
                 : json_array()));
}

static int partitions(struct session *s)
{
    const struct invocation *inv = s->inv;
    const bool all = option_on(inv, "all");
    struct metadata_response metadata;
    struct list_partition_reassignments_response moves;
    int code = cluster_metadata(s, inv->operand_count > 0 ? inv->operands : NULL,
                                inv->operand_count, false, &metadata);
    if (code == EXIT_OK)
        code = list_moves(s, &moves, &s->arena);
    if (code != EXIT_OK)
        return code;
    struct tally tally = {0};
    struct listing *listing = listing_open(inv, partition_columns, array_count(partition_columns));
    for (int32_t i = 0; i < metadata.topics_count; i++) {
        const struct metadata_response_topic *topic = &metadata.topics[i];
        tally_add(&tally, topic->error_code == ERR_UNKNOWN_TOPIC_OR_PARTITION
                              ? topic_not_found(s, text_of(s, topic->name))
                              : EXIT_OK);
        for (int32_t p = 0; p < topic->partitions_count; p++)
            partition_row(listing, all, topic->name, &topic->partitions[p],
                          move_of(&moves, topic->name, topic->partitions[p].partition_index));
    }
    listing_close(listing);
    return tally_code(&tally);
}

int cmd_cluster_partitions(struct invocation *inv)
{
    return session_run(inv, partitions);
}

/* ---- reassign ---- */

struct wanted {
    int32_t brokers[REPLICAS_MAX];
    int32_t count; /* -1: what is under way is taken back */
    bool spread;   /* the next one leads the next partition */
};

/* "1,2,3" */
static bool brokers_of(const struct invocation *inv, const char *text, struct wanted *wanted)
{
    wanted->count = 0;
    for (const char *at = text;; at++) {
        char *end;
        long id = strtol(at, &end, 10);
        if (end == at || id < 0 || id > INT32_MAX || (*end != ',' && *end != '\0') ||
            wanted->count == (int32_t)REPLICAS_MAX) {
            (void)usage_error(inv, "--to %s: ids of brokers are wanted, as 1,2,3", text);
            return false;
        }
        wanted->brokers[wanted->count++] = (int32_t)id;
        at = end;
        if (*at == '\0')
            return true;
    }
}

static void wish_fill(struct session *s, const struct wanted *wanted, int32_t partition,
                      struct alter_partition_reassignments_request_partition *out)
{
    init_alter_partition_reassignments_request_partition(out);
    out->partition_index = partition;
    out->replicas_count = wanted->count;
    if (wanted->count < 0)
        return;
    out->replicas = arena_array(&s->arena, (size_t)wanted->count, sizeof(*out->replicas));
    must(out->replicas != NULL);
    for (int32_t i = 0; i < wanted->count; i++)
        out->replicas[i] = wanted->brokers[(i + (wanted->spread ? partition : 0)) % wanted->count];
}

static int ask_for_moves(struct session *s, const struct chosen *chosen,
                         const struct wanted *wanted)
{
    struct alter_partition_reassignments_request request;
    struct alter_partition_reassignments_response response;
    init_alter_partition_reassignments_request(&request);
    request.timeout_ms = (int32_t)s->settings.request_timeout_ms;
    request.topics_count = (int32_t)chosen->count;
    request.topics = arena_array(&s->arena, chosen->count, sizeof(*request.topics));
    must(request.topics != NULL);
    for (uint32_t i = 0; i < chosen->count; i++) {
        struct alter_partition_reassignments_request_topic *topic = &request.topics[i];
        init_alter_partition_reassignments_request_topic(topic);
        topic->name = chosen->topics[i].name;
        topic->partitions_count = chosen->topics[i].count;
        topic->partitions =
            arena_array(&s->arena, (size_t)topic->partitions_count, sizeof(*topic->partitions));
        must(topic->partitions != NULL);
        for (int32_t p = 0; p < topic->partitions_count; p++)
            wish_fill(s, wanted, chosen->topics[i].partitions[p], &topic->partitions[p]);
    }
    int code = cluster_ask_controller(s, KEY_ALTER_PARTITION_REASSIGNMENTS, &request, &response,
                                      &s->arena);
    if (code == EXIT_OK && response.error_code != ERR_NONE)
        code = broker_error(s, "the moves", response.error_code, response.error_message);
    if (code != EXIT_OK)
        return code;
    struct report report;
    report_open(&report, s);
    for (int32_t i = 0; i < response.responses_count; i++) {
        const struct alter_partition_reassignments_response_topic *topic = &response.responses[i];
        for (int32_t p = 0; p < topic->partitions_count; p++)
            report_add(&report, topic->name, topic->partitions[p].partition_index,
                       topic->partitions[p].error_code, topic->partitions[p].error_message,
                       wanted->count < 0 ? "taken back" : "moving");
    }
    return report_close(&report);
}

static uint32_t still_moving(const struct chosen *chosen,
                             const struct list_partition_reassignments_response *moves)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < chosen->count; i++)
        for (int32_t p = 0; p < chosen->topics[i].count; p++)
            count +=
                move_of(moves, chosen->topics[i].name, chosen->topics[i].partitions[p]) != NULL;
    return count;
}

/* Until none of them moves any more. */
static int await_moves(struct session *s, const struct chosen *chosen)
{
    const bool shown = !s->inv->quiet && isatty(STDERR_FILENO);
    struct list_partition_reassignments_response moves;
    struct arena arena;
    uint32_t left = chosen->partitions;
    int code = EXIT_OK;
    arena_init(&arena, MOVES_BYTES_MAX);
    while (code == EXIT_OK && left > 0) {
        session_pause(s, LOOK_EVERY_NS);
        arena_reset(&arena);
        code = list_moves(s, &moves, &arena);
        left = code == EXIT_OK ? still_moving(chosen, &moves) : left;
        if (shown)
            (void)fprintf(stderr, "\r%u of %u partitions are there ", chosen->partitions - left,
                          chosen->partitions);
    }
    if (shown)
        (void)fputc('\n', stderr);
    arena_fini(&arena);
    return code;
}

static int reassign(struct session *s)
{
    const struct invocation *inv = s->inv;
    const char *to = option_text(inv, "to");
    const bool cancel = option_on(inv, "cancel");
    struct wanted wanted = {.count = -1, .spread = option_on(inv, "spread")};
    struct chosen chosen;
    if (!to == !cancel)
        return usage_error(inv, "--to BROKER,... or --cancel is wanted, one of them");
    if (to && !brokers_of(inv, to, &wanted))
        return EXIT_USAGE;
    int code = choose(s, &chosen);
    if (code == EXIT_OK)
        code = ask_for_moves(s, &chosen, &wanted);
    if (code == EXIT_OK && option_on(inv, "wait"))
        code = await_moves(s, &chosen);
    return code;
}

int cmd_cluster_reassign(struct invocation *inv)
{
    return session_run(inv, reassign);
}

/* ---- leader-elect ---- */

static int leader_elect(struct session *s)
{
    const struct invocation *inv = s->inv;
    const bool unclean = option_on(inv, "unclean");
    struct chosen chosen;
    struct elect_leaders_request request;
    struct elect_leaders_response response;
    if (unclean && inv->operand_count == 0)
        return usage_error(inv, "--unclean may lose records: name the partitions, as orders:0,3");
    init_elect_leaders_request(&request);
    request.election_type = unclean ? UNCLEAN : PREFERRED;
    request.timeout_ms = (int32_t)s->settings.request_timeout_ms;
    request.topic_partitions_count = -1; /* all */
    int code = inv->operand_count > 0 ? choose(s, &chosen) : EXIT_OK;
    if (code == EXIT_OK && inv->operand_count > 0) {
        request.topic_partitions_count = (int32_t)chosen.count;
        request.topic_partitions =
            arena_array(&s->arena, chosen.count, sizeof(*request.topic_partitions));
        must(request.topic_partitions != NULL);
        for (uint32_t i = 0; i < chosen.count; i++) {
            init_elect_leaders_request_topic_partition(&request.topic_partitions[i]);
            request.topic_partitions[i].topic = chosen.topics[i].name;
            request.topic_partitions[i].partitions = chosen.topics[i].partitions;
            request.topic_partitions[i].partitions_count = chosen.topics[i].count;
        }
    }
    if (code == EXIT_OK)
        code = cluster_ask_controller(s, KEY_ELECT_LEADERS, &request, &response, &s->arena);
    if (code == EXIT_OK && response.error_code != ERR_NONE)
        code = broker_error(s, "the election", response.error_code, str_null());
    if (code != EXIT_OK)
        return code;
    struct report report;
    report_open(&report, s);
    for (int32_t i = 0; i < response.replica_election_results_count; i++) {
        const struct elect_leaders_response_replica_election_result *topic =
            &response.replica_election_results[i];
        for (int32_t p = 0; p < topic->partition_result_count; p++) {
            int16_t error = topic->partition_result[p].error_code;
            bool same = error == ERR_ELECTION_NOT_NEEDED;
            report_add(&report, topic->topic, topic->partition_result[p].partition_id,
                       same ? ERR_NONE : error, topic->partition_result[p].error_message,
                       same ? "leads already" : "elected");
        }
    }
    return report_close(&report);
}

int cmd_cluster_leader_elect(struct invocation *inv)
{
    return session_run(inv, leader_elect);
}
