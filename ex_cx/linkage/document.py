"""A YAML 1.2 file as plain values that know their lines; nothing guessed, nothing evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ex_cx.errors import StudyError
from ex_cx.linkage.validation import Complaint, Location, spelled

if TYPE_CHECKING:
    from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

__all__ = ["Document", "read_document"]

LARGEST = 2**20
"""Bytes; a longer file is a mistake, or made to keep the reader busy."""
_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_PLAIN_TAGS = ("null", "bool", "int", "float", "str", "timestamp", "seq", "map")


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML file says, and where.

    Attributes
    ----------
    name : the file's name, for messages.
    data : nested dict, list, str, int, float, bool and None.
    lines : location of each key and item -> its line, counted from 1.
    """

    name: str
    data: dict[str, Any]
    lines: dict[Location, int]

    def line(self, location: Location) -> int | None:
        """Line of the deepest part of `location` that the file holds."""
        for end in range(len(location), 0, -1):
            if location[:end] in self.lines:
                return self.lines[location[:end]]
        return None

    def place(self, location: Location) -> str:
        """`file` or `file, line n`, to begin a message with."""
        line = self.line(location)
        return self.name if line is None else f"{self.name}, line {line}"

    def listed(self, complaints: Sequence[Complaint]) -> str:
        """Every complaint with its line: the text of one error."""
        lines = []
        for location, text in complaints:
            name = f"{spelled(location)}: " if location else ""
            lines.append(f"{self.place(location)}: {name}{text}")
        if len(lines) == 1:
            return lines[0]
        return f"{self.name} has {len(lines)} problems:{''.join(f'{chr(10)}- {x}' for x in lines)}"


def read_document(path: Path, kind: str = "study") -> Document:
    r"""Read a YAML 1.2 file whose top is a mapping.

    `NO`, `007`, `12:30` and `2024-01-31` stay text; only `true` and `false`, plain decimal
    numbers and `null` become something else (a number of more than 18 digits is a float). Keys are
    always text. `kind` is what messages call the file: a `study` file, or a `mapping` file.

    Raises
    ------
    StudyError : no file, not UTF-8, not YAML, a key given twice, an alias, a tag, no mapping.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "s.yaml"
    >>> _ = path.write_text("country: NO\nshift: 12:30\nunits: [007, 7]\n")
    >>> read_document(path).data
    {'country': 'NO', 'shift': '12:30', 'units': ['007', 7]}
    """
    node = _compose(path, kind)
    if node is None:
        raise StudyError(f"{path.name} is empty. A {kind} file begins with `{kind}: <name>`.")
    lines: dict[Location, int] = {}
    try:
        data = _Reader(path.name, kind, lines).value(node, ())
    except RecursionError:
        raise StudyError(f"{path.name} is nested too deeply to be a {kind} file.") from None
    if not isinstance(data, dict):
        raise StudyError(f"{path.name} must hold `key: value` pairs at its top.")
    return Document(name=path.name, data=data, lines=lines)


def _compose(path: Path, kind: str) -> Node | None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        if path.stat().st_size > LARGEST:
            raise StudyError(f"{path.name} is larger than {LARGEST:,} bytes: no {kind} file is.")
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise StudyError(f"There is no {kind} file {path}. Check the path.") from None
    except IsADirectoryError:
        raise StudyError(f"{path} is a folder; name the {kind} file inside it.") from None
    except UnicodeDecodeError as error:
        raise StudyError(
            f"{path.name} is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from None
    try:
        return YAML(typ="safe", pure=True).compose(text)
    except RecursionError:
        raise StudyError(f"{path.name} is nested too deeply to be a {kind} file.") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise StudyError(f"{path.name}{where}: not valid YAML: {error.problem}.") from None
    except YAMLError as error:
        raise StudyError(f"{path.name}: not valid YAML: {error}.") from None


class _Reader:
    """Turns composed nodes into values, noting lines as it goes."""

    def __init__(self, name: str, kind: str, lines: dict[Location, int]) -> None:
        self.name, self.kind, self.lines, self.seen = name, kind, lines, set[int]()

    def value(self, node: Node, location: Location) -> Any:
        from ruamel.yaml.nodes import MappingNode, ScalarNode

        self._refuse_alias_and_tag(node)
        if isinstance(node, ScalarNode):
            return _scalar(node)
        if isinstance(node, MappingNode):
            return {
                key: self.value(child, (*location, key))
                for key, child in self._pairs(node, location)
            }
        items = []
        for position, child in enumerate(node.value):
            self.lines[(*location, position)] = child.start_mark.line + 1
            items.append(self.value(child, (*location, position)))
        return items

    def _pairs(self, node: MappingNode, location: Location) -> Iterator[tuple[str, Node]]:
        from ruamel.yaml.nodes import ScalarNode

        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                raise StudyError(f"{self.name}, line {line}: a key must be plain text.")
            key = str(key_node.value)
            if (*location, key) in self.lines:
                first = self.lines[(*location, key)]
                raise StudyError(
                    f"{self.name}, line {line}: the key {key!r} is already given on line {first}. "
                    "Keep one of the two."
                )
            self.lines[(*location, key)] = line
            yield key, child

    def _refuse_alias_and_tag(self, node: Node) -> None:
        line = node.start_mark.line + 1
        if id(node) in self.seen:
            raise StudyError(
                f"{self.name}: the part anchored on line {line} is used again by an alias (*). "
                f"{self.kind.capitalize()} files hold no aliases; write the value out."
            )
        self.seen.add(id(node))
        prefix, _, short = str(node.tag).rpartition(":")
        if prefix != "tag:yaml.org,2002" or short not in _PLAIN_TAGS:
            raise StudyError(
                f"{self.name}, line {line}: the tag {node.tag} is not allowed. "
                f"{self.kind.capitalize()} files hold text, numbers, true and false, lists and "
                "mappings only."
            )


def _scalar(node: ScalarNode) -> str | int | float | bool | None:
    text = str(node.value)
    if node.style or str(node.tag).endswith(":str"):
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
