"""Opens a page in Chromium through a web server, and returns what a script saw there."""

import functools
import json
import queue
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder; its page gets a script, whose results come back as a POST."""

    def __init__(self, *args, script, results, **options):
        self.script, self.results = script, results
        super().__init__(*args, **options)

    def do_GET(self):
        if self.path != "/":
            super().do_GET()
            return
        with open(self.translate_path("/index.html"), encoding="utf-8") as file:
            page = file.read().replace("</body>", f"{self.script}</body>").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(page)

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.results.put(json.loads(self.rfile.read(length)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


def browse(folder, script, tmp_path, width=1280, timeout=120):
    """Opens the page of a folder and waits for the result of a script.

    Args:
      folder: the folder with index.html.
      script: the body of an async function in JavaScript that returns the result.
      tmp_path: a folder for the files of the browser.
      width: width of the window.
      timeout: seconds until the test fails.

    Returns:
      The result, and the console messages of the page.
    """
    probe = f"""<script>
(async () => {{ {script} }})().catch((error) => ({{ error: String(error) }}))
  .then((seen) => fetch("/seen", {{ method: "POST", body: JSON.stringify(seen ?? null) }}));
</script>"""
    results = queue.Queue()
    handler = functools.partial(_Handler, directory=folder, script=probe, results=results)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        options = (f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900")
        log = tmp_path / "chromium.log"
        with log.open("w") as stderr:
            browser = subprocess.Popen(
                [
                    CHROMIUM,
                    *OPTIONS,
                    *options,
                    "--enable-logging=stderr",
                    "--remote-debugging-port=0",
                    address,
                ],
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
            try:
                seen = results.get(timeout=timeout)
            finally:
                browser.terminate()
                browser.wait()
                server.shutdown()
    return seen, [line for line in log.read_text().splitlines() if "CONSOLE" in line]
