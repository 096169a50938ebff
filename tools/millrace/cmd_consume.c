/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace consume`: one fetch at a time per broker, for all its partitions; each answer's batches
 * are checked, unpacked and printed, and then the next is asked for. What a broker holds of open or
 * aborted transactions is left out (KIP-98), and so are control records.
 *
 * With --group the partitions are those that a group gives (tools/millrace/group/group_session.h),
 * and what was printed is committed: before a rebalance, every few seconds, and when it ends, be it
 * by INT or TERM, before it leaves the group.
 */
#include "io/mem.h"
#include "net/err.h"
#include "tools/millrace/group/group_session.h"
#include "tools/millrace/record_format.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define ABORTED_MAX      1024U
#define OUTPUT_TOKENS    "sktpoThSKR"
#define PATIENCE_ANSWERS 2U /* request timeouts without any answer, then it ends */

enum print_form { PRINT_FORMAT, PRINT_LINES, PRINT_ITEMS, PRINT_AWK };

struct consumer;

/* A fetch under way from one broker. */
struct fetch {
    struct client_call call;
    struct consumer *consumer;
    int32_t leader;
    uint32_t epoch; /* of the consumer when it was asked */
    bool in_flight;
};

struct consumer {
    struct session *s;
    struct group_session *group; /* NULL: it is in none */
    struct fetch_plan plan;
    uint32_t epoch;        /* counts the plans: an answer to an older one says nothing */
    struct fetch *fetches; /* one per broker that leads something */
    uint32_t fetch_count;
    struct record_format format;
    enum print_form form;
    struct inflater inflater;
    int64_t left; /* records still wanted */
    uint64_t printed;
    bool exit_at_end;
    bool stale; /* where the leaders are has to be asked again */
    bool news;
    bool ended;
    bool broken; /* what was printed did not arrive */
    int code;
    uint64_t answered_ns; /* when a broker last did */
};

/* ---- records ---- */

static void print_one(struct consumer *c, struct fetch_part *part,
                      const struct batch_header *header, const struct record *record)
{
    const struct envelope envelope = {
        .topic = part->topic,
        .partition = part->partition,
        .broker = part->leader,
        .log_append_time = header->attributes & BATCH_LOG_APPEND_TIME,
    };
    switch (c->form) {
    case PRINT_FORMAT:
        record_print(stdout, &c->format, part->topic, part->partition, record);
        break;
    case PRINT_AWK:
        record_print_awk(stdout, part->topic, part->partition, record);
        break;
    case PRINT_ITEMS:
        fputs(c->printed ? ",\n" : "\n", stdout);
        record_print_json(stdout, &envelope, record);
        break;
    case PRINT_LINES:
        record_print_json(stdout, &envelope, record);
        putc_unlocked('\n', stdout);
        break;
    }
    part->next = record->offset + 1;
    c->printed++;
    if (c->left > 0 && --c->left == 0)
        c->ended = true;
}

static void damaged(struct consumer *c, const struct fetch_part *part, const char *what)
{
    complain(c->s->inv, "topic '%s', partition %d, offset %lld: %s", part->topic, part->partition,
             (long long)part->next, what);
    c->code = EXIT_FAILED;
    c->ended = true;
}

static void print_batch(struct consumer *c, struct fetch_part *part, struct span batch)
{
    struct record_iter iter;
    struct record record;
    if (!record_iter_init(&iter, &c->inflater, batch, INFLATED_BYTES_MAX)) {
        damaged(c, part, "a batch that is none");
        return;
    }
    enum record_status status;
    while (!c->ended && !part->over && (status = record_iter_next(&iter, &record)) != RECORD_END) {
        if (status != RECORD_READY) {
            damaged(c, part, "the records of the batch cannot be read");
            break;
        }
        if (record.offset >= part->end)
            part->over = true;
        else if (record.offset >= part->next)
            print_one(c, part, &iter.header, &record);
    }
    record_iter_fini(&iter);
}

/* ---- transactions ---- */

/* Producers whose transaction, at the batch now looked at, will turn out to be aborted. */
struct aborted {
    const struct fetch_response_aborted_transaction *list;
    int32_t list_count;
    int64_t producers[ABORTED_MAX];
    uint32_t count;
    bool *taken; /* of the list */
};

static void aborted_begin(struct aborted *aborted, int64_t last_offset)
{
    for (int32_t i = 0; i < aborted->list_count; i++) {
        if (aborted->taken[i] || aborted->list[i].first_offset > last_offset ||
            aborted->count == ABORTED_MAX)
            continue;
        aborted->taken[i] = true;
        aborted->producers[aborted->count++] = aborted->list[i].producer_id;
    }
}

static uint32_t aborted_find(const struct aborted *aborted, int64_t producer_id)
{
    for (uint32_t i = 0; i < aborted->count; i++)
        if (aborted->producers[i] == producer_id)
            return i;
    return ABORTED_MAX;
}

/* A marker ends the producer's transaction, one way or the other. Control records: never shown. */
static bool is_left_out(struct aborted *aborted, const struct batch_header *header)
{
    aborted_begin(aborted, batch_last_offset(header));
    uint32_t at = aborted_find(aborted, header->producer_id);
    if (header->attributes & BATCH_CONTROL) {
        if (at < ABORTED_MAX)
            aborted->producers[at] = aborted->producers[--aborted->count];
        return true;
    }
    return at < ABORTED_MAX && header->attributes & BATCH_TRANSACTIONAL;
}

/* ---- answers ---- */

/* Walks the batches; the last may be cut off, and comes whole with the next answer. */
static void take_records(struct consumer *c, struct fetch_part *part,
                         const struct fetch_response_partition *answer, struct arena *arena)
{
    struct aborted aborted = {.list = answer->aborted_transactions,
                              .list_count =
                                  (int32_t)max_i64(answer->aborted_transactions_count, 0)};
    aborted.taken = arena_array(arena, (size_t)aborted.list_count, sizeof(bool));
    must(aborted.taken != NULL);
    memset(aborted.taken, 0, (size_t)aborted.list_count * sizeof(bool));
    struct span rest =
        answer->records.kind == RECORDS_SPAN ? answer->records.span : (struct span){0};
    struct batch_header header;
    while (!c->ended && !part->over && batch_header_read(&header, &rest)) {
        int64_t size = batch_size(&header);
        if (size < BATCH_HEADER_SIZE || header.magic != BATCH_MAGIC) {
            damaged(c, part, "a batch of a format that is not known here");
            return;
        }
        if (size > rest.len)
            return;
        struct span batch = span_first(rest, (uint32_t)size);
        if (batch_crc(batch) != header.crc) {
            damaged(c, part, "the checksum of the batch is wrong");
            return;
        }
        if (!is_left_out(&aborted, &header))
            print_batch(c, part, batch);
        if (!c->ended) /* else it may have ended within the batch */
            part->next = max_i64(part->next, batch_last_offset(&header) + 1);
        span_advance(&rest, (uint32_t)size);
    }
}

static void part_failed(struct consumer *c, struct fetch_part *part, int16_t error)
{
    struct session *s = c->s;
    if (error == ERR_OFFSET_OUT_OF_RANGE || !err_retriable(error)) {
        char thing[400];
        (void)snprintf(thing, sizeof(thing), "topic '%s', partition %d, offset %lld", part->topic,
                       part->partition, (long long)part->next);
        c->code = broker_error(s, thing, error, str_null());
        c->ended = true;
        return;
    }
    part->try_at_ns = session_now_ns(s) + (uint64_t)s->settings.retry_backoff_ms * NS_PER_MS;
    c->stale = true;
    if (s->inv->verbose)
        note(s->inv, "partition %d: %s; trying again", part->partition, err_name(error));
}

static void take_partition(struct consumer *c, struct fetch_part *part,
                           const struct fetch_response_partition *answer, struct arena *arena)
{
    if (answer->error_code != ERR_NONE) {
        part_failed(c, part, answer->error_code);
        return;
    }
    take_records(c, part, answer, arena);
    int64_t end = c->s->settings.read_committed && answer->last_stable_offset >= 0
                      ? answer->last_stable_offset
                      : answer->high_watermark;
    if (part->next >= part->end || (c->exit_at_end && part->next >= end))
        part->over = true;
}

static void take_topic(struct consumer *c, const struct fetch *fetch, int16_t version,
                       const struct fetch_response_topic *topic, struct arena *arena)
{
    for (uint32_t i = 0; i < c->plan.count && !c->ended; i++) {
        struct fetch_part *part = &c->plan.parts[i];
        bool same = version >= 13 ? uuid_equal(&topic->topic_id, &part->topic_id)
                                  : str_equal(topic->topic, str_of(part->topic));
        for (int32_t j = 0; same && part->leader == fetch->leader && j < topic->partitions_count;
             j++)
            if (topic->partitions[j].partition_index == part->partition && !part->over)
                take_partition(c, part, &topic->partitions[j], arena);
    }
}

static void take_answer(struct consumer *c, const struct fetch *fetch, struct client_call *call)
{
    struct fetch_response response;
    struct rd r;
    rd_init(&r, call->answer);
    if (!read_fetch_response(&r, call->arena, call->version, &response)) {
        complain(c->s->inv, "broker %d: its answer to a fetch cannot be read", fetch->leader);
        c->code = EXIT_FAILED;
        c->ended = true;
        return;
    }
    if (response.error_code != ERR_NONE) {
        char thing[64];
        (void)snprintf(thing, sizeof(thing), "broker %d", fetch->leader);
        c->code = broker_error(c->s, thing, response.error_code, str_null());
        c->ended = true;
    }
    for (int32_t i = 0; i < response.responses_count && !c->ended; i++)
        take_topic(c, fetch, call->version, &response.responses[i], call->arena);
}

static void on_fetched(struct client *client, struct client_call *call)
{
    struct fetch *fetch = container_of(call, struct fetch, call);
    struct consumer *c = fetch->consumer;
    fetch->in_flight = false;
    c->news = true;
    for (uint32_t i = 0; i < c->plan.count; i++)
        if (c->plan.parts[i].leader == fetch->leader)
            c->plan.parts[i].asked = false;
    if (c->ended || fetch->epoch != c->epoch)
        return;
    if (call->status == CLIENT_ANSWERED) {
        c->answered_ns = session_now_ns(c->s);
        take_answer(c, fetch, call);
        return;
    }
    c->stale = true;
    if (c->s->inv->verbose)
        note(c->s->inv, "broker %d: %s; trying again", fetch->leader, client->why);
    uint64_t again_ns =
        session_now_ns(c->s) + (uint64_t)c->s->settings.retry_backoff_ms * NS_PER_MS;
    for (uint32_t i = 0; i < c->plan.count; i++)
        if (c->plan.parts[i].leader == fetch->leader)
            c->plan.parts[i].try_at_ns = again_ns;
}

/* ---- asking ---- */

static void request_part(struct consumer *c, struct fetch_request *request,
                         struct fetch_request_partition *partition, const struct fetch_part *part)
{
    struct fetch_request_topic *topic = request->topics;
    if (request->topics_count > 0)
        topic += request->topics_count - 1;
    if (request->topics_count == 0 || !str_equal(topic->topic, str_of(part->topic))) {
        topic = &request->topics[request->topics_count++];
        init_fetch_request_topic(topic);
        topic->topic = str_of(part->topic);
        topic->topic_id = part->topic_id;
        topic->partitions = partition;
    }
    topic->partitions_count++;
    init_fetch_request_partition(partition);
    partition->partition = part->partition;
    partition->current_leader_epoch = -1;
    partition->fetch_offset = part->next;
    partition->partition_max_bytes = (int32_t)c->s->settings.partition_fetch_bytes;
}

/* What this broker shall send; false when nothing is wanted of it now. */
static bool make_request(struct consumer *c, const struct fetch *fetch, struct arena *arena,
                         struct fetch_request *request, bool *by_id)
{
    const struct settings *settings = &c->s->settings;
    init_fetch_request(request);
    request->cluster_id = str_null();
    request->replica_id = -1;
    request->max_wait_ms = c->exit_at_end ? 0 : (int32_t)settings->fetch_max_wait_ms;
    request->min_bytes = c->exit_at_end ? 0 : (int32_t)settings->fetch_min_bytes;
    request->max_bytes = (int32_t)settings->fetch_max_bytes;
    request->isolation_level = (int8_t)settings->read_committed;
    request->session_epoch = -1; /* no session: each request says everything */
    request->topics = arena_array(arena, c->plan.count, sizeof(*request->topics));
    struct fetch_request_partition *partitions =
        arena_array(arena, c->plan.count, sizeof(*partitions));
    must(request->topics && partitions);
    uint32_t count = 0;
    *by_id = true;
    for (uint32_t i = 0; i < c->plan.count; i++) {
        struct fetch_part *part = &c->plan.parts[i];
        if (part->leader != fetch->leader || part->over || part->try_at_ns > session_now_ns(c->s))
            continue;
        *by_id &= !uuid_is_zero(&part->topic_id);
        request_part(c, request, &partitions[count++], part);
        part->asked = true;
    }
    return count > 0;
}

static void fetch_send(struct consumer *c, struct fetch *fetch)
{
    struct session *s = c->s;
    struct arena arena;
    struct fetch_request request;
    bool by_id;
    arena_init(&arena, CLIENT_ARENA_MAX);
    if (make_request(c, fetch, &arena, &request, &by_id)) {
        s->hush = true;
        struct broker_link *link = cluster_broker(s, &c->plan.metadata, fetch->leader);
        s->hush = false;
        int16_t version = -1;
        if (link)
            version = client_version(&link->client, KEY_FETCH, by_id ? CLIENT_NEWEST : 12);
        if (version >= 0) {
            struct wr *w = client_begin(&link->client, &fetch->call, KEY_FETCH, version);
            write_fetch_request(w, version, &request);
            fetch->call.done = on_fetched;
            fetch->epoch = c->epoch;
            fetch->in_flight = client_send(&link->client, &fetch->call, session_deadline_ns(s));
        }
        for (uint32_t i = 0; !fetch->in_flight && i < c->plan.count; i++) {
            struct fetch_part *part = &c->plan.parts[i];
            if (part->leader == fetch->leader)
                part->try_at_ns =
                    session_now_ns(s) + (uint64_t)s->settings.retry_backoff_ms * NS_PER_MS;
            c->stale = true;
        }
    }
    arena_fini(&arena);
}

static struct fetch *fetch_of(struct consumer *c, int32_t leader)
{
    for (uint32_t i = 0; i < c->fetch_count; i++)
        if (c->fetches[i].leader == leader)
            return &c->fetches[i];
    if (c->fetch_count == LINKS_MAX)
        return NULL;
    struct fetch *fetch = &c->fetches[c->fetch_count++];
    *fetch = (struct fetch){.consumer = c, .leader = leader};
    return fetch;
}

/* Asks every broker that is not being asked; when there is something to try again. */
static uint64_t ask_all(struct consumer *c)
{
    uint64_t next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < c->plan.count; i++) {
        const struct fetch_part *part = &c->plan.parts[i];
        struct fetch *fetch = part->leader >= 0 ? fetch_of(c, part->leader) : NULL;
        if (part->over)
            continue;
        if (fetch && !fetch->in_flight && part->try_at_ns <= session_now_ns(c->s))
            fetch_send(c, fetch);
        if (!part->asked)
            next_ns = min_u64(next_ns, max_u64(part->try_at_ns, session_now_ns(c->s) + NS_PER_MS));
    }
    return next_ns;
}

/* False when nobody reads any more, or the disk is full. */
static bool flush(struct consumer *c)
{
    c->broken |= fflush(stdout) != 0;
    return !c->broken;
}

/* ---- in a group ---- */

static volatile sig_atomic_t stop_asked;

static void on_signal(int signal)
{
    (void)signal;
    stop_asked = 1;
}

/* The first INT or TERM asks, the second ends the process. */
static void catch_signals(struct session *s)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    action = (struct sigaction){.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &action, NULL); /* a closed pipe is seen by fflush() */
    s->stop = &stop_asked;
}

/* Gives back what it had, and takes what it gets. Nothing but the plan lives in the arena. */
static int join(struct consumer *c)
{
    struct session *s = c->s;
    struct group_partitions assigned;
    int code = flush(c) ? group_session_commit(c->group, &c->plan) : EXIT_FAILED;
    c->epoch++;
    fetch_plan_free(&c->plan);
    c->plan = (struct fetch_plan){0};
    arena_reset(&s->arena);
    if (code == EXIT_OK)
        code = group_session_join(c->group, &assigned);
    if (code == EXIT_OK)
        code = fetch_plan_assign(&c->plan, s, &assigned);
    if (code == EXIT_OK && s->inv->verbose)
        note(s->inv, "group '%s', generation %d: %u partitions", c->group->group,
             c->group->generation, c->plan.count);
    c->answered_ns = session_now_ns(s);
    return code;
}

/* Everything the membership asks for now; false when it is over. */
static bool group_step(struct consumer *c)
{
    struct group_session *group = c->group;
    int code = stop_asked ? EXIT_INTERRUPTED : EXIT_OK;
    if (code == EXIT_OK && group->joined && group_session_commit_due(group))
        code = flush(c) ? group_session_commit(group, &c->plan) : EXIT_FAILED;
    if (code == EXIT_OK)
        code = group_session_keep(group);
    if (code == EXIT_OK && !group->joined)
        code = join(c);
    if (code == EXIT_OK)
        return true;
    c->code = code;
    c->ended = true;
    return false;
}

static void group_end(struct consumer *c)
{
    int code = EXIT_OK;
    c->s->stop = NULL; /* the last calls are made in any case */
    if (!c->broken)
        code = group_session_commit(c->group, &c->plan);
    if (c->code == EXIT_OK)
        c->code = code;
    group_session_leave(c->group);
}

/* ---- running ---- */

static bool all_over(const struct consumer *c)
{
    for (uint32_t i = 0; i < c->plan.count; i++)
        if (!c->plan.parts[i].over)
            return false;
    return true;
}

/* In a group more may come, unless there is an end; to one that has no partitions too. */
static bool needs_more(const struct consumer *c)
{
    return c->group && (!c->exit_at_end || !c->group->joined);
}

static void run(struct consumer *c)
{
    struct session *s = c->s;
    uint64_t patience_ns = PATIENCE_ANSWERS * (uint64_t)s->settings.request_timeout_ms * NS_PER_MS;
    c->answered_ns = session_now_ns(s);
    while (!c->ended && (!all_over(c) || needs_more(c))) {
        c->news = false;
        if (c->group && !group_step(c))
            return;
        if (c->stale) {
            s->hush = true;
            c->stale = fetch_plan_refresh(&c->plan, s) != EXIT_OK;
            s->hush = false;
        }
        uint64_t until_ns = ask_all(c);
        if (c->group)
            until_ns = min_u64(until_ns, group_session_next_ns(c->group));
        if (!flush(c))
            return;
        if (c->plan.count > 0 && session_now_ns(s) - c->answered_ns > patience_ns) {
            complain(s->inv, "no broker has answered for %lld s: %s",
                     (long long)(patience_ns / 1000000000U), s->bootstrap->client.why);
            c->code = EXIT_UNREACHABLE;
            return;
        }
        session_turn(s, until_ns, &c->news);
    }
}

static int read_options(struct consumer *c)
{
    const struct invocation *inv = c->s->inv;
    const char *format = option_text(inv, "output-format");
    c->exit_at_end = option_on(inv, "exit-at-end") && !option_on(inv, "follow");
    c->left = -1;
    if (!option_number(inv, "count", 0, INT64_MAX, &c->left))
        return EXIT_USAGE;
    c->form = PRINT_FORMAT;
    if (option_on(inv, "json") || format_of(inv) == FORMAT_NDJSON)
        c->form = PRINT_LINES;
    else if (format_of(inv) == FORMAT_JSON)
        c->form = PRINT_ITEMS;
    else if (format_of(inv) == FORMAT_AWK)
        c->form = PRINT_AWK;
    return record_format_parse(&c->format, inv, format, OUTPUT_TOKENS) ? EXIT_OK : EXIT_USAGE;
}

static int open_plan(struct consumer *c, struct group_session *group)
{
    struct session *s = c->s;
    const char *name = option_text(s->inv, "group");
    if (!name)
        return fetch_plan_make(&c->plan, s);
    if (name[0] == 0 || option_text(s->inv, "partition"))
        return usage_error(s->inv, name[0] ? "--group and --partition do not go together"
                                           : "--group: a name is wanted");
    catch_signals(s);
    group_session_init(group, s, name, s->inv->operands, s->inv->operand_count);
    c->group = group;
    return fetch_plan_make_empty(&c->plan, s);
}

static int consume(struct session *s)
{
    struct consumer c = {.s = s};
    struct group_session group;
    inflater_init(&c.inflater);
    int code = read_options(&c);
    if (code == EXIT_OK)
        code = open_plan(&c, &group);
    if (code == EXIT_OK) {
        c.fetches = mem_zalloc(LINKS_MAX * sizeof(*c.fetches));
        if (c.form == PRINT_ITEMS)
            fputs("{\"items\":[", stdout);
        if (c.left != 0)
            run(&c);
        c.ended = true;
        (void)flush(&c);
        if (c.group)
            group_end(&c);
        if (c.form == PRINT_ITEMS)
            fputs(c.printed ? "\n]}\n" : "]}\n", stdout);
        code = c.code;
        if (s->inv->verbose)
            note(s->inv, "%llu records", (unsigned long long)c.printed);
    }
    session_hang_up(s);
    if (c.group)
        group_session_fini(c.group);
    fetch_plan_free(&c.plan);
    mem_free(c.fetches);
    record_format_fini(&c.format);
    inflater_fini(&c.inflater);
    return code;
}

int cmd_consume(struct invocation *inv)
{
    return session_run(inv, consume);
}
