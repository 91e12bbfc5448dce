//! Each piece against a literal model of it; whole filters are judged in Python.
use std::collections::BTreeMap;

use super::dictionary::{Dictionary, Numbers, Strings, ordered};
use super::instant::instant;
use super::names::Names;
use super::postings::Union;

/// A generator of numbers that look random, the same in every run.
fn numbers() -> impl FnMut(u64) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

fn rows<'a>(collect: impl FnOnce(&mut Union<'a>)) -> Vec<u32> {
    let mut union = Union::default();
    collect(&mut union);
    union.finish().iter().collect()
}

#[test]
fn values_of_one_row_and_of_thousands_give_their_rows_back() {
    let mut draw = numbers();
    let mut model: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    let mut values: Dictionary<Numbers> = Dictionary::default();
    for row in 0..20_000 {
        for _ in 0..draw(4) {
            // Few values of many rows, and many of few: each way of keeping rows is passed through.
            let value = if draw(2) == 0 { draw(7) } else { draw(10_000) };
            values.add(&value, row);
            let of = model.entry(value).or_default();
            if of.last() != Some(&row) {
                of.push(row);
            }
        }
        if row % 997 == 0 {
            values.sort();
        }
    }
    for value in 0..10_000 {
        let expected = model.get(&value).cloned().unwrap_or_default();
        assert_eq!(rows(|union| values.equal(&value, union)), expected);
    }
    for (from, to) in [(0, 3), (5, 6), (8, 40), (100, 9_000), (0, 20_000)] {
        let within = model.range(from..to).flat_map(|(_, rows)| rows);
        let mut expected: Vec<u32> = within.copied().collect();
        expected.sort_unstable();
        expected.dedup();
        let span = rows(|union| values.span(|value| *value < from, |value| *value < to, union));
        assert_eq!(span, expected);
    }
}

#[test]
fn strings_are_found_whole_and_by_how_they_begin() {
    let mut values: Dictionary<Strings> = Dictionary::default();
    for row in 0..3_000_u32 {
        values.add(&format!("{}", row % 1500), row);
    }
    values.sort();
    assert_eq!(rows(|union| values.equal("42", union)), [42, 1542]);
    assert!(rows(|union| values.equal("1500", union)).is_empty());
    let begins = rows(|union| {
        values.span(
            |text| text < "149",
            |text| text < "149" || text.starts_with("149"),
            union,
        );
    });
    let expected: Vec<u32> = (0..3_000)
        .filter(|row| (row % 1500).to_string().starts_with("149"))
        .collect();
    assert_eq!(begins, expected);
}

#[test]
fn numbers_order_as_doubles_do() {
    let all = [
        f64::NEG_INFINITY,
        -1e300,
        -1.5,
        -5e-324,
        0.0,
        5e-324,
        1.0,
        1e300,
        f64::INFINITY,
    ];
    for pair in all.windows(2) {
        assert!(ordered(pair[0]) < ordered(pair[1]), "{pair:?}");
    }
    assert_eq!(ordered(-0.0), ordered(0.0));
}

#[test]
fn the_longest_key_that_leads_to_a_value_is_taken() {
    let names = Names::new(vec!["a.b.c", "a", "b", "a.b", "x.y.z"]);
    let document = br#"{"a":{"b":{"c":1}},"a.b":{"d":2},"x":{"y.z":3},"x.y":{"z":4}}"#;
    let mut found = Vec::new();
    let text = names.find(document, &mut found).unwrap();
    let values: Vec<_> = found
        .iter()
        .map(|place| place.as_ref().map(|(_, range)| &text[range.clone()]))
        .collect();
    // In the names' order: a, a.b, a.b.c, b, x.y.z.
    let expected = [
        Some(r#"{"b":{"c":1}}"#),
        Some(r#"{"d":2}"#),
        Some("1"),
        None,
        Some("4"),
    ];
    assert_eq!(values, expected);
}

#[test]
fn an_instant_is_the_double_nearest_to_it() {
    for (text, expected) in [
        ("1970-01-01", Some(0.0)),
        ("2000-02-29T12:00:00+05:30", Some(951_805_800.0)),
        ("1969-12-31 23:59:59.9", Some(-0.1)),
        ("9999-12-31T23:59:59.999999999Z", Some(253_402_300_800.0)),
        ("0001-01-01", Some(-62_135_596_800.0)),
        ("1900-02-29", None),
        ("2020-01-01T24:00", None),
        ("2020-01-01T10:00:00.", None),
        ("2020-01-01T10:00:00.1234567890", None),
        ("2020-01-01Z", None),
        ("+020-01-01", None),
        ("2020-01-01T10:00+1", None),
    ] {
        assert_eq!(instant(text), expected, "{text}");
    }
}
