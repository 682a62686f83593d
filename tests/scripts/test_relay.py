# SPDX-License-Identifier: LGPL-2.1-or-later
"""The relay delays and loses nothing; pipes tell when a guest's beats came."""
import os
import pathlib
import socket
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "lib"))
import guests  # noqa: E402
import network  # noqa: E402


class Loopback:
    address, target = "127.0.0.1", None


def received(sock):
    data = bytearray()
    while part := sock.recv(1 << 16):
        data += part
    return bytes(data)


class Relay(unittest.TestCase):
    def setUp(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)
        self.relay = network.Relay(Loopback, self.server.getsockname()[1], 40)
        self.addCleanup(self.relay.close)

    def connect(self):
        near = socket.create_connection(("127.0.0.1", self.relay.port), timeout=20)
        far, _ = self.server.accept()
        far.settimeout(20)
        self.addCleanup(near.close)
        self.addCleanup(far.close)
        return near, far

    def test_each_way_takes_the_delay(self):
        near, far = self.connect()
        began = time.monotonic()
        near.sendall(b"ping")
        self.assertEqual(far.recv(4), b"ping")
        far.sendall(b"pong")
        self.assertEqual(near.recv(4), b"pong")
        self.assertGreaterEqual(time.monotonic() - began, 0.08)

    def test_all_bytes_arrive_in_order_and_the_end_is_passed_on(self):
        near, far = self.connect()
        sent = os.urandom(3 << 20)

        def send():
            near.sendall(sent)
            near.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        self.assertEqual(received(far), sent)
        sender.join()
        far.sendall(b"the other way is still open")
        far.close()
        self.assertEqual(received(near), b"the other way is still open")

    def test_several_connections_are_kept_apart(self):
        pairs = [self.connect() for _ in range(3)]
        for number, (near, _) in enumerate(pairs):
            near.sendall(b"%d" % number)
        self.assertEqual([far.recv(1) for _, far in pairs], [b"0", b"1", b"2"])


class Heartbeat(unittest.TestCase):
    def test_the_gap_is_what_lies_between_the_sides_less_a_turn(self):
        with tempfile.TemporaryDirectory(prefix="godwit-heart-") as scratch, guests.Heartbeat(scratch) as heart:
            heart.beats = {"source": [1.0, 1.1, 1.2], "target": [1.8, 1.9, 2.0]}
            self.assertAlmostEqual(heart.gap(), 0.5)

    def test_beats_are_heard_and_a_guest_with_wrong_memory_is_an_error(self):
        with tempfile.TemporaryDirectory(prefix="godwit-heart-") as scratch, guests.Heartbeat(scratch) as heart:
            with open(f"{scratch}/source.serial", "wb", buffering=0) as serial:
                serial.write(b"ABB")
                heart.wait("source", 2, 20)
                with self.assertRaisesRegex(RuntimeError, "did not come to 3 turns"):
                    heart.wait("source", 3, 0.05)
                serial.write(b"X")
                with self.assertRaisesRegex(RuntimeError, "wrong memory at the source"):
                    heart.wait("source", 3, 20)


if __name__ == "__main__":
    unittest.main()
