/* SPDX-License-Identifier: Apache-2.0
 *
 * The program.
 */
#include "tools/millrace/command.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <unistd.h>

#define STDERR_LINE_MAX 16384U

/* Else the next file that is opened, a lock or a log, would be standard output. */
static void open_closed_stdio(void)
{
    for (int file = STDIN_FILENO; file <= STDERR_FILENO; file++)
        if (fcntl(file, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != file)
            _exit(EXIT_FAILED);
}

int main(int argc, char **argv)
{
    open_closed_stdio();
    /* Whole lines: else a shard's log line may come between "error:" and what follows it. */
    static char lines[STDERR_LINE_MAX];
    (void)setvbuf(stderr, lines, _IOLBF, sizeof(lines));
    (void)setlocale(LC_CTYPE, ""); /* widths of UTF-8 text in tables */
    int code = command_line(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_OK) {
        (void)fputs("error: standard output does not take what was printed\n", stderr);
        code = EXIT_FAILED;
    }
    return code;
}
