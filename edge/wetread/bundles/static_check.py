"""What of a bundle would have to be trusted as code, found before MONAI parses or Python imports anything of it.

MONAI evaluates every string that starts with ``$``, calls whatever ``_target_`` names, and imports what some arguments
name. Each of these is compared with the allow-list (``static_check_names``); what is outside it runs only in a bundle
that somebody vouched for (``trust``).
"""

from __future__ import annotations

import builtins
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wetread.bundles import static_check_names as names
from wetread.bundles.static_check_expressions import import_problem, imports_of, problems_of
from wetread.bundles.static_check_files import Value, config_files, is_for_reading, read_config, values_of
from wetread.errors import BundleInvalid

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_RELATIVE = re.compile(r"[@%](::|#)")
_IMPORT_KEY = re.compile(r"\+?\w+::\d+")
_REFERENCE = re.compile(r"@(?P<up>(?:::)*)(?P<id>\w*)")
_COPY = re.compile(r"[@%](?P<up>(?:::)*)(?P<id>\w+)")
_OTHER_FILE = re.compile(r"%.*\.(json|ya?ml)", re.IGNORECASE | re.DOTALL)
_PLAIN_KEY = re.compile(r"\w+(::\w+)*")
_MONAI_CONSTANT = re.compile(r"\$\s*monai(\.\w+)+\s*")
_NOT_THERE = "MONAI has no"
_MODES = frozenset({"default", "callable", "partial"})
_PYTHON = frozenset({".py", ".pyc", ".pyo", ".so", ".pyd", ".dll", ".dylib", ".pth"})
_LOOKS_LIKE_A_FILE = re.compile(r".*\.(pt|pth|ts|json|ya?ml|csv|txt|nii|gz|onnx|png|npy|safetensors)")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that runs only in a trusted bundle."""

    file: str
    """Relative to the bundle."""
    key: str
    """Id of the value in the config; empty for a finding about the file itself."""
    what: str
    """The expression or name, as written, shortened."""
    reason: str
    for_reading: bool = True
    """False: only in a config for training, export and the like, which a read never opens."""

    @property
    def not_there(self) -> bool:
        """Whether nothing of that name exists, so that no trust would make it run."""
        return self.reason.startswith(_NOT_THERE)

    def __str__(self) -> str:
        """A sentence for a person."""
        where = f"{self.file}, {self.key}" if self.key else self.file
        shown = f": {self.what}" if self.what else ""
        return f"{where}{shown} ({self.reason})"


def in_words(findings: Iterable[Finding]) -> list[str]:
    """A sentence for each place that was found, with every reason."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for found in findings:
        reasons.setdefault((found.file, found.key, found.what), []).append(found.reason)
    return [str(Finding(*place, ", ".join(dict.fromkeys(why)))) for place, why in reasons.items()]


def examine(folder: Path, *, config: str = "inference.json") -> list[Finding]:
    """Everything in the bundle's folder that needs trust, files in order of their names.

    ``config`` is the inference config the manifest names. Nothing is executed or imported.
    Raises: ``BundleInvalid`` for configs that are no configs (too large, too deep, not JSON, tags that make objects).
    """
    findings = list(_importable(folder))
    main = folder / "configs" / config
    contents = {path: read_config(path) for path in config_files(folder)}
    if main in contents and not isinstance(contents[main], dict):
        raise BundleInvalid(f"{main} must hold one mapping, it holds a {type(contents[main]).__name__}")
    values = {path: list(values_of(content, path)) for path, content in contents.items()}
    shared, _ = _aliases(values.get(main, []), names.DEFAULT_ALIASES)
    imports = frozenset(_head(v.key) for v in itertools.chain(*values.values()) if _is_import(v.content))
    for path, content in values.items():
        # Overrides in wetread.json and files that are merged are evaluated with the imports of the inference config.
        aliases, problems = _aliases(content, names.DEFAULT_ALIASES if path == main else shared)
        for_reading = is_for_reading(path, folder, config=config)
        for value in content:
            problems.extend(_problems(value, aliases))
            problems.extend(_references(value, imports))
        findings.extend(
            Finding(path.relative_to(folder).as_posix(), key, _short(what), reason, for_reading)
            for key, what, reason in problems
        )
    return findings


_Problem = tuple[str, str, str]
"""Key, what is written there, reason."""


def _importable(folder: Path) -> Iterator[Finding]:
    """Files that Python would find before its own when the folder is on its path, and compiled ones without a digest.

    ``scripts/`` itself is no finding: it runs only when a config names it, and that is one.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix in _PYTHON or (path.is_dir() and any(path.glob("__init__.*")) and path.name != "scripts"):
            yield Finding(path.name, "", "", "Python would import it in the place of a module of the same name")
    for path in sorted(folder.rglob("*.py[co]")):
        yield Finding(path.relative_to(folder).as_posix(), "", "", "compiled Python that no digest covers; delete it")


def _aliases(values: list[Value], known: Mapping[str, str]) -> tuple[dict[str, str], list[_Problem]]:
    """What the imports of a config make of which names, and the imports that need trust."""
    aliases = dict(known)
    problems: list[_Problem] = []
    for value in values:
        if not isinstance(value.content, str) or not _is_expression(value.content):
            continue
        for imported in imports_of(value.content) or ():
            reason = import_problem(imported)
            if aliases.get(imported.alias, imported.dotted) != imported.dotted:
                reason = f"gives the name {imported.alias} a second meaning"
            if not _IMPORT_KEY.fullmatch(value.key):
                reason = "imports as the value of something else than a list of statements"
            aliases[imported.alias] = imported.dotted
            if reason:
                problems.append((value.key, value.content, reason))
    return aliases, problems


def _problems(value: Value, aliases: Mapping[str, str]) -> Iterator[_Problem]:
    content = value.content
    if isinstance(content, dict):
        yield from _component(value.key, content)
    elif _is_expression(content):
        if imports_of(content) is None:
            for reason in problems_of(content, aliases):
                yield value.key, content, reason
        if _RELATIVE.search(content) and not _PLAIN_KEY.fullmatch(value.key.replace("#", "::")):
            # MONAI writes the keys into the expression before it evaluates it.
            yield value.key, content, "a relative reference below a key that is more than letters, digits and _"
    elif _OTHER_FILE.match(content):
        yield value.key, content, "takes its content from another file"


def _references(value: Value, imports: frozenset[str]) -> Iterator[_Problem]:
    """References and copies of what imports give: a module or function that nobody compared with the allow-list."""
    content = value.content
    if not isinstance(content, str) or not content.startswith(("$", "@", "%")) or _OTHER_FILE.match(content):
        return
    written = content.replace("#", "::")
    for found in _REFERENCE.finditer(written) if content.startswith("$") else [_COPY.match(written)]:
        if found is None:
            continue
        levels = len(found["up"]) // 2
        above = value.key.replace("#", "::").split("::")[:-levels] if levels else []
        head = _head("::".join([*above, found["id"]]))
        if head in imports or not head:
            yield value.key, content, f"refers to {head or 'the whole config'}, which holds imports"


def _head(key: str) -> str:
    """The first id of a key; ``+`` means: merge with what is there."""
    return key.replace("#", "::").split("::")[0].removeprefix("+")


def _is_import(content: object) -> bool:
    return isinstance(content, str) and _is_expression(content) and imports_of(content) is not None


def _is_expression(content: str) -> bool:
    return content.startswith("$")


def _component(key: str, component: dict[str, Any]) -> Iterator[_Problem]:
    """An object that MONAI makes by calling ``_target_`` with the other entries as arguments."""
    target = component["_target_"]
    reason = _target_problem(target)
    if reason:
        yield key, str(target), reason
    mode = component.get("_mode_", "default")
    if mode not in _MODES or component.get("_debug_", False):
        yield key, f"_mode_ {mode}", "starts a debugger or an unknown mode"
    elif mode != "default" and names.IMPORTING_CLASSES.fullmatch(str(target).rpartition(".")[2]):
        yield key, str(target), "would be called with arguments that are not known here, and imports what they name"
    if component.get("allow_pickle", False) or component.get("weights_only", True) is not True:
        yield key, str(target), "loads pickled objects"
    for name, argument in component.items():
        for text in argument if isinstance(argument, list) else [argument]:
            yield from _argument(key, name, text)


def _target_problem(target: object) -> str:
    if not isinstance(target, str) or not _DOTTED.fullmatch(target):
        return "_target_ is computed"
    if "." not in target:
        allowed = names.is_allowed_short(target) and not hasattr(builtins, target)
    else:
        allowed = names.is_allowed(target)
    if allowed:
        return ""
    nearest = None if hasattr(builtins, target) else names.nearest(target)
    if nearest is None:
        return f"calls {target}"
    return f"{_NOT_THERE} {target}" + (f"; did you mean {nearest}?" if nearest else "")


def _argument(key: str, name: str, text: object) -> Iterator[_Problem]:
    if name in names.IMPORTING_ARGUMENTS:
        if not (text is None or isinstance(text, (bool, dict)) or _is_known_reader(text)):
            yield key, f"{name} = {text}", "MONAI imports and calls what this argument names"
    elif (
        name != "_target_"
        and isinstance(text, str)
        and "." in text
        and _DOTTED.fullmatch(text)
        and not _LOOKS_LIKE_A_FILE.fullmatch(text.lower())
        and text.partition(".")[0] in {*sys.stdlib_module_names, "scripts"}
    ):
        yield key, f"{name} = {text}", "names a Python object"


def _is_known_reader(text: object) -> bool:
    if not isinstance(text, str):
        return False
    if _MONAI_CONSTANT.fullmatch(text):
        return True  # checked as the expression it is
    if "." in text:
        return names.is_allowed(text)
    return text.lower() in names.READERS or names.is_allowed_short(text)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 120 else f"{text[:117]}..."
