use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use milescale_core::config::{ClientEnvironment, UrlFrom};
use milescale_workspace::error::StoreError;

use super::{Address, Mode, Wanted, read};

fn client(variables: &[(&str, &str)], home: &Path) -> ClientEnvironment {
    let variables: BTreeMap<_, _> = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    ClientEnvironment { variables, home: Some(home.to_owned()), login: "lin".to_owned() }
}

fn of(url: &str) -> Result<Address, StoreError> {
    read(url, UrlFrom::File, &client(&[], Path::new("/nowhere")))
}

#[test]
fn what_libpq_knows_is_understood() {
    let address = of("postgresql://ada:s3cret@one:1,two:2/plans?sslmode=verify-full&sslrootcert=/etc/ca.pem").unwrap();
    assert_eq!(address.shown, "postgresql://ada@one:1,two:2/plans");
    assert_eq!((address.security.mode, address.wanted), (Mode::VerifyFull, Wanted::Writable));
    assert_eq!(address.security.authority.as_deref(), Some(Path::new("/etc/ca.pem")));
    assert_eq!(address.password(&address.hosts[1]).as_deref(), Some("s3cret"));
    for (url, shown) in [
        ("host=/run/pg user=ada dbname=plans", "postgresql://ada@/run/pg:5432/plans"),
        (
            "postgresql://app@%2Fvar%2Frun%2Fpostgresql/plans?port=5433",
            "postgresql://app@/var/run/postgresql:5433/plans",
        ),
        ("postgres://h", "postgresql://lin@h:5432/lin"),
        ("postgresql://[::1]:77,h/d", "postgresql://lin@[::1]:77,h:5432/d"),
        ("  host = 'h' user='a\\'b' port=1 ", "postgresql://a'b@h:1/a'b"),
        ("postgresql://u:p%40%2f@h/d?host=localhost&hostaddr=127.0.0.1&port=9", "postgresql://u@localhost:9/d"),
        (
            "postgresql://h/d?ssl=true&sslcompression=0&krbsrvname=x&load_balance_hosts=random",
            "postgresql://lin@h:5432/d",
        ),
    ] {
        assert_eq!(of(url).unwrap().shown, shown, "{url}");
    }
    for (word, mode) in [("disable", Mode::Disable), ("allow", Mode::Allow), ("prefer", Mode::Prefer)] {
        assert_eq!(of(&format!("postgresql://h/d?sslmode={word}")).unwrap().security.mode, mode);
    }
    let address = of("host=h keepalives_idle=7 keepalives_count=2 connect_timeout=1").unwrap();
    assert_eq!((address.keepalives.idle, address.keepalives.count), (Duration::from_secs(7), 2));
    assert_eq!(address.connect_timeout, Duration::from_secs(2));
}

#[test]
fn what_protects_is_the_persons_to_say() {
    // A port of one's own beside a service of one's own is its server still.
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".pg_service.conf"), "[s]\nhost=h\npassword=p\nsslmode=prefer\n").unwrap();
    let of = |from, also: &[(&str, &str)]| {
        read("service=s port=7 sslmode=disable", from, &client(also, home.path())).unwrap()
    };
    let (own, theirs) = (of(UrlFrom::Environment, &[]), of(UrlFrom::File, &[("PGSSLMODE", "verify-full")]));
    assert_eq!(own.password(&own.hosts[0]).as_deref(), Some("p"));
    assert_eq!((theirs.password(&theirs.hosts[0]), theirs.security.mode), (None, Mode::VerifyFull));
    // What protects, the environment has the last word on.
    for (variable, value, url) in [
        ("PGGSSENCMODE", "require", "host=h gssencmode=disable"),
        ("PGREQUIREAUTH", "none", "host=h require_auth=scram-sha-256"),
        ("PGSSLMINPROTOCOLVERSION", "TLSv1.3", "host=h ssl_min_protocol_version=TLSv1"),
    ] {
        let error = read(url, UrlFrom::File, &client(&[(variable, value)], Path::new("/nowhere"))).unwrap_err();
        assert_eq!(error.place, variable, "{error}");
    }
    let peer = read("host=h requirepeer=mallory", UrlFrom::File, &client(&[("PGREQUIREPEER", "root")], Path::new("/")))
        .unwrap()
        .peer;
    assert_eq!(peer.map(|it| (it.name, it.is_the_persons)), Some(("root".to_owned(), true)));
}

#[test]
fn errors_say_which_part_is_wrong_and_no_more() {
    for (url, why) in [
        ("", "it is empty"),
        ("postgresql+psycopg2://ada:s3cret@host/db", "SQLAlchemy"),
        ("jdbc:postgresql://host/db?password=s3cret", "JDBC"),
        ("mysql://ada:s3cret@host/db", "its scheme is not one of PostgreSQL"),
        ("postgresql://ada:s3cret@host/db?nonsense=1", "the parameter nonsense (number 1) is not known"),
        ("host=h password=s3cret port=x", "port: the port of host 1 is not a number"),
        ("host=h password=s3cret hunter", "word 3 has no ="),
        ("host=h password='s3cret", "the quote of word 2 is not closed"),
        ("postgresql://a:s3cret@h:99999/", "port: the port of host 1"),
        ("postgresql://a:s3c%ret@h/", "the password holds a %"),
        ("postgresql://a:s3/cret@h/", "%2F"),
        ("host=h user=ada:s3cret dbname=d", "user: there is a :"),
        ("host=h user=ada dbname=d:s3cret@h", "dbname: there is a :"),
        ("postgresql://a:b@h/d#s3cret", "%23"),
        ("postgresql://a:b@h/d@s3cret", "%40"),
        ("postgresql://h/d?sslmode=s3cret", "sslmode: it is none of disable, allow"),
        ("postgresql://h/d?target_session_attrs=standby", "target_session_attrs: milescale writes"),
        ("postgresql://h/d?gssencmode=require", "gssencmode: encryption by GSSAPI"),
        ("postgresql://h/d?sslcert=/c", "sslcert: its key is missing"),
        ("host=h hostaddr=127.0.0.1", "take one of host and hostaddr out"),
        ("host=localhost hostaddr=10.0.0.1", "take one of host and hostaddr out"),
        ("user='a\nb'", "user: there is a control character"),
        ("application_name='a\rb'", "application_name: there is a control character"),
        ("host=127.0.0.1,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", "host: there are 17"),
        ("options='-c session_preload_libraries=/s3cret'", "write it into PGOPTIONS"),
        ("postgresql://h,i/d?port=1,2,3", "port: 3 ports for 2 hosts"),
        ("postgresql://h/d?keepalives_count=s3cret", "keepalives_count: it is not a whole number"),
    ] {
        let error = of(url).unwrap_err().to_string();
        assert!(error.starts_with("storage.database.url: ") && error.contains(why), "{url}: {error}");
        assert!(!error.contains("s3c") && !error.contains("hunter"), "{url}: {error}");
    }
    let error = read("nonsense", UrlFrom::Environment, &ClientEnvironment::default()).unwrap_err();
    assert!(error.to_string().starts_with("DATABASE_URL: it cannot be read"), "{error}");
}

#[test]
fn the_environment_and_services_say_what_the_address_does_not() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".pg_service.conf"), "[plans]\nhost=of-service\nport=11\nuser=of-service\n").unwrap();
    let variables = [("PGPORT", "22"), ("PGDATABASE", "of-variable"), ("PGSSLMODE", "disable"), ("PGHOST", "unused")];
    let client = client(&variables, home.path());
    let shown = |url: &str| read(url, UrlFrom::File, &client).map(|address| address.shown);
    let theirs = home.path().join("theirs.conf");
    fs::write(&theirs, "[plans]\nhost=h\noptions=-c session_preload_libraries=/x\n").unwrap();
    let error = shown(&format!("service=plans servicefile={}", theirs.display())).unwrap_err().to_string();
    assert!(error.contains("servicefile: ") && error.contains("PGSERVICEFILE"), "{error}");
    // How a connection is protected, a service of one's own says at least.
    fs::write(home.path().join("own.conf"), "[plans]\nhost=h\nsslmode=verify-full\nsslrootcert=/own.pem\n").unwrap();
    let path = home.path().join("own.conf").display().to_string();
    let own = super::tests::client(&[("PGSERVICEFILE", &path)], home.path());
    let security = |url: &str| {
        let address = read(url, UrlFrom::File, &own).unwrap();
        let server = address.servers_elsewhere().remove(0).to_string();
        (address.security.mode, address.security.authority, server)
    };
    let protected = (Mode::VerifyFull, Some("/own.pem".into()));
    for url in [
        "service=plans user=me",
        "service=plans user=me sslmode=disable sslrootcert=/theirs.pem",
        "service=plans user=me sslmode=prefer",
    ] {
        let (mode, authority, server) = security(url);
        assert_eq!((mode, authority), protected, "{url}");
        assert_eq!(server, "postgresql://me@h:5432/me?sslmode=verify-full&sslrootcert=%2Fown.pem");
    }
    let mine = super::tests::client(&[("PGSERVICEFILE", theirs.to_str().unwrap())], home.path());
    assert_eq!(read("service=plans user=me", UrlFrom::File, &mine).unwrap().shown, "postgresql://me@h:5432/me");
    let url = "host=h hostaddr=127.0.0.1 options='-c work_mem=1MB'";
    assert_eq!(
        read(url, UrlFrom::Environment, &ClientEnvironment { login: "lin".to_owned(), ..Default::default() })
            .unwrap()
            .shown,
        "postgresql://lin@h:5432/lin"
    );
    assert_eq!(shown("service=plans user=me").unwrap(), "postgresql://me@of-service:11/of-variable");
    assert_eq!(shown("postgresql:///?service=plans").unwrap(), "postgresql://of-service@of-service:11/of-variable");
    assert_eq!(shown("postgresql://h").unwrap(), "postgresql://lin@h:22/of-variable");
    let error = shown("service=other").unwrap_err().to_string();
    assert!(error.contains("there is no such service in ") && error.contains(".pg_service.conf"), "{error}");
    let wrong = super::tests::client(&[("PGPORT", "many")], home.path());
    let error = read("postgresql://h", UrlFrom::File, &wrong).unwrap_err().to_string();
    assert!(error.starts_with("PGPORT: port: "), "{error}");
}

#[test]
fn passwords_come_from_the_address_then_the_environment_then_a_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".pgpass");
    fs::write(&file, "# all\nother:*:*:*:no\nh:5432:plans:lin:of\\:file\nlocalhost:*:*:*:local\n").unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let password = |url: &str, variables: &[(&str, &str)]| {
        let address = read(url, UrlFrom::File, &client(variables, home.path())).unwrap();
        address.password(&address.hosts[0])
    };
    assert_eq!(password("postgresql://lin:own@h/plans", &[("PGPASSWORD", "v")]).as_deref(), Some("own"));
    assert_eq!(password("postgresql://h/plans", &[("PGPASSWORD", "v")]).as_deref(), Some("v"));
    // It is for the server that the environment names beside it.
    let is_sent = |url: &str, also: &[(&str, &str)]| {
        let variables: Vec<_> = [("PGPASSWORD", "v")].iter().chain(also).copied().collect();
        password(url, &variables).as_deref() == Some("v")
    };
    assert!(
        is_sent("postgresql://h/other", &[("PGHOST", "h")]) && is_sent("dbname=x", &[("PGHOST", "h"), ("PGPORT", "7")])
    );
    assert!(
        is_sent("host=h port=7", &[("PGPORT", "7")]) && is_sent("hostaddr=127.0.0.1", &[("PGHOSTADDR", "127.0.0.1")])
    );
    assert!(is_sent("port=5432", &[("PGHOST", "h")]));
    let services = home.path().join(".pg_service.conf");
    fs::write(&services, "[s]\nhost=h\n").unwrap();
    assert!(is_sent("dbname=x", &[("PGSERVICE", "s")]) && !is_sent("host=localhost", &[("PGSERVICE", "s")]));
    for (url, also) in [
        ("host=i", &[("PGHOST", "h")]),
        ("host=h port=7", &[("PGHOST", "h")]),
        ("host=h port=8", &[("PGPORT", "7")]),
        ("hostaddr=127.0.0.2", &[("PGHOSTADDR", "127.0.0.1")]),
        ("host=localhost hostaddr=127.0.0.2", &[("PGHOST", "localhost")]),
    ] {
        assert!(!is_sent(url, also), "{url}");
    }
    assert_eq!(password("postgresql://h/plans", &[]).as_deref(), Some("of:file"));
    assert_eq!(password("postgresql://h/another", &[]), None);
    assert_eq!(password("host=/var/run/postgresql", &[]).as_deref(), Some("local"));
    fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    assert_eq!(password("postgresql://h/plans", &[]), None, "others may read it");
    let named = home.path().join("elsewhere");
    fs::write(&named, "*:*:*:*:elsewhere\n").unwrap();
    fs::set_permissions(&named, PermissionsExt::from_mode(0o600)).unwrap();
    let path = named.to_str().unwrap();
    assert_eq!(password(&format!("host=h passfile={path}"), &[]).as_deref(), Some("elsewhere"));
    assert_eq!(password("host=h", &[("PGPASSFILE", path)]).as_deref(), Some("elsewhere"));
}
