// SPDX-License-Identifier: Apache-2.0

// franz-go as a client process of the matrix. Argument: HOST:PORT. Requests and records: see records.py and repl.py.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const big = 80_000_000

type client struct {
	address string
	in      *bufio.Reader
	admin   *kgo.Client
}

func (c *client) open(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.address), kgo.ClientID("interop-go"), kgo.AllowAutoTopicCreation(),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, options...)...)
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

func recordOf(topic, line string) *kgo.Record {
	fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
	partition, _ := strconv.Atoi(fields[1])
	timestamp, _ := strconv.ParseInt(fields[2], 10, 64)
	record := &kgo.Record{Topic: topic, Partition: int32(partition), Timestamp: time.UnixMilli(timestamp),
		Key: bytesOf(fields[3]), Value: bytesOf(fields[4])}
	for _, pair := range strings.Split(fields[5], ",") {
		if pair != "" {
			sides := strings.SplitN(pair, ":", 2)
			record.Headers = append(record.Headers,
				kgo.RecordHeader{Key: string(bytesOf(sides[0])), Value: bytesOf(sides[1])})
		}
	}
	return record
}

func lineOf(record *kgo.Record) string {
	headers := []string{}
	for _, header := range record.Headers {
		headers = append(headers, textOf([]byte(header.Key))+":"+textOf(header.Value))
	}
	return row(record.Offset, record.Partition, record.Timestamp.UnixMilli(), textOf(record.Key),
		textOf(record.Value), strings.Join(headers, ","))
}

func (c *client) hello() ([]string, error) {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == "github.com/twmb/franz-go" {
				version = dependency.Version
			}
		}
	}
	return []string{row("version", version), row("codecs", "none,gzip,snappy,lz4,zstd"),
		row("features", "create,configs,alter,idempotent,transactions,isolation,null-header,null-record,binary,timestamps,offsets")}, nil
}

func (c *client) create(topic, partitions, configs string) ([]string, error) {
	count, _ := strconv.Atoi(partitions)
	wanted := kmsg.NewCreateTopicsRequestTopic()
	wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = topic, int32(count), 1
	for _, pair := range strings.Split(configs, ",") {
		if pair != "" {
			sides := strings.SplitN(pair, "=", 2)
			config := kmsg.NewCreateTopicsRequestTopicConfig()
			config.Name, config.Value = sides[0], &sides[1]
			wanted.Configs = append(wanted.Configs, config)
		}
	}
	request := kmsg.NewPtrCreateTopicsRequest()
	request.TimeoutMillis, request.Topics = 15_000, append(request.Topics, wanted)
	response, err := request.RequestWith(context.Background(), c.admin)
	if err != nil {
		return nil, err
	}
	return nil, kerr.ErrorForCode(response.Topics[0].ErrorCode)
}

func codecOf(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.NoCompression()
}

func (c *client) produce(topic, codec, acks, idempotent, count string) ([]string, error) {
	total, _ := strconv.Atoi(count)
	records, batchMax := []*kgo.Record{}, 1048588 // the default of max.message.bytes
	for i := 0; i < total; i++ {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		records = append(records, recordOf(topic, line))
		if len(line) > 2*batchMax {
			batchMax = big
		}
	}
	options := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codecOf(codec)),
		kgo.ProducerLinger(50 * time.Millisecond), kgo.ProducerBatchMaxBytes(int32(batchMax))}
	switch acks {
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()))
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	}
	if idempotent != "1" {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	producer, err := c.open(options...)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	rows := []string{}
	limit, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, result := range producer.ProduceSync(limit, records...) {
		if result.Err != nil {
			return nil, result.Err
		}
	}
	for _, record := range records { // filled in by ProduceSync, which answers in order of completion
		rows = append(rows, row(record.Partition, record.Offset))
	}
	return rows, nil
}

func (c *client) consume(topic, partition, offset, count, isolation string) ([]string, error) {
	where, _ := strconv.Atoi(partition)
	start, _ := strconv.ParseInt(offset, 10, 64)
	total, _ := strconv.Atoi(count)
	level := kgo.ReadUncommitted()
	if isolation == "read_committed" {
		level = kgo.ReadCommitted()
	}
	consumer, err := c.open(kgo.FetchIsolationLevel(level), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {int32(where): kgo.NewOffset().At(start)}}))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	limit, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	rows := []string{}
	for len(rows) < total {
		fetches := consumer.PollFetches(limit)
		if limit.Err() != nil {
			return nil, fmt.Errorf("timeout: %d of %d records", len(rows), total)
		}
		if failed := fetches.Errors(); len(failed) > 0 {
			return nil, failed[0].Err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			if len(rows) < total {
				rows = append(rows, lineOf(record))
			}
		})
	}
	return rows, nil
}

func (c *client) offset(topic, partition, which string) ([]string, error) {
	number, _ := strconv.Atoi(partition)
	at := int64(-2)
	switch which {
	case "earliest":
	case "latest":
		at = -1
	default:
		at, _ = strconv.ParseInt(which, 10, 64)
	}
	where := kmsg.NewListOffsetsRequestTopicPartition()
	where.Partition, where.Timestamp = int32(number), at
	wanted := kmsg.NewListOffsetsRequestTopic()
	wanted.Topic, wanted.Partitions = topic, append(wanted.Partitions, where)
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID, request.Topics = -1, append(request.Topics, wanted)
	response, err := request.RequestWith(context.Background(), c.admin)
	if err != nil {
		return nil, err
	}
	found := response.Topics[0].Partitions[0]
	return []string{row(found.Offset)}, kerr.ErrorForCode(found.ErrorCode)
}

func (c *client) metadata(topics ...string) (*kmsg.MetadataResponse, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{}
	for i := range topics {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &topics[i]
		request.Topics = append(request.Topics, topic)
	}
	return request.RequestWith(context.Background(), c.admin)
}

func (c *client) cluster() ([]string, error) {
	response, err := c.metadata()
	if err != nil {
		return nil, err
	}
	rows := []string{row(*response.ClusterID, response.ControllerID)}
	for _, broker := range response.Brokers {
		rows = append(rows, row(broker.NodeID, broker.Host, broker.Port))
	}
	return rows, nil
}

func (c *client) partitions(topic string) ([]string, error) {
	response, err := c.metadata(topic)
	if err != nil {
		return nil, err
	}
	return []string{row(len(response.Topics[0].Partitions))}, kerr.ErrorForCode(response.Topics[0].ErrorCode)
}

func (c *client) configs(topic string) ([]string, error) {
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	request := kmsg.NewPtrDescribeConfigsRequest()
	request.Resources = append(request.Resources, resource)
	response, err := request.RequestWith(context.Background(), c.admin)
	if err != nil {
		return nil, err
	}
	rows := []string{}
	for _, config := range response.Resources[0].Configs {
		value := "null"
		if config.Value != nil {
			value = *config.Value
		}
		rows = append(rows, row(config.Name, value))
	}
	return rows, kerr.ErrorForCode(response.Resources[0].ErrorCode)
}

func (c *client) alter(topic, name, value string) ([]string, error) {
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value, config.Op = name, &value, kmsg.IncrementalAlterConfigOpSet
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	resource.Configs = append(resource.Configs, config)
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	request.Resources = append(request.Resources, resource)
	response, err := request.RequestWith(context.Background(), c.admin)
	if err != nil {
		return nil, err
	}
	return nil, kerr.ErrorForCode(response.Resources[0].ErrorCode)
}

func (c *client) transaction(name string) ([]string, error) {
	producer, err := c.open(kgo.TransactionalID(name))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, _, err = producer.ProducerID(limit)
	return nil, err
}

func (c *client) answer(f []string) ([]string, error) {
	switch f[0] {
	case "hello":
		return c.hello()
	case "create":
		return c.create(f[1], f[2], f[3])
	case "produce":
		return c.produce(f[1], f[2], f[3], f[4], f[5])
	case "consume":
		return c.consume(f[1], f[2], f[3], f[4], f[5])
	case "offset":
		return c.offset(f[1], f[2], f[3])
	case "cluster":
		return c.cluster()
	case "partitions":
		return c.partitions(f[1])
	case "configs":
		return c.configs(f[1])
	case "alter":
		return c.alter(f[1], f[2], f[3])
	case "transaction":
		return c.transaction(f[1])
	}
	return nil, fmt.Errorf("unknown request %s", f[0])
}

func kindOf(err error) string {
	var known *kerr.Error
	if errors.As(err, &known) {
		if known.Retriable {
			return known.Message + "/retriable"
		}
		return known.Message
	}
	return "error"
}

func main() {
	c := &client{address: os.Args[1], in: bufio.NewReaderSize(os.Stdin, 1<<20)}
	var err error
	if c.admin, err = c.open(); err != nil {
		panic(err)
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return
		}
		begin := time.Now()
		rows, err := c.answer(strings.Split(strings.TrimRight(line, "\n"), "\t"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			text := strings.Join(strings.Fields(err.Error()), " ")
			fmt.Fprintln(out, row("error", time.Since(begin).Milliseconds(), kindOf(err), text))
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
