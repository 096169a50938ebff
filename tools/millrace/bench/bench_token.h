/* SPDX-License-Identifier: Apache-2.0
 *
 * The secret that `bench agent` and who uses it share: the first line of a file that nobody else
 * may read.
 */
#pragma once

#include "tools/millrace/command.h"

#define TOKEN_LEN_MIN 16U
#define TOKEN_LEN_MAX 256U

struct token {
    char text[TOKEN_LEN_MAX + 1]; /* filled up with zeros */
};

/* From the file that --token-file names; EXIT_OK, or said. */
int token_read(struct token *token, const struct invocation *inv);
/* Takes as long whatever is different, and however long `text` is. NULL is no token. */
bool token_equal(const struct token *token, const char *text);
