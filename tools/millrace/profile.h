/* SPDX-License-Identifier: Apache-2.0
 *
 * Named sets of settings (tools/millrace/settings.h), so that where a cluster is need not be typed
 * again. They are lines NAME.KEY=VALUE of a file of the user's, and use=NAME says which one holds
 * where none is named: $MILLRACE_PROFILES, else millrace/profiles.properties in $XDG_CONFIG_HOME or
 * ~/.config.
 */
#pragma once

#include "tools/millrace/command.h"

#include <jansson.h>

/* {"use": NAME or null, "profiles": {NAME: {KEY: VALUE}}}, all text. No file is no profiles; NULL,
 * and said, when it cannot be read. */
json_t *profiles_read(const struct invocation *inv);
/* The file is there whole, or as it was. False, and said. */
bool profiles_write(const struct invocation *inv, const json_t *profiles) warn_unused;

/* Borrowed from `profiles`; NULL, and said, when there is none of that name. */
json_t *profile_find(const struct invocation *inv, const json_t *profiles, const char *name);
bool profile_name_good(const char *name);
/* That of `use`, or NULL. */
const char *profile_in_use(const json_t *profiles);
