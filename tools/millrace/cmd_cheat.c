/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace cheat`: what one does with it, as lines to copy. The command line's test takes each of
 * them apart: commands and options that are not there fail it.
 */
#include "io/nearest.h"
#include "tools/millrace/output.h"

#include <string.h>

struct recipe {
    const char *subject;
    const char *wish;
    const char *line;
};

static const struct recipe recipes[] = {
    {"begin", "a broker on this machine", "millrace start"},
    {"begin", "one that others reach, with its data elsewhere",
     "millrace start --listen 0.0.0.0:9092 --data-dir /var/lib/millrace"},
    {"begin", "write a record, and read it",
     "echo hello | millrace produce demo; millrace consume demo -n 1"},
    {"begin", "give a cluster's address a name",
     "millrace profile create prod bootstrap.servers=kafka-1:9092 --use"},
    {"topics", "make one with 12 partitions that keeps a day",
     "millrace topic create orders -p 12 -c retention.ms=86400000"},
    {"topics", "keep the newest record of each key",
     "millrace topic create prices -c cleanup.policy=compact"},
    {"topics", "which there are, and how large one is",
     "millrace topic list; millrace topic describe orders --storage"},
    {"topics", "change a setting, and take it back",
     "millrace topic alter orders -c retention.ms=3600000; millrace topic alter orders -d "
     "retention.ms"},
    {"topics", "what a setting means", "millrace config explain retention.ms"},
    {"topics", "for all topics that do not say otherwise, at once",
     "millrace config set log.retention.ms=86400000"},
    {"records", "write keys and values, KEY:VALUE a line",
     "millrace produce orders -K : <orders.txt"},
    {"records", "write a file as one record", "millrace produce orders --file picture.png -f %s"},
    {"records", "read the last ten of each partition", "millrace consume orders -o -10 -e"},
    {"records", "read an hour of yesterday",
     "millrace consume orders -o @2026-01-31T12:00:@2026-01-31T13:00"},
    {"records", "read on, with place, key and time",
     "millrace consume orders -o end -f '%t/%p %o %T %k %s\\n'"},
    {"records", "read as JSON, an object a line", "millrace consume orders -e -J | jq .payload"},
    {"records", "from one cluster to another",
     "millrace consume orders -e | millrace produce orders --profile other"},
    {"groups", "read as a member of a group", "millrace consume orders -g billing"},
    {"groups", "who is in it, and how far behind", "millrace group describe billing"},
    {"groups", "all that are behind",
     "millrace group describe -a --format json | jq '.items[] | select(.lag > 0) | {group, lag}'"},
    {"groups", "begin anew, back an hour, to the end: look first, then --execute",
     "millrace group seek billing --to-earliest; millrace group seek billing --by-duration PT1H; "
     "millrace group seek billing --to-latest --execute"},
    {"groups", "leave out a record that nobody can read",
     "millrace group seek billing --shift-by 1 --topic orders:3 --execute"},
    {"groups", "keep its offsets, and put them back",
     "millrace group seek billing --to-current --export >offsets.csv; millrace group seek billing "
     "--from-file offsets.csv --execute"},
    {"quotas", "10 MB a second for a client id",
     "millrace cluster quota set --client-id import producer_byte_rate=10000000"},
    {"quotas", "who has which", "millrace cluster quota list"},
    {"look", "is all well? for scripts: exit code 10 if not", "millrace cluster health -q"},
    {"look", "what the broker does, now and second by second", "millrace status; millrace top"},
    {"look", "how it is set, where not by default", "millrace config show"},
    {"look", "its metrics, as Prometheus reads them", "curl http://127.0.0.1:9644/metrics"},
    {"look", "partitions that are not as they should be", "millrace cluster partitions"},
    {"look", "segment files, without a broker", "millrace debug log dump millrace-data/orders-0"},
    {"measure", "latency at 20,000 records a second", "millrace bench produce -r 20k -d 60s -p 12"},
    {"measure", "what the disk can do", "millrace bench disk /var/lib/millrace"},
    {"kafka", "take over the directory of a Kafka that was stopped: look, then --run",
     "millrace debug import-kafka /var/lib/kafka; millrace debug import-kafka /var/lib/kafka "
     "--data-dir /var/lib/millrace --run"},
    {"kafka", "with Kafka's own server.properties", "millrace start config/server.properties"},
};

static bool is_subject(const char *name)
{
    for (size_t i = 0; i < array_count(recipes); i++)
        if (strcmp(recipes[i].subject, name) == 0)
            return true;
    return false;
}

static int unknown_subject(const struct invocation *inv, const char *name)
{
    struct nearest nearest;
    nearest_begin(&nearest, name);
    for (size_t i = 0; i < array_count(recipes); i++)
        (void)nearest_offer(&nearest, recipes[i].subject);
    complain(inv, "there is nothing about '%s'%s", name, did_you_mean(nearest.found));
    fputs("next:  millrace cheat\n", stderr);
    return EXIT_PRESENCE;
}

/* A line is too long for a column: it stands below what it is for. */
static void print_recipe(const struct recipe *recipe, const char **subject)
{
    if (!*subject || strcmp(*subject, recipe->subject) != 0)
        printf("%s%s\n", *subject ? "\n" : "", recipe->subject);
    *subject = recipe->subject;
    printf("  # %s\n", recipe->wish);
    const char *at = recipe->line;
    for (const char *end; (end = strstr(at, "; ")); at = end + 2)
        printf("  %.*s\n", (int)(end - at), at);
    printf("  %s\n", at);
}

int cmd_cheat(struct invocation *inv)
{
    static const struct column columns[] = {
        {.key = "subject", .title = "SUBJECT"},
        {.key = "wish", .title = "WISH"},
        {.key = "line", .title = "LINE"},
    };
    const char *wanted = inv->operand_count > 0 ? inv->operands[0] : NULL;
    if (wanted && !is_subject(wanted))
        return unknown_subject(inv, wanted);
    bool table = format_is_table(inv);
    const char *subject = NULL;
    struct listing *listing = table ? NULL : listing_open(inv, columns, array_count(columns));
    for (size_t i = 0; i < array_count(recipes); i++) {
        const struct recipe *recipe = &recipes[i];
        if (wanted && strcmp(recipe->subject, wanted) != 0)
            continue;
        if (table)
            print_recipe(recipe, &subject);
        else
            listing_row(listing, json_pack("{s:s, s:s, s:s}", "subject", recipe->subject, "wish",
                                           recipe->wish, "line", recipe->line));
    }
    if (listing)
        listing_close(listing);
    return EXIT_OK;
}
