// SPDX-License-Identifier: Apache-2.0

// librdkafka through Go (confluent-kafka-go), as a client process of the matrix.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

type confluent struct {
	address string
	admin   *kafka.AdminClient
	member  *kafka.Consumer
	inbox   inbox
}

func (c *confluent) with(settings kafka.ConfigMap) *kafka.ConfigMap {
	config := kafka.ConfigMap{"bootstrap.servers": c.address, "client.id": "interop-confluent-go"}
	for name, value := range settings {
		config[name] = value
	}
	return &config
}

func (c *confluent) hello() (codecs, features, version string) {
	_, librdkafka := kafka.LibraryVersion()
	return "none,gzip,snappy,lz4,zstd", "create,delete,configs,alter,idempotent,transactions,isolation,null-header," +
			"null-record,binary,timestamps,offsets,groups,reset-none,kip-848",
		versionOf("github.com/confluentinc/confluent-kafka-go/v2") + "/librdkafka " + librdkafka
}

func (c *confluent) kindOf(err error) string {
	var told kafka.Error
	if !errors.As(err, &told) {
		return "error"
	}
	kind := told.Code().String()
	if told.IsRetriable() {
		kind += "/retriable"
	}
	if told.IsFatal() {
		kind += "/fatal"
	}
	return kind
}

// An error that is a value, and always there.
func failureOf(err kafka.Error) error {
	if err.Code() == kafka.ErrNoError {
		return nil
	}
	return err
}

func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), limit)
}

func (c *confluent) create(topic string, partitions int, configs map[string]string) error {
	until, cancel := soon()
	defer cancel()
	found, err := c.admin.CreateTopics(until, []kafka.TopicSpecification{
		{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1, Config: configs}})
	if err != nil {
		return err
	}
	return failureOf(found[0].Error)
}

func (c *confluent) remove(topic string) error {
	until, cancel := soon()
	defer cancel()
	found, err := c.admin.DeleteTopics(until, []string{topic})
	if err != nil {
		return err
	}
	return failureOf(found[0].Error)
}

func (c *confluent) produce(topic, codec, acks string, idempotent bool, records []*record) error {
	producer, err := kafka.NewProducer(c.with(kafka.ConfigMap{"compression.type": codec, "acks": acks, "linger.ms": 50,
		"message.max.bytes": big, "enable.idempotence": idempotent}))
	if err != nil {
		return err
	}
	defer producer.Close()
	reports := make(chan kafka.Event, len(records))
	for i, written := range records {
		one := &kafka.Message{TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: written.partition},
			Timestamp: time.UnixMilli(written.timestampMs), Key: written.key, Value: written.value, Opaque: i}
		for _, pair := range written.headers {
			one.Headers = append(one.Headers, kafka.Header{Key: pair.name, Value: pair.value})
		}
		if err := producer.Produce(one, reports); err != nil {
			return err
		}
	}
	until := time.After(limit)
	for range records {
		select {
		case event := <-reports:
			report := event.(*kafka.Message)
			if report.TopicPartition.Error != nil {
				return report.TopicPartition.Error
			}
			records[report.Opaque.(int)].offset = int64(report.TopicPartition.Offset)
		case <-until:
			return errors.New("timeout: records without a report")
		}
	}
	return nil
}

func readByConfluent(one *kafka.Message) *record {
	read := &record{partition: one.TopicPartition.Partition, offset: int64(one.TopicPartition.Offset),
		timestampMs: one.Timestamp.UnixMilli(), key: one.Key, value: one.Value}
	for _, pair := range one.Headers {
		read.headers = append(read.headers, header{pair.Key, pair.Value})
	}
	return read
}

func (c *confluent) consumer(settings kafka.ConfigMap) (*kafka.Consumer, error) {
	config := c.with(kafka.ConfigMap{"group.id": "unused", "enable.auto.commit": false, "auto.offset.reset": "error",
		"receive.message.max.bytes": 2 * big, "fetch.wait.max.ms": 100})
	for name, value := range settings {
		(*config)[name] = value
	}
	return kafka.NewConsumer(config)
}

// The next record or error, or neither when the time is up.
func next(consumer *kafka.Consumer, end time.Time) (*record, error) {
	for left := time.Until(end); left > 0; left = time.Until(end) {
		switch event := consumer.Poll(int(left.Milliseconds())).(type) {
		case *kafka.Message:
			if event.TopicPartition.Error != nil {
				return nil, event.TopicPartition.Error
			}
			return readByConfluent(event), nil
		case kafka.Error:
			return nil, event
		}
	}
	return nil, nil
}

func (c *confluent) consume(topic string, partition int32, offset int64, count int, committed bool) ([]*record, error) {
	level := "read_uncommitted"
	if committed {
		level = "read_committed"
	}
	consumer, err := c.consumer(kafka.ConfigMap{"isolation.level": level})
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	place := kafka.TopicPartition{Topic: &topic, Partition: partition, Offset: kafka.Offset(offset)}
	if err := consumer.Assign([]kafka.TopicPartition{place}); err != nil {
		return nil, err
	}
	end, records := time.Now().Add(limit), []*record{}
	for len(records) < count {
		read, err := next(consumer, end)
		if err != nil {
			return nil, err
		}
		if read == nil {
			return nil, fmt.Errorf("timeout: %d of %d records", len(records), count)
		}
		records = append(records, read)
	}
	return records, nil
}

func (c *confluent) offset(topic string, partition int32, at int64) (int64, error) {
	consumer, err := c.consumer(nil)
	if err != nil {
		return 0, err
	}
	defer consumer.Close()
	wait := int(limit.Milliseconds())
	if at < 0 {
		low, high, err := consumer.QueryWatermarkOffsets(topic, partition, wait)
		if at == -2 {
			return low, err
		}
		return high, err
	}
	place := kafka.TopicPartition{Topic: &topic, Partition: partition, Offset: kafka.Offset(at)}
	found, err := consumer.OffsetsForTimes([]kafka.TopicPartition{place}, wait)
	if err != nil {
		return 0, err
	}
	return int64(found[0].Offset), found[0].Error
}

func (c *confluent) cluster() ([]string, error) {
	until, cancel := soon()
	defer cancel()
	found, err := c.admin.DescribeCluster(until)
	if err != nil {
		return nil, err
	}
	rows := []string{row(*found.ClusterID, found.Controller.ID)}
	for _, broker := range found.Nodes {
		rows = append(rows, row(broker.ID, broker.Host, broker.Port))
	}
	return rows, nil
}

func (c *confluent) partitions(topic string) (int, error) {
	found, err := c.admin.GetMetadata(&topic, false, int(limit.Milliseconds()))
	if err != nil {
		return 0, err
	}
	return len(found.Topics[topic].Partitions), failureOf(found.Topics[topic].Error)
}

func (c *confluent) configs(topic string) ([]string, error) {
	until, cancel := soon()
	defer cancel()
	found, err := c.admin.DescribeConfigs(until, []kafka.ConfigResource{{Type: kafka.ResourceTopic, Name: topic}})
	if err != nil {
		return nil, err
	}
	rows := []string{}
	for _, config := range found[0].Config {
		rows = append(rows, row(config.Name, config.Value))
	}
	return rows, failureOf(found[0].Error)
}

func (c *confluent) alter(topic, name, value string) error {
	until, cancel := soon()
	defer cancel()
	change := kafka.ConfigEntry{Name: name, Value: value, IncrementalOperation: kafka.AlterConfigOpTypeSet}
	found, err := c.admin.IncrementalAlterConfigs(until, []kafka.ConfigResource{
		{Type: kafka.ResourceTopic, Name: topic, Config: []kafka.ConfigEntry{change}}})
	if err != nil {
		return err
	}
	return failureOf(found[0].Error)
}

func (c *confluent) transaction(name string) error {
	producer, err := kafka.NewProducer(c.with(kafka.ConfigMap{"transactional.id": name}))
	if err != nil {
		return err
	}
	defer producer.Close()
	until, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return producer.InitTransactions(until)
}

func (c *confluent) join(group, topic, reset, protocol string, session time.Duration) error {
	settings := kafka.ConfigMap{"group.id": group, "group.protocol": protocol, "auto.offset.reset": reset}
	if reset == "none" {
		settings["auto.offset.reset"] = "error"
	}
	if protocol == "classic" { // the newer one has the broker's
		settings["session.timeout.ms"], settings["heartbeat.interval.ms"] = int(session.Milliseconds()), 500
	}
	var err error
	if c.member, err = c.consumer(settings); err != nil {
		return err
	}
	return c.member.Subscribe(topic, nil)
}

func (c *confluent) poll(d time.Duration) ([]int32, []*record, error) {
	end := time.Now().Add(d)
	for read, err := next(c.member, end); read != nil || err != nil; read, err = next(c.member, end) {
		c.inbox.put(read, err)
	}
	places, err := c.member.Assignment()
	if err != nil {
		return nil, nil, err
	}
	owned := []int32{}
	for _, place := range places {
		owned = append(owned, place.Partition)
	}
	c.inbox.own(owned...)
	return c.inbox.take()
}

func (c *confluent) commit(topic string, partition int32, offset int64) error {
	_, err := c.member.CommitOffsets([]kafka.TopicPartition{{Topic: &topic, Partition: partition, Offset: kafka.Offset(offset)}})
	return err
}

func (c *confluent) leave() error {
	return c.member.Close()
}

func main() {
	c := &confluent{address: os.Args[1]}
	var err error
	if c.admin, err = kafka.NewAdminClient(c.with(nil)); err != nil {
		panic(err)
	}
	serve(c)
}
