/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/regex.h"

#include <re2/re2.h>

#include <new>

/* Program and cache: a hundred times what anybody's list of prefixes needs, and little enough for
 * every expression that a request may bring. */
static const int64_t bytes_max = 1 << 20;

struct regex {
    RE2 re;
    regex(const re2::StringPiece &text, const RE2::Options &options) : re(text, options)
    {
    }
};

struct regex *regex_new(const char *text, size_t len)
{
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(bytes_max);
    if (len > REGEX_BYTES_MAX)
        return nullptr;
    auto *made = new (std::nothrow) regex(re2::StringPiece(text, len), options);
    if (made && made->re.ok())
        return made;
    delete made;
    return nullptr;
}

void regex_free(struct regex *regex)
{
    delete regex;
}

bool regex_matches(const struct regex *regex, const char *text, size_t len)
{
    return RE2::FullMatch(re2::StringPiece(text, len), regex->re);
}
