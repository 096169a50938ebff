/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads, writes and flushes of files. What the kernel does by halves is asked for again until it is
 * whole; only the end of a file makes a read short.
 */
#include "io/real/ring.h"

#include "io/fs.h"

#include <errno.h>
#include <sys/uio.h>

/* Larger direct reads came back with EAGAIN from older kernels (liburing issue 766). */
#define READ_MAX (1U << 20)

/* Interrupted and not-now results in a row that are taken for an error. */
#define TRIES_MAX 100U

void io_read(struct io *io, struct io_op *op, int file, void *to, uint32_t len, uint64_t offset)
{
    request_start(io, op, REQUEST_READ, file);
    struct transfer *transfer = &request_of(op)->transfer;
    transfer->base = to;
    transfer->length = len;
    transfer->offset = offset;
    request_issue(io, op);
}

void io_write(struct io *io, struct io_op *op, int file, const struct iovec *iov, unsigned count,
              uint64_t offset, bool durable)
{
    must(count >= 1);
    request_start(io, op, REQUEST_WRITE, file);
    struct request *request = request_of(op);
    request->durable = durable;
    struct transfer *transfer = &request->transfer;
    transfer->offset = offset;
    for (unsigned i = 0; i < count; i++)
        transfer->length += iov[i].iov_len;
    must(transfer->length > 0 && transfer->length <= INT32_MAX);
    if (count == 1)
        transfer->base = iov->iov_base;
    else
        transfer->vectors = vectors_get(io, iov, count);
    request_issue(io, op);
}

void io_sync(struct io *io, struct io_op *op, int file)
{
    request_start(io, op, REQUEST_SYNC, file);
    request_issue(io, op);
}

void files_prepare(struct io *io, struct io_op *op, struct io_uring_sqe *sqe)
{
    (void)io;
    const struct request *request = request_of(op);
    const struct transfer *transfer = &request->transfer;
    const uint64_t offset = transfer->offset + transfer->done_bytes;
    const uint64_t left = transfer->length - transfer->done_bytes;
    if (request->kind == REQUEST_SYNC) {
        io_uring_prep_fsync(sqe, request->number, IORING_FSYNC_DATASYNC);
        return;
    }
    if (request->kind == REQUEST_READ) {
        io_uring_prep_read(sqe, request->number, transfer->base + transfer->done_bytes,
                           (unsigned)min_u64(left, READ_MAX), offset);
        return;
    }
    const struct vectors *vectors = transfer->vectors;
    if (vectors == NULL)
        io_uring_prep_write(sqe, request->number, transfer->base + transfer->done_bytes,
                            (unsigned)left, offset);
    else
        io_uring_prep_writev(sqe, request->number, vectors->iov + vectors->first,
                             vectors->count - vectors->first, offset);
    if (request->durable)
        sqe->rw_flags = RWF_DSYNC;
}

static void transfer_end(struct io *io, struct io_op *op, int64_t res)
{
    struct transfer *transfer = &request_of(op)->transfer;
    vectors_put(io, transfer->vectors);
    transfer->vectors = NULL;
    request_done(io, op, res);
}

static void read_complete(struct io *io, struct io_op *op, int res)
{
    struct transfer *transfer = &request_of(op)->transfer;
    /* A direct read cannot go on behind the last, odd bytes of a file. */
    bool at_end = res == 0 || (res == -EINVAL && transfer->done_bytes % FS_BLOCK != 0);
    if (at_end) {
        transfer_end(io, op, (int64_t)transfer->done_bytes);
    } else if (res < 0) {
        transfer_end(io, op, res);
    } else {
        count_up(&io->counts.bytes_read, (uint64_t)res);
        if (transfer_advance(transfer, (uint64_t)res))
            transfer_end(io, op, (int64_t)transfer->length);
        else
            request_issue(io, op);
    }
}

static void write_complete(struct io *io, struct io_op *op, int res)
{
    struct transfer *transfer = &request_of(op)->transfer;
    if (res <= 0) {
        transfer_end(io, op, res < 0 ? res : -EIO);
        return;
    }
    count_up(&io->counts.bytes_written, (uint64_t)res);
    if (transfer_advance(transfer, (uint64_t)res))
        transfer_end(io, op, (int64_t)transfer->length);
    else
        request_issue(io, op);
}

void files_complete(struct io *io, struct io_op *op, int res)
{
    struct request *request = request_of(op);
    if ((res == -EINTR || res == -EAGAIN) && request->tries < TRIES_MAX) {
        request->tries++;
        request_issue(io, op);
        return;
    }
    request->tries = 0;
    if (request->kind == REQUEST_SYNC)
        request_done(io, op, res);
    else if (request->kind == REQUEST_READ)
        read_complete(io, op, res);
    else
        write_complete(io, op, res);
}
