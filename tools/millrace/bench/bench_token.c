/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_token.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int refuse(const struct invocation *inv, const char *path, const char *what)
{
    complain(inv, "--token-file %s: %s", path, what);
    return EXIT_FAILED;
}

int token_read(struct token *token, const struct invocation *inv)
{
    const char *path = option_text(inv, "token-file");
    struct stat status;
    char data[TOKEN_LEN_MAX + 2];
    *token = (struct token){0};
    if (!path)
        return usage_error(inv, "--token-file is wanted: a secret that both ends know, made by "
                                "(umask 077; head -c 24 /dev/urandom | base64 >FILE)");
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return refuse(inv, path, strerror(errno));
    const bool known = fstat(file, &status) == 0 && S_ISREG(status.st_mode);
    const ssize_t got = known ? read(file, data, sizeof(data)) : 0;
    (void)close(file);
    if (!known || got < 0)
        return refuse(inv, path, "a file is wanted");
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return refuse(inv, path, "others may read or change it; chmod 600 makes it a secret");
    size_t len = 0;
    while (len < (size_t)got && data[len] > ' ' && data[len] < 0x7f)
        len++;
    if (len < TOKEN_LEN_MIN || len > TOKEN_LEN_MAX || (len < (size_t)got && data[len] != '\n'))
        return refuse(inv, path, "a line of 16 to 256 printable characters is wanted");
    memcpy(token->text, data, len);
    return EXIT_OK;
}

bool token_equal(const struct token *token, const char *text)
{
    const size_t len = text ? strnlen(text, TOKEN_LEN_MAX + 1) : 0;
    char padded[TOKEN_LEN_MAX + 1] = {0};
    volatile unsigned different = len == 0 || len > TOKEN_LEN_MAX;
    if (text)
        memcpy(padded, text, min_u64(len, TOKEN_LEN_MAX));
    for (size_t i = 0; i < sizeof(padded); i++)
        different |= (unsigned)(padded[i] ^ token->text[i]);
    return different == 0;
}
