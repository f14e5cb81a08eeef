//! Files that are imported, and files that are refused as a whole.
use super::*;
use crate::identity::sample::{hex, public_key};
use crate::identity::{MemoryStore, Registry, Transition};
use crate::rng::SeededRandom;
use std::io::Read;

fn registry() -> Registry {
    Registry::new(MemoryStore::new(), &mut SeededRandom::new(1)).unwrap()
}

fn import(registry: &Registry, text: impl AsRef<[u8]>) -> Result<Imported, ImportError> {
    registry.import(&mut text.as_ref(), &mut |_| {})
}

/// The line of device number `n`, with more members.
fn line(n: u64, members: &str) -> String {
    let key = hex(&public_key(n));
    format!("{{\"id\":\"dev-{n}\",\"public_key\":\"{key}\"{members}}}\n")
}

/// The problems of a rejected file as text, and their number.
fn rejected(registry: &Registry, text: impl AsRef<[u8]>) -> (Vec<String>, u64) {
    let revision = registry.directory().revision();
    let result = import(registry, text);
    assert_eq!(registry.directory().revision(), revision, "nothing changed");
    match result {
        Err(ImportError::Rejected {
            errors,
            errors_total,
            ..
        }) => (
            errors.iter().map(ToString::to_string).collect(),
            errors_total,
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_becomes_a_device() {
    let registry = registry();
    let members = r#","roles":["device","meter"],"groups":["g1"],"attributes":{"site":"Köln"},"via":["gw-1"]"#;
    let text = format!("\u{feff}{}\r\n\n{}", line(1, members).trim(), line(2, ""));
    let imported = import(&registry, text).unwrap();
    assert_eq!(
        imported,
        Imported {
            added: 2,
            unchanged: 0,
            lines: 3,
            revision: Revision(1)
        }
    );
    let directory = registry.directory();
    let first = directory.device("dev-1").unwrap();
    assert_eq!(first.roles.join(" "), "device meter");
    assert_eq!(first.groups.join(" "), "g1");
    assert_eq!(first.via.join(" "), "gw-1");
    assert_eq!(&*first.attributes["site"], "Köln");
    assert_eq!(first.keys[0].public, public_key(1));
    assert!(first.is_active());
    let second = directory.device("dev-2").unwrap();
    assert_eq!(second.roles.join(" "), "device", "the default role");
    assert!(Arc::ptr_eq(&first.roles[0], &second.roles[0]));
}

#[test]
fn an_empty_list_of_roles_means_none() {
    let registry = registry();
    import(&registry, line(1, r#","roles":[]"#)).unwrap();
    assert!(
        registry
            .directory()
            .device("dev-1")
            .unwrap()
            .roles
            .is_empty()
    );
}

#[test]
fn one_bad_line_refuses_the_file_and_every_bad_line_is_named() {
    let registry = registry();
    registry
        .add(&NewDevice::new("taken", public_key(90)))
        .unwrap();
    let key = hex(&public_key(90));
    let text = [
        line(1, ""),
        "{\"id\":\"x\"}\n".into(),
        line(2, r#","colour":"red""#),
        line(3, r#","attributes":{"a":"1","a":"2"}"#),
        line(4, r#","roles":["a b"]"#),
        "not json\n".into(),
        "{\"id\":\"y\",\"public_key\":\"ssh-rsa AAAA\"}\n".into(),
        format!(
            "{{\"id\":\"taken\",\"public_key\":\"{}\"}}\n",
            hex(&public_key(5))
        ),
        format!("{{\"id\":\"new\",\"public_key\":\"{key}\"}}"),
    ]
    .concat();
    let (problems, total) = rejected(&registry, text);
    assert_eq!(
        problems,
        [
            "line 2: missing field `public_key` (column 10)",
            "line 3: unknown field `colour`, expected one of `id`, `public_key`, `roles`, `groups`, \
             `attributes`, `via` (column 102)",
            "line 4: duplicate attribute `a` (column 124)",
            "line 5: role `a b` is not a valid name: 1-64 of A-Z a-z 0-9 . _ - : and the first a letter or digit",
            "line 6: not JSON: expected ident (column 2)",
            "line 7: public_key: this is an RSA key; Keygate takes Ed25519 keys",
            "line 8: `taken` is enrolled already (active)",
            &format!(
                "line 9: key {} is enrolled already, for `taken`: a key belongs to one device",
                public_key(90).key_id()
            ),
        ]
    );
    assert_eq!(total, 8);
    assert!(registry.directory().device("dev-1").is_none());
}

#[test]
fn repeats_inside_a_file_name_both_lines() {
    let text = [
        line(1, ""),
        line(2, ""),
        line(1, r#","groups":["g"]"#),
        line(2, "").replace("dev-2", "dev-3"),
        line(1, ""),
    ]
    .concat();
    let (problems, total) = rejected(&registry(), text);
    assert_eq!(
        problems,
        [
            "line 3: the id `dev-1` is on line 1 already".to_owned(),
            format!(
                "line 4: the key {} is on line 2 already",
                public_key(2).key_id()
            ),
            "line 5: the id `dev-1` is on line 1 already".into(),
        ]
    );
    assert_eq!(total, 3);
}

#[test]
fn of_many_bad_lines_the_first_are_listed_and_all_are_counted() {
    let mut text = String::new();
    for n in 0..30 {
        // Bad on its own and bad only against the others, in turn: both must come in the order of lines.
        text += "{}\n";
        text += &line(1 + n % 2, "");
    }
    let registry = registry();
    let (problems, total) = rejected(&registry, &text);
    assert_eq!(total, 30 + 28);
    assert_eq!(problems.len(), IMPORT_ERRORS_MAX);
    let expected = [1_u64, 3].into_iter().chain(5..);
    for (problem, line) in problems.iter().zip(expected) {
        assert!(problem.starts_with(&format!("line {line}: ")), "{problem}");
    }
    let message = import(&registry, &text).unwrap_err().to_string();
    assert!(
        message.starts_with("58 of 60 lines cannot be enrolled; nothing was imported\n  line 1: ")
    );
    assert!(message.ends_with("\n  … and 38 more"), "{message}");
}

#[test]
fn a_file_can_be_imported_again_after_lines_were_added() {
    let registry = registry();
    import(&registry, line(1, "") + &line(2, "")).unwrap();
    registry.transition("dev-2", Transition::Suspend).unwrap();
    let again = import(&registry, line(1, "") + &line(2, "") + &line(3, "")).unwrap();
    assert_eq!((again.added, again.unchanged), (1, 2));
    let same = import(&registry, line(1, "")).unwrap();
    assert_eq!((same.added, same.unchanged), (0, 1));
    assert_eq!(
        same.revision, again.revision,
        "nothing changed, so no revision"
    );

    let (problems, _) = rejected(&registry, line(1, r#","groups":["other"]"#));
    assert_eq!(problems, ["line 1: `dev-1` is enrolled already (active)"]);
    registry.transition("dev-1", Transition::Revoke).unwrap();
    let (problems, _) = rejected(&registry, line(1, ""));
    assert_eq!(
        problems,
        [
            "line 1: `dev-1` is enrolled already (revoked): a revoked device keeps its id until it is removed"
        ]
    );
}

#[test]
fn a_line_that_does_not_end_is_refused_and_the_next_is_read() {
    let long = format!("{{\"id\":\"{}\n", "x".repeat(3 * IMPORT_LINE_LEN_MAX));
    let registry = registry();
    let (problems, total) = rejected(&registry, format!("{long}{{}}\n{long}"));
    assert_eq!(
        problems,
        [
            "line 1: longer than 65536 bytes",
            "line 2: missing field `id` (column 2)",
            "line 3: longer than 65536 bytes",
        ]
    );
    assert_eq!(total, 3);
    // A blank line of exactly the bound is still a line.
    let blank = " ".repeat(IMPORT_LINE_LEN_MAX);
    assert_eq!(import(&registry, &blank).unwrap().lines, 1);
    assert_eq!(import(&registry, blank + "\n").unwrap().lines, 1);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let (problems, _) = rejected(&registry(), b"{\"id\":\"\xff\"}\n");
    assert_eq!(problems, ["line 1: not UTF-8"]);
}

#[test]
fn input_that_breaks_off_changes_nothing() {
    struct Breaks<'a>(&'a [u8]);
    impl Read for Breaks<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::ErrorKind::ConnectionReset.into()),
                n => Ok(n),
            }
        }
    }
    let registry = registry();
    let text = line(1, "") + &line(2, "");
    let mut input = io::BufReader::new(Breaks(text.as_bytes()));
    match registry.import(&mut input, &mut |_| {}) {
        Err(ImportError::Read { line: 2, error }) => {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        other => panic!("{other:?}"),
    }
    assert!(registry.directory().is_empty());
}

#[test]
fn an_empty_file_is_an_import_of_nothing() {
    let imported = import(&registry(), "").unwrap();
    assert_eq!((imported.added, imported.lines), (0, 0));
    assert_eq!(imported.revision, Revision(0));
}

#[test]
fn progress_is_reported_while_reading_and_once_before_storing() {
    let text: String = (0..2_500).map(|n| line(n, "")).collect();
    let mut seen = Vec::new();
    registry()
        .import(&mut text.as_bytes(), &mut |progress| seen.push(progress))
        .unwrap();
    let at = |stage, lines| ImportProgress {
        stage,
        lines,
        devices: lines,
    };
    assert_eq!(
        seen,
        [
            at(ImportStage::Reading, 1_000),
            at(ImportStage::Reading, 2_000),
            at(ImportStage::Storing, 2_500),
        ]
    );
}
