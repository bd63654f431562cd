"""Labels and inputs in every form that arrays of numbers come in; what cannot be one is named in one sentence."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import torch
from art.estimators.classification import SklearnClassifier
from sklearn.linear_model import LogisticRegression

import art_flat as af
from art_flat._utils.validation import check_inputs, check_labels
from art_flat.datasets import stack_batches
from art_flat.errors import InputError

Y = np.array([2, 0, 1, 1, 0, 2])
ONE_HOT = Y[:, None] == np.arange(3)
NUMPY = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32"),
    *("float64", "longdouble", ">i4", ">f8"),
]
TORCH = [
    *(torch.bool, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32),
    *(torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64),
]
FRAMES = ["bool", "int64", "float32", "Int64", "boolean", "Float32", "int64[pyarrow]", "bool[pyarrow]"]


def forms():
    """Every form of one-hot rows, indices and columns of indices; bool holds no indices."""
    shapes = {"one_hot": ONE_HOT.astype(int), "index": Y, "column": Y[:, None]}
    for shape, array in shapes.items():
        for dtype in NUMPY:
            if shape == "one_hot" or dtype != "bool":
                yield f"numpy {dtype} {shape}", array.astype(dtype)
        for dtype in TORCH:
            if shape == "one_hot" or dtype != torch.bool:
                yield f"{dtype} {shape}", torch.as_tensor(array).to(dtype)
        for dtype in FRAMES:
            if shape == "one_hot" or "bool" not in dtype:
                frame = pd.Series(array) if array.ndim == 1 else pd.DataFrame(array)
                yield f"pandas {dtype} {shape}", frame.astype(dtype)
        yield f"list {shape}", array.tolist()
        yield f"objects {shape}", array.astype(object)
        yield f"read-only {shape}", np.broadcast_to(array, array.shape)
        yield f"reversed {shape}", array[::-1].copy()[::-1]
    yield "get_dummies", pd.get_dummies(pd.Series(Y))
    yield (
        "mixed columns",
        pd.DataFrame({"a": ONE_HOT[:, 0], "b": ONE_HOT[:, 1] * 1, "c": ONE_HOT[:, 2] * 1.0}),
    )
    yield "categorical", pd.Series(Y).astype("category")
    yield "torch one_hot", torch.nn.functional.one_hot(torch.as_tensor(Y)).bool()
    yield "torch sparse", torch.as_tensor(ONE_HOT.astype(int)).to_sparse()
    yield "scipy sparse", scipy.sparse.csr_matrix(ONE_HOT)
    yield "arrow", pa.array(Y)
    yield "chunked arrow", pa.chunked_array([Y[:2], Y[2:]])


FORMS = dict(forms())


@pytest.mark.parametrize("form", FORMS)
def test_labels_in_every_form(form):
    labels = check_labels(FORMS[form], len(Y), 3)
    assert labels.dtype == torch.int64
    assert labels.tolist() == Y.tolist()


X = np.random.default_rng(0).random((6, 4)).astype("float32")
INPUTS = {
    "tensor": torch.as_tensor(X),
    "sparse tensor": torch.as_tensor(X).to_sparse(),
    "csr matrix": scipy.sparse.csr_matrix(X),
    "coo array": scipy.sparse.coo_array(X),
    "frame": pd.DataFrame(X),
    "arrow frame": pd.DataFrame(X).convert_dtypes(dtype_backend="pyarrow"),
    "nullable frame": pd.DataFrame(X).convert_dtypes(),
    "sparse frame": pd.DataFrame.sparse.from_spmatrix(scipy.sparse.csr_matrix(X)),
    "list": X.tolist(),
    "big-endian": X.astype(">f4"),
    "arrow table": pa.table({str(i): X[:, i] for i in range(4)}),
}


@pytest.mark.parametrize("form", INPUTS)
def test_inputs_in_every_form(form):
    np.testing.assert_allclose(check_inputs(INPUTS[form], input_shape=(4,)).numpy(), X, rtol=1e-7)


def test_the_loss_of_boolean_one_hot_labels(linear):
    weight = np.random.default_rng(1).normal(size=(3, 4))
    z = X.astype(np.float64) @ weight.astype(np.float32).astype(np.float64).T
    expected = np.log(np.exp(z).sum(axis=1)) - z[np.arange(6), Y]
    np.testing.assert_allclose(linear(weight).loss(X, pd.get_dummies(pd.Series(Y))), expected, rtol=1e-5)


def loader(shuffle=False):
    data = torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(Y))
    return torch.utils.data.DataLoader(data, batch_size=4, shuffle=shuffle)


REFUSED = {
    "text": (X, np.array(["cat", "dog", "owl"])[Y], r"`y` must be an array of numbers.*'owl'.*LabelEncoder"),
    "text objects": (X, np.array(["cat", "dog", "owl"], dtype=object)[Y], r"`y` .*got text such as 'owl'"),
    "text series": (X, pd.Series(["a"] * 6, dtype="string[pyarrow]"), r"`y` .*got text such as 'a'"),
    "text categories": (X, pd.Series(["a"] * 6, dtype="category"), r"`y` .*got text such as 'a'"),
    "text column": (pd.DataFrame({"a": [0.1] * 6, "b": ["u"] * 6}), Y, r"`x` .*got text such as 'u'"),
    "loader": (loader(), Y, r"`x` is a DataLoader.*stack_batches"),
    "dataset": (loader().dataset, Y, r"`x` is a TensorDataset.*stack_batches"),
    "generator": ((row for row in X), Y, r"`x` is a generator.*stack_batches"),
    "complex": (torch.complex(torch.as_tensor(X), torch.as_tensor(X)), Y, r"`x` must hold real numbers"),
    "complex array": (X + 1j, Y, r"`x` must be an array of numbers, got complex"),
    "ragged": ([[0.1], [0.1, 0.2]], Y, r"`x` must be an array of numbers.*one shape"),
    "missing": (X, pd.Series([0, 1, 2, None, 1, 1], dtype="Int64"), r"`y` has NaN"),
    "text in x": (X.astype(str), Y, r"`x` must be .*encode text as numbers"),
    "none": (X, None, r"`y` must be an array of numbers, got None"),
    "masked": (np.ma.array(X, mask=X > 0.5), Y, r"`x` must be an array of numbers, got masked values; fill them"),
    "some of no kind": (X, np.array([0, 1, 2, None, 1, 1]), r"`y` must be an array of numbers, got object"),
    "dates": (X, np.array(["2020-01-01"] * 6, dtype="datetime64[D]"), r"`y` must be .*numbers, got datetime64"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_other_kinds_are_named(kind, linear):
    x, y, words = REFUSED[kind]
    with pytest.raises(InputError, match=words):
        linear(np.eye(3, 4)).loss(x, y)


@pytest.mark.parametrize("batches", [loader(), loader().dataset, [(X[:2], Y[:2]), (X[2:], Y[2:])]])
def test_batches_are_stacked(batches):
    x, y = stack_batches(batches)
    np.testing.assert_array_equal(x, X)
    assert y.tolist() == Y.tolist()


def test_evaluate_takes_a_loader(linear):
    net, options = (
        linear(np.eye(3, 4)),
        {"deltas": {"Linf": [0.1]}, "attacks": ["art_flat:PGD(steps=2)"], "certify": None},
    )
    expected = af.evaluate(net, X, Y, **options).records()
    pd.testing.assert_frame_equal(
        af.evaluate(net, loader(), **options).records()[["loss_adv"]], expected[["loss_adv"]]
    )
    with pytest.raises(InputError, match="`y` is missing"):
        af.evaluate(net, X, **options)
    with pytest.raises(InputError, match="`x` is a DataLoader, which has the labels; leave out `y`"):
        af.evaluate(net, loader(), Y, **options)


@pytest.mark.parametrize("batches", [[], [X], [(X, Y, Y)], [(X, Y), (X[:, :2], Y)]])
def test_batches_that_cannot_be_stacked(batches):
    with pytest.raises(InputError, match="batch"):
        stack_batches(batches)


def fitted():
    """A logistic regression fitted on a data frame, and its inputs."""
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = LogisticRegression().fit(frame, Y)
    return af.adapt(SklearnClassifier(model, clip_values=(0.0, 1.0))), frame


def test_columns_in_another_order_are_refused():
    net, frame = fitted()
    expected = net.loss(X, Y)
    np.testing.assert_array_equal(net.loss(frame, Y), expected)
    np.testing.assert_allclose(net.loss(scipy.sparse.csr_matrix(X), Y), expected, rtol=1e-12)
    np.testing.assert_allclose(net.measure(scipy.sparse.csr_matrix(X), Y)["loss"], expected, rtol=1e-12)
    options = {"deltas": {"Linf": [0.1]}, "attacks": ["art_flat:UniformNoise"]}
    for wrong, words in (
        (frame[list("bacd")], "columns in another order"),
        (frame.add_prefix("u"), "other columns"),
    ):
        for call in (net.logits, lambda x: af.evaluate(net, x, Y, **options)):
            with pytest.raises(
                InputError, match=f"`x` has (the )?{words} than the data that the model was fitted on"
            ):
                call(wrong)


def test_progress_is_a_function_or_a_switch(linear, capsys):
    net = linear(np.eye(3, 4))
    options = {"deltas": {"Linf": [0.1]}, "attacks": ["art_flat:UniformNoise"], "certify": None}
    af.evaluate(net, X, Y, **options, progress=True)
    assert "1/1 units" in capsys.readouterr().err
    af.evaluate(net, X, Y, **options, progress=False)
    assert not capsys.readouterr().err
    with pytest.raises(InputError, match="`progress` must be a function, True or False, got 'yes'"):
        af.evaluate(net, X, Y, **options, progress="yes")
