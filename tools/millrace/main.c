/* SPDX-License-Identifier: Apache-2.0
 *
 * The program.
 */
#include "tools/millrace/command.h"

#include <locale.h>

#define STDERR_LINE_MAX 16384U

int main(int argc, char **argv)
{
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
