//! A process without free file descriptors.

use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::log::Memory;
use crate::rig::{Plan, Rig, until};

/// Environment variable that marks the child process that the test starts.
const LIMITED: &str = "VELERO_TRUST_TEST_LIMITED";

/// The limit applies to a whole process, so the actual test runs in a child process.
#[test]
fn a_process_without_descriptors_pauses_and_recovers() {
    if std::env::var_os(LIMITED).is_some() {
        // One thread, because the log in memory only records the current thread.
        let mut builder = tokio::runtime::Builder::new_current_thread();
        return builder
            .enable_all()
            .build()
            .unwrap()
            .block_on(run_out_of_descriptors());
    }
    let own_name = "descriptors::a_process_without_descriptors_pauses_and_recovers";
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg(own_name)
        .env(LIMITED, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}");
}

async fn run_out_of_descriptors() {
    let (log, _guard) = Memory::start();
    let rig = Rig::start(Plan::default()).await;
    let failures = || {
        let events = log.events();
        let failed =
            |event: &&serde_json::Value| event["message"] == "no connection can be accepted";
        events.iter().filter(failed).count()
    };
    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect(rig.address).await {
        clients.push(client);
        assert!(clients.len() < 100, "the limit does not hold");
    }
    until(|| failures() >= 2).await;
    // The server pauses between its attempts. A busy loop would fail thousands of times.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(failures() < 50, "{}", failures());
    drop(clients);
    rig.assert_well().await;
}
