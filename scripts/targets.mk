# Targets that are not compilation: set-up, tests, demo, lint, benchmarks.
