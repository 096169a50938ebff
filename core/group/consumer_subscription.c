/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/consumer_subscription.h"

#include <stdlib.h>

/* ---- topics by name ---- */

static struct consumer_topic *topic_find(const struct consumer_subscriptions *all, struct str name)
{
    struct consumer_topic *topic = NULL;
    if (name.len >= 0)
        HASH_FIND(hh, all->topics, name.data, (size_t)name.len, topic);
    return topic;
}

static void topic_get(struct consumer_subscriptions *all, struct str name)
{
    struct consumer_topic *topic = topic_find(all, name);
    if (!topic) {
        topic = mem_zalloc(sizeof(*topic));
        topic->name = group_text_copy(name);
        HASH_ADD_KEYPTR(hh, all->topics, topic->name.data, (size_t)topic->name.len, topic);
        all->bytes += sizeof(*topic) + (size_t)name.len;
        all->changes++;
    }
    topic->refs++;
}

static void topic_put(struct consumer_subscriptions *all, struct str name)
{
    struct consumer_topic *topic = topic_find(all, name);
    must(topic && topic->refs > 0);
    if (--topic->refs > 0)
        return;
    HASH_DELETE(hh, all->topics, topic);
    all->changes++;
    all->bytes -= sizeof(*topic) + (size_t)topic->name.len;
    mem_free(no_const(topic->name.data));
    mem_free(topic);
}

bool consumer_subscribes(const struct consumer_subscriptions *all, struct str topic)
{
    return topic_find(all, topic) != NULL;
}

/* ---- lists of names ---- */

static int compare_names(const void *a, const void *b)
{
    const struct str *one = a;
    const struct str *two = b;
    const size_t len = (size_t)min_i64(one->len, two->len);
    const int order = len > 0 ? memcmp(one->data, two->data, len) : 0;
    return order != 0 ? order : (one->len > two->len) - (one->len < two->len);
}

size_t consumer_names_size(const struct str *names, uint32_t count)
{
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        size += sizeof(names[i]) + (size_t)names[i].len;
    return size;
}

/* Sorted, each once, in one piece of memory. */
static struct str *names_copy(const struct str *names, uint32_t *count)
{
    struct str *copy = mem_alloc(consumer_names_size(names, *count) + 1);
    char *text = (char *)(copy + *count);
    for (uint32_t i = 0; i < *count; i++) {
        copy[i] = (struct str){text, names[i].len};
        if (names[i].len > 0)
            memcpy(text, names[i].data, (size_t)names[i].len);
        text += names[i].len;
    }
    if (*count > 1)
        qsort(copy, *count, sizeof(*copy), compare_names);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *count; i++)
        if (kept == 0 || !str_equal(copy[kept - 1], copy[i]))
            copy[kept++] = copy[i];
    *count = kept;
    return copy;
}

/* ---- regular expressions ---- */

struct consumer_regex *consumer_regex_find(const struct consumer_subscriptions *all,
                                           struct str text)
{
    struct consumer_regex *regex = NULL;
    if (text.len > 0)
        HASH_FIND(hh, all->regexes, text.data, (size_t)text.len, regex);
    return regex;
}

static struct consumer_regex *regex_get(struct consumer_subscriptions *all, struct str text)
{
    struct consumer_regex *regex = consumer_regex_find(all, text);
    if (!regex) {
        regex = mem_zalloc(sizeof(*regex));
        regex->text = group_text_copy(text);
        HASH_ADD_KEYPTR(hh, all->regexes, regex->text.data, (size_t)regex->text.len, regex);
        all->regex_count++;
        all->bytes += sizeof(*regex) + (size_t)text.len;
    }
    regex->refs++;
    return regex;
}

static void regex_forget_topics(struct consumer_subscriptions *all, struct consumer_regex *regex)
{
    for (uint32_t i = 0; i < regex->topic_count; i++)
        topic_put(all, regex->topics[i]);
    all->bytes -= consumer_names_size(regex->topics, regex->topic_count);
    mem_free(regex->topics);
    regex->topics = NULL;
    regex->topic_count = 0;
}

static void regex_put(struct consumer_subscriptions *all, struct consumer_regex *regex)
{
    must(regex->refs > 0);
    if (--regex->refs > 0)
        return;
    regex_forget_topics(all, regex);
    HASH_DELETE(hh, all->regexes, regex);
    all->regex_count--;
    all->bytes -= sizeof(*regex) + (size_t)regex->text.len;
    mem_free(no_const(regex->text.data));
    mem_free(regex);
}

static bool same_names(const struct str *a, uint32_t a_count, const struct str *b, uint32_t b_count)
{
    for (uint32_t i = 0; a_count == b_count && i < a_count; i++)
        if (!str_equal(a[i], b[i]))
            return false;
    return a_count == b_count;
}

bool consumer_subscription_names(const struct consumer_subscription *sub, const struct str *names,
                                 uint32_t count)
{
    struct str *copy = names_copy(names, &count);
    const bool same = same_names(copy, count, sub->names, sub->name_count);
    mem_free(copy);
    return same;
}

void consumer_subscription_reserve(struct consumer_subscriptions *all,
                                   struct consumer_subscription *sub, uint32_t room)
{
    sub->ids = mem_realloc(sub->ids, (room + 1UL) * sizeof(*sub->ids));
    all->bytes += room * sizeof(*sub->ids);
    all->bytes -= sub->id_room * sizeof(*sub->ids);
    sub->id_room = room;
}

static void forget_ids(struct consumer_subscriptions *all, struct consumer_subscription *sub)
{
    mem_free(sub->ids);
    sub->ids = NULL;
    all->bytes -= sub->id_room * sizeof(*sub->ids);
    sub->id_room = 0;
    sub->id_count = 0;
    sub->version = 0;
}

bool consumer_regex_resolve(struct consumer_subscriptions *all, struct consumer_regex *regex,
                            const struct str *topics, uint32_t count)
{
    struct str *copy = names_copy(topics, &count);
    const bool was_resolved = regex->resolved;
    regex->resolved = true;
    if (was_resolved && same_names(copy, count, regex->topics, regex->topic_count)) {
        mem_free(copy);
        return false;
    }
    for (uint32_t i = 0; i < count; i++)
        topic_get(all, copy[i]);
    regex_forget_topics(all, regex);
    regex->topics = copy;
    regex->topic_count = count;
    all->bytes += consumer_names_size(copy, count);
    struct consumer_subscription *sub = all->map;
    for (; sub; sub = sub->hh.next)
        if (sub->regex == regex)
            forget_ids(all, sub);
    return true;
}

/* ---- subscriptions ---- */

/* Lengths stand before the texts, so two keys are equal only when both parts are. */
static struct str key_of(const struct str *names, uint32_t count, struct str regex)
{
    const size_t head = sizeof(int32_t);
    const int32_t regex_len = (int32_t)max_i64(regex.len, 0);
    size_t size = head + (size_t)regex_len;
    for (uint32_t i = 0; i < count; i++)
        size += head + (size_t)names[i].len;
    char *key = mem_alloc(size);
    char *at = key;
    memcpy(at, &regex_len, head);
    if (regex_len > 0)
        memcpy(at + head, regex.data, (size_t)regex_len);
    at += head + (size_t)regex_len;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(at, &names[i].len, head);
        if (names[i].len > 0)
            memcpy(at + head, names[i].data, (size_t)names[i].len);
        at += head + (size_t)names[i].len;
    }
    return (struct str){key, (int32_t)size};
}

static size_t sub_size(const struct consumer_subscription *sub)
{
    return sizeof(*sub) + (size_t)sub->key.len + consumer_names_size(sub->names, sub->name_count);
}

struct consumer_subscription *consumer_subscribe(struct consumer_subscriptions *all,
                                                 const struct str *names, uint32_t count,
                                                 struct str regex)
{
    struct consumer_subscription *sub;
    struct str *copy = names_copy(names, &count);
    const struct str key = key_of(copy, count, regex);
    HASH_FIND(hh, all->map, key.data, (size_t)key.len, sub);
    if (sub) {
        mem_free(no_const(key.data));
        mem_free(copy);
        sub->refs++;
        return sub;
    }
    sub = mem_zalloc(sizeof(*sub));
    sub->names = copy;
    sub->name_count = count;
    sub->key = key;
    sub->refs = 1;
    sub->regex = regex.len > 0 ? regex_get(all, regex) : NULL;
    HASH_ADD_KEYPTR(hh, all->map, sub->key.data, (size_t)sub->key.len, sub);
    all->count++;
    all->bytes += sub_size(sub);
    for (uint32_t i = 0; i < count; i++)
        topic_get(all, copy[i]);
    return sub;
}

void consumer_unsubscribe(struct consumer_subscriptions *all, struct consumer_subscription *sub)
{
    must(sub->refs > 0);
    if (--sub->refs > 0)
        return;
    for (uint32_t i = 0; i < sub->name_count; i++)
        topic_put(all, sub->names[i]);
    if (sub->regex)
        regex_put(all, sub->regex);
    HASH_DELETE(hh, all->map, sub);
    all->count--;
    all->bytes -= sub_size(sub);
    forget_ids(all, sub);
    mem_free(sub->names);
    mem_free(no_const(sub->key.data));
    mem_free(sub);
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct uuid));
}

bool consumer_subscription_has(const struct consumer_subscription *sub, const struct uuid *topic)
{
    return sub->id_count > 0 &&
           bsearch(topic, sub->ids, sub->id_count, sizeof(*topic), compare_ids) != NULL;
}
