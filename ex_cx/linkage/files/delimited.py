"""The bytes of a delimited text file to a table of text cells."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ex_cx.errors import SourceError
from ex_cx.linkage.files.cells import Cells, check_header, refuse_data_for_names
from ex_cx.linkage.files.places import row_places
from ex_cx.linkage.wording import counted, some_rows

__all__ = ["delimited_cells", "guess_lines"]

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def delimited_cells(
    name: str,
    content: bytes,
    *,
    encoding: str | None,
    delimiter: str | None,
    above_header: int = 0,
) -> Cells:
    """Every cell as text; encoding and delimiter as stated, or as found by looking.

    `above_header` lines are left out before the header.

    Raises
    ------
    SourceError : undecodable bytes, a wrong delimiter, rows of another width, an open quotation, a
        first row of values in place of names.
    """
    from pyarrow import ArrowInvalid

    _check_delimiter(name, delimiter)
    plain, used = _to_utf8(name, content, encoding)
    if above_header:
        plain = _without_lines(name, plain, above_header)
    if not plain.strip():
        raise SourceError(f"{name!r} is empty: it holds no text. Export it again.")
    if b"\n" not in plain:
        plain += b"\n"  # a last line is one
    sample, places = _first_lines(plain), None
    if not sample:  # what is a blank in Unicode only
        raise SourceError(f"{name!r} is empty: it holds no text. Export it again.")
    mark = delimiter or _detect_delimiter(sample)
    try:
        header = next(csv.reader((f"{line}\n" for line in sample), delimiter=mark))
        refuse_data_for_names(name, header, _sampled(sample[1:], mark))
        if len(header) == 1:
            _refuse_one_column(name, header[0], mark)
        names = check_header(name, header)
        places = row_places(plain, mark, above_header)
        table = _arrow_csv(name, plain, header, mark, places)
    except (ArrowInvalid, csv.Error) as error:
        told = re.search(r"(?:row|line) #?(\d+)", str(error), re.IGNORECASE)  # the rest quotes
        where = f" (about row {_placed(int(told[1]), places)})" if told else ""
        raise SourceError(
            f"{name!r} cannot be read as {_DELIMITERS.get(mark, repr(mark))}-separated text"
            f"{where}. Look for an opening quotation mark without its end."
        ) from None
    if table.column_names != header:
        raise SourceError(
            f"The header of {name!r} is not one line of names. Take line breaks and quotation "
            "marks out of its names."
        )
    if plain.count(b'"') % 2:
        _refuse_open_quotation(name, table, places)
    frame = table.rename_columns(names).to_pandas().astype("str")
    same = places is not None and len(places) == len(frame) + 1
    rows = places[1:] if places is not None and same else None
    return Cells(frame=frame, encoding=used, delimiter=mark, rows=rows)


def _placed(n: int, places: np.ndarray | None) -> int:
    """The number in the file of the n-th row that is not blank, the header's being the first."""
    return n if places is None or not 0 < n <= len(places) else int(places[n - 1])


def _sampled(lines: Sequence[str], mark: str) -> list[list[str]]:
    """Cells of the first lines below the header, as far as the module can read them."""
    rows = list[list[str]]()
    with contextlib.suppress(csv.Error):  # a cell longer than the module reads
        rows.extend(csv.reader((f"{line}\n" for line in lines), delimiter=mark))
    return rows


def _to_utf8(name: str, content: bytes, encoding: str | None) -> tuple[bytes, str]:
    """The bytes as utf-8 without a mark, and the encoding they had."""
    marked = next((found for mark, found in _BOMS if content.startswith(mark)), None)
    choices = [encoding] if encoding else [marked] if marked else ["utf-8", "cp1252"]
    for choice in choices:
        try:
            text = content.decode(choice)
        except LookupError as error:
            raise SourceError(
                f"There is no encoding {choice!r}. State one such as utf-8."
            ) from error
        except UnicodeDecodeError as error:
            problem = error
            continue
        if "\x00" in text:
            break
        same = choice == "utf-8"
        return (content if same else text.encode("utf-8")), choice
    else:
        line = content[: problem.start].count(b"\n") + 1
        raise SourceError(
            f"{name!r} is not {' or '.join(map(repr, choices))}: byte {problem.start} "
            f"(line {line}) cannot be decoded. State the encoding it was saved in."
        ) from problem
    raise SourceError(
        f"{name!r} is not text: it holds null characters. If it is an Excel or Parquet file, give "
        "it that ending; else state its encoding."
    )


def guess_lines(name: str, content: bytes) -> tuple[str, str, int]:
    """Encoding, delimiter and the number of lines above the header, as the first lines tell.

    The header is taken for the first line that has as many cells as most others.

    Raises
    ------
    SourceError : bytes that are no text.
    """
    plain, used = _to_utf8(name, content, None)
    text = plain[: 1 << 18].decode("utf-8", errors="ignore")
    best = (0, 0, 0, ",")
    for mark in _DELIMITERS:
        records, ends = list[int](), [0]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
        try:
            for record in reader:
                records.append(len(record))
                ends.append(reader.line_num)
        except csv.Error:  # a cell longer than the module reads
            pass
        wide = Counter(width for width in records if width > 1)
        if wide:
            width, count = wide.most_common(1)[0]
            best = max(best, (count, width, -ends[records.index(width)], mark))
    return used, best[3], -best[2]


def _without_lines(name: str, plain: bytes, n: int) -> bytes:
    """The text below its first `n` lines."""
    start = 0
    for _ in range(n):
        end = re.compile(rb"\r\n|\r|\n").search(plain, start)
        if end is None:
            raise SourceError(
                f"{name!r} has no {n} lines above a header. Correct `above_header` of its mapping."
            )
        start = end.end()
    return plain[start:]


def _check_delimiter(name: str, stated: str | None) -> None:
    if stated and (len(stated) > 1 or not stated.isascii() or stated in '"\r\n'):
        raise SourceError(
            f"{stated!r} cannot stand between the columns of {name!r}: a delimiter is one plain "
            "character. State one such as ',' or ';', or leave it to be detected."
        )


def _first_lines(plain: bytes) -> list[str]:
    """The first lines that are not blank, at least one, however long; a line ends as in a CSV."""
    found: list[str] = []
    for size in (1 << 16, len(plain)):
        lines = re.split(r"\r\n|\r|\n", plain[:size].decode("utf-8", errors="ignore"))
        whole = lines[:-1] if size < len(plain) else lines
        found = [line for line in whole if line.strip()][:30]
        if found:
            break
    return found


def _detect_delimiter(sample: Sequence[str]) -> str:
    def agreement(mark: str) -> tuple[bool, float, int]:
        try:
            widths = [len(cells) for cells in csv.reader(sample, delimiter=mark)]
        except csv.Error:  # a cell longer than the module reads
            return False, 0.0, 0
        same = sum(width == widths[0] for width in widths) / len(widths)
        return widths[0] > 1, same, widths[0]

    return max(_DELIMITERS, key=agreement)


def _refuse_one_column(name: str, only: str, used: str) -> None:
    held = {mark: only.count(mark) for mark in _DELIMITERS if mark != used and mark in only}
    if held:
        mark, count = max(held.items(), key=lambda item: item[1])
        raise SourceError(
            f"{name!r}, read with {used!r} between columns, has one column, and its name holds "
            f"{mark!r} {counted(count, 'time')}. State delimiter={mark!r}, or leave it "
            "to be detected."
        )


def _arrow_csv(
    name: str, plain: bytes, header: Sequence[str], mark: str, places: np.ndarray | None
) -> Any:
    """Every cell as text; rows of another width are an error that lists them."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    def read(threads: bool) -> tuple[Any, list[Any]]:
        odd: list[Any] = []

        def skip(row: Any) -> str:
            odd.append(row)
            return "skip"

        table = arrow.read_csv(
            pa.BufferReader(plain),
            read_options=arrow.ReadOptions(use_threads=threads, block_size=1 << 24),
            parse_options=arrow.ParseOptions(
                delimiter=mark,
                newlines_in_values=True,
                invalid_row_handler=skip,
            ),
            convert_options=arrow.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                null_values=[""],
            ),
        )
        return table, odd

    table, odd = read(threads=True)
    if odd:
        _, odd = read(threads=False)
        first = odd[0]
        rows = [_placed(row.number, places) for row in odd if row.number is not None]
        raise SourceError(
            f"{name!r}: {counted(len(odd), 'row')} without the {first.expected_columns} columns of "
            f"the header ({some_rows(rows)}; the first has {first.actual_columns}). Quote text "
            f"that holds {mark!r}, or state the delimiter."
        )
    return table


def _refuse_open_quotation(name: str, table: Any, places: np.ndarray | None) -> None:
    """An odd number of marks is harmless (5" screen) unless a cell ran on over a line's end."""
    import pyarrow.compute as pc

    for column in table.columns:
        broken = pc.fill_null(pc.match_substring(column, "\n"), False)
        row = pc.index(broken, True).as_py()
        if row >= 0:
            raise SourceError(
                f"{name!r} has a quotation mark that opens (row {_placed(row + 2, places)}) and "
                "does not close, so that rows run together. Close it in the file."
            )
