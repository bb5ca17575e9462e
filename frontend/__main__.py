"""`python -m frontend`: serves the page until the process ends.

Everything is imported below, where the processes that decode media, which load this module, do not come.
"""

import os

if __name__ == "__main__":
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from frontend.server import main

    main()
