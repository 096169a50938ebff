/* SPDX-License-Identifier: Apache-2.0
 *
 * The settings of a broker that starts: flags stand for keys, --override sets any, the properties
 * file is Kafka's own.
 */
#include "io/diag.h"
#include "io/io.h"
#include "io/mem.h"
#include "tools/millrace/start/start.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#define PROPERTIES_MAX (1U << 20)

/* ---- flags, by the key they stand for ---- */

static void add_flag(struct start *st, const char *option, const char *key)
{
    const char *value = option_text(st->inv, option);
    if (value)
        st->flags[st->flag_count++] = (struct conf_assignment){.name = key, .value = value};
}

static bool add_overrides(struct start *st)
{
    const char *text;
    for (uint32_t cursor = 0; (text = option_next(st->inv, "override", &cursor));) {
        char *name = mem_strdup(text); /* conf borrows it; cmd_start() frees it */
        char *equals = strchr(name, '=');
        if (!equals || st->override_count == ASSIGNMENTS_MAX) {
            (void)usage_error(st->inv, "--override %s: KEY=VALUE is wanted", text);
            mem_free(name);
            return false;
        }
        *equals = 0;
        st->overrides[st->override_count++] =
            (struct conf_assignment){.name = name, .value = equals + 1};
    }
    return true;
}

/* Several of an option become one list; an address without a listener's name is PLAINTEXT's. */
static bool add_addresses(struct start *st, const char *option, const char *key,
                          char text[LISTEN_TEXT_MAX])
{
    const char *address;
    for (uint32_t cursor = 0; (address = option_next(st->inv, option, &cursor));) {
        size_t used = strlen(text);
        int wrote = snprintf(text + used, LISTEN_TEXT_MAX - used, "%s%s%s", used ? "," : "",
                             strstr(address, "://") ? "" : "PLAINTEXT://", address);
        if (wrote < 0 || (size_t)wrote >= LISTEN_TEXT_MAX - used) {
            (void)usage_error(st->inv, "--%s: more than %u characters in all", option,
                              LISTEN_TEXT_MAX);
            return false;
        }
    }
    if (text[0])
        st->flags[st->flag_count++] = (struct conf_assignment){.name = key, .value = text};
    return true;
}

static bool take_flags(struct start *st)
{
    if (st->inv->operand_count > 0)
        st->file_name = st->inv->operands[0];
    add_flag(st, "data-dir", "log.dirs");
    add_flag(st, "cores", "millrace.cores");
    if (option_on(st->inv, "spin"))
        st->flags[st->flag_count++] =
            (struct conf_assignment){.name = "millrace.spin.us", .value = "1000"};
    add_flag(st, "memory", "millrace.memory");
    add_flag(st, "node-id", "node.id");
    add_flag(st, "zookeeper", "zookeeper.connect");
    add_flag(st, "replaced-directory", "millrace.replaced.directory");
    add_flag(st, "admin-listen", "millrace.admin.listeners");
    return add_addresses(st, "listen", "listeners", st->listen_text) &&
           add_addresses(st, "advertise", "advertised.listeners", st->advertise_text) &&
           add_overrides(st);
}

/* ---- the file ---- */

/* Says why the file cannot be read, and what to do; false. */
static bool refuse_file(const struct start *st, int error)
{
    const char *next = error == ENOENT ? "name a file that is there, or none: the defaults will do"
                       : error == EACCES ? "let the user who starts the broker read it"
                       : error == EISDIR
                           ? "name the file in it: server.properties"
                           : "mend what keeps it from being read, or name another file";
    complain(st->inv, "cannot read %s: %s; %s", st->file_name, strerror(error), next);
    return false;
}

static bool read_file(struct start *st)
{
    FILE *in = fopen(st->file_name, "rb");
    if (!in)
        return refuse_file(st, errno);
    st->file = mem_alloc(PROPERTIES_MAX + 1);
    st->file_len = fread(st->file, 1, PROPERTIES_MAX + 1, in);
    int error = ferror(in) ? errno : 0;
    (void)fclose(in);
    if (error != 0)
        return refuse_file(st, error);
    if (st->file_len > PROPERTIES_MAX)
        complain(st->inv, "%s is larger than 1 MiB; is it a properties file?", st->file_name);
    return st->file_len <= PROPERTIES_MAX;
}

static void print_report(const struct start *st)
{
    static const char *const levels[] = {"detail", "info", "warning", "error"};
    const struct invocation *inv = st->inv;
    uint8_t least = inv->verbose ? CONF_DETAIL : inv->quiet ? CONF_WARN : CONF_INFO;
    for (uint32_t i = 0; i < st->conf.line_count; i++) {
        const struct conf_line *line = &st->conf.line[i];
        if (line->level >= least)
            fprintf(stderr, "%s: %s\n", levels[line->level], line->text);
    }
}

static int load_conf(struct start *st)
{
    if (!take_flags(st))
        return EXIT_USAGE;
    if (st->file_name && !read_file(st))
        return EXIT_USAGE; /* a supervisor need not try again, as with what is written in it */
    if (gethostname(st->hostname, sizeof(st->hostname) - 1) < 0)
        snprintf(st->hostname, sizeof(st->hostname), "localhost");
    const struct conf_input input = {
        .file_name = st->file_name,
        .file = st->file,
        .file_len = st->file_len,
        .override = st->overrides,
        .override_count = st->override_count,
        .flag = st->flags,
        .flag_count = st->flag_count,
        .hostname = st->hostname,
    };
    bool good = conf_load(&st->conf, &input);
    print_report(st);
    return good ? EXIT_OK : EXIT_USAGE;
}

/* Names that the broker binds to are looked up here, where waiting harms nobody. */
static bool resolve_listeners(struct start *st)
{
    for (uint32_t i = 0; i < st->conf.listeners.count; i++) {
        struct address *bind = &st->conf.listeners.listener[i].bind;
        if (bind->kind != ADDRESS_NAME || address_is_wildcard(bind))
            continue;
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        struct addrinfo *found;
        int error = getaddrinfo(bind->host, NULL, &hints, &found);
        if (error) {
            complain(st->inv,
                     "listeners: cannot look up '%s': %s; write an address of this machine, or add "
                     "the name to /etc/hosts",
                     bind->host, gai_strerror(error));
            return false;
        }
        bool v6 = found->ai_family == AF_INET6;
        const void *ip =
            v6 ? (const void *)&((struct sockaddr_in6 *)(void *)found->ai_addr)->sin6_addr
               : (const void *)&((struct sockaddr_in *)(void *)found->ai_addr)->sin_addr;
        address_set_ip(bind, v6, ip);
        freeaddrinfo(found);
    }
    return true;
}

static void start_saying(const struct conf *conf)
{
    static_assert(DIAG_ERROR + (int)CONF_LOG_LEVEL_ERROR == DIAG_ERROR &&
                      DIAG_ERROR + (int)CONF_LOG_LEVEL_WARN == DIAG_WARN &&
                      DIAG_ERROR + (int)CONF_LOG_LEVEL_INFO == DIAG_INFO,
                  "one order for both");
    diag_level_set(DIAG_ROOT, (enum diag_level)(DIAG_ERROR + conf->broker.log_level));
    io_log_style_set((struct io_log_style){
        .json = conf->broker.log_format == CONF_LOG_FORMAT_JSON,
    });
}

int start_conf(struct start *st)
{
    int code = load_conf(st);
    if (code == EXIT_OK)
        start_saying(&st->conf);
    if (code == EXIT_OK && !resolve_listeners(st))
        code = EXIT_FAILED;
    return code;
}
