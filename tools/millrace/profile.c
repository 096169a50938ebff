/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/profile.h"

#include "core/conf/properties.h"
#include "io/mem.h"
#include "io/nearest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE    4096U
#define NAME_LEN_MAX 64U

bool profile_name_good(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= NAME_LEN_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == len;
}

const char *profile_in_use(const json_t *profiles)
{
    return json_string_value(json_object_get(profiles, "use"));
}

/* False: there is no place for it. */
static bool path_of(char path[PATH_SIZE])
{
    const char *file = getenv("MILLRACE_PROFILES");
    const char *config = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    int len = -1;
    if (file && file[0])
        len = snprintf(path, PATH_SIZE, "%s", file);
    else if (config && config[0])
        len = snprintf(path, PATH_SIZE, "%s/millrace/profiles.properties", config);
    else if (home && home[0])
        len = snprintf(path, PATH_SIZE, "%s/.config/millrace/profiles.properties", home);
    return len >= 0 && len < (int)PATH_SIZE;
}

static bool refuse_file(const struct invocation *inv, const char *verb, const char *path)
{
    complain(inv, "cannot %s %s: %s; mend that, or name another file in MILLRACE_PROFILES", verb,
             path, strerror(errno));
    return false;
}

/* ---- reading ---- */

static json_t *no_profiles(void)
{
    return json_pack("{s:n, s:{}}", "use", "profiles");
}

static bool take_entry(json_t *profiles, const struct property *entry)
{
    char name[NAME_LEN_MAX + 1];
    size_t len = strcspn(entry->key, ".");
    if (entry->key[len] == 0)
        return strcmp(entry->key, "use") == 0 &&
               json_object_set_new(profiles, "use", json_string(entry->value)) == 0;
    if (len > NAME_LEN_MAX)
        return false;
    (void)snprintf(name, sizeof(name), "%.*s", (int)len, entry->key);
    json_t *all = json_object_get(profiles, "profiles");
    if (!json_object_get(all, name))
        (void)json_object_set_new(all, name, json_object());
    return profile_name_good(name) &&
           json_object_set_new(json_object_get(all, name), entry->key + len + 1,
                               json_string(entry->value)) == 0;
}

static json_t *take_text(const struct invocation *inv, const char *path, const char *text,
                         size_t len)
{
    struct properties_error error;
    struct properties file;
    if (!properties_read(&file, text, len, &error)) {
        complain(inv, "%s:%u: %s", path, error.line, error.text);
        return NULL;
    }
    json_t *profiles = no_profiles();
    for (uint32_t i = 0; i < file.count; i++) {
        if (take_entry(profiles, &file.entry[i]))
            continue;
        complain(inv, "%s:%u: %s is no NAME.KEY, nor use; mend the line or remove it", path,
                 file.entry[i].line, file.entry[i].key);
        json_decref(profiles);
        profiles = NULL;
        break;
    }
    properties_fini(&file);
    return profiles;
}

json_t *profiles_read(const struct invocation *inv)
{
    char path[PATH_SIZE];
    if (!path_of(path))
        return no_profiles();
    FILE *in = fopen(path, "re");
    if (!in && (errno == ENOENT || errno == ENOTDIR))
        return no_profiles();
    char *text = mem_alloc(PROPERTIES_SIZE_BYTES_MAX + 1);
    size_t len = in ? fread(text, 1, PROPERTIES_SIZE_BYTES_MAX + 1, in) : 0;
    json_t *profiles = NULL;
    if (!in || ferror(in))
        (void)refuse_file(inv, "read", path);
    else
        profiles = take_text(inv, path, text, len);
    if (in)
        (void)fclose(in);
    mem_free(text);
    return profiles;
}

/* ---- writing ---- */

static void make_folders(char *path)
{
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = 0;
        (void)mkdir(path, 0700); /* what is wrong with it is told by who writes the file */
        *at = '/';
    }
}

/* As java.util.Properties reads it back. */
static void print_value(FILE *to, const char *value)
{
    if (value[0] && strchr(" \t\f", value[0]))
        fputc('\\', to);
    for (; *value; value++) {
        if (*value == '\n' || *value == '\r')
            fputs(*value == '\n' ? "\\n" : "\\r", to);
        else
            fprintf(to, "%s%c", *value == '\\' ? "\\" : "", *value);
    }
    fputc('\n', to);
}

static void print_profiles(FILE *to, const json_t *profiles)
{
    const char *name;
    const char *key;
    json_t *settings;
    json_t *value;
    fputs("# Settings of the millrace command line: NAME.KEY=VALUE\n", to);
    if (profile_in_use(profiles))
        fprintf(to, "use=%s\n", profile_in_use(profiles));
    json_object_foreach(json_object_get(profiles, "profiles"), name, settings)
    {
        json_object_foreach(settings, key, value)
        {
            fprintf(to, "%s.%s=", name, key);
            print_value(to, json_string_value(value));
        }
    }
}

bool profiles_write(const struct invocation *inv, const json_t *profiles)
{
    char path[PATH_SIZE];
    char aside[PATH_SIZE + 8];
    if (!path_of(path)) {
        complain(inv, "there is no place for profiles, as HOME is not set; name a file in "
                      "MILLRACE_PROFILES");
        return false;
    }
    make_folders(path);
    (void)snprintf(aside, sizeof(aside), "%s.new", path);
    int file = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *to = file < 0 ? NULL : fdopen(file, "w");
    if (!to)
        return refuse_file(inv, "write", aside);
    print_profiles(to, profiles);
    bool good = fflush(to) == 0 && fsync(file) == 0;
    good = fclose(to) == 0 && good;
    if (!good)
        return refuse_file(inv, "write", aside);
    return rename(aside, path) == 0 || refuse_file(inv, "write", path);
}

/* ---- finding ---- */

json_t *profile_find(const struct invocation *inv, const json_t *profiles, const char *name)
{
    json_t *all = json_object_get(profiles, "profiles");
    json_t *found = json_object_get(all, name);
    if (found)
        return found;
    struct nearest nearest;
    const char *other;
    json_t *settings;
    nearest_begin(&nearest, name);
    json_object_foreach(all, other, settings)(void) nearest_offer(&nearest, other);
    complain(inv, "profile '%s' not found%s", name, did_you_mean(nearest.found));
    fputs("next:  millrace profile list\n", stderr);
    return NULL;
}
