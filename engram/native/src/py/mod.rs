//! The PyO3 layer: arguments in, errors out, the GIL released around long work. No algorithm lives here.
use pyo3::prelude::*;

mod attributes;
mod collect;
mod embed;
mod ground;
mod index;
mod json;
mod living;
mod log;
#[allow(unsafe_code)]
mod maps;
mod msgpack;
#[allow(unsafe_code)]
mod segment;
mod tree;
mod trie;

#[pymodule(gil_used = true)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    ground::register(module)?;
    trie::register(module)?;
    collect::register(module)?;
    log::register(module)?;
    living::register(module)?;
    tree::register(module)?;
    msgpack::register(module)?;
    json::register(module)?;
    index::register(module)?;
    segment::register(module)?;
    attributes::register(module)?;
    embed::register(module)?;
    Ok(())
}
