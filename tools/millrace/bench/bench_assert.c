/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_assert.h"

#include "tools/millrace/bench/bench_schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const latencies[] = {"response", "service", "delay", "e2e"};

/* "p99.9" or "max" */
static bool quantile_parse(const char *text, size_t len, double *quantile)
{
    char copy[16];
    *quantile = 1;
    if (len == 3 && memcmp(text, "max", 3) == 0)
        return true;
    if (len < 2 || len >= sizeof(copy) || text[0] != 'p')
        return false;
    memcpy(copy, text + 1, len - 1);
    copy[len - 1] = 0;
    char *end;
    double percent = strtod(copy, &end);
    *quantile = percent / 100;
    return *end == 0 && percent > 0 && percent <= 100;
}

const char *assertion_parse(struct assertion *assertion, const char *text)
{
    *assertion = (struct assertion){.text = text, .latency = "response"};
    const char *sign = strpbrk(text, "<>");
    if (!sign)
        return "QUANTILE<TIME or rate>RECORDS/S is wanted";
    if (*sign == '>') {
        assertion->latency[0] = 0;
        bool good = sign - text == 4 && memcmp(text, "rate", 4) == 0;
        good &= rate_parse(sign + 1, strlen(sign + 1), &assertion->limit);
        return good ? NULL : "rate>RECORDS/S is wanted, as rate>20k";
    }
    for (size_t i = 0; i < array_count(latencies); i++) {
        size_t len = strlen(latencies[i]);
        if (strncmp(text, latencies[i], len) != 0 || text[len] != '.')
            continue;
        memcpy(assertion->latency, latencies[i], len + 1);
        text += len + 1;
        break;
    }
    uint64_t limit_ns;
    if (!quantile_parse(text, (size_t)(sign - text), &assertion->quantile) ||
        !duration_parse(sign + 1, strlen(sign + 1), &limit_ns))
        return "QUANTILE<TIME is wanted, as p99<5ms, max<1s or e2e.p99.9<20ms";
    assertion->limit = (double)limit_ns;
    return NULL;
}

bool assertion_holds(const struct assertion *assertion, const struct measure *m, double *value)
{
    *value = 0;
    if (!assertion->latency[0]) {
        const double seconds = measure_seconds(m);
        *value = seconds > 0 ? (double)m->rate_records / seconds : 0;
        return *value > assertion->limit;
    }
    const struct histogram *const all[] = {m->response, m->service, m->delay, m->e2e};
    for (size_t i = 0; i < array_count(all); i++) {
        if (strcmp(assertion->latency, latencies[i]) != 0)
            continue;
        if (!all[i] || all[i]->count == 0)
            return false;
        *value = (double)histogram_quantile_ns(all[i], assertion->quantile);
    }
    return *value < assertion->limit;
}

const char *assertion_text(const struct assertion *assertion, double value,
                           char text[ASSERTION_TEXT_SIZE])
{
    if (assertion->latency[0])
        (void)snprintf(text, ASSERTION_TEXT_SIZE, "%s: it was %.3f ms", assertion->text,
                       value / 1e6);
    else
        (void)snprintf(text, ASSERTION_TEXT_SIZE, "%s: it was %.0f/s", assertion->text, value);
    return text;
}
