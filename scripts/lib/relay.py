# SPDX-License-Identifier: LGPL-2.1-or-later
"""Passes TCP connections on, each byte a fixed time late: a long link where the kernel offers none.

usage: relay.py LISTEN-ADDRESS TO-ADDRESS TO-PORT DELAY-MS; prints the port it listens on."""
import collections
import selectors
import socket
import sys
import time

CHUNK = 256 << 10
MOST_UNDER_WAY = 64 << 20  # bytes held for one direction; then the sender has to wait


class Direction:
    """What was read from `source` and is to reach `sink` later."""

    def __init__(self, source, sink, delay):
        self.source, self.sink, self.delay = source, sink, delay
        self.queue = collections.deque()  # (due, bytes); empty bytes: the end
        self.held = 0
        self.reading = True
        self.over = False

    def wants_to_read(self):
        return self.reading and self.held < MOST_UNDER_WAY

    def due(self):
        return self.queue[0][0] if self.queue else None

    def read(self, now):
        try:
            data = self.source.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.reading = bool(data)
        self.held += len(data)
        self.queue.append((now + self.delay, memoryview(data)))

    def write(self, now):
        """Sends what is due; true when the sink took less than that."""
        while self.queue and self.queue[0][0] <= now:
            when, data = self.queue.popleft()
            if not data:
                self._end()
                return False
            try:
                sent = self.sink.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.reading = False
                self._end()
                return False
            self.held -= sent
            if sent < len(data):
                self.queue.appendleft((when, data[sent:]))
                return True
        return False

    def _end(self):
        self.queue.clear()
        self.over = True
        try:
            self.sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Relay:
    def __init__(self, listener, peer, delay):
        self.listener, self.peer, self.delay = listener, peer, delay
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ)
        self.directions = []

    def accept(self):
        near, _ = self.listener.accept()
        far = socket.create_connection(self.peer)
        for sock in (near, far):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.directions += [Direction(near, far, self.delay), Direction(far, near, self.delay)]

    def watch(self, blocked):
        """Registers what each socket waits for; seconds until something is due, None for no such thing."""
        wanted = {}
        for direction in self.directions:
            if direction.wants_to_read():
                wanted[direction.source] = wanted.get(direction.source, 0) | selectors.EVENT_READ
            if direction in blocked:
                wanted[direction.sink] = wanted.get(direction.sink, 0) | selectors.EVENT_WRITE
        known = {key.fileobj: key.events for key in self.selector.get_map().values()}
        for sock, events in known.items():
            if sock is not self.listener and sock not in wanted:
                self.selector.unregister(sock)
        for sock, events in wanted.items():
            if sock not in known:
                self.selector.register(sock, events)
            elif known[sock] != events:
                self.selector.modify(sock, events)
        dues = [d.due() for d in self.directions if d.due() is not None and d not in blocked]
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def drop_ended(self):
        """Closes the pairs of which both directions are over."""
        for one, other in list(zip(self.directions[::2], self.directions[1::2])):
            if one.over and other.over:
                for sock in (one.source, one.sink):
                    if sock in self.selector.get_map():
                        self.selector.unregister(sock)
                    sock.close()
                self.directions = [d for d in self.directions if d is not one and d is not other]

    def run(self):
        blocked = set()
        while True:
            ready = self.selector.select(self.watch(blocked))
            now = time.monotonic()
            for key, events in ready:
                if key.fileobj is self.listener:
                    self.accept()
                elif events & selectors.EVENT_READ:
                    for direction in self.directions:
                        if direction.source is key.fileobj:
                            direction.read(now)
            blocked = {d for d in self.directions if not d.over and d.write(now)}
            self.drop_ended()


def main():
    listen, address, port, delay = sys.argv[1:]
    listener = socket.create_server((listen, 0))
    print(listener.getsockname()[1], flush=True)
    Relay(listener, (address, int(port)), float(delay) / 1e3).run()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
