# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connections of a process are found, and what they carry is counted by the kernel."""
import os
import pathlib
import shutil
import socket
import sys
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "lib"))
import channels  # noqa: E402

LISTING = """ESTAB 0 67 127.0.0.1:50556 127.0.0.1:41731 users:(("vmm",pid=28,fd=4)) bbr bytes_sent:134518 bytes_acked:32742 send 1bps
ESTAB 0 0 10.0.0.1:1234 10.0.0.2:4444 users:(("vmm",pid=283,fd=4)) cubic bytes_acked:7 bytes_received:3
ESTAB 0 0 10.0.0.1:1235 10.0.0.2:4444 users:(("vmm",pid=283,fd=5)) cubic bytes_acked:9
LISTEN 0 0 10.0.0.1:1 0.0.0.0:* users:(("vmm",pid=28,fd=3)) cubic
"""


class Channels(unittest.TestCase):
    def test_only_the_processs_own_connections_count(self):
        self.assertEqual(channels.counted(LISTING, 28), {"50556→41731": 32742})
        self.assertEqual(channels.counted(LISTING, 283), {"1234→4444": 10, "1235→4444": 9})

    @unittest.skipUnless(shutil.which("ss"), "there is no ss (iproute2)")
    def test_a_rate_is_what_was_carried_between_two_looks(self):
        with tempfile.TemporaryDirectory(prefix="godwit-channels-") as scratch:
            monitor = socket.socket(socket.AF_UNIX)
            monitor.bind(f"{scratch}/qmp")
            monitor.listen(1)
            client = socket.socket(socket.AF_UNIX)
            client.connect(f"{scratch}/qmp")
            self.addCleanup(monitor.close)
            self.addCleanup(client.close)
            self.assertEqual(channels.pid_behind(client), os.getpid())
            server = socket.create_server(("127.0.0.1", 0))
            near = socket.create_connection(server.getsockname())
            far, _ = server.accept()
            for sock in (server, near, far):
                self.addCleanup(sock.close)
            looker = channels.Channels(client, interval=1.0)
            self.assertEqual(looker.look(10.0), [])
            reader = threading.Thread(target=lambda: far.recv(1 << 20, socket.MSG_WAITALL))
            reader.start()
            near.sendall(bytes(1 << 20))
            reader.join()
            rates = {one["name"]: one["bytes-per-second"] for one in looker.look(12.0)}
            self.assertAlmostEqual(rates["{1}→{3}".format(*far.getsockname(), *near.getsockname())], (1 << 20) / 2, delta=1 << 16)
            self.assertEqual(looker.look(12.5), looker.rates)


if __name__ == "__main__":
    unittest.main()
