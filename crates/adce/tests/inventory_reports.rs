//! The binary over a bucket that reports its own inventory, on an S3-compatible server over a socket: the report is read
//! instead of listing, what adce does later outranks it, and a report that is not whole is refused.

#[path = "../../inventory/tests/support/mod.rs"]
mod deliveries;
#[path = "../../lake/tests/support/servers.rs"]
mod servers;
mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use adce_core::time::{SignedDuration, Timestamp};
use deliveries::{Delivery, FORMATS, Format, Row};
use servers::{ACCESS_KEY, Server};
use support::place::Place;

const NUMBERS: u32 = 60;

const WRITER: &str = "import json, os\nfor line in open(os.environ['ADCE_ITEMS'], encoding='utf-8'):\n    item = json.loads(line)\n    \
    open(item['out'], 'w', encoding='utf-8').write(item['key'] + '\\n')\n";

fn config(bucket: &str) -> String {
    format!(
        "version: 1\nname: reported\nlake:\n  url: s3://{bucket}/some/prefix\n  inventory: s3://{bucket}-reports/inventory/nba/daily/\n\
         dimensions:\n  number: {{ table: numbers.csv, id: number }}\ndatasets:\n  numbers:\n    key: numbers/{{number}} a+b.txt\n    \
         for: number\n    min_size: 4B\n    collector: writer\ncollectors:\n  writer:\n    command: [python3, writer.py]\n    \
         batch: {{ size: 200 }}\n    retry: {{ attempts: 1 }}\n"
    )
}

/// One request, which moto takes unsigned.
fn send(server: &Server, method: &str, bucket: &str, key: &str, body: &[u8]) {
    let address = server.endpoint().strip_prefix("http://").expect("an endpoint").to_owned();
    let key: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>().replace("%2F", "/");
    let mut connection = TcpStream::connect(&address).expect("a server");
    let head = format!(
        "{method} /{bucket}/{key} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body)).expect("a request sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 20"), "{method} {key}: {answer}");
}

/// A bucket with a lake in it, and one for its reports.
struct World<'a> {
    server: &'a Server,
    bucket: String,
    place: Place,
    /// What is delivered is written here first.
    delivery: Delivery,
    delivered: BTreeSet<String>,
    _scratch: tempfile::TempDir,
}

impl<'a> World<'a> {
    fn new(server: &'a Server, bucket: &str) -> World<'a> {
        server.make_bucket(bucket);
        server.make_bucket(&format!("{bucket}-reports"));
        let place = Place::new(&config(bucket));
        let rows: String = (0..NUMBERS).map(|number| format!("{number:03}\n")).collect();
        place.write("numbers.csv", &format!("number\n{rows}"));
        place.write("writer.py", WRITER);
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let delivery = Delivery { bucket: bucket.into(), ..Delivery::new(scratch.path()) };
        World { server, bucket: bucket.into(), place, delivery, delivered: BTreeSet::new(), _scratch: scratch }
    }

    fn key(number: u32) -> String {
        format!("some/prefix/numbers/{number:03} a+b.txt")
    }

    fn put(&self, number: u32) {
        send(self.server, "PUT", &self.bucket, &World::key(number), b"some\n");
    }

    fn take_away(&self, number: u32) {
        send(self.server, "DELETE", &self.bucket, &World::key(number), b"");
    }

    /// A report of these numbers, made so many minutes ago; `damage` comes before it is sent.
    fn report(&mut self, minutes_ago: i64, format: Format, numbers: &[u32], damage: impl Fn(&Delivery, &str)) -> Timestamp {
        let created = Timestamp::now() - SignedDuration::from_mins(minutes_ago);
        // A dated folder has minutes in its name.
        let created = Timestamp::from_second(created.as_second() / 60 * 60).expect("a time");
        let row = |number: &u32| Row { key: World::key(*number), size: 5, modified: created, etag: format!("e{number}") };
        let mut rows: Vec<Row> = numbers.iter().map(row).collect();
        // Objects of others, beside the lake and in it.
        rows.extend(["else/where", "some/prefix/numbers/old.txt"].map(|key| Row { key: key.into(), ..row(&0) }));
        let (one, two) = rows.split_at(rows.len() / 2);
        let name = self.delivery.deliver(&created.to_string(), format, &[one.to_vec(), two.to_vec()]);
        damage(&self.delivery, &name);
        self.send_new();
        created
    }

    fn send_new(&mut self) {
        let mut files = Vec::new();
        list(&self.delivery.root, &self.delivery.root, &mut files);
        for key in files {
            if self.delivered.insert(key.clone()) {
                let bytes = std::fs::read(self.delivery.root.join(&key)).expect("a file");
                send(self.server, "PUT", &format!("{}-reports", self.bucket), &key, &bytes);
            }
        }
    }

    fn adce(&self, args: &[&str]) -> support::place::Said {
        self.place.adce_with(&self.server.environment(), args)
    }

    fn missing(&self, exit: i32) -> (u64, serde_json::Value) {
        let plan = self.adce(&["plan", "--format", "json"]).ends_with(exit).json();
        (plan["coverage"]["missing"].as_u64().expect("a number"), plan)
    }
}

fn list(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => list(root, &path, files),
            path => files.push(path.strip_prefix(root).expect("below").to_str().expect("plain").to_owned()),
        }
    }
}

fn whole(_: &Delivery, _: &str) {}

#[test]
fn a_report_in_any_format_is_what_is_there_until_somebody_knows_better() {
    let Some(server) = Server::moto() else { return };
    for format in FORMATS {
        let mut world = World::new(&server, &format!("lake-{format:?}").to_lowercase());
        let there: Vec<u32> = (0..NUMBERS).filter(|number| number % 3 != 0).collect();
        there.iter().for_each(|number| world.put(*number));
        // The report has one more than really is there: that shows who was asked.
        let said: Vec<u32> = there.iter().copied().chain([3]).collect();
        let created = world.report(30 * 60, format, &said, whole);
        let (missing, plan) = world.missing(2);
        assert_eq!(missing, u64::from(NUMBERS) - said.len() as u64, "{format:?}: {plan}");
        assert_eq!(plan["report"]["created_at"], created.to_string());
        assert_eq!(plan["report"]["prefixes"], serde_json::json!(["numbers/"]));
        assert_eq!(plan["coverage"]["unexpected"], 1);
        let line = format!("by the inventory report of {}", created.strftime("%Y-%m-%d %H:%M UTC"));
        world.adce(&["plan"]).says(&line);
        world.adce(&["status"]).says(&line);
        world.adce(&["why", "numbers/001 a+b.txt"]).says(&format!("seen by the inventory report of {created}"));
        world.adce(&["why", "numbers/000 a+b.txt"]).says(&format!("not there, by the inventory report of {created}"));

        // What is filled now is newer than the report, also for whoever starts anew.
        world.adce(&["run", "--yes"]).ends_with(0);
        let (missing, plan) = world.missing(0);
        assert_eq!((missing, plan["report"]["created_at"].as_str()), (0, Some(created.to_string().as_str())));

        // A newer report that is not whole is refused, and the older one is what is known.
        world.report(3 * 60, format, &[1], |delivery, name| {
            let end = std::fs::read_dir(delivery.path("data")).expect("data").flatten();
            let file = end.map(|entry| entry.path()).find(|path| path.to_str().is_some_and(|path| path.contains(&format!("{name}-1"))));
            let file = file.expect("its second file");
            let bytes = std::fs::read(&file).expect("a file");
            std::fs::write(&file, &bytes[..bytes.len() - 3]).expect("half of it");
        });
        let (missing, plan) = world.missing(0);
        assert_eq!((missing, plan["report"]["created_at"].as_str()), (0, Some(created.to_string().as_str())));
        let refused = plan["report"]["refused"][0].as_str().expect("a reason");
        assert!(
            refused.contains("is refused: `inventory/nba/daily/data/") && refused.contains(" bytes, and the manifest says "),
            "{refused}"
        );

        // A whole one that came so soon after a fill that it may not have seen it: the lake itself is asked.
        world.take_away(0);
        world.report(-2, format, &there, whole);
        let (missing, plan) = world.missing(2);
        assert_eq!(missing, 2, "3 was only said to be there, and 6, 9 and so on are there: {plan}");
        world.adce(&["gaps"]).says("numbers/000 a+b.txt");
    }
}

#[test]
fn without_a_report_that_can_be_believed_the_lake_is_listed_and_it_is_said_why() {
    let Some(server) = Server::moto() else { return };
    let mut world = World::new(&server, "lake-listed");
    (0..NUMBERS).for_each(|number| world.put(number));
    let (missing, plan) = world.missing(0);
    assert_eq!((missing, plan["report"]["created_at"].is_null()), (0, true));
    world.adce(&["plan"]).says("no inventory report was delivered yet");
    world.report(5 * 60, Format::Parquet, &[1], |delivery, name| {
        std::fs::remove_file(delivery.path(name).join("manifest.checksum")).expect("it was there");
    });
    let (missing, plan) = world.missing(0);
    assert_eq!((missing, plan["report"]["prefixes"].clone()), (0, serde_json::json!([])));
    world.adce(&["plan"]).says("manifest.checksum`: it is not there; the delivery has not ended");
    // A later listing is in force: an older report takes nothing of that back.
    world.adce(&["run", "--yes"]).ends_with(0);
    world.report(4 * 60, Format::Parquet, &[1], whole);
    let (missing, _) = world.missing(0);
    assert_eq!(missing, 0);
    world.adce(&["plan"]).says("and the lake was listed since");
    std::fs::remove_dir_all(world.place.path(".adce")).expect("the state goes");
    world.report(3 * 60, Format::Csv, &(1..NUMBERS).collect::<Vec<_>>(), whole);
    let (missing, _) = world.missing(2);
    assert_eq!(missing, 1, "another state has no listing of its own");
}

#[test]
fn a_table_in_the_bucket_is_read_from_there() {
    let Some(server) = Server::moto() else { return };
    let world = World::new(&server, "lake-tables");
    let config = config("lake-tables").replace("table: numbers.csv", "table: lake:schedule/*.jsonl.gz");
    world.place.write("adce.yaml", &config);
    world.adce(&["plan"]).ends_with(78).says("no file matches `lake:schedule/*.jsonl.gz`");
    let rows = |from: u32, to: u32| -> String {
        (from..to).map(|number| format!("{{\"number\": \"{number:03}\", \"teams\": [1, 2]}}\n")).collect()
    };
    send(&server, "PUT", "lake-tables", "some/prefix/schedule/2024.jsonl.gz", &deliveries::gzip(rows(0, 40).as_bytes()));
    send(&server, "PUT", "lake-tables", "some/prefix/schedule/2025.jsonl.gz", &deliveries::gzip(rows(40, 45).as_bytes()));
    send(&server, "PUT", "lake-tables", "some/prefix/schedule/deep/2026.jsonl.gz", b"no gzip, and none of the table's");
    world.put(7);
    assert_eq!(world.missing(2).0, 44);
    world.adce(&["check"]).ends_with(0).says("45 items");
    // A row that is there twice is named as everybody would look for it.
    send(&server, "PUT", "lake-tables", "some/prefix/schedule/2025.jsonl.gz", &deliveries::gzip(rows(39, 45).as_bytes()));
    world.adce(&["plan"]).ends_with(78).says("lake:schedule/2025.jsonl.gz:1").says("lake:schedule/2024.jsonl.gz:40");
}
