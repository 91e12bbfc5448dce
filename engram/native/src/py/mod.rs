//! The PyO3 layer: arguments in, errors out, the GIL released around long work. No algorithm lives here.
use pyo3::prelude::*;

mod embed;

#[pymodule(gil_used = true)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    embed::register(module)?;
    Ok(())
}
