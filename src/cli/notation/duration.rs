//! Lengths of time as the Notary Project's own command takes them: `24h`, `1h30m`, `1.5h`, `-90s`.

use jiff::SignedDuration;

const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// The duration, or why it is none.
pub(super) fn parse(text: &str) -> Result<SignedDuration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (is_negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let (number, more) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, more) = split(more, |c| !c.is_ascii_digit() && c != '.');
        let number: f64 = number.parse().map_err(|_| invalid())?;
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let unknown = || format!("time: unknown unit {unit:?} in duration {text:?}");
        let (_, nanoseconds) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(unknown)?;
        total += number * nanoseconds;
        rest = more;
    }
    let seconds = if is_negative { -total } else { total } / 1e9;
    SignedDuration::try_from_secs_f64(seconds).map_err(|_| invalid())
}

/// The characters at the beginning that are such, and the others.
fn split(text: &str, is_such: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_such(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_numbers_with_units() {
        for (text, milliseconds) in [
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("-90s", -90_000),
            ("1500ms", 1500),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(SignedDuration::from_millis(milliseconds)), "{text}");
        }
        for (text, message) in [
            ("1", r#"time: missing unit in duration "1""#),
            ("abc", r#"time: invalid duration "abc""#),
            ("1x", r#"time: unknown unit "x" in duration "1x""#),
            ("", r#"time: invalid duration """#),
        ] {
            assert_eq!(parse(text), Err(message.to_owned()));
        }
    }
}
