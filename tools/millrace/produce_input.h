/* SPDX-License-Identifier: Apache-2.0
 *
 * Records out of a stream of text. The stream is read by a helper thread (it may be a terminal or a
 * pipe that says nothing for long), a piece at a time; the records are cut out here by a format.
 *
 * When the format ends in text, that text ends each record ("%s\n": lines); a last record may lack
 * it. When it does not, the whole stream is one record. Inside a record the first token takes what
 * stands before the text behind it, and so on; a key whose delimiter is missing is null.
 */
#pragma once

#include "core/record/batch_builder.h"
#include "io/io.h"
#include "tools/millrace/record_format.h"

#define INPUT_TOKENS      "skpTh"
#define INPUT_HEADERS_MAX 64U
#define INPUT_RECORD_MAX  (100U << 20)

struct input_record {
    struct bytes_or_null key, value;
    int32_t partition; /* -1: not said */
    int64_t timestamp; /* BATCH_NO_TIMESTAMP: not said */
    struct record_header headers[INPUT_HEADERS_MAX];
    int32_t header_count;
};

struct input {
    struct record_format format;
    int file;
    bool empty_is_null;
    bool at_end;  /* the stream is: what is held is all there is */
    bool reading; /* the helper thread has `piece` */
    bool *news;
    int error; /* of reading, as errno */
    uint64_t records;
    char problem[160];

    /* private */
    struct io_op op;
    char *piece;
    int64_t piece_len;
    char *held; /* bytes [at, len) are not cut yet */
    size_t at, len, size;
    size_t searched; /* so far no end of a record in [at, at + searched) */
};

enum input_status { INPUT_RECORD, INPUT_MORE, INPUT_END, INPUT_BAD };

/* False, and said, when the format is none. *news is set when something was read. */
bool input_init(struct input *input, const struct invocation *inv, const char *format, int file,
                bool *news) warn_unused;
void input_fini(struct input *input); /* not while reading */

/* Starts reading the next piece unless that is under way or done. */
void input_read(struct input *input, struct io *io);
/* Views into the input, valid until the next call of either. INPUT_BAD: `problem` says why. */
enum input_status input_next(struct input *input, struct input_record *record);
