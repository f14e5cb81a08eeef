use super::*;
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
            "k.toml:2: unknown setting `whatever`; settings here: assertion_reuse, assertion_ttl_max_s, client_id, \
             subscribe_refusal",
        ),
        (
            "[listeners]\nmqtt = \"1883\"\n",
            "k.toml:2: `1883` is no listener address; write ADDRESS:PORT, such as 127.0.0.1:1883 or [::1]:1883 (port \
             0 picks a free one)",
        ),
        (
            "[limits]\nconnections = 10\ninbox = 1\n",
            "k.toml:3: `inbox` is 1; it must be between 2 and 1048576",
        ),
        (
            "[audit]\nfiles_max = 1\nfile_bytes_max = 10\n",
            "k.toml:3: `file_bytes_max` is 10; it must be between 65536 and 1099511627776\nk.toml:2: `files_max` is \
             1; it must be between 2 and 1000",
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
        ("shards = \"two\"\n", "k.toml:1: "),
        ("\n[limits]\ninbox = -1\n", "k.toml:3: "),
        ("[login]\nassertion_reuse = \"never\"\n", "k.toml:2: "),
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
