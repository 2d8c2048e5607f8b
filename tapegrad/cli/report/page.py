"""A page that shows a training run whole: scores, curves, errors, columns. One file, which loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np

from ...data import Features
from ...data.kinds import Boolean, Moment
from ..evaluation.comparison import WORDS, baseline_name, best_of, shown, spread, with_spread
from ..evaluation.importance import Importance
from ..evaluation.scores import calibration, confusion
from ..outcome import CANDIDATE_COLUMNS, CANDIDATES_SHOWN, Outcome, candidate_cells
from . import pictures

__all__ = ["page", "write_pictures"]

_MOST_CLASSES = 30
_MOST_CATEGORIES = 12


def write_pictures(outcome: Outcome, command: str, importance: Path | None, report: Path | None) -> None:
    """Draw the importance of columns, and write the page, where they are asked for."""
    found = outcome.importance
    if importance is not None and found is not None:
        paint, size = pictures.importance_bars(found)
        pictures.draw(paint, importance, size, importance.suffix[1:].lower())
    if report is not None and found is not None:
        report.write_text(page(outcome, found, command), encoding="utf-8")


def page(outcome: Outcome, importance: Importance, command: str) -> str:
    """The page as HTML.

    Parameters
    ----------
    outcome : Outcome
        Of at least one step.
    importance : Importance
        Of the columns.
    command : str
        By which it was trained.
    """
    problem = outcome.run.problem
    css = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    parts = [_heads(outcome), _scores(outcome), _learning(outcome)]
    parts.append(_classes(outcome) if problem.target.task == "classification" else _values(outcome))
    parts += [_importance(outcome, importance), _columns(problem.features), _training(outcome, command)]
    title = escape(problem.title)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{css}</style>\n<main>\n<h1>{title}</h1>\n"
        f'<p class="quiet">{escape(outcome.split)}</p>\n' + "\n".join(parts) + "\n</main>\n</html>\n"
    )


def _section(title: str, *body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(body) + "\n</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", kind: str = "numbers") -> str:
    """A table of cells that are HTML, "numbers" or "words"; those of the first column are headings."""
    above = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "\n".join(
        f'<tr><th scope="row">{first}</th>' + "".join(c if c.startswith("<td") else f"<td>{c}</td>" for c in rest)
        + "</tr>"
        for first, *rest in rows
    )
    said = f"<caption>{caption}</caption>" if caption else ""
    return (f'<div class="wide"><table class="{kind}">{said}<thead><tr>{above}</tr></thead><tbody>\n{body}\n'
            "</tbody></table></div>")


def _heads(outcome: Outcome) -> str:
    """The first score of each model, large."""
    name = next(name for name in WORDS if name in outcome.result.score)
    models = outcome.comparison.models
    heads = zip(models, ("network", "linear model", f"{baseline_name(outcome.run.problem.target)} (no model)"))
    cards = (
        f'<div{" class=lead" if model == "network" else ""}><b>{shown(name, models[model][name])}</b>'
        f'<span class="quiet">{WORDS[name]}, {words}</span></div>'
        for model, words in heads
    )
    return f'<div class="heads">{"".join(cards)}</div>'


def _scores(outcome: Outcome) -> str:
    models = outcome.comparison.models
    names = [name for name in WORDS if name in outcome.result.score]
    head = ["", "network", "linear model", baseline_name(outcome.run.problem.target)]
    rows = []
    for name in names:
        best = best_of(name, models)
        rows.append([WORDS[name], *(f'<td class="best">{shown(name, values[name])}</td>' if model == best
                                    else shown(name, values[name]) for model, values in models.items())])
    caption = f"on {len(outcome.comparison.actual):,} {outcome.rows_scored} rows, the best of each in bold"
    body = [_table(head, rows, caption)]
    if outcome.folds is not None:
        found = spread(outcome.folds)
        rows = [[WORDS[name], *(with_spread(name, *values[name]) for values in found.values())] for name in names]
        body.append("<br>" + _table(head, rows, f"over {len(outcome.folds)} folds, each row held out once: "
                                    "mean ± standard deviation"))
    return _section("Scores", *body)


def _learning(outcome: Outcome) -> str:
    run = outcome.run
    best = None if run.best is None else run.best.epoch
    svg = pictures.themed(pictures.learning_curve(run.history, best), (8.0, 3.0), "learning curve")
    averaged = f", mean of {run.settings.members} networks" if run.settings.members > 1 else ""
    return _section("Learning curve", f'<p class="quiet">{escape(outcome.stopping)}{averaged}</p>',
                    f"<figure>{svg}</figure>")


def _classes(outcome: Outcome) -> str:
    comparison, labels = outcome.comparison, outcome.run.problem.target.labels
    counts = confusion(comparison.actual, comparison.outputs.argmax(axis=1), len(labels))
    found = calibration(comparison.actual, comparison.outputs)
    svg = pictures.themed(pictures.calibration_curve(found), (5.2, 4.0), "calibration")
    told = (f"The probabilities of the chosen classes differ from how often they are right by {found.error:.3f} on "
            "average (expected calibration error).")
    return (
        _section("Which classes are taken for which", _confusion(counts, [escape(str(label)) for label in labels]))
        + "\n" + _section("Calibration", f'<p class="quiet">{told}</p>', f'<figure class="narrow">{svg}</figure>')
    )


def _confusion(counts: np.ndarray, labels: Sequence[str]) -> str:
    if len(labels) > _MOST_CLASSES:
        return f'<p class="quiet">{len(labels)} classes are too many to show here.</p>'
    rows_of = np.maximum(counts.sum(axis=1), 1)
    rows = []
    for k, label in enumerate(labels):
        cells = []
        for j, count in enumerate(counts[k]):
            share = count / rows_of[k]
            colour = "--shade" if j == k else "--wrong"
            style = f' style="background: rgba(var({colour}), {0.08 + 0.5 * share:.2f})"' if count else ""
            cells.append(f'<td{style} title="{share:.1%}">{count or "·"}</td>')
        found = f"{counts[k, k] / rows_of[k]:.0%}" if counts[k].any() else "-"
        rows.append(f'<tr><th scope="row">{label}</th>{"".join(cells)}<td class="quiet">{found}</td></tr>')
    above = "".join(f'<th scope="col">{label}</th>' for label in labels)
    return (
        '<div class="wide"><table class="confusion"><caption>rows: the actual class; columns: the predicted one'
        f'</caption><thead><tr><th></th>{above}<th scope="col">found</th></tr></thead><tbody>\n'
        + "\n".join(rows) + "\n</tbody></table></div>"
    )


def _values(outcome: Outcome) -> str:
    target, comparison = outcome.run.problem.target, outcome.comparison
    actual, predicted = target.decoded(comparison.actual), target.decoded(comparison.outputs)
    dots = pictures.themed(pictures.scatter(actual, predicted, target.name), (5.0, 4.0), "predicted and actual")
    bars = pictures.themed(pictures.residuals(actual, predicted), (5.0, 4.0), "errors")
    return _section("Predicted and actual values",
                    f'<div class="pair"><figure>{dots}</figure><figure>{bars}</figure></div>')


def _importance(outcome: Outcome, found: Importance) -> str:
    paint, size = pictures.importance_bars(found)
    rest = len(found.columns) - len(found.columns[:30])
    more = f" The other {rest} cost less." if rest > 0 else ""
    told = (f"What it costs on {found.rows:,} {outcome.rows_scored} rows when a column's values are shuffled (mean and "
            f"deviation of five orders). Of columns that say the same, each may look unimportant.{more}")
    return _section("Columns that matter", f'<p class="quiet">{told}</p>',
                    f'<figure>{pictures.themed(paint, size, "importance of columns")}</figure>')


def _columns(features: Features) -> str:
    rows = []
    for name, kind in features.kinds.items():
        first = features.spans[name].start
        told = f"mean {features.mean[first]:.5g}, deviation {features.scale[first]:.5g}"
        if kind.categories is not None:
            told = ", ".join(escape(category) for category in kind.categories[:_MOST_CATEGORIES])
            if len(kind.categories) > _MOST_CATEGORIES:
                told += f", ... {len(kind.categories)} in all"
        elif isinstance(kind, Boolean):
            told = f"true in {features.mean[first]:.0%}"
        elif isinstance(kind, Moment):
            told = ""
        if name in features.indicated:
            told += "; whether it is missing is a column of its own"
        rows.append([escape(name), escape(kind.words), told])
    left = ", ".join(escape(name) for name in features.ignored)
    said = f'<p class="quiet">Not read as inputs: {left}</p>' if left else ""
    head = ["column", "read as", "in the training rows"]
    return _section("Columns as understood", _table(head, rows, kind="words"), said)


def _training(outcome: Outcome, command: str) -> str:
    run, result, settings = outcome.run, outcome.result, outcome.run.settings
    hidden = ", ".join(map(str, settings.hidden)) or "none (a linear model)"
    rows = [
        ["hidden layers", escape(hidden)],
        ["networks averaged", f"{settings.members}"],
        ["activation, dropout", f"{settings.activation}, {settings.dropout:g}"],
        ["optimiser", f"{settings.optimizer}, rate {settings.lr:g}, weight decay {settings.weight_decay:g}"],
        ["rows a step, steps", f"{run.batch_size:,}, {result.steps:,}"],
        ["parameters", f"{result.parameters:,} of {settings.dtype}"],
        ["class weights", settings.class_weight or "none"],
        ["planned memory", f"{result.peak_bytes / 2**20:,.2f} MiB"],
        ["seconds in all", f"{outcome.seconds:.2f}"],
    ]
    notes = "".join(f"<li>{escape(note)}</li>" for note in outcome.notes)
    tried = ""
    if outcome.candidates is not None:
        best = [candidate_cells(candidate) for candidate in outcome.candidates[:CANDIDATES_SHOWN]]
        tried = "<br>" + _table(CANDIDATE_COLUMNS, best, f"{len(outcome.candidates)} candidates, the chosen one first")
    return _section("Training", f"<p><code>{escape(command)}</code></p>",
                    _table(["", ""], rows, kind="words"), tried,
                    f"<ul>{notes}</ul>" if notes else "")
