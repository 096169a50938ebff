// SPDX-License-Identifier: Apache-2.0

// The pipe of the Go clients: a driver answers the runner's requests, here they are read and written. Which requests there
// are and what a record's line is: see clients.py and records.py. Argument: HOST:PORT.
package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

const big = 80_000_000
const limit = 20 * time.Second // of one request

type header struct {
	name  string
	value []byte
}

type record struct {
	partition   int32
	offset      int64
	timestampMs int64
	key, value  []byte
	headers     []header
}

type driver interface {
	hello() (codecs, features, version string)
	kindOf(err error) string
	create(topic string, partitions int, configs map[string]string) error
	remove(topic string) error
	produce(topic, codec, acks string, idempotent bool, records []*record) error // fills in the offsets
	consume(topic string, partition int32, offset int64, count int, committed bool) ([]*record, error)
	offset(topic string, partition int32, at int64) (int64, error) // -2: the first, -1: the next one
	cluster() ([]string, error)
	partitions(topic string) (int, error)
	configs(topic string) ([]string, error)
	alter(topic, name, value string) error
	transaction(name string) error
	join(group, topic, reset, protocol string, session time.Duration) error
	poll(d time.Duration) ([]int32, []*record, error)
	commit(topic string, partition int32, offset int64) error
	leave() error
}

// What a member of a group owns and has read, where the client reads by itself.
type inbox struct {
	mutex sync.Mutex
	owned map[int32]bool
	read  []*record
	err   error
}

func (b *inbox) own(partitions ...int32) { // instead of all before
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.owned = map[int32]bool{}
	for _, partition := range partitions {
		b.owned[partition] = true
	}
}

func (b *inbox) change(partitions []int32, is bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.owned == nil {
		b.owned = map[int32]bool{}
	}
	for _, partition := range partitions {
		if is {
			b.owned[partition] = true
		} else {
			delete(b.owned, partition)
		}
	}
}

func (b *inbox) put(read *record, err error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if read != nil {
		b.read = append(b.read, read)
	}
	if err != nil {
		b.err = err
	}
}

func (b *inbox) take() ([]int32, []*record, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	owned, read, err := []int32{}, b.read, b.err
	for partition := range b.owned {
		owned = append(owned, partition)
	}
	sort.Slice(owned, func(i, j int) bool { return owned[i] < owned[j] })
	b.read, b.err = nil, nil
	return owned, read, err
}

func bytesOf(text string) []byte {
	if text == "~" {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	if data == nil {
		data = []byte{}
	}
	return data
}

func textOf(data []byte) string {
	if data == nil {
		return "~"
	}
	return base64.StdEncoding.EncodeToString(data)
}

func row(fields ...interface{}) string {
	text := make([]string, len(fields))
	for i, field := range fields {
		text[i] = fmt.Sprint(field)
	}
	return strings.Join(text, "\t")
}

func number(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return value
}

func recordOf(line string) *record {
	fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
	read := &record{partition: int32(number(fields[1])), offset: -1, timestampMs: number(fields[2]),
		key: bytesOf(fields[3]), value: bytesOf(fields[4])}
	for _, pair := range strings.Split(fields[5], ",") {
		if pair != "" {
			sides := strings.SplitN(pair, ":", 2)
			read.headers = append(read.headers, header{string(bytesOf(sides[0])), bytesOf(sides[1])})
		}
	}
	return read
}

func lineOf(read *record) string {
	headers := []string{}
	for _, one := range read.headers {
		headers = append(headers, textOf([]byte(one.name))+":"+textOf(one.value))
	}
	return row(read.offset, read.partition, read.timestampMs, textOf(read.key), textOf(read.value),
		strings.Join(headers, ","))
}

func pairsOf(text string) map[string]string {
	pairs := map[string]string{}
	for _, pair := range strings.Split(text, ",") {
		if name, value, found := strings.Cut(pair, "="); found {
			pairs[name] = value
		}
	}
	return pairs
}

// How large batches may become: the default of max.message.bytes, or as large as one record needs.
func batchMax(records []*record) int64 {
	for _, written := range records {
		if len(written.value) > 1048588 {
			return big
		}
	}
	return 1048588
}

func versionOf(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == module {
				return dependency.Version
			}
		}
	}
	return "unknown"
}

func one(value interface{}, err error) ([]string, error) {
	return []string{row(value)}, err
}

func hello(d driver) []string {
	codecs, features, version := d.hello()
	return []string{row("version", version), row("codecs", codecs), row("features", features)}
}

func produce(d driver, in *bufio.Reader, f []string) ([]string, error) {
	records := []*record{}
	for i := int64(0); i < number(f[5]); i++ {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		records = append(records, recordOf(line))
	}
	err := d.produce(f[1], f[2], f[3], f[4] == "1", records)
	rows := []string{}
	for _, written := range records {
		rows = append(rows, row(written.partition, written.offset))
	}
	return rows, err
}

func consume(d driver, f []string) ([]string, error) {
	records, err := d.consume(f[1], int32(number(f[2])), number(f[3]), int(number(f[4])), f[5] == "read_committed")
	rows := []string{}
	for _, read := range records {
		rows = append(rows, lineOf(read))
	}
	return rows, err
}

func offset(d driver, f []string) ([]string, error) {
	at := map[string]int64{"earliest": -2, "latest": -1}[f[3]]
	if at == 0 {
		at = number(f[3])
	}
	return one(d.offset(f[1], int32(number(f[2])), at))
}

func poll(d driver, f []string) ([]string, error) {
	owned, records, err := d.poll(time.Duration(number(f[1])) * time.Millisecond)
	text := []string{}
	for _, partition := range owned {
		text = append(text, fmt.Sprint(partition))
	}
	rows := []string{strings.Join(text, ",")}
	for _, read := range records {
		rows = append(rows, row(read.partition, read.offset))
	}
	return rows, err
}

func answer(d driver, in *bufio.Reader, f []string) ([]string, error) {
	switch f[0] {
	case "hello":
		return hello(d), nil
	case "create":
		return nil, d.create(f[1], int(number(f[2])), pairsOf(f[3]))
	case "delete":
		return nil, d.remove(f[1])
	case "produce":
		return produce(d, in, f)
	case "consume":
		return consume(d, f)
	case "offset":
		return offset(d, f)
	case "cluster":
		return d.cluster()
	case "partitions":
		return one(d.partitions(f[1]))
	case "configs":
		return d.configs(f[1])
	case "alter":
		return nil, d.alter(f[1], f[2], f[3])
	case "transaction":
		return nil, d.transaction(f[1])
	case "join":
		return nil, d.join(f[1], f[2], f[3], append(f, "classic")[5], time.Duration(number(f[4]))*time.Millisecond)
	case "poll":
		return poll(d, f)
	case "commit":
		return nil, d.commit(f[1], int32(number(f[2])), number(f[3]))
	case "leave":
		return nil, d.leave()
	}
	return nil, errors.New("unknown request " + f[0])
}

func serve(d driver) {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriterSize(os.Stdout, 1<<20)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		begin := time.Now()
		rows, err := answer(d, in, strings.Split(strings.TrimRight(line, "\n"), "\t"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			text := strings.Join(strings.Fields(err.Error()), " ")
			fmt.Fprintln(out, row("error", time.Since(begin).Milliseconds(), d.kindOf(err), text))
		} else {
			fmt.Fprintln(out, row("ok", len(rows)))
			for _, line := range rows {
				out.WriteString(line)
				out.WriteByte('\n')
			}
		}
		out.Flush()
	}
}
