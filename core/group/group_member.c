/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/group_member.h"

struct str group_text_copy(struct str text)
{
    if (text.len < 0)
        return str_null();
    char *copy = mem_alloc((size_t)text.len + 1);
    if (text.len > 0)
        memcpy(copy, text.data, (size_t)text.len);
    copy[text.len] = '\0';
    return (struct str){.data = copy, .len = text.len};
}

static struct bytes bytes_copy(struct bytes bytes)
{
    size_t len = (size_t)max_i64(bytes.len, 0);
    uint8_t *copy = len > 0 ? mem_alloc(len) : NULL;
    if (len > 0)
        memcpy(copy, bytes.data, len);
    return (struct bytes){.data = copy, .len = (int32_t)len};
}

static size_t text_size(struct str text)
{
    return (size_t)max_i64(text.len, -1) + 1;
}

struct group_member *group_member_new(struct str id, struct str instance_id, struct str client_id,
                                      struct str client_host)
{
    struct group_member *member = mem_zalloc(sizeof(*member));
    member->id = group_text_copy(id);
    member->instance_id = group_text_copy(instance_id);
    member->client_id = group_text_copy(client_id);
    member->client_host = group_text_copy(client_host);
    member->bytes = sizeof(*member) + text_size(id) + text_size(instance_id) +
                    text_size(client_id) + text_size(client_host);
    return member;
}

void group_member_free(struct group_member *member)
{
    mem_free(no_const(member->id.data));
    mem_free(no_const(member->instance_id.data));
    mem_free(no_const(member->client_id.data));
    mem_free(no_const(member->client_host.data));
    mem_free(member->protocols);
    mem_free(no_const(member->assignment.data));
    mem_free(no_const(member->next_assignment.data));
    mem_free(member);
}

void group_member_rename(struct group_member *member, struct str id)
{
    struct str old = member->id;
    member->id = group_text_copy(id);
    member->bytes += text_size(id);
    member->bytes -= text_size(old);
    mem_free(no_const(old.data));
}

size_t group_protocols_size(const struct group_protocol *protocols, uint32_t count)
{
    size_t size = count * sizeof(*protocols);
    for (uint32_t i = 0; i < count; i++)
        size += (size_t)max_i64(protocols[i].name.len, 0) +
                (size_t)max_i64(protocols[i].metadata.len, 0);
    return size;
}

struct group_protocol *group_protocols_copy(const struct group_protocol *protocols, uint32_t count)
{
    struct group_protocol *copy = mem_alloc(group_protocols_size(protocols, count) + 1);
    uint8_t *at = (uint8_t *)(copy + count);
    for (uint32_t i = 0; i < count; i++) {
        int32_t name_len = (int32_t)max_i64(protocols[i].name.len, 0);
        int32_t metadata_len = (int32_t)max_i64(protocols[i].metadata.len, 0);
        copy[i].name = (struct str){.data = (const char *)at, .len = name_len};
        if (name_len > 0)
            memcpy(at, protocols[i].name.data, (size_t)name_len);
        at += name_len;
        copy[i].metadata = (struct bytes){.data = at, .len = metadata_len};
        if (metadata_len > 0)
            memcpy(at, protocols[i].metadata.data, (size_t)metadata_len);
        at += metadata_len;
    }
    return copy;
}

void group_member_set_protocols(struct group_member *member, const struct group_protocol *protocols,
                                uint32_t count)
{
    struct group_protocol *copy = group_protocols_copy(protocols, count);
    member->bytes += group_protocols_size(protocols, count);
    member->bytes -= group_protocols_size(member->protocols, member->protocol_count);
    mem_free(member->protocols);
    member->protocols = copy;
    member->protocol_count = count;
}

static void set_bytes(struct group_member *member, struct bytes *to, struct bytes value)
{
    member->bytes -= (size_t)max_i64(to->len, 0);
    mem_free(no_const(to->data));
    *to = value;
    member->bytes += (size_t)max_i64(to->len, 0);
}

void group_member_set_assignment(struct group_member *member, struct bytes assignment)
{
    set_bytes(member, &member->assignment, bytes_copy(assignment));
}

void group_member_set_next_assignment(struct group_member *member, struct bytes assignment)
{
    set_bytes(member, &member->next_assignment, bytes_copy(assignment));
}

void group_member_take_next_assignment(struct group_member *member)
{
    struct bytes next = member->next_assignment;
    member->bytes -= (size_t)max_i64(next.len, 0);
    member->next_assignment = (struct bytes){0};
    set_bytes(member, &member->assignment, next);
}

static bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len <= 0 || memcmp(a.data, b.data, (size_t)a.len) == 0);
}

bool group_protocols_equal(const struct group_protocol *a, uint32_t a_count,
                           const struct group_protocol *b, uint32_t b_count)
{
    if (a_count != b_count)
        return false;
    for (uint32_t i = 0; i < a_count; i++)
        if (!str_equal(a[i].name, b[i].name) || !bytes_equal(a[i].metadata, b[i].metadata))
            return false;
    return true;
}

bool group_member_matches(const struct group_member *member, const struct group_protocol *protocols,
                          uint32_t count)
{
    return group_protocols_equal(member->protocols, member->protocol_count, protocols, count);
}

const struct group_protocol *group_member_protocol(const struct group_member *member,
                                                   struct str name)
{
    for (uint32_t i = 0; i < member->protocol_count; i++)
        if (str_equal(member->protocols[i].name, name))
            return &member->protocols[i];
    return NULL;
}

struct bytes group_member_metadata(const struct group_member *member, struct str protocol)
{
    const struct group_protocol *found = group_member_protocol(member, protocol);
    return found ? found->metadata : (struct bytes){0};
}
