//! Filters for Python: a plan made of a filter's tree.
use std::sync::{Arc, Mutex, RwLock};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};

use crate::attributes::{
    Ask, Columns, Edge, Leaf, Plan, Scalar, Test, Unanswered, Words, instant, is_day, is_name,
};

/// Levels of a tree, more than `engram.filter` has of them.
const DEPTH: usize = 64;

/// A filter, ready to be carried out on any part of rows.
///
/// `tree` is an `engram.filter.Filter`; `value_test`, of that package too, gives the test of one comparison.
#[pyclass(frozen, module = "engram.native._core")]
pub struct FilterPlan(pub Arc<Plan>);

#[pymethods]
impl FilterPlan {
    #[new]
    fn new(tree: &Bound<'_, PyAny>, value_test: &Bound<'_, PyAny>) -> PyResult<Self> {
        let reader = Reader { value_test };
        Ok(Self(Arc::new(reader.plan(tree, 0)?)))
    }
}

struct Reader<'a, 'py> {
    value_test: &'a Bound<'py, PyAny>,
}

impl<'py> Reader<'_, 'py> {
    fn plan(&self, tree: &Bound<'py, PyAny>, depth: usize) -> PyResult<Plan> {
        if depth > DEPTH {
            return Err(PyValueError::new_err(format!(
                "a filter has more than {DEPTH} levels"
            )));
        }
        let parts = || -> PyResult<Vec<Plan>> {
            let parts = tree.getattr("parts")?;
            let part = |part: PyResult<Bound<'py, PyAny>>| self.plan(&part?, depth + 1);
            parts.try_iter()?.map(part).collect()
        };
        let sign = tree.getattr("sign")?;
        match sign.cast::<PyString>()?.to_str()? {
            "$and" => Ok(Plan::all(parts()?)),
            "$or" => Ok(Plan::Any(parts()?)),
            "$not" => {
                let part = self.plan(&tree.getattr("part")?, depth + 1)?;
                Ok(Plan::Not(Box::new(part)))
            }
            sign => self.leaf(tree, sign),
        }
    }

    fn leaf(&self, tree: &Bound<'py, PyAny>, sign: &str) -> PyResult<Plan> {
        let field = text(&tree.getattr("field")?)?;
        if !is_name(&field) {
            return Err(PyValueError::new_err("a field's name has too many dots"));
        }
        let value = || scalar(&tree.getattr("value")?);
        let string = || text(&tree.getattr("value")?);
        let values = || -> PyResult<Vec<Scalar>> {
            let values = tree.getattr("values")?;
            values.try_iter()?.map(|value| scalar(&value?)).collect()
        };
        let test = match sign {
            "$eq" => Test::OneOf(vec![value()?]),
            "$ne" => Test::NoneOf(vec![value()?]),
            "$in" => Test::OneOf(values()?),
            "$nin" => Test::NoneOf(values()?),
            "$gt" => Test::Order(vec![(Edge::Above, value()?)]),
            "$gte" => Test::Order(vec![(Edge::From, value()?)]),
            "$lt" => Test::Order(vec![(Edge::Below, value()?)]),
            "$lte" => Test::Order(vec![(Edge::UpTo, value()?)]),
            "$exists" => Test::Exists,
            "$is_null" => Test::Null(tree.getattr("null")?.extract()?),
            "$contains" => Test::Contains(value()?),
            "$any" => Test::HoldsAny(values()?),
            "$all" => Test::HoldsAll(values()?),
            "$starts_with" => Test::StartsWith(string()?),
            "$ends_with" => Test::EndsWith(string()?),
            "$match" => Test::Words(Words {
                text: string()?,
                ask: Arc::new(self.asker(tree)?),
            }),
            "$between" => between(tree)?,
            sign => {
                return Err(PyValueError::new_err(format!(
                    "a filter with the unknown operator {sign}"
                )));
            }
        };
        Ok(Plan::Leaf(Leaf { field, test }))
    }

    fn asker(&self, tree: &Bound<'py, PyAny>) -> PyResult<PythonTest> {
        Ok(PythonTest(self.value_test.call1((tree,))?.unbind()))
    }
}

fn text(value: &Bound<'_, PyAny>) -> PyResult<Box<str>> {
    Ok(value.cast::<PyString>()?.to_str()?.into())
}

fn scalar(value: &Bound<'_, PyAny>) -> PyResult<Scalar> {
    if value.is_none() {
        Ok(Scalar::Null)
    } else if let Ok(flag) = value.cast::<PyBool>() {
        Ok(Scalar::Bool(flag.is_true()))
    } else if value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>() {
        Ok(Scalar::Number(value.extract()?))
    } else {
        Ok(Scalar::Text(text(value)?))
    }
}

fn between(tree: &Bound<'_, PyAny>) -> PyResult<Test> {
    let bound = |name: &str, open: f64| -> PyResult<(f64, bool)> {
        match scalar(&tree.getattr(name)?)? {
            Scalar::Null => Ok((open, false)),
            Scalar::Number(at) => Ok((at, false)),
            Scalar::Text(text) => match instant(&text) {
                Some(at) => Ok((at, is_day(&text))),
                None => Err(PyValueError::new_err(format!("{text:?} is no instant"))),
            },
            Scalar::Bool(_) => Err(PyValueError::new_err("a bound is no bool")),
        }
    };
    let (low, _) = bound("low", f64::NEG_INFINITY)?;
    let (high, whole_day) = bound("high", f64::INFINITY)?;
    Ok(Test::Between {
        low,
        high,
        whole_day,
    })
}

/// A test of one value, by Python.
struct PythonTest(Py<PyAny>);

impl Ask for PythonTest {
    fn ask(&self, strings: &[&str]) -> Result<Vec<bool>, Unanswered> {
        let answers = Python::attach(|py| -> PyResult<Vec<bool>> {
            let answer = |string: &&str| self.0.bind(py).call1((*string,))?.extract();
            strings.iter().map(answer).collect()
        });
        Ok(answers?)
    }
}

/// Rows of nothing but metadata, with columns: what a part of an index has, for whoever has no index.
#[pyclass(frozen, module = "engram.native._core")]
#[derive(Default)]
struct AttributeColumns {
    rows: RwLock<Vec<Option<Box<[u8]>>>>,
    columns: Mutex<Columns>,
}

#[pymethods]
impl AttributeColumns {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Add rows, each its metadata in canonical JSON, or None where they cannot be read.
    fn add(&self, py: Python<'_>, metadata: Vec<Option<Vec<u8>>>) {
        // Without the GIL, which whoever reads the rows may be waiting for.
        py.detach(|| {
            let mut rows = self.rows.write().expect("no caller panics");
            let metadata = metadata.into_iter();
            rows.extend(metadata.map(|row| row.map(Vec::into_boxed_slice)));
        });
    }

    /// The rows that match, ascending, of the first `rows`.
    fn matching(&self, py: Python<'_>, plan: &FilterPlan, rows: usize) -> PyResult<Vec<u32>> {
        let found = py.detach(|| {
            let held = self.rows.read().expect("no caller panics");
            let mut of = |row: u32, into: &mut Vec<u8>| {
                into.extend(held[row as usize].iter().flat_map(|bytes| bytes.iter()));
                held[row as usize].is_some()
            };
            let mut columns = self.columns.lock().expect("no caller panics");
            columns.matching(&plan.0, rows.min(held.len()) as u32, &mut of)
        });
        Ok(found.map_err(unanswered)?.into_iter().collect())
    }

    /// About how many bytes of memory the columns take.
    #[getter]
    fn bytes(&self, py: Python<'_>) -> usize {
        py.detach(|| self.columns.lock().expect("no caller panics").bytes())
    }
}

/// What Python raised when it was asked.
pub fn unanswered(reason: Unanswered) -> PyErr {
    match reason.downcast::<PyErr>() {
        Ok(error) => *error,
        Err(reason) => PyValueError::new_err(reason.to_string()),
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<FilterPlan>()?;
    module.add_class::<AttributeColumns>()
}
