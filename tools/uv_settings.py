"""uv, which installs the packages, and what it must be told. Runs on Python 3.8 and later."""

from __future__ import annotations

import ast
import os
import subprocess

PIP = ("-m", "pip", "install", "--disable-pip-version-check")
UV = "uv==0.13.9"
UV_FOR_PIP = {  # uv does not read pip's settings: the variable of uv's that means the same
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
PATIENCE = {
    "UV_HTTP_TIMEOUT": "60",
    "UV_CONCURRENT_DOWNLOADS": "4",  # what is cut off begins anew: on a slow network few should be half done
}


def uv_settings(python: str) -> dict[str, str]:
    """pip's index, find-links, certificate and proxy settings as the variables that uv reads; its own win."""
    listed = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    settings = dict(PATIENCE)
    for line in sorted(listed.splitlines(), key=lambda each: each.startswith(":env:")):  # the environment wins
        key, _, value = line.partition("=")
        name = UV_FOR_PIP.get(key.rpartition(".")[2])
        if name:
            settings[name] = ("," if name == "UV_FIND_LINKS" else " ").join(str(ast.literal_eval(value)).split())
    if "UV_INDEX" in settings:
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip does: look in every index
    return {name: value for name, value in settings.items() if name not in os.environ}
