"""What a storage's URI may be: no secret stands in one."""

from urllib.parse import parse_qsl, urlsplit

_SCHEMES = ("s3", "gs")
# Where the storage is; never who asks. The rest of what pyarrow takes can hold keys.
_OPTIONS = ("endpoint_override", "region", "scheme")


def problem_of_place(uri: str) -> str | None:
    """What is wrong with a path or a URI, in words that repeat no secret; None where nothing is."""
    if "://" not in uri:
        return None
    scheme = uri.partition("://")[0]
    if scheme not in _SCHEMES:
        return f"wanted s3://, gs:// or a path, got the scheme {scheme[:20]!r}"
    try:
        parts = urlsplit(uri)
    except ValueError:
        return "wanted a URI such as s3://bucket/prefix"
    if "@" in parts.netloc:
        return (
            "wanted no credentials in the URI: the storage's own environment variables, files or"
            " roles give them"
        )
    if not parts.netloc:
        return "wanted a URI with a bucket, such as s3://bucket/prefix"
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _OPTIONS:
            return f"wanted no options but {', '.join(_OPTIONS)}, got {name[:20]!r}"
    return None
