/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages between a run of `millrace bench` and who asked for it, over a socket or a pipe: a JSON
 * object with a "type", one a line. Nothing in them is believed: lines are bounded, and a number is
 * taken only when it is there and within what the reader can bear.
 */
#pragma once

#include "io/base.h"

#include <jansson.h>

#define MESSAGE_BYTES_MAX  (16U << 20) /* the histograms of a run fit with room to spare */
#define MESSAGE_NUMBER_MAX (1LL << 53) /* sums of many of them fit as well */
#define MESSAGE_WHY_SIZE   160U

/* The end that reads. */
struct message_reader {
    int file;
    size_t bytes_max; /* of a line */
    char *data;
    size_t len, room;
    size_t taken;               /* of data: lines that were taken */
    size_t looked;              /* behind taken: no line ends there */
    bool ended;                 /* nothing more will come */
    char why[MESSAGE_WHY_SIZE]; /* it was lost, as half a sentence: "has closed the connection" */
};

enum message_state { MESSAGE_TAKEN, MESSAGE_NONE, MESSAGE_LOST };

void message_reader_init(struct message_reader *reader, int file, size_t bytes_max);
void message_reader_fini(struct message_reader *reader); /* does not close the file */
/* Reads what is there, once; waits when nothing is. */
void message_fill(struct message_reader *reader);
/* The next message that was read; the caller's. */
enum message_state message_take(struct message_reader *reader, json_t **message);
/* The next message, waited for at most until then; MESSAGE_NONE: it did not come. */
enum message_state message_wait(struct message_reader *reader, uint64_t until_ns, json_t **message);

/* One line, of so many bytes, the newline among them; false when nobody takes it. */
bool message_send_text(int file, const char *line, size_t len);
bool message_send(int file, json_t *message); /* takes the reference */
bool message_is(const json_t *message, const char *type);
/* Members; false when one is not there, of another type or out of bounds. */
bool message_u64(const json_t *message, const char *name, uint64_t max,
                 uint64_t *value) warn_unused;
bool message_real(const json_t *message, const char *name, double max, double *value) warn_unused;
/* NULL unless it is there, not longer, and all of it can be printed. */
const char *message_text(const json_t *message, const char *name, size_t len_max);

/* The monotonic clock, which is that of the door too. */
uint64_t message_clock_ns(void);
