/* SPDX-License-Identifier: Apache-2.0
 *
 * Log lines and recent events; the rules are in diag.h.
 *
 * The format string is walked here, field by field, instead of being given to vsnprintf whole: only
 * so is it known where a value begins and ends, and only then can it be escaped. The compiler still
 * checks the arguments (printf_like).
 *
 * Limits are kept per shard and event name in a small table that is searched by the name's text, so
 * that what is suppressed does not depend on where the linker put a literal.
 */
#include "io/diag.h"

#include "io/group.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DIAG_SITES 128U /* event names with a limit of their own; a power of two */
#define DIAG_KEY   64U

struct diag_entry {
    const char *name;
    uint64_t at_ns;
    uint64_t a;
    uint64_t b;
};

struct diag_site {
    const char *event;
    uint64_t second_began_ns;
    uint32_t lines; /* in this second */
    uint64_t suppressed;
};

struct diag {
    struct diag_entry events[DIAG_EVENTS];
    uint64_t event_count;
    struct diag_site sites[DIAG_SITES];
};

/* A line under construction. A field that does not fit is left out whole, and the line says so. */
struct line {
    char text[DIAG_LINE_MAX];
    size_t len;
    bool json;
    bool full; /* the field at hand does not fit */
    bool truncated;
};

struct value {
    char text[DIAG_VALUE_MAX];
    size_t len;
    bool number; /* made of one numeric conversion and nothing else */
};

struct diag *diag_new(void)
{
    return mem_zalloc(sizeof(struct diag));
}

void diag_free(struct diag *diag)
{
    mem_free(diag);
}

/* ---- recent events ---- */

void diag_event(struct shard *sh, const char *name, uint64_t a, uint64_t b)
{
    struct diag *diag = sh->diag;
    struct diag_entry *entry = &diag->events[diag->event_count++ % DIAG_EVENTS];
    *entry = (struct diag_entry){name, sh->io != NULL ? io_now_ns(sh->io) : 0, a, b};
}

void diag_dump(const struct shard *sh)
{
    const struct diag *diag = sh->diag;
    fprintf(stderr, "shard %u of %u, step %s, turn %llu\n", sh->id, sh->count,
            sh->step != NULL ? sh->step : "(between turns)", (unsigned long long)sh->turns);
    uint64_t first = diag->event_count > DIAG_EVENTS ? diag->event_count - DIAG_EVENTS : 0;
    uint64_t now_ns = sh->io != NULL ? io_now_ns(sh->io) : 0;
    for (uint64_t i = first; i < diag->event_count; i++) {
        const struct diag_entry *entry = &diag->events[i % DIAG_EVENTS];
        fprintf(stderr, "  -%llu us %s %llu %llu\n",
                (unsigned long long)(now_ns - entry->at_ns) / 1000,
                entry->name != NULL ? entry->name : "?", (unsigned long long)entry->a,
                (unsigned long long)entry->b);
    }
}

void diag_dump_here(void)
{
    if (shard_here() != NULL)
        diag_dump(shard_here());
}

/* ---- building a line ---- */

static void line_put(struct line *line, const char *text, size_t len)
{
    /* Room stays for the end of the line: truncated=true, the brace, the newline. */
    const size_t room = sizeof(line->text) - 32 - line->len;
    if (line->full || len > room) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

static void line_string(struct line *line, const char *text)
{
    line_put(line, text, strlen(text));
}

/* Does logfmt need quotes around it? */
static bool value_is_plain(const struct value *value)
{
    if (value->len == 0)
        return false;
    for (size_t i = 0; i < value->len; i++) {
        unsigned char c = (unsigned char)value->text[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7f)
            return false;
    }
    return true;
}

/* The escapes of JSON, which logfmt readers know too. Bytes above ASCII become \u00XX: what a
 * client sends need not be UTF-8, but a line always is. */
static void line_escaped(struct line *line, const struct value *value)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < value->len; i++) {
        unsigned char c = (unsigned char)value->text[i];
        if (c == '"' || c == '\\') {
            char pair[2] = {'\\', (char)c};
            line_put(line, pair, 2);
        } else if (c < ' ' || c >= 0x7f) {
            char code[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            line_put(line, code, 6);
        } else {
            line_put(line, value->text + i, 1);
        }
    }
}

static void line_field(struct line *line, const char *key, const struct value *value)
{
    const size_t begin = line->len;
    if (line->len > 1)
        line_string(line, line->json ? "," : " ");
    if (line->json) {
        line_string(line, "\"");
        line_string(line, key);
        line_string(line, "\":");
    } else {
        line_string(line, key);
        line_string(line, "=");
    }
    bool quoted = line->json ? !value->number : !value_is_plain(value);
    if (quoted)
        line_string(line, "\"");
    line_escaped(line, value);
    if (quoted)
        line_string(line, "\"");
    if (line->full) {
        line->len = begin;
        line->full = false;
        line->truncated = true;
    }
}

static void value_put(struct value *value, const char *text, size_t len)
{
    static const char cut[] = {'.', '.', '.'};
    size_t room = sizeof(value->text) - value->len;
    size_t most = len < room ? len : room;
    memcpy(value->text + value->len, text, most);
    value->len += most;
    if (len > room)
        memcpy(value->text + sizeof(value->text) - sizeof(cut), cut, sizeof(cut));
}

static void line_text(struct line *line, const char *key, const char *text)
{
    struct value value = {.len = 0};
    value_put(&value, text, strlen(text));
    line_field(line, key, &value);
}

static void line_number(struct line *line, const char *key, uint64_t number)
{
    struct value value = {.number = true};
    value.len =
        (size_t)snprintf(value.text, sizeof(value.text), "%llu", (unsigned long long)number);
    line_field(line, key, &value);
}

/* ---- the format ---- */

struct conversion {
    int longs;     /* l: 1, ll, z and j: 2 (all 64 bits here) */
    int precision; /* -1: none */
    char kind;
};

/* *at is behind the percent sign; afterwards behind the conversion. */
static struct conversion conversion_read(const char **at, va_list *arguments)
{
    struct conversion c = {.precision = -1};
    const char *p = *at;
    if (*p == '.') {
        p++;
        if (*p == '*') {
            c.precision = va_arg(*arguments, int);
            p++;
        } else {
            c.precision = 0;
            while (*p >= '0' && *p <= '9')
                c.precision = c.precision * 10 + (*p++ - '0');
        }
    }
    for (; *p == 'l' || *p == 'z' || *p == 'j' || *p == 'h'; p++)
        c.longs += *p == 'h' ? 0 : 1;
    c.kind = *p != '\0' ? *p++ : '\0';
    *at = p;
    return c;
}

static void value_integer(struct value *value, struct conversion c, va_list *arguments)
{
    char text[32];
    int len;
    if (c.kind == 'd' || c.kind == 'i') {
        long long number = c.longs > 0 ? va_arg(*arguments, long) : va_arg(*arguments, int);
        len = snprintf(text, sizeof(text), "%lld", number);
    } else {
        unsigned long long number =
            c.longs > 0 ? va_arg(*arguments, unsigned long) : va_arg(*arguments, unsigned);
        len = snprintf(text, sizeof(text), c.kind == 'x' ? "%llx" : "%llu", number);
    }
    value_put(value, text, (size_t)len);
}

static void value_convert(struct value *value, struct conversion c, va_list *arguments)
{
    switch (c.kind) {
    case 's': {
        const char *text = va_arg(*arguments, const char *);
        if (text == NULL)
            text = "(none)";
        value_put(value, text,
                  c.precision >= 0 ? strnlen(text, (size_t)c.precision) : strlen(text));
        break;
    }
    case 'c': {
        char byte = (char)va_arg(*arguments, int);
        value_put(value, &byte, 1);
        break;
    }
    case 'f': {
        char text[64];
        int len = snprintf(text, sizeof(text), "%.*f", c.precision >= 0 ? c.precision : 6,
                           va_arg(*arguments, double));
        value_put(value, text, (size_t)min_i64(len, (int64_t)sizeof(text) - 1));
        break;
    }
    case 'd':
    case 'i':
    case 'u':
    case 'x':
        value_integer(value, c, arguments);
        break;
    case '%':
        value_put(value, "%", 1);
        break;
    default:
        must(c.kind == 's'); /* no other conversion is known */
    }
}

static bool is_number(struct conversion c)
{
    return c.kind == 'd' || c.kind == 'i' || c.kind == 'u' || c.kind == 'f';
}

/* Reads one "key=value" of the format, stops at the space behind it or at the end. */
static const char *field_read(const char *at, char key[DIAG_KEY], struct value *value,
                              va_list *arguments)
{
    size_t len = 0;
    while (*at != '\0' && *at != '=') {
        must(len < DIAG_KEY - 1 && *at != ' ' && *at != '%');
        key[len++] = *at++;
    }
    must(*at == '=');
    key[len] = '\0';
    at++;
    unsigned parts = 0;
    value->len = 0;
    value->number = false;
    while (*at != '\0' && *at != ' ') {
        parts++;
        if (*at != '%') {
            value_put(value, at++, 1);
            continue;
        }
        at++;
        struct conversion c = conversion_read(&at, arguments);
        value_convert(value, c, arguments);
        value->number = parts == 1 && is_number(c);
    }
    value->number = value->number && parts == 1;
    return at;
}

static void line_fields(struct line *line, const char *format, va_list *arguments)
{
    char key[DIAG_KEY];
    struct value value;
    const char *at = format;
    while (*at != '\0') {
        at = field_read(at, key, &value, arguments);
        line_field(line, key, &value);
        while (*at == ' ')
            at++;
    }
}

/* ---- the line ---- */

/* The time, as 2025-03-01T12:00:00.123456Z. */
static void line_stamp(struct line *line, int64_t wall_us)
{
    time_t seconds = wall_us / 1000000;
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL)
        tm = (struct tm){.tm_year = 70, .tm_mday = 1};
    char text[64];
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall_us % 1000000));
    line_text(line, "ts", text);
}

static struct diag_site *site_of(struct diag *diag, const char *event)
{
    uint32_t hash = 2166136261U;
    for (const char *p = event; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619U;
    for (uint32_t i = 0; i < DIAG_SITES; i++) {
        struct diag_site *site = &diag->sites[(hash + i) & (DIAG_SITES - 1)];
        if (site->event == NULL)
            site->event = event;
        if (strcmp(site->event, event) == 0)
            return site;
    }
    return NULL; /* more names than the table holds: those that came last have no limit */
}

/* May this event speak now? Then *suppressed says how many lines it was denied since. */
static bool site_may(struct shard *sh, const char *event, uint64_t *suppressed)
{
    struct diag_site *site = site_of(sh->diag, event);
    *suppressed = 0;
    if (site == NULL)
        return true;
    uint64_t now_ns = io_now_ns(sh->io);
    if (now_ns - site->second_began_ns >= NS_PER_S) {
        site->second_began_ns = now_ns;
        site->lines = 0;
    }
    if (site->lines >= DIAG_LINES_PER_SECOND) {
        site->suppressed++;
        return false;
    }
    site->lines++;
    *suppressed = site->suppressed;
    site->suppressed = 0;
    return true;
}

void diag_line(struct shard *sh, enum diag_level level, const char *event, const char *fields, ...)
{
    static const char *const level_names[] = {
        [DIAG_ERROR] = "error", [DIAG_WARN] = "warn", [DIAG_INFO] = "info"};
    const struct io_log_style style = io_log_style();
    uint64_t suppressed = 0;
    if (level > diag_level_of(diag_logger_of(event)))
        return;
    if (sh != NULL && sh->io != NULL && level != DIAG_ERROR && !site_may(sh, event, &suppressed))
        return;
    struct io *io = sh != NULL ? sh->io : NULL;
    struct line line = {.json = style.json};
    if (line.json)
        line_string(&line, "{");
    line_stamp(&line, io_wall_us(io));
    line_text(&line, "level", level_names[level]);
    if (sh != NULL)
        line_number(&line, "shard", sh->id);
    line_text(&line, "event", event);
    va_list arguments;
    va_start(arguments, fields);
    line_fields(&line, fields, &arguments);
    va_end(arguments);
    if (suppressed > 0)
        line_number(&line, "suppressed", suppressed);
    /* This always fits: line_put() left room for it. */
    if (line.truncated) {
        const char *end = line.json ? ",\"truncated\":true" : " truncated=true";
        memcpy(line.text + line.len, end, strlen(end));
        line.len += strlen(end);
    }
    if (line.json)
        line.text[line.len++] = '}';
    line.text[line.len++] = '\n';
    io_log(io, line.text, line.len);
}
