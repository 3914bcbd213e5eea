"""The likelihood without its soft templates: all that no step of a training changes, made once.

The frame is the likelihood that ``likelihood.build`` makes of some templates. A step puts its own in their place,
those of all samples and variations together: the same is done to each of them as there, in few operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor
from torch.nn.functional import pad

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, Variation
from inferno_cli.histograms.morph import envelope, floored, sides
from inferno_cli.likelihood.build import ChannelTemplates, build
from inferno_cli.likelihood.expectation import Expectation, expectation, rows_of
from inferno_cli.likelihood.spec import Spec
from inferno_cli.names import morph_name
from inferno_cli.training.constants import constant
from inferno_cli.training.soft_templates import Stratum

TINY_YIELD = 1e-9
"""Expected events of each sample in a bin without any."""


@dataclass(frozen=True)
class _Effect:
    """A shape of one sample in one channel.

    Attributes:
        parameter: Its parameter.
        stratum: Number of the sample.
        morph: What becomes of its variations.
        is_free: Whether the parameter has no constraint term.
    """

    parameter: str
    stratum: int
    morph: Morph
    is_free: bool

    @property
    def kind(self) -> object:
        """Effects of one kind are the same function of their variations; an envelope is alone."""
        if len(self.morph.members) > 1:
            return self
        return self.is_free, replace(self.morph, members=(), smooth=None)


@dataclass(frozen=True)
class Frame:
    """A likelihood that waits for the soft templates of S samples in C channels, with K constrained and F free shapes.

    Attributes:
        model: The likelihood, of templates that mean nothing.
        sizes: Sum over the bins of each row that is filled, shape (n_rows,).
        chosen: Rows that are read: nominal, variance, then nominal, up, down of the members of each group.
        lengths: How many of them each of these has.
        groups: The shapes by their kind, those with a constraint first.
        channel: Channel of each template: S nominal ones, up and down of the constrained shapes, then of the free ones.
        channels: Which sample is in which channel, shape (C, S), 0 or 1.
        stratum: Sample of each constrained shape, up and down, shape (2 K,).
        rows: Rows of the samples and of the free shapes in the likelihood, shape (S + F,).
        shapes: Places of the constrained shapes, up and down, in its flattened modifiers, shape (2 K,).
    """

    model: Expectation
    sizes: Tensor
    chosen: Tensor
    lengths: tuple[int, ...]
    groups: tuple[tuple[_Effect, ...], ...]
    channel: Tensor
    channels: Tensor
    stratum: Tensor
    rows: Tensor
    shapes: Tensor

    @classmethod
    def of(
        cls,
        measurement: Measurement,
        strata: Sequence[Stratum],
        fixed: Sequence[ChannelTemplates],
        n_bins: int,
        device: torch.device,
    ) -> Frame:
        """Return the frame of samples with soft bins, and of channels whose bins are fixed."""
        names = list(dict.fromkeys(stratum.channel for stratum in strata))
        groups = _groups(measurement, strata)
        free, constrained = list[_Effect](), list[_Effect]()
        for group in groups:
            (free if group[0].is_free else constrained).extend(group)
        like = torch.ones(n_bins, dtype=torch.float64, device=device)
        soft = [_placeholders(name, strata, [*constrained, *free], like) for name in names]
        spec = build(measurement, [*soft, *(_moved(item, device) for item in fixed)])
        # A soft bin without events has a tiny yield.
        model, number = replace(expectation(spec), fills_all_bins=not fixed), _numbers_of_rows(spec)
        rows = [number[stratum.channel, stratum.name] for stratum in strata]
        n_parameters, n_rows = model.norm_factor.shape
        places = [model.parameters.index(effect.parameter) * n_rows + rows[effect.stratum] for effect in constrained]
        for effect in free:
            of_sample = strata[effect.stratum]
            rows.append(number[of_sample.channel, morph_name(of_sample.name, effect.parameter)])
        sizes: list[float] = []
        for stratum in strata:
            sizes += stratum.sizes
        owners = [*range(len(strata)), *(effect.stratum for effect in (*constrained, *constrained, *free, *free))]
        channel = torch.tensor([names.index(strata[owner].channel) for owner in owners], device=device)
        chosen, lengths = _chosen(strata, groups)
        return cls(
            model=model,
            sizes=like.new_tensor(sizes),
            chosen=torch.tensor(chosen, device=device),
            lengths=tuple(lengths),
            groups=tuple(groups),
            channel=channel,
            channels=(channel[: len(strata)] == torch.arange(len(names), device=device)[:, None]).to(like),
            stratum=torch.tensor(owners[len(strata) : len(strata) + 2 * len(constrained)], device=device).long(),
            rows=torch.tensor(rows, device=device),
            shapes=torch.tensor([*places, *(n_parameters * n_rows + at for at in places)], device=device).long(),
        )

    def filled(self, rows: Tensor, sums: Tensor) -> Expectation:
        """Return the likelihood with templates, differentiable in them.

        Args:
            rows: What is filled, shape (n_rows, n_bins).
            sums: Sum of the weights of each row, shape (n_rows,).
        """
        # Each is scaled to its expected yield.
        rows = rows * (self.sizes / sums)[:, None]
        nominal, variance, *members = torch.split(rows.index_select(0, self.chosen), list(self.lengths))
        templates = torch.cat([nominal, *self._varied(members)])
        # A batch may leave a bin empty where an event is in one alone, and a bin without nominal events says nothing,
        # whatever its variations have: it has a tiny yield then, the same in every variation.
        has = self.channels @ nominal > 0
        templates = torch.where(has if len(has) == 1 else has[self.channel], templates, constant([TINY_YIELD], rows))
        variance = torch.where(has, self.channels @ variance, constant([0.0], rows))
        model = self._with_shapes(templates)
        if not model.gamma.labels:
            return model
        width = (variance.sqrt() / (self.channels @ templates[: len(nominal)])).flatten()
        fixed = self.model.relative_error[len(width) :]
        width = torch.cat([width, fixed]) if len(fixed) else width
        prior = replace(model.gamma.prior, width=width)
        return replace(model, relative_error=width, gamma=replace(model.gamma, prior=prior))

    def _varied(self, members: Sequence[Tensor]) -> list[Tensor]:
        """Return templates up and down of the constrained shapes, then of the free ones, given those of all groups."""
        sides_of: dict[tuple[bool, int], list[Tensor]] = {}
        for number, group in enumerate(self.groups):
            nominal, up, down = members[3 * number : 3 * number + 3]
            morph, is_free = group[0].morph, group[0].is_free
            pair = floored(morph, nominal, sides(morph, nominal, up, down))
            if len(morph.members) > 1:
                pair = envelope(nominal[:1], list(zip(pair[0].split(1), pair[1].split(1), strict=True)))
            for side, values in enumerate(pair):
                sides_of.setdefault((is_free, side), []).append(values)
        varied: list[Tensor] = []
        for key in sorted(sides_of):
            varied += sides_of[key]
        return varied

    def _with_shapes(self, templates: Tensor) -> Expectation:
        """Return the likelihood with the templates of ``channel``, shape (S + 2 K + 2 F, n_bins)."""
        model, n_shapes = self.model, len(self.stratum)
        n_free = (len(templates) - n_shapes - self.channels.shape[1]) // 2
        nominal, pair, up, down = torch.split(templates, [self.channels.shape[1], n_shapes, n_free, n_free])
        rows = torch.cat([nominal, (up - down) / 2]) if n_free else nominal
        n_unused = model.nominal.shape[-1] - templates.shape[-1]
        normsys, histosys = model.normsys, model.histosys
        if n_shapes:
            # Yield and shape apart, as in ``modifiers.NormPlusShape``.
            nominal = nominal.index_select(0, self.stratum)
            ratio = pair.sum(dim=1) / nominal.sum(dim=1)
            change = _widened(pair / ratio[:, None] - nominal, n_unused)
            normsys = normsys.flatten().index_copy(0, self.shapes, ratio).view_as(normsys)
            histosys = histosys.flatten(0, 2).index_copy(0, self.shapes, change).view_as(histosys)
        rows = model.nominal.index_copy(0, self.rows, _widened(rows, n_unused))
        return replace(model, nominal=rows, normsys=normsys, histosys=histosys)


def _widened(templates: Tensor, n_bins: int) -> Tensor:
    """Return templates with so many bins of nothing behind the others, as in a likelihood with larger channels."""
    return pad(templates, (0, n_bins)) if n_bins else templates


def _groups(measurement: Measurement, strata: Sequence[Stratum]) -> list[tuple[_Effect, ...]]:
    """Return the shapes of all samples in groups of one kind, those with a constraint first."""
    groups: dict[object, list[_Effect]] = {}
    for number, stratum in enumerate(strata):
        for parameter, by_sample in measurement.within(stratum.channel).shapes.items():
            if (morph := by_sample.get(stratum.name)) is not None:
                effect = _Effect(parameter, number, morph, parameter in measurement.unconstrained)
                groups.setdefault(effect.kind, []).append(effect)
    return sorted((tuple(group) for group in groups.values()), key=lambda group: group[0].is_free)


def _chosen(strata: Sequence[Stratum], groups: Sequence[Sequence[_Effect]]) -> tuple[list[int], list[int]]:
    """Return the rows that are read, and how many of them each part has (see ``Frame``)."""
    at: dict[tuple[int, Variation | None], int] = {}
    for number, stratum in enumerate(strata):
        for label in stratum.labels:
            at[number, label] = len(at)
    parts: list[list[int]] = [[], []]
    for number in range(len(strata)):
        parts[0].append(at[number, NOMINAL])
        parts[1].append(at[number, None])
    for group in groups:
        base, up, down = list[int](), list[int](), list[int]()
        for effect in group:
            for member in effect.morph.members:
                base.append(at[effect.stratum, NOMINAL])
                for side, direction in zip((up, down), DIRECTIONS, strict=True):
                    side.append(at[effect.stratum, Variation(member, direction)])
        parts += [base, up, down]
    return list(chain.from_iterable(parts)), [len(part) for part in parts]


def _placeholders(
    channel: str, strata: Sequence[Stratum], effects: Sequence[_Effect], like: Tensor
) -> ChannelTemplates:
    """Return templates of one channel that are all ``like``, shape (B,)."""
    names = tuple(stratum.name for stratum in strata if stratum.channel == channel)
    varied = {}
    for effect in effects:
        if strata[effect.stratum].channel == channel:
            varied[effect.parameter, strata[effect.stratum].name] = like, like
    all_alike = like.expand(len(names), -1)
    return ChannelTemplates(channel, names, all_alike, all_alike, varied)


def _moved(channel: ChannelTemplates, device: torch.device) -> ChannelTemplates:
    """Return templates on a device; those that are there are not copied."""
    varied = {key: (up.to(device), down.to(device)) for key, (up, down) in channel.varied.items()}
    nominal, variance = channel.nominal.to(device), channel.variance.to(device)
    return ChannelTemplates(channel.name, channel.samples, nominal, variance, varied)


def _numbers_of_rows(spec: Spec) -> dict[tuple[str, str], int]:
    """Return the row of each sample of each channel, and of each free shape."""
    numbers: dict[tuple[str, str], int] = {}
    for channel in spec.channels:
        for sample in rows_of(channel):
            numbers[channel.name, sample.name] = len(numbers)
    return numbers
