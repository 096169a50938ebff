/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/time_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT_MAX  40U
#define COUNT_MAX 100000000LL /* of any unit: a thousand centuries of days is enough */

static int64_t unit_ms(char unit)
{
    switch (unit) {
    case 's':
        return 1000;
    case 'm':
        return 60000;
    case 'h':
        return 3600000;
    case 'd':
        return 86400000;
    default:
        return 0;
    }
}

/* "90s" */
static bool plain_duration(const char *text, int64_t *ms)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    int64_t unit = unit_ms(*end);
    *ms = number * unit;
    return errno == 0 && end != text && unit > 0 && end[1] == 0 && text[0] >= '0' &&
           text[0] <= '9' && number <= COUNT_MAX;
}

/* "1D" or, behind a T, "2H", "30M", "1.5S": each unit once, large ones first. */
static bool iso_duration(const char *at, int64_t *ms)
{
    static const char units[] = "dhms";
    const char *left = units;
    bool of_time = false;
    *ms = 0;
    if (*at == 0)
        return false;
    while (*at) {
        if (*at == 'T' && !of_time && at[1]) {
            of_time = true;
            at++;
        }
        char *end;
        errno = 0;
        double number = strtod(at, &end);
        char unit = *end >= 'A' && *end <= 'Z' ? (char)(*end - 'A' + 'a') : '?';
        const char *found = strchr(left, unit);
        if (errno || end == at || *at < '0' || *at > '9' || !found || (unit != 'd') != of_time ||
            number > (double)COUNT_MAX || (unit != 's' && strchr(at, '.') && strchr(at, '.') < end))
            return false;
        *ms += (int64_t)(number * (double)unit_ms(unit) + 0.5);
        left = found + 1;
        at = end + 1;
    }
    return true;
}

bool time_text_duration(const char *text, int64_t *ms)
{
    return text[0] == 'P' ? iso_duration(text + 1, ms) : plain_duration(text, ms);
}

/* Takes ".123" and "Z", "+01:00" or "+0100" off the end of a time of day; false: they are none. */
static bool take_end(const char *at, int64_t *ms)
{
    if (*at == '.') {
        int64_t unit = 100;
        for (at++; *at >= '0' && *at <= '9'; at++, unit /= 10)
            *ms += (*at - '0') * unit;
    }
    if (strcmp(at, "Z") == 0 || *at == 0)
        return true;
    if (*at != '+' && *at != '-')
        return false;
    int64_t sign = *at == '+' ? -1 : 1;
    struct tm zone = {0};
    const char *end = strptime(at + 1, "%H:%M", &zone);
    if (!end)
        end = strptime(at + 1, "%H%M", &zone);
    *ms += sign * (zone.tm_hour * 3600000LL + zone.tm_min * 60000LL);
    return end && *end == 0;
}

static bool date_parse(const char *text, int64_t *ms)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"};
    for (size_t i = 0; i < array_count(forms); i++) {
        struct tm tm = {0};
        const char *end = strptime(text, forms[i], &tm);
        if (!end)
            continue;
        *ms = (int64_t)timegm(&tm) * 1000;
        return take_end(end, ms);
    }
    return false;
}

bool time_text_parse(const char *text, size_t len, int64_t now_ms, int64_t *ms)
{
    char copy[TEXT_MAX];
    if (len == 0 || len >= sizeof(copy))
        return false;
    memcpy(copy, text, len);
    copy[len] = 0;
    if (copy[0] == '-') {
        int64_t ago_ms = 0;
        bool good = plain_duration(copy + 1, &ago_ms);
        *ms = now_ms - ago_ms;
        return good;
    }
    if (date_parse(copy, ms))
        return true;
    char *end;
    errno = 0;
    long long number = strtoll(copy, &end, 10);
    *ms = number;
    return errno == 0 && *end == 0 && number >= 0;
}
