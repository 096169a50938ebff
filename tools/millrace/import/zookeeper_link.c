/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/zookeeper_link.h"

#include "io/mem.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define THREADED /* the library's calls that wait */
#include <zookeeper/zookeeper.h>

#define SESSION_MS 10000
#define CONNECT_MS 10000

static void on_line(const char *line)
{
    (void)line;
}

static bool is_connected(zhandle_t *zh)
{
    const struct timespec rest = {.tv_nsec = 10 * 1000 * 1000};
    for (uint32_t waited_ms = 0; waited_ms < CONNECT_MS; waited_ms += 10) {
        int state = zoo_state(zh);
        if (state == ZOO_CONNECTED_STATE || state == ZOO_READONLY_STATE)
            return true;
        (void)nanosleep(&rest, NULL);
    }
    return false;
}

bool zookeeper_link_open(struct zookeeper_link *link, const char *servers, char *sentence,
                         size_t sentence_size)
{
    *link = (struct zookeeper_link){0};
    char *hosts = mem_strdup(servers);
    char *slash = strchr(hosts, '/');
    if (slash) {
        size_t length = strlen(slash);
        while (length > 0 && slash[length - 1] == '/')
            length--;
        (void)snprintf(link->root, sizeof(link->root), "%.*s", (int)length, slash);
        *slash = '\0';
    }
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    link->zh = zookeeper_init2(hosts, NULL, SESSION_MS, NULL, NULL, 0, on_line);
    mem_free(hosts);
    if (link->zh && is_connected(link->zh))
        return true;
    (void)snprintf(sentence, sentence_size, "no answer within %d s; is it running?",
                   CONNECT_MS / 1000);
    return false;
}

void zookeeper_link_close(struct zookeeper_link *link)
{
    if (link->zh)
        (void)zookeeper_close(link->zh);
    link->zh = NULL;
}
