/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace bench agent`: loads brokers for who knows the token (bench_fleet.c is that end).
 *
 * This process listens, asks for the token and reads plans; it waits for nobody in particular. A
 * run is a child of its own, which gets the connection and is from there on a `bench produce` like
 * any other, with the options that the plan names and no others (bench_work.h). One runs at a time.
 * When who asked goes, the run is ended, whatever it does: nobody would read what comes of it.
 *
 * Strangers: a line of a few hundred bytes within five seconds is all that is taken from them, and
 * nothing but that line is looked at.
 */
#include "net/address.h"
#include "tools/millrace/bench/bench_token.h"
#include "tools/millrace/bench/bench_work.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUESTS_MAX     16U
#define SOCKETS_MAX    4U
#define STRANGER_BYTES 512U         /* a token fits */
#define GUEST_BYTES    (512U << 10) /* a plan fits, with every option as long as it may be */
#define STRANGER_NS    (5 * NS_PER_S)
#define GUEST_NS       (120 * NS_PER_S) /* all other agents are asked meanwhile */
#define SEND_TIMEOUT_S 10
#define LOOK_MS        200 /* has the run ended? */
#define BACKLOG        64
#define SAID_LEN_MAX   2000U
#define TOPIC_LEN_MAX  249U

/* Somebody who is connected and has no run yet. */
struct guest {
    int file; /* -1: nobody */
    bool known;
    uint64_t until_ns;
    struct message_reader from;
    char name[NI_MAXHOST + NI_MAXSERV + 8];
};

struct agent {
    struct invocation *inv;
    struct token token;
    int sockets[SOCKETS_MAX];
    uint32_t socket_count;
    struct guest guests[GUESTS_MAX];
    pid_t run;    /* 0: none */
    int run_file; /* who asked for it; -1: nobody */
};

/* What a plan says, checked. */
struct plan {
    uint64_t index, count;
    char *words[WORK_OPTIONS_MAX + 8U];
    uint32_t word_count;
};

static volatile sig_atomic_t asked_to_stop;

static void on_stop(int signal)
{
    (void)signal;
    asked_to_stop = 1;
}

/* ---- plans ---- */

static void word_add(struct plan *plan, const char *format, ...) printf_like(2, 3);

static void word_add(struct plan *plan, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int len = vasprintf(&plan->words[plan->word_count++], format, arguments);
    va_end(arguments);
    must(len >= 0);
}

static bool option_add(struct plan *plan, const json_t *option)
{
    const char *name = json_string_value(json_array_get(option, 0));
    const char *value = json_string_value(json_array_get(option, 1));
    if (json_array_size(option) != 2 || !name || !value || strlen(value) > WORK_VALUE_MAX)
        return false;
    switch (work_option(name)) {
    case WORK_VALUE: /* in one word: an empty one must not take the next */
        word_add(plan, "--%s=%s", name, value);
        return true;
    case WORK_SWITCH:
        word_add(plan, "--%s", name);
        return true;
    case WORK_NONE:
        break;
    }
    return false;
}

static bool plan_read(struct plan *plan, const json_t *message)
{
    size_t at;
    const json_t *option;
    const char *topic = message_text(message, "topic", TOPIC_LEN_MAX);
    const json_t *options = json_object_get(message, "options");
    *plan = (struct plan){0};
    if (!topic || !message_u64(message, "count", WORK_PARTS_MAX, &plan->count) ||
        plan->count == 0 || !message_u64(message, "index", plan->count - 1, &plan->index) ||
        !json_is_array(options) || json_array_size(options) > WORK_OPTIONS_MAX)
        return false;
    word_add(plan, "millrace");
    word_add(plan, "bench");
    word_add(plan, "produce");
    word_add(plan, "-q");
    json_array_foreach(options, at, option)
    {
        if (!option_add(plan, option))
            return false;
    }
    word_add(plan, "--");
    word_add(plan, "%s", topic);
    return true;
}

static void plan_fini(struct plan *plan)
{
    for (uint32_t i = 0; i < plan->word_count; i++)
        free(plan->words[i]);
}

/* ---- the run: a child ---- */

/* What was said to people goes to who asked, too. */
static void tell_failure(int said, int to_people, int file, int code)
{
    char text[SAID_LEN_MAX + 1];
    const ssize_t got = pread(said, text, SAID_LEN_MAX, 0);
    text[got > 0 ? got : 0] = 0;
    (void)message_send_text(to_people, text, strlen(text));
    json_t *message = json_pack("{s:s, s:i, s:s}", "type", "failed", "code", code, "text", text);
    if (!message) /* not UTF-8 */
        message = json_pack("{s:s, s:i, s:s}", "type", "failed", "code", code, "text",
                            "what it says is in its own output");
    (void)message_send(file, message);
}

static void run_child(const struct agent *a, const struct guest *guest, struct plan *plan)
{
    const int to_people = dup(STDERR_FILENO);
    const int said = memfd_create("said", 0);
    const int nothing = open("/dev/null", O_RDWR);
    must(to_people >= 0 && said >= 0 && nothing >= 0);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)dup2(nothing, STDIN_FILENO);
    (void)dup2(nothing, STDOUT_FILENO);
    (void)dup2(said, STDERR_FILENO);
    for (uint32_t i = 0; i < a->socket_count; i++)
        (void)close(a->sockets[i]);
    for (uint32_t i = 0; i < GUESTS_MAX; i++)
        if (a->guests[i].file >= 0 && &a->guests[i] != guest)
            (void)close(a->guests[i].file);
    work_begin(guest->file, (uint32_t)plan->index, (uint32_t)plan->count);
    const int code = command_line((int)plan->word_count, plan->words);
    (void)fflush(stderr);
    if (code != EXIT_OK)
        tell_failure(said, to_people, guest->file, code);
    _exit(code);
}

static void run_over(struct agent *a, int status)
{
    (void)close(a->run_file);
    a->run_file = -1;
    a->run = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK)
        note(a->inv, "the run is over");
    else if (WIFEXITED(status))
        note(a->inv, "the run has ended with exit code %d", WEXITSTATUS(status));
    else
        note(a->inv, "the run was killed by signal %d", WTERMSIG(status));
}

/* Has it ended? It has to when who asked has gone. */
static void run_look(struct agent *a)
{
    int status;
    struct pollfd asked = {.fd = a->run_file, .events = POLLRDHUP};
    if (a->run <= 0)
        return;
    if (waitpid(a->run, &status, WNOHANG) == a->run) {
        run_over(a, status);
    } else if (poll(&asked, 1, 0) > 0) {
        note(a->inv, "who asked for the run has gone");
        (void)kill(a->run, SIGKILL);
        if (waitpid(a->run, &status, 0) == a->run)
            run_over(a, status);
    }
}

/* ---- guests ---- */

static void guest_end(struct guest *guest)
{
    (void)close(guest->file);
    message_reader_fini(&guest->from);
    guest->file = -1;
}

static void guest_refuse(const struct agent *a, struct guest *guest, const char *why)
{
    note(a->inv, "%s: %s", guest->name, why);
    (void)message_send(guest->file, json_pack("{s:s, s:i, s:s}", "type", "failed", "code",
                                              EXIT_FAILED, "text", why));
    guest_end(guest);
}

static void guest_hello(const struct agent *a, struct guest *guest, const json_t *message)
{
    uint64_t protocol = 0;
    const char *text = json_string_value(json_object_get(message, "token"));
    if (!message_is(message, "hello") || !token_equal(&a->token, text)) {
        guest_refuse(a, guest, "the token is another one");
        return;
    }
    if (!message_u64(message, "protocol", UINT16_MAX, &protocol) || protocol != WORK_PROTOCOL) {
        guest_refuse(a, guest, "it is of another version of millrace");
        return;
    }
    guest->known = true;
    guest->from.bytes_max = GUEST_BYTES;
    guest->until_ns = message_clock_ns() + GUEST_NS;
    if (!message_send(guest->file, json_pack("{s:s, s:s, s:o}", "type", "welcome", "version",
                                             MR_VERSION, "machine", bench_machine())))
        guest_end(guest);
}

static void guest_plan(struct agent *a, struct guest *guest, const json_t *message)
{
    struct plan plan;
    run_look(a);
    if (a->run > 0) {
        guest_refuse(a, guest, "another run is under way");
        return;
    }
    if (!plan_read(&plan, message)) {
        guest_refuse(a, guest, "its plan has what an agent does not do");
    } else {
        note(a->inv, "%s: part %d of %d of a run", guest->name, (int)plan.index + 1,
             (int)plan.count);
        (void)fflush(stderr);
        a->run = fork();
        if (a->run == 0)
            run_child(a, guest, &plan);
        if (a->run > 0) {
            a->run_file = dup(guest->file); /* to see its end; the child talks */
            guest_end(guest);
        } else {
            guest_refuse(a, guest, "no process can be made for it");
        }
    }
    plan_fini(&plan);
}

static void guest_take(struct agent *a, struct guest *guest, const json_t *message)
{
    if (!guest->known)
        guest_hello(a, guest, message);
    else if (message_is(message, "plan"))
        guest_plan(a, guest, message);
    else if (!message_is(message, "clock"))
        guest_refuse(a, guest, "it says what an agent does not know");
    else if (!message_send(guest->file, json_pack("{s:s, s:I}", "type", "clock", "now_ns",
                                                  (json_int_t)message_clock_ns())))
        guest_end(guest);
}

static void guest_read(struct agent *a, struct guest *guest)
{
    json_t *message;
    enum message_state state;
    message_fill(&guest->from);
    while (guest->file >= 0 && (state = message_take(&guest->from, &message)) != MESSAGE_NONE) {
        if (state == MESSAGE_TAKEN)
            guest_take(a, guest, message);
        else
            guest_refuse(a, guest, guest->from.why);
        json_decref(message);
    }
}

static struct guest *guest_place(struct agent *a)
{
    struct guest *oldest = NULL;
    for (uint32_t i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &a->guests[i];
        if (guest->file < 0)
            return guest;
        if (!guest->known && (!oldest || guest->until_ns < oldest->until_ns))
            oldest = guest;
    }
    if (oldest)
        guest_end(oldest); /* strangers make room for each other */
    return oldest;
}

static void guest_come(struct agent *a, int listening)
{
    const int one = 1;
    const struct timeval patience = {.tv_sec = SEND_TIMEOUT_S};
    struct sockaddr_storage from;
    socklen_t size = sizeof(from);
    char host[NI_MAXHOST] = "?";
    char port[NI_MAXSERV] = "?";
    int file = accept4(listening, (struct sockaddr *)&from, &size, SOCK_CLOEXEC);
    if (file < 0)
        return;
    struct guest *guest = guest_place(a);
    if (!guest) {
        (void)close(file);
        return;
    }
    (void)setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(file, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    (void)setsockopt(file, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    (void)getnameinfo((struct sockaddr *)&from, size, host, sizeof(host), port, sizeof(port),
                      NI_NUMERICHOST | NI_NUMERICSERV);
    *guest = (struct guest){.file = file, .until_ns = message_clock_ns() + STRANGER_NS};
    (void)snprintf(guest->name, sizeof(guest->name), "%s port %s", host, port);
    message_reader_init(&guest->from, file, STRANGER_BYTES);
}

/* ---- the agent ---- */

static int listen_one(struct agent *a, const struct addrinfo *at)
{
    const int one = 1;
    int file = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (file < 0)
        return -errno;
    (void)setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (at->ai_family == AF_INET6)
        (void)setsockopt(file, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(file, at->ai_addr, at->ai_addrlen) != 0 || listen(file, BACKLOG) != 0) {
        const int error = errno;
        (void)close(file);
        return -error;
    }
    a->sockets[a->socket_count++] = file;
    return 0;
}

static uint16_t port_of(int file)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    char port[NI_MAXSERV] = "0";
    (void)getsockname(file, (struct sockaddr *)&address, &size);
    (void)getnameinfo((struct sockaddr *)&address, size, NULL, 0, port, sizeof(port),
                      NI_NUMERICSERV);
    return (uint16_t)strtoul(port, NULL, 10);
}

static int listen_all(struct agent *a)
{
    const char *text = option_text(a->inv, "listen");
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found;
    struct address address;
    const char *problem;
    char port[8];
    if (!address_parse(&address, text, strlen(text), -1, &problem))
        return usage_error(a->inv, "--listen '%s' %s", text, problem);
    (void)snprintf(port, sizeof(port), "%u", address.port);
    int error = getaddrinfo(address.host[0] ? address.host : NULL, port, &hints, &found);
    if (error) {
        complain(a->inv, "--listen %s: %s", text, gai_strerror(error));
        return EXIT_FAILED;
    }
    error = -EADDRNOTAVAIL;
    for (struct addrinfo *at = found; at && a->socket_count < SOCKETS_MAX; at = at->ai_next) {
        int one = listen_one(a, at);
        error = one == 0 || a->socket_count == 0 ? one : error;
    }
    freeaddrinfo(found);
    if (a->socket_count == 0) {
        complain(a->inv, "cannot listen on %s: %s", text, strerror(-error));
        return EXIT_FAILED;
    }
    char printed[ADDRESS_TEXT_SIZE];
    address.port = port_of(a->sockets[0]);
    note(a->inv, "an agent on %s, for who knows the token; ^C ends it",
         address_print(&address, printed));
    return EXIT_OK;
}

static void agent_turn(struct agent *a)
{
    struct pollfd files[SOCKETS_MAX + GUESTS_MAX];
    nfds_t count = 0;
    for (uint32_t i = 0; i < a->socket_count; i++)
        files[count++] = (struct pollfd){.fd = a->sockets[i], .events = POLLIN};
    for (uint32_t i = 0; i < GUESTS_MAX; i++)
        files[count++] = (struct pollfd){.fd = a->guests[i].file, .events = POLLIN};
    const bool some = poll(files, count, LOOK_MS) > 0;
    for (uint32_t i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &a->guests[i];
        if (guest->file >= 0 && message_clock_ns() > guest->until_ns)
            guest_refuse(a, guest, "it took too long");
        else if (some && guest->file >= 0 && files[a->socket_count + i].revents != 0)
            guest_read(a, guest);
    }
    for (uint32_t i = 0; some && i < a->socket_count; i++)
        if (files[i].revents != 0)
            guest_come(a, a->sockets[i]);
    if (!some)
        run_look(a);
}

int cmd_bench_agent(struct invocation *inv)
{
    struct agent a = {.inv = inv, .run_file = -1};
    const struct sigaction stop = {.sa_handler = on_stop};
    for (uint32_t i = 0; i < GUESTS_MAX; i++)
        a.guests[i].file = -1;
    int code = token_read(&a.token, inv);
    if (code == EXIT_OK)
        code = listen_all(&a);
    if (code != EXIT_OK)
        return code;
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    while (!asked_to_stop)
        agent_turn(&a);
    for (uint32_t i = 0; i < GUESTS_MAX; i++)
        if (a.guests[i].file >= 0)
            guest_end(&a.guests[i]);
    if (a.run > 0) {
        (void)kill(a.run, SIGTERM);
        (void)waitpid(a.run, NULL, 0);
    }
    return EXIT_OK;
}
