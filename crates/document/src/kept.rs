//! The text that was put, kept beside a row: whether it is still the row's, and what a row says that a former milescale wrote.

use std::borrow::Cow;

use crate::digest::Digest;
use crate::value::Value;

use crate::yaml;

/// What a mark begins with where the kept text was read as it is now. A mark without it is of a milescale that took `007` for 7:
/// the digest of `data` then, or nothing.
const READING: &str = "2:";

/// The mark of a kept text beside this `data`.
pub fn mark(data: &[u8]) -> String {
    format!("{READING}{}", Digest::of(data))
}

/// The mark of a kept text where it is not known how a server will spell its `data`: it is compared by value.
pub const MARK_OF_ANY: &str = READING;

/// The kept text, where the row still has its value: somebody may have changed the row since. In the value of a row that a
/// former milescale wrote, digits are restored from the text.
pub fn said(value: &mut Value, data: &[u8], kept: Option<(Vec<u8>, String)>) -> Option<Vec<u8>> {
    let (text, mark) = kept?;
    let (digest, is_former) = mark.strip_prefix(READING).map_or((&*mark, true), |digest| (digest, false));
    let is_as_put = !digest.is_empty() && Digest::of(data).to_string() == digest;
    if is_as_put && !is_former {
        return Some(text);
    }
    let anew = yaml::milestone(&text).ok().and_then(|document| Value::of(&document).ok());
    if anew.as_ref() == Some(value) {
        return Some(text);
    }
    let former = is_former.then(|| formerly(&text)).flatten()?;
    let is_its_own = is_as_put || former == *value;
    // What cannot be kept any more was kept then, and is what the row says.
    if let Some(anew) = anew {
        value.restore(&former, &anew);
    }
    is_its_own.then_some(text)
}

/// The value that a text formerly had; then a block scalar at its end had a line break, whether one was there or not.
fn formerly(text: &[u8]) -> Option<Value> {
    let text = if text.ends_with(b"\n") { Cow::Borrowed(text) } else { Cow::Owned([text, b"\n"].concat()) };
    yaml::parse(&text).ok().map(|document| Value::formerly_of(&document))
}

#[cfg(test)]
mod tests {
    use crate::digest::Digest;
    use crate::value::Value;

    use super::{MARK_OF_ANY, mark, said};

    const TEXT: &str = "id: 007\nmode: 0755\nlist: [00, +1]\nnotes: |\n  end";
    /// What was written of it formerly.
    const FORMER: &str = r#"{"id":7,"mode":755,"list":[0,1],"notes":"end\n"}"#;

    /// The value as JSON, and whether the text is the row's.
    fn read(data: &str, mark: &str) -> (String, bool) {
        let mut value = Value::from_json(data).unwrap();
        let text = said(&mut value, data.as_bytes(), Some((TEXT.into(), mark.to_owned())));
        (value.to_json(), text.is_some())
    }

    #[test]
    fn rows_of_before_are_read_as_their_texts() {
        let now = r#"{"id":"007","mode":"0755","list":["00","+1"],"notes":"end"}"#;
        for mark in [Digest::of(FORMER.as_bytes()).to_string(), String::new()] {
            assert_eq!(read(FORMER, &mark), (now.to_owned(), true));
            let edited = FORMER.replace("755", r#"750,"status":"done""#).replace("[0,1]", "[0,1,2]");
            let digits = r#"{"id":"007","mode":750,"status":"done","list":["00","+1",2],"notes":"end"}"#;
            assert_eq!(read(&edited, &mark), (digits.to_owned(), false));
        }
    }

    #[test]
    fn rows_of_now_are_what_they_say() {
        let now = r#"{"id":"007","mode":"0755","list":["00","+1"],"notes":"end"}"#;
        for mark in [&mark(now.as_bytes()), MARK_OF_ANY] {
            assert_eq!(read(now, mark), (now.to_owned(), true));
            assert_eq!(read(FORMER, mark), (FORMER.to_owned(), false));
        }
    }
}
