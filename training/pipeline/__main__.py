import sys

from training.pipeline.runner import main

sys.exit(main())
