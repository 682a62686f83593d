// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A target must have a source; this one exists for its precompiled header.
