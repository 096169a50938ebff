// SPDX-License-Identifier: Apache-2.0

//! The pipe of the Rust clients: a driver answers the runner's requests, here they are read and written. Which requests
//! there are and what a record's line is: see clients.py and records.py. Argument: HOST:PORT.

use std::io::{BufRead, Write};
use std::time::Instant;

#[derive(Clone, Debug, Default)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What went wrong: the client's own name of it (`cannot`: it has no way to ask for that), and its words.
pub struct Failure {
    pub kind: String,
    pub text: String,
}

pub type Answer<T> = Result<T, Failure>;

pub fn failure<T>(kind: &str, text: impl Into<String>) -> Answer<T> {
    Err(Failure { kind: kind.into(), text: text.into() })
}

pub fn cannot<T>(what: &str) -> Answer<T> {
    failure("cannot", what)
}

/// Where ListOffsets looks.
pub enum At {
    Earliest,
    Latest,
    Time(i64),
}

pub struct Cluster {
    pub id: String,
    pub controller: i32,
    pub brokers: Vec<(i32, String, i32)>,
}

pub trait Driver {
    fn hello(&self) -> [(&'static str, String); 3];
    fn create(&mut self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Answer<()>;
    fn delete(&mut self, topic: &str) -> Answer<()>;
    /// Fills in the offsets.
    fn produce(&mut self, topic: &str, codec: &str, acks: &str, idempotent: bool, records: &mut [Record]) -> Answer<()>;
    fn consume(&mut self, topic: &str, partition: i32, offset: i64, count: usize, committed: bool) -> Answer<Vec<Record>>;
    fn offset(&mut self, topic: &str, partition: i32, at: At) -> Answer<i64>;
    fn partitions(&mut self, topic: &str) -> Answer<usize>;
    fn cluster(&mut self) -> Answer<Cluster> {
        cannot("describe the cluster")
    }
    fn configs(&mut self, _topic: &str) -> Answer<Vec<(String, String)>> {
        cannot("describe configs")
    }
    fn alter(&mut self, _topic: &str, _name: &str, _value: &str) -> Answer<()> {
        cannot("alter configs")
    }
    fn transaction(&mut self, _name: &str) -> Answer<()> {
        cannot("begin a transaction")
    }
    fn join(&mut self, _group: &str, _topic: &str, _reset: &str, _session_ms: &str, _protocol: &str) -> Answer<()> {
        cannot("join a group")
    }
    fn poll(&mut self, _ms: u64) -> Answer<(Vec<i32>, Vec<Record>)> {
        cannot("join a group")
    }
    fn commit(&mut self, _topic: &str, _partition: i32, _offset: i64) -> Answer<()> {
        cannot("commit")
    }
    fn leave(&mut self) -> Answer<()> {
        cannot("join a group")
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn text_of(data: Option<&[u8]>) -> String {
    let Some(data) = data else { return "~".into() };
    let mut text = Vec::with_capacity(data.len() * 4 / 3 + 4);
    for three in data.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | *byte as u32) << (8 * (3 - three.len()));
        for place in 0..4 {
            let symbol = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > three.len() { b'=' } else { symbol });
        }
    }
    String::from_utf8(text).expect("base64 is ASCII")
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    if text == "~" {
        return None;
    }
    let value = |symbol: u8| match symbol {
        b'A'..=b'Z' => symbol - b'A',
        b'a'..=b'z' => symbol - b'a' + 26,
        b'0'..=b'9' => symbol - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut data = Vec::with_capacity(text.len() * 3 / 4);
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four.iter().fold(0, |bits, symbol| bits << 6 | value(*symbol) as u32) << (6 * (4 - four.len()));
        data.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(data)
}

fn record_of(line: &str) -> Record {
    let f: Vec<&str> = line.split('\t').collect();
    let headers = f[5].split(',').filter_map(|pair| pair.split_once(':'));
    Record {
        partition: f[1].parse().expect("a partition"),
        offset: -1,
        timestamp_ms: f[2].parse().expect("a time"),
        key: bytes_of(f[3]),
        value: bytes_of(f[4]),
        headers: headers
            .map(|(name, value)| (String::from_utf8(bytes_of(name).unwrap_or_default()).expect("a name"), bytes_of(value)))
            .collect(),
    }
}

fn line_of(r: &Record) -> String {
    let pairs: Vec<String> =
        r.headers.iter().map(|(name, value)| format!("{}:{}", text_of(Some(name.as_bytes())), text_of(value.as_deref()))).collect();
    format!(
        "{}\t{}\t{}\t{}\t{}\t{}",
        r.offset, r.partition, r.timestamp_ms, text_of(r.key.as_deref()), text_of(r.value.as_deref()), pairs.join(",")
    )
}

fn number<T: std::str::FromStr>(text: &str) -> Answer<T> {
    text.parse().or_else(|_| failure("usage", format!("not a number: {text}")))
}

fn produce(driver: &mut dyn Driver, f: &[&str], lines: &mut dyn Iterator<Item = String>) -> Answer<Vec<String>> {
    let mut records: Vec<Record> = lines.take(number(f[5])?).map(|line| record_of(&line)).collect();
    driver.produce(f[1], f[2], f[3], f[4] == "1", &mut records)?;
    let rows = records.iter().map(|r| format!("{}\t{}", r.partition, r.offset)).collect();
    Ok(if f[3] == "0" { vec![] } else { rows })
}

fn cluster(driver: &mut dyn Driver) -> Answer<Vec<String>> {
    let found = driver.cluster()?;
    let first = format!("{}\t{}", found.id, found.controller);
    Ok(std::iter::once(first).chain(found.brokers.iter().map(|(id, host, port)| format!("{id}\t{host}\t{port}"))).collect())
}

fn poll(driver: &mut dyn Driver, ms: u64) -> Answer<Vec<String>> {
    let (owned, read) = driver.poll(ms)?;
    let owned: Vec<String> = owned.iter().map(i32::to_string).collect();
    Ok(std::iter::once(owned.join(",")).chain(read.iter().map(|r| format!("{}\t{}", r.partition, r.offset))).collect())
}

fn answer(driver: &mut dyn Driver, f: &[&str], lines: &mut dyn Iterator<Item = String>) -> Answer<Vec<String>> {
    let none = |_| vec![];
    match f[0] {
        "hello" => Ok(driver.hello().iter().map(|(name, value)| format!("{name}\t{value}")).collect()),
        "create" => {
            let configs: Vec<(&str, &str)> = f[3].split(',').filter_map(|pair| pair.split_once('=')).collect();
            driver.create(f[1], number(f[2])?, &configs).map(none)
        }
        "delete" => driver.delete(f[1]).map(none),
        "produce" => produce(driver, f, lines),
        "consume" => {
            let read = driver.consume(f[1], number(f[2])?, number(f[3])?, number(f[4])?, f[5] == "read_committed")?;
            Ok(read.iter().map(line_of).collect())
        }
        "offset" => {
            let at = match f[3] {
                "earliest" => At::Earliest,
                "latest" => At::Latest,
                time => At::Time(number(time)?),
            };
            driver.offset(f[1], number(f[2])?, at).map(|offset| vec![offset.to_string()])
        }
        "cluster" => cluster(driver),
        "partitions" => driver.partitions(f[1]).map(|count| vec![count.to_string()]),
        "configs" => Ok(driver.configs(f[1])?.iter().map(|(name, value)| format!("{name}\t{value}")).collect()),
        "alter" => driver.alter(f[1], f[2], f[3]).map(none),
        "transaction" => driver.transaction(f[1]).map(none),
        "join" => driver.join(f[1], f[2], f[3], f[4], f.get(5).unwrap_or(&"classic")).map(none),
        "poll" => poll(driver, number(f[1])?),
        "commit" => driver.commit(f[1], number(f[2])?, number(f[3])?).map(none),
        "leave" => driver.leave().map(none),
        other => failure("usage", format!("unknown request {other}")),
    }
}

pub fn serve(driver: &mut dyn Driver) {
    let mut lines = std::io::stdin().lock().lines().map_while(Result::ok);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    while let Some(line) = lines.next() {
        let begin = Instant::now();
        let fields: Vec<&str> = line.split('\t').collect();
        let text = match answer(driver, &fields, &mut lines) {
            Ok(rows) => std::iter::once(format!("ok\t{}", rows.len())).chain(rows).collect::<Vec<_>>().join("\n"),
            Err(Failure { kind, text }) => {
                eprintln!("{kind}: {text}");
                let words: Vec<&str> = text.split_whitespace().collect();
                format!("error\t{}\t{kind}\t{}", begin.elapsed().as_millis(), words.join(" "))
            }
        };
        if writeln!(out, "{text}").and_then(|_| out.flush()).is_err() {
            return;
        }
    }
}
