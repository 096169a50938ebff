/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at a running broker by its admin listener: its live counters as one JSON object, now and
 * at the look before. What is per second is the difference of two looks.
 */
#pragma once

#include "tools/millrace/command.h"

#include "net/address.h"

#include <jansson.h>

struct looks {
    const struct invocation *inv;
    struct address address;
    json_t *before, *now; /* NULL: not yet */
    double seconds;       /* between them, by the broker's clock; 0: it was started in between */
    char problem[256];    /* why there was no answer: half a sentence */
};

/* From --admin, the environment or the profile; else what is wrong with it, said. */
int looks_begin(struct looks *l, const struct invocation *inv);
/* One more; false: there was no answer. */
bool looks_take(struct looks *l);
/* Says so; EXIT_UNREACHABLE. */
int looks_unreachable(const struct looks *l);
void looks_end(struct looks *l);

/* Clients are served, every core answers, and none has lost its disk: now. */
bool looks_good(const struct looks *l);

/* ---- reading: what is not there is 0, "-" ---- */

double look_number(const json_t *object, const char *key);
const char *look_text(const json_t *object, const char *key);
/* Over all cores. */
double look_sum(const json_t *object, const char *key);
/* Per second, of a counter in the object that stands at the same place in both looks. */
double looks_rate(const struct looks *l, const json_t *before, const json_t *now, const char *key);

json_t *rounded(double value);
