/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/top/top_screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l" /* the other screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"
#define BEGIN "\033[H\033[J\033[?7l" /* from the top, lines are cut */
#define END   "\033[?7h"

#define LINES_USUAL 24U

static void signals_heard(sigset_t *set)
{
    static const int heard[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH};
    (void)sigemptyset(set);
    for (size_t i = 0; i < array_count(heard); i++)
        (void)sigaddset(set, heard[i]);
}

static void terminal_enter(struct top_screen *screen)
{
    if (screen->keys && tcgetattr(STDIN_FILENO, &screen->before) == 0) {
        struct termios raw = screen->before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    if (screen->live)
        fputs(ENTER, stdout);
    (void)fflush(stdout);
}

static void terminal_leave(const struct top_screen *screen)
{
    if (screen->live)
        fputs(LEAVE, stdout);
    (void)fflush(stdout);
    if (screen->keys)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &screen->before);
}

static void measure(struct top_screen *screen)
{
    struct winsize size = {0};
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0;
    screen->lines = known ? size.ws_row : LINES_USUAL;
}

void top_screen_open(struct top_screen *screen, bool live, bool color)
{
    const char *terminal = getenv("TERM");
    sigset_t set;
    *screen = (struct top_screen){0};
    screen->live = live && isatty(STDOUT_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
    screen->color = screen->live && color;
    screen->keys = screen->live && isatty(STDIN_FILENO);
    signals_heard(&set);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    screen->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    must(screen->signals >= 0);
    measure(screen);
    terminal_enter(screen);
}

void top_screen_close(struct top_screen *screen)
{
    terminal_leave(screen);
    (void)close(screen->signals);
}

void top_page_begin(struct top_screen *screen)
{
    if (screen->live)
        fputs(BEGIN, stdout);
    else if (screen->pages > 0)
        putchar('\n');
    screen->pages++;
}

void top_page_end(const struct top_screen *screen)
{
    if (screen->live)
        fputs(END, stdout);
    (void)fflush(stdout);
}

/* The shell has the terminal until it lets us go on. */
static void be_stopped(struct top_screen *screen)
{
    sigset_t stop;
    terminal_leave(screen);
    (void)sigemptyset(&stop);
    (void)sigaddset(&stop, SIGTSTP);
    (void)raise(SIGTSTP);
    (void)sigprocmask(SIG_UNBLOCK, &stop, NULL);
    (void)sigprocmask(SIG_BLOCK, &stop, NULL);
    terminal_enter(screen);
}

static enum top_event on_signal(struct top_screen *screen)
{
    struct signalfd_siginfo info;
    if (read(screen->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return TOP_DRAW;
    if (info.ssi_signo == (uint32_t)SIGTSTP)
        be_stopped(screen);
    else if (info.ssi_signo != (uint32_t)SIGWINCH)
        return TOP_INTERRUPTED;
    measure(screen);
    return TOP_DRAW;
}

static bool is_quit(struct top_screen *screen)
{
    char key = 0;
    ssize_t n = read(STDIN_FILENO, &key, 1);
    if (n == 0 || (n < 0 && errno != EINTR))
        screen->keys = false; /* nobody types any more */
    return n == 1 && (key == 'q' || key == 'Q');
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

enum top_event top_screen_wait(struct top_screen *screen, int64_t *left_ms)
{
    const int64_t until_ms = now_ms() + *left_ms;
    for (;;) {
        struct pollfd files[] = {{.fd = screen->signals, .events = POLLIN},
                                 {.fd = screen->keys ? STDIN_FILENO : -1, .events = POLLIN}};
        *left_ms = max_i64(until_ms - now_ms(), 0);
        int ready = poll(files, array_count(files), (int)*left_ms);
        if (ready == 0)
            return TOP_TIME;
        if (ready < 0)
            continue; /* EINTR: of a signal that is not ours */
        if (files[0].revents)
            return on_signal(screen);
        if (is_quit(screen))
            return TOP_QUIT;
    }
}
