/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands that run a broker.
 */
#include "tools/millrace/commands/commands.h"

static const struct command_option start_options[] = {
    {0, "data-dir", "DIR", NULL,
     "where the data lives (log.dirs; several: DIR,DIR; default: ./millrace-data)", NULL},
    {0, "listen", "HOST:PORT", NULL,
     "where clients connect (listeners; default: 127.0.0.1:9092 and [::1]:9092); port 0 takes a "
     "free one; may be repeated, as NAME://HOST:PORT with different names",
     NULL},
    {0, "advertise", "HOST:PORT", NULL, "what clients are told (advertised.listeners)", NULL},
    {0, "cores", "N|LIST", NULL,
     "how many cores, or which (0-3,6); default: all this process may use", NULL},
    {0, "spin", NULL, NULL,
     "each core looks for work for a millisecond before it sleeps (millrace.spin.us): answers "
     "sooner, at the expense of whoever shares its cores",
     NULL},
    {0, "memory", "SIZE", NULL,
     "the memory budget, e.g. 512M; default: a quarter of what this process may use", NULL},
    {0, "admin-listen", "HOST:PORT", NULL,
     "where health, metrics and live counters are told over HTTP (default: 127.0.0.1:9644, unless "
     "it is taken); off: nowhere",
     NULL},
    {0, "node-id", "N", NULL, "this node's number in its cluster (node.id)", NULL},
    {0, "zookeeper", "HOST:PORT,.../PATH", NULL,
     "be a broker of the cluster whose metadata is there (zookeeper.connect)", NULL},
    {0, "replaced-directory", "ID", NULL,
     "the data directory with this id (as the refused start names it) is lost for ever: begin "
     "empty, and copy from the other brokers of the cluster (millrace.replaced.directory)",
     NULL},
    {0, "override", "KEY=VALUE", NULL, "sets any key of server.properties; may be repeated", NULL},
};

static const struct command start_rows[] = {
    {
        .name = "start",
        .summary = "run a broker in the foreground",
        .operands = "[server.properties]",
        .about = "Runs a broker in the foreground. Without arguments it is safe and useful: every "
                 "acknowledged record is on stable storage, data lives in ./millrace-data, clients "
                 "connect to 127.0.0.1:9092. Kafka's own server.properties is read; what each of "
                 "its keys does here is reported. TERM, INT and HUP end it cleanly.",
        .examples = "millrace start\n"
                    "millrace start --data-dir /var/lib/millrace --listen 0.0.0.0:9092 --cores 4\n"
                    "millrace start config/server.properties --override num.partitions=12",
        COUNT(start_options),
        .operands_max = 1,
        .run = cmd_start,
    },
};
const struct command_list start_commands = {start_rows, array_count(start_rows)};
