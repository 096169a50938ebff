// SPDX-License-Identifier: Apache-2.0

// franz-go as a client process of the matrix.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type franz struct {
	address string
	admin   *kgo.Client
	member  *kgo.Client
	inbox   inbox
}

func (c *franz) open(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.address), kgo.ClientID("interop-franz-go"), kgo.AllowAutoTopicCreation(),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, options...)...)
}

func (c *franz) hello() (codecs, features, version string) {
	features = "create,delete,configs,alter,idempotent,transactions,isolation,null-header,null-record,binary,timestamps," +
		"offsets,groups"
	if _, can := onlyCommitted(); can {
		features += ",reset-none,kip-848"
	}
	return "none,gzip,snappy,lz4,zstd", features, versionOf("github.com/twmb/franz-go")
}

// A group that has committed nothing gets an error; older releases have no way to ask for that.
func onlyCommitted() (offset kgo.Offset, can bool) {
	with, can := interface{}(kgo.NewOffset()).(interface{ AtCommitted() kgo.Offset })
	if can {
		offset = with.AtCommitted()
	}
	return offset, can
}

func (c *franz) kindOf(err error) string {
	var known *kerr.Error
	if errors.As(err, &known) {
		if known.Retriable {
			return known.Message + "/retriable"
		}
		return known.Message
	}
	return "error"
}

// The error of an answer, with the broker's sentence if there is one.
func toldBy(code int16, text *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil || text == nil {
		return err
	}
	return fmt.Errorf("%w (%s)", err, *text)
}

func (c *franz) create(topic string, partitions int, configs map[string]string) error {
	wanted := kmsg.NewCreateTopicsRequestTopic()
	wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = topic, int32(partitions), 1
	for name, value := range configs {
		config, text := kmsg.NewCreateTopicsRequestTopicConfig(), value
		config.Name, config.Value = name, &text
		wanted.Configs = append(wanted.Configs, config)
	}
	request := kmsg.NewPtrCreateTopicsRequest()
	request.TimeoutMillis, request.Topics = 15_000, append(request.Topics, wanted)
	response, err := request.RequestWith(context.Background(), c.admin)
	if err != nil {
		return err
	}
	return toldBy(response.Topics[0].ErrorCode, response.Topics[0].ErrorMessage)
}

func (c *franz) remove(topic string) error {
	wanted := kmsg.NewDeleteTopicsRequestTopic()
	wanted.Topic = &topic
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.TimeoutMillis, request.Topics, request.TopicNames = 15_000, append(request.Topics, wanted), []string{topic}
	response, err := request.RequestWith(context.Background(), c.admin)
	if err != nil {
		return err
	}
	return toldBy(response.Topics[0].ErrorCode, response.Topics[0].ErrorMessage)
}

func franzCodec(name string) kgo.CompressionCodec {
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

func (c *franz) produce(topic, codec, acks string, idempotent bool, records []*record) error {
	sent := []*kgo.Record{}
	for _, written := range records {
		one := &kgo.Record{Topic: topic, Partition: written.partition, Timestamp: time.UnixMilli(written.timestampMs),
			Key: written.key, Value: written.value}
		for _, pair := range written.headers {
			one.Headers = append(one.Headers, kgo.RecordHeader{Key: pair.name, Value: pair.value})
		}
		sent = append(sent, one)
	}
	options := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(franzCodec(codec)),
		kgo.ProducerLinger(50 * time.Millisecond), kgo.ProducerBatchMaxBytes(int32(batchMax(records)))}
	switch acks {
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()))
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	}
	if !idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	producer, err := c.open(options...)
	if err != nil {
		return err
	}
	defer producer.Close()
	until, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for _, result := range producer.ProduceSync(until, sent...) {
		if result.Err != nil {
			return result.Err
		}
	}
	for i, one := range sent { // ProduceSync answers in order of completion
		records[i].offset = one.Offset
	}
	return nil
}

func readByFranz(one *kgo.Record) *record {
	read := &record{partition: one.Partition, offset: one.Offset, timestampMs: one.Timestamp.UnixMilli(),
		key: one.Key, value: one.Value}
	for _, pair := range one.Headers {
		read.headers = append(read.headers, header{pair.Key, pair.Value})
	}
	return read
}

func (c *franz) consume(topic string, partition int32, offset int64, count int, committed bool) ([]*record, error) {
	level := kgo.ReadUncommitted()
	if committed {
		level = kgo.ReadCommitted()
	}
	consumer, err := c.open(kgo.FetchIsolationLevel(level), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(offset)}}))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	until, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	records := []*record{}
	for len(records) < count {
		fetches := consumer.PollFetches(until)
		if until.Err() != nil {
			return nil, fmt.Errorf("timeout: %d of %d records", len(records), count)
		}
		if failed := fetches.Errors(); len(failed) > 0 {
			return nil, failed[0].Err
		}
		fetches.EachRecord(func(one *kgo.Record) {
			if len(records) < count {
				records = append(records, readByFranz(one))
			}
		})
	}
	return records, nil
}

func (c *franz) offset(topic string, partition int32, at int64) (int64, error) {
	where := kmsg.NewListOffsetsRequestTopicPartition()
	where.Partition, where.Timestamp = partition, at
	wanted := kmsg.NewListOffsetsRequestTopic()
	wanted.Topic, wanted.Partitions = topic, append(wanted.Partitions, where)
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID, request.Topics = -1, append(request.Topics, wanted)
	response, err := request.RequestWith(context.Background(), c.admin)
	if err != nil {
		return 0, err
	}
	found := response.Topics[0].Partitions[0]
	return found.Offset, kerr.ErrorForCode(found.ErrorCode)
}

func (c *franz) metadata(topics ...string) (*kmsg.MetadataResponse, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{}
	for i := range topics {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &topics[i]
		request.Topics = append(request.Topics, topic)
	}
	return request.RequestWith(context.Background(), c.admin)
}

func (c *franz) cluster() ([]string, error) {
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

func (c *franz) partitions(topic string) (int, error) {
	response, err := c.metadata(topic)
	if err != nil {
		return 0, err
	}
	return len(response.Topics[0].Partitions), kerr.ErrorForCode(response.Topics[0].ErrorCode)
}

func (c *franz) configs(topic string) ([]string, error) {
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
	return rows, toldBy(response.Resources[0].ErrorCode, response.Resources[0].ErrorMessage)
}

func (c *franz) alter(topic, name, value string) error {
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value, config.Op = name, &value, kmsg.IncrementalAlterConfigOpSet
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	resource.Configs = append(resource.Configs, config)
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	request.Resources = append(request.Resources, resource)
	response, err := request.RequestWith(context.Background(), c.admin)
	if err != nil {
		return err
	}
	return toldBy(response.Resources[0].ErrorCode, response.Resources[0].ErrorMessage)
}

func (c *franz) transaction(name string) error {
	producer, err := c.open(kgo.TransactionalID(name))
	if err != nil {
		return err
	}
	defer producer.Close()
	until, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, _, err = producer.ProducerID(until)
	return err
}

func (c *franz) join(group, topic, reset, protocol string, session time.Duration) error {
	start := map[string]kgo.Offset{"earliest": kgo.NewOffset().AtStart(), "latest": kgo.NewOffset().AtEnd()}[reset]
	if reset == "none" {
		start, _ = onlyCommitted()
	}
	change := func(is bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			c.inbox.change(partitions[topic], is)
		}
	}
	c.inbox.own()
	options := []kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(start),
		kgo.SessionTimeout(session), kgo.HeartbeatInterval(session / 12), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false))}
	if protocol == "consumer" {
		options = append(options, nextProtocol()...)
	}
	var err error
	c.member, err = c.open(options...)
	return err
}

func (c *franz) poll(d time.Duration) ([]int32, []*record, error) {
	until, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	fetches := c.member.PollFetches(until)
	fetches.EachRecord(func(one *kgo.Record) { c.inbox.put(readByFranz(one), nil) })
	for _, failed := range fetches.Errors() {
		if !errors.Is(failed.Err, context.DeadlineExceeded) {
			c.inbox.put(nil, failed.Err)
		}
	}
	return c.inbox.take()
}

func (c *franz) commit(topic string, partition int32, offset int64) error {
	var failed error
	c.member.CommitOffsetsSync(context.Background(),
		map[string]map[int32]kgo.EpochOffset{topic: {partition: {Epoch: -1, Offset: offset}}},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
			if failed = err; err == nil {
				failed = kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
			}
		})
	return failed
}

func (c *franz) leave() error {
	c.member.Close()
	return nil
}

func main() {
	c := &franz{address: os.Args[1]}
	var err error
	if c.admin, err = c.open(); err != nil {
		panic(err)
	}
	serve(c)
}
