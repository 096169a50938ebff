/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/looks.h"

#include "io/mem.h"
#include "tools/millrace/http_get.h"
#include "tools/millrace/settings.h"
#include "tools/millrace/start/admin.h"

#include <stdlib.h>

#define COUNTERS_PATH "/api/v1/counters"
#define TIMEOUT_MS    5000

/* ---- asking ---- */

int looks_unreachable(const struct looks *l)
{
    char text[ADDRESS_TEXT_SIZE];
    complain(l->inv, "admin listener %s: %s", address_print(&l->address, text), l->problem);
    fprintf(stderr, "next:  is a broker running there? --admin HOST:PORT names another, the key "
                    "admin of a profile, too\n");
    return EXIT_UNREACHABLE;
}

static json_t *ask(struct looks *l)
{
    struct http_got got;
    json_error_t error;
    const char *problem = "what answers there is no admin listener";
    bool answered = http_get(&l->address, COUNTERS_PATH, TIMEOUT_MS, &got);
    json_t *object =
        answered && got.status == 200 ? json_loadb(got.body, got.len, 0, &error) : NULL;
    (void)snprintf(l->problem, sizeof(l->problem), "%s", answered ? problem : got.problem);
    if (answered)
        mem_free(got.body);
    return object;
}

bool looks_take(struct looks *l)
{
    json_t *object = ask(l);
    if (!object)
        return false;
    json_decref(l->before);
    l->before = l->now;
    l->now = object;
    if (l->before)
        l->seconds = look_number(json_object_get(l->now, "process"), "uptime_seconds") -
                     look_number(json_object_get(l->before, "process"), "uptime_seconds");
    if (l->seconds < 0)
        l->seconds = 0;
    return true;
}

int looks_begin(struct looks *l, const struct invocation *inv)
{
    *l = (struct looks){.inv = inv};
    struct settings settings;
    const char *text = option_text(inv, "admin");
    const char *problem = "is no address";
    bool off = false;
    int code = settings_begin(&settings, inv);
    if (!text)
        text = getenv("MILLRACE_ADMIN");
    if (!text || !text[0])
        text = settings.admin;
    if (code == EXIT_OK && (!admin_address_parse(text, &off, &l->address, &problem) || off))
        code = usage_error(inv, "admin listener %s: %s; HOST:PORT is wanted", text, problem);
    settings_fini(&settings);
    return code;
}

void looks_end(struct looks *l)
{
    json_decref(l->before);
    json_decref(l->now);
}

/* ---- reading ---- */

double look_number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

const char *look_text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "-";
}

double look_sum(const json_t *object, const char *key)
{
    double all = 0;
    size_t index;
    const json_t *core;
    json_array_foreach(json_object_get(object, "cores"), index, core) all += look_number(core, key);
    return all;
}

double looks_rate(const struct looks *l, const json_t *before, const json_t *now, const char *key)
{
    double grown = look_number(now, key) - look_number(before, key);
    return l->seconds > 0 && grown > 0 ? grown / l->seconds : 0;
}

bool looks_good(const struct looks *l)
{
    bool good = json_is_true(json_object_get(l->now, "ready"));
    size_t index;
    const json_t *core;
    json_array_foreach(json_object_get(l->now, "cores"), index, core) good &=
        json_is_true(json_object_get(core, "responding")) && look_number(core, "log_offline") == 0;
    return good;
}

json_t *rounded(double value)
{
    return json_integer((json_int_t)(value + 0.5));
}
