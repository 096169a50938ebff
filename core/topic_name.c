/* SPDX-License-Identifier: Apache-2.0 */
#include "core/topic_name.h"

#include <string.h>

static bool allowed(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

const char *topic_name_problem(struct str name)
{
    if (name.len <= 0)
        return "a topic name must not be empty";
    if (name.len > TOPIC_NAME_LEN_MAX)
        return "a topic name must not be longer than 249 characters";
    if (str_equal(name, str_of(".")) || str_equal(name, str_of("..")))
        return "a topic name must not be '.' or '..'";
    for (int32_t i = 0; i < name.len; i++)
        if (!allowed(name.data[i]))
            return "a topic name is made of letters, digits, '.', '_' and '-'";
    return NULL;
}
