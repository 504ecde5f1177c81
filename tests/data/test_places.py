from pathlib import Path

import pytest

from jaxcv.data.places import Place, named_place
from jaxcv.errors import UserError


def test_the_argument_comes_before_the_environment(tmp_path):
    both = {"JAXCV_DATA_DIR": "/ours", "TFDS_DATA_DIR": "/theirs"}
    assert named_place(tmp_path, both) == Place(tmp_path, "--data-dir")
    assert named_place(None, both) == Place(Path("/ours"), "$JAXCV_DATA_DIR")
    assert named_place(None, {**both, "JAXCV_DATA_DIR": ""}) == Place(
        Path("/theirs"), "$TFDS_DATA_DIR"
    )
    assert named_place(None, {}) is None


def test_home_and_relative_paths_are_made_absolute(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for written in ("~/data", "data"):
        place = named_place(Path(written))
        assert place is not None
        assert place.path == tmp_path / "data"


def test_a_missing_or_empty_place_is_refused_by_name(tmp_path):
    place = Place(tmp_path, "$JAXCV_DATA_DIR")
    with pytest.raises(UserError, match=r"data directory .* \(\$JAXCV_DATA_DIR\) is empty; .* art"):
        place.require("a directory of art")
    with pytest.raises(UserError, match=r"no file or directory .*/nowhere \(--data-dir\); .* art"):
        Place(tmp_path / "nowhere", "--data-dir").require("a directory of art")
    (tmp_path / "file").touch()
    place.require("a directory of art")


@pytest.mark.parametrize("flag", [True, False])
def test_a_home_of_nobody_is_one_line(flag):
    environment = {} if flag else {"TFDS_DATA_DIR": "~nobody-of-this-name/x"}
    named = Path("~nobody-of-this-name/x") if flag else None
    origin = "--data-dir" if flag else r"\$TFDS_DATA_DIR"
    with pytest.raises(UserError, match=f"{origin} is ~nobody-of-this-name/x: there is no home"):
        named_place(named, environment)
