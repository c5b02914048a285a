"""When an HTTP server begins to answer: `python answers.py PORT SECONDS [PATH]` in its network namespace.

Prints the monotonic time and the status of the first answer.  It asks every few milliseconds: a bench may.
"""

from __future__ import annotations

import http.client
import sys
import time


def first_answer(port: int, seconds: float, path: str) -> tuple[float, int]:
    """Raises TimeoutError."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            return time.monotonic(), answer.status
        except OSError:
            time.sleep(0.003)
        finally:
            connection.close()
    raise TimeoutError(f"port {port} does not answer within {seconds} s")


if __name__ == "__main__":
    moment, status = first_answer(int(sys.argv[1]), float(sys.argv[2]), *(sys.argv[3:4] or ["/"]))
    sys.stdout.write(f"{moment} {status}\n")
