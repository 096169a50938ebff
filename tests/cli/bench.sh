# shellcheck shell=bash disable=SC2034,SC2154 # a part of tests/cli/run, which reads it in
# SPDX-License-Identifier: Apache-2.0
#
# `millrace bench`: what is sent, what is told of it, and what exit codes mean.

for command in produce sweep consume e2e verify ping disk net report compare; do
    run bench $command --help
    check "bench $command --help" 0 out "usage: millrace bench $command" out 'examples:'
done

# The generator may well be the limit on a machine that does other things: 11 is as good as 0 where
# the case is about something else.
bench() {
    run bench "$@"
    [ "$code" != 11 ] || code=0
}

# A command with a load, and the broker that stands still after so many seconds for as long.
stalled() {
    local seconds=$1
    shift
    "$millrace" bench "$@" >"$work/out" 2>"$work/err" &
    local generator=$!
    sleep "$seconds"
    kill -STOP "$broker_pid"
    sleep "$seconds"
    kill -CONT "$broker_pid"
    wait $generator
    code=$? out=$(cat "$work/out") err=$(cat "$work/err")
    [ "$code" != 11 ] || code=0
}

bench produce "$t-bench" -p 3 -n 500 -s 100 -c 2 --format json -q
check 'bench produce: a closed loop of so many records' 0 json 'j["schema"] == "millrace-bench" and j["schema_version"] == 1' \
    json 'j["result"]["sent_in_all"] == 500 == j["result"]["acknowledged_in_all"] == j["result"]["records"]' \
    json 'j["options"]["loop"] == "closed" and j["options"]["partitions"] == 3 and j["kind"] == "produce"' \
    json 'all(sum(n for _, n in j["latency"][k]["histogram"]) == 500 == j["latency"][k]["count"] for k in ("response", "service", "delay"))' \
    json 'j["result"]["counted_in_all"] == j["result"]["sent_in_all"]' \
    json 'j["argv"][1:3] == ["bench", "produce"] and j["machine"]["cores"] > 0 and j["broker"]["durability"]'
bench produce "$t-bench" -r 500 -d 2s -w 500ms -c 2 -s 200 --format json --out "$work/run.json" --hgrm "$work/run" -q
check 'bench produce: an open loop' 0 json 'j["options"]["loop"] == "open" and j["result"]["records"] == 1000' \
    json 'j["result"]["counted_in_all"] == j["result"]["sent_in_all"]' \
    json 'len(j["series"]) >= 2 and j["result"]["failed"] == 0 and j["result"]["seconds"] == 2.0'
out=$(cat "$work/run.response.hgrm")
check 'bench produce --hgrm' 0 out '^ +[0-9.]+ 0.9[0-9]+ +[0-9]+ +[0-9.]+$' out '#\[Max .* Total count +=[ ]+1000\]'
run consume "$t-bench" -e --format ndjson
seen=$(wc -l <"$work/out")
out=$((seen - 1750))
check 'bench produce: the broker has what was sent, the warm-up too' 0 out '^0$'
bench produce "$t-bench" -r 2000 -d 1s -w 0s --batch 10 --linger 50ms --batch-bytes 64k -z zstd --compressible 80 --keys zipf:100 \
    --arrival poisson --idempotent --format ndjson
tail -n 1 "$work/out" >"$work/last" && mv "$work/last" "$work/out"
check 'bench produce: keys, codec, linger, idempotence' 0 json 'j["type"] == "result" and j["result"]["failed"] == 0' \
    json 'j["result"]["counted_in_all"] == j["result"]["sent_in_all"]' \
    json 'j["result"]["requests_per_s"] < j["result"]["records_per_s"] / 10 > 0' err '!error'
bench produce "$t-bench" --topics 2 -n 40 --no-create
check 'bench produce --no-create' 5 err "topic '$t-bench-0' not found"
bench produce "$t-bench" --topics 2 -n 40 -p 2 --acks 1 --config max.message.bytes=5000
check 'bench produce --topics: text' 0 out '^(in)?valid|INVALID' out '^records +40 in' out '^broker +' out '^response'
run topic describe "$t-bench-1" --format json
check 'bench produce --config' 0 json 'len(j["items"][0]["partitions"]) == 2' json '"max.message.bytes" in str(j)'
bench produce "$t-bench" -n 50 -q --format awk
check 'bench produce --format awk' 0 out '^response	50	[0-9.]+	' out '^delay	50	' out '!records'
bench produce "$t-bench-0" -n 5 -s 6000
check 'bench produce: refused records are told' 4 out 'errors +5 requests: MESSAGE_TOO_LARGE' out '5 failed'
bench produce "$t-bench" -r 100 -d 5s -w 0s --style kafka-perf
check 'bench produce --style kafka-perf' 0 \
    out '^[0-9]+ records sent, [0-9.]+ records/sec \([0-9.]+ MB/sec\), [0-9.]+ ms avg latency, [0-9.]+ ms max latency\.$' \
    out '^500 records sent, .* ms avg latency, .* ms max latency, [0-9]+ ms 50th, [0-9]+ ms 95th, [0-9]+ ms 99th, [0-9]+ ms 99\.9th\.$'
bench produce "$t-bench" -n 100 --assert 'p99<1h' --assert 'rate>1' --assert 'max<50min'
check 'bench produce --assert' 0 err '!error'
run bench produce "$t-bench" -n 100 --assert 'p50<1us' --assert 'rate>100M' --format json -q
check 'bench produce --assert: what does not hold' 11 err 'p50<1us: it was' err 'rate>100M: it was [0-9]+/s' \
    json '[a["good"] for a in j["assertions"]] == [False, False]'
run bench produce "$t-bench" --assert 'p99=5ms'
check 'bench produce --assert: a claim that is none' 2 err 'QUANTILE<TIME'
run bench produce "$t-bench" --arrival poisson
check 'bench produce: an arrival needs a rate' 2 err 'needs --rate'
run bench produce "$t-bench" -r 100 --arrival step:
check 'bench produce: a shape that is none' 2 err 'step:RATE'
run bench produce "$t-bench" -n 1 -s 1x
check 'bench produce: a size that is none' 2 err 'a size from 1'
run bench produce "$t-bench" --keys zipf:none
check 'bench produce: keys that are none' 2 err 'zipf:N'
bench e2e "$t-bench" -r 400 -d 2s -w 500ms -c 2 --readers 2 -s 100 --format json -q --out "$work/e2e.json"
check 'bench e2e' 0 json 'j["latency"]["e2e"]["count"] == j["latency"]["response"]["count"] == 800 == j["result"]["records"]' \
    json 'j["result"]["counted_in_all"] == j["result"]["sent_in_all"]' \
    json 'j["verify"]["good"] and j["verify"]["acknowledged"] == 1000 == j["verify"]["seen"]' \
    json 'j["latency"]["e2e"]["max_ns"] >= j["latency"]["e2e"]["p50_ns"] > 0 and j["series"][0]["e2e_p99_ns"] > 0'
bench verify "$t-bench" -n 2000 -c 2 --readers 5 --batch 10 -z lz4 --idempotent
check 'bench verify' 0 out '^verified +2000 acknowledged, 2000 seen: 0 lost, 0 duplicates, 0 out of order; 0 gaps' out '^e2e '
# Somebody copies three of its records while it runs: they are there twice.
bench verify "$t-v" -p 1 -r 200 -d 3s -w 0s --format json -q --disturb "1s:$millrace consume $t-v -p 0 -n 3 -f '%s{base64}\\n' |
    $millrace produce $t-v -p 0 -f '%s{base64}\\n'"
check 'bench verify: duplicates are found' 12 json 'j["verify"]["duplicates"] == 3 and not j["verify"]["good"]' \
    json 'j["result"]["counted_in_all"] == j["verify"]["acknowledged"] + 3' \
    json 'j["verify"]["partitions"][0]["duplicates"] == 3 and j["verify"]["lost"] == 0 == j["verify"]["reordered"]'
bench consume "$t-bench" --format json -q
check 'bench consume: all that is there' 0 json 'j["result"]["arrived"] > 5000 and j["result"]["errors"] == {}' \
    json 'j["latency"]["fetch"]["count"] > 0 and "response" not in j["latency"]'
all=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["result"]["arrived"])' "$work/out")
run consume "$t-bench" -e -f '.\n'
out=$(($(wc -l <"$work/out") - all))
check 'bench consume: and consume says so too' 0 out '^0$'
bench consume "$t-bench" --from end --follow -c 20 -d 1s --wait 200ms --format json -q
check 'bench consume --from end: parked fetches' 0 json 'j["result"]["arrived"] == 0 and 40 <= j["latency"]["fetch"]["count"] <= 140' \
    json 'j["latency"]["fetch"]["p50_ns"] > 150e6'
bench consume "$t-bench" --repeat -d 1s -q
check 'bench consume --repeat' 0 out '^read +[0-9]{5,}, ' out '^fetch '
run bench consume "$t-nowhere"
check 'bench consume: no such topic' 5 err 'not found'
run bench consume "$t-bench" --from end
check 'bench consume: nothing to read yet' 2 err 'needs --follow'
run bench report "$work/run.json" "$work/e2e.json" -o "$work/page.html"
out=$(cat "$work/page.html")
check 'bench report' 0 err 'page.html' out '<!DOCTYPE html>' out '"schema":"millrace-bench"' out '!@RESULTS@' out '!(src|href)='
if command -v chromium >/dev/null; then
    timeout 120 chromium --headless --no-sandbox --disable-gpu --user-data-dir="$work/chromium" --dump-dom \
        "file://$work/page.html" >"$work/out" 2>"$work/err"
    code=$? out=$(cat "$work/out") err=''
    check 'bench report: a browser draws it' 0 out 'data-drawn="10"' out '<path fill="none"' out 'Percentiles, side by side' \
        out '>e2e · '
fi
run bench report "$work/run.json"
check 'bench report: beside the result' 0 err 'run.html'
echo '{"schema": "millrace-bench", "schema_version": 1}' >"$work/none.json"
run bench report "$work/none.json"
check 'bench report: a file that is none' 1 err 'no result of millrace bench'
run bench compare "$work/run.json" "$work/run.json" --max-regress 5% --format json
check 'bench compare: a run with itself' 0 json 'all(i["ratio"] == 1 and i["verdict"] == "no difference" for i in j["items"])'
python3 - "$work/run.json" >"$work/slow.json" <<'PYTHON'
import json, sys
run = json.load(open(sys.argv[1]))
for second in run['series']:
    second['response_p50_ns'] *= 20
json.dump(run, sys.stdout)
PYTHON
run bench compare "$work/run.json" "$work/slow.json" --max-regress 5%
check 'bench compare: a regression' 11 out 'response p50 ms +.*worse' err 'worse by more than 5%'
run bench compare "$work/slow.json" "$work/run.json" --max-regress 5% --format json
check 'bench compare: an improvement' 0 json '[i["verdict"] for i in j["items"] if i["figure"] == "response p50 ms"] == ["better"]'

# One rate after the other. Where the machine does other things a rate may be INVALID, and is then measured again.
bench sweep "$t-bench" --rate 200..400:+100 -d 1s -w 200ms -s 100 -c 2 --slo 'p99<1h' --slo 'rate>1' --all --format json -q \
    --out "$work/sweep.json"
invalid='any(r["outcome"] == "invalid" for r in j["rates"])'
# The knee by its definition, from what came last of each rate.
agrees='(lambda last: (lambda missed: j["knee"]["missed_rate"] == missed and j["knee"]["rate"] == max([rate for rate, what in
    last.items() if what == "held" and (missed is None or rate < missed)], default=None))(min([rate for rate, what in
    last.items() if what == "missed"], default=None)))({r["rate"]: r["outcome"] for r in j["rates"]})'
check 'bench sweep: all rates hold' 0 json '{r["rate"] for r in j["rates"]} == {200, 300, 400} and j["knee"]["complete"]' json "$agrees" \
    json "$invalid or [r['outcome'] for r in j['rates']] == ['held'] * 3 and j['knee']['rate'] == 400" \
    json "$invalid or j['knee']['bound'] == 'at_least' and j['knee']['missed_rate'] is None" \
    json 'all(abs(r["due_per_s"] - r["rate"]) <= 1 and r["response_max_ns"] >= r["response_p50_ns"] > 0 for r in j["rates"])'
cp "$work/sweep.json" "$work/out"
check 'bench sweep --out: each run counts for itself' 0 json 'len(j) >= 3 and len({run["id"] for run in j}) == len(j)' \
    json 'all(run["schema"] == "millrace-bench" and run["kind"] == "produce" for run in j)' \
    json 'all(abs(run["result"]["sent_in_all"] - 1.2 * run["options"]["rate"]) <= 1 for run in j)' \
    json 'all(run["result"]["sent_in_all"] == run["result"]["acknowledged_in_all"] for run in j)' \
    json 'all(run["sweep"]["rate"] == run["options"]["rate"] and len(run["assertions"]) == 2 for run in j)'
run bench sweep "$t-bench" --rate 300,500 -d 500ms -w 100ms -s 100 --slo 'p50<1us'
check 'bench sweep: no rate holds' 11 out '^ +300 .*p50<1us: it was [0-9.]+ ms' out '!^ +500 ' out '^knee +none' out '^broker '
rows=$(grep -c '^ *300 ' <<<"$out")
run bench sweep "$t-bench" --rate 300,500 -d 500ms -w 100ms -s 100 --slo 'p50<1us' --format awk -q
check 'bench sweep: what does not hold is measured twice' 11 out '^rate	300	[0-9]+	[0-9.]+	' out '^knee	-	none$'
out="$rows $(grep -c '^rate	300	' <<<"$out")"
check 'bench sweep: and no more often' 11 out '^2 2$'
run bench sweep "$t-bench"
check 'bench sweep: which rates?' 2 err '10k..1M:x1.3'
run bench sweep "$t-bench" --rate 10k..1k:x2
check 'bench sweep: rates that are none' 2 err 'higher than the first'
run bench sweep "$t-bench" --rate 1k,2k --arrival ramp:5k
check 'bench sweep: an arrival that has rates of its own' 2 err 'are those of --rate'
run bench sweep "$t-bench" --rate 1k,2k --slo 'p99=5ms'
check 'bench sweep: a claim that is none' 2 err "--slo 'p99=5ms'"
run bench report "$work/sweep.json" "$work/run.json" -o "$work/sweep.html"
out=$(grep -o '"schema":"millrace-bench"' "$work/sweep.html" | wc -l)
check 'bench report: a sweep, and another run' 0 err 'sweep.html' out '^[4-7]$'
if command -v chromium >/dev/null; then
    timeout 120 chromium --headless --no-sandbox --disable-gpu --user-data-dir="$work/chromium" --dump-dom \
        "file://$work/sweep.html" >"$work/out" 2>"$work/err"
    code=$? out=$(cat "$work/out") err=''
    check 'bench report: a browser draws the sweep' 0 out 'Latency over the rate' out 'This rate of the sweep: '
fi
run bench compare "$work/run.json" "$work/sweep.json"
check 'bench compare: a sweep is not one result' 1 err 'sweep.json has the results of a whole sweep'
echo '[]' >"$work/none.json"
run bench report "$work/none.json"
check 'bench report: an array that is none' 1 err 'no result of millrace bench'
"$millrace" bench sweep "$t-bench" --rate 100..900:+100 --all -d 1s -w 0s -s 100 --format json -q --out "$work/sweep.json" \
    >"$work/out" 2>"$work/err" &
generator=$!
sleep 2.5
kill -TERM $generator
wait $generator
code=$? out=$(cat "$work/out") err=$(cat "$work/err")
check 'bench sweep: interrupted' 130 json '1 <= len(j["rates"]) <= 3 and j["knee"]["complete"] is False'
run bench report "$work/sweep.json"
check 'bench sweep: what was measured until then is kept' 0 err 'sweep.html'
# Its broker stands still for a second of the higher rate, and again when that is measured once more.
if [ -n "$broker_pid" ]; then
    : >"$work/rows"
    "$millrace" bench sweep "$t-bench" --rate 300,600 -d 2s -w 200ms -s 100 --slo 'max<600ms' --refine 1 --format ndjson -q \
        >"$work/rows" 2>"$work/err" &
    generator=$!
    for rows in 1 2; do
        while kill -0 $generator 2>/dev/null && [ "$(grep -c '"type":"rate"' "$work/rows")" -lt $rows ]; do sleep 0.1; done
        sleep 0.6
        kill -STOP "$broker_pid"
        sleep 1
        kill -CONT "$broker_pid"
    done
    wait $generator
    code=$? err=$(cat "$work/err")
    [ "$code" != 11 ] || code=0
    python3 -c 'import json, sys; rows = [json.loads(line) for line in open(sys.argv[1])]
print(json.dumps({"rates": [r for r in rows if r["type"] == "rate"], "knee": rows[-1]}))' "$work/rows" >"$work/out"
    out=$(cat "$work/out")
    check 'bench sweep: a knee' 0 json "$agrees" json 'j["rates"] and j["knee"]["type"] == "knee"' \
        json 'all(r["outcome"] == ("invalid" if not r["valid"] else "held" if r["follows"] and r["response_max_ns"] < 600e6 else "missed")
            for r in j["rates"])' json 'all(("max<600ms: it was" in r["why"]) == (r["response_max_ns"] >= 600e6) for r in j["rates"])' \
        json "$invalid or [r['rate'] for r in j['rates']] == [300, 600, 600, 450]" \
        json "$invalid or [r['outcome'] for r in j['rates']] == ['held', 'missed', 'missed', 'held']" \
        json "$invalid or j['knee']['rate'] == 450 and j['knee']['missed_rate'] == 600 and j['knee']['bound'] == 'exact'"
fi

# A generator that is stopped for more than a second of three is what limits the load.
"$millrace" bench produce "$t-bench" -r 1000 -d 3s -w 0s --format json -q >"$work/out" 2>"$work/err" &
generator=$!
sleep 1
kill -STOP $generator
sleep 1.3
kill -CONT $generator
wait $generator
code=$? out=$(cat "$work/out") err=$(cat "$work/err")
check 'bench produce: INVALID when the generator was the limit' 11 json 'j["valid"] is False and j["self_check"]["late"] >= 1' \
    json 'j["latency"]["response"]["max_ns"] > 1.2e9 and j["result"]["records"] == 3000'

# So is one that gets a fifth of a core, by a cgroup, and would want more: it says so and is never just slower, where it
# has a rate to keep and where it has none.
if cgroup=$(tests/cli/cgroup make 20); then
    tests/cli/cgroup run "$cgroup" "$millrace" bench produce "$t-bench" -r 100k -d 3s -w 0s -c 4 -s 100 --drain 2s --format json -q \
        >"$work/out" 2>"$work/err"
    code=$? out=$(cat "$work/out") err=$(cat "$work/err")
    check 'bench produce: INVALID with a fifth of a core' 11 json 'j["valid"] is False and j["self_check"]["late"] >= 1' \
        json 'j["result"]["own_cpu"] < 0.3 and "left over 1 ms late" in j["invalid_because"]'
    tests/cli/cgroup run "$cgroup" "$millrace" bench ping --spin >"$work/out" 2>"$work/err"
    code=$? out=$(cat "$work/out") err=$(cat "$work/err")
    check 'bench ping --spin: refused with a fifth of a core' 1 out '^$' \
        err '--spin takes a whole core, and this process may use 0.20 of one \('
    tests/cli/cgroup remove "$cgroup"
    cgroup=$(tests/cli/cgroup make 2) # too little, whatever else the machine does
    tests/cli/cgroup run "$cgroup" "$millrace" bench ping -d 3s -w 0s -c 4 --in-flight 64 --format json -q >"$work/out" 2>"$work/err"
    code=$? out=$(cat "$work/out") err=$(cat "$work/err")
    check 'bench ping: INVALID with a fiftieth of a core, without a rate' 11 json 'j["valid"] is False and j["result"]["own_cpu"] < 0.1' \
        json 'j["result"]["own_wait"] > 0.5 and "lacked processor time" in j["invalid_because"]'
    tests/cli/cgroup remove "$cgroup"
else
    skip 'bench produce: INVALID with a fifth of a core' "$cgroup"
fi

# A generator that spins uses a core for a load that is nothing, says so, and is not judged by it. Where nobody had a
# core to spare there is nothing to see.
TIMEFORMAT='%U %S'
{ time bench produce "$t-bench" -r 20 -d 2s -w 0s --spin --format json; } 2>"$work/times"
used=$(awk '{print $1 + $2}' "$work/times")
if [[ $err = *'no other'* || $err = *'may use'* ]]; then
    skip 'bench produce --spin' "$err"
elif awk "BEGIN {exit $used >= 1}"; then
    skip 'bench produce --spin' "it got $used s of a core in 2 s"
else
    check 'bench produce --spin: a core for nothing' 0 err "note: --spin keeps one of this machine's [0-9]+ cores busy" \
        json 'j["options"]["spin"] is True and j["result"]["records"] == 40' json "0 < j['result']['own_cpu'] * 2 < $used / 4"
    { time bench produce "$t-bench" -r 20 -d 2s -w 0s --format json -q; } 2>"$work/times"
    used_asleep=$(awk '{print $1 + $2}' "$work/times")
    check 'bench produce: without --spin it sleeps' 0 json 'j["options"]["spin"] is False' json "$used_asleep < $used / 2"
    bench ping --spin -d 500ms -w 0s
    check 'bench ping --spin: what it costs' 0 out '^spin +a whole core for the generator, which worked [0-9]+ % of the time$'
fi

# Coordinated omission. The broker stands still for 2 s of 6, and the load may have one request in flight, as many tools
# have: of the records' service times a handful tells of it, of their response times a third does. The delay says why.
if [ -n "$broker_pid" ]; then
    stalled 2 produce "$t-bench" -r 500 -d 6s -w 0s --in-flight 1 -s 100 --format json -q
    over='(lambda k: sum(n for ns, n in j["latency"][k]["histogram"] if ns > 1e9))'
    check 'bench produce: a stall is in the response times' 0 json 'j["result"]["records"] == 3000 and j["result"]["failed"] == 0' \
        json 'j["latency"]["response"]["p999_ns"] > 1.9e9 and j["latency"]["response"]["max_ns"] > 1.95e9' \
        json "$over('response') > 400 and $over('delay') > 400 and j['result']['held'] > 0" \
        json "1 <= $over('service') <= 5 and j['latency']['service']['p99_ns'] < 1e9"
    bench produce "$t-bench" -r 500 -d 1s -w 0s -q # it is awake again
    check 'bench produce: after the stall' 0 out '^records +500 in'
fi

# The disk alone.
mkdir "$work/disk"
run bench disk "$work/disk" --size 16M --seconds 0.05 --format json -q
check 'bench disk' 0 json 'len(j["items"]) == 18 and all(i["count"] > 0 and i["max_ns"] >= i["p50_ns"] > 0 for i in j["items"])' \
    json '{(i["block_bytes"] >> 10, i["in_flight"]) for i in j["items"][:16]} == {(k, n) for k in (4, 16, 128, 1024) for n in (1, 4)}' \
    json 'all(abs(i["mb_per_s"] - i["count"] * i["block_bytes"] / i["seconds"] / 1e6) < 0.06 for i in j["items"])' \
    json '[(i["what"], i["block_bytes"] >> 10, i["in_flight"]) for i in j["items"][16:]] == [("read in order", 1024, 4), ("read at random", 64, 16)]'
out=$(ls "$work/disk")
check 'bench disk: its file is removed' 0 out '^$'
run bench disk "$work/disk" --size 16M --seconds 0.02
check 'bench disk: text' 0 out '^WHAT +BLOCK +IN FLIGHT +IOPS' out '^durable write, written space +16.0 KiB +1 ' err 'fresh space: 4.0 KiB'
run bench disk "$work/disk" --size "$(($(df --output=avail -B1M "$work" | tail -n 1) * 3 / 4 + 16))M"
check 'bench disk: no space' 1 err 'of free space, and twice --size \([0-9.]+ .iB\) is wanted'
run bench disk "$work/nowhere"
check 'bench disk: no such directory' 1 err 'cannot use .*nowhere'
run bench disk "$work/disk" --size 1M
check 'bench disk: a size that is none' 2 err 'from 16M'
"$millrace" bench disk "$work/disk" --size 16M --seconds 10 >"$work/out" 2>"$work/err" &
generator=$!
sleep 1
there=$(ls "$work/disk")
kill -INT $generator
wait $generator
code=$? out="$there, then: $(ls "$work/disk")" err=$(cat "$work/err")
check 'bench disk: interrupted, its file is removed' 130 out '^millrace-bench-disk.[0-9]+, then: $'

# The network alone: with a server of its own, which goes when it goes, however it goes.
run bench net --seconds 0.05 --format json -q
lines='[("round trip", 64, 1, 1), ("round trip", 64, 1, 16), *(("to the server", k << 10, c, 4) for k in (16, 128, 1024) for c in (1, 4)),
    ("from the server", 1 << 20, 1, 4), ("from the server", 1 << 20, 4, 4)]'
check 'bench net' 0 json "[(i['what'], i['message_bytes'], i['connections'], i['in_flight']) for i in j['items']] == $lines" err '^$' \
    json 'all(i["count"] > 0 and i["max_ns"] >= i["p99_ns"] * 0.99 and i["p99_ns"] >= i["p50_ns"] > 0 and i["seconds"] >= 0.05 for i in j["items"])' \
    json 'all(abs(i["mb_per_s"] - i["count"] * i["message_bytes"] / i["seconds"] / 1e6) < 0.06 for i in j["items"])' \
    json 'all(abs(i["per_s"] - i["count"] / i["seconds"]) <= 1 for i in j["items"])' \
    json 'all(i["count"] / 2 * i["p50_ns"] <= 1.01 * i["connections"] * i["in_flight"] * (i["seconds"] * 1e9 + i["max_ns"]) for i in j["items"])'
run bench net --seconds 0.02
check 'bench net: text' 0 out '^WHAT +MESSAGE +CONNECTIONS +IN FLIGHT +PER SECOND +MB/S +P50 MS' out '^to the server +1.0 MiB +4 +4 +[0-9]+ ' \
    out '^from the server +1.0 MiB +1 +4 ' out '!SERVER' err '^round trip: 64 B, 1 connection, 16 in flight$'
run bench net --seconds 0.02 --format awk -q
rows=$(grep -c '^[a-z ]*	[0-9]*	[14]	[0-9]*	[0-9]*	[0-9.]*	[0-9.]*	[0-9.]*	[0-9.]*	127.0.0.1:[0-9]*$' <<<"$out")
run bench net --seconds 0.02 --format wide
out="$rows $out"
check 'bench net: wide and awk' 0 out '^10 WHAT' out 'SERVER$' out ' 127.0.0.1:[0-9]+$'
gone() { # PID: waits until it is
    for _ in $(seq 50); do
        [ -d "/proc/$1" ] || return 0
        sleep 0.1
    done
    return 1
}
measuring() { # [HOST:PORT]: a run in $generator that has begun
    : >"$work/err" # or the last one's words could be read
    "$millrace" bench net "$@" --seconds 10 >"$work/out" 2>"$work/err" &
    generator=$!
    for _ in $(seq 50); do
        grep -q '^round trip' "$work/err" && break
        sleep 0.1
    done
}
for signal in INT TERM KILL; do
    measuring
    server=$(ps -o pid= --ppid $generator | tr -d ' ')
    kill -$signal $generator
    wait $generator 2>/dev/null
    code=$? err=$(cat "$work/err") out='the server is still there'
    [ -n "$server" ] && gone "$server" && out='both are gone'
    case $signal in KILL) want=137 ;; *) want=130 ;; esac
    check "bench net: SIG$signal ends it and its server" $want out 'both are gone' err '!error|panic'
done

# A server for another machine, and whatever may be sent to it.
serve() { # leaves its process in $server, its port in $port
    : >"$work/server"
    "$millrace" bench net --serve 127.0.0.1:0 >"$work/served" 2>"$work/server" &
    server=$! port=''
    for _ in $(seq 50); do
        port=$(sed -n 's/^serving on 127.0.0.1:\([0-9]*\) with .*/\1/p' "$work/server")
        [ -z "$port" ] || return
        sleep 0.1
    done
}
serve
run bench net "localhost:$port" --seconds 0.05 --format ndjson -q
out="$(wc -l <<<"$out") $out"
check 'bench net --serve' 0 out "^10 .*\"server\": ?\"localhost:$port\""
timeout 60 python3 tests/cli/bench_net.py garbage "$port" >"$work/out" 2>"$work/err"
code=$? out=$(cat "$work/out") err=$(cat "$work/err")
check 'bench net --serve: garbage closes its connection' 0 out '^http: (closed|reset)' out '^another version: ' out '!open|crowd' err '^$'
run bench net --serve "127.0.0.1:$port"
check 'bench net --serve: somebody is there' 1 err "cannot listen on 127.0.0.1:$port: Address already in use"
run bench net "127.0.0.1:$port" --seconds 0.05 --format json -q
check 'bench net --serve: after the garbage' 0 json 'len(j["items"]) == 10 and all(i["count"] > 0 for i in j["items"])'
measuring "127.0.0.1:$port"
kill -TERM $server
wait $server
code=$? out=$(cat "$work/served") err=$(cat "$work/server")
check 'bench net --serve: stopped under load' 0 out '^$' err '^[0-9]+ connections, .* in, .* out; [0-9]+ of them closed' err '!error|panic'
wait $generator
code=$? out=$(cat "$work/out") err=$(cat "$work/err")
check 'bench net: the server stops' 3 err "127.0.0.1:$port has gone away" err '!panic'
serve
measuring "127.0.0.1:$port"
kill -9 $server
wait $server 2>/dev/null
wait $generator
code=$? out=$(cat "$work/out") err=$(cat "$work/err")
check 'bench net: the server is killed' 3 err "127.0.0.1:$port has gone away" err '!panic'
run bench net "127.0.0.1:$port"
check 'bench net: nobody is there' 3 err 'Connection refused; is .millrace bench net --serve. running there' out '^$'
run bench net "${MILLRACE_BOOTSTRAP_SERVER%%,*}"
check 'bench net: a broker is there' 1 err 'is a Kafka broker, and no .millrace bench net --serve.' out '^$'
stranger() { # KIND...: measures against one of tests/cli/bench_net.py
    : >"$work/port"
    python3 tests/cli/bench_net.py "$@" >"$work/port" &
    local pid=$!
    for _ in $(seq 50); do
        [ ! -s "$work/port" ] || break
        sleep 0.1
    done
    run bench net "127.0.0.1:$(cat "$work/port")"
    kill $pid
    wait $pid 2>/dev/null
}
stranger http
check 'bench net: something else is there' 1 err 'answers with something else: it is no .millrace bench net --serve.'
stranger version 2
check 'bench net: another version is there' 1 err 'speaks version 2 of .bench net., and this is version 1: run the same millrace'
stranger version 1
check 'bench net: one that answers nothing' 1 err 'an answer of 55 bytes where 64 were asked for'
label=$(printf 'x%.0s' $(seq 64)) # longer than any: no name server is asked
run bench net "$label:9700"
check 'bench net: a name that is none' 3 err "the name $label is not known"
run bench net localhost
check 'bench net: no port' 2 err 'has no port'
run bench net --serve 127.0.0.1:0 127.0.0.1:9700
check 'bench net: either serves or measures' 2 err 'only serves'
run bench net --seconds 0
check 'bench net: a time that is none' 2 err 'a time is wanted'

# A broker dies under the load, and comes not back: what was in flight has failed, and that is told.
killed() { # RECORDS BENCH...: its broker is killed when the topic k has so many
    local records=$1 at address
    shift
    : >"$work/victim" # or the last one's words could be read before this one begins to speak
    "$millrace" start --data-dir "$work/killed" --listen 127.0.0.1:0 --admin-listen off --memory 256M --cores 1 \
        >"$work/victim" 2>&1 &
    local victim=$! generator
    for _ in $(seq 100); do
        grep -q '^ready in' "$work/victim" && break
        sleep 0.1
    done
    address=$(sed -n 's/^ready in .*kafka \([^ ]*\).*/\1/p' "$work/victim")
    timeout 30 "$millrace" bench "$@" -b "$address" --format json >"$work/out" 2>"$work/err" &
    generator=$!
    for _ in $(seq 100); do
        at=$("$millrace" topic describe k -b "$address" --format awk 2>/dev/null | awk '{ sum += $8 } END { print sum + 0 }')
        [ "$at" -lt "$records" ] || break
        sleep 0.1
    done
    kill -9 $victim
    wait $victim 2>/dev/null
    wait $generator
    code=$? out=$(cat "$work/out") err=$(cat "$work/err")
    [ "$code" != 11 ] || code=4
    rm -rf "$work/killed"
}
for acks in 0 1; do
    killed 1000 produce k -c 4 --acks $acks --batch 16 --in-flight 32 -d 3s -w 0s -q
    check "bench produce --acks $acks: its broker is killed" 4 err '!panic' \
        json 'j["result"]["acknowledged_in_all"] > 0 and j["result"]["reconnects"] >= 4' \
        json 'j["result"]["errors"] == {"NO_ANSWER": 128} and j["result"]["failed"] == 128 * 16'
done
killed 300 sweep k --rate 200..2000:+200 --all -d 1s -w 0s --drain 100ms -q
check 'bench sweep: its broker is killed' 3 err 'acknowledged nothing' err '!panic' \
    json 'len(j["rates"]) >= 2 and j["rates"][-1]["outcome"] != "held" and j["rates"][-1]["failed"] > 0' \
    json 'j["knee"]["complete"] is False'
killed 2000 produce k -c 4 -r 5000 --linger 5ms --batch-bytes 2000 --in-flight 32 -d 3s -w 0s --drain 100ms -q
check 'bench produce --linger: its broker is killed' 4 err '!panic' \
    json 'j["result"]["errors"]["NO_ANSWER"] > 0 and j["result"]["errors"]["NEVER_SENT"] > 0' \
    json 'j["result"]["acknowledged_in_all"] > 0 and j["result"]["acknowledged_in_all"] + j["result"]["failed_in_all"] == 15000'

for topic in bench bench-0 bench-1 v; do run topic delete "$t-$topic" -q; done
