"""`python -m frontend`: serves the page until the process ends.

The page is imported inside the `if`: processes that decode media load this module, too, and do not need it.
"""

import os

if __name__ == "__main__":
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from frontend.server import main

    main()
