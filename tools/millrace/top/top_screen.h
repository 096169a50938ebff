/* SPDX-License-Identifier: Apache-2.0
 *
 * The terminal of `millrace top`: a page that is drawn again and again in a screen of its own, keys
 * that work without Enter, and what was there before when it ends, however it ends. Where standard
 * output is no terminal pages follow each other as plain lines.
 */
#pragma once

#include "io/base.h"

#include <termios.h>

struct top_screen {
    bool live;  /* standard output is a terminal that can be drawn on */
    bool color; /* in colours */
    bool keys;  /* standard input is one, too */
    int signals;
    uint32_t lines; /* of the terminal */
    uint32_t pages; /* so far */
    struct termios before;
};

/* live, color: may it, if it can? Signals are heard from now on, and do nothing by themselves. */
void top_screen_open(struct top_screen *screen, bool live, bool color);
void top_screen_close(struct top_screen *screen);

/* Between the two a page is printed to standard output. Lines that are too long are cut, what is
 * beyond screen->lines is the caller's care. */
void top_page_begin(struct top_screen *screen);
void top_page_end(const struct top_screen *screen);

enum top_event {
    TOP_TIME,        /* so many milliseconds have passed */
    TOP_DRAW,        /* the terminal has another size, or is ours again */
    TOP_QUIT,        /* q */
    TOP_INTERRUPTED, /* by a signal */
};
/* *left_ms: how long to wait; afterwards, what is left of it. */
enum top_event top_screen_wait(struct top_screen *screen, int64_t *left_ms);
