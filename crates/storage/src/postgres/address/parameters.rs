//! The parameters that libpq knows: their names, their variables, and which of them milescale cannot honour.

/// Every parameter, with the variable that is its default; without one where there is none. Passwords are read apart.
pub(super) const KNOWN: &[(&str, Option<&str>)] = &[
    ("application_name", Some("PGAPPNAME")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("client_encoding", Some("PGCLIENTENCODING")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("dbname", Some("PGDATABASE")),
    ("fallback_application_name", None),
    ("gssdelegation", Some("PGGSSDELEGATION")),
    ("gssencmode", Some("PGGSSENCMODE")),
    ("gsslib", Some("PGGSSLIB")),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("keepalives", None),
    ("keepalives_count", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("krbsrvname", Some("PGKRBSRVNAME")),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS")),
    ("options", Some("PGOPTIONS")),
    ("passfile", Some("PGPASSFILE")),
    ("password", None),
    ("port", Some("PGPORT")),
    ("replication", None),
    ("require_auth", Some("PGREQUIREAUTH")),
    ("requirepeer", Some("PGREQUIREPEER")),
    ("service", Some("PGSERVICE")),
    ("servicefile", Some("PGSERVICEFILE")),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslcertmode", Some("PGSSLCERTMODE")),
    ("sslcompression", Some("PGSSLCOMPRESSION")),
    ("sslcrl", Some("PGSSLCRL")),
    ("sslcrldir", Some("PGSSLCRLDIR")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslmode", Some("PGSSLMODE")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("sslpassword", None),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslsni", Some("PGSSLSNI")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("tcp_user_timeout", None),
    ("user", Some("PGUSER")),
];

/// Parameters that would be a promise which milescale cannot keep, with the values that promise nothing and what to do.
const UNSUPPORTED: &[(&str, &[&str], &str)] = &[
    ("client_encoding", &["auto", "utf8", "utf-8", "unicode"], "milescale speaks UTF-8 only; take it out"),
    (
        "gssencmode",
        &["disable", "prefer"],
        "encryption by GSSAPI is not supported; write gssencmode=disable, and sslmode",
    ),
    ("replication", &["false", "off", "no", "0"], "it is for replication; take it out"),
    ("require_auth", &[], "it is not supported; take it out, and say in pg_hba.conf how users prove who they are"),
    ("sslcertmode", &["allow", "disable"], "it is not supported; take it out, and name sslcert and sslkey"),
    ("sslcrl", &[], "lists of revoked certificates are not supported; take it out"),
    ("sslcrldir", &[], "lists of revoked certificates are not supported; take it out"),
    ("sslpassword", &[], "keys with a password are not supported; name a key without one with sslkey"),
    ("ssl_max_protocol_version", &["tlsv1.3"], "TLS is used as new as the server has it; take it out"),
    ("ssl_min_protocol_version", &["tlsv1", "tlsv1.1", "tlsv1.2"], "TLS 1.2 is the least that is used; take it out"),
];

/// The name of a parameter, where there is such a one.
pub(super) fn known(name: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == name).map(|(known, _)| *known)
}

/// The variable that is a parameter's default.
pub(super) fn variable_of(name: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == name).and_then(|(_, variable)| *variable)
}

/// Why a value cannot be honoured, where that is so.
pub(super) fn unsupported(name: &str, value: &str) -> Option<&'static str> {
    let (_, harmless, why) = UNSUPPORTED.iter().find(|(unsupported, ..)| *unsupported == name)?;
    (!harmless.contains(&value.to_ascii_lowercase().as_str())).then_some(why)
}
