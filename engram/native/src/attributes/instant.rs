//! Instants: what an ISO 8601 string means as a point in time; the rules stand in `docs/filters.md`.

const DAY_S: i64 = 86_400;

/// Give the instant that a string names, in seconds since 1970 UTC, as the nearest double; None where it names none.
pub fn instant(text: &str) -> Option<f64> {
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    one_of(&mut rest, b"-")?;
    let month = digits(&mut rest, 2)?;
    one_of(&mut rest, b"-")?;
    let days = days_since_1970(year, month, digits(&mut rest, 2)?)?;
    if rest.is_empty() {
        return Some((days * DAY_S) as f64);
    }
    one_of(&mut rest, b"Tt ")?;
    let mut seconds = days * DAY_S + clock(&mut rest)?;
    let mut nanoseconds = 0;
    if one_of(&mut rest, b":").is_some() {
        seconds += digits(&mut rest, 2).filter(|second| *second < 60)?;
        if one_of(&mut rest, b".").is_some() {
            nanoseconds = fraction(&mut rest)?;
        }
    }
    match rest {
        [] | [b'Z' | b'z'] => {}
        [sign @ (b'+' | b'-'), offset @ ..] => {
            rest = offset;
            let offset = clock(&mut rest)?;
            seconds += if *sign == b'+' { -offset } else { offset };
            rest.is_empty().then_some(())?;
        }
        _ => return None,
    }
    Some(as_double(seconds, nanoseconds))
}

/// Say whether an instant's string is a date without a time.
pub fn is_day(text: &str) -> bool {
    text.len() == "2020-01-01".len()
}

/// Seconds of a day, for the upper bound that is a whole day.
pub const WHOLE_DAY_S: f64 = DAY_S as f64;

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    head.iter().try_fold(0, |number, byte| match byte {
        b'0'..=b'9' => Some(number * 10 + i64::from(byte - b'0')),
        _ => None,
    })
}

fn one_of(rest: &mut &[u8], bytes: &[u8]) -> Option<()> {
    let (first, tail) = rest.split_first()?;
    bytes.contains(first).then(|| *rest = tail)
}

/// Read `hh:mm`, in seconds.
fn clock(rest: &mut &[u8]) -> Option<i64> {
    let hours = digits(rest, 2).filter(|hours| *hours < 24)?;
    one_of(rest, b":")?;
    let minutes = digits(rest, 2).filter(|minutes| *minutes < 60)?;
    Some(hours * 3600 + minutes * 60)
}

/// Read one to nine digits behind the point, in nanoseconds.
fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    Some(digits(rest, count)? * 10_i64.pow(9 - count as u32))
}

fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || !(1..=length).contains(&day) {
        return None;
    }
    // Years from March on, so that the leap day is the last; months then go by 153 days in five.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let before = 365 * year + year / 4 - year / 100 + year / 400;
    Some(before + (153 * month + 2) / 5 + day - 1 - 719_468)
}

/// Round once: a sum of doubles would round twice.
fn as_double(seconds: i64, nanoseconds: i64) -> f64 {
    if nanoseconds == 0 {
        return seconds as f64;
    }
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let (whole, part) = (
        total.unsigned_abs() / 1_000_000_000,
        total.unsigned_abs() % 1_000_000_000,
    );
    let sign = if total < 0 { "-" } else { "" };
    format!("{sign}{whole}.{part:09}")
        .parse()
        .expect("a decimal number")
}
