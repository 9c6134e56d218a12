"""Picture of a real report for the README: python docs/picture.py [REPORT.html]."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

REPOSITORY = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT, SCALE = 1080, 1240, 1.5


def demo_report() -> Path:
    """The first regression of the demo."""
    report = REPOSITORY / "runs" / "contact_centre" / "panel_regression--cx_nps" / "report.html"
    if not report.exists():
        sys.exit(f"There is no {report.relative_to(REPOSITORY)}. Run `make demo` first.")
    return report


def main() -> None:
    """Open the page as a reader would and keep what the first screen shows."""
    report = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else demo_report()
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
