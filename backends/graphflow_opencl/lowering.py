"""From a Program to a Plan: which instructions are kernels, which run on the host, which cost nothing.

Policy: fusion groups are kernels of their own, everything else asks the table of rules; what has no rule, a dtype
that kernels do not work on, or a shape that is not known runs on the host, with the reason kept for `explain`.
Consecutive instructions of the host are one task.  A variable is read without a copy wherever nothing writes it
before the last use of what was read.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.errors import InvalidArgumentError
from graphflow.program import Group, Instruction, Program
from graphflow.spec import is_concrete, nbytes, numel
from graphflow_opencl import fused, hosting, line_sets, line_text, line_work, merging, preferences
from graphflow_opencl.arranging import arranged, in_program_order
from graphflow_opencl.convolution import conv_launches
from graphflow_opencl.devices import Device
from graphflow_opencl.epilogues import Epilogue, epilogues
from graphflow_opencl.facts import BY_STATE, FLOW, IN_PLACE, NOTHING, NUMERIC, STATEFUL, VIEWS, facts_of
from graphflow_opencl.plan import CONTROL, HOST, KERNELS, STATE, Node, Plan, homes_of, without_milestones
from graphflow_opencl.products import matmul_launches
from graphflow_opencl.table import HOST as REASONS
from graphflow_opencl.table import RULES, Launch, Site
from graphflow_opencl.write_sets import WriteSet, write_sets

# What can apply a bias and an activation where it stores its result.
STORING: dict[str, Any] = {"MatMul": matmul_launches, "Conv2D": conv_launches}
MOST_MERGED = 16 << 20  # bytes that a launch moves to be merged with others


class Lowering:
    """One program on its way to a plan."""

    def __init__(self, program: Program, device: Device, soft: bool, one_by_one: bool = False) -> None:
        self.device = device
        self.soft = soft  # what the device lacks may be done by the host
        self.values = list(program.values)
        self._one_by_one = one_by_one  # each instruction a node, in the program's order: someone follows it
        self._line_sets: Sequence[line_sets.LineSet] = ()
        if not one_by_one:
            program, self._line_sets = line_sets.gathered(program, self.values, self._takes, self._enough)
        self.program = program
        self._facts = facts = facts_of(program)
        self.values = list(facts.values)
        self.fixed: dict[int, Any] = dict(program.constants)
        self.homes: dict[int, int] = {}
        self.variables = facts.variables
        self.nodes: list[Node] = []
        self.must_hold: list[tuple[int, Instruction]] = []
        self._held: set[int] = set()  # handles that have a value for sure at this point
        self._touched: set[int] = set()  # handles that a branch or a loop may have given one
        self._calls_user = any(hosting.calls_user(ins) for ins in program.instructions)

    def plan(self) -> Plan:
        """The program's plan."""
        groups = {g.begin: g for g in self.program.groups}
        lines = {found.begin: found for found in self._line_sets}
        taken = {p for found in self._line_sets for p in range(found.begin, found.end)}
        found_folds = () if self._one_by_one else self._folds()
        folds = {f.positions[-1]: f for f in found_folds if taken.isdisjoint(f.positions)}
        waiting = {p for f in folds.values() for p in f.positions}
        found_ends = {} if self._one_by_one else self._epilogues()
        ends = {p: e for p, e in found_ends.items() if (waiting | taken).isdisjoint(e.positions)}
        waiting |= {p for e in ends.values() for p in e.positions}
        position, instructions = 0, self.program.instructions
        while position < len(instructions):
            group = groups.get(position)
            if position in folds:
                self._add_fold(folds[position])
                position += 1
            elif position in ends:
                self._add_epilogue(ends[position])
                position += 1
            elif position in waiting:
                position += 1
            elif position in lines and self._add_lines(lines[position]):
                position = lines[position].end
            elif group is not None and self._add_group(group):
                position = group.end
            else:
                self._add(position, instructions[position])
                position += 1
        return self._finished()

    def _takes(self, ins: Instruction) -> bool:
        return self._fits(ins) and not hosting.asked_for(ins)

    def _enough(self, split: line_sets.Split) -> bool:
        return line_text.enough_lines(split, self.device.traits)

    def _add_lines(self, found: line_sets.LineSet) -> bool:
        """One kernel for all that is done with the lines of an array."""
        instructions = self.program.instructions[found.begin : found.end]
        work = line_work.work_of(found, self.program, self._facts.readers, self.values, self.fixed)
        launch = line_text.line_launch(work, self.device.traits)
        if launch is None:
            return False
        self._add_kernels(instructions, tuple(work.operands), work.outputs, [launch])
        return True

    def _folds(self) -> list[WriteSet]:
        """Updates that are computed and written by one kernel."""

        def pointwise(ins: Instruction) -> bool:
            return fused.is_pointwise(ins.type) and self._fits(ins) and not hosting.asked_for(ins)

        return write_sets(self.program, self.values, self.variables, pointwise)

    def _epilogues(self) -> dict[int, Epilogue]:
        """Products of the device that store what a bias and an activation make of them."""
        products = []
        for position, ins in enumerate(self.program.instructions):
            here = ins.type in STORING and ins.attrs.get("data_format", "NHWC") == "NHWC" and not ins.after
            here = here and self._fits(ins) and not hosting.asked_for(ins)
            if here and not preferences.host_is_better(ins, self.values, self.device):
                products.append(position)
        barriers = {p for positions in self._facts.writes.values() for p in positions}
        return epilogues(self.program, self.values, self._facts.readers, products, barriers)

    def _add_epilogue(self, found: Epilogue) -> None:
        instructions = self.program.instructions
        ins, steps = instructions[found.product], instructions[found.begin : found.end]
        preferences.tune_for(ins, self.values, self.device)
        launches = STORING[ins.type](self.site(ins), found.bias, found.activation, found.result)
        if launches is None:
            for position in (found.product, *range(found.begin, found.end)):
                self._add(position, instructions[position])
            return
        reads = [*ins.inputs, *([] if found.bias is None else [found.bias])]
        self._add_kernels((ins, *steps), reads, (found.result,), launches)

    def _add_fold(self, fold: WriteSet) -> None:
        instructions = self.program.instructions
        members = [instructions[p] for p in fold.positions]
        changes = [instructions[p] for p in sorted(fold.updates)]
        made = {v for ins in members for v in ins.outputs}
        results = {ins.outputs[0] for ins in changes if ins.outputs}
        outside = [v for v in made - results if self._read_elsewhere(v, fold)]
        steps, updates = self._update_steps(changes)
        by_key = {step.key: step for step in steps}
        whole = [by_key.get(ins.key, ins) for ins in members]
        launches = fused.group_launches(whole, outside, self.values, self.fixed, self.device.traits, updates)
        if launches is None or len(launches) != 1:  # written in one pass, or what is read again has changed
            for position in fold.positions:
                self._add(position, instructions[position])
            return
        for ins in changes:
            if ins.type != "Assign":
                self._require_value(ins.inputs[0], ins)
            self._held.add(ins.inputs[0])
        reads = [v for ins in members for v in ins.inputs if v not in made]
        self._add_kernels(members, reads, (*outside, *updates.values()), launches)
        for ins in changes:
            self._hand_out(fold.positions[-1], ins, ins.inputs[0])

    def _read_elsewhere(self, v: int, fold: WriteSet) -> bool:
        return v in self.program.fetches or not self._facts.readers.get(v, set()) <= set(fold.positions)

    def _update_steps(self, changes: Sequence[Instruction]) -> tuple[list[Instruction], dict[int, int]]:
        """The updates as pointwise instructions on the variables' memory: made value -> handle."""
        steps, updates = [], {}
        for ins in changes:
            handle, value = ins.inputs
            made = ins.outputs[0] if ins.outputs and ins.outputs[0] >= 0 else len(self.values)
            if made == len(self.values):
                self.values.append(self.values[handle])
            kind = IN_PLACE[ins.type]
            inputs = (value,) if kind == "Identity" else (handle, value)
            steps.append(Instruction(ins.key, kind, inputs, (made,), {}, (), ins.op))
            updates[made] = handle
        return steps, updates

    # -- nodes -----------------------------------------------------------------------------------------------------

    def _add_group(self, group: Group) -> bool:
        instructions = self.program.instructions[group.begin : group.end]
        if not all(self._fits(ins) for ins in instructions) or any(hosting.asked_for(ins) for ins in instructions):
            return False
        launches = fused.group_launches(instructions, group.outputs, self.values, self.fixed, self.device.traits)
        if launches is None:
            return False
        made = {v for ins in instructions for v in ins.outputs}
        reads = [v for ins in instructions for v in ins.inputs if v not in made]
        self._add_kernels(instructions, reads, group.outputs, launches)
        return True

    def _add(self, position: int, ins: Instruction) -> None:
        kind = ins.type
        if kind in NOTHING:
            self._add_nothing(ins)
        elif kind in VIEWS and self._is_view(ins):
            for v, source in zip(ins.outputs, ins.inputs, strict=False):
                if v >= 0:
                    self._alias(v, source)
            self._add_milestone(ins)
        elif kind in FLOW:
            self._add_node(CONTROL, ins, "a conditional or loop is driven from the host; its body runs on the device")
        elif ins.inputs and ins.inputs[0] in self.variables and kind in STATEFUL:
            self._add_state(position, ins)
        else:
            self._add_plain(ins)

    def _add_nothing(self, ins: Instruction) -> None:
        if ins.type == "Const":
            self.fixed[ins.outputs[0]] = ins.attrs["value"]
        self._add_milestone(ins)

    def _add_milestone(self, ins: Instruction) -> None:
        """What does nothing may still be waited for."""
        if ins.after or ins.key in self._facts.awaited:
            reads = homes_of(self.homes, [v for v in ins.inputs if v not in self.fixed])
            self.nodes.append(Node(KERNELS, (ins,), reads, ()))

    def _is_view(self, ins: Instruction) -> bool:
        """Whether the results have the bytes of the inputs at the same place; one that waits for others is a copy."""
        if ins.after and fused.is_pointwise(ins.type):
            return False
        for v, source in zip(ins.outputs, ins.inputs, strict=False):
            if v < 0:
                continue
            a, b = self.values[source], self.values[v]
            if a.dtype.kind not in NUMERIC or b.dtype.kind not in NUMERIC:
                return False
            if not is_concrete(a.dims) or not is_concrete(b.dims):
                return False
            if numel(a.dims) * a.dtype.size != numel(b.dims) * b.dtype.size or a.dtype.is_bool != b.dtype.is_bool:
                return False
        return True

    def _alias(self, v: int, source: int) -> None:
        if source in self.fixed:
            dims = self.values[v].dims
            value = np.ascontiguousarray(self.fixed[source]).view(self.values[v].dtype.np).reshape(dims)  # type: ignore[arg-type]
            self.fixed[v] = value if dims else value[()]
        else:
            self.homes[v] = self.homes.get(source, source)

    def _add_plain(self, ins: Instruction) -> None:
        reason = "it was placed on the CPU" if hosting.asked_for(ins) else ""
        if not reason and not self._fits(ins):
            reason = "kernels work on numbers of known shapes"
        reason = reason or preferences.host_is_better(ins, self.values, self.device)
        if not reason:
            launches = self._launches(ins)
            if launches is not None:
                self._add_kernels((ins,), ins.inputs, ins.outputs, launches)
                return
            reason = REASONS.get(ins.type, "there is no kernel for these inputs")
        self._add_node(HOST, ins, reason)

    def _launches(self, ins: Instruction) -> Sequence[Launch] | None:
        rule = RULES.get(ins.type)
        if rule is not None:
            preferences.tune_for(ins, self.values, self.device)
            return rule(self.site(ins))
        if fused.is_pointwise(ins.type) and len(ins.outputs) == 1:
            return fused.group_launches((ins,), ins.outputs, self.values, self.fixed, self.device.traits)
        return None

    def site(self, ins: Instruction) -> Site:
        """What a rule sees."""
        constants = tuple(
            np.asarray(self.fixed[v]) if v in self.fixed and self.fixed[v] is not None else None for v in ins.inputs
        )
        return Site(
            ins,
            tuple(self.values[v] for v in ins.inputs),
            tuple(self.values[v] if v >= 0 else None for v in ins.outputs),
            constants,
            self.device.traits,
        )

    def _fits(self, ins: Instruction) -> bool:
        """Whether kernels can work on all that the instruction reads and makes."""
        for v in (*ins.inputs, *ins.outputs):
            if v < 0:
                continue
            known = self.values[v]
            if known.dtype.kind not in NUMERIC or not is_concrete(known.dims):
                return False
            if known.dtype.name == "float64" and not self.device.traits.doubles:
                self._refuse_doubles(ins)
                return False
        return True

    def _refuse_doubles(self, ins: Instruction) -> None:
        if not self.soft:
            raise InvalidArgumentError(
                f"{self.device.cl.name.strip()} has no float64 arithmetic",
                op=ins.op,
                expected="float32, or tf.ConfigProto(allow_soft_placement=True), which computes it on the host",
                got="float64",
            )

    def _add_kernels(
        self,
        instructions: Sequence[Instruction],
        reads: Sequence[int],
        writes: Sequence[int],
        launches: Sequence[Launch],
    ) -> None:
        if not launches and not any(ins.after for ins in instructions):
            return
        node = Node(
            KERNELS,
            tuple(instructions),
            homes_of(self.homes, [v for v in reads if v not in self.fixed]),
            homes_of(self.homes, writes),
            tuple(launches),
        )
        self.nodes.append(node)

    def _add_node(self, kind: str, ins: Instruction, reason: str) -> None:
        reads = homes_of(self.homes, [v for v in ins.inputs if v not in self.fixed])
        touched = [v for v in ins.inputs if v in self.variables]
        if kind == CONTROL:
            self._touched.update(touched)
        for handle in touched:
            if kind == HOST and ins.type not in BY_STATE:
                self._require_value(handle, ins)
        self.nodes.append(Node(kind, (ins,), reads, homes_of(self.homes, [*ins.outputs, *touched]), (), reason))

    # -- variables -------------------------------------------------------------------------------------------------

    def _require_value(self, handle: int, ins: Instruction) -> None:
        """The variable must hold a value here: told before the run, or after a branch that may have given it one."""
        if handle in self._held:
            return
        if handle in self._touched:
            step = Instruction(ins.key, "IsHeld", (handle,), (), {}, ins.after, ins.op)
            self.nodes.append(Node(STATE, (step,), (handle,), (handle,)))
        else:
            self.must_hold.append((handle, ins))
        self._held.add(handle)

    def _add_state(self, position: int, ins: Instruction) -> None:
        handle = ins.inputs[0]
        if ins.type in BY_STATE:
            self._add_node(STATE, ins, "whether a variable has a value is known to the host alone")
            return
        if ins.type != "Assign":
            self._require_value(handle, ins)
        if ins.type == "ReadVariable":
            self._hand_out(position, ins, handle)
            return
        launches = self._update(ins, handle)
        if launches is None or not launches and ins.type == "Assign":  # without elements it has a value, too
            self._add_node(STATE if ins.type == "Assign" else HOST, ins, "an update that has no kernel")
            if ins.type == "Assign":  # another task of the host returns its result itself
                self._held.add(handle)
                self._copy_out(ins, handle)
            return
        self._held.add(handle)
        self._add_kernels((ins,), (handle, *ins.inputs[1:]), (handle,), launches)
        self._hand_out(position, ins, handle)

    def _update(self, ins: Instruction, handle: int) -> Sequence[Launch] | None:
        variable = self.values[handle]
        if not all(is_concrete(self.values[v].dims) for v in ins.inputs[1:]):
            return None
        if ins.type not in IN_PLACE:
            rule = RULES.get(ins.type)
            return None if rule is None else rule(self.site(ins))
        if self.values[ins.inputs[1]].dims != variable.dims:
            return None
        steps, updates = self._update_steps([ins])
        return fused.group_launches(steps, (), self.values, self.fixed, self.device.traits, updates)

    def _hand_out(self, position: int, ins: Instruction, handle: int) -> None:
        """The result of a read or an update: the variable's own memory, if that stays as it is for long enough."""
        v = ins.outputs[0] if ins.outputs else -1
        if v < 0:
            return
        last = self._facts.last_use.get(v, -1)
        later = [w for w in self._facts.writes.get(handle, ()) if w > position]
        at_risk = [w for w in later if w < last or (w == last and not self._reads_first(w))]
        if at_risk or self._calls_user:
            self._copy_out(ins, handle)
        else:
            self.homes[v] = handle
            if ins.type == "ReadVariable":
                self._add_milestone(ins)

    def _reads_first(self, position: int) -> bool:
        return self.program.instructions[position].type in IN_PLACE

    def _copy_out(self, ins: Instruction, handle: int) -> None:
        v = ins.outputs[0] if ins.outputs else -1
        if v < 0:
            return
        step = Instruction(ins.key, "Identity", (handle,), (v,), {}, ins.after, ins.op)
        launches = fused.group_launches((step,), (v,), self.values, self.fixed, self.device.traits)
        assert launches is not None
        self._add_kernels((step,), (handle,), (v,), launches)

    # -- the end ---------------------------------------------------------------------------------------------------

    def _mergeable(self, launch: Launch) -> bool:
        """Whether a launch is small enough: others are no quicker together, and keep what they read in memory."""
        moved = sum(nbytes(self.values[a]) or 0 for a in launch.arguments if type(a) is int)
        return moved <= MOST_MERGED and merging.fits(launch)

    def _finished(self) -> Plan:
        if self._one_by_one:
            order = in_program_order(self.nodes)
        else:
            order = arranged(
                self.nodes, lambda v: self.homes.get(v, v), self._mergeable, merging.merged, merging.scratch_written
            )
        nodes, before = without_milestones(order)
        on_host = set()
        for node in nodes:
            for v in node.writes:
                known = self.values[v]
                if known.dtype.kind not in NUMERIC or not is_concrete(known.dims):
                    on_host.add(v)
        for v in self.program.feeds:
            known = self.values[v]
            if v not in self.variables and (known.dtype.kind not in NUMERIC or not is_concrete(known.dims)):
                on_host.add(v)
        return Plan(
            self.program, self.values, nodes, before, self.homes, self.fixed, self.variables, frozenset(on_host),
            self.must_hold,
        )  # fmt: skip
