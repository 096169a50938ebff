/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/record_format.h"

#include "io/mem.h"

#include <string.h>

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ---- parsing ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The character that the escape at *at stands for; *at is behind the backslash and moves on. */
static char escape_take(const char **at)
{
    char c = *(*at)++;
    switch (c) {
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case 'r':
        return '\r';
    case '0':
        return 0;
    case 'x': {
        int high = hex_digit((*at)[0]);
        int low = high < 0 ? -1 : hex_digit((*at)[1]);
        if (low < 0)
            return 'x';
        *at += 2;
        return (char)(high * 16 + low);
    }
    default:
        return c;
    }
}

static bool encoding_take(const char **at, uint8_t *encoding)
{
    static const char *const names[] = {"", "{hex}", "{base64}", "{json}"};
    *encoding = ENCODE_PLAIN;
    if (**at != '{')
        return true;
    for (size_t i = 1; i < array_count(names); i++) {
        size_t len = strlen(names[i]);
        if (strncmp(*at, names[i], len) == 0) {
            *encoding = (uint8_t)i;
            *at += len;
            return true;
        }
    }
    return false;
}

/* One character of literal text; runs become one item. */
static void text_add(struct record_format *format, char **end, char c)
{
    struct format_item *last = format->count > 0 ? &format->items[format->count - 1] : NULL;
    if (!last || last->token) {
        last = &format->items[format->count++];
        *last = (struct format_item){.text = *end};
    }
    *(*end)++ = c;
    last->len++;
}

bool record_format_parse(struct record_format *format, const struct invocation *inv,
                         const char *text, const char *tokens)
{
    *format = (struct record_format){.texts = mem_alloc(strlen(text) + 1)};
    char *end = format->texts;
    for (const char *at = text; *at;) {
        if (format->count + 1 >= FORMAT_ITEMS_MAX) {
            (void)usage_error(inv, "-f: more than %u tokens", FORMAT_ITEMS_MAX);
            return false;
        }
        char c = *at++;
        if (c == '\\' && *at) {
            text_add(format, &end, escape_take(&at));
        } else if (c == '%' && *at == '%') {
            text_add(format, &end, *at++);
        } else if (c == '%') {
            struct format_item item = {.token = *at};
            if (item.token == 'v')
                item.token = 's';
            if (*at == 0 || !strchr(tokens, item.token)) {
                (void)usage_error(inv, "-f: %%%c means nothing here; one of %s is wanted", *at,
                                  tokens);
                return false;
            }
            at++;
            if (!encoding_take(&at, &item.encoding)) {
                (void)usage_error(inv, "-f: behind %%%c {hex}, {base64} or {json} is wanted",
                                  item.token);
                return false;
            }
            format->items[format->count++] = item;
        } else {
            text_add(format, &end, c);
        }
    }
    return true;
}

void record_format_fini(struct record_format *format)
{
    mem_free(format->texts);
    format->texts = NULL;
}

/* ---- decoding ---- */

static int32_t decode_hex(char *bytes, int32_t len)
{
    if (len % 2 != 0)
        return -1;
    const char *at = bytes;
    for (int32_t i = 0; i < len / 2; i++, at += 2) {
        int high = hex_digit(at[0]);
        int low = hex_digit(at[1]);
        if (high < 0 || low < 0)
            return -1;
        bytes[i] = (char)(high * 16 + low);
    }
    return len / 2;
}

static int32_t decode_base64(char *bytes, int32_t len)
{
    uint32_t bits = 0;
    uint32_t held = 0;
    int32_t out = 0;
    while (len > 0 && bytes[len - 1] == '=')
        len--;
    for (int32_t i = 0; i < len; i++) {
        const char *digit = bytes[i] ? strchr(base64_digits, bytes[i]) : NULL;
        if (!digit)
            return -1;
        bits = bits << 6 | (uint32_t)(digit - base64_digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes[out++] = (char)(bits >> held);
        }
    }
    return out;
}

int32_t decode_in_place(char *bytes, int32_t len, enum encoding encoding)
{
    if (encoding == ENCODE_HEX)
        return decode_hex(bytes, len);
    return encoding == ENCODE_BASE64 ? decode_base64(bytes, len) : len;
}

/* ---- printing ---- */

static void print_hex(FILE *to, const uint8_t *data, int32_t len)
{
    for (int32_t i = 0; i < len; i++) {
        putc_unlocked("0123456789abcdef"[data[i] >> 4], to);
        putc_unlocked("0123456789abcdef"[data[i] & 15], to);
    }
}

static void print_base64(FILE *to, const uint8_t *data, int32_t len)
{
    for (int32_t i = 0; i < len; i += 3) {
        uint32_t bits = (uint32_t)data[i] << 16;
        bits |= i + 1 < len ? (uint32_t)data[i + 1] << 8 : 0;
        bits |= i + 2 < len ? (uint32_t)data[i + 2] : 0;
        putc_unlocked(base64_digits[bits >> 18], to);
        putc_unlocked(base64_digits[bits >> 12 & 63], to);
        putc_unlocked(i + 1 < len ? base64_digits[bits >> 6 & 63] : '=', to);
        putc_unlocked(i + 2 < len ? base64_digits[bits & 63] : '=', to);
    }
}

/* The length of the UTF-8 character at the front, 0 when there is none. */
static int32_t utf8_len(const uint8_t *at, int32_t left)
{
    if (at[0] < 0x80)
        return 1;
    int32_t len = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || left < len)
        return 0;
    for (int32_t i = 1; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool surrogate = at[0] == 0xed && at[1] > 0x9f;
    bool beyond = at[0] == 0xf4 && at[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : len;
}

static bool is_utf8(const uint8_t *data, int32_t len)
{
    for (int32_t i = 0, step; i < len; i += step) {
        step = utf8_len(data + i, len - i);
        if (step == 0)
            return false;
    }
    return true;
}

/* A JSON string of UTF-8 or, where it is none, of base64; null for null. */
static void print_json_bytes(FILE *to, const uint8_t *data, int32_t len, bool utf8)
{
    if (len < 0) {
        fputs("null", to);
        return;
    }
    putc_unlocked('"', to);
    if (!utf8)
        print_base64(to, data, len);
    const uint8_t *from = data;
    const uint8_t *end = data + (utf8 ? len : 0);
    for (const uint8_t *at = data; at < end; at++) {
        if (*at >= 0x20 && *at != '"' && *at != '\\')
            continue;
        (void)fwrite_unlocked(from, 1, (size_t)(at - from), to);
        from = at + 1;
        static const char named[] = "\"\\\n\r\t";
        const char *which = *at ? strchr(named, (char)*at) : NULL;
        if (which)
            fprintf(to, "\\%c", "\"\\nrt"[which - named]);
        else
            fprintf(to, "\\u%04x", *at);
    }
    (void)fwrite_unlocked(from, 1, (size_t)(end - from), to);
    putc_unlocked('"', to);
}

static void print_bytes(FILE *to, const uint8_t *data, int32_t len, uint8_t encoding)
{
    if (encoding == ENCODE_JSON)
        print_json_bytes(to, data, len, len < 0 || is_utf8(data, len));
    else if (len > 0 && encoding == ENCODE_HEX)
        print_hex(to, data, len);
    else if (len > 0 && encoding == ENCODE_BASE64)
        print_base64(to, data, len);
    else if (len > 0)
        (void)fwrite_unlocked(data, 1, (size_t)len, to);
}

static const uint8_t *bytes_of(const char *text)
{
    return (const uint8_t *)text;
}

static void print_headers(FILE *to, const struct record *record, uint8_t encoding)
{
    struct record rest = *record;
    struct record_header header;
    for (const char *between = ""; record_header_next(&rest, &header); between = ",") {
        fprintf(to, "%s%.*s=", between, header.key_len, header.key);
        print_bytes(to, header.value, header.value_len, encoding);
    }
}

static void print_binary_len(FILE *to, int32_t len)
{
    uint32_t bits = __builtin_bswap32((uint32_t)len);
    (void)fwrite_unlocked(&bits, 1, sizeof(bits), to);
}

void record_print(FILE *to, const struct record_format *format, const char *topic,
                  int32_t partition, const struct record *record)
{
    for (uint32_t i = 0; i < format->count; i++) {
        const struct format_item *item = &format->items[i];
        switch (item->token) {
        case 's':
            print_bytes(to, record->value, record->value_len, item->encoding);
            break;
        case 'k':
            print_bytes(to, record->key, record->key_len, item->encoding);
            break;
        case 't':
            print_bytes(to, bytes_of(topic), (int32_t)strlen(topic), item->encoding);
            break;
        case 'p':
            fprintf(to, "%d", partition);
            break;
        case 'o':
            fprintf(to, "%lld", (long long)record->offset);
            break;
        case 'T':
            fprintf(to, "%lld", (long long)record->timestamp);
            break;
        case 'h':
            print_headers(to, record, item->encoding);
            break;
        case 'S':
            fprintf(to, "%d", record->value_len);
            break;
        case 'K':
            fprintf(to, "%d", record->key_len);
            break;
        case 'R':
            print_binary_len(to, record->value_len);
            break;
        default:
            (void)fwrite_unlocked(item->text, 1, item->len, to);
            break;
        }
    }
}

static void print_awk_field(FILE *to, const uint8_t *data, int32_t len)
{
    putc_unlocked('\t', to);
    if (len <= 0)
        putc_unlocked('-', to);
    for (int32_t i = 0; i < len; i++)
        putc_unlocked(data[i] == '\t' || data[i] == '\n' ? ' ' : data[i], to);
}

void record_print_awk(FILE *to, const char *topic, int32_t partition, const struct record *record)
{
    fprintf(to, "%s\t%d\t%lld\t%lld", topic, partition, (long long)record->offset,
            (long long)record->timestamp);
    print_awk_field(to, record->key, record->key_len);
    print_awk_field(to, record->value, record->value_len);
    putc_unlocked('\n', to);
}

static void print_member(FILE *to, const char *name, const uint8_t *data, int32_t len)
{
    bool utf8 = len < 0 || is_utf8(data, len);
    fprintf(to, ",\"%s\":", name);
    print_json_bytes(to, data, len, utf8);
    if (!utf8)
        fprintf(to, ",\"%s_encoding\":\"base64\"", name);
}

void record_print_json(FILE *to, const struct envelope *envelope, const struct record *record)
{
    fprintf(to,
            "{\"topic\":\"%s\",\"partition\":%d,\"offset\":%lld,\"tstype\":\"%s\",\"ts\":%lld,"
            "\"broker\":%d,\"headers\":[",
            envelope->topic, envelope->partition, (long long)record->offset,
            envelope->log_append_time ? "logappend" : "create", (long long)record->timestamp,
            envelope->broker);
    struct record rest = *record;
    struct record_header header;
    for (const char *between = ""; record_header_next(&rest, &header); between = ",") {
        fputs(between, to);
        const uint8_t *key = bytes_of(header.key);
        print_json_bytes(to, key, header.key_len, is_utf8(key, header.key_len));
        putc_unlocked(',', to);
        print_json_bytes(to, header.value, header.value_len,
                         header.value_len < 0 || is_utf8(header.value, header.value_len));
    }
    putc_unlocked(']', to);
    print_member(to, "key", record->key, record->key_len);
    print_member(to, "payload", record->value, record->value_len);
    putc_unlocked('}', to);
}
