"""A monitored run as a page that stands alone: no network, light and dark, by mouse and keyboard."""

from __future__ import annotations

import html
import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .figures import Monitored

#: samples on the page; of more, evenly spaced ones are shown
_MOST = 200


def write(monitor: Monitored, path: str | PathLike[str]) -> None:
    """See `Monitor.html`."""
    monitor.latest()
    found = {finding.step for finding in monitor.findings()}
    every = np.linspace(0, len(monitor) - 1, min(_MOST, len(monitor))).round().astype(int)
    chosen = sorted({*every.tolist(), *(k for k, sample in enumerate(monitor.samples) if sample.step in found)})
    data = _rounded({"samples": [monitor.samples[k].to_dict() for k in chosen]})
    findings = "".join(f"<li data-step='{finding.step}'><button>step {finding.step}</button> <b>{finding.flag}</b> "
                       f"{html.escape(str(finding).partition(': ')[2])}</li>" for finding in monitor.findings())
    left = len(monitor) - len(chosen)
    said = (f"{monitor.step:,} steps, {len(monitor):,} of them looked into"
            + (f"; {left:,} of those are not on this page" if left else ""))
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    page = _PAGE.replace("{said}", said).replace("{findings}", findings or "<li>nothing is flagged</li>")
    Path(path).write_text(page.replace("{data}", text), encoding="utf-8")


def _rounded(data: Any) -> Any:
    """The same with five digits of each number."""
    if isinstance(data, dict):
        return {key: _rounded(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_rounded(value) for value in data]
    return float(f"{data:.5g}") if isinstance(data, float) else data


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Training, layer by layer</title>
<style>
:root { color-scheme: light dark; --ink: #222; --faint: #666; --paper: #fff; --line: #ddd; --value: #3b4a6b;
  --adjoint: #d1495b; --gradient: #8e5572; --weight: #7a9e7e; --flag: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --faint: #aaa; --paper: #16181d; --line: #3a3d45;
  --value: #9fb2dd; --adjoint: #ff8791; --gradient: #d79ab9; --weight: #a5cda9; --flag: #ff8a80; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 1.5rem; }
h1 { font-size: 1.25rem; margin: 0; } h2 { font-size: 1rem; margin: 1.2rem 0 .3rem; } p, ul { margin: .2rem 0; }
.faint { color: var(--faint); } ul { padding-left: 0; list-style: none; } li { padding: .15rem 0; }
li b { color: var(--flag); } button { font: inherit; cursor: pointer; }
.control { position: sticky; top: 0; background: var(--paper); padding: .6rem 0; display: flex; gap: .8rem;
  align-items: center; border-bottom: 1px solid var(--line); z-index: 1; }
input[type=range] { flex: 1; } output { min-width: 15rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; min-width: 60rem; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: middle;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th { font-weight: 600; } .v { color: var(--value); } .a { color: var(--adjoint); } .g { color: var(--gradient); }
.w { color: var(--weight); } .flag { color: var(--flag); font-weight: 600; }
svg { display: block; } svg.bars { height: 26px; width: 96px; } svg.curve { height: 90px; width: 100%; }
</style></head><body>
<h1>Training, layer by layer</h1>
<p class="faint">{said}. Norms are Euclidean; histograms have 16 bins from the least to the greatest element,
of large arrays those of 2,048 evenly spaced elements.</p>
<h2>Findings</h2><ul id="findings">{findings}</ul>
<h2>Loss</h2><svg class="curve" id="curve" viewBox="0 0 1000 90" preserveAspectRatio="none" role="img"
 aria-label="loss at the steps looked into"></svg>
<div class="control"><label for="at">step</label><input type="range" id="at" min="0" value="0" step="1">
<output id="which" for="at" aria-live="polite"></output></div>
<div class="scroll"><table><thead><tr><th>layer</th><th>op</th><th>flags</th><th class="v">output</th><th></th>
<th class="a">adjoint</th><th></th><th>parameter</th><th class="g">gradient</th><th></th><th class="w">weight</th>
<th></th><th>update / weight</th></tr></thead><tbody id="rows"></tbody></table></div>
<script>
const samples = {data}.samples, at = document.getElementById("at"), rows = document.getElementById("rows");
const short = v => v === null || v === undefined ? "" : typeof v === "string" ? v
  : v === 0 ? "0" : Math.abs(v) >= 1e4 || Math.abs(v) < 1e-3 ? v.toExponential(2) : String(+v.toPrecision(3));
const escape = s => s.replace(/[&<>"']/g, c => "&#" + c.charCodeAt(0) + ";");
function bars(q, kind) {
  if (!q || !q.histogram || q.min === q.max) return "";
  const h = q.histogram, top = Math.max(...h.counts);
  const title = short(h.low) + " to " + short(h.high) + ", mean " + short(q.mean);
  return `<svg class="bars" viewBox="0 0 96 26" role="img" aria-label="histogram from ${title}"><title>${title}</title>`
    + h.counts.map((c, k) => c ? `<rect x="${6 * k}" width="5" y="${26 - Math.max(1, 26 * c / top)}"
      height="${Math.max(1, 26 * c / top)}" fill="var(--${kind})"/>` : "").join("") + "</svg>";
}
function show() {
  const s = samples[at.value], line = [];
  document.getElementById("which").textContent = `${s.step}, loss ${short(s.loss)}`;
  for (const l of s.layers) {
    const ps = l.parameters.length ? l.parameters : [null], n = ps.length, span = `rowspan="${n}"`;
    const where = l.where ? `${l.where.file}:${l.where.line}` : "", notes = l.flags.slice();
    if (l.dead) notes.push(`${(100 * l.dead).toFixed(0)}% of units not active`);
    if (l.saturated) notes.push(`${(100 * l.saturated).toFixed(0)}% saturated`);
    ps.forEach((p, k) => line.push("<tr>" + (k ? "" : `<td ${span} title="${escape(where)}">${escape(l.name)}</td>
      <td ${span}>${l.op} <span class="faint">[${l.shape}]</span></td>
      <td ${span} class="${l.flags.length ? "flag" : "faint"}">${notes.join(", ")}</td>
      <td ${span} class="v">${short(l.value && l.value.norm)}</td>
      <td ${span}>${bars(l.value, "value")}</td><td ${span} class="a">${short(l.adjoint && l.adjoint.norm)}</td>
      <td ${span}>${bars(l.adjoint, "adjoint")}</td>`)
      + (p ? `<td>${escape(p.name)} <span class="faint">[${p.shape}]</span></td>
      <td class="g">${short(p.gradient.norm)}</td><td>${bars(p.gradient, "gradient")}</td>
      <td class="w">${short(p.weight.norm)}</td><td>${bars(p.weight, "weight")}</td><td>${short(p.ratio)}</td>`
      : "<td></td>".repeat(6)) + "</tr>"));
  }
  rows.innerHTML = line.join("");
  mark.setAttribute("x1", x(s.step)); mark.setAttribute("x2", x(s.step));
}
const ok = samples.filter(s => typeof s.loss === "number"), losses = ok.map(s => s.loss);
const last = samples[samples.length - 1].step || 1, x = step => 1000 * step / last;
const least = Math.min(...losses), most = Math.max(...losses);
const log = least > 0 && most > 5 * least, f = v => log ? Math.log(v) : v;
const y = v => 85 - 80 * (f(v) - f(least)) / ((f(most) - f(least)) || 1);
const curve = document.getElementById("curve");
curve.innerHTML = `<polyline fill="none" stroke="currentColor" vector-effect="non-scaling-stroke" points="`
  + ok.map(s => x(s.step) + "," + y(s.loss)).join(" ") + `"/><line id="mark" y1="0" y2="90" stroke="var(--adjoint)"
  vector-effect="non-scaling-stroke"/>`;
const mark = document.getElementById("mark");
at.max = samples.length - 1; at.value = at.max;
at.addEventListener("input", show);
const go = step => { at.value = samples.reduce((best, s, k) => Math.abs(s.step - step)
  < Math.abs(samples[best].step - step) ? k : best, 0); show(); };
curve.addEventListener("click", e => { const box = curve.getBoundingClientRect();
  go(last * (e.clientX - box.left) / box.width); });
for (const li of document.querySelectorAll("#findings li[data-step]"))
  li.querySelector("button").addEventListener("click", () => go(+li.dataset.step));
show();
</script></body></html>
"""
