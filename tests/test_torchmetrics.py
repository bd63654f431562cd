"""The metrics of torchmetrics give what the functions and scores give, in one process and in several."""

import copy
import pickle

import numpy as np
import pytest
import torch
from tolerances import close, near

pytest.importorskip("torchmetrics", reason="the extra torchmetrics is not installed")

from torchmetrics import MetricCollection

from art_flat import functional as F
from art_flat.errors import InputError, UnknownNameError
from art_flat.scores import loss_change_robustness_score
from art_flat.torchmetrics import LossChangeRobustness, RelativeSharpness


def case(n=40, k=4, d=6, attacks=None):
    g = torch.Generator().manual_seed(0)
    z, phi, w = (torch.randn(*s, generator=g) for s in ((n, k), (n, d), (k, d)))
    shape = (n, k) if attacks is None else (attacks, n, k)
    return z, phi, w, torch.randn(shape, generator=g), torch.randint(k, (n,), generator=g)


class TestRelativeSharpness:
    @pytest.mark.parametrize("definition", ["paper", "neuronwise", "unsquared"])
    def test_mean_over_batches_of_any_size(self, definition):
        z, phi, w, *_ = case()
        metric = RelativeSharpness(definition=definition)
        for rows in (slice(0, 7), slice(7, 30), slice(30, 40)):
            metric.update(z[rows], phi[rows], w)
        expected = F.relative_sharpness(z.double(), phi.double(), w.double(), definition=definition).mean()
        torch.testing.assert_close(metric.compute(), expected, **close("head", scale=0))
        metric.reset()
        assert metric.n_evaluated == 0

    def test_no_graph_is_kept(self):
        z, phi, w, *_ = case()
        metric = RelativeSharpness()
        value = metric(z.requires_grad_(), phi, w.requires_grad_())
        assert not value.requires_grad
        assert not metric.total.requires_grad

    def test_nan_is_not_hidden(self):
        z, phi, w, *_ = case()
        z[3, 0] = torch.nan
        metric = RelativeSharpness()
        metric.update(z, phi, w)
        assert metric.compute().isnan()

    def test_bad_input(self):
        with pytest.raises(UnknownNameError, match="did you mean 'paper'"):
            RelativeSharpness(definition="papr")
        with pytest.raises(InputError, match="`weight`"):
            RelativeSharpness().update(torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2, 4))


class TestLossChangeRobustness:
    @pytest.mark.parametrize("attacks", [None, 1, 3])
    @pytest.mark.parametrize("masked", [False, True])
    def test_is_the_score(self, attacks, masked):
        z, _, _, z_adv, y = case(attacks=attacks)
        inside = torch.rand(z_adv.shape[:-1], generator=torch.Generator().manual_seed(1)) < 0.6
        z[2], z_adv[..., 5, 0] = torch.nan, torch.nan
        if attacks == 3:
            z_adv[1, 7, 0], z_adv[0, 9, int(y[9])] = torch.nan, -torch.inf
        inside = inside if masked else None
        done = (
            torch.rand(z_adv.shape[:-1], generator=torch.Generator().manual_seed(2)) < 0.7 if masked else None
        )
        for epsilon in (0.0, 0.5, 2.0):
            metric = LossChangeRobustness(epsilon=epsilon)
            for rows in (slice(0, 15), slice(15, 40)):
                mask = inside if inside is None else inside[..., rows]
                finished = done if done is None else done[..., rows]
                metric.update(z[rows], z_adv[..., rows, :], y[rows], mask, finished)
            expected = loss_change_robustness_score(
                y, z, z_adv, epsilon=epsilon, admissible=inside, finished=done
            )
            assert float(metric.compute()) == near(expected, "value")
            assert 0 < expected < 1
            known = np.ones(40, bool) if done is None else np.atleast_2d(done.numpy()).any(axis=0)
            assert metric.n_evaluated == (known | (np.arange(40) == 2)).sum()

    def test_one_hot_and_logistic(self):
        z, _, _, z_adv, y = case()
        values = [LossChangeRobustness(epsilon=0.5)(z, z_adv, t) for t in (y, torch.eye(4)[y])]
        assert values[0] == values[1]
        one, two = LossChangeRobustness(epsilon=0.5), LossChangeRobustness(epsilon=0.5)
        s, t, y = z[:, :1], z_adv[:, :1], y % 2
        one.update(s, t, y)
        two.update(torch.cat([-s / 2, s / 2], 1), torch.cat([-t / 2, t / 2], 1), y)
        assert one.compute() == two.compute()

    def test_nothing_left(self):
        metric = LossChangeRobustness(epsilon=0.5)
        none = torch.zeros(2, dtype=torch.bool)
        metric.update(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, 1]), finished=none)
        assert metric.compute().isnan()

    def test_an_undefined_output_is_not_robust(self):
        metric = LossChangeRobustness(epsilon=0.5)
        metric.update(torch.full((2, 3), torch.nan), torch.zeros(2, 3), torch.tensor([0, 1]))
        metric.update(torch.zeros(2, 3), torch.full((2, 3), torch.nan), torch.tensor([0, 1]))
        assert (metric.robust, metric.n_evaluated) == (0, 4)

    def test_bad_input(self):
        with pytest.raises(InputError, match="`epsilon` must be at least 0"):
            LossChangeRobustness(epsilon=-1)
        metric, z, y = LossChangeRobustness(epsilon=1), torch.zeros(2, 3), torch.tensor([0, 1])
        with pytest.raises(InputError, match=r"`logits_adv` has shape \(3, 3\), expected \(2, 3\)"):
            metric.update(z, torch.zeros(3, 3), y)
        with pytest.raises(InputError, match="`target` has labels from 0 to 7"):
            metric.update(z, z, torch.tensor([0, 7]))
        with pytest.raises(InputError, match=r"`admissible` has shape \(3,\)"):
            metric.update(z, z, y, torch.ones(3, dtype=torch.bool))


def both():
    return [RelativeSharpness(), LossChangeRobustness(epsilon=0.5)]


def fed(metrics, rows=slice(None)):
    z, phi, w, z_adv, y = case()
    metrics[0].update(z[rows], phi[rows], w)
    metrics[1].update(z[rows], z_adv[rows], y[rows])
    return metrics


class TestInTorchmetrics:
    def test_pickle_copy_and_state(self):
        for metric in fed(both()):
            again = pickle.loads(pickle.dumps(metric))
            assert again.compute() == copy.deepcopy(metric).compute() == metric.compute()

    def test_states_are_merged_by_their_sums(self):
        whole, first, second = fed(both()), fed(both(), slice(0, 10)), fed(both(), slice(10, 40))
        for all_, one, two in zip(whole, first, second, strict=True):
            one.merge_state(two)
            torch.testing.assert_close(one.compute(), all_.compute(), **close("head"))

    def test_processes_are_gathered(self):
        """What torchmetrics does with several processes, with their states handed over here."""
        parts = [fed(both(), slice(0, 10)), fed(both(), slice(10, 40))]
        for i, whole in enumerate(fed(both())):
            states = iter(
                [[p[i]._defaults and getattr(p[i], s) for p in parts] for s in parts[0][i]._defaults]
            )
            metric = copy.deepcopy(parts[0][i])
            metric._sync_dist(dist_sync_fn=lambda value, group=None, states=states: next(states))
            torch.testing.assert_close(metric.compute(), whole.compute(), **close("head"))

    def test_collection(self):
        z, phi, w, z_adv, y = case()
        collection = MetricCollection(
            {f"at {i}": LossChangeRobustness(epsilon=e) for i, e in enumerate((0.1, 1.0))}
        )
        collection.update(z, z, y)  # every sample is robust for both, and yet they must not share their state
        collection.update(z, z_adv, y)
        values = collection.compute()
        assert 0.5 < values["at 0"] < values["at 1"] < 1
        flat = MetricCollection({d: RelativeSharpness(definition=d) for d in ("paper", "unsquared")})
        flat.update(z, 0 * phi, w)
        flat.update(z, phi, w)
        assert flat.compute()["paper"] > flat.compute()["unsquared"]

    @pytest.mark.slow
    def test_two_processes(self, tmp_path):
        torch.multiprocessing.spawn(_in_process, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
        expected = [float(m.compute()) for m in fed(both())]
        for rank in range(2):
            np.testing.assert_allclose(np.load(tmp_path / f"{rank}.npy"), expected, **close("head"))


def _in_process(rank, store, folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    metrics = fed(both(), slice(0, 10) if rank == 0 else slice(10, 40))
    np.save(f"{folder}/{rank}.npy", [float(m.compute()) for m in metrics])
    torch.distributed.destroy_process_group()
