//! Times on the command line: RFC 3339, also without seconds, or a day.

use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

/// A time that is over. A day stands for its begin in UTC.
pub fn past(text: &str) -> Result<SystemTime, String> {
    let time =
        parse(text).ok_or("give a time with its zone, such as 2026-01-31T00:00Z, or a day, such as 2026-01-31")?;
    match time <= SystemTime::now() {
        true => Ok(time),
        false => Err("it is in the future".to_owned()),
    }
}

fn parse(text: &str) -> Option<SystemTime> {
    let whole = match (text.len(), text.split_at_checked("2026-01-31T00:00".len())) {
        (10, _) => format!("{text}T00:00:00Z"),
        (_, Some((minutes, zone))) if zone.starts_with(['Z', '+', '-']) => format!("{minutes}:00{zone}"),
        _ => text.to_owned(),
    };
    let time = DateTime::from_str(&whole, Format::DateTimeWithOffset).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(u64::try_from(time.secs()).ok()?, time.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_zone_and_days_begin_in_utc() {
        let seconds = |text| parse(text).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
        let january_31 = Some(1_769_817_600);
        for same in [
            "2026-01-31",
            "2026-01-31T00:00Z",
            "2026-01-31T00:00:00Z",
            "2026-01-31T00:00:00.000Z",
            "2026-01-31T01:30+01:30",
            "2026-01-30T19:00:00-05:00",
        ] {
            assert_eq!(seconds(same), january_31, "{same}");
        }
        for none in [
            "",
            "2026-01-31T00:00",
            "2026-01-31 00:00Z",
            "2026-02-30",
            "31.1.2026",
            "now",
            "1969-12-31",
            "é2026-01-31T00:00Z",
        ] {
            assert_eq!(seconds(none), None, "{none}");
        }
    }

    #[test]
    fn the_future_is_refused() {
        assert!(past("9999-01-01").unwrap_err().contains("future"));
        assert!(past("2020-01-01T00:00Z").is_ok());
    }
}
