"""A page in a real headless Chromium: what a reader's screen shows, measured by a script that the test adds.

The page itself has no script; it is shown in a frame of a given width, and the host page reads its geometry.
"""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120
MEASURE = """
const frame = document.querySelector('iframe');
frame.addEventListener('load', () => {
  const page = frame.contentDocument, root = page.scrollingElement;
  const middle = element => { const box = element.getBoundingClientRect();
    return [(box.left + box.right) / 2, (box.top + box.bottom) / 2]; };
  const onScreen = (shape, x, y) => { const p = new DOMPoint(x, y).matrixTransform(shape.getScreenCTM()); return [p.x, p.y]; };
  const charts = {};
  for (const chart of page.querySelectorAll('svg.chart')) charts[chart.id] = {
    width: chart.getBoundingClientRect().width,
    x: [...chart.querySelectorAll('text.tick.x')].map(t => [t.textContent, middle(t)[0]]),
    y: [...chart.querySelectorAll('text.tick.y')].map(t => [t.textContent, middle(t)[1]]),
    fontPixels: Math.min(...[...chart.querySelectorAll('text')].map(t => t.getBoundingClientRect().height)),
    curves: Object.fromEntries([...chart.querySelectorAll('polyline')].map(
      line => [line.dataset.name, [...line.points].map(p => onScreen(line, p.x, p.y))])),
    marks: [...chart.querySelectorAll('circle.mark')].map(c => onScreen(c, c.cx.baseVal.value, c.cy.baseVal.value)),
    bars: [...chart.querySelectorAll('rect.bar')].map(b => { const r = b.getBoundingClientRect(); return [r.left, r.right]; }),
    barLabels: [...chart.querySelectorAll('text.bar')].map(t => t.textContent),
  };
  const out = document.createElement('pre');
  out.id = 'measured';
  out.textContent = JSON.stringify({ charts, scrollWidth: root.scrollWidth, clientWidth: root.clientWidth,
    loaded: frame.contentWindow.performance.getEntriesByType('resource').length, text: page.body.innerText });
  document.body.append(out);
});
"""


def measured(page: str, width: int, folder: Path) -> dict[str, Any]:
    """Geometry of a page in a frame so many CSS pixels wide; no network is in reach of it."""
    frame = f'<iframe style="border:0;width:{width}px;height:6000px" srcdoc="{html.escape(page)}"></iframe>'
    host = folder / f"host-{width}.html"
    host.write_text(f'<!doctype html><meta charset="utf-8"><body>{frame}<script>{MEASURE}</script></body>')
    dom = _dump(host, folder)
    found = re.search(r'<pre id="measured">(.*?)</pre>', dom, re.DOTALL)
    if found is None:
        raise AssertionError(f"the page did not load in Chromium: {dom[:2000]}")
    result: dict[str, Any] = json.loads(html.unescape(found[1]))
    return result


def _dump(host: Path, folder: Path) -> str:
    program = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if program is None:
        raise AssertionError("no Chromium on the PATH; `make test-browser` installs it")
    flags = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=20000",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}", "--dump-dom",
    )  # fmt: skip
    done = subprocess.run([program, *flags, host.as_uri()], capture_output=True, text=True, check=True, timeout=SECONDS)
    return done.stdout
