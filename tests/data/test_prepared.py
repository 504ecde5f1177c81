from pathlib import Path

import numpy as np
import pytest
from array_record.python import (
    array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
)

from jaxcv.data.prepared import count_whole_records, find_prepared
from jaxcv.errors import UserError


def prepare(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "dataset_info.json").write_text("{}")
    return root


def test_the_newest_version_is_found_unless_one_is_named(tmp_path):
    prepare(tmp_path, "toy/1.9.0", "toy/1.10.0", "toy/1.2.0")
    (tmp_path / "toy" / "2.0.0.incomplete").mkdir()
    (tmp_path / "toy" / "3.0.0").mkdir()
    assert find_prepared(tmp_path, "toy") == tmp_path / "toy" / "1.10.0"
    assert find_prepared(tmp_path, "toy", version="1.2.0") == tmp_path / "toy" / "1.2.0"
    assert find_prepared(tmp_path, "toy", version="3.0.0") is None
    assert find_prepared(tmp_path, "other") is None


def test_one_configuration_need_not_be_named_and_of_several_one_must(tmp_path):
    prepare(tmp_path, "toy/large/1.0.0")
    assert find_prepared(tmp_path, "toy") == tmp_path / "toy" / "large" / "1.0.0"
    prepare(tmp_path, "toy/small/1.0.0")
    assert find_prepared(tmp_path, "toy", "small") == tmp_path / "toy" / "small" / "1.0.0"
    assert find_prepared(tmp_path, "toy", "medium") is None
    with pytest.raises(UserError, match=r"name one of tfds:toy/large, tfds:toy/small$"):
        find_prepared(tmp_path, "toy")


# Above and below the 64 KiB of a block, and so that records end near a block's end.
@pytest.mark.parametrize("size", [1, 300, 9_001, 65_450, 65_500, 65_536, 200_000])
def test_the_records_before_a_cut_are_counted(size, tmp_path):
    rng = np.random.default_rng(size)
    path = tmp_path / "records"
    records = [rng.bytes(size) for _ in range(12)]
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for record in records:
        writer.write(record)
    writer.close()
    whole = path.read_bytes()
    assert count_whole_records(path) >= 12
    counts = []
    for end in np.linspace(0, len(whole), 50).astype(int):
        path.write_bytes(whole[:end])
        counts.append(count_whole_records(path))
        # All of a counted record's bytes are there; of a record that is not counted, some are not.
        if size == 200_000:
            # A block header every 64 KiB and a chunk header every record come on top.
            assert counts[-1] >= min((end - 2_000) // (size + 200), 12)
            assert min(counts[-1], 12) <= end // size
    assert counts == sorted(counts)
    assert counts[0] == 0
