# shellcheck shell=bash disable=SC2034,SC2154 # a part of tests/cli/run, which reads it in
# SPDX-License-Identifier: Apache-2.0
#
# `millrace bench --client librdkafka`: the same load by another client, told in the same way.

control() { # where the case is about something else, the machine may be the limit
    run bench "$@" --client librdkafka
    [ "$code" != 11 ] || code=0
}
if [ -x "$(dirname "$millrace")/millrace-bench-librdkafka" ]; then
    control produce "$t-control" -p 3 -r 500 -d 2s -w 500ms -c 2 -s 200 --format json --out "$work/control.json" -q
    check 'bench produce --client librdkafka: an open loop' 0 json 'j["client"].startswith("librdkafka ") and j["schema"] == "millrace-bench"' \
        json 'j["result"]["records"] == 1000 and j["result"]["sent_in_all"] == 1250 == j["result"]["counted_in_all"]' \
        json 'all(sum(n for _, n in j["latency"][k]["histogram"]) == 1000 for k in ("response", "service", "delay"))' \
        json 'len(j["series"]) >= 2 and j["options"]["connections"] == 2 and j["result"]["bytes"] == 200000' \
        json 'j["result"]["own_cpu"] > 0 and j["result"]["requests_per_s"] is None and j["result"]["errors"] == {}'
    run consume "$t-control" -e --format ndjson
    out=$(wc -l <"$work/out")
    check 'bench produce --client librdkafka: the broker has what was sent' 0 out '^1250$'
    run bench compare "$work/control.json" "$work/control.json"
    check 'bench compare: results of librdkafka' 0 out 'no difference'
    run bench report "$work/control.json" -o "$work/control.html"
    check 'bench report: results of librdkafka' 0 err 'control.html'
    control produce "$t-control" -r 900 --arrival poisson -d 1s -w 0s --linger 20ms --batch-bytes 64k -k zipf:50 -z lz4 --idempotent \
        --compressible 50 --format json -q
    check 'bench produce --client librdkafka: keys, codec, linger, idempotence' 0 json 'j["result"]["failed"] == 0' \
        json '700 < j["result"]["counted_in_all"] == j["result"]["sent_in_all"] < 1100'
    control produce "$t-control" -n 3000 -c 2
    check 'bench produce --client librdkafka: a closed loop, text' 0 out '^client +librdkafka [0-9.]+$' out '^records +3000 in'
    control produce "$t-control" -n 5 --acks 0 --format json -q
    check 'bench produce --client librdkafka: acks 0' 0 json 'j["result"]["acknowledged_in_all"] == 5'
    control e2e "$t-control" -r 400 -d 2s -w 500ms -c 2 --readers 2 -s 100 --format json -q
    check 'bench e2e --client librdkafka' 0 json 'j["latency"]["e2e"]["count"] == j["latency"]["response"]["count"] == 800 == j["result"]["records"]' \
        json 'j["verify"]["good"] and j["verify"]["acknowledged"] == 1000 == j["verify"]["seen"] == j["result"]["counted_in_all"]' \
        json 'j["latency"]["e2e"]["max_ns"] >= j["latency"]["e2e"]["p50_ns"] > 0 and j["series"][0]["e2e_p99_ns"] > 0'
    control consume "$t-control" --format json -q
    check 'bench consume --client librdkafka: all that is there' 0 json 'j["result"]["arrived"] > 6000 and j["latency"] == {}'
    all=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["result"]["arrived"])' "$work/out")
    run consume "$t-control" -e -f '.\n'
    out=$(($(wc -l <"$work/out") - all))
    check 'bench consume --client librdkafka: and consume says so too' 0 out '^0$'
    control produce "$t-large" -n 5 -s 6000 --config max.message.bytes=5000
    check 'bench produce --client librdkafka: refused records are told' 4 out 'errors +5 requests: MESSAGE_TOO_LARGE' out '5 failed'
    # Latency counts from when a record was due, by this client as well.
    if [ -n "$broker_pid" ]; then
        stalled 1.5 produce "$t-control" --client librdkafka -r 500 -d 4s -w 0s --in-flight 1 -s 100 --format json -q
        over='(lambda k: sum(n for ns, n in j["latency"][k]["histogram"] if ns > 0.7e9))'
        check 'bench produce --client librdkafka: a stall is in the response times' 0 json 'j["result"]["records"] == 2000' \
            json 'j["latency"]["response"]["max_ns"] > 1.4e9 and j["result"]["held"] > 0' \
            json "$over('response') > 250 and 1 <= $over('service') <= 5"
    fi
    # Who asked is killed: so is what he asked for.
    "$millrace" bench produce "$t-control" --client librdkafka -r 100 -d 30s -q >"$work/out" 2>"$work/err" &
    generator=$!
    sleep 2
    child=$(ps -o pid= --ppid $generator | tr -d ' ')
    kill -9 "$child"
    wait $generator
    code=$? out=$(cat "$work/out") err=$(cat "$work/err")
    check 'bench produce --client librdkafka: the helper is killed' 3 err 'millrace-bench-librdkafka was lost: it has closed' out '^$'
    cp "$millrace" "$work/alone"
    "$work/alone" bench produce "$t-control" --client librdkafka -n 1 >"$work/out" 2>"$work/err"
    code=$? out=$(cat "$work/out") err=$(cat "$work/err")
    check 'bench produce --client librdkafka: no helper there' 1 err 'cannot start .*/millrace-bench-librdkafka: No such file'
else
    skip 'bench produce --client librdkafka' 'this build has no helper: no librdkafka-dev, or the thread sanitizer'
fi
run bench produce "$t-control" --client librdkafka --batch 10
check 'bench produce --client librdkafka: --batch is refused' 2 err '--batch is not for --client librdkafka'
run bench e2e "$t-control" --client librdkafka --disturb '1s:true'
check 'bench e2e --client librdkafka: --disturb is refused' 2 err '--disturb is not for'
run bench consume "$t-control" --client librdkafka --repeat
check 'bench consume --client librdkafka: --repeat is refused' 2 err '--repeat is not for'
run bench produce "$t-control" --client librdkafka --broker-pid 1
check 'bench produce --client librdkafka: --broker-pid is refused' 2 err '--broker-pid is not for'
run bench produce "$t-control" --client librdkafka --spin -q
check 'bench produce --client librdkafka: --spin is refused' 2 err '--spin is not for'
run bench produce "$t-control" --client librdkafka --agents 127.0.0.1:1
check 'bench produce --client librdkafka: --agents is refused' 2 err '--agents is not for'
run bench produce "$t-control" --client java
check 'bench produce --client: one that is not there' 2 err 'own\|librdkafka'
for topic in control large; do run topic delete "$t-$topic" -q; done
