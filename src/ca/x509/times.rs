//! The validity of a certificate.

use super::Defect;
use super::der::{Der, tag};

const MALFORMED: Defect = Defect("its validity is malformed");

/// Reads the start and the end of the validity, seconds since 1970.
pub(super) fn read_validity(mut der: Der<'_>) -> Result<(i64, i64), Defect> {
    Ok((read_time(&mut der)?, read_time(&mut der)?))
}

fn read_time(der: &mut Der<'_>) -> Result<i64, Defect> {
    if der.is_next(tag::UTC_TIME) {
        der.take(tag::UTC_TIME)
            .and_then(|time| parse_utc_time(time.0))
    } else if der.is_next(tag::GENERALIZED_TIME) {
        der.take(tag::GENERALIZED_TIME)
            .and_then(|time| parse_generalized_time(time.0))
    } else {
        None
    }
    .ok_or(MALFORMED)
}

/// Parses `YYMMDDhhmm[ss]` and a zone. Go still accepts times without seconds.
fn parse_utc_time(text: &[u8]) -> Option<i64> {
    let (year, rest) = take_two_digits(text)?;
    // RFC 5280, 4.1.2.5.1, defines the century of two digits.
    let year = if year >= 50 { 1900 + year } else { 2000 + year };
    parse_date_time(year, rest, true)
}

/// Parses `YYYYMMDDhhmmss` and a zone.
fn parse_generalized_time(text: &[u8]) -> Option<i64> {
    let (century, rest) = take_two_digits(text)?;
    let (year, rest) = take_two_digits(rest)?;
    parse_date_time(century * 100 + year, rest, false)
}

fn parse_date_time(year: i64, text: &[u8], may_lack_seconds: bool) -> Option<i64> {
    let (month, rest) = take_two_digits(text)?;
    let (day, rest) = take_two_digits(rest)?;
    let (hour, rest) = take_two_digits(rest)?;
    let (minute, rest) = take_two_digits(rest)?;
    let (second, rest) = match take_two_digits(rest) {
        Some(found) => found,
        None if may_lack_seconds => (0, rest),
        None => return None,
    };
    let is_date = (1..=12).contains(&month) && day >= 1 && day <= days_in(year, month);
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds - parse_zone(rest)?)
}

/// Parses a zone and returns its offset from UTC in seconds. UTC itself must be written as `Z`.
fn parse_zone(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        b"Z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = take_two_digits(rest)?;
    let (minutes, rest) = take_two_digits(rest)?;
    let offset = hours * 3_600 + minutes * 60;
    (rest.is_empty() && hours <= 24 && minutes < 60 && offset != 0).then_some(sign * offset)
}

fn take_two_digits(text: &[u8]) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(2)?;
    digits
        .iter()
        .try_fold(0, |sum, digit| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + i64::from(digit - b'0'))
        })
        .map(|number| (number, rest))
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Leap days before this year, from year 0, which is a leap year.
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) + 1;
    let whole_months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    // There are 719,528 days from 0000-01-01 to 1970-01-01.
    year * 365 + leap_days - 719_528 + whole_months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_of_a_time_as_go_does() {
        assert_eq!(parse_utc_time(b"700101000000Z"), Some(0));
        assert_eq!(parse_utc_time(b"000229235959Z"), Some(951_868_799));
        assert_eq!(parse_utc_time(b"260728120000Z"), Some(1_785_240_000));
        assert_eq!(parse_utc_time(b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(parse_utc_time(b"500101000000Z"), Some(-631_152_000));
        assert_eq!(parse_utc_time(b"2607281200Z"), Some(1_785_240_000));
        assert_eq!(parse_utc_time(b"260728140000+0200"), Some(1_785_240_000));
        assert_eq!(
            parse_generalized_time(b"20500101000000Z"),
            Some(2_524_608_000)
        );
        assert_eq!(
            parse_generalized_time(b"99991231235959Z"),
            Some(253_402_300_799)
        );
        assert_eq!(
            parse_generalized_time(b"00000101000000Z"),
            Some(-62_167_219_200)
        );
    }

    #[test]
    fn takes_no_time_that_go_does_not_take() {
        for text in [
            "260229000000Z",
            "261301000000Z",
            "260100000000Z",
            "260101240000Z",
            "260101006000Z",
            "260101000060Z",
            "260101000000",
            "260101000000z",
            "260101000000+0000",
            "260101000000Z0",
            "26010100000Z",
            "2601010000000Z",
            "260101000000.5Z",
            "260101000000+0060",
            "260101000000+2500",
        ] {
            assert_eq!(parse_utc_time(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_generalized_time(b"202601010000Z"), None);
    }
}
