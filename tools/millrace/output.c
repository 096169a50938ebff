/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/output.h"

#include "io/mem.h"

#include <libsmartcols.h>
#include <string.h>

#define COLUMNS_MAX 24U
#define CELL_SIZE   1024U
/* 0.07 is 0.07; with the 17 digits of Jansson's own it is 0.070000000000000007. */
#define NUMBERS JSON_REAL_PRECISION(15)

struct listing {
    const struct column *columns;
    uint32_t count;
    enum format format;
    bool silent;
    uint64_t rows;
    struct libscols_table *table;
    uint32_t shown[COLUMNS_MAX]; /* of the columns, in a table */
    uint32_t shown_count;
};

enum format format_of(const struct invocation *inv)
{
    static const char *const names[] = {"text", "wide", "json", "ndjson", "awk"};
    const char *name = option_text(inv, "format");
    uint32_t i = 0;
    while (i < array_count(names) && strcmp(names[i], name) != 0)
        i++;
    must(i < array_count(names)); /* the option takes no others */
    return (enum format)i;
}

bool format_is_table(const struct invocation *inv)
{
    return format_of(inv) <= FORMAT_WIDE;
}

const char *bytes_text(int64_t bytes, char buffer[BYTES_TEXT_SIZE])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    uint32_t unit = 0;
    for (; value >= 1024 && unit + 1 < array_count(units); unit++)
        value /= 1024;
    (void)snprintf(buffer, BYTES_TEXT_SIZE, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return buffer;
}

char *text_visible(char *text)
{
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = *at == '\t' || *at == '\n' ? ' ' : '?';
    return text;
}

/* A number in its unit: for people. */
static void unit_text(char *to, size_t size, double value, enum unit unit)
{
    const char *below = unit == UNIT_BELOW ? "<" : "";
    char bytes[BYTES_TEXT_SIZE];
    if (unit == UNIT_BYTES)
        (void)snprintf(to, size, "%s", bytes_text((int64_t)value, bytes));
    else if (unit == UNIT_PART)
        (void)snprintf(to, size, "%.0f%%", 100 * value);
    else if (value < 0.001)
        (void)snprintf(to, size, "%s%.0f us", below, value * 1e6);
    else if (value < 1)
        (void)snprintf(to, size, "%s%.1f ms", below, value * 1e3);
    else
        (void)snprintf(to, size, "%s%.1f s", below, value);
}

/* Appends, cut at the end of the cell. */
static void cell_text(char cell[CELL_SIZE], const json_t *value, enum unit unit)
{
    size_t used = strlen(cell);
    if (json_is_string(value))
        (void)snprintf(cell + used, CELL_SIZE - used, "%s", json_string_value(value));
    else if (json_is_number(value) && unit != UNIT_PLAIN)
        unit_text(cell + used, CELL_SIZE - used, json_number_value(value), unit);
    else if (json_is_integer(value))
        (void)snprintf(cell + used, CELL_SIZE - used, "%lld", json_integer_value(value));
    else if (json_is_real(value))
        (void)snprintf(cell + used, CELL_SIZE - used, "%g", json_real_value(value));
    else if (json_is_boolean(value))
        (void)snprintf(cell + used, CELL_SIZE - used, "%s", json_is_true(value) ? "yes" : "no");
    size_t index;
    json_t *element;
    json_array_foreach(value, index, element)
    {
        used = strlen(cell);
        if (index > 0)
            (void)snprintf(cell + used, CELL_SIZE - used, ",");
        cell_text(cell, element, unit);
    }
}

static void print_awk(const struct listing *listing, const json_t *row)
{
    const char *between = "";
    for (uint32_t i = 0; i < listing->count; i++) {
        char cell[CELL_SIZE] = "";
        if (!listing->columns[i].title)
            continue;
        cell_text(cell, json_object_get(row, listing->columns[i].key), UNIT_PLAIN);
        printf("%s%s", between, cell[0] ? text_visible(cell) : "-");
        between = "\t";
    }
    putchar('\n');
}

static void table_begin(struct listing *listing)
{
    scols_init_debug(0);
    listing->table = scols_new_table();
    must(listing->table != NULL);
    (void)scols_table_enable_noencoding(listing->table, 1);
    for (uint32_t i = 0; i < listing->count; i++) {
        const struct column *column = &listing->columns[i];
        if (!column->title || (column->wide && listing->format != FORMAT_WIDE))
            continue;
        listing->shown[listing->shown_count++] = i;
        struct libscols_column *made = scols_table_new_column(listing->table, column->title, 0, 0);
        must(made != NULL);
    }
}

static void table_row(const struct listing *listing, const json_t *row)
{
    struct libscols_line *line = scols_table_new_line(listing->table, NULL);
    must(line != NULL);
    for (uint32_t i = 0; i < listing->shown_count; i++) {
        const struct column *column = &listing->columns[listing->shown[i]];
        const json_t *value = json_object_get(row, column->key);
        char cell[CELL_SIZE] = "";
        cell_text(cell, value, column->unit);
        (void)scols_line_set_data(line, i, cell[0] ? text_visible(cell) : "-");
        if (json_is_number(value)) /* numbers stand right */
            (void)scols_column_set_flags(scols_table_get_column(listing->table, i), SCOLS_FL_RIGHT);
    }
}

struct listing *listing_open(const struct invocation *inv, const struct column *columns,
                             uint32_t count)
{
    must(count <= COLUMNS_MAX);
    struct listing *listing = mem_zalloc(sizeof(*listing));
    listing->columns = columns;
    listing->count = count;
    listing->format = format_of(inv);
    if (listing->format <= FORMAT_WIDE)
        table_begin(listing);
    else if (listing->format == FORMAT_JSON)
        fputs("{\"items\":[", stdout);
    return listing;
}

struct listing *listing_open_report(const struct invocation *inv, const struct column *columns,
                                    uint32_t count)
{
    struct listing *listing = listing_open(inv, columns, count);
    listing->silent = inv->quiet && format_is_table(inv);
    return listing;
}

void listing_row(struct listing *listing, json_t *row)
{
    must(row != NULL);
    if (listing->silent) {
        json_decref(row);
        return;
    }
    switch (listing->format) {
    case FORMAT_TEXT:
    case FORMAT_WIDE:
        table_row(listing, row);
        break;
    case FORMAT_JSON:
        fputs(listing->rows ? ",\n" : "\n", stdout);
        (void)json_dumpf(row, stdout, JSON_COMPACT | NUMBERS);
        break;
    case FORMAT_NDJSON:
        (void)json_dumpf(row, stdout, JSON_COMPACT | NUMBERS);
        putchar('\n');
        break;
    case FORMAT_AWK:
        print_awk(listing, row);
        break;
    }
    listing->rows++;
    json_decref(row);
}

void listing_close(struct listing *listing)
{
    if (listing->table) {
        if (listing->rows > 0)
            (void)scols_print_table(listing->table);
        scols_unref_table(listing->table);
    } else if (listing->format == FORMAT_JSON) {
        fputs(listing->rows ? "\n]}\n" : "]}\n", stdout);
    }
    mem_free(listing);
}

void listing_print(const struct invocation *inv, const struct column *columns, uint32_t count,
                   const json_t *rows, bool (*shown)(const json_t *row))
{
    struct listing *listing = listing_open(inv, columns, count);
    size_t index;
    json_t *row;
    json_array_foreach(rows, index, row)
    {
        if (!shown || shown(row))
            listing_row(listing, json_incref(row));
    }
    listing_close(listing);
}

void listing_partitions(struct listing *listing, json_t *row, const char *key)
{
    size_t index;
    json_t *partition;
    json_array_foreach(json_object_get(row, "partitions"), index, partition)
    {
        (void)json_object_set(partition, key, json_object_get(row, key));
        listing_row(listing, json_incref(partition));
    }
    json_decref(row);
}

void print_object(const struct invocation *inv, json_t *object)
{
    must(object != NULL);
    (void)json_dumpf(object, stdout,
                     (format_of(inv) == FORMAT_JSON ? JSON_INDENT(2) : JSON_COMPACT) | NUMBERS);
    putchar('\n');
    json_decref(object);
}
