// SPDX-License-Identifier: LGPL-2.1-or-later
//
// main(): the one place that knows every room. It builds a Vm and runs it.
int main()
{
    return 0;
}
