/* SPDX-License-Identifier: Apache-2.0 */
#include "core/broker_address.h"

#include "io/diag.h"

#include <string.h>

const char *broker_listener_of_brokers(const struct broker *broker)
{
    const char *name = broker->conf->broker.inter_broker_listener_name;
    const struct listener *found = name ? listener_find(&broker->listeners, name) : NULL;
    return found ? found->name : broker->listeners.listener[0].name;
}

void broker_address_to_io(const struct address *from, bool v6, struct io_address *to)
{
    memset(to, 0, sizeof(*to));
    to->port = from->port;
    to->v6 = v6;
    if (!v6) {
        to->ip[10] = 0xff;
        to->ip[11] = 0xff;
    }
    if (address_is_wildcard(from))
        return;
    if (v6)
        memcpy(to->ip, from->ip, 16);
    else
        memcpy(&to->ip[12], from->ip, 4);
}

bool broker_address(const struct broker_shard *bs, int32_t id, struct io_address *to)
{
    const struct broker_image *other = image_broker(bs->image, id);
    const struct broker_endpoint_image *endpoint =
        other ? image_endpoint(other, broker_listener_of_brokers(bs->broker)) : NULL;
    struct address address;
    const char *problem;
    if (!endpoint ||
        !address_parse(&address, endpoint->host, strlen(endpoint->host), endpoint->port, &problem))
        return false;
    if (address.kind == ADDRESS_NAME) {
        diag_warn(bs->sh, "broker.name_not_resolved",
                  "broker=%d host=%s next_step=advertise_an_address", id, endpoint->host);
        return false;
    }
    broker_address_to_io(&address, address.kind == ADDRESS_IPV6, to);
    return true;
}
