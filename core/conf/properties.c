/* SPDX-License-Identifier: Apache-2.0
 *
 * Two passes over each entry, as Java does it: first natural lines are joined into one logical
 * line (comments and continuations are decided here, escapes are left alone), then the logical
 * line is split at the first unescaped separator and unescaped.
 *
 * Neither pass makes text longer, so two buffers sized by the file hold everything.
 */
#include "core/conf/properties.h"

#include "io/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    const char *data;
    size_t len;
    size_t at;
    uint32_t line; /* of data[at] */

    char *logical; /* the logical line being read */
    size_t logical_len;
    uint32_t logical_line; /* where it begins */

    char *out; /* end of the text written so far */
    struct properties_error *error;
};

static printf_like(3, 4) bool refuse(struct reader *reader, uint32_t line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reader->error->text, sizeof(reader->error->text), format, args);
    va_end(args);
    reader->error->line = line;
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

static void skip_blanks(struct reader *reader)
{
    while (reader->at < reader->len && is_blank(reader->data[reader->at]))
        reader->at++;
}

/* Consumes \n, \r or \r\n if one is here. */
static void skip_line_end(struct reader *reader)
{
    if (reader->at == reader->len || !is_line_end(reader->data[reader->at]))
        return;
    char first = reader->data[reader->at++];
    if (first == '\r' && reader->at < reader->len && reader->data[reader->at] == '\n')
        reader->at++;
    reader->line++;
}

static bool is_comment(const struct reader *reader)
{
    return reader->at < reader->len &&
           (reader->data[reader->at] == '#' || reader->data[reader->at] == '!');
}

/* Appends the rest of the natural line to the logical one. True if a backslash joins the next. */
static bool take_natural_line(struct reader *reader)
{
    bool escaped = false;
    while (reader->at < reader->len && !is_line_end(reader->data[reader->at])) {
        char c = reader->data[reader->at++];
        escaped = c == '\\' && !escaped;
        reader->logical[reader->logical_len++] = c;
    }
    if (escaped)
        reader->logical_len--;
    return escaped;
}

/* Reads the next logical line that is neither blank nor a comment; false at the end of the data. */
static bool next_logical_line(struct reader *reader)
{
    reader->logical_len = 0;
    bool joined = false;
    while (reader->at < reader->len) {
        skip_blanks(reader);
        if (reader->logical_len == 0 && is_comment(reader)) {
            (void)take_natural_line(reader);
            reader->logical_len = 0;
            skip_line_end(reader);
            continue;
        }
        if (reader->logical_len == 0)
            reader->logical_line = reader->line;
        joined = take_natural_line(reader);
        skip_line_end(reader);
        if (!joined && reader->logical_len > 0)
            return true;
    }
    return reader->logical_len > 0;
}

static bool hex4(const char *at, const char *end, uint32_t *value)
{
    if (end - at < 4)
        return false;
    *value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        uint32_t digit = 0;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint32_t)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (uint32_t)(c - 'A') + 10;
        else
            return false;
        *value = *value << 4 | digit;
    }
    return true;
}

#define WRITE_INSTEAD "; write \\\\ for a backslash, or four hex digits of a UTF-16 unit behind \\u"

static void put_utf8(struct reader *reader, uint32_t rune)
{
    if (rune < 0x80) {
        *reader->out++ = (char)rune;
    } else if (rune < 0x800) {
        *reader->out++ = (char)(0xc0 | rune >> 6);
        *reader->out++ = (char)(0x80 | (rune & 0x3f));
    } else if (rune < 0x10000) {
        *reader->out++ = (char)(0xe0 | rune >> 12);
        *reader->out++ = (char)(0x80 | (rune >> 6 & 0x3f));
        *reader->out++ = (char)(0x80 | (rune & 0x3f));
    } else {
        *reader->out++ = (char)(0xf0 | rune >> 18);
        *reader->out++ = (char)(0x80 | (rune >> 12 & 0x3f));
        *reader->out++ = (char)(0x80 | (rune >> 6 & 0x3f));
        *reader->out++ = (char)(0x80 | (rune & 0x3f));
    }
}

/* *at is behind `\u`. Java's characters are UTF-16: a pair of escapes is one code point. */
static bool put_unicode(struct reader *reader, const char **at, const char *end)
{
    uint32_t rune = 0;
    if (!hex4(*at, end, &rune))
        return refuse(reader, reader->logical_line,
                      "\\u must be followed by four hex digits" WRITE_INSTEAD);
    *at += 4;
    if (rune >= 0xd800 && rune < 0xdc00) {
        uint32_t low = 0;
        if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u' || !hex4(*at + 2, end, &low) ||
            low < 0xdc00 || low > 0xdfff)
            return refuse(reader, reader->logical_line, "\\u%04x is half a character" WRITE_INSTEAD,
                          rune);
        *at += 6;
        rune = 0x10000 + ((rune - 0xd800) << 10) + (low - 0xdc00);
    } else if (rune >= 0xdc00 && rune < 0xe000) {
        return refuse(reader, reader->logical_line, "\\u%04x is half a character" WRITE_INSTEAD,
                      rune);
    } else if (rune == 0) {
        return refuse(reader, reader->logical_line, "\\u0000 is not allowed" WRITE_INSTEAD);
    }
    put_utf8(reader, rune);
    return true;
}

/* Writes [at, end) unescaped and NUL-terminated; *text is where. */
static bool put_text(struct reader *reader, const char *at, const char *end, const char **text)
{
    *text = reader->out;
    while (at < end) {
        char c = *at++;
        if (c != '\\' || at == end) {
            if (c != '\\')
                *reader->out++ = c;
            continue;
        }
        c = *at++;
        if (c == 'u') {
            if (!put_unicode(reader, &at, end))
                return false;
            continue;
        }
        static const char from[] = "tnrf";
        static const char to[] = "\t\n\r\f";
        const char *known = strchr(from, c);
        if (known != NULL)
            c = to[known - from];
        *reader->out++ = c;
    }
    *reader->out++ = '\0';
    return true;
}

static bool split_entry(struct reader *reader, struct property *entry)
{
    const char *end = reader->logical + reader->logical_len;
    const char *key_end = reader->logical;
    bool escaped = false;
    while (key_end < end &&
           (escaped || (*key_end != '=' && *key_end != ':' && !is_blank(*key_end)))) {
        escaped = *key_end == '\\' && !escaped;
        key_end++;
    }
    const char *value = key_end;
    while (value < end && is_blank(*value))
        value++;
    if (value < end && (*value == '=' || *value == ':'))
        value++;
    while (value < end && is_blank(*value))
        value++;

    entry->line = reader->logical_line;
    if (!put_text(reader, reader->logical, key_end, &entry->key) ||
        !put_text(reader, value, end, &entry->value))
        return false;
    if (strlen(entry->key) > PROPERTY_KEY_LEN_MAX)
        return refuse(
            reader, entry->line,
            "the key is longer than %d bytes; is this a properties file, a line KEY=VALUE?",
            PROPERTY_KEY_LEN_MAX);
    if (strlen(entry->value) > PROPERTY_VALUE_LEN_MAX)
        return refuse(reader, entry->line, "the value of %.64s is longer than %d bytes; shorten it",
                      entry->key, PROPERTY_VALUE_LEN_MAX);
    return true;
}

static struct property *entry_push(struct properties *properties)
{
    if (properties->count == properties->capacity) {
        properties->capacity = properties->capacity == 0 ? 64 : properties->capacity * 2;
        properties->entry =
            mem_realloc(properties->entry, properties->capacity * sizeof(properties->entry[0]));
    }
    return &properties->entry[properties->count++];
}

static bool read_entries(struct reader *reader, struct properties *properties)
{
    while (next_logical_line(reader))
        if (!split_entry(reader, entry_push(properties)))
            return false;
    return true;
}

bool properties_read(struct properties *properties, const char *data, size_t len,
                     struct properties_error *error)
{
    struct reader reader = {.data = data, .len = len, .line = 1, .error = error};
    *properties = (struct properties){0};
    if (len > PROPERTIES_SIZE_BYTES_MAX)
        return refuse(&reader, 0, "the file is larger than %d bytes; is it a properties file?",
                      PROPERTIES_SIZE_BYTES_MAX);
    if (len > 0 && memchr(data, '\0', len) != NULL)
        return refuse(&reader, 0,
                      "the file holds NUL bytes: it is not a text file; name a properties file");

    /* An entry costs two NULs and at least one byte of the file, its line end included. */
    properties->text = mem_alloc(2 * len + 2);
    char *logical = mem_alloc(len + 1);
    reader.logical = logical;
    reader.out = properties->text;
    bool ok = read_entries(&reader, properties);
    mem_free(logical);
    if (!ok)
        properties_fini(properties);
    return ok;
}

void properties_fini(struct properties *properties)
{
    mem_free(properties->entry);
    mem_free(properties->text);
    *properties = (struct properties){0};
}
