import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import device_data, evaluation, models, training
from jaxcv.augment import AlternatingFlip, ReflectedTranslation
from jaxcv.experiment import Experiment, split
from jaxcv.grouped import LookaheadSGD, Muon
from jaxcv.losses import CrossEntropy, SummedCrossEntropy
from jaxcv.optimizers import SGD, Adam, AdamW, Momentum
from jaxcv.programs import Program, prepare
from jaxcv.schedules import Constant, Piecewise, WarmupCosine
from tests import tiny
from tests.tiny import experiment

DATA = tiny.dataset()


def epoch(program: Program, state, number: int = 0, chunks=(1000,)):
    """One epoch in chunks of these lengths, the last for as often as it takes."""
    order = program.order(state, number)
    end = (number + 1) * program.steps_per_epoch
    lengths = iter(chunks)
    length = 0
    while int(state.step) < end:
        length = next(lengths, length)
        state = training.train_chunk(
            program.static, state, program.data, order, program.hyper, np.int32(length)
        )
    return state


def assert_same(one, other):
    """Every bit of two states."""
    one, other = (s._replace(key=jax.random.key_data(s.key)) for s in (one, other))
    a, b = jax.tree_util.tree_leaves_with_path(one), jax.tree_util.tree_leaves_with_path(other)
    assert [path for path, _ in a] == [path for path, _ in b]
    for (path, x), (_, y) in zip(a, b, strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes(), jax.tree_util.keystr(path)


# --- chunks -------------------------------------------------------------------------------------

CHUNKED = {
    "mlp": {"optimizer": Adam(0.01)},
    "cnn": {"model": models.CNN(features=(3,), num_classes=4), "optimizer": Momentum(0.05)},
    "bfloat16": {"precision": "bfloat16", "clip_norm": 0.5},
    "lookahead": {
        "model": models.Speedrun(features=(4,), num_classes=4),
        "optimizer": LookaheadSGD(1e-3, lookahead_interval=3, whitening_epochs=1.0),
        "augmentation": (AlternatingFlip(), ReflectedTranslation(1)),
        "loss": SummedCrossEntropy(0.2),
        "clip_norm": 9.0,
        "epochs": 1.9,
    },
    "muon": {
        "model": models.Speedrun(features=(4,), num_classes=4),
        "optimizer": Muon(),
        "precision": "bfloat16",
    },
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.every_script if name == "muon" else ())
        for name in CHUNKED
    ],
)
def test_chunks_of_any_lengths_give_the_same_bits(name):
    program = prepare(experiment(**CHUNKED[name]), DATA)
    assert program.steps_per_epoch == 4

    def trained(*chunks):
        state = program.initial_state(3)
        for number in range(2):
            state = epoch(program, state, number, chunks)
        return state

    whole = trained(1000)
    assert int(whole.step) == 8
    for chunks in ((1,), (4,), (3, 1), (1, 2, 1), (2, 0, 5)):
        assert_same(trained(*chunks), whole)


def test_a_chunk_never_passes_the_end_of_its_epoch_and_zero_steps_do_nothing():
    program = prepare(experiment(), DATA)
    state = program.initial_state(0)
    before = jax.tree.map(np.array, state._replace(key=None))
    order = program.order(state, 0)
    run = training.train_chunk
    state = run(program.static, state, program.data, order, program.hyper, np.int32(0))
    for x, y in zip(
        jax.tree.leaves(before), jax.tree.leaves(state._replace(key=None)), strict=True
    ):
        np.testing.assert_array_equal(x, y)
    state = run(program.static, state, program.data, order, program.hyper, np.int32(10**6))
    assert int(state.step) == program.steps_per_epoch


def test_totals_are_of_one_epoch():
    program = prepare(experiment(), DATA)
    state = program.initial_state(0)
    for number in range(3):
        state = epoch(program, state, number)
        assert int(state.totals["count"]) == 32


# --- one compilation ----------------------------------------------------------------------------


def test_another_epoch_rate_seed_or_split_compiles_nothing():
    base = experiment(
        optimizer=AdamW(0.01), loss=CrossEntropy(0.1, 1e-3), schedule=WarmupCosine(1.0, 0.1)
    )
    program = prepare(base, DATA)

    def run(program: Program, seed: int, epochs: int) -> None:
        state = program.initial_state(seed)
        for number in range(epochs):
            state = epoch(program, state, number, (3,))
            program.evaluate(state.params, state.batch_stats, "validation")
        program.evaluate(state.params, state.batch_stats, "test")

    run(program, 0, 1)
    with tiny.compilations() as compiled:
        run(program, 0, 2)
        others = [
            dataclasses.replace(base, optimizer=AdamW(0.5, 0.3, 0.4, 1e-3, 0.2)),
            dataclasses.replace(base, loss=CrossEntropy(0.0, 0.0)),
            dataclasses.replace(base, schedule=WarmupCosine(0.0, 0.0), epochs=77),
            dataclasses.replace(base, name="other", patience=3, data_dir="x", data_seed=9),
        ]
        # Another draw of the held-out images: the same numbers of them.
        redrawn = dataclasses.replace(
            DATA,
            train=np.sort(np.r_[DATA.train[1:], DATA.validation[:1]]).astype(np.int32),
            validation=np.sort(np.r_[DATA.validation[1:], DATA.train[:1]]).astype(np.int32),
        )
        for i, other in enumerate(others):
            run(prepare(other, redrawn), i + 5, 1)
    assert compiled == []


def test_what_changes_the_program_compiles_anew():
    """The test above would notice: a compilation is seen where there must be one."""
    with tiny.compilations() as compiled:
        program = prepare(experiment(model=models.MLP(features=(9, 2), num_classes=4)), DATA)
        epoch(program, program.initial_state(0))
    assert any("train_chunk" in name for name in compiled) or len(compiled) >= 2


# --- which images -------------------------------------------------------------------------------


def test_a_batch_of_all_images_is_a_step_on_them_as_they_lie():
    everything = dataclasses.replace(DATA, train=np.arange(61, dtype=np.int32), classes=())
    some = prepare(experiment(batch_size=None), DATA)
    assert some.steps_per_epoch == 1
    np.testing.assert_array_equal(some.order(some.initial_state(0), 5), DATA.train[None])
    whole = prepare(experiment(batch_size=None), everything)
    state = whole.initial_state(0)
    order = whole.order(state, 0)
    experiment_, data = experiment(batch_size=None), whole.data
    expected = training.train_step(experiment_, state, data, order, 1.0)
    # A data set with one image more has the same ones gathered.
    larger = data._replace(
        images=jnp.concatenate([data.images, data.images[:1]]),
        labels=jnp.concatenate([data.labels, data.labels[:1]]),
    )
    got = training.train_step(experiment_, state, larger, order, 1.0)
    assert int(got.totals["count"]) == 61
    for a, b in zip(jax.tree.leaves(got.params), jax.tree.leaves(expected.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    assert "gather" not in str(jax.make_jaxpr(lambda d: device_data.gather(d, None))(data))


@pytest.mark.parametrize("batch_size", [1, 5, 8, 37])
def test_an_epoch_visits_every_training_image_once(batch_size):
    key = jax.random.key(0)
    orders = [
        np.asarray(training.epoch_order(key, np.int32(e), jnp.asarray(DATA.train), batch_size))
        for e in range(3)
    ]
    for order in orders:
        assert order.shape == (37 // batch_size, batch_size)
        flat = order.reshape(-1)
        assert len(set(flat)) == len(flat)
        assert set(flat) <= set(DATA.train)
        assert len(flat) == 37 - 37 % batch_size
    # A batch of all has no order.
    assert (orders[0] != orders[1]).any() == (batch_size < 37)
    assert (orders[1] != orders[2]).any() == (batch_size < 37)


def test_the_order_is_of_seed_and_epoch_alone():
    program = prepare(experiment(), DATA)
    other = prepare(experiment(model=models.Softmax(num_classes=4), optimizer=Adam()), DATA)
    one, two = program.initial_state(5), other.initial_state(5)
    np.testing.assert_array_equal(program.order(one, 3), other.order(two, 3))
    assert (program.order(program.initial_state(6), 3) != program.order(one, 3)).any()


# --- a whole epoch against NumPy ----------------------------------------------------------------


def numpy_training(
    experiment: Experiment, program: Program, state, epochs: int, momentum=0.0
) -> dict[str, np.ndarray]:
    """Softmax regression written out in float64, on the order that the program draws."""
    loss = experiment.loss
    assert isinstance(loss, CrossEntropy)
    params = jax.tree.map(np.float64, state.params)["Dense_0"]
    velocity = {name: np.zeros_like(value) for name, value in params.items()}
    pixels = DATA.images / 255 - (DATA.images[DATA.train] / 255).mean(axis=(0, 1, 2))
    step = 0
    for number in range(epochs):
        for index in np.asarray(program.order(state, number)):
            x, n = pixels[index].reshape(len(index), -1), len(index)
            z = x @ params["kernel"] + params["bias"]
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            q = np.full(p.shape, loss.label_smoothing / 4)
            q[np.arange(n), DATA.labels[index]] += 1 - loss.label_smoothing
            dz = (p - q) / n
            gradient = {"kernel": x.T @ dz + loss.l2 * params["kernel"], "bias": dz.sum(axis=0)}
            if experiment.clip_norm is not None:
                norm = np.sqrt(sum(np.square(g).sum() for g in gradient.values()))
                scale = min(1.0, experiment.clip_norm / norm)
                gradient = {name: g * scale for name, g in gradient.items()}
            rate = experiment.optimizer.learning_rate
            if isinstance(experiment.schedule, Piecewise):
                for boundary, value in zip(
                    experiment.schedule.boundaries, experiment.schedule.factors, strict=True
                ):
                    if step >= boundary * program.steps_per_epoch:
                        rate = experiment.optimizer.learning_rate * value
            for name, g in gradient.items():
                velocity[name] = momentum * velocity[name] + g
                params[name] = params[name] - rate * velocity[name]
            step += 1
    return params


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": Momentum(0.2, 0.7)},
        {"loss": CrossEntropy(label_smoothing=0.4)},
        {"loss": CrossEntropy(l2=0.5)},
        {"clip_norm": 0.05},
        {"clip_norm": 1e9},
        {"schedule": Piecewise((1.0, 1.5), (0.1, 0.5))},
        {"schedule": Constant(), "loss": CrossEntropy(0.2, 0.1), "clip_norm": 0.3},
        {"precision": "float64"},
    ],
)
def test_two_epochs_against_numpy(settings):
    it = experiment(model=models.Softmax(num_classes=4), **({"optimizer": SGD(0.5)} | settings))
    exact = it.precision == "float64"
    with jax.enable_x64(exact):
        program = prepare(it, DATA)
        start = program.initial_state(2)
        expected = numpy_training(it, program, start, 2, getattr(it.optimizer, "momentum", 0.0))
        state = epoch(program, epoch(program, start, 0, (3,)), 1)
        kernel, bias = (np.asarray(state.params["Dense_0"][n]) for n in ("kernel", "bias"))
    assert kernel.dtype == (np.float64 if exact else np.float32)
    tolerance = 1e-12 if exact else 2e-5
    np.testing.assert_allclose(kernel, expected["kernel"], atol=tolerance)
    np.testing.assert_allclose(bias, expected["bias"], atol=tolerance)


def test_every_number_acts():
    """Each numeric setting, changed, changes the parameters after an epoch."""
    base = experiment(
        optimizer=AdamW(0.01),
        loss=CrossEntropy(0.1, 1e-2),
        schedule=Piecewise((0.5,), (0.5,)),
        clip_norm=0.5,
    )

    def trained(it: Experiment) -> bytes:
        program = prepare(it, DATA)
        state = epoch(program, program.initial_state(0))
        return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state.params))

    reference = trained(base)
    _, hyper = split(base)
    assert set(hyper) == {
        "epochs", "learning_rate", "beta1", "beta2", "epsilon", "weight_decay",
        "label_smoothing", "l2", "boundaries", "factors", "clip_norm",
    }  # fmt: skip
    optimizer, loss = base.optimizer, base.loss
    for name in ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay"):
        changed = tiny.with_settings(optimizer, **{name: getattr(optimizer, name) * 0.5 + 1e-4})
        assert trained(dataclasses.replace(base, optimizer=changed)) != reference, name
    for name in ("label_smoothing", "l2"):
        changed = tiny.with_settings(loss, **{name: 0.3})
        assert trained(dataclasses.replace(base, loss=changed)) != reference, name
    assert trained(dataclasses.replace(base, clip_norm=0.01)) != reference
    schedules = Piecewise((0.25,), (0.5,)), Piecewise((0.5,), (0.1,))
    for schedule in schedules:
        assert trained(dataclasses.replace(base, schedule=schedule)) != reference
    assert trained(dataclasses.replace(base, epochs=99)) == reference  # Piecewise has no use for it


def test_the_augmentation_sees_each_batch_once_with_its_own_key():
    @dataclasses.dataclass(frozen=True)
    class Blank:
        """Replaces the images by noise of its key."""

        def __call__(self, key, images):
            return jax.random.normal(key, images.shape)

    plain, noisy = experiment(), experiment(augmentation=(Blank(),))
    one = prepare(plain, DATA)
    two = prepare(noisy, DATA)
    a, b = epoch(one, one.initial_state(0)), epoch(two, two.initial_state(0))
    assert (np.asarray(a.params["Dense_0"]["kernel"]) != b.params["Dense_0"]["kernel"]).any()
    # Evaluation is never augmented.
    x = two.evaluate(b.params, b.batch_stats, "test")
    y = one.evaluate(b.params, b.batch_stats, "test")
    assert float(x["loss"]) == float(y["loss"])


# --- evaluation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 11, 249, 250, 251, 600])
def test_evaluation_counts_exactly_the_split(count):
    data = tiny.dataset(train=9, validation=count, test=300, shape=(2, 2, 1))
    it = experiment(model=models.Softmax(num_classes=4), loss=CrossEntropy(0.1, 0.5))
    program = prepare(it, data)
    state = program.initial_state(0)
    layer = jax.tree.map(np.float64, state.params["Dense_0"])
    pixels = data.images / 255 - (data.images[data.train] / 255).mean(axis=(0, 1, 2))
    for name, index in (("validation", data.validation), ("test", data.test)):
        got = jax.device_get(program.evaluate(state.params, state.batch_stats, name))
        z = pixels[index].reshape(len(index), -1) @ layer["kernel"] + layer["bias"]
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        labels = data.labels[index]
        loss = -(0.9 * log_p[np.arange(len(index)), labels] + 0.1 * log_p.mean(axis=1))
        assert got["count"] == len(index)
        assert got["correct"] == (z.argmax(axis=1) == labels).sum()
        assert got["loss"] == pytest.approx(loss.sum(), rel=1e-5)


def test_nothing_is_counted_where_nothing_is_held_out():
    program = prepare(experiment(), tiny.dataset(validation=0))
    state = program.initial_state(0)
    totals = jax.device_get(program.evaluate(state.params, state.batch_stats, "validation"))
    assert (totals["loss"], totals["correct"], totals["count"]) == (0, 0, 0)


@pytest.mark.parametrize("views", ["plain", "mirror"])
@pytest.mark.parametrize("count", [1, evaluation.EVALUATION_BATCH + 3])
def test_one_pass_gives_predictions_and_totals(count, views):
    data = tiny.dataset(test=count)
    program = prepare(experiment(), data)
    state = program.initial_state(3)
    trained = state.params, state.batch_stats
    rows, totals = program.predictions(*trained, data.test, views)
    expected = jax.device_get(program.evaluate(*trained, "test", views))
    assert rows.shape == (count, 4)
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-5)
    assert totals["count"] == expected["count"] == count
    assert totals["correct"] == np.sum(rows.argmax(1) == data.labels[data.test])
    assert totals["correct"] == expected["correct"]
    likelihoods = rows[np.arange(count), data.labels[data.test]]
    np.testing.assert_allclose(totals["loss"], -np.sum(np.log(likelihoods)), rtol=1e-4)
    np.testing.assert_allclose(totals["loss"], expected["loss"], rtol=1e-5)


@pytest.mark.parametrize(("size", "length"), [(0, 0), (1, 1), (250, 250), (3, 251), (251, 251)])
def test_padding_fills_whole_batches(size, length):
    index = np.arange(1, size + 1, dtype=np.int32)
    got = evaluation.padded(index, length)
    assert len(got) == 250 * max(1, -(-length // 250))
    np.testing.assert_array_equal(got[:size], index)
    assert not got[size:].any()


# --- normalisation ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mean_pixel", "standardize"])
def test_normalisation_is_of_the_training_images_alone(kind):
    it = experiment(normalization=kind)
    data = device_data.place(DATA, it)
    got, labels = device_data.gather(data, jnp.arange(len(DATA.images)))
    got = np.asarray(got)
    np.testing.assert_array_equal(labels, DATA.labels)
    pixels = DATA.images / 255
    mean = pixels[DATA.train].mean(axis=(0, 1, 2))
    deviation = pixels[DATA.train].std(axis=(0, 1, 2)) if kind == "standardize" else 1.0
    np.testing.assert_allclose(got, (pixels - mean) / deviation, atol=2e-6)
    np.testing.assert_allclose(got[DATA.train].mean(axis=(0, 1, 2)), 0, atol=1e-6)


def test_floats_are_what_the_network_sees(rng):
    images = rng.uniform(0.1, 0.9, DATA.images.shape).astype(np.float32)
    floats = dataclasses.replace(DATA, images=images)
    data = device_data.place(floats, experiment(normalization="standardize"))
    index = jnp.asarray([3, 0, 7])
    got, labels = device_data.gather(data, index)
    np.testing.assert_array_equal(got, images[index])
    np.testing.assert_array_equal(labels, DATA.labels[index])
    np.testing.assert_array_equal(images * np.asarray(data.multiplier) - data.offset, images)
    got, labels = device_data.gather(data, None)
    np.testing.assert_array_equal(got, images)
    np.testing.assert_array_equal(labels, DATA.labels)


def test_a_trained_network_is_told_one_number_a_channel():
    data = device_data.place(DATA, experiment(normalization="standardize"))
    facts = device_data.facts(DATA, data)
    multiplier, offset = device_data.normalization(DATA.images, DATA.train, "standardize")
    np.testing.assert_array_equal(np.float32(facts["multiplier"]), np.float32(multiplier))
    np.testing.assert_array_equal(np.float32(facts["offset"]), np.float32(offset))
    assert (facts["image_shape"], facts["classes"]) == (DATA.image_shape, DATA.classes)


def test_a_channel_that_never_varies_is_not_divided():
    images = np.full((4, 2, 2, 2), 51, np.uint8)
    images[..., 1] = np.arange(4)[:, None, None]
    multiplier, offset = device_data.normalization(
        images, np.arange(4, dtype=np.int32), "standardize"
    )
    assert np.isfinite([multiplier, offset]).all()
    assert (multiplier[0], offset[0]) == (pytest.approx(1 / 255), pytest.approx(0.2))


def test_the_images_stay_bytes_on_the_device():
    data = device_data.place(DATA, experiment())
    assert data.images.dtype == np.uint8
    assert data.images.nbytes == DATA.images.nbytes


# --- precision ----------------------------------------------------------------------------------


def test_bfloat16_computes_coarsely_and_keeps_float32_parameters():
    it = experiment(precision="bfloat16")
    program = prepare(it, DATA)
    state = epoch(program, program.initial_state(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype(np.float32)}
    fine = epoch(prepare(experiment(), DATA), prepare(experiment(), DATA).initial_state(0))
    a, b = (np.asarray(s.params["Dense_0"]["kernel"]) for s in (state, fine))
    assert (a != b).any()
    np.testing.assert_allclose(a, b, atol=0.05)
    images = jnp.ones((2, *DATA.image_shape))
    text = str(jax.make_jaxpr(lambda p: training.apply(it, p, {}, images, False)[0])(state.params))
    assert "bf16" in text


def test_the_seed_alone_decides_the_start():
    program = prepare(experiment(), DATA)
    assert_same(program.initial_state(4), program.initial_state(4))
    a, b = program.initial_state(4), program.initial_state(5)
    assert (np.asarray(a.params["Dense_0"]["kernel"]) != b.params["Dense_0"]["kernel"]).any()
