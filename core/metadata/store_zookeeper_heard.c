/* SPDX-License-Identifier: Apache-2.0
 *
 * What the library says: completions and watchers run on a thread of its own and do nothing but
 * copy what they were given and push it on a stack, of which the shard takes all at once.
 */
#include "core/metadata/store_zookeeper_private.h"
#include "io/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The library's own words. */
void zoo_on_line(const char *line)
{
    (void)line;
}

void zoo_ring(const struct zoo *zoo)
{
    uint64_t one = 1;
    ssize_t wrote = write(zoo->bell, &one, sizeof(one));
    must(wrote == (ssize_t)sizeof(one));
}

static void push(struct zoo *zoo, struct zoo_message *message)
{
    struct zoo_message *top = __atomic_load_n(&zoo->pushed, __ATOMIC_RELAXED);
    do
        message->next = top;
    while (!__atomic_compare_exchange_n(&zoo->pushed, &top, message, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED));
    if (!top)
        zoo_ring(zoo);
}

static void answer(struct zoo_request *request, int rc)
{
    request->rc = rc;
    push(request->zoo, &request->message);
}

static void copy_stat(struct store_stat *to, const struct Stat *from)
{
    *to = (struct store_stat){
        .czxid = (uint64_t)from->czxid,
        .mzxid = (uint64_t)from->mzxid,
        .owner = (uint64_t)from->ephemeralOwner,
        .version = from->version,
        .cversion = from->cversion,
        .child_count = (uint32_t)from->numChildren,
    };
}

void zoo_on_multi(int rc, const void *data)
{
    struct zoo_request *request = no_const(data);
    for (uint32_t i = 0; rc == ZOK && request->entry && i < request->op_count; i++)
        copy_stat(&request->entry->stats[i], &request->stats[i]);
    for (uint32_t i = 0; rc != ZOK && request->entry && i < request->op_count; i++) {
        if (request->results[i].err != ZOK) {
            request->entry->bad_op = i;
            break;
        }
    }
    answer(request, rc);
}

void zoo_on_data(int rc, const char *value, int len, const struct Stat *stat, const void *data)
{
    struct zoo_request *request = no_const(data);
    struct store_entry *entry = request->entry;
    if (rc == ZOK) {
        copy_stat(&entry->stat, stat);
        entry->len = len > 0 ? (uint32_t)len : 0;
        entry->data = mem_alloc(entry->len + 1U);
        if (entry->len > 0)
            memcpy(entry->data, value, entry->len);
    }
    answer(request, rc);
}

void zoo_on_stat(int rc, const struct Stat *stat, const void *data)
{
    struct zoo_request *request = no_const(data);
    if (rc == ZOK)
        copy_stat(&request->entry->stat, stat);
    answer(request, rc);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void zoo_on_names(int rc, const struct String_vector *names, const struct Stat *stat,
                  const void *data)
{
    struct zoo_request *request = no_const(data);
    struct store_entry *entry = request->entry;
    size_t room = 1;
    if (rc == ZOK) {
        copy_stat(&entry->stat, stat);
        entry->name_count = (uint32_t)names->count;
        entry->names = mem_alloc((entry->name_count + 1U) * sizeof(*entry->names));
        for (uint32_t i = 0; i < entry->name_count; i++)
            room += strlen(names->data[i]) + 1;
        char *at = entry->data = mem_alloc(room);
        for (uint32_t i = 0; i < entry->name_count; i++) {
            size_t size = strlen(names->data[i]) + 1;
            memcpy(at, names->data[i], size);
            entry->names[i] = at;
            at += size;
        }
        qsort(entry->names, entry->name_count, sizeof(*entry->names), compare_names);
    }
    answer(request, rc);
}

static void push_event(zhandle_t *zh, int type, int state, const char *path, struct zoo *zoo)
{
    struct zoo_message *message = mem_zalloc(sizeof(*message));
    message->type = type;
    message->state = state;
    message->session = (uint64_t)zoo_client_id(zh)->client_id;
    message->path = path ? mem_strdup(path) : NULL;
    push(zoo, message);
}

void zoo_on_session(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    (void)path;
    if (type == ZOO_SESSION_EVENT)
        push_event(zh, type, state, NULL, context);
}

void zoo_on_node_watch(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    if (type == ZOO_CREATED_EVENT || type == ZOO_DELETED_EVENT || type == ZOO_CHANGED_EVENT)
        push_event(zh, type, state, path, context);
}

/* A node that goes tells those who watch its children, too; they hear it as the other bodies tell
 * it: not at all. */
void zoo_on_children_watch(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    if (type == ZOO_CHILD_EVENT)
        push_event(zh, type, state, path, context);
}

/* ---- on the shard ---- */

void zoo_receive(struct zoo *zoo, struct zoo_message *first, struct zoo_message *last)
{
    if (zoo->inbox)
        zoo->inbox_end->next = first;
    else
        zoo->inbox = first;
    zoo->inbox_end = last;
}

void zoo_fetch(struct zoo *zoo)
{
    struct zoo_message *pushed = __atomic_exchange_n(&zoo->pushed, NULL, __ATOMIC_ACQUIRE);
    struct zoo_message *turned = NULL;
    struct zoo_message *newest = pushed;
    while (pushed) {
        struct zoo_message *next = pushed->next;
        pushed->next = turned;
        turned = pushed;
        pushed = next;
    }
    if (turned)
        zoo_receive(zoo, turned, newest);
}
