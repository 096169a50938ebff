/* SPDX-License-Identifier: Apache-2.0 */
#include "net/err.h"

struct row {
    const char *name, *sentence;
    bool retriable;
};

/* The codes begin at -1 and have no gaps. */
static const struct row rows[] = {
#define X(error, code, retries, text)                                                              \
    [(code) + 1] = {.name = #error, .sentence = (text), .retriable = (retries)},
    ERR_TABLE(X)
#undef X
};

static const struct row *row_of(int code)
{
    static const struct row unknown = {.name = "UNKNOWN_ERROR_CODE",
                                       .sentence = "an error code that this broker does not know",
                                       .retriable = false};
    return code >= -1 && code < (int)array_count(rows) - 1 ? &rows[code + 1] : &unknown;
}

const char *err_name(int code)
{
    return row_of(code)->name;
}

const char *err_sentence(int code)
{
    return row_of(code)->sentence;
}

bool err_retriable(int code)
{
    return row_of(code)->retriable;
}
