# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A QMP client for the scripts: blocking, one connection, events kept in order.
import json
import socket
import time

GREETING_SECONDS = 20
CLOSED = "the monitor closed its connection"


class QmpError(Exception):
    """The server answered a command with an error."""

    def __init__(self, command, error):
        super().__init__(f"{command}: {error.get('desc', error)}")
        self.error_class = error.get("class")


class Qmp:
    """One negotiated connection. Not for several threads."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.events = []
        try:
            self.greeting = self._next_message(time.monotonic() + GREETING_SECONDS)
        except TimeoutError:
            sock.close()
            raise TimeoutError("no greeting: another client may hold this monitor") from None
        self.execute("qmp_capabilities")

    @classmethod
    def connect_unix(cls, path, deadline, hopeless=lambda: False):
        """Retries until the server listens, `deadline` (time.monotonic()) has passed, or there is no hope any more."""
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(path)
                return cls(sock)
            except (FileNotFoundError, ConnectionRefusedError):
                sock.close()
                if time.monotonic() > deadline or hopeless():
                    raise
                time.sleep(0.002)

    def _next_message(self, deadline):
        while b"\n" not in self.buffer:
            if deadline is not None:
                self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                raise EOFError(CLOSED)
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def execute(self, command, /, **arguments):
        """The command's return value. Underscores in argument names become dashes."""
        request = {"execute": command}
        if arguments:
            request["arguments"] = {name.replace("_", "-"): value for name, value in arguments.items()}
        self.sock.settimeout(None)
        try:
            self.sock.sendall(json.dumps(request).encode())
        except (BrokenPipeError, ConnectionResetError) as error:
            raise EOFError(CLOSED) from error
        while True:
            message = self._next_message(None)
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise QmpError(command, message["error"])
            else:
                return message["return"]

    def wait_event(self, name, seconds=60.0, match=None):
        """The next event of that name (and, with `match`, whose data has those members), dropping others."""
        deadline = time.monotonic() + seconds
        while True:
            event = self.events.pop(0) if self.events else self._next_message(deadline)
            if event.get("event") == name and all(event.get("data", {}).get(k) == v for k, v in (match or {}).items()):
                return event

    def hmp(self, line):
        return self.execute("human-monitor-command", command_line=line)

    def close(self):
        self.sock.close()
