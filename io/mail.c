/* SPDX-License-Identifier: Apache-2.0
 *
 * Mail between shards: the rules are at the head of io/shard.h.
 *
 * Why a ring can never be full when somebody must put a word: the ring from A to B carries A's mail
 * that B has not taken, at most N because each holds one of A's credits; and words that bring B's
 * credits home, at most N because each such credit belongs to mail that B sent and A has taken. So
 * 2N slots are enough, whatever the order, and a put that fails is a bug.
 *
 * Why nothing can lock up: taking mail needs nothing, neither a credit nor a slot, and gives a
 * credit back. An answer is mail like any other. Its credit was once held from the post to the
 * answer, which reads well and is wrong: an operation may wait for long (a long poll, an append
 * that waits for memory), and 511 of them cut a shard off from new connections, from the
 * controller, and from the very release of memory that they waited for.
 *
 * A word is a pointer to mail, or, with the lowest bit set, a number of credits that come home.
 * They come home a quarter of N at a time: a message for each would wake a sleeping shard for
 * nothing. The sender can use at least three quarters of its credits meanwhile.
 *
 * Bells are rung once per turn and peer, not per message (mail_wake, before the submit).
 */
#include "io/group.h"

enum mail_kind { MAIL_POST = 1, MAIL_ANSWER };

void mail_open(struct shard *sh)
{
    const struct shard_group *group = sh->group;
    sh->peers = mem_zalloc(group->count * sizeof(sh->peers[0]));
    sh->wake = mem_zalloc(group->count * sizeof(sh->wake[0]));
    STAILQ_INIT(&sh->self);
    for (uint16_t i = 0; i < group->count; i++) {
        struct shard_peer *peer = &sh->peers[i];
        peer->out = &group->rings[sh->id * group->count + i];
        peer->in = &group->rings[i * group->count + sh->id];
        peer->credits = group->credits;
        STAILQ_INIT(&peer->waiting);
    }
}

void mail_close(struct shard *sh)
{
    mem_free(sh->peers);
    mem_free(sh->wake);
}

static void mail_put(struct shard *sh, uint16_t to, void *word)
{
    struct shard_peer *peer = &sh->peers[to];
    bool put = mail_ring_put(peer->out, word);
    must(put);
    if (!peer->wake) {
        peer->wake = true;
        sh->wake[sh->wake_count++] = to;
    }
}

static void mail_send(struct shard *sh, uint16_t to, struct mail *mail, mail_fn *fn)
{
    must(shard_here() == sh || shard_here() == NULL);
    must(to < sh->count);
    mail->fn = fn;
    mail->from = sh->id;
    if (to == sh->id) {
        STAILQ_INSERT_TAIL(&sh->self, mail, link);
        return;
    }
    struct shard_peer *peer = &sh->peers[to];
    if (peer->credits == 0) {
        if (!io_mutation(sh->io, "mail.lost_without_credit"))
            STAILQ_INSERT_TAIL(&peer->waiting, mail, link);
        return;
    }
    peer->credits--;
    mail_put(sh, to, mail);
}

void shard_post(struct shard *sh, uint16_t to, struct mail *mail, mail_fn *fn)
{
    mail->kind = MAIL_POST;
    mail_send(sh, to, mail, fn);
}

void shard_answer(struct shard *sh, struct mail *mail, mail_fn *fn)
{
    must(mail->kind == MAIL_POST);
    mail->kind = MAIL_ANSWER;
    mail_send(sh, mail->from, mail, fn);
}

/* Credits came home: what waits for them leaves, in order. */
static void mail_credit(struct shard *sh, uint16_t to, uint32_t credits)
{
    struct shard_peer *peer = &sh->peers[to];
    peer->credits += credits;
    must(peer->credits <= sh->group->credits);
    while (peer->credits > 0 && !STAILQ_EMPTY(&peer->waiting)) {
        struct mail *mail = STAILQ_FIRST(&peer->waiting);
        STAILQ_REMOVE_HEAD(&peer->waiting, link);
        peer->credits--;
        mail_put(sh, to, mail);
    }
}

static void mail_taken(struct shard *sh, uint16_t from)
{
    struct shard_peer *peer = &sh->peers[from];
    peer->returns++;
    if (peer->returns < sh->group->credits / 4)
        return;
    uintptr_t word = ((uintptr_t)peer->returns << 1) | 1;
    peer->returns = 0;
    mail_put(sh, from, (void *)word); /* a number, never followed */
}

static void mail_deliver(struct shard *sh, uint16_t from, void *word)
{
    if ((uintptr_t)word & 1) {
        mail_credit(sh, from, (uint32_t)((uintptr_t)word >> 1));
        return;
    }
    struct mail *mail = word;
    mail_taken(sh, from);
    count_up(&sh->mails, 1);
    mail->fn(sh, mail);
}

static bool mail_run_from(struct shard *sh, uint16_t from)
{
    struct mail_ring *ring = sh->peers[from].in;
    void *word;
    for (uint32_t i = 0; i < SHARD_MAILS_PER_TURN; i++) {
        if (!mail_ring_take(ring, &word))
            return false;
        mail_deliver(sh, from, word);
    }
    return !mail_ring_empty(ring);
}

/* Only what is there at the start: mail that a shard sends itself arrives in the next turn. */
static void mail_run_self(struct shard *sh)
{
    struct mail_queue now = STAILQ_HEAD_INITIALIZER(now);
    STAILQ_CONCAT(&now, &sh->self);
    while (!STAILQ_EMPTY(&now)) {
        struct mail *mail = STAILQ_FIRST(&now);
        STAILQ_REMOVE_HEAD(&now, link);
        count_up(&sh->mails, 1);
        mail->fn(sh, mail);
    }
}

bool mail_run(struct shard *sh)
{
    bool more = false;
    mail_run_self(sh);
    must(sh->count > 0);
    for (uint16_t i = 0; i < sh->count; i++) {
        uint16_t from = (uint16_t)((sh->mail_first + i) % sh->count);
        if (from != sh->id && mail_run_from(sh, from))
            more = true;
    }
    sh->mail_first = (uint16_t)((sh->mail_first + 1U) % sh->count);
    return more;
}

bool mail_pending(void *shard)
{
    struct shard *sh = shard;
    if (!STAILQ_EMPTY(&sh->self))
        return true;
    for (uint16_t i = 0; i < sh->count; i++)
        if (i != sh->id && !mail_ring_empty(sh->peers[i].in))
            return true;
    return false;
}

/* A shard that has not opened its door yet looks at its rings after it did: the fence here and the
 * one in shard_init() let one of us see the other. */
void mail_wake(struct shard *sh)
{
    if (sh->wake_count == 0)
        return;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (uint16_t i = 0; i < sh->wake_count; i++) {
        uint16_t to = sh->wake[i];
        sh->peers[to].wake = false;
        struct io *io = __atomic_load_n(&sh->group->shards[to].io, __ATOMIC_ACQUIRE);
        if (io != NULL)
            io_wake(sh->io, io);
    }
    sh->wake_count = 0;
}
