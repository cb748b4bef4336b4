#!/usr/bin/env python3
"""The page of `make web` in headless Chromium, against ./saeuron.

    web.py [--web build/web] [--saeuron ./saeuron] [--screenshot FILE.png]

Serves the folder to a browser, draws with it, and compares pixels, digests and chosen latents with what the program makes of the same
options; then what the page promises beside: labels, the keyboard, a phone's width, Cancel, errors in one line, nothing fetched from
elsewhere, nothing on the console. Two steps make poor pictures, but the bytes are as good as any. With --screenshot the page draws what it
opens with, and nothing is checked. Wants Debian's chromium and chromium-driver. The last line is "N passed, N failed"."""

import argparse
import functools
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPT, CONCEPT, SEED, STEPS = "It's an image of Cats in Sketch style.", "Cats", 7, 2
PATIENCE = 200  # seconds, on a machine that does much else
results = {True: 0, False: 0}


def check(good, text):
    results[bool(good)] += 1
    if not good:
        print(f"FAIL {text}", flush=True)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class Page:
    """The page in a browser of its own."""

    def __init__(self, url):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage":
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.browser = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
        self.browser.get(url)

    def __getitem__(self, name):
        return self.browser.find_element("id", name)

    def js(self, text, *arguments):
        return self.browser.execute_script(text, *arguments)

    def put(self, **values):
        for name, value in values.items():
            self[name].clear()
            self[name].send_keys(str(value))

    def idle(self):
        """Waits until nothing is loaded or drawn; what the page says then."""
        WebDriverWait(self.browser, PATIENCE, 0.1).until(lambda _: not self["cancel"].is_enabled() and self["status"].text != "Loading the model.")
        return self["status"].text

    def draw(self):
        self["draw"].click()
        return self.idle()

    def pixels(self, name):
        """[height,width,3] of a canvas."""
        width, height, data = self.js("const c = document.getElementById(arguments[0]);"
                                      "return [c.width, c.height, Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)]", name)
        return np.array(data, np.uint8).reshape(height, width, 4)[:, :, :3]


def run(a, *arguments):
    return subprocess.run([a.saeuron, *arguments], capture_output=True, text=True)


def program(a, folder, name, *more):
    """Pixels and digest of the program's picture."""
    path = os.path.join(folder, name)
    done = run(a, "generate", "-q", "-p", PROMPT, "--seed", str(SEED), "--steps", str(STEPS), *more, "-o", path)
    assert done.returncode == 0, done.stderr
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")), run(a, "digest", path).stdout.split()[0]


def selected(a, timestep):
    """(latent, score) of the step of the statistics that is nearest to the timestep, as the page prints them."""
    rows = [json.loads(line) for line in run(a, "select", "--forget", CONCEPT, "--json").stdout.splitlines()]
    nearest = min({r["timestep"] for r in rows}, key=lambda t: (abs(t - timestep), -t))
    return rows[0]["hook"], [(r["latent"], r["score"]) for r in rows if r["timestep"] == nearest]


# ---- what is checked ----

def check_pictures(page, a):
    page.put(prompt=PROMPT, seed=SEED, steps=STEPS)
    Select(page["concept"]).select_by_value(CONCEPT)
    said = page.draw()
    check(re.fullmatch(r"Drawn in [0-9.]+ s\.", said), f"after drawing the page says: {said}")
    with tempfile.TemporaryDirectory() as folder:
        pictures = {"plain": program(a, folder, "plain.png"), "edited": program(a, folder, "edited.png", "--forget", CONCEPT, "--map-steps")}
    for name, (pixels, digest) in pictures.items():
        check(np.array_equal(page.pixels(name), pixels), f"{name}: the canvas has other pixels than the program's picture")
        check(page[f"digest-{name}"].text == digest, f"{name}: the page's digest is {page[f'digest-{name}'].text}, the program's {digest}")
        check(CONCEPT in page[name].accessible_name and PROMPT in page[name].accessible_name, f"{name} is read as: {page[name].accessible_name}")
    apart = np.abs(pictures["plain"][0].astype(int) - pictures["edited"][0])
    check(apart.any() and np.array_equal(page.pixels("difference"), apart), "the third picture is not the difference of the two")
    check("apart" in page["difference"].accessible_name, f"the difference is read as: {page['difference'].accessible_name}")
    with tempfile.TemporaryDirectory() as folder:
        text = page["command"].text.replace("./saeuron", os.path.abspath(a.saeuron))
        done = subprocess.run(["sh", "-ec", text], cwd=folder, capture_output=True, text=True,
                              env={**os.environ, "SAEURON_MODEL": os.path.join(os.path.abspath(HERE), "..", "weights", "emojicanvas")})
        check([line.split()[0] for line in done.stdout.splitlines() if "  " in line] == [digest for _, digest in pictures.values()],
              f"the commands that the page names print: {done.stdout}{done.stderr}")
    rows = [[cell.text for cell in row.find_elements("tag name", "td")] for row in page["latents"].find_elements("tag name", "tr")]
    check(len(rows) == STEPS, f"{len(rows)} rows of latents for {STEPS} steps")
    for _, timestep, cells in rows:
        hook, latents = selected(a, int(timestep))
        check(hook in page["hook"].text, f"the hook is {hook}, the page says: {page['hook'].text}")
        told = [(int(number), float(score)) for number, score in re.findall(r"(\d+) \(([-+.e\d]+)\)", cells)]
        check([n for n, _ in told] == [n for n, _ in latents], f"timestep {timestep}: the page's latents are {told}, the program's {latents}")
        check(all(abs(x - y) <= 0.006 * abs(y) for (_, x), (_, y) in zip(told, latents)), f"timestep {timestep}: scores {told}, the program's {latents}")


def check_form(page):
    with open(os.path.join(HERE, "..", "weights", "emojicanvas", "concepts.json"), encoding="utf-8") as f:
        concepts = [c for domain in json.load(f)["domains"].values() for c in domain["concepts"]]
    check([o.get_attribute("value") for o in Select(page["concept"]).options] == concepts, "the select has other concepts than concepts.json")
    for field in page.browser.find_elements("css selector", "input, select, button, progress"):
        check(field.accessible_name, f"{field.get_attribute('outerHTML')} has no label")
    page["prompt"].click()
    order = []
    for _ in range(4):
        page.browser.switch_to.active_element.send_keys(Keys.TAB)
        focused = page.browser.switch_to.active_element
        order.append(focused.get_attribute("id"))
        check(focused.value_of_css_property("outline-style") == "solid", f"{order[-1]}: the keyboard's focus is not seen")
    check(order == ["concept", "seed", "steps", "draw"], f"Tab goes from the prompt to {order}")
    check(page["status"].get_attribute("aria-live") == "polite", "the status is not read out")


def check_phone(page):
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": False})
    check(page.js("return innerWidth") == 360, "the window is not 360 pixels wide")
    check(page.js("return document.documentElement.scrollWidth") <= 360, "at 360 pixels the page scrolls sideways")
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def check_refusals(page, a):
    for name, value in ("steps", 0), ("steps", 51), ("steps", 1.5), ("seed", -1), ("seed", ""), ("prompt", ""):
        before = page[name].get_attribute("value")
        page.put(**{name: value})
        page["draw"].click()
        check(not page["cancel"].is_enabled() and not page.js("return arguments[0].validity.valid", page[name]), f"{name} {value!r} is not refused")
        page.put(**{name: before})
    page.js("document.getElementById('steps').removeAttribute('max')")
    page.put(steps=1001)
    said = page.draw()
    check(said == "steps must be from 1 to 1000", f"1001 steps: {said}")
    page.put(steps=STEPS)
    page.js("document.getElementById('concept').add(new Option('Blorks', 'Blorks'))")
    Select(page["concept"]).select_by_value("Blorks")
    said, line = page.draw(), run(a, "generate", "-p", "x", "--forget", "Blorks", "-o", os.devnull).stderr
    check(said.startswith("concept Blorks is in no statistics") and said in line, f"an unknown concept: {said}; the program says {line}")
    Select(page["concept"]).select_by_value(CONCEPT)


def check_cancel(page):
    page.put(steps=50)
    page["prompt"].send_keys(Keys.ENTER)
    check(page["cancel"].is_enabled() and not page["draw"].is_enabled(), "Enter does not draw")
    WebDriverWait(page.browser, PATIENCE, 0.1).until(lambda _: page.js("return document.getElementById('progress').value") > 0)
    check(page.browser.switch_to.active_element == page["cancel"], "the focus is not on Cancel")
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    check(page["status"].text == "Cancelled.", f"after Cancel: {page['status'].text}")
    check(page["draw"].is_enabled() and page.browser.switch_to.active_element == page["draw"], "after Cancel nothing can be drawn")


def check_quiet(page, url):
    said = [entry["message"] for entry in page.browser.get_log("browser")]
    check(not said, f"on the console: {said}")
    fetched = page.js("return performance.getEntriesByType('resource').map(e => e.name)")
    check(fetched and all(name.startswith((url, "data:")) for name in fetched), f"fetched: {fetched}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--web", default=os.path.join(HERE, "..", "build", "web"))
    p.add_argument("--saeuron", default=os.path.join(HERE, "..", "saeuron"))
    p.add_argument("--screenshot", metavar="FILE.png")
    a = p.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=a.web))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    page = Page(url)
    try:
        said = page.idle()
        if a.screenshot:
            page.browser.set_window_size(880, 1200)
            said = page.draw()
            page.browser.save_screenshot(a.screenshot)
            print(said)
            return 0
        check(said == "Ready.", f"at the start the page says: {said}")
        check_form(page)
        check_pictures(page, a)
        check_phone(page)
        check_refusals(page, a)
        check_cancel(page)
        check_quiet(page, url)
    finally:
        page.browser.quit()
        server.shutdown()
    print(f"{results[True]} passed, {results[False]} failed")
    return 1 if results[False] else 0


if __name__ == "__main__":
    sys.exit(main())
