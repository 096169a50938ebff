// SPDX-License-Identifier: Apache-2.0

//! rskafka as a client process of the matrix. It knows topics, partitions and records, and no groups.

mod pipe;

use pipe::{cannot, failure, Answer, At, Driver, Failure, Record};
use rskafka::chrono::DateTime;
use rskafka::client::error::Error;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const SLICE_BYTES: usize = 1_000_000; // each call makes one batch of what it is given

struct Rskafka {
    runtime: Runtime,
    client: Client,
}

fn told(error: Error) -> Failure {
    let kind = match &error {
        Error::ServerError { protocol_error, .. } => format!("{protocol_error:?}"),
        Error::RetryFailed(_) => "RetryFailed/retriable".into(),
        other => format!("{other:?}").chars().take_while(|c| c.is_alphanumeric()).collect(),
    };
    Failure { kind, text: error.to_string() }
}

fn codec_of(name: &str) -> Compression {
    match name {
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        _ => Compression::NoCompression,
    }
}

fn size_of(r: &Record) -> usize {
    r.key.as_ref().map_or(0, Vec::len) + r.value.as_ref().map_or(0, Vec::len)
}

/// Header names are the keys of a map.
fn to_send(r: &Record) -> rskafka::record::Record {
    rskafka::record::Record {
        key: r.key.clone(),
        value: r.value.clone(),
        headers: r.headers.iter().map(|(name, value)| (name.clone(), value.clone().unwrap_or_default())).collect(),
        timestamp: DateTime::from_timestamp_millis(r.timestamp_ms).expect("a time"),
    }
}

impl Rskafka {
    fn partition(&self, topic: &str, partition: i32) -> Answer<PartitionClient> {
        self.runtime.block_on(self.client.partition_client(topic, partition, UnknownTopicHandling::Error)).map_err(told)
    }

    fn send(&self, topic: &str, codec: &str, partition: i32, records: &mut [&mut Record]) -> Answer<()> {
        let client = self.partition(topic, partition)?;
        while_slices(records, |slice| {
            let batch = slice.iter().map(|r| to_send(r)).collect();
            let offsets = self.runtime.block_on(client.produce(batch, codec_of(codec))).map_err(told)?;
            slice.iter_mut().zip(offsets).for_each(|(r, offset)| r.offset = offset);
            Ok(())
        })
    }
}

fn while_slices(records: &mut [&mut Record], mut act: impl FnMut(&mut [&mut Record]) -> Answer<()>) -> Answer<()> {
    let mut begin = 0;
    while begin < records.len() {
        let (mut end, mut bytes) = (begin + 1, size_of(records[begin]));
        while end < records.len() && bytes + size_of(records[end]) <= SLICE_BYTES {
            bytes += size_of(records[end]);
            end += 1;
        }
        act(&mut records[begin..end])?;
        begin = end;
    }
    Ok(())
}

impl Driver for Rskafka {
    fn hello(&self) -> [(&'static str, String); 3] {
        [
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("codecs", "none,gzip,snappy,lz4,zstd".into()),
            ("features", "create,delete,null-record,binary,timestamps,offsets,headers-sorted,created-times".into()),
        ]
    }

    fn create(&mut self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Answer<()> {
        if !configs.is_empty() {
            return cannot("create a topic with configs");
        }
        let controller = self.client.controller_client().map_err(told)?;
        self.runtime.block_on(controller.create_topic(topic, partitions, 1, 15_000)).map_err(told)
    }

    fn delete(&mut self, topic: &str) -> Answer<()> {
        let controller = self.client.controller_client().map_err(told)?;
        self.runtime.block_on(controller.delete_topic(topic, 15_000)).map_err(told)
    }

    fn produce(&mut self, topic: &str, codec: &str, acks: &str, idempotent: bool, records: &mut [Record]) -> Answer<()> {
        if acks != "all" || idempotent {
            return cannot("produce otherwise than with acks=all, nor as an idempotent producer");
        }
        let mut partitions: Vec<i32> = records.iter().map(|r| r.partition).collect();
        partitions.sort();
        partitions.dedup();
        for partition in partitions {
            let mut mine: Vec<&mut Record> = records.iter_mut().filter(|r| r.partition == partition).collect();
            self.send(topic, codec, partition, &mut mine)?;
        }
        Ok(())
    }

    fn consume(&mut self, topic: &str, partition: i32, offset: i64, count: usize, committed: bool) -> Answer<Vec<Record>> {
        if committed {
            return cannot("read committed records only");
        }
        let client = self.partition(topic, partition)?;
        let (mut found, mut next, end) = (Vec::new(), offset, Instant::now() + Duration::from_secs(20));
        while found.len() < count {
            if Instant::now() > end {
                return failure("timeout", format!("{} of {count} records", found.len()));
            }
            let (records, _) = self.runtime.block_on(client.fetch_records(next, 1..80_000_000, 100)).map_err(told)?;
            for read in records {
                next = read.offset + 1;
                found.push(Record {
                    partition,
                    offset: read.offset,
                    timestamp_ms: read.record.timestamp.timestamp_millis(),
                    key: read.record.key,
                    value: read.record.value,
                    headers: read.record.headers.into_iter().map(|(name, value)| (name, Some(value))).collect(),
                });
            }
        }
        found.truncate(count);
        Ok(found)
    }

    fn offset(&mut self, topic: &str, partition: i32, at: At) -> Answer<i64> {
        let at = match at {
            At::Earliest => OffsetAt::Earliest,
            At::Latest => OffsetAt::Latest,
            At::Time(ms) => OffsetAt::Timestamp(DateTime::from_timestamp_millis(ms).expect("a time")),
        };
        let client = self.partition(topic, partition)?;
        self.runtime.block_on(client.get_offset(at)).map_err(told)
    }

    fn partitions(&mut self, topic: &str) -> Answer<usize> {
        let topics = self.runtime.block_on(self.client.list_topics()).map_err(told)?;
        match topics.iter().find(|found| found.name == topic) {
            Some(found) => Ok(found.partitions.len()),
            None => failure("unknown topic", topic),
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = std::env::args().nth(1).expect("HOST:PORT");
    let patience = rskafka::BackoffConfig { deadline: Some(Duration::from_secs(15)), ..Default::default() };
    let opening = ClientBuilder::new(vec![address]).client_id("interop-rskafka").backoff_config(patience).build();
    let client = runtime.block_on(opening).expect("a client");
    pipe::serve(&mut Rskafka { runtime, client });
}
