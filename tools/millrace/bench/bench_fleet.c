/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of a distributed load that asks for it: agents (cmd_bench_agent.c) are told what to do
 * and when to begin, and what they have measured is merged. A helper program is one agent alone,
 * which needs no greeting (bench_control.h).
 *
 *   hello   (to it) protocol, token
 *   welcome version, machine
 *   clock   (to it), and back with now_ns: a few times, and the quickest answer says best how far
 *           its clock is from this one
 *   plan    (to it) topic, options as they were given, index and count: which part of the load
 *   failed  code, text: what it would have said to people
 *
 * and then what bench_work.h and bench_share.h say. Seconds are merged when all have told them, so
 * what is shown of a second is of all.
 */
#include "io/mem.h"
#include "net/address.h"
#include "tools/millrace/bench/bench_control.h"
#include "tools/millrace/bench/bench_token.h"
#include "tools/millrace/bench/bench_work.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define AGENT_PORT   9700
#define ANSWER_NS    (5 * NS_PER_S)
#define SILENCE_NS   (15 * NS_PER_S) /* there is something to tell each second */
#define LEAD_NS      (500 * NS_PER_MS)
#define LOOK_MS      100 /* an interrupt is looked for */
#define CLOCK_ASKS   16
#define SAID_LEN_MAX 2000U
#define VERSION_MAX  64U
#define NAME_SIZE    (ADDRESS_TEXT_SIZE + sizeof("agent "))

struct fleet_agent {
    char name[NAME_SIZE];
    struct address address;
    int file;
    struct message_reader from;
    char version[VERSION_MAX + 1];
    json_t *machine;
    int64_t clock_ahead_ns; /* of this machine's */
    uint64_t clock_unsure_ns;
    uint64_t heard_ns;           /* when it said something last */
    json_t *second;              /* that it has told, and is not merged */
    uint64_t second_index, told; /* told: how many indices it has passed */
    json_t *end;
    struct bench_second *seconds; /* its own */
    uint32_t second_count, second_room;
};

struct fleet {
    struct bench *b;
    struct token token;
    struct fleet_agent agents[WORK_PARTS_MAX];
    uint32_t count;
    pid_t helper; /* 0: there is none */
};

static int fail(const struct fleet *f, const struct fleet_agent *agent, int code, const char *what)
{
    complain(f->b->s->inv, "%s %s", agent->name, what);
    return code;
}

/* ---- who they are ---- */

static int agents_parse(struct fleet *f)
{
    const struct invocation *inv = f->b->s->inv;
    const char *problem;
    for (const char *at = f->b->o.agents; *at || f->count == 0;) {
        const size_t len = strcspn(at, ",");
        struct fleet_agent *agent = &f->agents[f->count];
        if (f->count == WORK_PARTS_MAX)
            return usage_error(inv, "--agents: more than %u", WORK_PARTS_MAX);
        if (len == 0 || !address_parse(&agent->address, at, len, AGENT_PORT, &problem) ||
            agent->address.host[0] == 0)
            return usage_error(inv, "--agents '%.*s': HOST:PORT,... is wanted", (int)len, at);
        char text[ADDRESS_TEXT_SIZE];
        (void)snprintf(agent->name, sizeof(agent->name), "agent %s",
                       address_print(&agent->address, text));
        agent->file = -1;
        f->count++;
        at += len + (at[len] == ',');
    }
    if (f->b->o.records_max > 0 && f->b->o.records_max < f->count)
        return usage_error(inv, "--records: less than one for each agent");
    if (f->b->o.bytes_max > 0 && f->b->o.bytes_max < f->count)
        return usage_error(inv, "--bytes: less than one for each agent");
    return EXIT_OK;
}

static int connect_one(const struct addrinfo *to)
{
    const int one = 1;
    int file = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (file < 0)
        return -1;
    struct pollfd wait = {.fd = file, .events = POLLOUT};
    int error = connect(file, to->ai_addr, to->ai_addrlen) == 0 ? 0 : errno;
    socklen_t size = sizeof(error);
    if (error == EINPROGRESS && poll(&wait, 1, (int)(ANSWER_NS / NS_PER_MS)) == 1)
        (void)getsockopt(file, SOL_SOCKET, SO_ERROR, &error, &size);
    else if (error == EINPROGRESS)
        error = ETIMEDOUT;
    if (error) {
        (void)close(file);
        errno = error;
        return -1;
    }
    (void)setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return file;
}

static int agent_connect(const struct fleet *f, struct fleet_agent *agent)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char port[8];
    char what[128];
    (void)snprintf(port, sizeof(port), "%u", agent->address.port);
    int error = getaddrinfo(agent->address.host, port, &hints, &found);
    if (error) {
        (void)snprintf(what, sizeof(what), "is not known: %s", gai_strerror(error));
        return fail(f, agent, EXIT_UNREACHABLE, what);
    }
    for (struct addrinfo *at = found; at && agent->file < 0; at = at->ai_next)
        agent->file = connect_one(at);
    (void)snprintf(what, sizeof(what), "cannot be reached: %s", strerror(errno));
    freeaddrinfo(found);
    if (agent->file < 0)
        return fail(f, agent, EXIT_UNREACHABLE, what);
    message_reader_init(&agent->from, agent->file, MESSAGE_BYTES_MAX);
    return EXIT_OK;
}

/* ---- talking to one of them ---- */

/* What it would have said to people, in so far as that can be printed. */
static int agent_failed(const struct fleet *f, const struct fleet_agent *agent,
                        const json_t *message)
{
    char said[SAID_LEN_MAX + 1];
    uint64_t code = EXIT_FAILED;
    const char *text = json_string_value(json_object_get(message, "text"));
    (void)snprintf(said, sizeof(said), "%s", text ? text : "it does not say why");
    for (char *at = said; *at; at++)
        if (((unsigned char)*at < ' ' && *at != '\n') || *at == 0x7f)
            *at = '?';
    for (size_t len = strlen(said); len > 0 && said[len - 1] == '\n';)
        said[--len] = 0;
    complain(f->b->s->inv, "%s cannot: %s", agent->name, said);
    const bool told = message_u64(message, "code", UINT8_MAX, &code) && code != EXIT_OK;
    return told ? (int)code : EXIT_FAILED;
}

static int agent_lost(const struct fleet *f, const struct fleet_agent *agent)
{
    char what[MESSAGE_WHY_SIZE + 32];
    (void)snprintf(what, sizeof(what), "was lost: it %s",
                   agent->from.ended ? agent->from.why : "says nothing");
    return fail(f, agent, EXIT_UNREACHABLE, what);
}

static int agent_lied(const struct fleet *f, const struct fleet_agent *agent, const json_t *message)
{
    if (message_is(message, "failed"))
        return agent_failed(f, agent, message);
    return fail(f, agent, EXIT_FAILED, "has sent what cannot be true");
}

/* The next message, which has to be of that type; the caller's unless it failed. */
static int agent_hear(const struct fleet *f, struct fleet_agent *agent, uint64_t until_ns,
                      const char *type, json_t **message)
{
    enum message_state state = MESSAGE_NONE;
    *message = NULL;
    while (state == MESSAGE_NONE && message_clock_ns() < until_ns && !bench_interrupted())
        state = message_wait(&agent->from,
                             min_u64(until_ns, message_clock_ns() + LOOK_MS * NS_PER_MS), message);
    if (bench_interrupted()) {
        json_decref(*message);
        return EXIT_INTERRUPTED;
    }
    if (state != MESSAGE_TAKEN)
        return agent_lost(f, agent);
    if (message_is(*message, type))
        return EXIT_OK;
    int code = agent_lied(f, agent, *message);
    json_decref(*message);
    return code;
}

static int agent_say(const struct fleet *f, const struct fleet_agent *agent, json_t *message)
{
    return message_send(agent->file, message) ? EXIT_OK : agent_lost(f, agent);
}

/* ---- the begin ---- */

static int agent_greet(const struct fleet *f, struct fleet_agent *agent)
{
    json_t *message;
    int code = agent_say(f, agent,
                         json_pack("{s:s, s:i, s:s}", "type", "hello", "protocol", WORK_PROTOCOL,
                                   "token", f->token.text));
    if (code == EXIT_OK)
        code = agent_hear(f, agent, message_clock_ns() + ANSWER_NS, "welcome", &message);
    if (code != EXIT_OK)
        return code;
    const char *version = message_text(message, "version", VERSION_MAX);
    json_t *machine = json_object_get(message, "machine");
    if (version && json_is_object(machine)) {
        (void)snprintf(agent->version, sizeof(agent->version), "%s", version);
        agent->machine = json_incref(machine);
    } else {
        code = agent_lied(f, agent, message);
    }
    json_decref(message);
    return code;
}

/* Its clock was read between asking and hearing: the middle of the shortest such time is right but
 * for half of it. */
static int agent_clock(const struct fleet *f, struct fleet_agent *agent)
{
    agent->clock_unsure_ns = UINT64_MAX;
    for (int i = 0; i < CLOCK_ASKS; i++) {
        json_t *message;
        uint64_t there_ns;
        const uint64_t asked_ns = message_clock_ns();
        int code = agent_say(f, agent, json_pack("{s:s}", "type", "clock"));
        if (code == EXIT_OK)
            code = agent_hear(f, agent, message_clock_ns() + ANSWER_NS, "clock", &message);
        if (code != EXIT_OK)
            return code;
        const uint64_t half_ns = (message_clock_ns() - asked_ns) / 2;
        if (!message_u64(message, "now_ns", INT64_MAX, &there_ns))
            code = agent_lied(f, agent, message);
        json_decref(message);
        if (code != EXIT_OK)
            return code;
        if (half_ns >= agent->clock_unsure_ns)
            continue;
        agent->clock_unsure_ns = half_ns;
        agent->clock_ahead_ns = (int64_t)(there_ns - (asked_ns + half_ns));
    }
    return EXIT_OK;
}

static json_t *json_of_options(const struct bench *b)
{
    const struct invocation *inv = b->s->inv;
    json_t *options = json_array();
    for (uint32_t i = 0; i < inv->given_count; i++) {
        const struct given *given = &inv->given[i];
        const bool server = strcmp(given->option->name, "bootstrap-server") == 0;
        if (work_option(given->option->name) != WORK_NONE && !server)
            (void)json_array_append_new(options,
                                        json_pack("[s, s]", given->option->name, given->value));
    }
    (void)json_array_append_new(/* its own default may be another one */
                                options, json_pack("[s, s]", "bootstrap-server",
                                                   b->s->settings.bootstrap_servers));
    return options;
}

static int agent_plan(const struct fleet *f, const struct fleet_agent *agent)
{
    const struct bench *b = f->b;
    json_t *plan =
        json_pack("{s:s, s:s, s:i, s:i, s:o}", "type", "plan", "topic", b->o.topic, "index",
                  (int)(agent - f->agents), "count", (int)f->count, "options", json_of_options(b));
    if (!plan)
        return usage_error(b->s->inv, "an option's value is not UTF-8");
    return agent_say(f, agent, plan);
}

static int agents_begin(struct fleet *f)
{
    int code = token_read(&f->token, f->b->s->inv);
    if (code == EXIT_OK)
        code = agents_parse(f);
    for (uint32_t i = 0; i < f->count && code == EXIT_OK; i++) {
        code = agent_connect(f, &f->agents[i]);
        if (code == EXIT_OK)
            code = agent_greet(f, &f->agents[i]);
        if (code == EXIT_OK)
            code = agent_clock(f, &f->agents[i]);
    }
    for (uint32_t i = 0; i < f->count && code == EXIT_OK; i++)
        code = agent_plan(f, &f->agents[i]);
    return code;
}

static int helper_begin(struct fleet *f)
{
    struct fleet_agent *agent = &f->agents[f->count++];
    (void)snprintf(agent->name, sizeof(agent->name), "%s", CONTROL_PROGRAM);
    agent->file = -1;
    int code = control_start(f->b, &agent->file, &f->helper);
    if (code != EXIT_OK)
        return code;
    message_reader_init(&agent->from, agent->file, MESSAGE_BYTES_MAX);
    json_t *plan = control_plan(f->b);
    if (!plan)
        return usage_error(f->b->s->inv, "the topic or a setting is not UTF-8");
    return agent_say(f, agent, plan);
}

static int fleet_begin(struct fleet *f)
{
    int code = f->b->o.client ? helper_begin(f) : agents_begin(f);
    const uint64_t until_ns = message_clock_ns() + WORK_READY_NS;
    for (uint32_t i = 0; i < f->count && code == EXIT_OK; i++) {
        json_t *message;
        code = agent_hear(f, &f->agents[i], until_ns, "ready", &message);
        if (code != EXIT_OK)
            break;
        const char *version = message_text(message, "version", VERSION_MAX);
        if (f->helper && version)
            (void)snprintf(f->agents[i].version, sizeof(f->agents[i].version), "%s", version);
        json_decref(message);
    }
    if (code != EXIT_OK)
        return code;
    const uint64_t at_ns = message_clock_ns() + LEAD_NS;
    for (uint32_t i = 0; i < f->count && code == EXIT_OK; i++) {
        struct fleet_agent *agent = &f->agents[i];
        const int64_t there_ns = (int64_t)at_ns + agent->clock_ahead_ns;
        code = agent_say(f, agent,
                         json_pack("{s:s, s:I}", "type", "go", "at_ns", (json_int_t)there_ns));
        agent->heard_ns = at_ns + f->b->o.warm_ns;
    }
    f->b->epoch_ns = code == EXIT_OK ? at_ns : 0;
    f->b->started_wall_ms = (uint64_t)io_wall_ms(f->b->s->sh->io);
    return code;
}

/* ---- while it runs ---- */

/* Has it told what comes next, or all? */
static bool has_told(const struct fleet_agent *agent)
{
    return agent->second || agent->end;
}

/* Seconds are a little longer than that, and those of all lie beside each other within half of it.
 */
static int agent_take(const struct fleet *f, struct fleet_agent *agent, json_t *message)
{
    uint64_t from_ns;
    if (message_is(message, "end")) {
        agent->end = message;
        return EXIT_OK;
    }
    if (message_is(message, "checks") && f->helper && f->b->o.stamped && !f->b->checks &&
        control_checks(f->b, message)) {
        json_decref(message);
        return EXIT_OK;
    }
    if (message_is(message, "second") &&
        message_u64(message, "from_ns", SHARE_SECONDS_MAX * NS_PER_S, &from_ns)) {
        agent->second_index = (from_ns + NS_PER_S / 2) / NS_PER_S;
        agent->second = message;
        if (agent->second_index >= agent->told) {
            agent->told = agent->second_index + 1;
            return EXIT_OK;
        }
        agent->second = NULL;
    }
    int code = agent_lied(f, agent, message);
    json_decref(message);
    return code;
}

/* Takes a message that it has sent; false when more has to come first. */
static bool agent_step(const struct fleet *f, struct fleet_agent *agent, int *code)
{
    json_t *message;
    switch (message_take(&agent->from, &message)) {
    case MESSAGE_TAKEN:
        agent->heard_ns = max_u64(agent->heard_ns, message_clock_ns());
        *code = agent_take(f, agent, message);
        return true;
    case MESSAGE_LOST:
        *code = agent_lost(f, agent);
        return true;
    case MESSAGE_NONE:
        break;
    }
    if (message_clock_ns() > agent->heard_ns + SILENCE_NS + f->b->o.drain_ns)
        *code = agent_lost(f, agent);
    return *code != EXIT_OK;
}

/* Waits until each has told its next second, or its end. */
static int fleet_hear(struct fleet *f)
{
    int code = EXIT_OK;
    for (;;) {
        struct pollfd files[WORK_PARTS_MAX];
        uint32_t waiting = 0;
        for (uint32_t i = 0; i < f->count; i++) {
            struct fleet_agent *agent = &f->agents[i];
            files[i] = (struct pollfd){.fd = -1, .events = POLLIN};
            while (!has_told(agent) && agent_step(f, agent, &code) && code == EXIT_OK)
                continue;
            if (has_told(agent) || code != EXIT_OK)
                continue;
            files[i].fd = agent->file;
            waiting++;
        }
        if (bench_interrupted())
            return EXIT_INTERRUPTED;
        if (code != EXIT_OK || waiting == 0)
            return code;
        (void)poll(files, f->count, LOOK_MS);
        for (uint32_t i = 0; i < f->count; i++)
            if (files[i].fd >= 0 && files[i].revents != 0)
                message_fill(&f->agents[i].from);
    }
}

static void seconds_add(struct fleet_agent *agent, const struct bench_second *second)
{
    if (agent->second_count == agent->second_room) {
        agent->second_room = agent->second_room > 0 ? 2 * agent->second_room : 64;
        agent->seconds = mem_realloc(agent->seconds, agent->second_room * sizeof(*agent->seconds));
    }
    agent->seconds[agent->second_count++] = *second;
}

/* The earliest second that any of them tells, of all that tell it. *more: there was one. */
static int fleet_merge_second(struct fleet *f, bool *more)
{
    uint64_t index = UINT64_MAX;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->agents[i].second)
            index = min_u64(index, f->agents[i].second_index);
    *more = index != UINT64_MAX;
    for (uint32_t i = 0; i < f->count && *more; i++) {
        struct fleet_agent *agent = &f->agents[i];
        struct bench_second own;
        if (!agent->second || agent->second_index != index)
            continue;
        if (!share_take_second(agent->second, &f->b->measure, &own))
            return agent_lied(f, agent, agent->second);
        seconds_add(agent, &own);
        json_decref(agent->second);
        agent->second = NULL;
    }
    if (*more) {
        measure_second_keep(&f->b->measure);
        bench_say_second(f->b);
    }
    return EXIT_OK;
}

/* ---- the end ---- */

static json_t *json_of_agent(const struct fleet_agent *agent, const struct measure *m,
                             const struct verdict *verdict)
{
    char text[VERDICT_TEXT_SIZE];
    const double seconds = measure_seconds(m);
    double own_cpu = 0;
    for (uint32_t i = 0; i < agent->second_count; i++)
        own_cpu += agent->seconds[i].own_cpu / agent->second_count;
    return json_pack("{s:s, s:s, s:O, s:I, s:I, s:b, s:s, s:I, s:f, s:I, s:I, s:f, s:I, s:I, s:I}",
                     "address", agent->name + strlen("agent "), "version", agent->version,
                     "machine", agent->machine, "clock_ahead_ns", (json_int_t)agent->clock_ahead_ns,
                     "clock_unsure_ns", (json_int_t)agent->clock_unsure_ns, "valid", verdict->valid,
                     "invalid_because", verdict_text(verdict, text), "records",
                     (json_int_t)m->records, "records_per_s",
                     seconds > 0 ? (double)m->rate_records / seconds : 0, "failed",
                     (json_int_t)m->failed, "sent_in_all", (json_int_t)m->sent, "own_cpu", own_cpu,
                     "response_p50_ns", (json_int_t)histogram_quantile_ns(m->response, 0.5),
                     "response_p99_ns", (json_int_t)histogram_quantile_ns(m->response, 0.99),
                     "response_max_ns", (json_int_t)m->response->max_ns);
}

/* What it tells at its end, into all and, for what is said of it, alone. */
static int fleet_merge_end(struct fleet *f, struct fleet_agent *agent)
{
    struct bench *b = f->b;
    struct measure own;
    uint64_t connections;
    struct verdict verdict = verdict_of(agent->seconds, agent->second_count);
    measure_init(&own, b->o.stamped);
    const bool good = share_take_end(agent->end, &own, &connections) &&
                      share_take_end(agent->end, &b->measure, &connections);
    if (good)
        b->conn_count += (uint32_t)connections;
    if (good && !f->helper) {
        json_t *facts = json_of_agent(agent, &own, &verdict);
        verdict.who = json_string_value(json_object_get(facts, "address"));
        if (json_array_size(b->agents) == 0 ||
            verdict.bad * b->verdict.seconds > b->verdict.bad * verdict.seconds)
            b->verdict = verdict;
        (void)json_array_append_new(b->agents, facts);
    }
    measure_fini(&own);
    return good ? EXIT_OK : agent_lied(f, agent, agent->end);
}

static int fleet_collect(struct fleet *f)
{
    int code = EXIT_OK;
    for (bool more = true; more && code == EXIT_OK;) {
        code = fleet_hear(f);
        if (code == EXIT_OK)
            code = fleet_merge_second(f, &more);
    }
    if (f->helper)
        f->b->client = json_sprintf("%s %s", f->b->o.client, f->agents[0].version);
    else
        f->b->agents = json_array();
    for (uint32_t i = 0; i < f->count && code == EXIT_OK; i++)
        code = fleet_merge_end(f, &f->agents[i]);
    return code;
}

static void fleet_fini(struct fleet *f)
{
    for (uint32_t i = 0; i < f->count; i++) {
        struct fleet_agent *agent = &f->agents[i];
        if (agent->file >= 0)
            (void)close(agent->file);
        message_reader_fini(&agent->from);
        json_decref(agent->machine);
        json_decref(agent->second);
        json_decref(agent->end);
        mem_free(agent->seconds);
    }
    if (f->helper > 0) /* it goes when its socket does */
        (void)waitpid(f->helper, NULL, 0);
    mem_free(f);
}

int bench_fleet_run(struct bench *b)
{
    struct fleet *f = mem_zalloc(sizeof(*f));
    f->b = b;
    (void)signal(SIGPIPE, SIG_IGN);
    int code = fleet_begin(f);
    if (code == EXIT_OK)
        code = fleet_collect(f);
    if (code != EXIT_OK)
        b->epoch_ns = 0; /* figures of a part would be taken for those of the whole */
    fleet_fini(f);
    return code;
}
