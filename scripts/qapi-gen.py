#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes C++ and a manual from the QAPI schemas; see docs/developer/qapi.md."""

import sys

from qapi.main import main

if __name__ == '__main__':
    sys.exit(main())
