//! milescale's own metrics entries, read back for the performance trend.

use std::io;
use std::ops::ControlFlow;

use milescale_core::trend::ENTRIES;
use milescale_document::decimal::Decimal;
use milescale_workspace::Place;
use milescale_workspace::jsonl::rotated;
use serde::Deserialize;
use serde_json::value::RawValue;

use milescale_workspace::tail::{Line, after_nuls, lines_backwards};

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    performance: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Performance<'a> {
    #[serde(borrow, default)]
    avg_query_time_ms: Option<&'a RawValue>,
}

/// `avg_query_time_ms` of the last ten entries, oldest first, reading on in the first rotated file where the current
/// one has fewer. Lines that are no JSON objects take no place; an entry whose figure is `null` has no value.
pub fn last_query_times(log: &Place) -> io::Result<Vec<Decimal>> {
    let mut times = Vec::new();
    let mut entries = 0;
    for place in [log, &rotated(log, 1)] {
        let (file, metadata) = match place.open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        lines_backwards(&file, metadata.len(), |_, line| {
            // A list would do for a struct, but it is no entry.
            if let Line::Whole(line) = line
                && let line = after_nuls(line)
                && line.trim_ascii_start().starts_with(b"{")
                && let Ok(entry) = serde_json::from_slice::<Entry<'_>>(line)
            {
                entries += 1;
                times.extend(query_time(&entry));
            }
            if entries < ENTRIES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if entries >= ENTRIES {
            break;
        }
    }
    times.reverse();
    Ok(times)
}

fn query_time(entry: &Entry<'_>) -> Option<Decimal> {
    let performance: Performance<'_> = serde_json::from_str(entry.performance?.get()).ok()?;
    Decimal::parse(performance.avg_query_time_ms?.get())
}

#[cfg(test)]
mod tests {
    use super::last_query_times;
    use milescale_document::decimal::Decimal;
    use milescale_workspace::Place;
    use std::fs;

    #[test]
    fn reads_the_last_ten_and_on_into_the_rotated_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        assert_eq!(last_query_times(&Place::named(&path)).unwrap(), []);
        let entry = |time: &str| format!("{{\"performance\":{{\"avg_query_time_ms\":{time}}}}}\n");
        fs::write(
            &path,
            ["7", "null", "3.6"].map(entry).concat()
                + "{\n  \"half\": 1\n}\n[{\"avg_query_time_ms\":9}]\n{\"performance\":{\"avg",
        )
        .unwrap();
        fs::write(folder.path().join("m.1"), (0..20).map(|time| entry(&time.to_string())).collect::<String>()).unwrap();
        let expected: Vec<_> =
            ["13", "14", "15", "16", "17", "18", "19", "7", "3.6"].map(|time| Decimal::parse(time).unwrap()).into();
        assert_eq!(last_query_times(&Place::named(&path)).unwrap(), expected);
    }
}
