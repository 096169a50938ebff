/* SPDX-License-Identifier: Apache-2.0 */
#include "net/header.h"

static bool flexible(int16_t key, int16_t version)
{
    const struct kafka_api *api = kafka_api_find(key);
    return api && version >= api->flexible_first;
}

int16_t header_request_version(int16_t key, int16_t version)
{
    if (key == KEY_CONTROLLED_SHUTDOWN && version == 0)
        return 0;
    return flexible(key, version) ? 2 : 1;
}

int16_t header_response_version(int16_t key, int16_t version)
{
    return key != KEY_API_VERSIONS && flexible(key, version) ? 1 : 0;
}

bool header_read_request(struct rd *r, struct arena *arena, struct request_header *header)
{
    struct rd ahead = *r;
    int16_t key = rd_i16(&ahead);
    int16_t version = rd_i16(&ahead);
    return read_request_header(r, arena, header_request_version(key, version), header);
}

void header_begin_response(struct wr *w, int16_t key, int16_t version, int32_t correlation_id)
{
    struct response_header header = {.correlation_id = correlation_id};
    wr_frame_begin(w);
    write_response_header(w, header_response_version(key, version), &header);
}

void header_begin_request(struct wr *w, int16_t key, int16_t version, int32_t correlation_id,
                          struct str client_id)
{
    struct request_header header = {.request_api_key = key,
                                    .request_api_version = version,
                                    .correlation_id = correlation_id,
                                    .client_id = client_id};
    wr_frame_begin(w);
    write_request_header(w, header_request_version(key, version), &header);
}

bool header_read_response(struct rd *r, struct arena *arena, int16_t key, int16_t version,
                          int32_t *correlation_id)
{
    struct response_header header;
    bool good = read_response_header(r, arena, header_response_version(key, version), &header);
    *correlation_id = header.correlation_id;
    return good;
}
