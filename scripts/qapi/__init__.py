# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes C++, introspection data and a manual from the schemas in qapi/*.json.

source.py   tokens and expressions, each with its place
doc.py      the `##` comment blocks
schema.py   meaning: types, commands and events, checked
cxx.py      how names and types look in C++
gen_*.py    one output each
"""
