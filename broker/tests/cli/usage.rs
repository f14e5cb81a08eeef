//! Exit codes, and that errors say what to do.

use crate::harness::{Place, bare};
use std::fs;

#[test]
fn wrong_use_is_2_and_what_cannot_be_done_is_1() {
    let place = Place::initialised();
    let bad = place.file("bad.toml");
    fs::write(&bad, "[listeners]\nmqqt = \"127.0.0.1:1883\"\n").unwrap();
    let key = place.device("dev1");
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    for (args, code, says) in [
        // Wrong use.
        (&["nonsense"] as &[&str], 2, "unrecognized subcommand"),
        (&[], 2, "Usage: keygate"),
        (&["device", "add", "dev2"], 2, "--public-key"),
        (
            &["device", "add", "a/b", "--public-key", public],
            2,
            "1 to 64 of A-Z a-z 0-9",
        ),
        (
            &["device", "add", "dev2", "--public-key", "abc"],
            2,
            "public key",
        ),
        (
            &["device", "add", "dev2", "--public-key", "/nowhere.pub"],
            2,
            "`/nowhere.pub`: no file has this name",
        ),
        (
            &["--json", "nonsense"],
            2,
            r#"{"error":{"kind":"wrong_use","message":"unrecognized"#,
        ),
        (&["serve", "--mqtt", "1883"], 2, "127.0.0.1:1883"),
        (&["serve", "--coap", "0.0.0.0:0"], 2, "--allow-plain"),
        (&["serve", "--config", &bad], 2, "did you mean `mqtt`?"),
        (&["serve", "--log", "loud"], 2, "no log level"),
        (
            &[
                "assert", "--id", "dev1", "--key", &key, "--aud", "kg-test", "--ttl", "0",
            ],
            2,
            "--ttl",
        ),
        (
            &[
                "fetch-token",
                "--id",
                "dev1",
                "--key",
                &key,
                "--coap",
                "http://x",
            ],
            2,
            "coap://HOST[:PORT]",
        ),
        // Failures.
        (
            &["config", "check", "--config", &bad],
            1,
            "did you mean `mqtt`?",
        ),
        (
            &["config", "check", "--config", "/nowhere"],
            1,
            "cannot be read",
        ),
        (&["init"], 1, "already"),
        (&["device", "show", "nobody"], 1, "nobody"),
        (&["device", "import", "/nowhere"], 1, "/nowhere"),
        (
            &[
                "assert", "--id", "dev1", "--key", "/nowhere", "--aud", "kg-test",
            ],
            1,
            "/nowhere",
        ),
        (&["token", "inspect", "rubbish!"], 1, "not a token"),
        (&["why", "nobody"], 1, "keygate audit --refused"),
        // Done.
        (&["config", "check"], 0, ""),
        (&["config", "show"], 0, ""),
        (&["audit", "--id", "nobody"], 0, "nothing about nobody"),
        (&["--version"], 0, ""),
    ] {
        let done = place.run(args);
        assert_eq!(done.code, code, "{args:?}: {done:?}");
        assert!(done.stderr.contains(says), "{args:?}: {done:?}");
        assert_eq!(
            done.stdout.is_empty(),
            code != 0 || args[0] == "audit",
            "{args:?}: {done:?}"
        );
    }
}

#[test]
fn with_json_an_error_is_one_line_of_json() {
    let place = Place::initialised();
    let done = place.run(&["device", "show", "nobody", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&done.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "failed");
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("nobody")
    );
}

#[test]
fn without_a_data_directory_commands_say_how_to_make_one() {
    let place = Place::new();
    for args in [
        &["device", "list"] as &[&str],
        &["why", "dev1"],
        &["audit"],
        &["device", "import", "-"],
    ] {
        let done = place.run(args);
        assert_eq!(done.code, 1, "{args:?}: {done:?}");
        assert!(
            done.stderr.contains("keygate init --data"),
            "{args:?}: {done:?}"
        );
    }
    assert!(!place.data().exists());
}

#[test]
fn the_data_directory_comes_from_the_flag_the_environment_or_here() {
    let place = Place::new();
    let flag = place.file("by-flag");
    place.ok(&["init", "--data", &flag]);
    place.ok(&["init"]);
    let here = bare(&["init"])
        .current_dir(place.dir.path())
        .output()
        .unwrap();
    assert!(here.status.success());
    for made in ["by-flag", "data", "keygate-data"] {
        assert!(
            place.dir.path().join(made).join("broker.json").exists(),
            "{made}"
        );
    }
}

#[test]
fn a_check_without_a_file_says_so() {
    let said = Place::new().ok(&["config", "check"]);
    assert!(said.contains("no file was given"), "{said}");
}

#[test]
fn settings_are_shown_with_where_they_came_from() {
    let place = Place::new();
    let file = place.file("keygate.toml");
    fs::write(&file, "[limits]\ninbox = 10\n").unwrap();
    let args = ["config", "show", "--config", &file, "--mqtt", "127.0.0.1:7"];
    let text = place.ok(&args);
    for line in [
        "\n# [anonymous]\n",
        "mqtt = \"127.0.0.1:7\"                     # flag",
        "# coap = off                             # default",
        "inbox = 10                               # file",
    ] {
        assert!(text.contains(line), "{text}");
    }
    // What is shown is a configuration file.
    fs::write(&file, &text).unwrap();
    place.ok(&["config", "check", "--config", &file]);
    let settings = place.json(&args);
    let of = |name: &str| {
        let all = settings.as_array().unwrap().iter();
        all.clone()
            .find(|setting| setting["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(of("inbox")["value"], 10);
    assert_eq!(of("mqtt")["from"], "flag");
}

#[test]
fn output_that_nobody_reads_any_more_is_no_failure() {
    let place = Place::initialised();
    place.device("dev1");
    let mut list = place.spawn(&["device", "list"]);
    // Closes the pipe before anything is written, or after: both are fine.
    list.close();
    assert_eq!(list.child.wait().unwrap().code(), Some(0));
}
