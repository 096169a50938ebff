/* SPDX-License-Identifier: Apache-2.0
 *
 * How records stand in text: a line of tokens with text between them, for reading (produce -f) and
 * for printing (consume -f). The tokens are kcat's, and %v for %s:
 *
 *   %s %v value   %k key   %t topic   %p partition   %o offset   %T timestamp (ms)
 *   %h headers, k=v,k=v   %S %K %R lengths of value, key (-1: null); %R as 4 bytes big-endian
 *   %% a percent sign     \n \t \r \0 \\ \xHH
 *
 * Behind a letter {hex}, {base64} or, for printing, {json} says how its bytes are written.
 */
#pragma once

#include "core/record/record.h"
#include "tools/millrace/command.h"

enum encoding { ENCODE_PLAIN, ENCODE_HEX, ENCODE_BASE64, ENCODE_JSON };

struct format_item {
    char token; /* 0: text */
    uint8_t encoding;
    const char *text; /* of the text; owned by the format */
    uint32_t len;
};

#define FORMAT_ITEMS_MAX 64U

struct record_format {
    struct format_item items[FORMAT_ITEMS_MAX];
    uint32_t count;
    char *texts;
};

/* tokens: those that make sense here. False, and said, when the text is no format. */
bool record_format_parse(struct record_format *format, const struct invocation *inv,
                         const char *text, const char *tokens) warn_unused;
void record_format_fini(struct record_format *format);

void record_print(FILE *to, const struct record_format *format, const char *topic,
                  int32_t partition, const struct record *record);

/* Topic, partition, offset, timestamp, key, value with tabs between them; "-" for empty, blanks for
 * tabs and line ends. */
void record_print_awk(FILE *to, const char *topic, int32_t partition, const struct record *record);

/* One JSON object as kcat's -J prints it; bytes that are no UTF-8 are base64, and said so by
 * "key_encoding" and "payload_encoding". */
struct envelope {
    const char *topic;
    int32_t partition;
    int32_t broker;
    bool log_append_time;
};
void record_print_json(FILE *to, const struct envelope *envelope, const struct record *record);

/* Decodes in place what stands in the input; the new length, or -1. */
int32_t decode_in_place(char *bytes, int32_t len, enum encoding encoding);
