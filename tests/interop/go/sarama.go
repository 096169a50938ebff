// SPDX-License-Identifier: Apache-2.0

// Sarama as a client process of the matrix, at its own default version of the protocol.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"
)

type sara struct {
	addresses []string
	client    sarama.Client
	admin     sarama.ClusterAdmin
	group     sarama.ConsumerGroup
	session   sarama.ConsumerGroupSession
	stop      context.CancelFunc
	inbox     inbox
}

func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.ClientID = "interop-sarama"
	config.Consumer.Return.Errors = true
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	return config
}

func (c *sara) hello() (codecs, features, version string) {
	return "none,gzip,snappy,lz4,zstd", "create,delete,configs,alter,idempotent,transactions,isolation,null-header," +
		"null-record,binary,timestamps,offsets,groups", versionOf("github.com/IBM/sarama")
}

func (c *sara) kindOf(err error) string {
	var code sarama.KError
	if errors.As(err, &code) {
		return fmt.Sprintf("KError %d", int16(code))
	}
	return fmt.Sprintf("%T", err)
}

func (c *sara) create(topic string, partitions int, configs map[string]string) error {
	detail := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1, ConfigEntries: map[string]*string{}}
	for name, value := range configs {
		text := value
		detail.ConfigEntries[name] = &text
	}
	return c.admin.CreateTopic(topic, detail, false)
}

func (c *sara) remove(topic string) error {
	return c.admin.DeleteTopic(topic)
}

func (c *sara) produce(topic, codec, acks string, idempotent bool, records []*record) error {
	config := saramaConfig()
	config.Producer.RequiredAcks = map[string]sarama.RequiredAcks{"0": sarama.NoResponse, "1": sarama.WaitForLocal,
		"all": sarama.WaitForAll}[acks]
	if err := config.Producer.Compression.UnmarshalText([]byte(codec)); err != nil {
		return err
	}
	if idempotent {
		config.Producer.Idempotent, config.Net.MaxOpenRequests = true, 1
	}
	config.Producer.MaxMessageBytes = int(batchMax(records))
	producer, err := sarama.NewSyncProducer(c.addresses, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	sent := []*sarama.ProducerMessage{}
	for _, written := range records {
		one := &sarama.ProducerMessage{Topic: topic, Partition: written.partition,
			Timestamp: time.UnixMilli(written.timestampMs)}
		if written.key != nil {
			one.Key = sarama.ByteEncoder(written.key)
		}
		if written.value != nil {
			one.Value = sarama.ByteEncoder(written.value)
		}
		for _, pair := range written.headers {
			one.Headers = append(one.Headers, sarama.RecordHeader{Key: []byte(pair.name), Value: pair.value})
		}
		sent = append(sent, one)
	}
	err = producer.SendMessages(sent)
	var failed sarama.ProducerErrors
	if errors.As(err, &failed) {
		return failed[0].Err
	}
	for i, one := range sent {
		records[i].offset = one.Offset
	}
	return err
}

func readBySarama(one *sarama.ConsumerMessage) *record {
	read := &record{partition: one.Partition, offset: one.Offset, timestampMs: one.Timestamp.UnixMilli(),
		key: one.Key, value: one.Value}
	for _, pair := range one.Headers {
		read.headers = append(read.headers, header{string(pair.Key), pair.Value})
	}
	return read
}

func (c *sara) consume(topic string, partition int32, offset int64, count int, committed bool) ([]*record, error) {
	config := saramaConfig()
	if committed {
		config.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	consumer, err := sarama.NewConsumer(c.addresses, config)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	stream, err := consumer.ConsumePartition(topic, partition, offset)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	until, records := time.After(limit), []*record{}
	for len(records) < count {
		select {
		case one := <-stream.Messages():
			records = append(records, readBySarama(one))
		case failed := <-stream.Errors():
			return nil, failed.Err
		case <-until:
			return nil, fmt.Errorf("timeout: %d of %d records", len(records), count)
		}
	}
	return records, nil
}

func (c *sara) offset(topic string, partition int32, at int64) (int64, error) {
	return c.client.GetOffset(topic, partition, at)
}

func (c *sara) cluster() ([]string, error) {
	brokers, controller, err := c.admin.DescribeCluster()
	if err != nil {
		return nil, err
	}
	rows := []string{row("", controller)} // it does not tell the id
	for _, broker := range brokers {
		host, port := "", 0
		if _, err := fmt.Sscanf(broker.Addr(), "127.0.0.1:%d", &port); err == nil {
			host = "127.0.0.1"
		}
		rows = append(rows, row(broker.ID(), host, port))
	}
	return rows, nil
}

func (c *sara) partitions(topic string) (int, error) {
	found, err := c.admin.DescribeTopics([]string{topic})
	if err != nil {
		return 0, err
	}
	if found[0].Err != sarama.ErrNoError {
		return 0, found[0].Err
	}
	return len(found[0].Partitions), nil
}

func (c *sara) configs(topic string) ([]string, error) {
	entries, err := c.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	rows := []string{}
	for _, entry := range entries {
		rows = append(rows, row(entry.Name, entry.Value))
	}
	return rows, err
}

func (c *sara) alter(topic, name, value string) error {
	return c.admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
		name: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false)
}

func (c *sara) transaction(name string) error {
	config := saramaConfig()
	config.Producer.Transaction.ID = name
	config.Producer.Idempotent, config.Net.MaxOpenRequests = true, 1
	config.Producer.RequiredAcks = sarama.WaitForAll
	producer, err := sarama.NewSyncProducer(c.addresses, config)
	if err != nil {
		return err
	}
	return producer.Close()
}

func (c *sara) Setup(session sarama.ConsumerGroupSession) error {
	c.session = session
	for _, partitions := range session.Claims() {
		c.inbox.own(partitions...)
	}
	return nil
}

func (c *sara) Cleanup(sarama.ConsumerGroupSession) error {
	c.inbox.own()
	return nil
}

func (c *sara) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case one, open := <-claim.Messages():
			if !open {
				return nil
			}
			c.inbox.put(readBySarama(one), nil)
		case <-session.Context().Done():
			return nil
		}
	}
}

func (c *sara) join(group, topic, reset, _ string, session time.Duration) error {
	config := saramaConfig()
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Offsets.Initial = map[string]int64{"earliest": sarama.OffsetOldest, "latest": sarama.OffsetNewest}[reset]
	config.Consumer.Group.Session.Timeout, config.Consumer.Group.Heartbeat.Interval = session, session/12
	var err error
	if c.group, err = sarama.NewConsumerGroup(c.addresses, group, config); err != nil {
		return err
	}
	var running context.Context
	running, c.stop = context.WithCancel(context.Background())
	c.inbox.own()
	go func() {
		for failed := range c.group.Errors() {
			c.inbox.put(nil, failed)
		}
	}()
	go func() { // a session ends with each rebalance
		for running.Err() == nil {
			if err := c.group.Consume(running, []string{topic}, c); err != nil {
				c.inbox.put(nil, err)
				return
			}
		}
	}()
	return nil
}

func (c *sara) poll(d time.Duration) ([]int32, []*record, error) {
	time.Sleep(d)
	return c.inbox.take()
}

func (c *sara) commit(topic string, partition int32, offset int64) error {
	c.session.MarkOffset(topic, partition, offset, "")
	c.session.Commit()
	return nil
}

func (c *sara) leave() error {
	c.stop()
	return c.group.Close()
}

func main() {
	c := &sara{addresses: []string{os.Args[1]}}
	var err error
	if c.client, err = sarama.NewClient(c.addresses, saramaConfig()); err != nil {
		panic(err)
	}
	if c.admin, err = sarama.NewClusterAdminFromClient(c.client); err != nil {
		panic(err)
	}
	serve(c)
}
