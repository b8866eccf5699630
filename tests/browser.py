"""The built site, served over loopback, and a Chromium that records what goes wrong on a page."""

import functools
import http.server
import os
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from chromium import MISSING, find, launched

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def site(building):
    """The folder of the built site, up to date by `make build`, which executes only what has
    changed."""
    command = ["make", "-o", ".venv/.ready", "build"]
    with building:
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "_build" / "html"


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def send_error(self, code, message=None, explain=None):
        """As a static host does, answer with the site's 404 page."""
        body = Path(self.directory, "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="session")
def address(site):
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(site))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="session")
def browser_at_hand():
    if find() is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(MISSING)


@pytest.fixture(scope="module")
def browser(browser_at_hand):
    with launched() as chromium:
        yield chromium


def opened(browser, address, *, width=1280, scheme="light"):
    """A page at an address, in a context of its own; its ``troubles`` collects errors, failed
    requests and requests to other hosts."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.troubles = []
    home = urlsplit(address)[:2]

    def guard(route):
        if urlsplit(route.request.url)[:2] == home:
            route.continue_()
        else:
            page.troubles.append(f"asks {route.request.url}")
            route.abort()

    context.route("**/*", guard)
    page.on(
        "console",
        lambda m: m.type in ("error", "warning") and page.troubles.append(f"console: {m.text}"),
    )
    page.on("pageerror", lambda error: page.troubles.append(f"script: {error}"))
    page.on("requestfailed", lambda request: page.troubles.append(f"failed: {request.url}"))
    page.on("response", lambda r: r.status >= 400 and page.troubles.append(f"{r.status}: {r.url}"))
    page.goto(address, wait_until="load")
    return page


@pytest.fixture
def open_page(browser):
    """Open an address anew, for a test that does something there."""
    pages = []

    def open_it(address, **how):
        pages.append(opened(browser, address, **how))
        return pages[-1]

    yield open_it
    for page in pages:
        page.context.close()


@pytest.fixture(scope="module")
def look_at(browser, address):
    """A page of the site by its name, opened once for all tests that only look at it; it is closed
    when a page of another name is asked for."""
    pages = {}

    def look(name, *, query="", width=1280, scheme="light"):
        key = name, query, width, scheme
        if key not in pages:
            if any(other != name for other, *_ in pages):
                close()
            where = f"{address}{name}.html{query}"
            pages[key] = opened(browser, where, width=width, scheme=scheme)
        return pages[key]

    def close():
        while pages:
            pages.popitem()[1].context.close()

    yield look
    close()
