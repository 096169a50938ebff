/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes for the socket: a reference in an answer is a fetched part, its bytes are pinned on the
 * partition's home shard when the socket has room for them, and unpinned there after the send.
 */
#include "core/api/fetch_private.h"
#include "io/mem.h"

#include <string.h>

struct fetch_pin {
    struct mail mail;
    struct conn_pin *pin; /* whose bytes; NULL on the way back */
    struct fetch_part *part;
    struct broker_shard *from;
    struct partition *pt; /* holds the pin; NULL: there is none */
    struct log_pin log_pin;
};

/* ---- on the connection's shard ---- */

/* As many pieces as the send has room for. */
static void fill(struct fetch_pin *fp)
{
    struct conn_pin *pin = fp->pin;
    const struct log_pin *log_pin = &fp->log_pin;
    pin->user = fp;
    pin->failed = !fp->pt;
    if (pin->failed)
        return;
    for (uint32_t i = 0; i < log_pin->pieces && pin->count < pin->iov_max; i++) {
        pin->iov[pin->count++] = log_pin->iov[i];
        pin->bytes += (uint32_t)log_pin->iov[i].iov_len;
    }
}

static void on_pinned(struct shard *here, struct mail *mail)
{
    (void)here;
    struct fetch_pin *fp = container_of(mail, struct fetch_pin, mail);
    fill(fp);
    conn_resolved(fp->pin);
}

/* ---- on the home shard ---- */

static void on_log_pin(struct log_pin *log_pin);

/* True: pinned, or known to be impossible, now. */
static bool pin_begin(struct broker_shard *bs, struct fetch_pin *fp)
{
    struct partition *pt = partition_find(&bs->partitions, &fp->part->key);
    fp->pt = NULL;
    if (!pt)
        return true;
    fp->pt = pt;
    partition_pinned(pt);
    fp->log_pin.done = on_log_pin;
    fp->log_pin.user = fp;
    fp->log_pin.check = fp->part->check;
    return log_pin(pt->log, &fp->part->range, fp->pin->skip, fp->pin->len, &fp->log_pin);
}

static void pin_check(struct fetch_pin *fp)
{
    if (fp->pt && fp->log_pin.verdict != LOG_OK) {
        partition_unpinned(fp->pt);
        fp->pt = NULL;
    }
}

static void on_log_pin(struct log_pin *log_pin)
{
    struct fetch_pin *fp = log_pin->user;
    struct shard *here = shard_here();
    pin_check(fp);
    if (fp->from->sh == here)
        on_pinned(here, &fp->mail);
    else
        shard_answer(here, &fp->mail, on_pinned);
}

static void on_pin(struct shard *here, struct mail *mail)
{
    struct fetch_pin *fp = container_of(mail, struct fetch_pin, mail);
    if (!pin_begin(broker_shard_of(here), fp))
        return;
    pin_check(fp);
    shard_answer(here, mail, on_pinned);
}

static void unpin(struct fetch_pin *fp)
{
    log_unpin(&fp->log_pin);
    partition_unpinned(fp->pt);
}

static void on_unpin(struct shard *here, struct mail *mail)
{
    (void)here;
    struct fetch_pin *fp = container_of(mail, struct fetch_pin, mail);
    unpin(fp);
    mem_free(fp);
}

/* ---- the connection's upcalls ---- */

bool fetch_resolve(struct conn_pin *pin)
{
    struct fetch_part *part = (struct fetch_part *)(uintptr_t)pin->cookie; // NOLINT
    struct broker_shard *bs = api_shard(pin->request);
    struct fetch_pin *fp = mem_alloc(sizeof(*fp));
    fp->pin = pin;
    fp->part = part;
    fp->from = bs;
    if (part->home != bs->sh->id) {
        shard_post(bs->sh, part->home, &fp->mail, on_pin);
        return false;
    }
    if (!pin_begin(bs, fp))
        return false;
    pin_check(fp);
    fill(fp);
    return true;
}

void fetch_release(struct conn_pin *pin)
{
    struct fetch_pin *fp = pin->user;
    struct broker_shard *bs = api_shard(pin->request);
    if (!fp)
        return;
    if (!fp->pt) {
        mem_free(fp);
    } else if (fp->part->home == bs->sh->id) {
        unpin(fp);
        mem_free(fp);
    } else {
        shard_post(bs->sh, fp->part->home, &fp->mail, on_unpin);
    }
}
