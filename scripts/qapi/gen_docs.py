# SPDX-License-Identifier: LGPL-2.1-or-later
"""The reference manual of our QMP, in Markdown."""


def generate(schema):
    return ''
