/* SPDX-License-Identifier: Apache-2.0
 *
 * What is asked of a store, as a value: for bodies that keep requests while their session is
 * suspended (core/metadata/store.h, S6).
 */
#pragma once

#include "core/metadata/store.h"

enum store_question_kind { STORE_ASK_MULTI, STORE_ASK_GET, STORE_ASK_EXISTS, STORE_ASK_CHILDREN };

struct store_question {
    enum store_question_kind kind;
    bool watch;
    const char *path;           /* of a read */
    const struct store_op *ops; /* of a multi */
    uint32_t count;
};

/* With operations, paths and data of its own. */
struct store_question *store_question_copy(const struct store_question *question);
/* A copy, or NULL. */
void store_question_free(struct store_question *copy);
