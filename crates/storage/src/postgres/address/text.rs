//! The text of an address, as a URI or as words, taken apart as libpq does it.
//!
//! An error names the part that is wrong and never shows it: a password may stand anywhere in a text that is misspelled.

use super::parameters;

/// Schemes that libpq takes.
const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// Parameters in the order in which they stand.
pub(super) type Parameters = Vec<(&'static str, String)>;

/// Takes an address apart.
///
/// # Errors
/// Which part is wrong, and what to write.
pub(super) fn parse(text: &str) -> Result<Parameters, String> {
    let text = text.trim();
    if let Some(rest) = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        return uri(rest);
    }
    match text.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => Err(other_scheme(scheme)),
        _ => words(text),
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.:".contains(&byte))
}

fn other_scheme(scheme: &str) -> String {
    let lower = scheme.to_ascii_lowercase();
    let (base, driver) = lower.split_once('+').map_or((lower.as_str(), ""), |(base, driver)| (base, driver));
    let is_ours = |name: &str| matches!(name, "postgresql" | "postgres");
    if is_ours(base) && !driver.is_empty() {
        return "its scheme names a driver, as SQLAlchemy writes it; write postgresql:// without + and what follows"
            .to_owned();
    }
    if lower.strip_prefix("jdbc:").is_some_and(is_ours) {
        return "it is an address of JDBC; write postgresql://user@host/database".to_owned();
    }
    if is_ours(base) {
        return "its scheme has capital letters; write postgresql://".to_owned();
    }
    "its scheme is not one of PostgreSQL; write postgresql://user@host/database".to_owned()
}

/// `[user[:password]@][host][:port][,…][/database][?name=value&…]`, behind the scheme.
fn uri(rest: &str) -> Result<Parameters, String> {
    let mut found = Parameters::new();
    let (credentials, rest) = match rest.find(['@', '/']) {
        Some(at) if rest[at..].starts_with('@') => (Some(&rest[..at]), &rest[at + 1..]),
        _ => (None, rest),
    };
    if let Some(credentials) = credentials {
        let (user, password) = credentials.split_once(':').map_or((credentials, None), |(user, it)| (user, Some(it)));
        found.push(("user", decoded(user, "user")?));
        if let Some(password) = password {
            found.push(("password", decoded(password, "password")?));
        }
    }
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let (hosts, database) = place.split_once('/').map_or((place, None), |(hosts, it)| (hosts, Some(it)));
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for (number, host) in hosts.split(',').enumerate() {
        let (name, port) = host_and_port(host, number + 1)?;
        names.push(decoded(name, "host")?);
        ports.push(decoded(port, "port")?);
    }
    found.push(("host", names.join(",")));
    found.push(("port", ports.join(",")));
    // The name is shown; a password with one of these that was not encoded would be shown as part of it. Where a port is none,
    // that is said of it first.
    let has_ports = ports.iter().all(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(sign) = database.and_then(|it| it.chars().find(|sign| matches!(sign, '#' | '@' | ':')))
        && has_ports
    {
        let number = u32::from(sign);
        return Err(format!(
            "dbname: there is a {sign} in it; in a password or a name, / is written %2F and {sign} %{number:02X}"
        ));
    }
    found.push(("dbname", decoded(database.unwrap_or_default(), "database")?));
    for (number, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        found.extend(of_query(parameter, number + 1, !rest.contains('@'))?);
    }
    Ok(found)
}

/// A host may be an IPv6 address in brackets.
fn host_and_port(text: &str, number: usize) -> Result<(&str, &str), String> {
    let Some(bracketed) = text.strip_prefix('[') else {
        return Ok(text.split_once(':').unwrap_or((text, "")));
    };
    let wrong = || format!("the bracket of host {number} is not closed, or something else than a port follows it");
    let (name, rest) = bracketed.split_once(']').ok_or_else(wrong)?;
    match rest.strip_prefix(':') {
        Some(port) => Ok((name, port)),
        None if rest.is_empty() => Ok((name, "")),
        None => Err(wrong()),
    }
}

fn of_query(parameter: &str, number: usize, may_be_named: bool) -> Result<Option<(&'static str, String)>, String> {
    if parameter.is_empty() {
        return Ok(None);
    }
    let (name, value) = parameter.split_once('=').ok_or_else(|| {
        format!("parameter {number} after the ? has no =; a ? or & in a password is written %3F or %26")
    })?;
    let name = decoded(name, "name of a parameter")?;
    // JDBC's word for it, which libpq takes too.
    if (name.as_str(), value) == ("ssl", "true") {
        return Ok(Some(("sslmode", "require".to_owned())));
    }
    let known = parameters::known(&name).ok_or_else(|| not_known(&name, number, may_be_named))?;
    Ok(Some((known, decoded(value, known)?)))
}

/// A name that is not known; shown only where it can be nothing but a name.
fn not_known(name: &str, number: usize, may_be_named: bool) -> String {
    let is_plain = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let shown = if may_be_named && is_plain { format!("{name} (number {number})") } else { format!("number {number}") };
    format!("the parameter {shown} is not known to PostgreSQL; take it out")
}

/// Takes percent signs out.
fn decoded(text: &str, part: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let byte = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        let byte = byte.filter(|byte| *byte != 0);
        bytes.push(byte.ok_or_else(|| {
            format!("the {part} holds a % without two hexadecimal digits after it; a % itself is written %25")
        })?);
    }
    String::from_utf8(bytes).map_err(|_| format!("the {part} is not UTF-8"))
}

/// `name=value` words with blanks between them; a value may be quoted, and a backslash takes the next character as it is.
fn words(text: &str) -> Result<Parameters, String> {
    let mut found = Parameters::new();
    let mut rest = text.chars().peekable();
    for number in 1.. {
        while rest.next_if(|character| character.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            break;
        }
        let name: String = std::iter::from_fn(|| rest.next_if(|it| *it != '=' && !it.is_whitespace())).collect();
        while rest.next_if(|character| character.is_whitespace()).is_some() {}
        if rest.next_if_eq(&'=').is_none() {
            return Err(format!(
                "word {number} has no =; write postgresql://user@host/database, or words such as host=… dbname=…, with \
                 quotes around a value that holds blanks"
            ));
        }
        while rest.next_if(|character| character.is_whitespace()).is_some() {}
        let quote = rest.next_if_eq(&'\'');
        let value =
            value(&mut rest, quote.is_some()).ok_or_else(|| format!("the quote of word {number} is not closed"))?;
        let known = parameters::known(&name).ok_or_else(|| not_known(&name, number, false))?;
        found.push((known, value));
    }
    Ok(found)
}

fn value(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, is_quoted: bool) -> Option<String> {
    let mut value = String::new();
    loop {
        match rest.next() {
            None => return (!is_quoted).then_some(value),
            Some('\'') if is_quoted => return Some(value),
            Some(blank) if !is_quoted && blank.is_whitespace() => return Some(value),
            Some('\\') => value.extend(rest.next()),
            Some(character) => value.push(character),
        }
    }
}
