"""`make secrets`: the secrets that docker-compose.yml mounts, a file each, and the line in .env that names them.

The folder is its owner's only; the files in it can be read by whom they are mounted for, which is another user.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "secrets"
VARIABLE = "STARS_SECRETS"


def contents(secret: Callable[[str], str]) -> dict[str, str]:
    """Every file's text. `secret` gives the secret part for a purpose."""
    database = secret("database")
    keys = {name: (f"stars-{name}-{secret(f'{name}-id')}", secret(f"{name}-key")) for name in ("setup", "service")}
    # The service reads and writes in its bucket; only the setup may make one.
    allowed = {"setup": ["Admin"], "service": [f"{action}:stars" for action in ("Read", "Write", "List")]}
    accounts = [
        {"name": name, "credentials": [{"accessKey": key, "secretKey": hidden}], "actions": allowed[name]}
        for name, (key, hidden) in keys.items()
    ]
    profiles = {
        name: f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {hidden}\n"
        for name, (key, hidden) in keys.items()
    }
    return {
        "admin_key": secret("admin") + "\n",
        "aws_credentials": profiles["service"],
        "aws_setup_credentials": profiles["setup"],
        "database_password": database + "\n",
        "grafana_password": secret("grafana"),
        "jobs_url": f"postgresql+psycopg://stars:{database}@database/stars\n",
        "store_accounts": json.dumps({"identities": accounts}, indent=2) + "\n",
    }


def write(folder: Path, texts: dict[str, str]) -> None:
    """Write the files into a folder that must not be there yet. Raises FileExistsError."""
    folder.mkdir(mode=0o700)
    for name, text in texts.items():
        file = folder / name
        file.write_text(text, encoding="ascii")
        file.chmod(0o444)


def main(root: Path = ROOT) -> int:
    try:
        write(root / FOLDER, contents(lambda _: secrets.token_urlsafe(32)))
    except FileExistsError:
        print(f"{root / FOLDER} is there already and is kept: remove it for new ones")  # noqa: T201
    settings = root / ".env"
    text = settings.read_text(encoding="utf-8") if settings.exists() else ""
    if not any(line.startswith(f"{VARIABLE}=") for line in text.splitlines()):
        settings.write_text(f"{text}{VARIABLE}=./{FOLDER}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
