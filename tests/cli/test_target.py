"""What commands open: the errors before anything is reached."""

from __future__ import annotations

import pytest

from engram.cli._target import Unreachable, UsageError, open_target


def test_a_node_and_a_folder_exclude_each_other(tmp_path):
    with pytest.raises(UsageError, match="--node and --data"), open_target(node="x", data=tmp_path, create=False):
        pass


@pytest.mark.parametrize("there", [True, False])
def test_reading_never_makes_a_folder(tmp_path, there):
    folder = tmp_path if there else tmp_path / "none"
    with pytest.raises(Unreachable) as caught, open_target(node=None, data=folder, create=False):
        pass
    for part in (f"no memory in {folder}", "engram ingest", "--node"):
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []
