/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client of a broker can be tuned by: -X key=value, with the names that Kafka's clients use.
 * Only keys that do something stand in the table; `-X list` prints it.
 */
#pragma once

#include "core/record/deflate.h"
#include "tools/millrace/command.h"

#include <jansson.h>

struct settings {
    const char *bootstrap_servers;
    const char *client_id;
    const char *admin; /* the admin listener of a broker; see tools/millrace/looks.h */
    int64_t request_timeout_ms;
    int64_t retry_backoff_ms;
    /* producing */
    const char *acks;
    const char *compression;
    int64_t compression_level; /* CODEC_LEVEL_DEFAULT: the codec's own */
    int64_t linger_ms;
    int64_t batch_size;
    int64_t idempotence; /* 0, 1 */
    /* consuming */
    int64_t fetch_min_bytes;
    int64_t fetch_max_bytes;
    int64_t fetch_max_wait_ms;
    int64_t partition_fetch_bytes;
    int64_t read_committed; /* 0, 1 */
    /* in a group */
    int64_t session_timeout_ms;
    int64_t heartbeat_interval_ms;
    int64_t max_poll_interval_ms;
    int64_t auto_commit; /* 0, 1 */
    int64_t auto_commit_interval_ms;
    int64_t metadata_max_age_ms;
    const char *group_instance_id; /* "": none */
    json_t *profiles;              /* whose words some of these are; NULL: nobody's */
};

/* The defaults, and over them what the profile says that is named or in use: EXIT_OK, or said. In
 * any case to be ended. */
int settings_begin(struct settings *settings, const struct invocation *inv);
/* Reads the profile, the environment, -X and the flags of all remote commands, the later ones over
 * the earlier. EXIT_OK to go on; *listed: -X list was answered. In any case to be ended. */
int settings_read(struct settings *settings, struct invocation *inv, bool *listed);
/* What of that was typed, once more: over what a file has said meanwhile. */
int settings_given(struct settings *settings, struct invocation *inv, bool *listed);
void settings_fini(struct settings *settings);

/* Is this KEY=VALUE a setting? EXIT_OK, or said. */
int settings_check(const struct invocation *inv, const char *text);

/* Sets one by its key, which there must be. NULL, or what is wanted instead, in text. */
#define SETTINGS_TEXT_SIZE 96U
const char *settings_set(struct settings *settings, const char *key, const char *value,
                         char text[SETTINGS_TEXT_SIZE]) warn_unused;
