"""Whether TorchServe in this container answers: its /ping wants a key, which only its own user can read."""

import json
from pathlib import Path
from urllib.request import Request, urlopen

key = json.loads(Path("/run/torchserve/tmp/key_file.json").read_bytes())["inference"]["key"]
urlopen(Request("http://127.0.0.1:8080/ping", headers={"authorization": f"Bearer {key}"}), timeout=4)
