"""Whether the worker in this container has announced itself in the job store of late."""

import socket
import sys

from contracts.jobs.store import JobStore
from contracts.settings import Home

workers = JobStore(Home.default().job_store_url()).queue().workers
sys.exit(not any(worker.id.startswith(f"{socket.gethostname()}-") for worker in workers))
