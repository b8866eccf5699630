"""What each page makes a reader fetch, on a first visit: requests, bytes, time to first paint; and
how much of its height is code.

Bytes are those of the bodies, compressed with gzip as a host does with text. The time is that of
this machine with the site on it, so it shows the browser's work and no network; the median of
five visits, each with an empty cache. The share of code is that of the cells and listings that are
not folded in the height of the article, 1280 pixels wide.
"""

import functools
import gzip
import http.server
import statistics
import threading
from pathlib import Path

from chromium import launched

SITE = Path(__file__).parents[1] / "_build" / "html"
VISITS = 5
PAINT = """() => new Promise(done => new PerformanceObserver(list => {
  for (const entry of list.getEntries())
    if (entry.name === "first-contentful-paint") done(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""

CODE = """() => {
  const article = document.querySelector("article.bd-article") ?? document.body;  // as of search
  const blocks = [...article.querySelectorAll("[class*=highlight-]")];
  const shown = blocks.filter(e => !e.closest("details, .toggle-hidden"));
  const heights = [article, ...shown].map(e => e.getBoundingClientRect().height);
  return [heights[0], heights.slice(1).reduce((a, b) => a + b, 0) / heights[0]];
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def sent(path: Path) -> int:
    """The bytes that a host sends: text compressed, fonts and pictures as they are."""
    body = path.read_bytes()
    return (
        len(gzip.compress(body)) if path.suffix in (".html", ".css", ".js", ".svg") else len(body)
    )


def main() -> None:
    handler = functools.partial(Quiet, directory=str(SITE))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    print(
        f"{'page':30} {'requests':>8} {'kB sent':>8} {'kB page':>8} {'paint ms':>9} "
        f"{'height':>7} {'code':>5}   heaviest"
    )
    with launched() as browser:
        for name in sorted(path.name for path in SITE.glob("*.html") if path.name != "404.html"):
            paints, files = [], []
            for _ in range(VISITS):
                page = browser.new_context(viewport={"width": 375, "height": 800}).new_page()
                files = []
                page.on("request", lambda request, files=files: files.append(request.url))
                page.goto(address + name, wait_until="networkidle")
                paints.append(page.evaluate(PAINT))
                page.context.close()
            page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            page.goto(address + name, wait_until="networkidle")
            height, code = page.evaluate(CODE)
            page.context.close()
            paths = [
                SITE / url.removeprefix(address).split("?")[0]
                for url in files
                if url.startswith(address)
            ]
            sizes = {path.name: sent(path) for path in paths if path.is_file()}
            heavy = sorted(sizes, key=lambda key: -sizes[key])[:3]
            print(
                f"{name:30} {len(files):8} {sum(sizes.values()) / 1e3:8.0f} "
                f"{sizes[name] / 1e3:8.0f} {statistics.median(paints):9.0f} {height:7.0f} "
                f"{code:5.0%}   " + ", ".join(f"{key} {sizes[key] / 1e3:.0f}" for key in heavy)
            )
    server.shutdown()


if __name__ == "__main__":
    main()
