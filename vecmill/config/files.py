"""Names of files that vecmill looks for in the current folder."""

PIPELINES_FILE = "pipelines.yaml"
