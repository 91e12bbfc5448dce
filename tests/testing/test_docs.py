"""The examples of `docs/simulation.md` run."""

import re
from pathlib import Path

import engram

DOCS = Path(engram.__file__).parent.parent / "docs" / "simulation.md"


def test_the_examples_run():
    examples = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, str(DOCS), "exec"), {})
