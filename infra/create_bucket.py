"""Create the bucket that artifacts and models go to, unless it is there already.

Usage: python create_bucket.py NAME      (endpoint and credentials from the usual AWS variables)
"""

from __future__ import annotations

import sys

import boto3
from botocore.exceptions import ClientError


def create_bucket(name: str) -> bool:
    """Make sure that the bucket exists; True if it had to be created."""
    client = boto3.client("s3")
    try:
        client.head_bucket(Bucket=name)
    except ClientError as error:
        # A HEAD request has no body, so the status is all there is to tell "not there" from "not allowed".
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        client.create_bucket(Bucket=name)
        return True
    return False


if __name__ == "__main__":
    bucket = sys.argv[1]
    sys.stdout.write(f"bucket {bucket}: {'created' if create_bucket(bucket) else 'already there'}\n")
