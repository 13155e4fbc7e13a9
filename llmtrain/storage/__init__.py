"""One way to read and write artifacts, over fsspec: a mounted volume or an S3-compatible bucket."""
