"""Whether a ``$`` expression stays within the allow-list. It is parsed, never evaluated.

A list over Python syntax is no sandbox: it says what may be written, not what the called code does with its arguments.
What stands behind it is in decision 5.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wetread.bundles import static_check_names as names

_REFERENCE = re.compile(r"@(?:\w*)(?:::\w*)*")
_REFERENCES = "__local_refs"
_TUNABLE = {
    "torch.backends.cudnn": {"benchmark", "deterministic", "enabled", "allow_tf32"},
    "torch.backends.cuda.matmul": {"allow_tf32"},
}
_BUILTIN_NAMES = frozenset(dir(builtins))
_HARMLESS_NODES = (
    ast.Expression,
    ast.Constant,
    ast.Slice,
    ast.keyword,
    ast.Starred,
    ast.List,
    ast.Tuple,
    ast.Set,
    ast.Dict,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.comprehension,
    ast.Lambda,
    ast.arguments,
    ast.IfExp,
    ast.BoolOp,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.JoinedStr,
    ast.FormattedValue,
    ast.expr_context,
    ast.boolop,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
)


@dataclass(frozen=True, slots=True)
class Imported:
    """One name that an import makes: ``alias`` is what expressions call ``dotted``."""

    alias: str
    dotted: str
    is_module: bool


def as_python(expression: str) -> str:
    """The text MONAI hands to ``eval``: without ``$``, ``#`` as ``::``, references as look-ups."""
    text = expression[1:].replace("#", "::")
    for reference in sorted(_REFERENCE.findall(text), key=len, reverse=True):
        text = text.replace(reference, f"{_REFERENCES}['{reference[1:]}']")
    return text


def imports_of(expression: str) -> list[Imported] | None:
    """What an ``$import …`` or ``$from … import …`` brings; None for other expressions."""
    try:
        body = ast.parse(expression[1:]).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not body or not isinstance(body[0], (ast.Import, ast.ImportFrom)):
        return None
    if len(body) > 1:
        return [Imported(";", "more than one statement", False)]
    statement = body[0]
    if isinstance(statement, ast.ImportFrom):
        package = "." * statement.level + (statement.module or "")
        return [Imported(a.asname or a.name, f"{package}.{a.name}", False) for a in statement.names]
    return [Imported(a.asname or a.name, a.name, True) for a in statement.names]


def import_problem(imported: Imported) -> str:
    """Why an import needs trust; empty when it does not."""
    dotted = imported.dotted
    if names.is_known_module(dotted) or (not imported.is_module and names.is_allowed(dotted)):
        return ""
    return f"imports {dotted}"


def problems_of(expression: str, aliases: Mapping[str, str]) -> list[str]:
    """Why an expression that is no import needs trust; empty when it does not. ``aliases``: name → full dotted name."""
    if _REFERENCES in expression:
        return [f"uses the hidden name {_REFERENCES}"]
    try:
        tree = ast.parse(as_python(expression).lstrip(" \t"), mode="eval")
    except (SyntaxError, ValueError) as exc:
        return [f"is not a Python expression ({exc.args[0] if exc.args else exc})"]
    except (RecursionError, MemoryError):
        return ["is nested too deeply to be checked"]
    check = _Check(aliases, bound=frozenset(_bound(tree)))
    try:
        check.visit(tree)
    except RecursionError:
        return ["is nested too deeply to be checked"]
    return list(dict.fromkeys(check.problems))


def _bound(tree: ast.AST) -> Iterator[str]:
    """Names that lambdas and comprehensions bind."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


@dataclass
class _Check:
    """One pass over one expression."""

    aliases: Mapping[str, str]
    bound: frozenset[str]
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # One name, one meaning: a bound name that is also a builtin or a module would hide the one behind the other.
        for name in sorted(self.bound & (_BUILTIN_NAMES | set(self.aliases))):
            self.problems.append(f"gives the name {name!r} another meaning")

    def visit(self, node: ast.AST) -> None:
        """Check a node and all below it."""
        if isinstance(node, ast.Call) and self._is_known_setattr(node):
            return
        if isinstance(node, ast.Name):
            self._name(node.id)
        elif isinstance(node, ast.arg):
            self._hidden(node.arg)
        elif isinstance(node, ast.Attribute):
            self._attribute(node)
        elif isinstance(node, ast.Subscript):
            self._subscript(node)
        elif isinstance(node, (ast.Call, *_HARMLESS_NODES)):
            if isinstance(node, ast.Call):
                self._arguments(node)
            self._children(node)
        else:
            self.problems.append(f"uses {type(node).__name__}")

    def _children(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            self.visit(child)

    def _name(self, name: str) -> None:
        self._hidden(name)
        if name in self.bound or (name in names.BUILTINS and name not in self.aliases):
            return
        dotted = self.aliases.get(name)
        if dotted is None:
            self.problems.append(f"uses {name}")
        else:
            self._object(dotted)

    def _object(self, dotted: str) -> None:
        if not names.is_allowed(dotted):
            self.problems.append(f"uses {dotted}")
        elif names.IMPORTING_CLASSES.fullmatch(dotted.rpartition(".")[2]):
            self.problems.append(f"uses {dotted}, which imports what its arguments name")

    def _attribute(self, node: ast.Attribute) -> None:
        dotted = self._dotted(node)
        if dotted is None:
            self._attribute_name(node.attr)
            self.visit(node.value)
            return
        known, rest = dotted, list[str]()
        while known and not names.is_allowed(known):
            known, _, last = known.rpartition(".")
            rest.insert(0, last)
        if not known:
            self.problems.append(f"uses {dotted}")
            return
        self._object(known)
        for name in rest:
            self._attribute_name(name)

    def _dotted(self, node: ast.expr) -> str | None:
        """The full name behind ``module.a.b``; None when it does not start with an imported name."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.aliases:
            return None
        return ".".join([self.aliases[node.id], *parts])

    def _attribute_name(self, name: str) -> None:
        constant = name.isupper() and not name.startswith("_")  # a member of an enumeration
        if not constant and name not in names.ATTRIBUTES:
            self.problems.append(f"uses the attribute {name!r} of something")

    def _hidden(self, name: str) -> None:
        if name.startswith("__"):
            self.problems.append(f"uses the hidden name {name}")

    def _subscript(self, node: ast.Subscript) -> None:
        reference = isinstance(node.value, ast.Name) and node.value.id == _REFERENCES
        if reference and not (isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)):
            self.problems.append("looks up a reference by a computed name")
        if not reference:
            self.visit(node.value)
        self.visit(node.slice)

    def _arguments(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg in names.IMPORTING_ARGUMENTS | {"pickle_module", "allow_pickle"}:
                self.problems.append(f"gives the argument {keyword.arg!r}")
            if keyword.arg == "weights_only" and not _is_true(keyword.value):
                self.problems.append("loads weights with weights_only other than True")

    def _is_known_setattr(self, node: ast.Call) -> bool:
        """``setattr(torch.backends.cudnn, 'benchmark', True)``: the zoo's way to tune cuDNN."""
        if not (isinstance(node.func, ast.Name) and node.func.id == "setattr" and len(node.args) == 3):
            return False
        if node.keywords or not all(isinstance(a, ast.Constant) for a in node.args[1:]):
            return False
        name = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
        return name in _TUNABLE.get(self._dotted(node.args[0]) or "", set())


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
