//! Directories that are opened, refused, held, interrupted.
use super::*;
use crate::rng::{SeededRandom, SystemRandom};
use keygate_protocol::crypto::{PublicKey, Signer as _};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const NOW: UnixTime = UnixTime(1_800_000_000);

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn init(&self, broker_id: Option<&str>) -> Result<DataDir, DataDirError> {
        let broker_id = broker_id.map(|id| Id::new(id).unwrap());
        DataDir::init(&self.data(), broker_id, NOW, &mut SystemRandom)
    }

    fn open(&self) -> Result<DataDir, DataDirError> {
        DataDir::open(&self.data())
    }

    fn serve(&self) -> Result<DataDir, DataDirError> {
        DataDir::open_or_init(&self.data(), NOW, &mut SystemRandom)
    }

    fn message(&self, result: Result<DataDir, DataDirError>) -> String {
        let message = result.unwrap_err().to_string();
        message.replace(self.data().to_str().unwrap(), "DATA")
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Everything but the lock: by name, the content.
fn content(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for directory in [root.to_path_buf(), root.join("keys")] {
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_file() && path.file_name().unwrap() != "lock" {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn a_new_directory_is_private_and_has_all_keys() {
    let place = Place::new();
    let data = place.init(None).unwrap();
    let layout = data.layout();
    assert_eq!(mode(layout.root()), 0o700);
    assert_eq!(mode(&layout.keys()), 0o700);
    let names: Vec<String> = content(layout.root()).into_keys().collect();
    assert_eq!(
        names,
        [
            "broker.json",
            "keys/identity-current.pem",
            "keys/identity-next.pem",
            "keys/token-1.pem",
            "keys/token-keys.json",
        ]
    );
    for name in names {
        assert_eq!(mode(&layout.root().join(name)), 0o600);
    }

    let identity = data.identity_keys().unwrap();
    let tokens = data.token_keys().unwrap();
    let ids = [
        identity.current.key_id(),
        identity.next.key_id(),
        tokens.signing().key_id(),
    ];
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    assert_eq!(
        data.broker_id().as_str(),
        format!("kg-{}", &ids[0].to_string()[..6])
    );
    for id in &ids[..2] {
        assert_eq!(identity.find(*id).map(|key| key.key_id()), Some(*id));
    }
    assert!(identity.find(ids[2]).is_none());
    assert_eq!(
        tokens.verifying(),
        [broker_keys::TokenKey {
            public_key: tokens.signing().public_key(),
            key_id: ids[2],
            created_at: NOW,
            retired_at: None,
        }]
    );
    assert!(tokens.find(ids[2], NOW).is_some());
    assert!(tokens.find(ids[0], NOW).is_none());
}

#[test]
fn what_was_made_is_what_is_opened() {
    let place = Place::new();
    let keys = |data: &DataDir| -> [PublicKey; 3] {
        let identity = data.identity_keys().unwrap();
        [
            identity.current.public_key(),
            identity.next.public_key(),
            data.token_keys().unwrap().signing().public_key(),
        ]
    };
    let made = place.init(Some("plant-7")).unwrap();
    let expected = keys(&made);
    drop(made);
    for opened in [DataDir::open, |path: &Path| {
        DataDir::open_or_init(path, NOW, &mut SystemRandom)
    }] {
        let data = opened(&place.data()).unwrap();
        assert_eq!(data.broker_id().as_str(), "plant-7");
        assert_eq!(keys(&data), expected);
    }
}

#[test]
fn init_never_starts_over() {
    let place = Place::new();
    drop(place.init(Some("plant-7")).unwrap());
    let before = content(&place.data());
    for broker_id in [None, Some("plant-7"), Some("other")] {
        assert_eq!(
            place.message(place.init(broker_id)),
            "DATA is initialised already, as broker `plant-7`"
        );
    }
    assert_eq!(content(&place.data()), before);
}

#[test]
fn where_nothing_is_open_makes_nothing() {
    let place = Place::new();
    let expected = "DATA is no data directory of Keygate; name the right one with --data DIR, or make one there: \
                    keygate init --data DATA";
    assert_eq!(place.message(place.open()), expected);
    assert!(!place.data().exists());
    fs::create_dir(place.data()).unwrap();
    assert_eq!(place.message(place.open()), expected);
    assert_eq!(fs::read_dir(place.data()).unwrap().count(), 0);
    fs::remove_dir(place.data()).unwrap();
    fs::write(place.data(), "").unwrap();
    assert_eq!(place.message(place.open()), "DATA is not a directory");
    assert_eq!(place.message(place.init(None)), "DATA is not a directory");
}

#[test]
fn a_directory_that_others_may_enter_is_refused_with_the_remedy() {
    let place = Place::new();
    drop(place.init(None).unwrap());
    for mode in [0o755, 0o710, 0o701] {
        chmod(&place.data(), mode);
        let expected =
            format!("DATA is open to other users (mode {mode:04o}); close it: chmod 700 DATA");
        assert_eq!(place.message(place.open()), expected);
        assert_eq!(place.message(place.init(None)), expected);
        assert_eq!(place.message(place.serve()), expected);
    }
    chmod(&place.data(), 0o700);
    place.open().unwrap();
}

#[test]
fn one_process_at_a_time_and_the_other_is_named() {
    let place = Place::new();
    let held = place.init(None).unwrap();
    let expected = format!(
        "DATA is in use by process {}; stop it first",
        std::process::id()
    );
    assert_eq!(place.message(place.open()), expected);
    assert_eq!(place.message(place.init(None)), expected);
    assert_eq!(place.message(place.serve()), expected);
    fs::write(place.data().join("lock"), "").unwrap();
    assert_eq!(
        place.message(place.open()),
        "DATA is in use by another process; stop it first"
    );
    drop(held);
    place.open().unwrap();
}

#[test]
fn a_key_of_the_broker_that_is_gone_is_not_made_anew() {
    let place = Place::new();
    drop(place.init(None).unwrap());
    let layout = Layout::new(place.data());
    fs::remove_file(layout.identity_key_current()).unwrap();
    fs::remove_file(layout.token_key(1)).unwrap();
    let data = place.serve().unwrap();
    let missing = |path: PathBuf| {
        format!(
            "{} is missing; restore it from a backup: devices and tokens rely on this key",
            path.display()
        )
    };
    assert_eq!(
        data.identity_keys().unwrap_err().to_string(),
        missing(layout.identity_key_current())
    );
    assert_eq!(
        data.token_keys().unwrap_err().to_string(),
        missing(layout.token_key(1))
    );
    fs::remove_file(layout.token_keys_file()).unwrap();
    assert_eq!(
        data.token_keys().unwrap_err().to_string(),
        missing(layout.token_keys_file())
    );
}

#[test]
fn a_key_of_the_broker_that_others_can_read_is_refused() {
    let place = Place::new();
    let data = place.init(None).unwrap();
    for path in [
        data.layout().identity_key_next(),
        data.layout().token_key(1),
    ] {
        chmod(&path, 0o640);
    }
    assert!(matches!(
        data.identity_keys(),
        Err(KeyFileError::TooOpen { mode: 0o640, .. })
    ));
    assert!(matches!(
        data.token_keys(),
        Err(DataDirError::Key(KeyFileError::TooOpen { .. }))
    ));
}

#[test]
fn token_keys_that_were_mixed_up_are_refused() {
    let place = Place::new();
    let data = place.init(None).unwrap();
    let layout = data.layout();
    fs::copy(layout.identity_key_next(), layout.token_key(1)).unwrap();
    assert!(matches!(
        data.token_keys(),
        Err(DataDirError::Key(KeyFileError::OtherKey { .. }))
    ));
}

#[test]
fn a_retired_token_key_verifies_until_its_time_and_never_signs() {
    let place = Place::new();
    let data = place.init(None).unwrap();
    let layout = data.layout();
    let old = data.token_keys().unwrap().signing();
    let new =
        super::super::generate_key_file(&layout.token_key(2), &mut SeededRandom::new(5)).unwrap();
    let list = format!(
        r#"{{"format":1,"keys":[
            {{"number":1,"key_id":"{}","created_at":5,"retired_at":100}},
            {{"number":2,"key_id":"{}","created_at":50,"retired_at":null}}]}}"#,
        old.key_id(),
        new.key_id()
    );
    fs::write(layout.token_keys_file(), list).unwrap();
    let keys = data.token_keys().unwrap();
    assert_eq!(keys.signing().public_key(), new);
    assert_eq!(keys.verifying().len(), 2);
    assert!(keys.find(old.key_id(), UnixTime(99)).is_some());
    assert!(keys.find(old.key_id(), UnixTime(100)).is_none());
    assert!(keys.find(new.key_id(), UnixTime(100)).is_some());
}

#[test]
fn files_that_are_damaged_or_from_the_future_are_explained() {
    let place = Place::new();
    drop(place.init(None).unwrap());
    let path = place.data().join("broker.json");
    let good = fs::read_to_string(&path).unwrap();
    let cases = [
        (
            String::new(),
            "DATA/broker.json is damaged: EOF while parsing a value at line 1 column 0; \
             restore it from a backup",
        ),
        (
            good.replace("kg-", "-kg"),
            "DATA/broker.json is damaged: the broker id is not a valid id; restore it from a backup",
        ),
        (
            r#"{"format":2,"moon":"full"}"#.into(),
            "DATA/broker.json has format 2, this version knows 1 at most; \
             use the version that wrote it",
        ),
    ];
    for (text, expected) in cases {
        fs::write(&path, text).unwrap();
        assert_eq!(place.message(place.open()), expected);
        assert_eq!(place.message(place.serve()), expected);
        assert_eq!(place.message(place.init(None)), expected);
    }
}

#[test]
fn a_lost_broker_file_is_written_anew_only_under_a_name_that_is_given() {
    let place = Place::new();
    let data = place.init(Some("plant-7")).unwrap();
    let current = data.identity_keys().unwrap().current.public_key();
    fs::write(data.layout().identity_db(), "").unwrap();
    drop(data);
    fs::remove_file(place.data().join("broker.json")).unwrap();
    let expected = "DATA/broker.json is missing although the directory is in use; restore it, or write it anew \
                    under the same name: keygate init --broker-id NAME";
    assert_eq!(place.message(place.open()), expected);
    assert_eq!(place.message(place.serve()), expected);
    assert_eq!(place.message(place.init(None)), expected);
    let data = place.init(Some("plant-7")).unwrap();
    assert_eq!(data.identity_keys().unwrap().current.public_key(), current);
}

/// What a directory looks like after a kill before each step of `init`: the files that exist by then, each whole, and
/// perhaps the half-written temporary file of the next one.
#[test]
fn init_that_was_killed_anywhere_goes_on_from_there() {
    for wished in [None, Some("plant-7")] {
        let done = Place::new();
        drop(done.init(wished).unwrap());
        let finished = content(&done.data());
        let started = serde_json::json!({
            "format": 1, "broker_id": wished, "initialised": false
        });
        let mut steps = vec![("broker.json", started.to_string().into_bytes())];
        for name in [
            "keys/identity-current.pem",
            "keys/identity-next.pem",
            "keys/token-1.pem",
            "keys/token-keys.json",
            "broker.json",
        ] {
            steps.push((name, finished[name].clone()));
        }
        for killed_before in 0..steps.len() {
            for half_written in [false, true] {
                let place = Place::new();
                let root = place.data();
                DirBuilder::new().mode(0o700).create(&root).unwrap();
                fs::write(root.join("lock"), "1\n").unwrap();
                if killed_before > 0 {
                    DirBuilder::new()
                        .mode(0o700)
                        .create(root.join("keys"))
                        .unwrap();
                }
                for (name, content) in &steps[..killed_before] {
                    fs::write(root.join(name), content).unwrap();
                    chmod(&root.join(name), 0o600);
                }
                let (next, whole) = &steps[killed_before];
                if half_written && (killed_before > 0 || !next.starts_with("keys")) {
                    let temporary = root.join(next).with_file_name(".half.1.keygate-tmp");
                    fs::write(temporary, &whole[..whole.len() / 2]).unwrap();
                }
                assert!(matches!(
                    place.open(),
                    Err(DataDirError::NotInitialised { .. })
                ));
                let data = place.serve().unwrap();
                let after = content(&root);
                assert_eq!(
                    after.keys().collect::<Vec<_>>(),
                    finished.keys().collect::<Vec<_>>(),
                    "no temporary file is left"
                );
                for (name, content) in &steps[1..killed_before.max(1)] {
                    assert_eq!(after[*name], *content, "{name} is kept");
                }
                let current = data.identity_keys().unwrap().current.key_id();
                data.token_keys().unwrap();
                // Killed before the wish was written: nothing tells what it was.
                let expected = match wished {
                    Some(wished) if killed_before > 0 => wished.to_owned(),
                    _ => format!("kg-{}", &current.to_string()[..6]),
                };
                assert_eq!(data.broker_id().as_str(), expected);
            }
        }
    }
}

#[test]
fn an_interrupted_init_may_be_repeated_under_another_name() {
    let place = Place::new();
    let data = place.init(Some("plant-7")).unwrap();
    let current = data.identity_keys().unwrap().current.public_key();
    drop(data);
    let path = place.data().join("broker.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("true", "false")).unwrap();
    let data = place.init(Some("plant-8")).unwrap();
    assert_eq!(data.broker_id().as_str(), "plant-8");
    assert_eq!(data.identity_keys().unwrap().current.public_key(), current);
}

/// openssl reads what we write, and we read what it writes. Skipped where there is no openssl.
#[test]
fn openssl_reads_our_keys_and_we_read_its() {
    let place = Place::new();
    let data = place.init(None).unwrap();
    let current = data.layout().identity_key_current();
    let openssl = |args: &[&str], path: &Path| {
        std::process::Command::new("openssl")
            .args(args)
            .arg(path)
            .output()
    };
    let Ok(output) = openssl(&["pkey", "-pubout", "-in"], &current) else {
        return;
    };
    let pem = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        crate::identity::parse_public_key(&pem).unwrap(),
        data.identity_keys().unwrap().current.public_key()
    );
    let theirs = place.data().join("theirs.pem");
    openssl(&["genpkey", "-algorithm", "ed25519", "-out"], &theirs).unwrap();
    let output = openssl(&["pkey", "-pubout", "-in"], &theirs).unwrap();
    let pem = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        super::super::read_key_file(&theirs).unwrap().public_key(),
        crate::identity::parse_public_key(&pem).unwrap()
    );
}
