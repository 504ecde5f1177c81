"""The study: every finished trial in a database that Optuna and its dashboard read."""

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxcv.errors import UserError
from jaxcv.extras import require
from jaxcv.sweeps.axes import Axis
from jaxcv.sweeps.records import Finished
from jaxcv.sweeps.search import as_categories, direction, distribution


class Study:
    """A sweep's study, new or as an earlier start of the same sweep left it.

    Args:
        url: of the database; any that SQLAlchemy knows.
        name: of the study.
        sweep: what the sweep is, as JSON; another sweep's study is refused.
        axes: what varies.
        larger_is_better: of the score.
        curves: records the score after each epoch too.

    Raises:
        UserError: the database cannot be opened, or the study belongs to another sweep.
    """

    def __init__(
        self,
        url: str,
        name: str,
        sweep: Mapping[str, Any],
        axes: Mapping[str, Axis],
        larger_is_better: bool,
        curves: bool = False,
    ):
        optuna = require("optuna", "sweep")
        sqlalchemy = require("sqlalchemy", "sweep")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._distributions = {n: distribution(axis) for n, axis in axes.items()}
        self._axes = axes
        self._curves = curves
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", sqlalchemy.exc.SADeprecationWarning)
                storage = optuna.storages.RDBStorage(url)
            self._study = optuna.create_study(
                storage=storage,
                study_name=name,
                direction=direction(larger_is_better),
                load_if_exists=True,
            )
            before = self._study.user_attrs.get("sweep")
            if before is None and not self._study.get_trials(deepcopy=False):
                self._study.set_user_attr("sweep", json.dumps(sweep, sort_keys=True))
            # As values: 0 and 0.0 are the same sweep.
            elif not isinstance(before, str) or json.loads(before) != json.loads(json.dumps(sweep)):
                raise UserError(
                    f"--storage {public(url)}: its study {name!r} belongs to another experiment "
                    "or sweep; choose another --storage"
                )
            self._recorded = {
                trial.user_attrs.get("trial") for trial in self._study.get_trials(deepcopy=False)
            }
        except (
            *(sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError),
            # No driver for such a database; a port that is no number.
            *(ImportError, RuntimeError, ValueError),
        ) as error:
            reason = _reason(error).replace(url, public(url))
            raise UserError(f"--storage {public(url)} cannot be opened: {reason[:200]}") from None

    def add(self, finished: Iterable[Finished]) -> None:
        """Records trials, each once, however often it is added.

        Raises:
            UserError: the database cannot be written.
        """
        optuna, sqlalchemy = require("optuna", "sweep"), require("sqlalchemy", "sweep")
        state = optuna.trial.TrialState
        states = {"complete": state.COMPLETE, "pruned": state.PRUNED, "diverged": state.FAIL}
        for one in finished:
            if one.trial.number in self._recorded:
                continue
            trial = optuna.trial.create_trial(
                state=states[one.record["status"]],
                value=one.reached,
                params=as_categories(self._axes, one.trial.configuration),
                distributions=self._distributions,
                intermediate_values=self._curve(one),
                user_attrs={
                    "trial": one.trial.number,
                    "seed": one.trial.experiment.seed,
                    "params_sha256": one.record["params_sha256"],
                    "seconds": one.record["seconds"],
                },
            )
            try:
                self._study.add_trial(trial)
            except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError) as error:
                raise UserError(f"the study cannot be written: {_reason(error)[:200]}") from None
            self._recorded.add(one.trial.number)

    def _curve(self, one: Finished) -> dict[int, float] | None:
        name = f"val_{one.trial.experiment.loss.score.name}"
        return {line["epoch"]: line[name] for line in one.lines()} if self._curves else None


def public(url: str) -> str:
    """A database's URL as it may be shown: without its password.

    Example:
        >>> public("postgresql://me:secret@host/studies")
        'postgresql://me:***@host/studies'
    """
    sqlalchemy = require("sqlalchemy", "sweep")
    try:
        return sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return re.sub(r"(://[^:/]*):.*@", r"\1:***@", url)


def _reason(error: Exception) -> str:
    """What an error says, in one line, without SQLAlchemy's advertisement of its pages."""
    return re.sub(r" ?\(Background on this error at: \S*\)", "", " ".join(str(error).split()))


def default_url(workdir: Path) -> str:
    """An SQLite file in a sweep's workdir."""
    return f"sqlite:///{(workdir / 'study.db').absolute()}"
