/* SPDX-License-Identifier: Apache-2.0 */
#include "core/quota_window.h"

#include <string.h>

static void advance(struct quota_window *window, uint64_t now_ns)
{
    uint64_t second = now_ns / QUOTA_SAMPLE_NS;
    if (second <= window->second)
        return;
    if (second - window->second >= QUOTA_SAMPLES) {
        memset(window->samples, 0, sizeof(window->samples));
        window->second = second;
    }
    while (window->second < second)
        window->samples[++window->second % QUOTA_SAMPLES] = 0;
}

void quota_window_add(struct quota_window *window, uint64_t now_ns, double amount)
{
    advance(window, now_ns);
    window->samples[window->second % QUOTA_SAMPLES] += amount;
}

double quota_window_sum(struct quota_window *window, uint64_t now_ns)
{
    double sum = 0;
    advance(window, now_ns);
    for (unsigned i = 0; i < QUOTA_SAMPLES; i++)
        sum += window->samples[i];
    return sum;
}

double quota_rest_s(double sum, double limit, uint64_t now_ns)
{
    double window_s = QUOTA_WHOLE_S + (double)(now_ns % QUOTA_SAMPLE_NS) / QUOTA_SAMPLE_NS;
    double rest_s = sum / limit - window_s; /* (rate - limit) / limit * window */
    if (rest_s <= 0)
        return 0;
    return rest_s < QUOTA_MUTE_S_MAX ? rest_s : QUOTA_MUTE_S_MAX;
}
