"""Edits of a call of Training in a user's source; libcst keeps everything else as it is."""

import re
from collections.abc import Sequence
from textwrap import indent

import libcst as cst

from undertow.remedies import Remedy

NUMBERS = {
    "UR101": ("lr", "factor"), "UR105": ("eps", "eps"), "UR108": ("weight_decay", "weight_decay"),
    "UR111": ("momentum", "value"),
}  # fmt: skip
"""Remedies that change a number of the optimizer: its keyword, and the remedy's setting."""

OF_OPTIMIZER = ("UR101", "UR102", "UR105", "UR106", "UR107", "UR108", "UR111")
OF_MODEL = (
    "UR114", "UR201", "UR202", "UR204", "UR205", "UR206", "UR207", "UR301", "UR302", "UR303", "UR304", "UR305", "UR306",
    "UR307", "UR308", "UR309", "UR310", "UR311", "UR312", "UR314", "UR401", "UR402", "UR403", "UR404",
)  # fmt: skip
LEFT_OUT = {"UR110": "scheduler", "UR112": "clip_grad_norm"}
SET = {"UR109": ("loss_scaling", "True")}
"""Remedies that are a keyword of Training, and its value."""

NEEDING_DATA = ("x_train", "y_train")
MODEL, OPTIMIZER, SCHEDULER = "remedied_model", "remedied_optimizer", "remedied_scheduler"


def edited(source: str, function: str, remedies: Sequence[Remedy]) -> tuple[str | None, list[Remedy]]:
    """Return a source with remedies in one of its functions, and those that found a place; None without a Training.

    Example:
        >>> text = "def f():\\n    return Training(m, b, l, lambda m: SGD(m.parameters(), lr=1.0))"
        >>> print(edited(text, "f", [Remedy("UR101", {"factor": 0.5})])[0].splitlines()[1])
            return Training(m, b, l, lambda m: SGD(m.parameters(), lr=0.5))
    """
    edit = _Edit(function, remedies)
    after = cst.parse_module(source).visit(edit).code
    return (after if edit.found else None), edit.written


class _Edit(cst.CSTTransformer):
    def __init__(self, function: str, remedies: Sequence[Remedy]) -> None:
        super().__init__()
        self.function, self.remedies = function, remedies
        self.found, self.inside = False, False
        self.written: list[Remedy] = []
        self.wraps: dict[str, list[Remedy]] = {MODEL: [], OPTIMIZER: [], SCHEDULER: []}

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:  # noqa: N802  # libcst's name
        self.inside = self.inside or node.name.value == self.function

    def leave_FunctionDef(  # noqa: N802
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        if original_node.name.value != self.function:
            return updated_node
        self.inside = False
        helpers = [_helper(name, each) for name, each in self.wraps.items() if each]
        return cst.FlattenSentinel([*helpers, updated_node]) if helpers else updated_node

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:  # noqa: N802
        if not self.inside or _last_name(original_node.func) != "Training":
            return updated_node
        self.found = True
        for each in self.remedies:
            changed = self._with(updated_node, each)
            if changed is not None:
                updated_node = changed
                self.written.append(each)
        return updated_node

    def _with(self, call: cst.Call, remedy: Remedy) -> cst.Call | None:
        if remedy.code in NUMBERS and (changed := _with_number(call, remedy)) is not None:
            return changed
        if remedy.code == "UR104":
            return self._warmed_up(call, remedy)
        if remedy.code == "UR403":
            call = _divided(call, remedy.snippet)
        if (remedy.code in OF_OPTIMIZER or remedy.code in OF_MODEL) and _is_whole(remedy.snippet):
            name, keyword = (OPTIMIZER, "optimizer") if remedy.code in OF_OPTIMIZER else (MODEL, "model")
            self.wraps[name].append(remedy)
            return call if len(self.wraps[name]) > 1 else _wrapped(call, keyword, name)
        if remedy.code == "UR103":
            return _set(call, "clip_grad_norm", cst.parse_expression(f"{remedy.settings.get('norm', 1.0):g}"))
        if remedy.code in SET:
            keyword, value = SET[remedy.code]
            return _set(call, keyword, cst.parse_expression(value))
        return _without(call, LEFT_OUT[remedy.code]) if remedy.code in LEFT_OUT else None

    def _warmed_up(self, call: cst.Call, remedy: Remedy) -> cst.Call | None:
        if _place(call, "scheduler") is not None:
            return None  # two schedulers in a row: where one ends and the other begins is the reader's to say
        self.wraps[SCHEDULER].append(remedy)
        return _set(call, "scheduler", cst.Name(SCHEDULER))


def _is_whole(snippet: str) -> bool:
    """Tell whether a snippet runs behind the line that makes the model, with nothing left to fill in."""
    code = [line for line in snippet.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return bool(code) and not any(name in line for line in code for name in NEEDING_DATA)


def _divided(call: cst.Call, snippet: str) -> cst.Call:
    """Return the call with its loss divided by the square of the deviation that a snippet names."""
    place, found = _place(call, "loss"), re.search(r"deviation = [^,]+, ([0-9.e+-]+)", snippet)
    if place is None or found is None:
        return call
    arg = call.args[place]
    inner = cst.Module([]).code_for_node(arg.value)
    value = cst.parse_expression(f"lambda model, batch: ({inner})(model, batch) / {found[1]} ** 2")
    return _replaced(call, place, arg.with_changes(value=value))


def _last_name(func: cst.BaseExpression) -> str:
    named = func.attr if isinstance(func, cst.Attribute) else func
    return str(getattr(named, "value", ""))


ORDER = ("model", "batches", "loss", "optimizer", "score", "scheduler", "clip_grad_norm")


def _place(call: cst.Call, keyword: str) -> int | None:
    for place, arg in enumerate(call.args):
        if arg.keyword is not None and arg.keyword.value == keyword:
            return place
    position = ORDER.index(keyword)
    plain = position < len(call.args) and call.args[position].keyword is None
    return position if plain else None


def _wrapped(call: cst.Call, keyword: str, wrapper: str) -> cst.Call | None:
    place = _place(call, keyword)
    if place is None:
        return None
    arg = call.args[place]
    value = cst.Call(func=cst.Name(wrapper), args=[cst.Arg(value=arg.value)])
    return _replaced(call, place, arg.with_changes(value=value))


def _replaced(call: cst.Call, place: int, arg: cst.Arg) -> cst.Call:
    return call.with_changes(args=[*call.args[:place], arg, *call.args[place + 1 :]])


def _set(call: cst.Call, keyword: str, value: cst.BaseExpression) -> cst.Call:
    place = _place(call, keyword)
    if place is not None:
        return _replaced(call, place, call.args[place].with_changes(value=value))
    equal = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
    last = call.args[-1]
    comma = last.comma if isinstance(last.comma, cst.Comma) else cst.MaybeSentinel.DEFAULT
    new = cst.Arg(keyword=cst.Name(keyword), value=value, equal=equal, comma=comma)
    between = call.args[-2].comma if len(call.args) > 1 else cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    return call.with_changes(args=[*call.args[:-1], last.with_changes(comma=between), new])


def _without(call: cst.Call, keyword: str) -> cst.Call | None:
    place = _place(call, keyword)
    if place is None or call.args[place].keyword is None:
        return None
    return call.with_changes(args=[*call.args[:place], *call.args[place + 1 :]])


def _with_number(call: cst.Call, remedy: Remedy) -> cst.Call | None:
    """Return the call with a literal number of its optimizer changed; None where it isn't written there."""
    keyword, setting = NUMBERS[remedy.code]
    place = _place(call, "optimizer")
    if place is None:
        return None
    number = _Number(keyword, float(remedy.settings[setting]), relative=setting == "factor")
    arg = call.args[place]
    changed = _replaced(call, place, arg.with_changes(value=arg.value.visit(number)))
    return changed if number.count == 1 else None


class _Number(cst.CSTTransformer):
    """Sets, or multiplies, the literal numbers that are given under a keyword."""

    def __init__(self, keyword: str, value: float, relative: bool) -> None:
        super().__init__()
        self.keyword, self.value, self.relative, self.count = keyword, value, relative, 0

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:  # noqa: N802
        written = original_node.value
        if original_node.keyword is None or original_node.keyword.value != self.keyword:
            return updated_node
        if not isinstance(written, cst.Float | cst.Integer):
            return updated_node
        self.count += 1
        value = self.value * (float(written.evaluated_value) if self.relative else 1.0)
        return updated_node.with_changes(value=cst.parse_expression(f"{value:.4g}"))


def _helper(name: str, remedies: Sequence[Remedy]) -> cst.BaseStatement:
    if name == SCHEDULER:
        return _scheduler(int(remedies[-1].settings.get("steps", 100)))
    made, given = ("model", "") if name == MODEL else ("optimizer", "model")
    body = "\n".join(f"# {each.kind.name}\n{each.snippet}" for each in remedies)
    text = (
        f"def {name}(make):\n"
        f"    import torch\n    from torch import nn\n\n"
        f"    def made({given}):\n"
        f"        {made} = make({given})\n"
        f"{indent(body, '        ')}\n"
        f"        return {made}\n\n"
        f"    return made\n"
    )
    lines = [cst.EmptyLine(indent=False), cst.EmptyLine(indent=False)]
    return cst.parse_statement(text).with_changes(leading_lines=lines)


def _scheduler(steps: int) -> cst.BaseStatement:
    text = (
        f"def {SCHEDULER}(optimizer):\n"
        "    from torch.optim.lr_scheduler import LinearLR\n\n"
        f"    return LinearLR(optimizer, start_factor=0.01, total_iters={steps})\n"
    )
    lines = [cst.EmptyLine(indent=False), cst.EmptyLine(indent=False)]
    return cst.parse_statement(text).with_changes(leading_lines=lines)
