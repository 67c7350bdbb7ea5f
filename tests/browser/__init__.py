"""The operator pages in a real Chromium, on a real stack under real traffic."""
