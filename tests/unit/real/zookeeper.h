/* SPDX-License-Identifier: Apache-2.0
 *
 * Debian's ZooKeeper server (libzookeeper-java) on a free port of this machine, for tests: started
 * in a directory of its own, killed, paused, started again on what it had written.
 */
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ZOOKEEPER_JAR "/usr/share/java/zookeeper.jar"

struct zookeeper {
    char directory[64];
    uint16_t port;
    pid_t pid;
};

static void zookeeper_pause_ms(unsigned ms)
{
    (void)nanosleep(
        &(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L}, NULL);
}

static bool zookeeper_installed(void)
{
    return access(ZOOKEEPER_JAR, R_OK) == 0 && system("java -version >/dev/null 2>&1") == 0;
}

static int zookeeper_connect(uint16_t port)
{
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool zookeeper_serves(uint16_t port)
{
    char answer[4096] = "";
    int fd = zookeeper_connect(port);
    if (fd < 0)
        return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 1},
                     sizeof(struct timeval));
    if (write(fd, "srvr", 4) == 4) {
        size_t have = 0;
        ssize_t got;
        while ((got = read(fd, answer + have, sizeof(answer) - 1 - have)) > 0)
            have += (size_t)got;
    }
    close(fd);
    return strstr(answer, "Mode:") != NULL;
}

static uint16_t zookeeper_free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) != 0)
        abort();
    close(fd);
    return ntohs(at.sin_port);
}

static void zookeeper_exec(const char *conf)
{
    int null = open("/dev/null", O_RDWR);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(null, 1);
    (void)dup2(null, 2);
    execlp("java", "java", "-XX:+UseSerialGC", "-Xms64m", "-Xmx256m", "-XX:TieredStopAtLevel=1",
           "-Djava.net.preferIPv4Stack=true", "-Dzookeeper.admin.enableServer=false",
           "-Dzookeeper.4lw.commands.whitelist=*", "-cp", ZOOKEEPER_JAR,
           "org.apache.zookeeper.server.quorum.QuorumPeerMain", conf, (char *)NULL);
    _exit(127);
}

/* Starts it on what lies in its directory; false when it does not serve after 30 s. */
static bool zookeeper_run(struct zookeeper *zk)
{
    char conf[96];
    (void)snprintf(conf, sizeof(conf), "%s/zk.cfg", zk->directory);
    zk->pid = fork();
    if (zk->pid == 0)
        zookeeper_exec(conf);
    for (unsigned i = 0; i < 600; i++) {
        if (zookeeper_serves(zk->port))
            return true;
        zookeeper_pause_ms(50);
    }
    return false;
}

static bool zookeeper_start(struct zookeeper *zk)
{
    char conf[96];
    (void)snprintf(zk->directory, sizeof(zk->directory), "/tmp/millrace-zookeeper.XXXXXX");
    if (!mkdtemp(zk->directory))
        return false;
    zk->port = zookeeper_free_port();
    (void)snprintf(conf, sizeof(conf), "%s/zk.cfg", zk->directory);
    FILE *file = fopen(conf, "w");
    if (!file)
        return false;
    fprintf(file,
            "tickTime=200\ndataDir=%s/data\nclientPort=%u\nclientPortAddress=127.0.0.1\n"
            "maxClientCnxns=0\n",
            zk->directory, zk->port);
    (void)fclose(file);
    return zookeeper_run(zk);
}

static void zookeeper_kill(struct zookeeper *zk)
{
    kill(zk->pid, SIGKILL);
    waitpid(zk->pid, NULL, 0);
    zk->pid = 0;
}

static void zookeeper_stop(struct zookeeper *zk)
{
    char command[128];
    if (zk->pid > 0)
        zookeeper_kill(zk);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", zk->directory);
    if (system(command) != 0)
        fprintf(stderr, "cannot remove %s\n", zk->directory);
}
