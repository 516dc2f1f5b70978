"""A column of an artifact on S3, read where it lies: what travels, and a server that fails now and then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.stage import StageIO, StageReport


@pytest.mark.server
def test_a_column_alone_travels_and_failures_that_pass_are_no_matter(
    tmp_path: Path, s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3
    from s3fs import S3File

    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="columns")
    s3.close()
    names = [f"d{number:05d}" for number in range(2_000)]
    source = np.random.default_rng(1)

    def work(folder: Path) -> StageReport:
        texts = [source.bytes(150).hex() for _ in names]
        pq.write_table(pa.table({"doc_id": names, "text": texts}), folder / "part.parquet", row_group_size=500)
        return StageReport()

    place = StoreConfig(uri="s3://columns/store", cache=str(tmp_path / "cache"))
    manifest = ArtifactStore(place).build("ingest", "a", {}, {}, {}, work)
    n_bytes = manifest.files[0].bytes

    sizes: list[int] = []
    n_asked = 0
    whole = S3File._fetch_range

    def fetch(self: S3File, start: int, end: int) -> bytes:
        nonlocal n_asked
        n_asked += 1
        if n_asked % 3 == 0:
            raise ConnectionResetError("reset by peer")
        content: bytes = whole(self, start, end)
        sizes.append(len(content))
        return content

    monkeypatch.setattr(S3File, "_fetch_range", fetch)
    elsewhere = ArtifactStore(place.model_copy(update={"cache": str(tmp_path / "elsewhere")}))
    io = StageIO(elsewhere.folders({"ingest": manifest.ref}), tmp_path / "output")
    with io.opened("ingest", "part.parquet") as stream, pq.ParquetFile(stream) as file:
        found = [each for batch in file.iter_batches(columns=["doc_id"]) for each in batch.column(0).to_pylist()]
    assert found == names
    assert n_asked >= 3 and 0 < sum(sizes) < n_bytes / 4
    assert not list((tmp_path / "elsewhere").rglob("part.parquet"))
