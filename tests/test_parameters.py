import numpy as np
import pytest

from jaxcv import UserError, parameters
from jaxcv.parameters import Parameters

ALL = Parameters(
    {"Dense_0": {"kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3)}},
    {"BatchNorm_0": {"mean": np.ones(3, np.float64)}},
    {"classes": ["a", "b"], "image_shape": [4, 5, 3]},
)


def test_what_is_written_is_read(tmp_path):
    ALL.write(tmp_path / "p")
    found = parameters.read(tmp_path / "p")
    np.testing.assert_array_equal(found.params["Dense_0"]["kernel"], [[0, 1, 2], [3, 4, 5]])
    assert found.params["Dense_0"]["kernel"].dtype == np.float32
    assert found.batch_stats["BatchNorm_0"]["mean"].dtype == np.float64
    assert found.facts == ALL.facts


def test_every_damage_is_noticed(tmp_path):
    ALL.write(tmp_path / "p")
    whole = (tmp_path / "p").read_bytes()
    for position in range(len(whole)):
        for damaged in (
            whole[:position],
            whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :],
        ):
            (tmp_path / "p").write_bytes(damaged)
            with pytest.raises(UserError, match="damaged"):
                parameters.read(tmp_path / "p")


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        parameters.read(tmp_path / "p")
