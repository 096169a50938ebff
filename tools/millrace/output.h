/* SPDX-License-Identifier: Apache-2.0
 *
 * How answers are printed: one listing, five forms.
 *
 *   text     an aligned table for people; sizes in human units
 *   wide     the same with more columns
 *   json     {"items":[{...},...]}: raw numbers, stable snake_case keys; nothing found is []
 *   ndjson   one object a line, as soon as it is known
 *   awk      one row a line, tabs between, no header, raw numbers, "-" for what is empty
 *
 * A row is a JSON object; columns say which of its members the tables show.
 */
#pragma once

#include "tools/millrace/command.h"

#include <jansson.h>

enum format { FORMAT_TEXT, FORMAT_WIDE, FORMAT_JSON, FORMAT_NDJSON, FORMAT_AWK };

enum format format_of(const struct invocation *inv);
/* Is it for people? */
bool format_is_table(const struct invocation *inv);

enum unit {
    UNIT_PLAIN, /* text, numbers as they are, lists joined by commas */
    UNIT_BYTES,
    UNIT_SECONDS, /* "1.2 ms" */
    UNIT_BELOW,   /* seconds that something was below: "<1.2 ms" */
    UNIT_PART,    /* of 1: "12%" */
};

struct column {
    const char *key;   /* of the row's object */
    const char *title; /* NULL: not in tables */
    enum unit unit;
    bool wide; /* not in text */
};

struct listing;

/* columns: borrowed until the end. */
struct listing *listing_open(const struct invocation *inv, const struct column *columns,
                             uint32_t count);
void listing_row(struct listing *listing, json_t *row); /* takes the reference */
void listing_close(struct listing *listing);

/* As listing_open(), but what came of a change, which -q leaves out for people. */
struct listing *listing_open_report(const struct invocation *inv, const struct column *columns,
                                    uint32_t count);

/* All of an array, at once. shown: which rows, NULL: every one. */
void listing_print(const struct invocation *inv, const struct column *columns, uint32_t count,
                   const json_t *rows, bool (*shown)(const json_t *row));
/* awk has no room for a tree: a row for each partition of `row`, with its member `key` before it.
 * Takes the reference. */
void listing_partitions(struct listing *listing, json_t *row, const char *key);

/* "1.5 MiB"; returns buffer. */
#define BYTES_TEXT_SIZE 32
const char *bytes_text(int64_t bytes, char buffer[BYTES_TEXT_SIZE]);

/* Others choose names: what would be a command to the terminal becomes '?', tabs and line ends
 * blanks. Returns text. */
char *text_visible(char *text);

/* One object alone: pretty for json, one line for ndjson. Takes the reference. */
void print_object(const struct invocation *inv, json_t *object);
