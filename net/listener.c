/* SPDX-License-Identifier: Apache-2.0 */
#include "net/listener.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A piece of a comma-separated list, trimmed. */
struct item {
    const char *text;
    size_t len;
};

/* Takes the next non-empty item off *list; false at the end. */
static bool next_item(const char **list, struct item *item)
{
    while (*list != NULL && **list != '\0') {
        const char *end = strchrnul(*list, ',');
        *item = (struct item){*list, (size_t)(end - *list)};
        *list = *end == ',' ? end + 1 : end;
        while (item->len > 0 && strchr(" \t", item->text[0]) != NULL) {
            item->text++;
            item->len--;
        }
        while (item->len > 0 && strchr(" \t", item->text[item->len - 1]) != NULL)
            item->len--;
        if (item->len > 0)
            return true;
    }
    return false;
}

static printf_like(2, 3) bool refuse(struct listener_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return false;
}

static bool same_name(struct item item, const char *name)
{
    return strlen(name) == item.len && strncasecmp(item.text, name, item.len) == 0;
}

bool listener_names_hold(const char *names, const char *name)
{
    struct item item;
    while (next_item(&names, &item))
        if (same_name(item, name))
            return true;
    return false;
}

static bool name_of(struct item item, char name[LISTENER_NAME_LEN_MAX + 1])
{
    if (item.len == 0 || item.len > LISTENER_NAME_LEN_MAX)
        return false;
    for (size_t i = 0; i < item.len; i++) {
        char c = item.text[i];
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '_' && c != '-')
            return false;
        name[i] = c;
    }
    name[item.len] = '\0';
    return true;
}

/* `NAME://host:port` */
static bool parse_uri(struct item item, const char *key, char name[LISTENER_NAME_LEN_MAX + 1],
                      struct address *address, struct listener_error *error)
{
    const char *mark = memmem(item.text, item.len, "://", 3);
    if (mark == NULL)
        return refuse(error, "%s: \"%.*s\" is not of the form NAME://host:port", key,
                      (int)min_u64(item.len, 128), item.text);
    if (!name_of((struct item){item.text, (size_t)(mark - item.text)}, name))
        return refuse(error,
                      "%s: \"%.*s\" begins with no listener name (letters, digits, - and _, at "
                      "most %d)",
                      key, (int)min_u64(item.len, 128), item.text, LISTENER_NAME_LEN_MAX);
    const char *problem = NULL;
    const char *host = mark + 3;
    if (!address_parse(address, host, (size_t)(item.text + item.len - host), -1, &problem))
        return refuse(error, "%s: \"%.*s\" %s", key, (int)min_u64(item.len, 128), item.text,
                      problem);
    return true;
}

static bool is_ipv4_ipv6_pair(const struct address *a, const struct address *b)
{
    return (a->kind == ADDRESS_IPV4 && b->kind == ADDRESS_IPV6) ||
           (a->kind == ADDRESS_IPV6 && b->kind == ADDRESS_IPV4);
}

/* Kafka wants names, too: brokers find each other's listeners by them. */
static bool refuse_twin(const struct listener *listener, struct listener_error *error)
{
    char text[ADDRESS_TEXT_SIZE];
    return refuse(
        error,
        "listeners: the name %s stands twice; only an IPv4 and an IPv6 address on the same port "
        "may share a name. Give this one a name of its own, %.16s2://%.128s, and say what it "
        "speaks: "
        "listener.security.protocol.map=%s:PLAINTEXT,%.16s2:PLAINTEXT (--override sets that, too)",
        listener->name, listener->name, address_print(&listener->bind, text), listener->name,
        listener->name);
}

/* A wildcard is every address of both families, however it is written. */
static bool refuse_same(const struct listener *a, const struct listener *b,
                        struct listener_error *error)
{
    char text_a[ADDRESS_TEXT_SIZE];
    char text_b[ADDRESS_TEXT_SIZE];
    return refuse(error,
                  "listeners: %s://%.128s and %s://%.128s are the same port of the same addresses "
                  "(0.0.0.0 and [::] are every address, of IPv4 and of IPv6); keep one of them, or "
                  "give one another port",
                  a->name, address_print(&a->bind, text_a), b->name,
                  address_print(&b->bind, text_b));
}

static bool check_against_others(const struct listener_set *set, const struct listener *listener,
                                 struct listener_error *error)
{
    const struct address *bind = &listener->bind;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct listener *other = &set->listener[i];
        bool pair = is_ipv4_ipv6_pair(bind, &other->bind);
        if (strcmp(listener->name, other->name) == 0 && !(pair && bind->port == other->bind.port))
            return refuse_twin(listener, error);
        if (bind->port != 0 && bind->port == other->bind.port && !pair)
            return refuse(
                error,
                "listeners: %s and %s share port %u; only an IPv4 and an IPv6 address may "
                "share a port",
                other->name, listener->name, (unsigned)bind->port);
        bool wild = address_is_wildcard(bind) || address_is_wildcard(&other->bind);
        if (bind->port != 0 && bind->port == other->bind.port && wild)
            return refuse_same(other, listener, error);
    }
    return true;
}

static bool parse_listeners(struct listener_set *set, const struct listener_text *text,
                            struct listener_error *error)
{
    const char *list = text->listeners;
    struct item item;
    set->count = 0;
    while (next_item(&list, &item)) {
        struct listener listener = {0};
        if (!parse_uri(item, "listeners", listener.name, &listener.bind, error))
            return false;
        if (listener_names_hold(text->controller_names, listener.name))
            continue;
        if (set->count == LISTENER_COUNT_MAX)
            return refuse(error, "listeners: more than %d listeners", LISTENER_COUNT_MAX);
        if (!check_against_others(set, &listener, error))
            return false;
        set->listener[set->count++] = listener;
    }
    if (set->count == 0)
        return refuse(error, "listeners: no listener for clients is left; add one, for example "
                             "PLAINTEXT://127.0.0.1:9092");
    return true;
}

static bool advertise(struct listener_set *set, const char *name, const struct address *address,
                      struct listener_error *error)
{
    bool known = false;
    for (uint32_t i = 0; i < set->count; i++) {
        struct listener *listener = &set->listener[i];
        if (strcmp(listener->name, name) != 0)
            continue;
        if (listener->advertised_is_explicit)
            return refuse(error, "advertised.listeners: the name %s stands twice; keep one of them",
                          name);
        listener->advertised = *address;
        known = true;
    }
    if (!known)
        return refuse(error, "advertised.listeners: %s is no listener; listeners does not name it",
                      name);
    for (uint32_t i = 0; i < set->count; i++)
        if (strcmp(set->listener[i].name, name) == 0)
            set->listener[i].advertised_is_explicit = true;
    return true;
}

static bool parse_advertised(struct listener_set *set, const struct listener_text *text,
                             struct listener_error *error)
{
    const char *list = text->advertised;
    struct item item;
    while (next_item(&list, &item)) {
        char name[LISTENER_NAME_LEN_MAX + 1];
        struct address address;
        if (!parse_uri(item, "advertised.listeners", name, &address, error))
            return false;
        if (listener_names_hold(text->controller_names, name))
            continue;
        if (address_is_wildcard(&address))
            return refuse(error,
                          "advertised.listeners: \"%.*s\" is no address that a client can connect "
                          "to; name a host",
                          (int)min_u64(item.len, 128), item.text);
        if (!advertise(set, name, &address, error))
            return false;
    }
    return true;
}

/* What is not said in advertised.listeners follows from where the listener is bound. */
static bool derive_advertised(struct listener_set *set, const struct listener_text *text,
                              struct listener_error *error)
{
    for (uint32_t i = 0; i < set->count; i++) {
        struct listener *listener = &set->listener[i];
        if (listener->advertised_is_explicit)
            continue;
        listener->advertised = listener->bind;
        if (!address_is_wildcard(&listener->bind))
            continue;
        const char *host = text->hostname != NULL ? text->hostname : "";
        const char *problem = NULL;
        struct address address;
        if (!address_parse(&address, host, strlen(host), listener->bind.port, &problem) ||
            address_is_wildcard(&address))
            return refuse(error,
                          "listeners: %s listens on every address, and this machine's host name "
                          "\"%.64s\" cannot be advertised; set advertised.listeners",
                          listener->name, host);
        listener->advertised = address;
    }
    return true;
}

/* Splits `NAME:PROTOCOL`. */
static bool split_protocol(struct item item, struct item *name, struct item *protocol)
{
    const char *colon = memchr(item.text, ':', item.len);
    if (colon == NULL)
        return false;
    *name = (struct item){item.text, (size_t)(colon - item.text)};
    *protocol = (struct item){colon + 1, item.len - name->len - 1};
    return name->len > 0 && memchr(protocol->text, ':', protocol->len) == NULL;
}

static bool is_protocol(struct item item)
{
    return same_name(item, "PLAINTEXT") || same_name(item, "SSL") || same_name(item, "SASL_SSL") ||
           same_name(item, "SASL_PLAINTEXT");
}

static bool check_protocol(const struct listener *listener, const char *map,
                           struct listener_error *error)
{
    struct item item;
    struct item name;
    struct item protocol;
    while (next_item(&map, &item)) {
        if (!split_protocol(item, &name, &protocol) || !same_name(name, listener->name))
            continue;
        if (same_name(protocol, "PLAINTEXT"))
            return true;
        return refuse(error,
                      "listener.security.protocol.map: listener %s asks for %.*s, and this release "
                      "speaks PLAINTEXT only; take the listener out of listeners or map it to "
                      "PLAINTEXT",
                      listener->name, (int)protocol.len, protocol.text);
    }
    return refuse(error,
                  "listener.security.protocol.map: listener %s has no security protocol; add "
                  "%s:PLAINTEXT",
                  listener->name, listener->name);
}

static bool check_protocols(const struct listener_set *set, const char *map,
                            struct listener_error *error)
{
    const char *list = map;
    struct item item;
    struct item name;
    struct item protocol;
    while (next_item(&list, &item))
        if (!split_protocol(item, &name, &protocol) || !is_protocol(protocol))
            return refuse(
                error,
                "listener.security.protocol.map: \"%.*s\" is not NAME:PROTOCOL with one of "
                "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL",
                (int)min_u64(item.len, 128), item.text);
    for (uint32_t i = 0; i < set->count; i++)
        if (!check_protocol(&set->listener[i], map, error))
            return false;
    return true;
}

bool listener_set_parse(struct listener_set *set, const struct listener_text *text,
                        struct listener_error *error)
{
    return parse_listeners(set, text, error) && parse_advertised(set, text, error) &&
           derive_advertised(set, text, error) && check_protocols(set, text->protocols, error);
}

void listener_bound(struct listener *listener, uint16_t port)
{
    if (listener->bind.port == 0)
        listener->bind.port = port;
    if (listener->advertised.port == 0)
        listener->advertised.port = port;
}

const struct listener *listener_find(const struct listener_set *set, const char *name)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (strcasecmp(set->listener[i].name, name) == 0)
            return &set->listener[i];
    return NULL;
}
