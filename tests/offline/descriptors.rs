//! A process that has no file descriptors left.

use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::log::Memory;
use crate::rig::{Plan, Rig, until};

/// Set in the process that the test starts of itself.
const LIMITED: &str = "VELERO_TRUST_TEST_LIMITED";

/// The limit holds for a whole process, so the test proper runs in one of its own.
#[test]
fn a_process_without_descriptors_pauses_and_recovers() {
    if std::env::var_os(LIMITED).is_some() {
        // One thread: the log in memory is that of a thread.
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
    // It pauses between the attempts: a hot loop would fail thousands of times.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(failures() < 50, "{}", failures());
    drop(clients);
    rig.assert_well().await;
}
