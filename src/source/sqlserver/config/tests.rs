use secrecy::ExposeSecret;

use super::*;

fn options(pairs: &[(&str, &str)]) -> Result<ConnectionConfig, SourceError> {
    let pairs = pairs
        .iter()
        .map(|(name, value)| ConnectionOption::new(*name, *value))
        .collect::<Vec<_>>();
    ConnectionConfig::from_options(&pairs)
}

fn credentials(config: &ConnectionConfig) -> (&str, &str) {
    match config.login() {
        Login::Sql { user, password } => (user, password.expose_secret()),
        _ => panic!("no SQL login"),
    }
}

#[test]
fn a_url_says_everything() {
    let config = ConnectionConfig::from_url(
        "sqlserver://sa:p%40ss%2Fw%23@db.example:1444/app%20db?encrypt=off&trust_server_certificate=true&connect_timeout=3",
    )
    .unwrap();
    assert_eq!(config.host(), "db.example");
    assert_eq!(config.port(), 1444);
    assert_eq!(config.database(), "app db");
    assert_eq!(credentials(&config), ("sa", "p@ss/w#"));
    assert_eq!(config.encrypt(), Encrypt::Off);
    assert!(config.trust_server_certificate());
    assert_eq!(config.connect_timeout(), Duration::from_secs(3));
}

#[test]
fn defaults_are_safe() {
    let config = ConnectionConfig::from_url("sqlserver://u:p@[::1]/db").unwrap();
    assert_eq!(config.host(), "::1");
    assert_eq!(config.port(), 1433);
    assert_eq!(config.encrypt(), Encrypt::Required);
    assert!(!config.trust_server_certificate());
    assert!(config.application_name().starts_with("cdcql/"));
}

#[test]
fn options_complete_a_url_but_do_not_contradict_it() {
    let config = options(&[("url", "sqlserver://app@db/app_db"), ("Password", "s3cret")]).unwrap();
    assert_eq!(credentials(&config), ("app", "s3cret"));
    let twice = options(&[("url", "sqlserver://app:x@db/a"), ("host", "other")]);
    let message = twice.unwrap_err().to_string();
    assert!(
        message.contains("host") && message.contains("twice"),
        "{message}"
    );
}

#[test]
fn an_unknown_option_gets_the_nearest_name() {
    let message = options(&[("pasword", "hunter2")]).unwrap_err().to_string();
    assert!(message.contains("'pasword'"), "{message}");
    assert!(message.contains("did you mean 'password'?"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn a_database_may_have_an_ampersand_in_its_name() {
    let config = ConnectionConfig::from_url("sqlserver://u:p@h/R&D?encrypt=off").unwrap();
    assert_eq!(config.database(), "R&D");
    let error = ConnectionConfig::from_url("sqlserver://u:p@h/d&encrypt=off").unwrap_err();
    assert!(error.to_string().contains("begin with a '?'"), "{error}");
}

#[test]
fn a_token_in_a_url_is_masked_in_what_others_say() {
    let config = ConnectionConfig::from_url("sqlserver://h/d?access_token=eyJ0%2Ehush").unwrap();
    assert!(!format!("{config:?}").contains("hush"));
    assert_eq!(config.masked("no eyJ0.hush here"), "no *** here");
}

#[test]
fn each_mistake_is_named() {
    let base = [("host", "h"), ("database", "d"), ("user", "u")];
    let missing = options(&base).unwrap_err().to_string();
    assert!(missing.contains("'password'"), "{missing}");
    for (name, value, part) in [
        ("port", "70000", "65535"),
        ("encrypt", "disabled", "strict, required, login"),
        ("application_intent", "read", "read_only"),
        ("retry_timeout", "a while", "seconds"),
        ("trust_server_certificate", "maybe", "true nor false"),
        ("command_timeout", "-1", "seconds"),
        ("time_zone", "Mars", "Europe/Berlin"),
    ] {
        let mut pairs = base.to_vec();
        pairs.extend([("password", "p"), (name, value)]);
        let message = options(&pairs).unwrap_err().to_string();
        assert!(
            message.contains(name) && message.contains(part),
            "{message}"
        );
    }
}

#[test]
fn a_password_is_never_shown() {
    let secret = "Tr0ub4dor";
    let config = ConnectionConfig::from_url(&format!("sqlserver://u:{secret}@h/d")).unwrap();
    assert!(!format!("{config:?}").contains(secret));
    for url in [
        format!("sqlserver://u:{secret}@h:99999/d"),
        format!("sqlserver://u:{secret}@/d"),
        format!("postgres://u:{secret}@h/d"),
        format!("sqlserver://u:{secret}@h/d#x"),
        format!("sqlserver://u:{secret}%ff@h/d"),
        format!("sqlserver://u:{secret}@h/"),
        format!("sqlserver://u:{secret}@h/d?password={secret}"),
        format!("sqlserver://u:{secret}@h\\SQLEXPRESS/d"),
        format!("sqlserver://u:p@h/d&password={secret}"),
        format!("sqlserver://u:p@h/d&access_token={secret}?encrypt=off"),
        format!("sqlserver://u;password={secret}@h/d?password=p"),
        format!("sqlserver://h/d?access_token={secret}&encrypt=off"),
        format!("sqlserver://h/d?access_token={secret}&user=u"),
    ] {
        let error = ConnectionConfig::from_url(&url).unwrap_err();
        assert!(!error.to_string().contains(secret), "{error}");
        assert!(!format!("{error:?}").contains(secret), "{error:?}");
    }
}

#[test]
fn the_rest_of_a_password_behind_a_bare_ampersand_is_not_shown() {
    for url in [
        "sqlserver://u@h/d?password=Tr0ub4&dor9",
        "sqlserver://u@h/d?PASSWORD=Tr0ub4&dor9=1&encrypt=off",
        "sqlserver://u@h/d?encrypt=off&password=Tr0ub4&dor9",
        "sqlserver://u:p@ss?dor9",
    ] {
        let error = ConnectionConfig::from_url(url).unwrap_err();
        for part in ["Tr0ub4", "dor9"] {
            assert!(!error.to_string().contains(part), "{error}");
            assert!(!format!("{error:?}").contains(part), "{error:?}");
        }
    }
}

#[test]
fn an_unknown_option_of_a_url_is_named_by_its_place_and_the_nearest_name() {
    let error = |url| ConnectionConfig::from_url(url).unwrap_err().to_string();
    let near = error("sqlserver://u:p@h/d?connect_timeout=3&encrpyt=off");
    assert!(near.contains("option 2 behind its '?'"), "{near}");
    assert!(near.contains("did you mean 'encrypt'?"), "{near}");
    let beside_a_password = error("sqlserver://u@h/d?password=p&encrpyt=off");
    assert!(
        beside_a_password.contains("option 2 behind its '?'"),
        "{beside_a_password}"
    );
    assert!(
        !beside_a_password.contains("did you mean"),
        "{beside_a_password}"
    );
}

/// Characters that end a part of a url where they stand bare.
#[test]
fn no_part_of_a_password_with_odd_characters_is_shown() {
    for odd in [
        "?", "@", "/", "#", "%", ":", " ", "&", ";", "=", "[", "]", "\\", "\t", "\n", "?a=", "@x?",
        "/@?",
    ] {
        let (left, right) = ("Tr0ub4", "dor9");
        let url = format!("sqlserver://u:{left}{odd}{right}@no-such-host:1433/d");
        let shown = match ConnectionConfig::from_url(&url) {
            Ok(config) => {
                assert_eq!(config.host(), "no-such-host", "{odd:?}");
                let (_, password) = credentials(&config);
                assert_eq!(password, format!("{left}{odd}{right}"), "{odd:?}");
                format!("{config:?}")
            }
            Err(error) => format!("{error}\n{error:?}"),
        };
        for part in [left, right, "no-such-host"] {
            let may = part == "no-such-host" && shown.starts_with("ConnectionConfig");
            assert!(may || !shown.contains(part), "{odd:?}: {shown}");
        }
    }
}

#[test]
fn a_password_whose_host_was_forgotten_is_not_shown() {
    for url in [
        "sqlserver://u:12?hunter2",
        "sqlserver://u:12?hunter2/d",
        "sqlserver://u:hunter2/d",
        "sqlserver:u:hunter2",
        "u:hunter2@h/d",
        "Server=h;User=u;Password=hunter2",
        "sqlserver://h:1433;database=d;user=u;password=hunter2",
        "sqlserver://h;password=hunter2",
        "sqlserver://u@h/d;password=hunter2",
    ] {
        let error = ConnectionConfig::from_url(url).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn a_secret_is_called_by_what_was_written_for_it() {
    let call = "secret('env', 'X')";
    let secret = |name, value| ConnectionOption::new(name, value).secret(call);
    let config = ConnectionConfig::from_options(&[
        secret("host", "db.hidden"),
        secret("port", "1444"),
        secret("user", "hidden_user"),
        secret("database", "hidden_db"),
        secret("password", "hidden"),
    ])
    .unwrap();
    let shown = format!("{config:?} {} {}", config.server(), config.shown_user());
    assert!(
        !shown.contains("hidden") && !shown.contains("1444"),
        "{shown}"
    );
    assert!(shown.contains("the value of secret('env', 'X')"), "{shown}");
    let all =
        ConnectionConfig::from_options(&[secret("url", "sqlserver://u:p@db.hidden/d")]).unwrap();
    assert_eq!(all.server(), "the value of secret('env', 'X'), port 1433");
    let port = [secret("port", "hidden")];
    let error = ConnectionConfig::from_options(&[&port[..], &[secret("host", "h")]].concat());
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("the value of secret('env', 'X') is not a port"),
        "{message}"
    );
}

#[test]
fn each_kind_of_encryption_has_its_word() {
    for (word, encrypt) in [
        ("strict", Encrypt::Strict),
        ("Required", Encrypt::Required),
        ("true", Encrypt::Required),
        ("login", Encrypt::Login),
        ("optional", Encrypt::Login),
        ("off", Encrypt::Off),
    ] {
        let url = format!("sqlserver://u:p@h/d?encrypt={word}");
        assert_eq!(
            ConnectionConfig::from_url(&url).unwrap().encrypt(),
            encrypt,
            "{word}"
        );
    }
}

#[test]
fn a_named_instance_is_asked_for_at_the_browsers_port() {
    let config = ConnectionConfig::from_url("sqlserver://u:p@h/d?instance=SQLEXPRESS").unwrap();
    assert_eq!(
        (config.instance(), config.port()),
        (Some("SQLEXPRESS"), 1434)
    );
    let backslash = options(&[("host", "h\\SQLEXPRESS")]).unwrap_err();
    assert!(
        backslash.to_string().contains("option instance"),
        "{backslash}"
    );
}

#[test]
fn a_token_stands_for_user_and_password_and_is_never_shown() {
    let url = ("url", "sqlserver://h/d");
    let token = ("access_token", "eyJ0.hush");
    let config = options(&[url, token]).unwrap();
    assert!(matches!(config.login(), Login::Token(token) if token.expose_secret() == "eyJ0.hush"));
    assert!(!format!("{config:?}").contains("hush"));
    assert_eq!(config.masked("it is eyJ0.hush"), "it is ***");
    for (more, part) in [
        (("user", "u"), "access_token"),
        (("password", "p"), "access_token"),
        (("integrated_security", "true"), "access_token"),
        (("encrypt", "off"), "in the clear"),
    ] {
        let error = options(&[url, token, more]).unwrap_err().to_string();
        assert!(error.contains(more.0) && error.contains(part), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
}

#[cfg(not(all(unix, feature = "integrated")))]
#[test]
fn a_build_without_kerberos_says_how_to_make_one_with_it() {
    let error = ConnectionConfig::from_url("sqlserver://h/d?integrated_security=true");
    let error = error.unwrap_err().to_string();
    assert!(error.contains("--features integrated"), "{error}");
}

#[cfg(all(unix, feature = "integrated"))]
#[test]
fn a_build_with_kerberos_needs_no_user() {
    let config = ConnectionConfig::from_url("sqlserver://h/d?integrated_security=true").unwrap();
    assert!(matches!(config.login(), Login::Integrated));
}

#[test]
fn strict_encryption_checks_the_certificate() {
    let url = "sqlserver://u:p@h/d?encrypt=strict&trust_server_certificate=true";
    let error = ConnectionConfig::from_url(url).unwrap_err().to_string();
    assert!(
        error.contains("strict") && error.contains("ca_file"),
        "{error}"
    );
}
