/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/group/seek_target.h"

#include "tools/millrace/partition_list.h"
#include "tools/millrace/time_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ---- */

static bool read_time(struct session *s, const char *option, const char *text, int64_t *ms)
{
    size_t len = strlen(text);
    if (text[0] == '@') { /* as consume -o writes it */
        text++;
        len--;
    }
    bool digits = strspn(text, "0123456789") == len;
    bool good = time_text_parse(text, len, io_wall_ms(s->sh->io), ms);
    if (good && digits && len == 10) /* rpk takes seconds and nanoseconds too, by their length */
        *ms *= 1000;
    else if (good && digits && len == 19)
        *ms /= 1000000;
    if (!good)
        (void)usage_error(s->inv,
                          "--%s %s: milliseconds since 1970, 2026-01-31[T12:00[:00.000]] or -2h is "
                          "wanted",
                          option, text);
    return good;
}

/* rpk's word. */
static int read_to(struct session *s, const char *text, struct seek_target *target)
{
    if (strcmp(text, "start") == 0 || strcmp(text, "end") == 0) {
        target->kind = text[0] == 's' ? TO_START : TO_END;
        return EXIT_OK;
    }
    target->kind = TO_TIME;
    return read_time(s, "to", text, &target->number) ? EXIT_OK : EXIT_USAGE;
}

static int read_duration(struct session *s, const char *text, struct seek_target *target)
{
    int64_t ms = 0;
    target->kind = TO_TIME;
    if (!time_text_duration(text, &ms))
        return usage_error(s->inv, "--by-duration %s: P1DT2H30M, or 90s, 5m, 2h, 1d is wanted",
                           text);
    target->number = io_wall_ms(s->sh->io) - ms;
    return EXIT_OK;
}

static int read_one(struct session *s, const char *option, struct seek_target *target)
{
    static const struct {
        const char *option;
        enum seek_kind kind;
    } kinds[] = {
        {"to-earliest", TO_START}, {"to-latest", TO_END},  {"to-current", TO_CURRENT},
        {"to-offset", TO_OFFSET},  {"shift-by", TO_SHIFT}, {"to-datetime", TO_TIME},
        {"from-file", TO_FILE},    {"to-file", TO_FILE},   {"to-group", TO_GROUP},
    };
    const struct invocation *inv = s->inv;
    target->text = option_text(inv, option);
    if (strcmp(option, "to") == 0)
        return read_to(s, target->text, target);
    if (strcmp(option, "by-duration") == 0)
        return read_duration(s, target->text, target);
    size_t i = 0;
    while (i < array_count(kinds) && strcmp(kinds[i].option, option) != 0)
        i++;
    must(i < array_count(kinds));
    target->kind = kinds[i].kind;
    bool good = true;
    if (target->kind == TO_OFFSET)
        good = option_number(inv, option, 0, INT64_MAX, &target->number);
    else if (target->kind == TO_SHIFT)
        good = option_number(inv, option, -INT64_MAX / 2, INT64_MAX / 2, &target->number);
    else if (target->kind == TO_TIME)
        good = read_time(s, option, target->text, &target->number);
    return good ? EXIT_OK : EXIT_USAGE;
}

int seek_target_read(struct session *s, struct seek_target *target)
{
    static const char *const options[] = {"to",        "to-earliest", "to-latest",   "to-current",
                                          "to-offset", "shift-by",    "to-datetime", "by-duration",
                                          "from-file", "to-file",     "to-group"};
    const char *given = NULL;
    *target = (struct seek_target){0};
    for (size_t i = 0; i < array_count(options); i++) {
        if (!option_on(s->inv, options[i]))
            continue;
        if (given)
            return usage_error(s->inv, "--%s and --%s do not go together", given, options[i]);
        given = options[i];
    }
    if (!given)
        return usage_error(s->inv,
                           "where to? --to-earliest, --to-latest, --to-offset N, --shift-by "
                           "N, --to-datetime T, --by-duration D, --to-current, --from-file "
                           "F, --to-group G or --to start|end|T");
    return read_one(s, given, target);
}

/* ---- files ---- */

#define LINE_SIZE  1024U
#define FIELDS_MAX 4U

/* Topic names have neither commas nor blanks, so it does not matter which of them stands between.
 */
static uint32_t split(char *line, char *fields[FIELDS_MAX + 1])
{
    uint32_t count = 0;
    char *rest = line;
    for (char *word; (word = strsep(&rest, ", \t\r\n")) && count <= FIELDS_MAX;) {
        size_t len = strlen(word);
        if (len >= 2 && word[0] == '"' && word[len - 1] == '"') {
            word[len - 1] = 0;
            word++;
        }
        if (word[0])
            fields[count++] = word;
    }
    return count;
}

static bool field_number(const char *text, int64_t max, int64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == 0 && *number >= 0 && *number <= max;
}

static bool take_line(struct session *s, char *line, const char *group,
                      struct group_partitions *partitions)
{
    char *fields[FIELDS_MAX + 1];
    uint32_t count = split(line, fields);
    int64_t partition;
    int64_t offset;
    if (count == 0 || (count == FIELDS_MAX && strcmp(fields[0], group) != 0))
        return true;
    char **at = fields + (count == FIELDS_MAX);
    if (count < FIELDS_MAX - 1 || count > FIELDS_MAX ||
        !field_number(at[1], PARTITION_MAX, &partition) || !field_number(at[2], INT64_MAX, &offset))
        return false;
    char *topic = arena_text(&s->arena, at[0]);
    must(topic != NULL);
    group_partition_of(s, partitions, str_of(topic), (int32_t)partition)->committed = offset;
    return true;
}

int seek_file_read(struct session *s, const char *name, const char *group,
                   struct group_partitions *partitions)
{
    FILE *in = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
    if (!in) {
        complain(s->inv, "cannot read %s: %s", name, strerror(errno));
        return EXIT_FAILED;
    }
    char line[LINE_SIZE];
    bool good = true;
    for (unsigned number = 1; good && fgets(line, sizeof(line), in); number++) {
        good = take_line(s, line, group, partitions);
        if (!good)
            complain(s->inv, "%s, line %u: TOPIC,PARTITION,OFFSET is wanted", name, number);
    }
    if (good && ferror(in)) {
        complain(s->inv, "cannot read %s: %s", name, strerror(errno));
        good = false;
    }
    if (in != stdin)
        (void)fclose(in);
    if (good && partitions->count == 0) {
        complain(s->inv, "%s says nothing about group '%s'", name, group);
        good = false;
    }
    return good ? EXIT_OK : EXIT_FAILED;
}
