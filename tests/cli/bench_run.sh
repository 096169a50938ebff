# shellcheck shell=bash disable=SC2034,SC2154 # a part of tests/cli/run, which reads it in
# SPDX-License-Identifier: Apache-2.0
#
# `millrace bench run`: workloads and drivers in the form of the OpenMessaging benchmark's, of our own
# writing, each for a feature; and results in the form of its results.

run bench run --help
check 'bench run --help' 0 out 'usage: millrace bench run .*WORKLOAD.yaml' out 'examples:' out '--driver FILE'

workload() { # NAME LINE...: what every one needs is there unless a line says it
    local name=$1 line key
    shift
    : >"$work/$name.yaml"
    for line in 'name: "a test"' 'topics: 1' 'partitionsPerTopic: 3' 'messageSize: 200' 'producersPerTopic: 1' \
        'subscriptionsPerTopic: 1' 'consumerPerSubscription: 1' 'producerRate: 400' 'testDurationMinutes: 1'; do
        key=${line%%:*}
        case $'\n'$(printf '%s\n' "$@") in *$'\n'"$key:"*) ;; *) echo "$line" >>"$work/$name.yaml" ;; esac
    done
    printf '%s\n' "$@" >>"$work/$name.yaml"
}
bench_run() { # NAME ARGUMENT...; as for bench, 11 is as good as 0
    local name=$1
    shift
    bench run "$work/$name.yaml" "$@"
}

# Several of everything.
workload many 'topics: 2' 'partitionsPerTopic: 3' 'producersPerTopic: 2' 'subscriptionsPerTopic: 2' 'consumerPerSubscription: 4' \
    'keyDistributor: "NO_KEY"' 'useRandomizedPayloads: true' 'randomBytesRatio: 0.5' 'randomizedPayloadPoolSize: 10' \
    'consumerBacklogSizeGB: 0' 'warmupDurationMinutes: 1'
bench_run many -d 2s -w 500ms --out "$work/many.json" --omb "$work/omb.json" --hgrm "$work/many" --format json -q
check 'bench run: topics, producers, subscriptions, consumers' 0 json 'j["kind"] == "run" and j["result"]["records"] == 800' \
    json 'j["result"]["counted_in_all"] == j["result"]["sent_in_all"] == 1000 and j["result"]["failed"] == 0' \
    json 'j["options"]["partitions"] == 6 and j["options"]["connections"] == 4 and j["options"]["loop"] == "open"' \
    json 'j["workload"]["read"] == j["workload"]["to_be_read"] == 2000 and j["workload"]["idle_consumers"] == 4' \
    json 'j["workload"]["name"] == "a test" and j["latency"]["e2e"]["count"] == 1600 == 2 * j["latency"]["response"]["count"]'
run topic list --format json
check 'bench run: its topics are gone' 0 out '!bench-run-'
cp "$work/omb.json" "$work/out"
check 'bench run --omb: the keys of the OpenMessaging benchmark' 0 json 'set(j) == {
        "workload", "driver", "messageSize", "topics", "partitions", "producersPerTopic", "consumersPerTopic",
        "publishRate", "publishErrorRate", "consumeRate", "backlog",
        *(f"{kind}{part}" for kind in ("publishLatency", "publishDelayLatency", "endToEndLatency", "aggregatedPublishLatency",
            "aggregatedPublishDelayLatency", "aggregatedEndToEndLatency")
          for part in ("Avg", "50pct", "75pct", "95pct", "99pct", "999pct", "9999pct", "Max")),
        *(f"aggregated{kind}LatencyQuantiles" for kind in ("Publish", "PublishDelay", "EndToEnd"))}' \
    json '[j[key] for key in ("workload", "driver", "messageSize", "topics", "partitions", "producersPerTopic",
        "consumersPerTopic")] == ["a test", "millrace", 200, 2, 3, 2, 4]' \
    json 'all(len(value) == 1 for value in j.values() if isinstance(value, list))' \
    json 'j["publishErrorRate"] == [0]' \
    json 'all(isinstance(v, int) for key in j if key.startswith("publishDelayLatency") and not key.endswith("Avg") for v in j[key])' \
    json 'all(j[f"{kind}50pct"][0] <= j[f"{kind}99pct"][0] <= j[f"{kind}Max"][0] for kind in ("publishLatency", "endToEndLatency"))' \
    json '0 < j["aggregatedPublishLatency50pct"] < 10000 and j["endToEndLatencyMax"][0] >= j["publishLatency50pct"][0] / 2' \
    json 'all((lambda steps: {"0", "50", "90", "99", "100"} <= set(j[key]) and [v for _, v in steps] == sorted(v for _, v in steps))
        (sorted((float(k), v) for k, v in j[key].items())) for key in j if key.endswith("Quantiles"))' \
    json 'abs(j["aggregatedPublishLatencyQuantiles"]["99"] - j["aggregatedPublishLatency99pct"]) <= 0.02 * j["aggregatedPublishLatency99pct"]'
python3 - "$work/omb.json" "$work/many.json" >"$work/out" <<'PYTHON'
import json, sys
theirs, ours = (json.load(open(name)) for name in sys.argv[1:])
print(json.dumps([[theirs['publishRate'][0], ours['result']['records_per_s']], [theirs['consumeRate'][0], ours['result']['arrived_per_s']],
    *[[theirs[total + key], ours['latency'][name][quantile] / unit]
    for total, name, unit in (('aggregatedPublishLatency', 'service', 1e6), ('aggregatedEndToEndLatency', 'e2e', 1e6))
    for key, quantile in (('Avg', 'mean_ns'), ('50pct', 'p50_ns'), ('99pct', 'p99_ns'), ('9999pct', 'p9999_ns'), ('Max', 'max_ns'))]]))
PYTHON
check 'bench run --omb: the figures of the result' 0 json 'all(abs(a - b) < 1e-9 * a for a, b in j) and len(j) == 12'
out=$(head -n 3 "$work"/many.*.hgrm | grep -c 'Value')
check 'bench run --hgrm' 0 out '^4$'
run bench report "$work/many.json" -o "$work/many.html"
check 'bench run: bench report takes its result' 0 err 'many.html'
if command -v chromium >/dev/null; then
    timeout 120 chromium --headless --no-sandbox --disable-gpu --user-data-dir="$work/chromium" --dump-dom \
        "file://$work/many.html" >"$work/out" 2>"$work/err"
    code=$? out=$(cat "$work/out") err=''
    check 'bench run: a browser draws it' 0 out 'data-drawn="4"' out '>run · ' out '>e2e<' out 'partitions per topic'
fi
bench_run many -d 1s -w 0s
check 'bench run: text' 0 out '^workload  a test$' out 'topics 2, partitions of each 3, producers 2, subscriptions 2, consumers of each 4; 200 bytes' \
    out '4 consumers have no partition' out '^records +400 in' out '^read +[0-9]{3}, ' out '^e2e '

# Where there are no subscriptions, nothing is stamped, and values are what was asked for.
seq 100 | tr -d '\n' | head -c 100 >"$work/payload.data"
workload keys 'subscriptionsPerTopic: 0' 'messageSize: 100' 'payloadFile: "payload.data"' 'keyDistributor: KEY_ROUND_ROBIN' 'producersPerTopic: 2'
bench_run keys -d 1s -w 0s --topic "$t-keys" --format json -q
check 'bench run: no subscriptions' 0 json 'j["result"]["records"] == 400 == j["result"]["counted_in_all"] and "e2e" not in j["latency"]' \
    json 'j["workload"]["to_be_read"] == 0 and j["options"]["keys"] == "cycle"'
run consume "$t-keys" -e -f '%k %s\n'
out="$(wc -l <"$work/out") $(cut -d ' ' -f 1 "$work/out" | sort -u | wc -l) $(cut -d ' ' -f 2 "$work/out" | sort -u)"
check 'bench run: keys in turn, one payload; --topic stays' 0 out "^400 400 $(cat "$work/payload.data")\$"
run topic describe "$t-keys" --format json
check 'bench run: partitionsPerTopic' 0 json 'len(j["items"][0]["partitions"]) == 3'
bench_run keys -d 1s -w 0s --topic "$t-keys" -p 2
check 'bench run --topic: it has other partitions' 5 err "topic '$t-keys' is there already and has 3 partitions, not 2"
workload random 'subscriptionsPerTopic: 0' 'keyDistributor: "RANDOM_NANO"' 'useRandomizedPayloads: true' 'randomBytesRatio: 0.25' \
    'randomizedPayloadPoolSize: 5'
bench_run random -d 1s -w 0s --topic "$t-random" --format json -q
check 'bench run: random keys' 0 json 'j["result"]["records"] == 400'
run consume "$t-random" -e -f '%k %s{base64}\n'
python3 - "$work/out" >"$work/words" <<'PYTHON'
import base64, sys
lines = [line.split() for line in open(sys.argv[1])]
values = {base64.b64decode(value) for _, value in lines}
print(len(lines), 350 < len({key for key, _ in lines}) < 400, len(values),
    all(len(v) == 200 and v[50:] == bytes(150) and v[:50].count(0) < 10 for v in values))
PYTHON
out=$(cat "$work/words")
check 'bench run: a pool of payloads, random and zeros' 0 out '^400 True 5 True$'

# Drivers.
cat >"$work/driver.yaml" <<'YAML'
name: "a driver"
driverClass: io.openmessaging.benchmark.driver.kafka.KafkaBenchmarkDriver
replicationFactor: 3
reset: true
topicConfig: |
  max.message.bytes=700000
  retention.ms=123456
commonConfig: |
  default.api.timeout.ms=1200000
producerConfig: |
  acks=1
  linger.ms=20
  batch.size=1048576
  compression.type=lz4
  liner.ms=3
consumerConfig: |
  auto.offset.reset=earliest
  max.partition.fetch.bytes=10485760
YAML
bench_run keys --driver "$work/driver.yaml" --replication-factor 1 --config retention.ms=99999 -X acks=all -d 1s -w 0s --topic "$t-driver" \
    --omb "$work/omb.json" --format json
check 'bench run --driver' 0 json 'j["options"]["acks"] == -1 and j["options"]["codec"] == "lz4" and j["options"]["idempotent"]' \
    json 'j["options"]["linger_ns"] == 20e6 and j["options"]["batch_bytes"] == 1048576 and j["workload"]["driver"] == "a driver"' \
    json 'j["broker"]["topic_config"]["max.message.bytes"] == "700000"' \
    json 'j["broker"]["topic_config"]["retention.ms"] == "99999"' \
    err "liner.ms is not known here and has no effect; did you mean 'linger.ms'" \
    err 'of no effect here: default.api.timeout.ms, auto.offset.reset, reset'
bench_run keys -d 1s -w 0s --driver "$work/driver.yaml" --replication-factor 1 --format json -q
check "bench run --driver: the driver's acks" 0 json 'j["options"]["acks"] == 1 and not j["options"]["idempotent"]'
if [ -n "$broker_pid" ]; then
    run bench run "$work/keys.yaml" -d 1s -w 0s --driver "$work/driver.yaml" -q
    check 'bench run --driver: more replicas than brokers' 1 err "topic 'bench-run-.*replica"
fi
sed -i 's/linger.ms=20/linger.ms=soon/' "$work/driver.yaml"
run bench run "$work/keys.yaml" --driver "$work/driver.yaml"
check 'bench run --driver: a value that is none' 2 err 'producerConfig: linger.ms=soon: a number from 0'
echo 'replicationFactr: 1' >"$work/driver.yaml"
run bench run "$work/keys.yaml" --driver "$work/driver.yaml"
check 'bench run --driver: a key that is none' 2 err "driver.yaml, line 1: replicationFactr: there is no such key; did you mean 'replicationFactor'"

# A backlog: 2 MiB at 2 MiB/s, which nobody reads until they are there.
workload backlog 'messageSize: 1024' 'producerRate: 2000' 'consumerBacklogSizeGB: 1' 'partitionsPerTopic: 2' 'consumerPerSubscription: 2'
bench_run backlog --backlog 2M -w 500ms -d 1s --format json -q --out "$work/backlog.json"
check 'bench run: a backlog' 0 json 'j["workload"]["backlog"]["built"] and j["workload"]["backlog"]["drained"]' \
    json 'j["workload"]["backlog"]["build_s"] > 0.9 and j["workload"]["backlog"]["drain_s"] > 0' \
    json 'j["workload"]["read"] == j["workload"]["to_be_read"] > 4000 and j["latency"]["e2e"]["max_ns"] > 0.8e9' \
    json 'j["result"]["seconds"] > j["workload"]["backlog"]["build_s"] + 0.9'
bench_run backlog --backlog 1M -w 0s -d 200ms
check 'bench run: a backlog, in words' 0 out '^backlog   1 MiB built in [0-9.]+ s, read in [0-9.]+ s$'
run bench run "$work/many.yaml" --backlog 2x
check 'bench run --backlog: a size that is none' 2 err '--backlog 2x: a size is wanted'

# The search: it begins with 10,000/s, and looks every 3 s.
workload search 'producerRate: 0' 'messageSize: 100' 'useRandomizedPayloads: false'
bench_run search -w 0s -d 8s --drain 10s --format ndjson -q
python3 -c 'import json, sys; print(json.dumps([json.loads(line) for line in open(sys.argv[1])]))' "$work/out" >"$work/all"
mv "$work/all" "$work/out"
check 'bench run: a rate is searched for' 0 json 'j[0]["rate"] == 10000 and len({s["rate"] for s in j[:-1]}) >= 2' \
    json 'j[-1]["options"]["rate"] is None and j[-1]["workload"]["searched_rate"] == j[-2]["rate"]' \
    json 'j[-1]["workload"]["read"] == j[-1]["workload"]["to_be_read"] > 10000'
bench_run search -w 0s -d 1s -r 300 --format json -q
check 'bench run --rate: no search' 0 json 'j["options"]["rate"] == 300 == j["result"]["records"] and "searched_rate" not in j["workload"]'

# Somebody copies three of its records while it runs: they are read twice.
run topic create "$t-twice" -p 3
"$millrace" bench run "$work/backlog.yaml" --backlog 0 -p 3 -r 200 -d 3s -w 0s --topic "$t-twice" --format json -q >"$work/out" 2>"$work/err" &
generator=$!
sleep 1
"$millrace" consume "$t-twice" -n 3 -f '%s{base64}\n' | "$millrace" produce "$t-twice" -f '%s{base64}\n' >/dev/null
wait $generator
code=$? out=$(cat "$work/out") err=$(cat "$work/err")
check 'bench run: a record that is read twice' 12 err '603 records were read, and 600 should have been: 600 acknowledged for 1 subscriptions' \
    json 'j["workload"]["read"] == 603'

# What is wrong with a file.
run bench run "$work/nowhere.yaml"
check 'bench run: no such file' 2 err 'cannot read .*nowhere.yaml: No such file'
workload mistyped 'producrRate: 5'
run bench run "$work/mistyped.yaml"
check 'bench run: a key that is none' 2 err "mistyped.yaml, line 10: producrRate: there is no such key; did you mean 'producerRate'"
workload huge 'topics: 1000000'
run bench run "$work/huge.yaml" -d 1s
check 'bench run: more topics than it takes' 2 err '1000000 topics, and 10000 are the most: --topics N'
workload wide 'topics: 6000' 'producersPerTopic: 4'
run bench run "$work/wide.yaml" -d 1s
check 'bench run: more connections than it takes' 2 err '6000 topics with 4 producers each are 24000 connections'
workload small 'messageSize: 20'
run bench run "$work/small.yaml" -d 1s
check 'bench run: messages too small to be timed' 2 err 'messageSize: 20: at least 32 bytes'
workload payload 'messageSize: 99' 'payloadFile: payload.data'
run bench run "$work/payload.yaml" -d 1s
check 'bench run: a payload of another size' 2 err 'payloadFile payload.data has 100 bytes, and messageSize says 99'
workload payload 'payloadFile: payload.data'
run bench run "$work/payload.yaml" -d 1s
check 'bench run: a payload that is too short' 2 err 'payloadFile payload.data has 100 bytes, and messageSize says 200'
workload payload 'payloadFile: none.data'
run bench run "$work/payload.yaml" -d 1s
check 'bench run: no payload' 2 err 'payloadFile none.data cannot be read'
run bench run "$work/many.yaml" -b 127.0.0.1:1
check 'bench run: nobody is there' 3 err 'Connection refused'

for topic in keys random driver twice; do run topic delete "$t-$topic" -q; done
