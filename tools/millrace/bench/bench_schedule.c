/* SPDX-License-Identifier: Apache-2.0
 *
 * A shape is a list of parts in which the rate changes linearly. The next arrival is where the
 * integral of the rate since the last one reaches 1, or for Poisson an exponential draw. Bursts are
 * a constant rate on a clock that stands still while they are off.
 */
#include "tools/millrace/bench/bench_schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint64_t dice_next(uint64_t *state)
{
    uint64_t x = *state ? *state : 88172645463325252U;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 2685821657736338717U;
}

double dice_unit(uint64_t *state)
{
    return ((double)(dice_next(state) >> 11) + 0.5) / 9007199254740992.0;
}

void dice_fill(uint64_t *state, uint8_t *bytes, size_t len)
{
    must(len % sizeof(uint64_t) == 0);
    for (size_t at = 0; at < len; at += sizeof(uint64_t)) {
        const uint64_t random = dice_next(state);
        memcpy(bytes + at, &random, sizeof(random));
    }
}

/* ---- numbers with units ---- */

struct suffix {
    const char *text;
    double factor;
};

static bool number_parse(const char *text, size_t len, const struct suffix *suffixes,
                         size_t suffix_count, double *value)
{
    char copy[64];
    if (len == 0 || len >= sizeof(copy))
        return false;
    memcpy(copy, text, len);
    copy[len] = 0;
    char *end;
    double number = strtod(copy, &end);
    if (end == copy || !isfinite(number) || number < 0)
        return false;
    for (size_t i = 0; i < suffix_count; i++) {
        if (strcmp(end, suffixes[i].text) == 0) {
            *value = number * suffixes[i].factor;
            return true;
        }
    }
    return false;
}

bool rate_parse(const char *text, size_t len, double *rate)
{
    static const struct suffix suffixes[] = {
        {"", 1},   {"k", 1e3},   {"K", 1e3},   {"m", 1e6},   {"M", 1e6},
        {"/s", 1}, {"k/s", 1e3}, {"K/s", 1e3}, {"m/s", 1e6}, {"M/s", 1e6},
    };
    return number_parse(text, len, suffixes, array_count(suffixes), rate) && *rate > 0;
}

static const char *rates_add(struct rates *rates, double rate)
{
    if (rates->count == RATES_MAX)
        return "these are more than 256 rates";
    if (rates->count > 0 && rate <= rates->rates[rates->count - 1])
        return "each rate has to be higher than the one before";
    rates->rates[rates->count++] = rate;
    return NULL;
}

/* text: behind FROM..; at is FROM. */
static const char *rates_range(struct rates *rates, double at, const char *text)
{
    static const char *const wanted = "FROM..TO:xFACTOR or FROM..TO:+STEP is wanted, as "
                                      "10k..1M:x1.3";
    double to;
    double step;
    const size_t len = strcspn(text, ":");
    if (!rate_parse(text, len, &to) || text[len] != ':')
        return wanted;
    const char *by = text + len + 1;
    rates->by_factor = *by == 'x';
    if ((*by != 'x' && *by != '+') || !rate_parse(by + 1, strlen(by + 1), &step))
        return wanted;
    if (rates->by_factor && step < 1.01)
        return "a factor of at least 1.01 is wanted";
    if (to <= at)
        return "the second rate has to be higher than the first";
    const char *wrong = NULL;
    for (; !wrong && rate_rounded(at) < to; at = rates->by_factor ? at * step : at + step)
        wrong = rates_add(rates, rate_rounded(at));
    return wrong ? wrong : rates_add(rates, to);
}

const char *rates_parse(struct rates *rates, const char *text)
{
    double rate;
    const char *dots = strstr(text, "..");
    *rates = (struct rates){0};
    if (dots && rate_parse(text, (size_t)(dots - text), &rate))
        return rates_range(rates, rate, dots + 2);
    const char *wrong = NULL;
    for (const char *at = text; !wrong && (at == text || at[-1] == ',');) {
        const size_t len = strcspn(at, ",");
        if (!rate_parse(at, len, &rate))
            return "rates are wanted: 10k..1M:x1.3, 10k..100k:+5k or 10k,20k,50k";
        wrong = rates_add(rates, rate);
        at += len + (at[len] == ',');
    }
    return wrong;
}

bool duration_parse(const char *text, size_t len, uint64_t *ns)
{
    static const struct suffix suffixes[] = {
        {"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"m", 60e9}, {"min", 60e9}, {"h", 3600e9},
    };
    double value;
    if (!number_parse(text, len, suffixes, array_count(suffixes), &value) || value > 1e17)
        return false;
    *ns = (uint64_t)value;
    return true;
}

bool size_parse(const char *text, int64_t *bytes)
{
    static const struct suffix suffixes[] = {
        {"", 1},           {"B", 1},          {"k", 1024},         {"K", 1024},
        {"KiB", 1024},     {"m", 1048576},    {"M", 1048576},      {"MiB", 1048576},
        {"g", 1073741824}, {"G", 1073741824}, {"GiB", 1073741824}, {"kB", 1e3},
        {"MB", 1e6},       {"GB", 1e9},
    };
    double value;
    if (!number_parse(text, strlen(text), suffixes, array_count(suffixes), &value) || value > 1e15)
        return false;
    *bytes = (int64_t)value;
    return true;
}

/* ---- shapes ---- */

static void part_add(struct schedule *schedule, double until_ns, double from, double to)
{
    schedule->parts[schedule->part_count++] = (struct schedule_part){
        .until_ns = until_ns, .from = from / (double)NS_PER_S, .to = to / (double)NS_PER_S};
}

static const char *burst_init(struct schedule *schedule, const char *text)
{
    const char *slash = strchr(text, '/');
    uint64_t on_ns;
    uint64_t off_ns;
    if (!slash || !duration_parse(text, (size_t)(slash - text), &on_ns) ||
        !duration_parse(slash + 1, strlen(slash + 1), &off_ns) || on_ns == 0 || off_ns == 0)
        return "burst:ON/OFF is wanted, as burst:100ms/900ms";
    schedule->on_ns = (double)on_ns;
    schedule->off_ns = (double)off_ns;
    return NULL;
}

static const char *step_init(struct schedule *schedule, const char *text, double rate,
                             double warm_ns, double measured_ns)
{
    double rates[SCHEDULE_STEPS_MAX + 1] = {rate};
    uint32_t count = 1;
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, ",");
        if (count > SCHEDULE_STEPS_MAX)
            return "more than 32 steps";
        if (!rate_parse(at, len, &rates[count++]))
            return "step:RATE,... is wanted, as step:20k,40k";
        at += len + (at[len] == ',');
    }
    if (count < 2)
        return "step:RATE,... is wanted, as step:20k,40k";
    for (uint32_t i = 0; i < count; i++)
        part_add(schedule, warm_ns + measured_ns * (i + 1) / count, rates[i], rates[i]);
    return NULL;
}

const char *schedule_init(struct schedule *schedule, const char *arrival, double rate,
                          uint64_t warm_ns, uint64_t measured_ns, uint64_t seed)
{
    const double warm = (double)warm_ns;
    const double measured = (double)measured_ns;
    *schedule = (struct schedule){.random = seed};
    schedule->poisson = strcmp(arrival, "poisson") == 0;
    if (strncmp(arrival, "burst:", 6) == 0) {
        const char *wrong = burst_init(schedule, arrival + 6);
        if (wrong)
            return wrong;
    } else if (strncmp(arrival, "step:", 5) == 0) {
        return step_init(schedule, arrival + 5, rate, warm, measured);
    } else if (strncmp(arrival, "ramp:", 5) == 0) {
        double to;
        if (!rate_parse(arrival + 5, strlen(arrival + 5), &to))
            return "ramp:RATE is wanted, as ramp:100k";
        part_add(schedule, warm, rate, rate);
        part_add(schedule, warm + measured, rate, to);
        return NULL;
    } else if (!schedule->poisson && strcmp(arrival, "constant") != 0) {
        return "constant, poisson, burst:ON/OFF, step:RATE,... or ramp:RATE is wanted";
    }
    part_add(schedule, HUGE_VAL, rate, rate);
    return NULL;
}

void schedule_change(struct schedule *schedule, uint64_t at_ns, double rate)
{
    *schedule = (struct schedule){.at_ns = (double)at_ns, .random = schedule->random};
    part_add(schedule, HUGE_VAL, rate, rate);
}

/* ---- arrivals ---- */

/* How far into a part, of rate `r` now and slope `k` per ns, the integral reaches `need`. */
static double reach(double r, double k, double need)
{
    if (fabs(k) * need < r * r * 1e-9) /* as good as constant, where the root would cancel */
        return need / r;
    return (sqrt(r * r + 2 * k * need) - r) / k;
}

uint64_t schedule_next_ns(struct schedule *schedule)
{
    double need = schedule->poisson ? -log(dice_unit(&schedule->random)) : 1;
    for (;;) {
        const struct schedule_part *part = &schedule->parts[schedule->part];
        bool last = schedule->part + 1 == schedule->part_count;
        double begin_ns = schedule->part > 0 ? part[-1].until_ns : 0;
        double slope = part->to != part->from /* an infinite part does not change */
                           ? (part->to - part->from) / (part->until_ns - begin_ns)
                           : 0;
        double left_ns = part->until_ns - schedule->at_ns;
        double rate = part->from + slope * (schedule->at_ns - begin_ns);
        if (last && left_ns <= 0) { /* behind the end: go on as it ended */
            schedule->at_ns += need / part->to;
            break;
        }
        double area = isinf(left_ns) ? HUGE_VAL : left_ns * (rate + slope * left_ns / 2);
        if (need <= area) {
            schedule->at_ns += reach(rate, slope, need);
            break;
        }
        need -= area;
        schedule->at_ns = part->until_ns;
        if (!last)
            schedule->part++;
    }
    double real_ns = schedule->at_ns;
    if (schedule->off_ns > 0)
        real_ns += floor(schedule->at_ns / schedule->on_ns) * schedule->off_ns;
    return (uint64_t)(real_ns + 0.5);
}
