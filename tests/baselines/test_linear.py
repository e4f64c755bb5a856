import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dualcoop.baselines import LinearProbe
from dualcoop.errors import ConfigError, DataError
from dualcoop.evaluation import mean_average_precision


def make_case(seed=0, images=120, dimension=10, classes=4, known=1.0, noise=1.0):
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((images, dimension)) * generator.uniform(0.2, 5, dimension) + 3
    directions = generator.standard_normal((dimension, classes)) / features.std(axis=0)[:, None]
    logits = (features - 3) @ directions + noise * generator.standard_normal((images, classes))
    labels = np.where(logits > 1.5, 1, -1)
    labels[generator.random(labels.shape) >= known] = 0
    return features.astype(np.float32), labels


def split(features, labels, held_out=40):
    return features[held_out:], labels[held_out:], features[:held_out], labels[:held_out]


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("known", [1.0, 0.5])
def test_every_class_is_scikit_learns_logistic_regression_on_its_known_labels(standardise, known):
    features, labels, *valid = split(*make_case(known=known))
    probe = LinearProbe((0.3,), standardise=standardise, tol=1e-6).fit(features, labels, *valid)
    scaler = StandardScaler(with_std=standardise).fit(features)
    for index in range(labels.shape[1]):
        rows = labels[:, index] != 0
        model = LogisticRegression(C=0.3, tol=1e-8, max_iter=10_000)
        model.fit(scaler.transform(features[rows].astype(np.float64)), labels[rows, index])
        expected = model.decision_function(scaler.transform(valid[0]))
        scores = probe.decision_function(valid[0])[:, index]
        np.testing.assert_allclose(scores, expected, rtol=2e-3, atol=2e-3)


def test_fully_known_labels_agree_with_a_plain_pipeline():
    features, labels, *valid = split(*make_case(classes=1))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-8, max_iter=10_000))
    pipeline.fit(features.astype(np.float64), labels[:, 0])
    probe = LinearProbe((0.1,), tol=1e-6).fit(features, labels, *valid)
    np.testing.assert_allclose(
        probe.predict_proba(valid[0])[:, 0], pipeline.predict_proba(valid[0])[:, 1], rtol=2e-3, atol=1e-4
    )


def test_the_path_from_small_to_large_c_ends_where_a_fit_from_scratch_ends():
    features, labels, *valid = split(*make_case(known=0.7))
    grid = (1e-3, 1e-2, 1e-1, 1.0)
    for value in grid:
        # The grid ends at the value in question, and refitting with it alone starts from zero.
        path = LinearProbe(grid[: grid.index(value) + 1], tol=1e-6)
        scores = path._fit_paths(features, labels, list(path.C_grid))[0][-1]
        alone = LinearProbe((value,), tol=1e-6).fit(features, labels, *valid)
        np.testing.assert_allclose(scores, alone.coef_, rtol=2e-3, atol=2e-3)


def test_the_c_with_the_best_validation_map_is_chosen_and_recorded():
    features, labels, valid_features, valid_labels = split(*make_case(images=90, dimension=60, noise=4.0))
    grid = (1e-4, 1e-2, 1.0, 100.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        probe = LinearProbe(grid, tol=1e-6).fit(features, labels, valid_features, valid_labels)
        for value in grid:
            alone = LinearProbe((value,), tol=1e-6).fit(features, labels, valid_features, valid_labels)
            score = mean_average_precision(alone.decision_function(valid_features), valid_labels)
            assert probe.validation_map_[value] == pytest.approx(score, abs=1.0)
    assert max(probe.validation_map_, key=probe.validation_map_.get) == probe.C_
    chosen = mean_average_precision(probe.decision_function(valid_features), valid_labels)
    assert chosen == pytest.approx(probe.validation_map_[probe.C_])
    assert probe.n_iter_.shape == (4, 4)


def test_of_equally_good_values_the_smallest_c_wins():
    """Separated classes: every C ranks the validation images perfectly."""
    labels = np.where(np.arange(40) % 2 == 0, 1, -1)[:, None]
    features = (labels * 5 + np.random.default_rng(0).standard_normal((40, 1))).astype(np.float32)
    probe = LinearProbe((1.0, 0.01, 0.1)).fit(*split(features, labels, held_out=20))
    assert list(probe.validation_map_.values()) == pytest.approx([100.0] * 3)
    assert probe.C_ == 0.01


def test_a_best_c_at_the_edge_of_the_grid_is_warned_about():
    features, labels = make_case(images=90, dimension=60, noise=4.0)
    with pytest.warns(UserWarning, match=r"best C, \S+, is at the edge of the grid"):
        LinearProbe((10.0, 1000.0)).fit(*split(features, labels))


def test_images_with_an_unknown_label_do_not_reach_the_fit():
    features, labels, *valid = split(*make_case())
    labels[:30, 0] = 0
    changed = features.copy()
    changed[:30] = changed[:30][::-1]
    probe, other = (
        LinearProbe((1.0,), standardise=False, tol=1e-6).fit(x, labels, *valid) for x in (features, changed)
    )
    np.testing.assert_allclose(probe.coef_[0], other.coef_[0], rtol=1e-3, atol=1e-4)
    assert not np.allclose(probe.coef_[1], other.coef_[1], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("signs", "positives", "known"), [((0, 0, 0), 0, 0), ((-1, -1, 0), 0, 2), ((1, 1, 1), 3, 3)])
def test_a_class_with_one_known_sign_predicts_its_prior(signs, positives, known):
    features, labels, *valid = split(*make_case(classes=2))
    labels[:, 1] = 0
    labels[:3, 1] = signs
    share = (labels == 1).sum() / (labels != 0).sum()
    probe = LinearProbe((1.0,)).fit(features, labels, *valid)
    assert probe.constant_.tolist() == [False, True]
    expected = (positives + share) / (known + 1)
    np.testing.assert_allclose(probe.predict_proba(valid[0])[:, 1], expected, rtol=1e-5)


def test_refit_trains_on_training_and_validation_images_with_the_chosen_c():
    features, labels, valid_features, valid_labels = split(*make_case(noise=3.0))
    probe = LinearProbe((0.1, 1.0), refit=True, tol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        probe.fit(features, labels, valid_features, valid_labels)
    everything = np.concatenate([features, valid_features]), np.concatenate([labels, valid_labels])
    alone = LinearProbe((probe.C_,), tol=1e-6).fit(*everything, valid_features, valid_labels)
    np.testing.assert_array_equal(probe.coef_, alone.coef_)
    np.testing.assert_array_equal(probe.intercept_, alone.intercept_)


def test_the_scale_of_a_feature_does_not_matter_when_standardised():
    features, labels = make_case()
    scaled = features * np.geomspace(1e-2, 1e2, features.shape[1], dtype=np.float32)
    probes = [LinearProbe((0.1,), tol=1e-6).fit(*split(x, labels)) for x in (features, scaled)]
    np.testing.assert_allclose(
        probes[0].decision_function(features), probes[1].decision_function(scaled), rtol=1e-3, atol=1e-3
    )


def test_a_constant_feature_does_no_harm():
    features, labels = make_case()
    features[:, 2] = 7.0
    probe = LinearProbe((0.1,)).fit(*split(features, labels))
    assert np.isfinite(probe.coef_).all()
    assert np.all(probe.coef_[:, 2] == 0)


def test_two_workers_give_what_one_gives():
    case = split(*make_case(known=0.6))
    one, two = (LinearProbe((0.1,), n_jobs=n, tol=1e-6).fit(*case) for n in (None, 2))
    # The same solver to the same tolerance, but each worker of two may have fewer threads to add with.
    np.testing.assert_allclose(one.coef_, two.coef_, rtol=2e-3, atol=2e-3)


def test_probabilities_are_the_sigmoid_of_the_decision_function_at_any_size():
    features, labels = make_case()
    probe = LinearProbe((0.1,)).fit(*split(features, labels))
    with np.errstate(all="raise", under="ignore"):
        probabilities = probe.predict_proba(features * 1000)
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1
    expected = 1 / (1 + np.exp(-probe.decision_function(features).astype(np.float64)))
    np.testing.assert_allclose(probe.predict_proba(features), expected, rtol=1e-4)


def test_it_follows_scikit_learns_conventions():
    probe = LinearProbe((0.1,), standardise=False, n_jobs=2)
    assert clone(probe).get_params() == probe.get_params()
    assert not [name for name in vars(probe) if name.endswith("_")]
    case = split(*make_case())
    fitted = clone(probe).set_params(n_jobs=None)
    assert fitted.fit(*case) is fitted
    assert fitted.n_features_in_ == 10
    with pytest.raises(NotFittedError, match="call fit first"):
        probe.predict_proba(case[0])


def replaced(position, value):
    case = list(split(*make_case()))
    case[position] = value(case[position])
    return case


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (replaced(0, lambda x: x[:-1]), "training data has 79 rows of features and 80 rows of labels"),
        (replaced(2, lambda x: x[:-1]), "validation data has 39 rows of features and 40 rows of labels"),
        (replaced(2, lambda x: x[:, :5]), r"valid_features have shape \(40, 5\), expected \(images, 10\)"),
        (replaced(3, lambda y: y[:, :2]), "labels have 4 classes, valid_labels have 2"),
        (replaced(1, np.zeros_like), "no label of the training data is known"),
        (replaced(3, lambda y: -np.abs(y)), "no label of the validation data is known to be present"),
        (replaced(0, lambda x: np.where(x == x[3, 0], np.nan, x)), "features hold NaN or infinity in row 3"),
        (replaced(1, lambda y: y + 1), "label 2 in row"),
    ],
)
def test_data_that_does_not_fit_is_refused(case, message):
    with pytest.raises(DataError, match=message):
        LinearProbe((1.0,)).fit(*case)


@pytest.mark.parametrize("grid", [(), (0.0, 1.0), (-1.0,)])
def test_a_grid_without_positive_values_is_refused(grid):
    with pytest.raises(ConfigError, match="expected one or more positive numbers"):
        LinearProbe(grid).fit(*split(*make_case()))
