//! The program's exit codes and last words where TLS cannot be had.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use rcgen::{CertificateParams, KeyPair};

/// Runs it without gateways, with this on its standard input: its exit code, and what it says about it.
fn device_sim(args: &[&str], input: &str) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_device-sim"))
        .args(["run", "--gateways", "0", "--quiet"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    // It may have ended without reading.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output().expect("ends");
    let said = String::from_utf8(output.stderr).expect("text");
    (output.status.code(), said)
}

const READY: &str =
    "{\"event\":\"ready\",\"broker_id\":\"kg\",\"pid\":1,\"mqtt\":\"127.0.0.1:1\"}\n";

#[test]
fn mqtts_without_a_ca_is_wrong_use() {
    let args = ["--mqtt", "mqtts://127.0.0.1:8883", "--broker-id", "kg"];
    let (code, said) = device_sim(&args, "");
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("mqtts://127.0.0.1:8883 needs the CA"),
        "{said}"
    );
    assert!(
        said.contains("pass --ca FILE (Keygate's own is DATA/tls/ca.pem)"),
        "{said}"
    );
}

#[test]
fn what_needs_tls_is_not_ignored_without_it() {
    for (args, expected) in [
        (["--ca", "ca.pem"], "--ca is for MQTT over TLS"),
        (
            ["--binding", "exporter"],
            "--binding exporter is for MQTT over TLS",
        ),
    ] {
        let (code, said) = device_sim(&[&args[..], &["--target", "-"]].concat(), READY);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn tls_needs_a_broker_that_has_it() {
    let (code, said) = device_sim(&["--target", "-", "--tls"], READY);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("names no TLS listener"), "{said}");
}

#[test]
fn a_ca_file_that_is_not_there_is_named() {
    let args = [
        "--mqtt",
        "mqtts://127.0.0.1:1",
        "--broker-id",
        "kg",
        "--ca",
        "no-such-file.pem",
    ];
    let (code, said) = device_sim(&args, "");
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("--ca no-such-file.pem: cannot be read"),
        "{said}"
    );
}

/// The same exit code as where nothing listens: nothing was measured.
#[test]
fn where_no_tls_is_spoken_nothing_can_be_run() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        stream.write_all(b"\x20\x03\x00\x00\x00").expect("written");
        // Until it goes.
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(Vec::new()).expect("no names");
    let pem = params.self_signed(&key).expect("signs").pem();
    let file = std::env::temp_dir().join(format!("device-sim-ca-{}.pem", std::process::id()));
    std::fs::write(&file, pem).expect("written");

    let url = format!("mqtts://{address}");
    let ca = file.to_str().expect("text");
    let (code, said) = device_sim(&["--mqtt", &url, "--broker-id", "kg", "--ca", ca], "");
    server.join().expect("ends");
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("no TLS with {address}")), "{said}");
    assert!(
        said.contains("is this the port of its TLS listener"),
        "{said}"
    );
}
