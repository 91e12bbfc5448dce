//! Filters over metadata: the plan is a stranger's, and so are the rows.
use std::sync::Arc;

use _core::attributes::{
    Ask, Columns, Edge, Leaf, Plan, Scalar, Test, Unanswered, Words, instant, is_name,
};
use _core::jcs;
use bolero::TypeGenerator;

use crate::bounds::bounded;
use crate::recipe::Recipe;

/// Levels of a plan, as the reader of filters has them at most.
const LEVELS: usize = 16;

#[derive(Debug, Clone, TypeGenerator)]
enum Step {
    Leaf(u8, u8, Value, Value),
    Not,
    And,
    Or,
}

#[derive(Debug, Clone, TypeGenerator)]
enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Word(u8),
    Text(String),
}

struct Never;

impl Ask for Never {
    fn ask(&self, strings: &[&str]) -> Result<Vec<bool>, Unanswered> {
        Ok(vec![false; strings.len()])
    }
}

const NAMES: [&str; 8] = ["a", "b", "a.b", "a.b.c", "", ".", "é", "a..b"];
const WORDS: [&str; 6] = [
    "x",
    "",
    "2020-01-01",
    "2020-02-29T23:59:59.999999999+14:00",
    "x y",
    "É",
];

fn scalar(value: &Value) -> Scalar {
    match value {
        Value::Null => Scalar::Null,
        Value::Bool(flag) => Scalar::Bool(*flag),
        Value::Number(number) if number.is_finite() => Scalar::Number(*number),
        Value::Number(_) => Scalar::Number(0.0),
        Value::Word(word) => Scalar::Text(WORDS[usize::from(*word) % WORDS.len()].into()),
        Value::Text(text) => Scalar::Text(text.as_str().into()),
    }
}

fn text(value: &Value) -> Box<str> {
    match scalar(value) {
        Scalar::Text(text) => text,
        _ => "x".into(),
    }
}

fn leaf(name: u8, test: u8, first: &Value, second: &Value) -> Plan {
    let values = || vec![scalar(first), scalar(second)];
    let test = match test % 13 {
        0 => Test::Exists,
        1 => Test::Null(name > 127),
        2 => Test::OneOf(values()),
        3 => Test::NoneOf(values()),
        4 => Test::Order(vec![(Edge::Above, scalar(first))]),
        5 => Test::Order(vec![
            (Edge::From, scalar(first)),
            (Edge::UpTo, scalar(second)),
        ]),
        6 => Test::Order(vec![(Edge::Below, scalar(first))]),
        7 => Test::Contains(scalar(first)),
        8 => Test::HoldsAny(values()),
        9 => Test::HoldsAll(values()),
        10 => Test::StartsWith(text(first)),
        11 => Test::EndsWith(text(first)),
        _ => Test::Words(Words {
            text: text(first),
            ask: Arc::new(Never),
        }),
    };
    let field = NAMES[usize::from(name) % NAMES.len()].into();
    Plan::Leaf(Leaf { field, test })
}

/// Build a plan from its parts, as a stack machine does.
fn plan(steps: &[Step]) -> Plan {
    let mut stack: Vec<(Plan, usize)> = Vec::new();
    for step in steps {
        let join = |made: fn(Vec<Plan>) -> Plan, stack: &mut Vec<(Plan, usize)>| {
            if let (Some(right), Some(left)) = (stack.pop(), stack.pop()) {
                stack.push((made(vec![left.0, right.0]), left.1.max(right.1) + 1));
            }
        };
        match step {
            Step::Leaf(name, test, first, second) => {
                stack.push((leaf(*name, *test, first, second), 0))
            }
            Step::Not => {
                if let Some((part, levels)) = stack.pop() {
                    stack.push((Plan::Not(Box::new(part)), levels + 1));
                }
            }
            Step::And => join(Plan::all, &mut stack),
            Step::Or => join(Plan::Any, &mut stack),
        }
        stack.retain(|(_, levels)| *levels < LEVELS);
    }
    Plan::all(stack.into_iter().map(|(part, _)| part).collect())
}

#[test]
fn filter_over_metadata() {
    let good: Vec<Vec<u8>> = [
        r#"{"a":1,"b":"x"}"#,
        r#"{"a":{"b":{"c":[1,"x",null,{"d":[]}]}},"a.b":true}"#,
        r#"{"":{"":1},"a":["x","x y",2.5],"é":"\"\\\u0000É"}"#,
        r#"{"a":"2020-01-01","b":1e300}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    bolero::check!()
        .with_type::<(Vec<Recipe>, Vec<Step>)>()
        .for_each(|(recipes, steps)| {
            let mut rows: Vec<Vec<u8>> = recipes
                .iter()
                .take(16)
                .map(|recipe| recipe.bytes(&good, |_, _| ()))
                .collect();
            rows.extend(good.iter().cloned());
            let (count, plan) = (rows.len() as u32, plan(&steps[..steps.len().min(32)]));
            let size: usize = rows.iter().map(Vec::len).sum();
            let (mut columns, mut others) = (Columns::default(), Columns::default());
            let mut row = |row: u32, into: &mut Vec<u8>| {
                into.extend(&rows[row as usize]);
                true
            };
            let found = bounded(size, 256, || columns.matching(&plan, count, &mut row))
                .expect("Never answers");
            assert!(found.max().is_none_or(|last| last < count));
            let not = others
                .matching(&Plan::Not(Box::new(plan)), count, &mut row)
                .expect("Never answers");
            assert_eq!(
                found.len() + not.len(),
                u64::from(count),
                "a row matches, or does not"
            );
            assert!(found.is_disjoint(&not));
        });
}

#[test]
fn instant_and_name() {
    let good: Vec<Vec<u8>> = WORDS.map(|word| word.as_bytes().to_vec()).into();
    bolero::check!().with_type::<Recipe>().for_each(|recipe| {
        let bytes = recipe.bytes(&good, |_, _| ());
        let text = String::from_utf8_lossy(&bytes);
        assert!(bounded(text.len(), 4, || instant(&text)).is_none_or(f64::is_finite));
        assert_eq!(
            is_name(&text),
            text.bytes().filter(|byte| *byte == b'.').count() <= 64
        );
        let _ = jcs::integer(&text);
    });
}
