/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace cluster features`: up to which level each broker takes part, and which level all have
 * agreed to.
 */
#include "net/err.h"
#include "tools/millrace/cluster.h"

#define LOOK_EVERY_NS 100000000U
#define LOOKS_MAX     50

static const struct column columns[] = {
    {.key = "broker", .title = "BROKER"},
    {.key = "feature", .title = "FEATURE"},
    {.key = "supported", .title = "UP-TO"},
    {.key = "finalized", .title = "IN-USE"},
};

/* What one broker tells, and the least of what all do. */
struct features {
    struct listing *listing;
    struct str name;
    int16_t level;  /* which all know; 0: nobody was asked */
    int16_t in_use; /* at least, by what each has heard */
};

static int16_t finalized_of(const struct api_versions_response *told, struct str name)
{
    for (int32_t i = 0; i < told->finalized_features_count; i++)
        if (str_equal(told->finalized_features[i].name, name))
            return told->finalized_features[i].max_version_level;
    return 0;
}

static void take(struct features *features, int32_t broker,
                 const struct api_versions_response *told)
{
    for (int32_t i = 0; i < told->supported_features_count; i++) {
        const struct api_versions_response_supported_feature *one = &told->supported_features[i];
        int16_t finalized = finalized_of(told, one->name);
        if (features->listing)
            listing_row(features->listing, json_pack("{s:i, s:o, s:i, s:i}", "broker", broker,
                                                     "feature", json_of(one->name), "supported",
                                                     one->max_version, "finalized", finalized));
        if (features->level == 0 || one->max_version < features->level)
            features->level = one->max_version;
        features->in_use = features->in_use < finalized ? features->in_use : finalized;
        features->name = one->name;
    }
}

static int ask_one(struct session *s, struct broker_link *link, struct features *features)
{
    struct api_versions_request request;
    struct api_versions_response told;
    init_api_versions_request(&request);
    request.client_software_name = str_of("millrace");
    request.client_software_version = str_of(MR_VERSION);
    int code = session_call(s, link, KEY_API_VERSIONS, CLIENT_NEWEST, &request, &told, &s->arena);
    if (code == EXIT_OK)
        take(features, link->node_id, &told);
    return code;
}

static int ask_all(struct session *s, struct features *features)
{
    static const char *const none[1];
    struct metadata_response metadata;
    features->level = 0;
    features->in_use = INT16_MAX;
    int code = cluster_metadata(s, none, 0, false, &metadata);
    for (int32_t i = 0; code == EXIT_OK && i < metadata.brokers_count; i++) {
        struct broker_link *link = cluster_broker(s, &metadata, metadata.brokers[i].node_id);
        code = link ? ask_one(s, link, features) : EXIT_UNREACHABLE;
    }
    return code;
}

/* Others than the controller hear of it a moment later. */
static int upgrade(struct session *s)
{
    struct features features = {0};
    int code = ask_all(s, &features);
    if (code != EXIT_OK || features.level == 0)
        return code;
    struct update_features_request request;
    struct update_features_request_feature_update update;
    struct update_features_response response;
    init_update_features_request(&request);
    init_update_features_request_feature_update(&update);
    update.feature = features.name;
    update.max_version_level = features.level;
    request.feature_updates = &update;
    request.feature_updates_count = 1;
    request.validate_only = option_on(s->inv, "dry-run");
    code = cluster_ask_controller(s, KEY_UPDATE_FEATURES, &request, &response, &s->arena);
    if (code == EXIT_OK && response.error_code != ERR_NONE)
        code = broker_error(s, "features", response.error_code, response.error_message);
    if (code != EXIT_OK || request.validate_only)
        return code;
    const int16_t wanted = features.level;
    for (int looks = 0; code == EXIT_OK && features.in_use < wanted && looks < LOOKS_MAX; looks++) {
        session_pause(s, LOOK_EVERY_NS);
        code = ask_all(s, &features);
    }
    return code;
}

static int list(struct session *s)
{
    if (option_on(s->inv, "upgrade")) {
        int code = upgrade(s);
        if (code != EXIT_OK)
            return code;
    }
    struct features features = {.listing = listing_open(s->inv, columns, array_count(columns))};
    int code = ask_all(s, &features);
    listing_close(features.listing);
    return code;
}

int cmd_cluster_features(struct invocation *inv)
{
    return session_run(inv, list);
}
