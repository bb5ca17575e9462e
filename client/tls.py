"""Certificates, loaded once: loading takes 30 ms, which would else be in every TTFT."""

import ssl

TLS = ssl.create_default_context()
