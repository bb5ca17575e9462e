"""`python -m frontend`: serves the page until the process ends.

Imports are inside the `if`, because the processes that decode media load this module too and need none of it.
"""

import os

if __name__ == "__main__":
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from frontend.server import main

    main()
