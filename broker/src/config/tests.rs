use super::*;
use crate::authn::ClientIdRule;
use crate::limits::Limits;

fn refused(text: &str, flags: &Flags) -> String {
    match parse(text, "k.toml") {
        Err(errors) => errors.to_string(),
        Ok(given) => given.check(flags).unwrap_err().to_string(),
    }
}

fn flags(mqtt: Option<&str>, coap: Option<&str>) -> Flags {
    Flags {
        mqtt: mqtt.map(|text| text.parse().unwrap()),
        coap: coap.map(|text| text.parse().unwrap()),
        ..Flags::default()
    }
}

#[test]
fn without_a_word_it_listens_on_loopback_with_safe_defaults() {
    let config = Given::default().check(&Flags::default()).unwrap();
    assert_eq!(config.mqtt(), Some("127.0.0.1:1883".parse().unwrap()));
    assert_eq!(config.coap(), Some("127.0.0.1:5683".parse().unwrap()));
    assert_eq!(config.limits(), &Limits::default());
    assert_eq!(config.log(), "info");
    assert_eq!(config.assertion_reuse(), AssertionReuse::Auto);
}

#[test]
fn a_listener_that_is_named_is_the_only_one() {
    let config = Given::default()
        .check(&flags(Some("127.0.0.1:0"), None))
        .unwrap();
    assert_eq!(config.mqtt(), Some("127.0.0.1:0".parse().unwrap()));
    assert_eq!(config.coap(), None);
}

#[test]
fn a_flag_goes_over_the_file_and_leaves_the_rest() {
    let given = parse(
        "[listeners]\nmqtt = \"127.0.0.1:1\"\ncoap = \"127.0.0.1:2\"\n",
        "k.toml",
    )
    .unwrap();
    let config = given.check(&flags(Some("[::1]:9"), None)).unwrap();
    assert_eq!(config.mqtt(), Some("[::1]:9".parse().unwrap()));
    assert_eq!(config.coap(), Some("127.0.0.1:2".parse().unwrap()));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, expected) in [
        (
            "[listeners]\n\nmqqt = \"127.0.0.1:1883\"\n",
            "k.toml:3: unknown setting `mqqt`; did you mean `mqtt`?",
        ),
        (
            "[limit]\ninbox = 4\n",
            "k.toml:1: unknown setting `limit`; did you mean `limits`?",
        ),
        (
            "[login]\nwhatever = 1\n",
            "k.toml:2: unknown setting `whatever`; settings here: assertion_reuse, assertion_ttl_max_s, binding, client_id, \
             publish_refusal, subscribe_refusal",
        ),
        (
            "[listeners]\nmqtt = \"1883\"\n",
            "k.toml:2: `mqtt`: `1883` is no listener address; write ADDRESS:PORT, such as 127.0.0.1:1883 or [::1]:1883 (port \
             0 picks a free one)",
        ),
        (
            "[limits]\nconnections = 10\ninbox = 1\n",
            "k.toml:3: `inbox` is 1; it must be between 2 and 1048576",
        ),
        (
            "[audit]\nfiles_max = 1\nfile_bytes_max = 10\n",
            "k.toml:2: `files_max` is 1; it must be between 2 and 1000\nk.toml:3: `file_bytes_max` is 10; it must \
             be between 65536 and 1099511627776",
        ),
        (
            "shards = 5000\n",
            "k.toml:1: `shards` is 5000; it must be between 0 and 1024",
        ),
    ] {
        assert_eq!(refused(text, &Flags::default()), expected);
    }
}

#[test]
fn values_of_the_wrong_kind_name_their_line() {
    for (text, line) in [
        ("shards = \"two\"\n", "k.toml:1: `shards`: "),
        ("\n[limits]\ninbox = -1\n", "k.toml:3: `inbox`: "),
        (
            "[login]\nassertion_reuse = \"never\"\n",
            "k.toml:2: `assertion_reuse`: ",
        ),
        ("[listeners\n", "k.toml:1: "),
    ] {
        let message = refused(text, &Flags::default());
        assert!(
            message.starts_with(line) && !message.contains('\n'),
            "{message}"
        );
    }
}

#[test]
fn a_plain_listener_for_other_machines_is_opened_only_on_purpose() {
    let on_all = flags(None, Some("0.0.0.0:5683"));
    let message = refused("", &on_all);
    assert!(
        message.starts_with("--coap: 0.0.0.0:5683 is reached from other machines")
            && message.contains("--allow-plain"),
        "{message}"
    );
    let file = "[listeners]\nmqtt = \"192.0.2.1:1883\"\n";
    let message = refused(file, &Flags::default());
    assert!(message.starts_with("k.toml:2: 192.0.2.1:1883"), "{message}");

    let allowed = Flags {
        allow_plain: true,
        ..on_all
    };
    assert!(Given::default().check(&allowed).is_ok());
    let file = format!("{file}allow_plain = true\n");
    assert!(
        parse(&file, "k.toml")
            .unwrap()
            .check(&Flags::default())
            .is_ok()
    );
}

#[test]
fn all_that_is_wrong_is_named_at_once() {
    let text = "\
shards = \"two\"
log = 7
[listeners]
mqqt = \"127.0.0.1:1883\"
[login]
client_id = \"any\"
assertion_ttl_max_s = 86401
[anonymous]
allow = [\"#\", \"a/#/b\"]
deny = [
  \"fine\",
  \"{device}/x\",
  \"$share/g/x\",
]
[limits]
inbox = 1
handshakes = -1
nonsense = 1
[limit]
";
    let message = refused(text, &Flags::default());
    let lines: Vec<usize> = message
        .lines()
        .filter_map(|line| {
            line.strip_prefix("k.toml:")?
                .split(':')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    assert_eq!(lines.len(), message.lines().count(), "{message}");
    assert_eq!(
        lines,
        [1, 2, 4, 6, 7, 9, 12, 13, 16, 17, 18, 19],
        "{message}"
    );
    for part in [
        "k.toml:9: `allow`: `a/#/b`: not a topic filter",
        "k.toml:12: `deny`: `{device}/x`: templates have no place here",
        "k.toml:6: `client_id`: unknown variant `any`",
        "k.toml:7: `assertion_ttl_max_s` is 86401; it must be between 0 and 86400",
        "k.toml:19: unknown setting `limit`; did you mean `limits`?",
    ] {
        assert!(message.contains(part), "{part}\n{message}");
    }
}

#[test]
fn a_table_that_lets_nobody_do_anything_is_refused() {
    for text in ["[anonymous]\n", "[anonymous]\ndeny = [\"x\"]\n"] {
        assert_eq!(
            refused(text, &Flags::default()),
            "k.toml:1: [anonymous] allows nothing: write `allow = [\"#\"]` under it, or take it out"
        );
    }
}

#[test]
fn clients_that_prove_nothing_are_let_in_on_loopback_only() {
    let table = "[anonymous]\nallow = [\"#\"]\ndeny = [\"test/nosubscribe\"]\n";
    let given = parse(table, "k.toml").unwrap();
    for address in ["127.0.0.1:0", "[::1]:0", "127.1.2.3:1"] {
        let config = given.check(&flags(Some(address), None)).unwrap();
        let expected = Anonymous {
            allow: vec!["#".into()],
            deny: vec!["test/nosubscribe".into()],
        };
        assert_eq!(config.anonymous(), Some(&expected), "{address}");
    }
    for address in ["0.0.0.0:1883", "192.0.2.1:1883", "[::]:1883"] {
        let flags = Flags {
            allow_plain: true,
            ..flags(Some(address), None)
        };
        let message = refused(table, &flags);
        assert_eq!(
            message,
            format!(
                "k.toml:1: clients that prove nothing are let in from this machine only, and MQTT listens on \
                 {address}: take [anonymous] out, or listen on 127.0.0.1"
            )
        );
        let without = Given::default().check(&flags).unwrap();
        assert_eq!(without.anonymous(), None);
    }
    // CoAP knows no such clients.
    let coap = Flags {
        allow_plain: true,
        ..flags(Some("127.0.0.1:0"), Some("0.0.0.0:0"))
    };
    assert!(given.check(&coap).is_ok());
}

/// What people copy from the README works, and what it calls a default is one.
#[test]
fn the_settings_in_the_readme_are_settings() {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let config = parse(text, "README.md")
        .and_then(|given| given.check(&Flags::default()))
        .unwrap();
    assert!(config.anonymous().is_some());
    let default = Given::default().check(&Flags::default()).unwrap();
    let shown = Config {
        anonymous: None,
        ..config
    };
    assert_eq!(shown, default);
}

#[test]
fn the_settings_of_a_login_are_words() {
    let text = "[login]\nclient_id = \"id-or-suffix\"\nsubscribe_refusal = \"unspecified\"\n\
                publish_refusal = \"acknowledge\"\nassertion_ttl_max_s = 3600\n";
    let given = parse(text, "k.toml").unwrap();
    let config = given.check(&Flags::default()).unwrap();
    assert_eq!(config.client_id(), ClientIdRule::IdOrSuffix);
    assert_eq!(config.subscribe_refusal(), SubscribeRefusal::Unspecified);
    assert_eq!(config.publish_refusal(), PublishRefusal::Acknowledge);
    assert_eq!(config.assertion_ttl_max_s(), 3_600);
    let free = parse("[login]\nclient_id = \"free\"\n", "k.toml").unwrap();
    let config = free.check(&Flags::default()).unwrap();
    assert_eq!(config.client_id(), ClientIdRule::Free);
    assert_eq!(config.subscribe_refusal(), SubscribeRefusal::NotAuthorized);
    assert_eq!(config.publish_refusal(), PublishRefusal::Close);
    assert_eq!(config.assertion_ttl_max_s(), 300);
}

#[test]
fn every_setting_tells_where_its_value_came_from() {
    let given = parse("log = \"warn\"\n[limits]\ninbox = 10\n", "k.toml").unwrap();
    let flags = flags(Some("127.0.0.1:0"), None);
    let config = given.check(&flags).unwrap();
    let settings = given.settings(&flags, &config);
    let find = |table: &str, name: &str| {
        let setting = settings
            .iter()
            .find(|setting| setting.table == table && setting.name == name)
            .unwrap();
        let value = setting.value.as_ref().map(toml::Value::to_string);
        (value.unwrap_or_default(), setting.from)
    };
    assert_eq!(find("", "log"), ("\"warn\"".into(), From::File));
    assert_eq!(
        find("listeners", "mqtt"),
        ("\"127.0.0.1:0\"".into(), From::Flag)
    );
    assert_eq!(find("listeners", "coap"), (String::new(), From::Default));
    assert_eq!(find("limits", "inbox"), ("10".into(), From::File));
    assert_eq!(find("audit", "files_max"), ("8".into(), From::Default));
    assert_eq!(find("login", "client_id"), ("\"id\"".into(), From::Default));
    assert_eq!(
        find("login", "subscribe_refusal"),
        ("\"not-authorized\"".into(), From::Default)
    );
    assert_eq!(find("anonymous", "allow"), (String::new(), From::Default));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let message = load(std::path::Path::new("/nowhere/k.toml")).unwrap_err();
    assert!(
        message
            .to_string()
            .starts_with("/nowhere/k.toml: cannot be read: ")
    );
}
