"""What every optimizer plug-in must do: torch's contract, and what a study asks beyond it."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR
from torch.optim.swa_utils import SWALR, AveragedModel

from trainables.optimizers import HasGuards, HasRadii, RunsBackward, optimizers

EXTREMES = [0.0, 1e38, -1e38, 3e38, 1e-30, 1e-44, 1.0, -2.0]


class Conformance:
    """Inherit it, name the plug-in, and pytest does the rest:

        class TestMine(Conformance):
            name = "mine"
            fields = {"gamma": 0.01}

    Attributes:
        name: the plug-in's, in the entry-point group `trainables.optimizers`.
        fields: of its settings, with which it trains a small net within 100 steps.
        refuses_sparse_and_complex: it raises for sparse gradients and complex parameters, before anything moved.
        keeps_finite: finite weights and gradients never give a non-finite weight.
        has_foreach: it has a multi-tensor path, chosen by `group["foreach"]`.
        has_decay: its settings have a field `beta`, the weight decay.
        suggests_names: a misspelt argument's error names the nearest argument.
        fills_in_options: a state that lacks an option, being older, loads and takes its default.
        trains_float16_or_refuses: float16 parameters are refused, or they train.

    The last seven are True; set one to False for what a plug-in leaves out, as torch's own SGD does with most.
    """

    name: ClassVar[str]
    fields: ClassVar[dict[str, Any]]
    refuses_sparse_and_complex: ClassVar[bool] = True
    keeps_finite: ClassVar[bool] = True
    has_foreach: ClassVar[bool] = True
    has_decay: ClassVar[bool] = True
    suggests_names: ClassVar[bool] = True
    fills_in_options: ClassVar[bool] = True
    trains_float16_or_refuses: ClassVar[bool] = True

    # Material

    def build(self, params: Any, **fields: Any) -> Any:
        """The plug-in's optimizer over `params`."""
        return optimizers.get(self.name)(**{**self.fields, **fields}).build(params)

    def build_with_decay(self, params: Any) -> Any:
        """The same, with a weight decay where it has one."""
        return self.build(params, **({"beta": 0.1} if self.has_decay else {}))

    def net(self, dtype: torch.dtype = torch.float32) -> Any:
        """A small net with biases and batch norm."""
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 3)).to(dtype)

    def backward(self, optimizer: Any, loss: Tensor) -> None:
        """The backward pass, which the optimizer runs itself where it has a method for it."""
        if isinstance(optimizer, RunsBackward):
            optimizer.backward(loss)
        else:
            torch.autograd.backward(loss)

    def without_loss(self, optimizer: Any) -> Any:
        """An optimizer made ready for gradients that no backward pass gave."""
        return optimizer

    def loss(self, net: nn.Module, seed: int = 0) -> Tensor:
        gen = torch.Generator().manual_seed(seed)
        x = torch.randn(64, 4, generator=gen)
        dtype = next(net.parameters()).dtype
        return cross_entropy(net(x.to(dtype)), x[:, :3].argmax(1))

    def train(self, net: nn.Module, optimizer: Any, seeds: range) -> None:
        for seed in seeds:
            optimizer.zero_grad()
            self.backward(optimizer, self.loss(net, seed))
            optimizer.step()

    def one(self, w: list[list[float]], g: list[list[float]], dtype: torch.dtype = torch.float32) -> nn.Parameter:
        p = nn.Parameter(torch.tensor(w, dtype=dtype))
        p.grad = torch.tensor(g, dtype=dtype)
        return p

    @staticmethod
    def bits(net: nn.Module) -> list[bytes]:
        return [p.detach().contiguous().view(torch.uint8).numpy().tobytes() for p in net.parameters()]

    # From the settings

    def test_the_rate_of_the_settings_is_the_rate_of_the_first_group(self) -> None:
        settings = optimizers.get(self.name)(**self.fields)
        optimizer = settings.build(self.net().parameters())
        assert optimizer.param_groups[0]["lr"] == getattr(settings, settings.rate)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
    def test_descends(self, dtype: torch.dtype) -> None:
        net = self.net(dtype)
        before = self.loss(net).item()
        self.train(net, self.build(net.parameters()), range(100))
        assert self.loss(net).item() < 0.9 * before
        assert all(p.dtype == dtype for p in net.parameters())

    # State

    def test_continues_bit_for_bit_from_a_state_dict(self) -> None:
        net = self.net()
        optimizer = self.build(net.parameters())
        self.train(net, optimizer, range(5))
        saved = io.BytesIO()
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, saved)
        self.train(net, optimizer, range(5, 10))

        loaded = torch.load(io.BytesIO(saved.getvalue()), weights_only=True)
        other = self.net()
        other.load_state_dict(loaded["net"])
        continued = self.build(other.parameters())
        continued.load_state_dict(loaded["optimizer"])
        assert self.bits(other) != self.bits(net)
        self.train(other, continued, range(5, 10))
        assert self.bits(other) == self.bits(net)

    @pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
    def test_a_copy_continues_alike(self, clone: Any) -> None:
        net = self.net()
        optimizer = self.build(net.parameters())
        self.train(net, optimizer, range(3))
        other, copied = clone((net, optimizer))
        self.train(net, optimizer, range(3, 6))
        self.train(other, copied, range(3, 6))
        assert self.bits(other) == self.bits(net)

    def test_loading_leaves_the_state_dict_alone_and_takes_the_parameters_dtype(self) -> None:
        net = self.net()
        optimizer = self.build(net.parameters())
        self.train(net, optimizer, range(3))
        state = optimizer.state_dict()
        kept = copy.deepcopy(state)
        wide = self.net(torch.float64)
        other = self.build(wide.parameters())
        other.load_state_dict(state)
        self.train(wide, other, range(3))
        assert repr(optimizer.state_dict()) == repr(kept)
        tensors = [(p, x) for p, s in other.state.items() for x in s.values() if isinstance(x, Tensor) and x.ndim]
        assert tensors
        assert all(x.dtype == p.dtype for p, x in tensors)

    def test_a_state_dict_of_other_groups_is_refused(self) -> None:
        net = self.net()
        optimizer = self.build(net.parameters())
        with pytest.raises(ValueError, match="different number of parameter groups"):
            optimizer.load_state_dict({"state": {}, "param_groups": []})
        fewer = optimizer.state_dict()
        fewer["param_groups"] = [{**group, "params": group["params"][1:]} for group in fewer["param_groups"]]
        with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
            optimizer.load_state_dict(fewer)

    # Groups and rates

    def test_an_option_of_a_group_overrides_the_default(self) -> None:
        net = self.net()
        before = self.bits(net)
        optimizer = self.build([{"params": [net[0].weight], "lr": 0.0}, {"params": [net[3].weight]}])
        self.train(net, optimizer, range(1))
        after = self.bits(net)
        names = [name for name, _ in net.named_parameters()]
        moved = [name for name, a, b in zip(names, before, after, strict=True) if a != b]
        assert moved == ["3.weight"]

    def test_takes_named_parameters(self) -> None:
        plain, named = self.net(), self.net()
        self.train(plain, self.build(plain.parameters()), range(3))
        self.train(named, self.build(named.named_parameters()), range(3))
        assert self.bits(plain) == self.bits(named)

    def test_a_group_added_later_moves_too(self) -> None:
        net = self.net()
        before = net[3].weight.detach().clone()
        optimizer = self.build(net[0].parameters())
        optimizer.add_param_group({"params": list(net[3].parameters())})
        self.train(net, optimizer, range(1))
        assert not torch.equal(net[3].weight, before)

    def test_a_parameter_given_twice_is_refused(self) -> None:
        net = self.net()
        optimizer = self.build(net.parameters())
        with pytest.raises(ValueError, match="more than one parameter group"):
            optimizer.add_param_group({"params": [net[0].weight]})

    def test_no_parameters_are_refused(self) -> None:
        with pytest.raises(ValueError, match="empty parameter list"):
            self.build([])

    def test_an_empty_group_and_an_empty_tensor_do_no_harm(self) -> None:
        p = nn.Parameter(torch.zeros(0, 3))
        p.grad = torch.zeros(0, 3)
        optimizer = self.build([{"params": []}, {"params": [p]}])
        self.without_loss(optimizer).step()
        assert p.shape == (0, 3)

    def test_a_scheduler_drives_every_rate(self) -> None:
        net = self.net()
        optimizer = self.build(net.parameters())
        first = [group["lr"] for group in optimizer.param_groups]
        scheduler = LambdaLR(optimizer, lambda epoch: [0.0, 0.5, 0.25][epoch])
        before = self.bits(net)
        self.train(net, optimizer, range(1))
        assert self.bits(net) == before, "at rate 0 nothing moves"
        scheduler.step()
        assert [group["lr"] for group in optimizer.param_groups] == [0.5 * lr for lr in first]
        self.train(net, optimizer, range(1))
        assert self.bits(net) != before

    def test_a_negative_rate_is_refused(self) -> None:
        net = self.net()
        optimizer = self.build(net[0].parameters())
        with pytest.raises(ValueError, match=r"(lr = -1|learning rate: -1)"):
            type(optimizer)(net[3].parameters(), lr=-1.0)

    def test_a_rate_may_be_a_tensor_that_changes_in_place(self) -> None:
        plain, filled = self.net(torch.float64), self.net(torch.float64)
        pair = [self.build(net.parameters()) for net in (plain, filled)]
        rates = torch.tensor(1.0, dtype=torch.float64)
        for group in pair[1].param_groups:
            group["lr"] = rates
        for seed, value in enumerate([0.005, 0.0, 0.0025]):
            rates.fill_(value)
            for group in pair[0].param_groups:
                group["lr"] = value
            for net, optimizer in zip((plain, filled), pair, strict=True):
                self.train(net, optimizer, range(seed, seed + 1))
        for a, b in zip(plain.parameters(), filled.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)

    def test_parameters_that_are_no_list_of_leaves_are_refused(self) -> None:
        net = self.net()
        kind = type(self.build(net[0].parameters()))
        with pytest.raises(TypeError, match="should be an iterable of Tensors or dicts"):
            kind(net[3].weight, lr=0.1)
        with pytest.raises(ValueError, match="can't optimize a non-leaf Tensor"):
            kind([net[3].weight * 2], lr=0.1)
        with pytest.raises(TypeError, match=r"(has none; give a list|will change between runs)"):
            kind([{"params": set(net[3].parameters())}], lr=0.1)

    def test_prints_its_groups(self) -> None:
        text = repr(self.build(self.net().parameters()))
        assert "Parameter Group 0" in text
        assert "lr: " in text

    # One group in, one group out

    def halves(self, net: Any) -> tuple[list[Any], list[Any]]:
        """The net's parameters with two dimensions or more, and its biases and norm weights."""
        params = list(net.parameters())
        return [p for p in params if p.ndim > 1], [p for p in params if p.ndim <= 1]

    def first_step(self, of: int, groups: Any, change: Any = None) -> list[Tensor]:
        """How far group `of` of a new net's optimizer moves in one step; `change` is called on the optimizer first.

        `groups` makes the param groups of a net.
        """
        net = self.net(torch.float64)
        optimizer = self.build(groups(net))
        if change:
            change(optimizer)
        before = [p.detach().clone() for p in optimizer.param_groups[of]["params"]]
        self.train(net, optimizer, range(1))
        return [p.detach() - old for p, old in zip(optimizer.param_groups[of]["params"], before, strict=True)]

    def test_a_group_given_is_a_group_in_the_order_given(self) -> None:
        net = self.net()
        one, two = list(net[0].parameters()) + list(net[2].parameters()), list(net[3].parameters())
        optimizer = self.build([{"params": one}, {"params": two, "name": "head"}])
        for group, params in zip(optimizer.param_groups, (one, two), strict=True):
            assert [id(p) for p in group["params"]] == [id(p) for p in params]
        assert optimizer.param_groups[1]["name"] == "head"
        assert len(self.build(net.parameters()).param_groups) == 1

    def test_a_scheduler_takes_one_function_a_group(self) -> None:
        net = self.net()
        optimizer = self.build([{"params": net[0].parameters()}, {"params": net[3].parameters()}])
        rates = [group["lr"] for group in optimizer.param_groups]
        LambdaLR(optimizer, [lambda _: 0.5, lambda _: 0.25])
        assert [group["lr"] for group in optimizer.param_groups] == [0.5 * rates[0], 0.25 * rates[1]]

    def test_a_rate_stated_in_a_group_of_biases_is_theirs(self) -> None:
        def groups(rate: float) -> Any:
            return lambda net: [{"params": self.halves(net)[0]}, {"params": self.halves(net)[1], "lr": rate}]

        full, half = (self.first_step(1, groups(rate)) for rate in (0.5, 0.25))
        for a, b in zip(full, half, strict=True):
            torch.testing.assert_close(a, 2 * b)

    def test_a_decay_stated_in_a_group_of_biases_is_theirs(self) -> None:
        if not self.has_decay:
            pytest.skip("has no weight decay")
        shares = []
        for decay in (0.3, 0.15):
            wide, thin = self.one([[1.0]], [[0.0]]), nn.Parameter(torch.ones(1))
            thin.grad = torch.zeros(1)
            groups = [{"params": [wide]}, {"params": [thin], "lr": 0.5, "weight_decay": decay}]
            self.without_loss(self.build(groups)).step()
            shares.append(1 - thin.item())
        assert shares[0] == pytest.approx(2 * shares[1])
        assert shares[1] > 0

    def test_every_tensor_of_a_group_follows_its_rate(self) -> None:
        """Lightning's BackboneFinetuning adds a group and then drives `param_groups[-1]` alone."""

        def unfreeze(factor: float) -> Any:
            def change(optimizer: Any) -> None:
                optimizer.param_groups[-1]["lr"] *= factor

            return change

        def groups(net: Any) -> Any:
            return [{"params": net[3].parameters()}, {"params": net[:3].parameters(), "lr": 1e-3}]

        whole, eighth, none = (self.first_step(-1, groups, unfreeze(factor)) for factor in (1, 0.125, 0))
        for a, b, c in zip(whole, eighth, none, strict=True):
            torch.testing.assert_close(a, 8 * b, rtol=1e-5, atol=1e-12)
            assert not c.any()

    def test_groups_that_a_wrapper_filled_in_mean_the_same(self) -> None:
        """ZeroRedundancyOptimizer and SAM write the constructor's rate and decay into every group."""
        nets = [self.net(), self.net()]
        plain, filled = ([{"params": half} for half in self.halves(net)] for net in nets)
        pair = [self.build(plain)]
        usual = {key: pair[0].defaults[key] for key in ("lr", "weight_decay") if key in pair[0].defaults}
        pair.append(self.build([{**group, **usual} for group in filled]))
        for net, optimizer in zip(nets, pair, strict=True):
            self.train(net, optimizer, range(3))
        assert self.bits(nets[0]) == self.bits(nets[1])

    def test_one_cycle_drives_every_tensor(self) -> None:
        def cycle(optimizer: Any) -> None:
            rate = optimizer.param_groups[0]["lr"]
            OneCycleLR(optimizer, max_lr=rate, total_steps=10, div_factor=4, cycle_momentum=False)

        full, quarter = (self.first_step(0, lambda net: net.parameters(), change) for change in (None, cycle))
        for a, b in zip(full, quarter, strict=True):
            torch.testing.assert_close(a, 4 * b, rtol=1e-5, atol=1e-12)

    def test_trains_through_one_cycle_whose_momentum_falls_and_rises(self) -> None:
        net = self.net()
        optimizer = self.build(net.parameters())
        cycles = "momentum" in optimizer.defaults or "betas" in optimizer.defaults
        rate, before = optimizer.param_groups[0]["lr"], self.loss(net).item()
        scheduler = OneCycleLR(optimizer, max_lr=rate, total_steps=100, cycle_momentum=cycles)
        for seed in range(99):
            self.train(net, optimizer, range(seed, seed + 1))
            scheduler.step()
        assert self.loss(net).item() < 0.9 * before

    def test_a_rate_of_0_at_construction_waits(self) -> None:
        net = self.net()
        before = self.bits(net)
        optimizer = self.build([{"params": net.parameters(), "lr": 0.0}])
        self.train(net, optimizer, range(2))
        assert self.bits(net) == before
        optimizer.param_groups[0]["lr"] = 0.01
        self.train(net, optimizer, range(1))
        assert all(a != b for a, b in zip(before, self.bits(net), strict=True)), "every tensor moves"
        assert all(p.isfinite().all() for p in net.parameters())

    def test_averages_of_weights_and_their_schedule_work(self) -> None:
        net = self.net()
        optimizer = self.build(net.parameters())
        averaged = AveragedModel(net)
        scheduler = SWALR(optimizer, swa_lr=1e-3, anneal_epochs=2)
        for seed in range(4):
            self.train(net, optimizer, range(seed, seed + 1))
            averaged.update_parameters(net)
            scheduler.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)
        assert self.bits(averaged.module) != self.bits(net)

    def test_a_scaled_loss_gives_the_same_bits(self) -> None:
        nets = [self.net(), self.net()]
        plain, scaled = (self.build(net.parameters()) for net in nets)
        if isinstance(plain, RunsBackward):
            pytest.skip("runs the backward pass itself, which wants the loss as it is")
        scaler = GradScaler("cpu")
        self.train(nets[0], plain, range(3))
        for seed in range(3):
            scaled.zero_grad()
            torch.autograd.backward(scaler.scale(self.loss(nets[1], seed)))
            scaler.step(scaled)
            scaler.update()
        assert self.bits(nets[0]) == self.bits(nets[1])

    # Arguments and options

    def test_a_misspelt_argument_is_refused_with_the_nearest_name(self) -> None:
        net = self.net()
        kind = type(self.build(net.parameters()))
        nearest = "did you mean 'lr'" if self.suggests_names else ""
        with pytest.raises(TypeError, match=rf"unexpected keyword argument 'lrr'.*{nearest}"):
            kind(net.parameters(), lrr=0.1)

    def test_an_older_state_that_lacks_options_takes_their_defaults(self) -> None:
        if not self.fills_in_options:
            pytest.skip("does not")
        net, other = self.net(), self.net()
        optimizer, continued = self.build(net.parameters()), self.build(other.parameters())
        self.train(net, optimizer, range(3))
        state = copy.deepcopy(optimizer.state_dict())
        (group,) = state["param_groups"]
        kept = ("params", "lr", "steps", "seed")
        state["param_groups"] = [{key: value for key, value in group.items() if key in kept}]
        continued.load_state_dict(state)
        assert continued.param_groups[0].keys() >= group.keys()
        other.load_state_dict(net.state_dict())
        self.train(net, optimizer, range(3, 6))
        self.train(other, continued, range(3, 6))
        assert self.bits(other) == self.bits(net)

    # What is printed

    def test_guards_and_radii_are_names_and_numbers(self) -> None:
        net = self.net()
        for params, names in (
            (list(net.named_parameters()), [name for name, _ in net.named_parameters()]),
            (list(net.parameters()), [f"0.{place}" for place in range(6)]),
        ):
            optimizer = self.build(params)
            self.train(net, optimizer, range(2))
            if isinstance(optimizer, HasGuards):
                guards = optimizer.guards(reset=True)
                assert all(list(counts) == names for counts in guards.values())
                assert all(type(count) is int for counts in guards.values() for count in counts.values())
            if isinstance(optimizer, HasRadii):
                radii = optimizer.radii()
                assert set(radii) <= set(names)
                assert all(type(radius) is float for radius in radii.values())

    # The step

    def test_descends_rosenbrocks_valley_at_a_rate_of_its_own(self) -> None:
        def value(p: Tensor) -> Any:
            x, y = p[0]
            return (1 - x) ** 2 + 100 * (y - x**2) ** 2

        ends = []
        for rate in (1e-5, 1e-4, 1e-3):
            p = self.one([[1.5, 1.5]], [[0.0, 0.0]])
            optimizer = self.build([p])
            optimizer.param_groups[0]["lr"] = rate
            for _ in range(200):
                optimizer.zero_grad()
                self.backward(optimizer, value(p))
                optimizer.step()
            ends.append(float(value(p).detach()))
        assert min(ends) < 28, "it began at 56"

    def test_hooks_run_around_the_step(self) -> None:
        net, seen = self.net(), []
        optimizer = self.build(net.parameters())
        before = self.bits(net)
        optimizer.register_step_pre_hook(lambda *_: seen.append(self.bits(net) == before))
        optimizer.register_step_post_hook(lambda *_: seen.append(self.bits(net) == before))
        optimizer.register_state_dict_post_hook(lambda _, state: {**state, "note": 1})
        self.train(net, optimizer, range(1))
        assert seen == [True, False]
        assert optimizer.state_dict()["note"] == 1

    @pytest.mark.parametrize("to_none", [False, True])
    def test_zero_grad_forgets_or_zeroes(self, to_none: bool) -> None:
        net = self.net()
        optimizer = self.build(net.parameters())
        self.train(net, optimizer, range(2))
        optimizer.zero_grad(set_to_none=to_none)
        grads = [p.grad for p in net.parameters()]
        assert all(g is None if to_none else not g.any() for g in grads)

    def test_a_step_without_gradients_moves_nothing(self) -> None:
        net = self.net()
        before = self.bits(net)
        self.build_with_decay(net.parameters()).step()
        assert self.bits(net) == before

    def test_returns_the_closures_loss_taken_with_gradients_on(self) -> None:
        net = self.net()
        optimizer = self.build(net.parameters())
        before = self.bits(net)

        def closure() -> Tensor:
            assert torch.is_grad_enabled()
            optimizer.zero_grad()
            loss = self.loss(net)
            self.backward(optimizer, loss)
            return loss.detach()

        expected = self.loss(self.net()).item()
        with torch.no_grad():
            assert float(optimizer.step(closure)) == expected
        assert self.bits(net) != before

    def test_gradients_stay_as_they_are(self) -> None:
        net = self.net()
        optimizer = self.build_with_decay(net.parameters())
        for seed in range(3):
            optimizer.zero_grad()
            self.backward(optimizer, self.loss(net, seed))
            kept = [p.grad for p in net.parameters()]
            values = [g.clone() for g in kept if g is not None]
            optimizer.step()
            assert all(p.grad is g for p, g in zip(net.parameters(), kept, strict=True))
            assert all(torch.equal(p.grad, v) for p, v in zip(net.parameters(), values, strict=True))

    def test_a_parameter_without_a_gradient_stays(self) -> None:
        net = self.net()
        net[0].weight.requires_grad_(False)
        before = net[0].weight.clone()
        optimizer = self.build_with_decay(net.parameters())
        self.train(net, optimizer, range(3))
        assert torch.equal(net[0].weight, before)
        assert net[0].weight not in optimizer.state

    def test_multi_tensor_and_single_tensor_paths_agree(self) -> None:
        if not self.has_foreach:
            pytest.skip("has one path")
        nets = {}
        for foreach in (False, True):
            nets[foreach] = net = self.net(torch.float64)
            optimizer = self.build_with_decay(net.parameters())
            for group in optimizer.param_groups:
                group["foreach"] = foreach
            self.train(net, optimizer, range(20))
        for a, b in zip(nets[False].parameters(), nets[True].parameters(), strict=True):
            # A median of signed numbers may enlarge a rounding by thousands.
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)

    def test_a_memory_layout_does_not_matter(self) -> None:
        ends = []
        for layout in (torch.contiguous_format, torch.channels_last):
            gen = torch.Generator().manual_seed(0)
            p = nn.Parameter(torch.randn(3, 4, 5, 5, generator=gen).to(memory_format=layout))
            optimizer = self.build_with_decay([p])
            for _ in range(3):
                p.grad = torch.randn(3, 4, 5, 5, generator=gen)
                self.without_loss(optimizer).step()
            ends.append(p.detach().contiguous())
        torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-7)

    # What it must survive or refuse

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("foreach", [False, True])
    def test_finite_stays_finite(self, dtype: torch.dtype, foreach: bool) -> None:
        if not self.keeps_finite:
            pytest.skip("overflows as torch's do")
        params = [self.one([[w, w, 1.0]], [[g, -g, g]], dtype) for w in EXTREMES for g in EXTREMES]
        params += [nn.Parameter(p.detach()[0].clone()) for p in params]
        for thin, p in zip(params[len(params) // 2 :], params, strict=False):
            assert p.grad is not None
            thin.grad = p.grad[0].clone()
        optimizer = self.build_with_decay(params)
        for group in optimizer.param_groups:
            group["foreach"] = foreach
        for _ in range(20):
            self.without_loss(optimizer).step()
        bad = [p for p in params if not p.isfinite().all()]
        assert not bad

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_non_finite_gradient_reaches_its_weight_and_no_other_tensor(self, value: float) -> None:
        p, other = self.one([[1.0, 2.0]], [[value, 0.5]]), self.one([[1.0, 2.0]], [[1.0, 0.5]])
        self.without_loss(self.build([p, other])).step()
        assert not p[0, 0].isfinite()
        assert other.isfinite().all()

    def test_a_sparse_gradient_is_refused_before_anything_moved(self) -> None:
        if not self.refuses_sparse_and_complex:
            pytest.skip("takes them")
        dense = self.one([[1.0]], [[1.0]])
        table = nn.Embedding(4, 2, sparse=True)
        table(torch.tensor([1])).sum().backward()
        with pytest.raises(RuntimeError, match=r"takes dense gradients, not torch.sparse_coo.*sparse=False"):
            self.without_loss(self.build([dense, table.weight])).step()
        assert dense.item() == 1

    def test_a_complex_parameter_is_refused(self) -> None:
        if not self.refuses_sparse_and_complex:
            pytest.skip("takes them")
        with pytest.raises(TypeError, match=r"real floating-point tensors, not torch.complex64.*view_as_real"):
            self.build([nn.Parameter(torch.zeros(2, 2, dtype=torch.complex64))])

    def test_a_head_of_zeros_trains(self) -> None:
        net = self.net()
        for p in net[3].parameters():
            nn.init.zeros_(p)
        before = self.loss(net).item()
        self.train(net, self.build(net.parameters()), range(100))
        assert self.loss(net).item() < 0.9 * before
        assert net[3].weight.abs().mean() > 0.01

    def test_float16_parameters_are_refused_or_train(self) -> None:
        if not self.trains_float16_or_refuses:
            pytest.skip("does neither")
        net = self.net(torch.float16)
        before = self.loss(net).item()
        try:
            self.train(net, self.build(net.parameters()), range(100))
        except TypeError as refusal:
            assert "float16" in str(refusal)  # noqa: PT017 - training is the other way to pass
        else:
            assert self.loss(net).item() < 0.9 * before
