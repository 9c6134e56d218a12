"""Synthetic exports of six kinds of system, each in its quirks, and the panel that they hold.

Nothing here comes from a real system or company: names, people and numbers are drawn. The truth is
computed from what was drawn, beside the reading that it is there to test.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

__all__ = ["ExportSamples", "draw_export_samples", "write_export_samples"]

TEAMS = ("007", "018", "101", "102")
QUEUES = {"007": "Support North", "018": "Support South", "101": "Sales", "102": "Billing"}
MONTHS = ("2024-10", "2024-11")
AGREE = (
    *("Strongly disagree", "Somewhat disagree", "Neither agree nor disagree"),
    *("Somewhat agree", "Strongly agree"),
)
SEED = 20241103
RESPONDENTS, CONTACTS, ACCOUNTS = 14, 24, 20
NIGHTS = ("2024-10-05", "2024-10-18", "2024-10-31", "2024-11-02", "2024-11-20")
"""Dates of the night shifts; the third runs into November, in the fourth the clock goes back."""
UTC = datetime.UTC


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExportSamples:
    """Files as the systems write them, and what they say of every team and month.

    Attributes
    ----------
    files : name -> bytes; the name without its ending begins with that of its ready mapping.
    truth : unit, period and one column per measure, 4 teams x 2 months.
    """

    files: dict[str, bytes]
    truth: pd.DataFrame


def draw_export_samples(rng: np.random.Generator) -> ExportSamples:
    """Draw one small company and write it as six systems would export it.

    Examples
    --------
    >>> samples = draw_export_samples(np.random.default_rng(20241103))
    >>> sorted(samples.files)[0], samples.truth.shape
    ('contact_interactions.csv', (8, 13))
    """
    files: dict[str, bytes] = {}
    truth: dict[tuple[str, str], dict[str, float]] = {
        (team, month): {} for team in TEAMS for month in MONTHS
    }
    for draw in (_survey, _platform, _intervals, _interactions, _headcount, _accounts):
        found, values = draw(rng)
        files |= found
        for key, row in values.items():
            truth[key] |= row
    rows = [{"unit": team, "period": month, **row} for (team, month), row in truth.items()]
    return ExportSamples(files=files, truth=pd.DataFrame(rows))


def write_export_samples(folder: Path, *, seed: int = SEED) -> list[Path]:
    """Write the exports and truth.json into a folder; the seed is that of the committed ones."""
    samples = draw_export_samples(np.random.default_rng(seed))
    truth = samples.truth.to_dict("records")
    note = "Synthetic: drawn by ex_cx.linkage.exportmaps.samples, from no real system or company."
    plain = json.dumps({"note": note, "seed": seed, "truth": truth}, indent=1) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**samples.files, "truth.json": plain.encode()}.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in (*samples.files, "truth.json")]


Drawn = tuple[dict[str, bytes], dict[tuple[str, str], dict[str, float]]]


def _survey(rng: np.random.Generator) -> Drawn:
    """Qualtrics: three header rows; once with choice texts, once with codes."""
    texts, codes, values = [], [], {}
    denver = ZoneInfo("America/Denver")
    for team in TEAMS:
        for month in MONTHS:
            items = rng.integers(1, 6, size=(RESPONDENTS, 3)).astype(float)
            items[rng.random(items.shape) < 0.06] = np.nan
            recommend = rng.integers(0, 11, size=RESPONDENTS)
            for at, (answers, score) in enumerate(zip(items, recommend, strict=True)):
                moment = _moment(month, rng)
                if at == 0:  # still the month before on the survey's own clock
                    moment = datetime.datetime.fromisoformat(f"{month}-01T02:15:00+00:00")
                local = moment.astimezone(denver).strftime("%Y-%m-%d %H:%M:%S")
                name = f"R_{team}{month[-2:]}{at:02d}"
                written = [team.lower(), answers, int(score), name, local]
                texts.append(_response(written, codes=False))
                codes.append(_response(written, codes=True))
            values[team, month] = _survey_truth(items, recommend)
    day = "2024-10-02 09:00:00"
    agreed, coded = ["Somewhat agree"] * 3, ["4"] * 3
    texts.append([day, "Survey Preview", "True", "R_test", day, "007", *agreed, "3", "=1+1"])
    texts.append([day, "IP Address", "False", "R_open", day, "018", *agreed, "", ""])
    codes.append([day, "1", "1", "R_test", day, "007", *coded, "3", "=1+1"])
    codes.append([day, "0", "0", "R_open", day, "018", *coded, "", ""])
    texts.append(texts[0])  # taken up again: the same response once more
    codes.append(codes[0])
    top = _survey_header()
    return {
        "qualtrics_survey_text.csv": _csv([*top, *texts]).encode("utf-8-sig"),
        "qualtrics_survey_codes.csv": _csv([*top, *codes]).encode("utf-8-sig"),
    }, values


def _survey_header() -> list[list[str]]:
    """Names, question texts with line breaks and quotation marks, import ids."""
    header = ["StartDate", "Status", "Finished", "ResponseId", "RecordedDate", "Team"]
    header += ["Q1_1", "Q1_2", "Q1_3", "Q2", "Q3"]
    questions = ["Start Date", "Response Type", "Finished", "Response ID", "Recorded Date", "Team"]
    ask = "To what extent do you agree?\nThink of the last month. - "
    items = ("I like my work", 'I "give my all"', "I think of leaving")
    questions += [ask + text for text in items]
    questions += ["How likely are you to recommend us?", "Anything else?"]
    return [header, questions, [json.dumps({"ImportId": name}) for name in header]]


def _response(written: Sequence[object], *, codes: bool) -> list[str]:
    team, answers, score, name, local = written
    items = ["" if np.isnan(a) else str(int(a)) for a in np.asarray(answers, dtype=float)]
    recommend = str(score)
    if not codes:
        items = [AGREE[int(item) - 1] if item else "" for item in items]
        ends = {"0": "0 - Not at all likely", "10": "10 - Extremely likely"}
        recommend = ends.get(recommend, recommend)
    status = ["0", "1"] if codes else ["IP Address", "True"]
    return [str(local), *status, str(name), str(local), str(team), *items, recommend, ""]


def _survey_truth(items: np.ndarray, recommend: np.ndarray) -> dict[str, float]:
    keyed = items.copy()
    keyed[:, 2] = 6 - keyed[:, 2]
    enough = (~np.isnan(keyed)).sum(axis=1) >= 2
    shares = float(np.mean(recommend >= 9) - np.mean(recommend <= 6))
    return {
        "ex_engagement": float(np.nanmean(keyed[enough], axis=1).mean()),
        "ex_enps": 100 * shares,
    }


def _platform(rng: np.random.Generator) -> Drawn:
    """Engagement platform: tabs in UTF-16, decimal commas, true minus signs, small groups out."""
    rows = [["Segment", "Month", "Participants", "Participation", "Engagement", "eNPS"]]
    values = {}
    for team in TEAMS:
        for month in MONTHS:
            score, enps = rng.integers(40, 95) / 10, int(rng.integers(-60, 61))
            share = int(rng.integers(50, 96))
            written = str(enps).replace("-", "\u2212")
            label = f"Team {team} ({QUEUES[team]})"
            told = f"{datetime.date.fromisoformat(month + '-01'):%b %Y}"
            rows.append(
                [label, told, "15", f"{share} %", f"{score:.1f}".replace(".", ","), written]
            )
            values[team, month] = {
                "ex_engagement_10": score,
                "ex_pulse_enps": float(enps),
                "ex_participation_share": share / 100,
            }
    rows.append(["Team 103 (Night desk)", "Oct 2024", "3", "60 %", "n < 5", "n < 5"])
    return {"engagement_platform.csv": _csv(rows, "\t").encode("utf-16")}, values


def _intervals(rng: np.random.Generator) -> Drawn:
    """Workforce intervals: bars, mmddyyyy, the date of the shift, the local clock of New York."""
    header = ["SHIFT_DATE", "SHIFT_START", "INTERVAL_START", "MU_ID", "OFFERED", "HANDLED"]
    rows = [[*header, "TALK_SEC", "HOLD_SEC", "ACW_SEC", "STAFFED_MIN"]]
    york, sums = ZoneInfo("America/New_York"), dict[tuple[str, str], np.ndarray]()
    for team in TEAMS:
        for night in NIGHTS:
            day = datetime.date.fromisoformat(night)
            start = datetime.datetime(day.year, day.month, day.day, 22, tzinfo=york)
            end = (start + datetime.timedelta(hours=8)).replace(tzinfo=york)
            moment, last = start.astimezone(UTC), end.astimezone(UTC)
            while moment < last:
                handled = int(rng.integers(2, 9))
                talk, hold, after = handled * rng.integers([90, 5, 20], [220, 40, 60])
                staffed = round(float(talk + hold + after) / 60 * rng.uniform(1.05, 1.6), 1)
                local = moment.astimezone(york)
                offered = handled + int(rng.integers(0, 3))
                cells = [f"{day:%m%d%Y}", "2200", f"{local:%H%M}", team.lstrip("0")]
                numbers = [offered, handled, int(talk), int(hold), int(after), staffed]
                rows.append([*cells, *map(str, numbers)])
                key = (team, f"{moment:%Y-%m}")
                done = np.array([talk + hold + after, staffed * 60, handled, offered])
                sums[key] = sums.get(key, np.zeros(4)) + done
                moment += datetime.timedelta(minutes=30)
    values = {
        key: {
            "ex_occupancy_pct": 100 * handle / staffed,
            "ex_aht_seconds": handle / handled,
        }
        for key, (handle, staffed, handled, _) in sums.items()
    }
    return {"workforce_intervals.txt": _csv(rows, "|", "\r\n").encode("ascii")}, values


def _interactions(rng: np.random.Generator) -> Drawn:
    """Contact platform: instants with an offset, milliseconds, a row per leg of a conversation."""
    rows = [["conversationId", "conversationStart", "queueName", "mediaType", "tHandle"]]
    rows[0] += ["tAbandon", "externalContactId", "surveyEase"]
    values = {}
    for team in TEAMS:
        for month in MONTHS:
            ease = rng.integers(1, 8, size=CONTACTS)
            left = rng.random(CONTACTS) < 0.15
            for at in range(CONTACTS):
                moment = _moment(month, rng)
                name = f"{team}{month[-2:]}-{at:04d}-{int(rng.integers(0, 16**6)):06x}"
                told = "" if left[at] else str(ease[at])
                handle = "" if left[at] else str(int(rng.integers(60_000, 900_000)))
                waited = str(int(rng.integers(5_000, 90_000))) if left[at] else ""
                customer = f'="{int(rng.integers(0, 90_000)):06d}"'
                started = f"{moment:%Y-%m-%dT%H:%M:%S}.{int(rng.integers(0, 1000)):03d}Z"
                cells = [name, started, QUEUES[team], "voice", handle, waited, customer, told]
                rows.append(cells)
                if at % 8 == 0:  # transferred: a second leg under the same id
                    rows.append(cells)
                if at % 8 == 1:  # another medium, which is not taken
                    rows.append([f"{name}-c", started, QUEUES[team], "chat", *cells[4:]])
            values[team, month] = {
                "cx_abandoned_pct": 100 * float(left.mean()),
                "cx_effort": float(ease[~left].mean()),
            }
    return {"contact_interactions.csv": _csv(rows).encode("utf-8")}, values


def _headcount(rng: np.random.Generator) -> Drawn:
    """HRIS: a title above the header, months as Oct-24, thousands, totals, another encoding."""
    rows = [["Headcount and movements"], ["Company: Société Exemple; all employees"]]
    rows.append(
        ["Dept", "Site", "Month", "Opening HC", "Hires", "Vol. Exits", "Inv. Exits", "Closing HC"]
    )
    values = {}
    for at, team in enumerate(TEAMS):
        opening = int(rng.integers(900, 1400))
        for month in MONTHS:
            hires, quits, lets = (int(n) for n in rng.integers([10, 10, 0], [60, 60, 15]))
            closing = opening + hires - quits - lets
            told = f"{datetime.date.fromisoformat(month + '-01'):%b-%y}"
            counts = [opening, hires, quits, lets, closing]
            site = ("Orléans", "Besançon")[at % 2]
            rows.append([team.lstrip("0"), site, told, *(f"{n:,}" for n in counts)])
            rate = 100 * (quits + lets) / ((opening + closing) / 2)
            values[team, month] = {"ex_attrition_pct": rate}
            opening = closing
    rows.append(["Grand Total", "", "", "", "", "", "", ""])
    return {"hris_headcount.csv": _csv(rows).encode("cp1252")}, values


def _accounts(rng: np.random.Generator) -> Drawn:
    """CRM: US dates, money with its sign, an end of time for "open", deleted rows."""
    rows = [["Account ID", "Owner Team", "Start Date", "End Date", "MRR", "Is Deleted"]]
    values = {}
    for team in TEAMS:
        starts = [
            datetime.date(2022, 1, 5) + datetime.timedelta(int(d))
            for d in rng.integers(0, 900, ACCOUNTS)
        ]
        chance = rng.random(ACCOUNTS)
        worth = rng.integers(40_000, 260_000, ACCOUNTS) / 100
        ends = np.where(chance < 0.15, 1, np.where(chance < 0.25, 2, 0))
        for at in range(ACCOUNTS):
            day = int(rng.integers(1, 29))
            end = ("12/31/9999", f"10/{day}/2024", f"11/{day}/2024")[ends[at]]
            start = f"{starts[at].month}/{starts[at].day}/{starts[at].year}"
            name = f"0015g{team}{at:03d}AAB"
            rows.append([name, f"{team} {QUEUES[team]}", start, end, f"${worth[at]:,.2f}", "FALSE"])
        rows.append(
            [
                f"0015g{team}999AAB",
                f"{team} {QUEUES[team]}",
                "1/2/2023",
                "12/31/9999",
                "$1.00",
                "TRUE",
            ]
        )
        for month, gone in zip(MONTHS, (1, 2), strict=True):
            there = (ends == 0) | (ends >= gone)
            kept = 100 * worth[there & (ends != gone)].sum() / worth[there].sum()
            values[team, month] = {"cx_revenue_retention_pct": float(kept)}
    return {"crm_accounts.csv": _csv(rows).encode("utf-8")}, values


def _moment(month: str, rng: np.random.Generator) -> datetime.datetime:
    """An instant of the month, at hours that no American clock repeats or skips."""
    text = f"{month}-{int(rng.integers(2, 29)):02d}T{int(rng.integers(15, 24)):02d}:00:00+00:00"
    return datetime.datetime.fromisoformat(text) + datetime.timedelta(
        seconds=int(rng.integers(0, 3600))
    )


def _csv(rows: Iterable[Sequence[str]], mark: str = ",", ending: str = "\n") -> str:
    """Delimited text in which a cell is quoted where it must be."""
    quoted = [
        [f'"{c.replace(chr(34), 2 * chr(34))}"' if set(c) & {mark, '"', "\n"} else c for c in row]
        for row in rows
    ]
    return ending.join(mark.join(row) for row in quoted) + ending
