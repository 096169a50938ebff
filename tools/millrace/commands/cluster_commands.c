/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands on the cluster: its brokers, where partitions are, quotas.
 */
#include "tools/millrace/commands/commands.h"

#define WHOSE_OPTIONS                                                                              \
    {0, "user", "NAME", NULL, "of this user (ANONYMOUS: of all, as nobody logs in)", NULL},        \
        {0, "client-id", "NAME", NULL, "of clients that call themselves so", NULL},                \
        {0, "ip", "ADDRESS", NULL, "of connections from there", NULL},                             \
    {                                                                                              \
        0, "default", "TYPE", NULL, "of those without a quota of their own; may be repeated",      \
            "user|client-id|ip"                                                                    \
    }

static const struct command_option quota_list_options[] = {
    WHOSE_OPTIONS,
    {0, "any", "TYPE", NULL, "of all that are named, and the default; may be repeated",
     "user|client-id|ip"},
    {0, "strict", NULL, NULL, "only those of nothing else beside", NULL},
};

static const struct command_option quota_change_options[] = {
    WHOSE_OPTIONS,
    {0, "dry-run", NULL, NULL, "let the broker check, and change nothing", NULL},
};

static const struct command_option features_options[] = {
    {0, "upgrade", NULL, NULL, "agree to the newest level that every broker knows", NULL},
    {0, "dry-run", NULL, NULL, "let the broker check, and change nothing", NULL},
};

static const struct command_option health_options[] = {
    {0, "brokers", "N", NULL, "how many brokers there must be at least (default: 1)", NULL},
    {'w', "watch", NULL, NULL, "look again every second", NULL},
    {0, "exit-when-healthy", NULL, NULL, "look every second until it is healthy", NULL},
};

static const struct command_option partitions_options[] = {
    {'a', "all", NULL, NULL, "those that are as they should be, too", NULL},
};

static const struct command_option reassign_options[] = {
    {0, "to", "BROKER,...", NULL, "where the replicas shall be, the preferred leader first", NULL},
    {0, "spread", NULL, NULL,
     "with --to: the first broker leads partition 0, the second one partition 1, and so on", NULL},
    {0, "cancel", NULL, NULL, "take back what is under way", NULL},
    {0, "wait", NULL, NULL, "until they are there", NULL},
};

static const struct command_option leader_elect_options[] = {
    {0, "unclean", NULL, NULL,
     "where no replica that is in sync lives: any that does; what it does not have is lost", NULL},
};

static const struct command cluster_rows[] = {
    {
        .name = "cluster brokers",
        .summary = "the brokers that live",
        .about = "The brokers that live, with what each leads and holds.",
        .examples = "millrace cluster brokers\n"
                    "millrace cluster brokers --format json | jq '.items[].host'",
        .listing = true,
        .remote = true,
        .run = cmd_cluster_brokers,
    },
    {
        .name = "cluster features",
        .summary = "which versions the brokers are of, and finish an upgrade",
        .about = "Up to which level each broker takes part in the metadata, and the level in use. "
                 "When all brokers of a cluster have been upgraded, --upgrade lets them use what "
                 "came with the newer version; from then on an older one does not start again.",
        .examples = "millrace cluster features\n"
                    "millrace cluster features --upgrade",
        COUNT(features_options),
        .listing = true,
        .remote = true,
        .run = cmd_cluster_features,
    },
    {
        .name = "cluster health",
        .summary = "is everything served?",
        .about = "Healthy is a cluster with a controller, a leader of every partition, and every "
                 "replica in sync. Exit code 10 when it is not.",
        .examples = "millrace cluster health\n"
                    "millrace cluster health --brokers 3 --exit-when-healthy",
        COUNT(health_options),
        .listing = true,
        .remote = true,
        .run = cmd_cluster_health,
    },
    {
        .name = "cluster partitions",
        .summary = "partitions that are not as they should be",
        .operands = "[TOPIC...]",
        .about = "Partitions without a leader, with replicas that are not in sync, that are being "
                 "moved, or that another replica than the first one leads.",
        .examples = "millrace cluster partitions\n"
                    "millrace cluster partitions orders --all",
        COUNT(partitions_options),
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_cluster_partitions,
    },
    {
        .name = "cluster reassign",
        .summary = "move partitions to other brokers",
        .operands = "TOPIC[:PARTITIONS]...",
        .about =
            "Says on which brokers the replicas of partitions shall be; the first of them is the "
            "preferred leader. New replicas catch up first, then the others go. Partitions are "
            "served meanwhile.",
        .examples = "millrace cluster reassign orders --to 1,2,3 --spread --wait\n"
                    "millrace cluster reassign orders:0,3-5 --to 4,5\n"
                    "millrace cluster reassign orders --cancel",
        COUNT(reassign_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_cluster_reassign,
    },
    {
        .name = "cluster leader-elect",
        .summary = "give partitions back to their preferred leaders",
        .operands = "[TOPIC[:PARTITIONS]...]",
        .about = "The preferred leader is the first replica. Without operands: of all partitions.",
        .examples = "millrace cluster leader-elect\n"
                    "millrace cluster leader-elect orders:0 --unclean",
        COUNT(leader_elect_options),
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_cluster_leader_elect,
    },
    {
        .name = "cluster quota list",
        .summary = "what clients may use",
        .about = "The quotas that are set, of all or of those that are named.",
        .examples = "millrace cluster quota list\n"
                    "millrace cluster quota list --client-id orders --format json\n"
                    "millrace cluster quota list --any user --strict",
        COUNT(quota_list_options),
        .listing = true,
        .remote = true,
        .run = cmd_cluster_quota_list,
    },
    {
        .name = "cluster quota set",
        .summary = "limit what clients may use",
        .operands = "KEY=NUMBER...",
        .about = "Of users and client ids: producer_byte_rate and consumer_byte_rate (bytes a "
                 "second, of each broker), request_percentage (of a core's time) and "
                 "controller_mutation_rate (partitions created and deleted a second); of addresses "
                 "connection_creation_rate. The first of these that is set holds: user and client "
                 "id, user and default client id, user, default user and client id, both "
                 "defaults, default user, client id, default client id.",
        .examples = "millrace cluster quota set --client-id import producer_byte_rate=10000000\n"
                    "millrace cluster quota set --default client-id request_percentage=25\n"
                    "millrace cluster quota set --ip 192.0.2.7 connection_creation_rate=20",
        COUNT(quota_change_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_cluster_quota_set,
    },
    {
        .name = "cluster quota delete",
        .summary = "take limits away",
        .operands = "[KEY...]",
        .about = "Takes the named quotas away, or all of them.",
        .examples = "millrace cluster quota delete --client-id import\n"
                    "millrace cluster quota delete --default client-id request_percentage",
        COUNT(quota_change_options),
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_cluster_quota_delete,
    },
};
const struct command_list cluster_commands = {cluster_rows, array_count(cluster_rows)};
