from pathlib import Path

import pytest

from jaxcv.data import digits, load
from jaxcv.errors import UserError


@pytest.mark.parametrize("name", ["", "Digits", "cifar100", "mnist", "tfds", "../digits"])
def test_an_unknown_name_lists_what_would_be_right(name):
    with pytest.raises(UserError, match=r"^unknown data .*; it must be digits, cifar10, tfds:NA"):
        load(name)


def test_what_the_system_refuses_is_one_line(monkeypatch, tmp_path):
    def refused() -> None:
        raise PermissionError(13, "Permission denied", "/data/file")

    monkeypatch.setattr(digits, "read", refused)
    with pytest.raises(UserError, match=r"^cannot read /data/file: Permission denied$"):
        load("digits")


def test_the_digits_need_no_place(monkeypatch):
    monkeypatch.setenv("JAXCV_DATA_DIR", "/nowhere")
    assert load("digits", Path("/nowhere")).num_classes == 10
