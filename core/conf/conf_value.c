/* SPDX-License-Identifier: Apache-2.0
 *
 * From text to a checked, canonical value, and from there into a C field. Canonical text is what
 * DescribeConfigs shows and what is stored, so that " TRUE" and "true" are one value.
 */
#include "core/conf/conf.h"

#include "io/mem.h"
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    CODE_INVALID_CONFIG = 40,
    SHOWN_LEN_MAX = 64, /* of a value in an error */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static printf_like(2, 3) bool refuse(struct conf_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    error->code = CODE_INVALID_CONFIG;
    return false;
}

static bool refuse_value(const struct conf_key *key, const char *value, struct conf_error *error)
{
    char expects[256];
    return refuse(error, "%s: \"%.*s\" is not valid; it takes %s", key->name, SHOWN_LEN_MAX,
                  key->kind == CONF_PASSWORD ? "(hidden)" : value,
                  conf_expects(key, expects, sizeof(expects)));
}

/* A place in a "a,b,c" list, or -1. */
static int place_in(const char *list, const char *item, size_t len)
{
    int place = 0;
    while (list != NULL && *list != '\0') {
        const char *end = strchrnul(list, ',');
        if ((size_t)(end - list) == len && memcmp(list, item, len) == 0)
            return place;
        place++;
        list = *end == ',' ? end + 1 : end;
    }
    return -1;
}

/* ---- the items of a list, in order of their bytes: clients send lists of thousands ---- */

static int by_bytes(const void *a, const void *b)
{
    const struct conf_item *x = a;
    const struct conf_item *y = b;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return memcmp(x->text, y->text, x->len);
}

struct conf_item *conf_items(const char *list, size_t *count)
{
    size_t commas = 0;
    for (const char *at = list; *at != '\0'; at++)
        commas += *at == ',';
    struct conf_item *items = mem_alloc((commas + 1) * sizeof(*items));
    *count = 0;
    for (const char *at = list; *at != '\0';) {
        const char *end = strchrnul(at, ',');
        items[(*count)++] = (struct conf_item){at, (size_t)(end - at)};
        at = *end == ',' ? end + 1 : end;
    }
    qsort(items, *count, sizeof(*items), by_bytes);
    return items;
}

bool conf_items_hold(const struct conf_item *items, size_t count, const char *text, size_t len)
{
    const struct conf_item wanted = {text, len};
    return bsearch(&wanted, items, count, sizeof(*items), by_bytes) != NULL;
}

static bool check_items_differ(const struct conf_key *key, const char *list,
                               struct conf_error *error)
{
    size_t count;
    struct conf_item *items = conf_items(list, &count);
    const struct conf_item *twice = NULL;
    for (size_t i = 1; i < count && twice == NULL; i++)
        if (by_bytes(&items[i - 1], &items[i]) == 0)
            twice = &items[i];
    if (twice != NULL)
        (void)refuse(error, "%s names %.*s twice", key->name,
                     (int)min_u64(twice->len, SHOWN_LEN_MAX), twice->text);
    mem_free(items);
    return twice == NULL;
}

/* ---- one check for each kind; all work on the trimmed text, in place ---- */

static bool check_choice(const struct conf_key *key, const char *item, size_t len,
                         struct conf_error *error)
{
    const struct conf_valid *valid = &key->valid;
    if (valid->choices == NULL || place_in(valid->choices, item, len) >= 0)
        return true;
    if (place_in(valid->refused, item, len) >= 0)
        return refuse(error, "%s=%.*s is not supported: %s; use %s", key->name, (int)len, item,
                      valid->reason, valid->choices);
    char text[SHOWN_LEN_MAX + 1];
    (void)snprintf(text, sizeof(text), "%.*s", (int)min_u64(len, SHOWN_LEN_MAX), item);
    return refuse_value(key, text, error);
}

static bool check_boolean(const struct conf_key *key, char *text, struct conf_error *error)
{
    if (strcasecmp(text, "true") != 0 && strcasecmp(text, "false") != 0)
        return refuse_value(key, text, error);
    for (char *c = text; *c != '\0'; c++)
        *c = (char)(*c | 0x20); /* letters only, as was just seen */
    return check_choice(key, text, strlen(text), error);
}

static bool parse_integer(const char *text, int64_t *value)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (!is_digit(*digits))
        return false;
    char *end = NULL;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0';
}

/* The text only shrinks: "+007" is "7". */
static bool check_integer(const struct conf_key *key, char *text, struct conf_error *error)
{
    int64_t min;
    int64_t max;
    int64_t value = 0;
    conf_range(key, &min, &max);
    if (!parse_integer(text, &value) || value < min || value > max)
        return refuse_value(key, text, error);
    (void)snprintf(text, strlen(text) + 1, "%lld", (long long)value);
    return true;
}

static bool check_double(const struct conf_key *key, char *text, struct conf_error *error)
{
    /* Neither hexadecimal nor infinite: strtod would take them. */
    if (*text == '\0' || strspn(text, "0123456789+-.eE") != strlen(text))
        return refuse_value(key, text, error);
    char *end = NULL;
    double value = strtod(text, &end);
    bool in_range =
        !key->valid.has_range || (value >= (double)key->valid.min &&
                                  (key->valid.max == INT64_MAX || value <= (double)key->valid.max));
    if (*end != '\0' || !in_range)
        return refuse_value(key, text, error);
    return true;
}

/* Items without blanks around them; an empty item is dropped, a second of the same refused. */
static bool check_list(const struct conf_key *key, char *text, struct conf_error *error)
{
    char *out = text;
    for (const char *at = text; *at != '\0';) {
        const char *end = strchrnul(at, ',');
        const char *next = *end == ',' ? end + 1 : end;
        while (at < end && is_blank(*at))
            at++;
        while (end > at && is_blank(end[-1]))
            end--;
        size_t len = (size_t)(end - at);
        if (len > 0) {
            if (!check_choice(key, at, len, error))
                return false;
            char *item = out > text ? out + 1 : out;
            memmove(item, at, len);
            if (out > text)
                *out = ',';
            out = item + len;
        }
        at = next;
    }
    *out = '\0';
    return check_items_differ(key, text, error);
}

/* K, KB or KiB and so on, as powers of 1024; "" is bytes. */
static bool parse_unit(const char *text, int *shift)
{
    static const char units[] = "KMGT";
    *shift = 0;
    if (*text == '\0')
        return true;
    const char *unit = strchr(units, toupper((unsigned char)*text));
    if (unit == NULL)
        return false;
    *shift = 10 * (int)(unit - units + 1);
    return text[1] == '\0' || strcasecmp(text + 1, "B") == 0 || strcasecmp(text + 1, "iB") == 0;
}

static bool parse_size(const char *text, int64_t *bytes)
{
    *bytes = 0;
    if (strcasecmp(text, "auto") == 0)
        return true;
    char *unit = NULL;
    int shift = 0;
    errno = 0;
    long long value = is_digit(*text) ? strtoll(text, &unit, 10) : 0;
    return errno == 0 && value > 0 && parse_unit(unit, &shift) &&
           !__builtin_mul_overflow(value, 1LL << shift, bytes);
}

/* What only a row's own function knows. */
static bool check_own(const struct conf_key *key, const char *text, struct conf_error *error)
{
    return key->valid.check == NULL || key->valid.check(text) || refuse_value(key, text, error);
}

static bool check_kind(const struct conf_key *key, char *text, struct conf_error *error)
{
    int64_t bytes = 0;
    switch ((enum conf_kind)key->kind) {
    case CONF_BOOLEAN:
        return check_boolean(key, text, error);
    case CONF_SHORT:
    case CONF_INT:
    case CONF_LONG:
        return check_integer(key, text, error);
    case CONF_DOUBLE:
        return check_double(key, text, error);
    case CONF_LIST:
    case CONF_CHOICES:
        return check_list(key, text, error) && check_own(key, text, error);
    case CONF_SIZE:
        return parse_size(text, &bytes) || refuse_value(key, text, error);
    case CONF_CHOICE:
    case CONF_STRING:
    case CONF_CLASS:
    case CONF_PASSWORD:
        break;
    }
    return check_own(key, text, error) && check_choice(key, text, strlen(text), error);
}

bool conf_check(const struct conf_key *key, const char *value, char **text,
                struct conf_error *error)
{
    size_t len = strlen(value);
    while (len > 0 && is_blank(*value)) {
        value++;
        len--;
    }
    while (len > 0 && is_blank(value[len - 1]))
        len--;
    if (len > CONF_VALUE_LEN_MAX)
        return refuse(error, "%s: the value is longer than %d bytes", key->name,
                      CONF_VALUE_LEN_MAX);
    *text = mem_alloc(len + 1);
    memcpy(*text, value, len);
    (*text)[len] = '\0';
    /* A key without effect is kept as it is: there is nothing that a check could protect. */
    if (key->class == CONF_NO_EFFECT && key->scope == CONF_BROKER)
        return true;
    if (check_kind(key, *text, error))
        return true;
    mem_free(*text);
    *text = NULL;
    return false;
}

/* ---- into the field ---- */

static uint8_t choice_bits(const struct conf_key *key, const char *text)
{
    uint32_t bits = 0;
    while (*text != '\0') {
        const char *end = strchrnul(text, ',');
        int place = place_in(key->valid.choices, text, (size_t)(end - text));
        must(place >= 0 && place < 8);
        bits |= 1U << place;
        text = *end == ',' ? end + 1 : end;
    }
    return (uint8_t)bits;
}

static void store_number(const struct conf_key *key, const char *text, void *field)
{
    int64_t value = 0;
    if (key->kind == CONF_SIZE)
        must(parse_size(text, &value));
    else
        must(parse_integer(text, &value));
    if (key->kind == CONF_SHORT)
        *(int16_t *)field = (int16_t)value;
    else if (key->kind == CONF_INT)
        *(int32_t *)field = (int32_t)value;
    else
        *(int64_t *)field = value;
}

void conf_store(const struct conf_key *key, const char *text, void *base)
{
    must(key->has_field);
    void *field = (char *)base + key->field;
    switch ((enum conf_kind)key->kind) {
    case CONF_BOOLEAN:
        *(bool *)field = strcmp(text, "true") == 0;
        break;
    case CONF_SHORT:
    case CONF_INT:
    case CONF_LONG:
    case CONF_SIZE:
        store_number(key, text, field);
        break;
    case CONF_CHOICE: {
        int place = place_in(key->valid.choices, text, strlen(text));
        must(place >= 0);
        *(uint8_t *)field = (uint8_t)place;
        break;
    }
    case CONF_CHOICES:
        *(uint8_t *)field = choice_bits(key, text);
        break;
    case CONF_STRING:
    case CONF_LIST:
        *(const char **)field = text;
        break;
    case CONF_DOUBLE:
        *(double *)field = strtod(text, NULL);
        break;
    case CONF_CLASS:
    case CONF_PASSWORD:
        must_failed("the kind has a C type", __FILE__, __LINE__);
    }
}

/* ---- values with a shape of their own ---- */

static bool take_number(const char **text, uint32_t max, uint32_t *value)
{
    const char *at = *text;
    if (!is_digit(*at))
        return false;
    uint64_t sum = 0;
    for (; is_digit(*at); at++) {
        sum = sum * 10 + (uint64_t)(*at - '0');
        if (sum > max)
            return false;
    }
    *value = (uint32_t)sum;
    *text = at;
    return true;
}

bool conf_cores_parse(const char *text, struct conf_cores *cores)
{
    *cores = (struct conf_cores){0};
    if (strcmp(text, "all") == 0)
        return true;
    if (strpbrk(text, "-,") == NULL)
        return take_number(&text, CONF_CPU_MAX, &cores->count) && *text == '\0' && cores->count > 0;
    cores->listed = true;
    for (;;) {
        uint32_t first = 0;
        if (!take_number(&text, CONF_CPU_MAX - 1, &first))
            return false;
        uint32_t last = first;
        if (*text == '-') {
            text++;
            if (!take_number(&text, CONF_CPU_MAX - 1, &last) || last < first)
                return false;
        }
        for (uint32_t cpu = first; cpu <= last; cpu++) {
            uint64_t bit = 1ULL << (cpu % 64);
            if ((cores->cpus[cpu / 64] & bit) != 0)
                return false;
            cores->cpus[cpu / 64] |= bit;
            cores->count++;
        }
        if (*text == '\0')
            return true;
        if (*text++ != ',')
            return false;
    }
}

bool conf_ip_limit_next(const char **list, struct address *address, int32_t *limit)
{
    while (is_blank(**list) || **list == ',')
        (*list)++;
    const char *end = strchrnul(*list, ',');
    const char *colon = memrchr(*list, ':', (size_t)(end - *list));
    if (colon == NULL)
        return false;

    const char *digits = colon + 1;
    while (is_blank(*digits))
        digits++;
    uint32_t value = 0;
    if (!take_number(&digits, INT32_MAX, &value))
        return false;
    while (is_blank(*digits))
        digits++;

    const char *host_end = colon;
    while (host_end > *list && is_blank(host_end[-1]))
        host_end--;
    char host[ADDRESS_HOST_LEN_MAX + 3];
    size_t len = (size_t)(host_end - *list);
    bool bare_ipv6 = **list != '[' && memchr(*list, ':', len) != NULL;
    const char *problem = NULL;
    if (digits != end || len == 0 || len > ADDRESS_HOST_LEN_MAX)
        return false;
    (void)snprintf(host, sizeof(host), "%s%.*s%s", bare_ipv6 ? "[" : "", (int)len, *list,
                   bare_ipv6 ? "]" : "");
    if (!address_parse(address, host, strlen(host), 0, &problem) || address->kind == ADDRESS_NAME)
        return false;
    *limit = (int32_t)value;
    *list = end;
    return true;
}
