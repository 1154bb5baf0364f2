"""Items: the rasters of a collection that are processed each on its own, their blocks in one plan."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from raster_analysis.errors import NoOverlap
from raster_analysis.inference.preparation import PREPARATION, Preparation, Request, Settled, make_plan
from raster_analysis.seams import Level
from raster_analysis.tool import Block, BlockResult, Context, Plan


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a plan: its own blocks, on its own grid."""

    name: str
    """Empty when there is only the whole raster."""
    plan: Plan

    def own(self, results: Sequence[BlockResult]) -> list[BlockResult]:
        """Return those of a job's results that are the item's, in the order of its blocks."""
        indexes = {block.index for block in self.plan.blocks}
        return sorted((result for result in results if result.index in indexes), key=lambda result: result.index)


def plan_items(request: Request, context: Context, *, each: bool) -> Plan:
    """Plan a raster as one, or each raster of a collection on its own.

    Items that have nothing in common with extent and mask are left out. The engine is settled with the
    first item that has tiles of a size, so that the same precision serves all of them.

    Raises:
        NoOverlap: no item has a part in what is asked for.
    """
    members = context.handle(request.raster).members
    if not (each and members):
        return make_plan(request, context)
    settled: Settled = {}
    plans: list[tuple[str, Plan]] = []
    missed: NoOverlap | None = None
    for member in members:
        context.report.check_cancelled()
        own = replace(context, handles={**context.handles, request.raster: member}, report=_Quiet(context))
        try:
            plans.append((Path(member.title).name, make_plan(request, own, settled)))
        except NoOverlap as error:
            missed = error
    if missed and not plans:
        raise missed
    return _join(plans, context)


def items_of(plan: Plan) -> list[Item]:
    """Return the items of a plan; the whole raster as one without a name where they are not told apart."""
    if "items" not in plan.state:
        return [Item("", plan)]
    blocks = iter(plan.blocks)
    return [
        Item(
            entry["name"],
            Plan(
                tuple(next(blocks) for _ in range(entry["blocks"])),
                {"preparation": entry["preparation"]},
                plan.memory_bytes,
            ),
        )
        for entry in _entries(plan)
    ]


def preparation_of(plan: Plan, block: Block) -> Preparation:
    """Return what was settled for the raster that a block belongs to."""
    if "items" not in plan.state:
        return PREPARATION.validate_python(plan.state["preparation"], strict=False)
    entries = _entries(plan)
    ends = list(accumulate(entry["blocks"] for entry in entries))
    return PREPARATION.validate_python(entries[bisect_right(ends, block.index)]["preparation"], strict=False)


def _entries(plan: Plan) -> list[dict[str, Any]]:
    entries: Any = plan.state["items"]
    return list(entries)


def _join(plans: Sequence[tuple[str, Plan]], context: Context) -> Plan:
    windows = [block.window for _, plan in plans for block in plan.blocks]
    entries: list[Any] = [
        {"name": name, "blocks": len(plan.blocks), "preparation": plan.state["preparation"]} for name, plan in plans
    ]
    bill = max(plan.memory_bytes for _, plan in plans)
    context.report.message(
        f"Plan: {len(plans)} items, each on its own, in {len(windows)} blocks; {bill / 2**20:.0f} MiB per slot"
    )
    return Plan(tuple(Block(index, window) for index, window in enumerate(windows)), {"items": entries}, bill)


@dataclass(slots=True)
class _Quiet:
    """Passes on warnings only: nobody reads the plans of a thousand items."""

    context: Context

    def message(self, text: str, level: Level = "info") -> None:
        """Pass on what is not information."""
        if level != "info":
            self.context.report.message(text, level)

    def progress(self, fraction: float) -> None:
        """Say nothing: one item's plan is a small part of the whole."""

    def check_cancelled(self) -> None:
        """Raise Cancelled when the job was asked to stop."""
        self.context.report.check_cancelled()
