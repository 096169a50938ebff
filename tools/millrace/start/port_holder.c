/* SPDX-License-Identifier: Apache-2.0
 *
 * /proc/net/tcp says which socket listens, the links in /proc/PID/fd whose it is.
 */
#include "tools/millrace/start/port_holder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOCKETS_MAX  16U
#define STATE_LISTEN 0x0aU

struct sockets {
    unsigned long inode[SOCKETS_MAX];
    uint32_t count;
};

/* Lines look like `0: 0100007F:2384 00000000:0000 0A ... uid timeout inode ...`. */
static void listening(const char *table, uint16_t port, struct sockets *found)
{
    FILE *file = fopen(table, "re");
    if (!file)
        return;
    char line[512];
    while (found->count < SOCKETS_MAX && fgets(line, sizeof(line), file)) {
        unsigned local_port;
        unsigned state;
        unsigned long inode;
        int fields = sscanf(line, " %*[^:]: %*[^:]:%x %*s %x %*s %*s %*s %*s %*s %lu", // NOLINT
                            &local_port, &state, &inode);
        if (fields == 3 && state == STATE_LISTEN && local_port == port)
            found->inode[found->count++] = inode;
    }
    (void)fclose(file);
}

static bool holds(const char *process, const struct sockets *sockets)
{
    char path[300];
    snprintf(path, sizeof(path), "/proc/%s/fd", process);
    DIR *dir = opendir(path);
    if (!dir)
        return false;
    bool found = false;
    const struct dirent *entry;
    while (!found && (entry = readdir(dir))) {
        char link[64] = "";
        if (readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1) <= 0)
            continue;
        if (strncmp(link, "socket:[", 8) != 0)
            continue;
        unsigned long inode = strtoul(link + 8, NULL, 10);
        for (uint32_t i = 0; i < sockets->count; i++)
            found |= sockets->inode[i] == inode;
    }
    (void)closedir(dir);
    return found;
}

static void name_of(const char *process, char name[32])
{
    char path[300];
    snprintf(path, sizeof(path), "/proc/%s/comm", process);
    name[0] = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    if (fgets(name, 32, file))
        name[strcspn(name, "\n")] = 0;
    (void)fclose(file);
}

pid_t port_holder_find(uint16_t port, char name[32])
{
    struct sockets sockets = {0};
    listening("/proc/net/tcp", port, &sockets);
    listening("/proc/net/tcp6", port, &sockets);
    DIR *dir = sockets.count > 0 ? opendir("/proc") : NULL;
    if (!dir)
        return 0;
    pid_t holder = 0;
    const struct dirent *entry;
    while (holder == 0 && (entry = readdir(dir))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || pid == getpid() || !holds(entry->d_name, &sockets))
            continue;
        holder = pid;
        name_of(entry->d_name, name);
    }
    (void)closedir(dir);
    return holder;
}
