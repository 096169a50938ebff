// SPDX-License-Identifier: Apache-2.0

// segmentio's kafka-go as a client process of the matrix.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

type segmentio struct {
	address string
	client  *kafka.Client
	group   *kafka.ConsumerGroup
	stop    context.CancelFunc
	mutex   sync.Mutex
	current *kafka.Generation
	inbox   inbox
}

func (c *segmentio) hello() (codecs, features, version string) {
	return "none,gzip,snappy,lz4,zstd", "create,delete,configs,alter,transactions,isolation,null-header,null-record," +
		"binary,timestamps,offsets,groups,empty-is-null,created-times", versionOf("github.com/segmentio/kafka-go")
}

func (c *segmentio) kindOf(err error) string {
	var code kafka.Error
	if errors.As(err, &code) {
		if code.Temporary() {
			return code.Title() + "/retriable"
		}
		return code.Title()
	}
	return fmt.Sprintf("%T", err)
}

func (c *segmentio) create(topic string, partitions int, configs map[string]string) error {
	wanted := kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}
	for name, value := range configs {
		wanted.ConfigEntries = append(wanted.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	response, err := c.client.CreateTopics(context.Background(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{wanted}})
	if err != nil {
		return err
	}
	return response.Errors[topic]
}

func (c *segmentio) remove(topic string) error {
	response, err := c.client.DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return response.Errors[topic]
}

func (c *segmentio) writer(topic, codec, acks string) (*kafka.Writer, error) {
	writer := &kafka.Writer{Addr: kafka.TCP(c.address), Topic: topic, BatchTimeout: 50 * time.Millisecond,
		WriteTimeout: limit, AllowAutoTopicCreation: true,
		Balancer: kafka.BalancerFunc(func(message kafka.Message, _ ...int) int {
			return int(message.WriterData.(*record).partition)
		})}
	if err := writer.RequiredAcks.UnmarshalText([]byte(map[string]string{"0": "none", "1": "one", "all": "all"}[acks])); err != nil {
		return nil, err
	}
	if codec == "none" {
		return writer, nil
	}
	return writer, writer.Compression.UnmarshalText([]byte(codec))
}

func (c *segmentio) produce(topic, codec, acks string, idempotent bool, records []*record) error {
	if idempotent {
		return errors.New("kafka-go has no idempotent producer")
	}
	writer, err := c.writer(topic, codec, acks)
	if err != nil {
		return err
	}
	defer writer.Close()
	writer.BatchBytes = batchMax(records)
	writer.Completion = func(messages []kafka.Message, err error) {
		for _, message := range messages {
			message.WriterData.(*record).offset = message.Offset
		}
	}
	sent := []kafka.Message{}
	for _, written := range records {
		one := kafka.Message{Key: written.key, Value: written.value, Time: time.UnixMilli(written.timestampMs), WriterData: written}
		for _, pair := range written.headers {
			one.Headers = append(one.Headers, kafka.Header{Key: pair.name, Value: pair.value})
		}
		sent = append(sent, one)
	}
	until, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err = writer.WriteMessages(until, sent...)
	for errors.Is(err, kafka.LeaderNotAvailable) && until.Err() == nil { // a topic was made: its documentation says to try again
		time.Sleep(100 * time.Millisecond)
		err = writer.WriteMessages(until, sent...)
	}
	var failed kafka.WriteErrors
	if errors.As(err, &failed) {
		for _, one := range failed {
			if one != nil {
				return one
			}
		}
	}
	return err
}

func readBySegmentio(one kafka.Message) *record {
	read := &record{partition: int32(one.Partition), offset: one.Offset, timestampMs: one.Time.UnixMilli(), key: one.Key, value: one.Value}
	for _, pair := range one.Headers {
		read.headers = append(read.headers, header{pair.Key, pair.Value})
	}
	return read
}

func (c *segmentio) reader(topic string, partition int32, offset int64, level kafka.IsolationLevel) (*kafka.Reader, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{c.address}, Topic: topic, Partition: int(partition),
		MinBytes: 1, MaxBytes: big, MaxWait: 100 * time.Millisecond, IsolationLevel: level, OffsetOutOfRangeError: true})
	return reader, reader.SetOffset(offset)
}

func (c *segmentio) consume(topic string, partition int32, offset int64, count int, committed bool) ([]*record, error) {
	level := kafka.ReadUncommitted
	if committed {
		level = kafka.ReadCommitted
	}
	reader, err := c.reader(topic, partition, offset, level)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	until, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	records := []*record{}
	for len(records) < count {
		one, err := reader.ReadMessage(until)
		if err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", len(records), count, err)
		}
		records = append(records, readBySegmentio(one))
	}
	return records, nil
}

func (c *segmentio) offset(topic string, partition int32, at int64) (int64, error) {
	wanted := kafka.OffsetRequest{Partition: int(partition), Timestamp: at}
	response, err := c.client.ListOffsets(context.Background(), &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {wanted}}})
	if err != nil {
		return 0, err
	}
	found := response.Topics[topic][0]
	switch at {
	case kafka.FirstOffset:
		return found.FirstOffset, found.Error
	case kafka.LastOffset:
		return found.LastOffset, found.Error
	}
	for offset := range found.Offsets {
		return offset, found.Error
	}
	return -1, found.Error
}

func (c *segmentio) metadata(topics ...string) (*kafka.MetadataResponse, error) {
	return c.client.Metadata(context.Background(), &kafka.MetadataRequest{Topics: topics})
}

func (c *segmentio) cluster() ([]string, error) {
	response, err := c.metadata()
	if err != nil {
		return nil, err
	}
	rows := []string{row(response.ClusterID, response.Controller.ID)}
	for _, broker := range response.Brokers {
		rows = append(rows, row(broker.ID, broker.Host, broker.Port))
	}
	return rows, nil
}

func (c *segmentio) partitions(topic string) (int, error) {
	response, err := c.metadata(topic)
	if err != nil {
		return 0, err
	}
	return len(response.Topics[0].Partitions), response.Topics[0].Error
}

func (c *segmentio) configs(topic string) ([]string, error) {
	response, err := c.client.DescribeConfigs(context.Background(), &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}}})
	if err != nil {
		return nil, err
	}
	rows := []string{}
	for _, entry := range response.Resources[0].ConfigEntries {
		rows = append(rows, row(entry.ConfigName, entry.ConfigValue))
	}
	return rows, response.Resources[0].Error
}

func (c *segmentio) alter(topic, name, value string) error {
	change := kafka.IncrementalAlterConfigsRequestConfig{Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet}
	response, err := c.client.IncrementalAlterConfigs(context.Background(), &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{change}}}})
	if err != nil {
		return err
	}
	return response.Resources[0].Error
}

func (c *segmentio) transaction(name string) error {
	response, err := c.client.InitProducerID(context.Background(), &kafka.InitProducerIDRequest{
		TransactionalID: name, TransactionTimeoutMs: 10_000})
	if err != nil {
		return err
	}
	return response.Error
}

// Its documented way to a member that is told what it owns: a reader for each partition, until the generation ends.
func (c *segmentio) join(group, topic, reset, _ string, session time.Duration) error {
	var err error
	c.group, err = kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{ID: group, Brokers: []string{c.address},
		Topics: []string{topic}, SessionTimeout: session, HeartbeatInterval: session / 12, JoinGroupBackoff: time.Second,
		StartOffset: map[string]int64{"earliest": kafka.FirstOffset, "latest": kafka.LastOffset}[reset]})
	if err != nil {
		return err
	}
	var running context.Context
	running, c.stop = context.WithCancel(context.Background())
	c.inbox.own()
	go func() {
		for running.Err() == nil {
			generation, err := c.group.Next(running)
			if err != nil {
				if running.Err() == nil {
					fmt.Fprintln(os.Stderr, "group:", err) // and it joins again
				}
				continue
			}
			c.begin(generation, topic)
		}
	}()
	return nil
}

func (c *segmentio) begin(generation *kafka.Generation, topic string) {
	c.mutex.Lock()
	c.current = generation
	c.mutex.Unlock()
	owned := []int32{}
	for _, place := range generation.Assignments[topic] {
		place := place
		owned = append(owned, int32(place.ID))
		generation.Start(func(ctx context.Context) { c.follow(ctx, topic, place) })
	}
	c.inbox.own(owned...)
	generation.Start(func(ctx context.Context) {
		<-ctx.Done()
		c.inbox.own()
	})
}

func (c *segmentio) follow(ctx context.Context, topic string, place kafka.PartitionAssignment) {
	reader, err := c.reader(topic, int32(place.ID), place.Offset, kafka.ReadUncommitted)
	if err == nil {
		defer reader.Close()
	}
	for err == nil {
		var message kafka.Message
		if message, err = reader.ReadMessage(ctx); err == nil {
			c.inbox.put(readBySegmentio(message), nil)
		}
	}
	if ctx.Err() == nil {
		c.inbox.put(nil, err)
	}
}

func (c *segmentio) poll(d time.Duration) ([]int32, []*record, error) {
	time.Sleep(d)
	return c.inbox.take()
}

func (c *segmentio) commit(topic string, partition int32, offset int64) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.current.CommitOffsets(map[string]map[int]int64{topic: {int(partition): offset}})
}

func (c *segmentio) leave() error {
	c.stop()
	return c.group.Close()
}

func main() {
	address := os.Args[1]
	serve(&segmentio{address: address, client: &kafka.Client{Addr: kafka.TCP(address), Timeout: limit}})
}
