// SPDX-License-Identifier: Apache-2.0

//! librdkafka through Rust (rust-rdkafka), as a client process of the matrix.

mod pipe;

use futures_executor::block_on;
use pipe::{failure, Answer, At, Cluster, Driver, Failure, Record};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const BIG: &str = "80000000";
const LIMIT: Duration = Duration::from_secs(20);

/// What became of each record, by its index.
#[derive(Default)]
struct Reports(Mutex<Vec<(usize, Result<i64, KafkaError>)>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;
    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let offset = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        self.0.lock().expect("reports").push((index, offset));
    }
}

struct Rdkafka {
    base: ClientConfig,
    admin: AdminClient<DefaultClientContext>,
    member: Option<BaseConsumer>,
}

fn told(error: KafkaError) -> Failure {
    let kind = match &error {
        KafkaError::Transaction(inner) => {
            format!("{}{}{}", inner.name(), if inner.is_retriable() { "/retriable" } else { "" }, if inner.is_fatal() { "/fatal" } else { "" })
        }
        other => other.rdkafka_error_code().map_or("error".into(), |code| format!("{code:?}")),
    };
    Failure { kind, text: error.to_string() }
}

fn told_code(code: RDKafkaErrorCode) -> Failure {
    Failure { kind: format!("{code:?}"), text: code.to_string() }
}

fn read_from(message: &impl Message) -> Record {
    let headers = message.headers().map_or(vec![], |found| {
        found.iter().map(|header| (header.key.to_string(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}

fn to_send<'a>(topic: &'a str, index: usize, r: &'a Record) -> BaseRecord<'a, [u8], [u8], usize> {
    let headers = r.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
        headers.insert(Header { key: name, value: value.as_ref() })
    });
    BaseRecord {
        topic,
        partition: Some(r.partition),
        payload: r.value.as_deref(),
        key: r.key.as_deref(),
        timestamp: Some(r.timestamp_ms),
        headers: Some(headers),
        delivery_opaque: index,
    }
}

impl Rdkafka {
    fn with(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.base.clone();
        settings.iter().for_each(|(name, value)| {
            config.set(*name, *value);
        });
        config
    }

    fn consumer(&self, settings: &[(&str, &str)]) -> Answer<BaseConsumer> {
        let mut config = self.with(&[("group.id", "unused"), ("enable.auto.commit", "false"), ("auto.offset.reset", "error")]);
        config.set("receive.message.max.bytes", "160000000").set("fetch.wait.max.ms", "100");
        settings.iter().for_each(|(name, value)| {
            config.set(*name, *value);
        });
        config.create().map_err(told)
    }

    fn metadata(&self, topic: Option<&str>) -> Answer<Metadata> {
        self.admin.inner().fetch_metadata(topic, LIMIT).map_err(told)
    }

    fn member(&self) -> Answer<&BaseConsumer> {
        self.member.as_ref().map_or_else(|| failure("usage", "not a member"), Ok)
    }
}

impl Driver for Rdkafka {
    fn hello(&self) -> [(&'static str, String); 3] {
        let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
        let features = "create,delete,configs,alter,idempotent,transactions,isolation,null-header,null-record,binary,timestamps,\
                        offsets,groups,reset-none,kip-848";
        [
            ("version", format!("{}/librdkafka {librdkafka}", env!("CARGO_PKG_VERSION"))),
            ("codecs", "none,gzip,snappy,lz4,zstd".into()),
            ("features", features.into()),
        ]
    }

    fn create(&mut self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Answer<()> {
        let mut wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        wanted.config = configs.to_vec();
        let answer = block_on(self.admin.create_topics(&[wanted], &AdminOptions::new())).map_err(told)?;
        answer.into_iter().try_for_each(|one| one.map(|_| ()).map_err(|(_, code)| told_code(code)))
    }

    fn delete(&mut self, topic: &str) -> Answer<()> {
        let answer = block_on(self.admin.delete_topics(&[topic], &AdminOptions::new())).map_err(told)?;
        answer.into_iter().try_for_each(|one| one.map(|_| ()).map_err(|(_, code)| told_code(code)))
    }

    fn produce(&mut self, topic: &str, codec: &str, acks: &str, idempotent: bool, records: &mut [Record]) -> Answer<()> {
        let mut config = self.with(&[("compression.type", codec), ("acks", acks), ("linger.ms", "50"), ("message.max.bytes", BIG)]);
        if idempotent {
            config.set("enable.idempotence", "true");
        }
        let producer: BaseProducer<Reports> = config.create_with_context(Reports::default()).map_err(told)?;
        for (index, r) in records.iter().enumerate() {
            producer.send(to_send(topic, index, r)).map_err(|(error, _)| told(error))?;
        }
        producer.flush(Duration::from_secs(30)).map_err(told)?;
        for (index, offset) in producer.context().0.lock().expect("reports").drain(..) {
            records[index].offset = offset.map_err(told)?;
        }
        Ok(())
    }

    fn consume(&mut self, topic: &str, partition: i32, offset: i64, count: usize, committed: bool) -> Answer<Vec<Record>> {
        let level = if committed { "read_committed" } else { "read_uncommitted" };
        let consumer = self.consumer(&[("isolation.level", level)])?;
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(told)?;
        consumer.assign(&place).map_err(told)?;
        let (mut found, end) = (Vec::new(), Instant::now() + LIMIT);
        while found.len() < count {
            match consumer.poll(end.saturating_duration_since(Instant::now())) {
                None => return failure("timeout", format!("{} of {count} records", found.len())),
                Some(message) => found.push(read_from(&message.map_err(told)?)),
            }
        }
        Ok(found)
    }

    fn offset(&mut self, topic: &str, partition: i32, at: At) -> Answer<i64> {
        let consumer = self.consumer(&[])?;
        let marks = || consumer.fetch_watermarks(topic, partition, LIMIT).map_err(told);
        match at {
            At::Earliest => Ok(marks()?.0),
            At::Latest => Ok(marks()?.1),
            At::Time(ms) => {
                let mut place = TopicPartitionList::new();
                place.add_partition_offset(topic, partition, Offset::Offset(ms)).map_err(told)?;
                let found = consumer.offsets_for_times(place, LIMIT).map_err(told)?;
                match found.elements()[0].offset() {
                    Offset::Offset(offset) => Ok(offset),
                    _ => Ok(-1), // it calls that the end
                }
            }
        }
    }

    fn partitions(&mut self, topic: &str) -> Answer<usize> {
        let found = self.metadata(Some(topic))?;
        match found.topics()[0].error() {
            Some(code) => failure(&format!("{code:?}"), "no metadata"),
            None => Ok(found.topics()[0].partitions().len()),
        }
    }

    fn cluster(&mut self) -> Answer<Cluster> {
        let found = self.metadata(None)?;
        Ok(Cluster {
            id: String::new(), // neither is told
            controller: found.orig_broker_id(),
            brokers: found.brokers().iter().map(|broker| (broker.id(), broker.host().to_string(), broker.port())).collect(),
        })
    }

    fn configs(&mut self, topic: &str) -> Answer<Vec<(String, String)>> {
        let answer = block_on(self.admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &AdminOptions::new())).map_err(told)?;
        let found = answer.into_iter().next().expect("one resource").map_err(told_code)?;
        if found.entries.is_empty() {
            return failure("nothing", "the client keeps the error to itself and tells no configs of an unknown topic");
        }
        Ok(found.entries.into_iter().map(|entry| (entry.name, entry.value.unwrap_or("null".into()))).collect())
    }

    fn alter(&mut self, topic: &str, name: &str, value: &str) -> Answer<()> {
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        let answer = block_on(self.admin.alter_configs(&[change], &AdminOptions::new())).map_err(told)?;
        answer.into_iter().try_for_each(|one| one.map(|_| ()).map_err(|(_, code)| told_code(code)))
    }

    fn transaction(&mut self, name: &str) -> Answer<()> {
        let producer: BaseProducer = self.with(&[("transactional.id", name)]).create().map_err(told)?;
        producer.init_transactions(Duration::from_secs(10)).map_err(told)
    }

    fn join(&mut self, group: &str, topic: &str, reset: &str, session_ms: &str, protocol: &str) -> Answer<()> {
        let reset = if reset == "none" { "error" } else { reset };
        let settings = [("group.id", group), ("auto.offset.reset", reset), ("group.protocol", protocol)];
        let own = [("session.timeout.ms", session_ms), ("heartbeat.interval.ms", "500")];
        let own = if protocol == "classic" { &own[..] } else { &[] }; // the newer one has the broker's
        let member = self.consumer(&[&settings[..], own].concat())?;
        member.subscribe(&[topic]).map_err(told)?;
        self.member = Some(member);
        Ok(())
    }

    fn poll(&mut self, ms: u64) -> Answer<(Vec<i32>, Vec<Record>)> {
        let (member, mut read, end) = (self.member()?, Vec::new(), Instant::now() + Duration::from_millis(ms));
        while let Some(message) = member.poll(end.saturating_duration_since(Instant::now())) {
            read.push(read_from(&message.map_err(told)?));
        }
        let owned = member.assignment().map_err(told)?;
        Ok((owned.elements().iter().map(|place| place.partition()).collect(), read))
    }

    fn commit(&mut self, topic: &str, partition: i32, offset: i64) -> Answer<()> {
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(told)?;
        self.member()?.commit(&place, CommitMode::Sync).map_err(told)
    }

    fn leave(&mut self) -> Answer<()> {
        self.member = None;
        Ok(())
    }
}

fn main() {
    let mut base = ClientConfig::new();
    base.set("bootstrap.servers", std::env::args().nth(1).expect("HOST:PORT")).set("client.id", "interop-rust-rdkafka");
    let admin = base.create().expect("an admin client");
    pipe::serve(&mut Rdkafka { base, admin, member: None });
}
