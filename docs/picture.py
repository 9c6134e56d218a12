"""Picture of a real report for the README: python docs/picture.py [REPORT.html]."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

REPOSITORY = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT, SCALE = 1080, 1240, 1.5


def newest_report() -> Path:
    """The last panel regression of the demo."""
    found = REPOSITORY.glob("runs/contact_centre/panel_regression*/report.html")
    reports = sorted(found, key=lambda path: path.stat().st_mtime)
    if not reports:
        sys.exit("There is no report under runs/contact_centre. Run `make demo` first.")
    return reports[-1]


def main() -> None:
    """Open the page as a reader would and keep what the first screen shows."""
    report = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else newest_report()
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        sys.exit(f"No browser found; looked for {', '.join(BROWSERS)}.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT},
            device_scale_factor=SCALE,
            color_scheme="light",
        )
        page.goto(report.as_uri())
        page.screenshot(path=REPOSITORY / "docs" / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
