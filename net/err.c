/* SPDX-License-Identifier: Apache-2.0 */
#include "net/err.h"

const char *err_name(int code)
{
    switch (code) {
#define X(name, number, retriable, sentence)                                                       \
    case number:                                                                                   \
        return #name;
        ERR_TABLE(X)
#undef X
    default:
        return "UNKNOWN_ERROR_CODE";
    }
}

const char *err_sentence(int code)
{
    switch (code) {
#define X(name, number, retriable, sentence)                                                       \
    case number:                                                                                   \
        return sentence;
        ERR_TABLE(X)
#undef X
    default:
        return "an error code that this broker does not know";
    }
}

bool err_retriable(int code)
{
    switch (code) {
#define X(name, number, retriable, sentence)                                                       \
    case number:                                                                                   \
        return retriable;
        ERR_TABLE(X)
#undef X
    default:
        return false;
    }
}
