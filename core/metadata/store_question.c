/* SPDX-License-Identifier: Apache-2.0 */
#include "core/metadata/store_question.h"

#include "io/mem.h"

#include <string.h>

static void op_copy(struct store_op *to, const struct store_op *from)
{
    void *data = mem_alloc(from->len + 1U);
    if (from->len > 0)
        memcpy(data, from->data, from->len);
    *to = *from;
    to->path = mem_strdup(from->path);
    to->data = data;
}

struct store_question *store_question_copy(const struct store_question *question)
{
    struct store_question *copy = mem_zalloc(sizeof(*copy));
    struct store_op *ops = mem_zalloc((question->count + 1U) * sizeof(*ops));
    *copy = *question;
    copy->path = question->path ? mem_strdup(question->path) : NULL;
    copy->ops = ops;
    for (uint32_t i = 0; i < question->count; i++)
        op_copy(&ops[i], &question->ops[i]);
    return copy;
}

void store_question_free(struct store_question *copy)
{
    if (!copy)
        return;
    for (uint32_t i = 0; i < copy->count; i++) {
        mem_free(no_const(copy->ops[i].path));
        mem_free(no_const(copy->ops[i].data));
    }
    mem_free(no_const(copy->ops));
    mem_free(no_const(copy->path));
    mem_free(copy);
}
