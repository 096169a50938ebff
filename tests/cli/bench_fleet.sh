# shellcheck shell=bash disable=SC2034,SC2154 # a part of tests/cli/run, which reads it in
# SPDX-License-Identifier: Apache-2.0
#
# `millrace bench agent`, and `bench produce --agents`: a load from three processes.

run bench agent --help
check 'bench agent --help' 0 out 'usage: millrace bench agent' out 'examples:' out 'ssh -L'
token=$work/token
(umask 077 && head -c 24 /dev/urandom | base64 >"$token")
run bench agent
check 'bench agent: no token' 2 err '--token-file is wanted'
cp "$token" "$work/open" && chmod 644 "$work/open"
run bench agent --token-file "$work/open"
check 'bench agent: a token that others read' 1 err 'others may read'
(umask 077 && echo short >"$work/short")
run bench agent --token-file "$work/short"
check 'bench agent: a token that is too short' 1 err '16 to 256'

agents='' agent_pids=()
agent() { # leaves its process in $agent_pid, its port in $agent_port, what it says in $work/agent.N
    local said=$work/agent.${#agent_pids[@]}
    "$millrace" bench agent --listen 127.0.0.1:0 --token-file "$token" 2>"$said" &
    agent_pid=$! agent_port=''
    agent_pids+=("$agent_pid")
    for _ in $(seq 50); do
        agent_port=$(sed -n 's/^an agent on 127.0.0.1:\([0-9]*\),.*/\1/p' "$said")
        [ -z "$agent_port" ] || return
        sleep 0.1
    done
}
for _ in 1 2 3; do
    agent
    agents=${agents:+$agents,}127.0.0.1:$agent_port
done
fleet() { run bench produce "$t-fleet" --agents "$agents" --token-file "$token" -q "$@"; }
fleet_valid() { # where the case is about something else, the machine may be the limit
    fleet "$@"
    [ "$code" != 11 ] || code=0
}

fleet_valid -p 4 -r 1000 -d 2s -w 500ms -c 2 -s 100 --format json --out "$work/fleet.json" --hgrm "$work/fleet"
check 'bench produce --agents: one load of three' 0 json 'j["options"]["rate"] == 1000 and j["options"]["connections"] == 6' \
    json 'j["result"]["records"] == 2000 and j["result"]["sent_in_all"] == 2500 == j["result"]["counted_in_all"]' \
    json 'sorted(a["sent_in_all"] for a in j["agents"]) == [833, 833, 834]' \
    json 'len(j["agents"]) == 3 and all(a["machine"]["cores"] > 0 and a["clock_unsure_ns"] < 50e6 for a in j["agents"])' \
    json 'all(abs(a["clock_ahead_ns"]) <= a["clock_unsure_ns"] for a in j["agents"])' \
    json 'all(sum(n for _, n in j["latency"][k]["histogram"]) == 2000 == j["latency"][k]["count"] for k in ("response", "service", "delay"))' \
    json 'j["latency"]["response"]["max_ns"] == max(a["response_max_ns"] for a in j["agents"])' \
    json 'min(a["response_p50_ns"] for a in j["agents"]) <= j["latency"]["response"]["p50_ns"] <= max(a["response_p50_ns"] for a in j["agents"])' \
    json '2 <= len(j["series"]) <= 3 and abs(sum(s["records"] for s in j["series"]) - 2000) <= 40' \
    json 'j["valid"] == all(a["valid"] for a in j["agents"])'
run bench compare "$work/fleet.json" "$work/fleet.json"
check 'bench compare: results of agents' 0 out 'no difference'
run bench report "$work/fleet.json" -o "$work/fleet.html"
check 'bench report: results of agents' 0 err 'fleet.html'
out=$(cat "$work/fleet.response.hgrm")
check 'bench produce --agents --hgrm' 0 out '#\[Max .* Total count +=[ ]+2000\]'
run consume "$t-fleet" -e --format ndjson
out=$(wc -l <"$work/out")
check 'bench produce --agents: the broker has what was sent' 0 out '^2500$'
fleet_valid -n 1000 -c 2 --format json
check 'bench produce --agents: a closed loop' 0 json 'j["result"]["counted_in_all"] == 1000 == j["result"]["acknowledged_in_all"]' \
    json 'sorted(a["sent_in_all"] for a in j["agents"]) == [333, 333, 334]'
fleet_valid -r 900 --arrival poisson -d 1s -w 0s --linger 20ms -k zipf:50 -z lz4 --idempotent --format ndjson
tail -n 1 "$work/out" >"$work/last" && mv "$work/last" "$work/out"
check 'bench produce --agents: keys, codec, linger' 0 json 'j["result"]["failed"] == 0' \
    json '700 < j["result"]["counted_in_all"] == j["result"]["sent_in_all"] < 1100'
fleet_valid -r 600 -d 1s -w 0s
check 'bench produce --agents: text' 0 out '^(valid|INVALID) ' out '^agent +127.0.0.1:[0-9]+: 200 records' out '^records +600 in' out '^response'
fleet -r 600 -d 1s --assert 'p50<1us'
check 'bench produce --agents --assert' 11 err 'p50<1us: it was'
fleet -n 10 --no-create -X request.timeout.ms=abc
check 'bench produce --agents: what is wrong is said once, here' 2 err 'request.timeout.ms' err '!agent'
fleet --acks 1 --idempotent -n 10
check 'bench produce --agents: options are checked here' 2 err '--idempotent needs' err '!agent'
fleet -n 2
check 'bench produce --agents: fewer records than agents' 2 err 'less than one for each'
run bench produce "$t-fleet" --agents "$agents"
check 'bench produce --agents: no token' 2 err '--token-file is wanted'
run bench produce "$t-fleet" --token-file "$token"
check 'bench produce: a token without agents' 2 err 'is for --agents'
run bench produce "$t-fleet" --agents 127.0.0.1:1 --token-file "$token" -n 10
check 'bench produce --agents: nobody is there' 3 err 'agent 127.0.0.1:1 cannot be reached: Connection refused' out '^$'
(umask 077 && echo 0123456789abcdefghijklmnopqrstuvwxyz >"$work/other")
run bench produce "$t-fleet" --agents "$agents" --token-file "$work/other" -n 10
check 'bench produce --agents: another token' 1 err 'cannot: the token is another one' out '^$'

# Whatever is sent to an agent.
timeout 60 python3 tests/cli/bench_agent.py garbage "$agent_port" "$token" >"$work/out" 2>"$work/err"
code=$? out=$(cat "$work/out") err=$(cat "$work/err")
check 'bench agent: garbage is refused' 0 out '^http: (closed|reset)' out '^another token: closed: the token is another one$' \
    out '^a plan at once: closed: the token is another one$' out '^known, --disturb: closed: welcome; its plan has what an agent does not do' \
    out '^known, an empty setting.*: closed: welcome; error: -X : KEY=VALUE' \
    out '^another protocol: closed: .*another version' out '^behind the crowd: welcome$' \
    out '^a byte now and then: it took too long$' out '!open|crowd (is|was)' err '^$'
refused=$(grep -c '^known, .*its plan has what an agent does not do' <<<"$out")
out="$refused"
check 'bench agent: each of those plans' 0 out '^22$'
for kind in lies leaves garbage long refuses; do
    : >"$work/port"
    python3 tests/cli/bench_agent.py liar $kind >"$work/port" &
    liar=$!
    for _ in $(seq 50); do
        [ ! -s "$work/port" ] || break
        sleep 0.1
    done
    run bench produce "$t-fleet" --agents "$agents,127.0.0.1:$(cat "$work/port")" --token-file "$token" -r 100 -d 1s
    kill $liar 2>/dev/null
    case $kind in
    lies) check 'bench produce --agents: an agent that lies' 1 err "$(cat "$work/port") has sent what cannot be true" out '^$' ;;
    leaves) check 'bench produce --agents: an agent that leaves' 3 err "$(cat "$work/port") was lost: it has closed" out '^$' ;;
    garbage) check 'bench produce --agents: one that is none' 3 err 'something that is no message' out '^$' ;;
    long) check 'bench produce --agents: one that talks too much' 3 err 'a message that is too long' out '^$' ;;
    refuses) check 'bench produce --agents: one that refuses' 5 err 'cannot: \?\[2Jno such topic' out '^$' ;;
    esac
done

# An agent that dies, and one that is busy.
"$millrace" bench produce "$t-fleet" --agents "$agents" --token-file "$token" -r 300 -d 20s -q >"$work/out" 2>"$work/err" &
generator=$!
sleep 2
"$millrace" bench produce "$t-fleet" --agents "$agents" --token-file "$token" -r 300 -d 1s -q >"$work/busy" 2>&1
busy=$?
kill -9 "$(ps -o pid= --ppid "$agent_pid" | tr -d ' ')"
wait $generator
code=$? out=$(cat "$work/out") err=$(cat "$work/err")
check 'bench produce --agents: an agent is lost' 3 err "agent 127.0.0.1:$agent_port was lost" out '^$'
code=$busy err=$(cat "$work/busy")
check 'bench produce --agents: another run is under way' 1 err 'cannot: another run is under way'
fleet_valid -r 300 -d 1s -w 0s --format json
# What was under way when the agent died may come to the broker in between, and counts there.
check 'bench produce --agents: they serve again' 0 json 'j["result"]["records"] == 300 <= j["result"]["counted_in_all"]'

# Who asked goes while it warms up: no second has been told, and the next one is served at once.
"$millrace" bench produce "$t-fleet" --agents "$agents" --token-file "$token" -r 300 -w 20s -d 1s -q >"$work/out" 2>&1 &
generator=$!
sleep 1.5
kill -INT $generator
wait $generator
code=$? out=$(cat "$work/out")
check 'bench produce --agents: interrupted' 130 out '^$'
fleet_valid -r 300 -d 1s -w 0s --format json
check 'bench produce --agents: runs of who has gone make room' 0 json 'j["result"]["records"] == 300'

# One agent's run is stopped for more than a second of three: the load was not what was asked for.
"$millrace" bench produce "$t-fleet" --agents "$agents" --token-file "$token" -r 1000 -d 3s -w 0s --format json -q \
    >"$work/out" 2>"$work/err" &
generator=$!
sleep 1.5
child=$(ps -o pid= --ppid "${agent_pids[1]}" | tr -d ' ')
kill -STOP "$child"
sleep 1.4
kill -CONT "$child"
wait $generator
code=$? out=$(cat "$work/out") err=$(cat "$work/err")
check 'bench produce --agents: INVALID when one of them was the limit' 11 json 'j["valid"] is False and not j["agents"][1]["valid"]' \
    json 'j["latency"]["response"]["max_ns"] > 1e9 and j["result"]["records"] == 3000 == j["result"]["counted_in_all"]'
for signal in INT TERM TERM; do
    kill -$signal "${agent_pids[0]}"
    wait "${agent_pids[0]}"
    code=$? err=$(cat "$work"/agent.*) out=''
    agent_pids=("${agent_pids[@]:1}")
    check "bench agent: SIG$signal ends it" 0 err '!panic|Sanitizer|runtime error'
done
run topic delete "$t-fleet" -q
