"""Which images are held out: seeded, stratified, and never a test image."""

import numpy as np
from jaxtyping import Int

from jaxcv.data.dataset import Dataset, Records
from jaxcv.errors import UserError


def draw(name: str, records: Records, data_seed: int, validation: int | None) -> Dataset:
    """Hold images of the training pool out for validation.

    The draw is stratified: every class keeps its share. It depends on `data_seed` and on the
    labels in their order alone, and the test images are not touched. Images without labels that
    have none for testing are tested on where they were trained on.

    Args:
        name: The data set as the user names it.
        records: What the source holds.
        data_seed: Decides which images are held out; not negative.
        validation: How many are held out; 0 for none, None for a tenth of the pool (5,000 of
            CIFAR-10's 50,000), rounded down, or for none of images without labels.

    Raises:
        UserError: `data_seed` or `validation` is negative, or no training image would be left.
    """
    if data_seed < 0:
        raise UserError(f"data seed {data_seed} is negative; it must be 0 or more")
    usual = records.pool // 10 if records.classes else 0
    count = usual if validation is None else validation
    if not 0 <= count < records.pool:
        raise UserError(
            f"validation {count} is out of range; {name} has {records.pool} training images, "
            f"so 0 to {records.pool - 1} can be held out"
        )
    rng = np.random.default_rng(data_seed)
    held_out = stratified_sample(records.labels[: records.pool], count, rng)
    train = np.setdiff1d(np.arange(records.pool), held_out, assume_unique=True)
    test = np.arange(records.pool, len(records.images)) if records.classes else train
    return Dataset(
        name=name,
        images=records.images,
        labels=records.labels,
        train=train.astype(np.int32),
        validation=held_out.astype(np.int32),
        test=test.astype(np.int32),
        classes=records.classes,
    )


def stratified_sample(
    labels: Int[np.ndarray, " n"], count: int, rng: np.random.Generator
) -> Int[np.ndarray, " drawn"]:
    r"""Draw `count` indices so that every class has the share it has in `labels`.

    Class c of n_c images gets the whole part of its quota q_c = count · n_c / n; what is then
    missing to `count` goes, one each, to the classes with the largest remainders (the method of
    largest remainders; the lower class index first where they tie). Each class therefore gets
    ⌊q_c⌋ or ⌈q_c⌉ images, drawn without replacement.

    Args:
        labels: Class indices, shape (n,).
        count: How many to draw, 0 … n.
        rng: Decides which.

    Returns:
        Indices into `labels`, ascending.
    """
    present, members_per_class = np.unique(labels, return_counts=True)
    # Integers throughout: a quota in floating point could round a whole number down.
    share, remainder = np.divmod(count * members_per_class, max(len(labels), 1))
    missing = count - int(share.sum())
    share[np.argsort(-remainder, kind="stable")[:missing]] += 1
    drawn = [
        rng.choice(np.flatnonzero(labels == label), size=size, replace=False)
        for label, size in zip(present, share, strict=True)
    ]
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, np.int64)
