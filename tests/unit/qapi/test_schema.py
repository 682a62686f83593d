#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Schemas that are right, and every way in which one can be wrong."""

import unittest

from generator import documented, error_of, load, main, SchemaError, SchemaTest

ENUM = documented('E', 'a', 'b') + "{ 'enum': 'E', 'data': [ 'a', 'b' ] }\n"
STRUCT = documented('S', 'x') + "{ 'struct': 'S', 'data': { 'x': 'int' } }\n"


class Syntax(SchemaTest):
    def test_a_comment_is_skipped(self):
        self.assertIsNone(error_of('# nothing\n\n' + ENUM + '# nothing\n'))

    def test_a_stray_character_is_named(self):
        self.check('\n§$', "stray '$'")

    def test_a_string_is_in_single_quotes_and_ends_on_its_line(self):
        for text in ('§{ "enum": 1 }', "§{ 'enum\n': 'E' }"):
            self.check(text, "a string starts here that does not end on this line in a ' of its own")

    def test_the_end_in_the_middle(self):
        self.check("{ 'enum':\n 'E',§", 'expected a member name in quotes, found the end of the file')

    def test_a_missing_colon_or_comma(self):
        self.check("§{ 'enum' 'E' }", "expected ':', found 'E'")
        self.check("{ 'enum': 'E'\n§'data': [] }", "expected ',' or '}', found 'data'")
        self.check("§{ 'enum': [ 'a' 'b' ] }", "expected ',' or ']', found 'b'")

    def test_a_member_occurs_twice(self):
        self.check("{ 'enum': 'E',\n§'enum': 'E' }", "member 'enum' occurs twice")

    def test_something_that_is_no_object(self):
        self.check("§[ 'a' ]", "expected '{', found '['")

    def test_a_value_that_is_missing(self):
        self.check("§{ 'enum': }", "expected a string, true, false, '{' or '[', found '}'")


class Documentation(SchemaTest):
    def test_it_must_be_there(self):
        self.check("§{ 'event': 'X' }", "event 'X': documentation is missing")

    def test_it_must_be_for_the_definition_it_stands_before(self):
        self.check('§' + documented('Y') + "{ 'event': 'X' }",
                   "event 'X': its documentation is for '@Y:'")

    def test_it_must_belong_to_a_definition(self):
        for text in ('§' + documented('X'), '§' + documented('X') + ENUM):
            self.check(text, 'this documentation belongs to no definition')

    def test_it_must_end(self):
        self.check('§##\n# @X:\n', "a documentation block starts here and has no end ('##')")

    def test_its_lines_are_comments(self):
        self.check('##\n# @X:\n§foo\n##\n', "a line of a documentation block starts with '#'")
        self.check('##\n# @X:\n#§foo\n##\n', "a blank follows the '#' of a documentation line")

    def test_every_member_is_documented_and_no_other(self):
        self.check('§' + documented('S') + "{ 'struct': 'S', 'data': { 'x': 'int' } }",
                   "struct 'S': '@x:' is not documented")
        self.check(documented('S', 'x', '§y') + "{ 'struct': 'S', 'data': { 'x': 'int' } }",
                   "struct 'S': '@y:' is documented but does not exist")
        self.check('§' + documented('E', 'a') + "{ 'enum': 'E', 'data': [ 'a', 'b' ] }",
                   "enum 'E': '@b:' is not documented")
        self.check('§' + documented('X') + "{ 'event': 'X', 'data': { '*x': 'int' } }",
                   "event 'X': '@x:' is not documented")

    def test_a_member_is_documented_once_and_says_something(self):
        self.check(documented('S', 'x', '§x') + "{ 'struct': 'S', 'data': { 'x': 'int' } }",
                   "'@x:' is documented twice")
        self.check("##\n# @S:\n#\n# A.\n#\n# §@x:\n#\n# Since: 1.0\n##\n"
                   "{ 'struct': 'S', 'data': { 'x': 'int' } }", "'@x:' says nothing")
        self.check("§##\n# @X:\n#\n# Since: 1.0\n##\n{ 'event': 'X' }", "'@X:' says nothing")

    def test_returns_is_there_if_something_is_returned(self):
        self.check('§' + documented('c') + "{ 'command': 'c', 'returns': 'int' }",
                   "command 'c': 'Returns:' is missing")
        self.check('§' + documented('c', returns=True) + "{ 'command': 'c' }",
                   "command 'c': 'Returns:' is there, but nothing is returned")
        self.check('§' + documented('X', returns=True) + "{ 'event': 'X' }",
                   "event 'X': only a command has 'Returns:' and 'Errors:'")

    def test_since_is_a_version(self):
        self.check("§##\n# @X:\n#\n# A.\n##\n{ 'event': 'X' }", "event 'X': 'Since:' is missing")
        self.check("##\n# @X:\n#\n# A.\n#\n# §Since: long\n##\n{ 'event': 'X' }",
                   "'Since:' is followed by a version such as 10.0, not 'long'")

    def test_features_are_documented(self):
        self.check('§' + documented('X') + "{ 'event': 'X', 'features': [ 'unstable' ] }",
                   "event 'X': feature '@unstable:' is not documented")
        self.check(documented('X', tail='\nFeatures:\n\n§@unstable: yes\n') + "{ 'event': 'X' }",
                   "event 'X': feature '@unstable:' is documented but does not exist")

    def test_an_example_fits_the_schema(self):
        def with_example(*lines):
            tail = '\n§Example:\n\n' + ''.join(f'    {line}\n' for line in lines)
            return STRUCT + documented('c', 'a', returns=True, tail=tail) + \
                "{ 'command': 'c', 'data': { '*a': 'S' }, 'returns': ['int'] }"
        self.assertIsNone(error_of(with_example('-> { "execute": "c",',
                                                '     "arguments": { "a": { "x": 1 } } }',
                                                '<- { "return": [ 1 ] }').replace('§', '')))
        for lines, message in [
                (['-> { "execute": "d" }'], "there is no command 'd'"),
                (['-> { "execute": "c", "arguments": { "b": 1 } }'], 'arguments.b is unknown'),
                (['-> { "execute": "c", "arguments": { "a": {} } }'], 'arguments.a.x is missing'),
                (['-> { "execute": "c", "arguments": { "a": { "x": "1" } } }'],
                 'arguments.a.x: "1" is no int'),
                (['-> { "execute": "c" }', '<- { "return": {} }'], 'return: an array is due'),
                (['<- { "return": [] }'], 'a reply without a request'),
                (['<- { "event": "X" }'], "there is no event 'X'"),
                (['hello'], "the first line starts with '->' or '<-'")]:
            with self.subTest(message):
                self.check(with_example(*lines), f"example of 'c': {message}")


class Definitions(SchemaTest):
    def test_an_unknown_type_is_named_with_its_line(self):
        self.check(documented('S', 'x') + "{ 'struct': 'S',\n  'data': {\n    §'x': 'Nope' } }",
                   "struct 'S', member 'x': unknown type 'Nope'")
        self.check(documented('c', returns=True) + "{ 'command': 'c',\n§'returns': ['Nope'] }",
                   "command 'c': unknown type 'Nope'")

    def test_a_name_is_given_once(self):
        self.check(ENUM + documented('E', 'x') + "§{ 'struct': 'E', 'data': { 'x': 'int' } }",
                   "struct 'E': the name is taken, first at root.json:12")
        self.check(documented('Json') + "§{ 'struct': 'Json', 'data': {} }",
                   "struct 'Json': the name is taken by include/qapi/")

    def test_names_have_a_form(self):
        for text, message in [
                (documented('lower') + "§{ 'struct': 'lower', 'data': {} }",
                 "struct 'lower': the name 'lower' is not CamelCase"),
                (documented('Upper') + "§{ 'command': 'Upper' }",
                 "command 'Upper': the name 'Upper' is not lower case"),
                (documented('lower') + "§{ 'event': 'lower' }",
                 "event 'lower': the name 'lower' is not UPPER_CASE"),
                (documented('S', 'a.b') + "§{ 'struct': 'S', 'data': { 'a.b': 'int' } }",
                 "struct 'S', member 'a.b': the name 'a.b' is not letters, digits, - and _")]:
            with self.subTest(message):
                self.check(text, message)

    def test_unknown_and_missing_keys(self):
        self.check(documented('X') + "{ 'event': 'X',\n §'if': 'Y' }",
                   "event 'X': unknown key 'if'")
        self.check(documented('S') + "§{ 'struct': 'S' }", "struct 'S': key 'data' is missing")
        self.check(ENUM + "§{ 'foo': 'X' }", 'neither enum, struct, union, alternate, command, '
                   'event nor include')

    def test_members_that_are_the_same_in_cxx(self):
        self.check(documented('S', 'a-b', 'a_b') +
                   "{ 'struct': 'S', 'data': { 'a-b': 'int',\n§'a_b': 'int' } }",
                   "struct 'S': member 'a_b' clashes with 'a-b'")
        self.check(documented('E', 'a-b', 'a_b') + "§{ 'enum': 'E', 'data': [ 'a-b', 'a_b' ] }",
                   "enum 'E': value 'a_b' and 'a-b' are the same in C++")
        self.check(documented('E', 'a') + "§{ 'enum': 'E', 'data': [ 'a', 'a' ] }",
                   "enum 'E': value 'a' occurs twice")

    def test_a_member_of_the_base_is_not_defined_again(self):
        self.check(STRUCT + documented('T', 'x') +
                   "§{ 'struct': 'T', 'base': 'S', 'data': { 'x': 'int' } }",
                   "struct 'T': member 'x' clashes with 'x'")

    def test_a_base_is_a_struct_and_not_the_struct_itself(self):
        self.check(ENUM + documented('T') + "§{ 'struct': 'T', 'base': 'E', 'data': {} }",
                   "struct 'T': base 'E' is not a struct")
        self.check(documented('T') + "§{ 'struct': 'T', 'base': 'T', 'data': {} }",
                   "struct 'T': is its own base")

    def test_the_parts_of_a_union(self):
        def union(base, rest):
            return ENUM + STRUCT + documented('U', 't') + \
                f"{{ 'union': 'U', 'base': {base},\n {rest} }}"
        good = "'discriminator': 't', 'data': { 'a': 'S' }"
        self.assertIsNone(error_of(union("{ 't': 'E' }", good)))
        for base, rest, message in [
                ("{ 't': 'E' }", "§'discriminator': 'u', 'data': { 'a': 'S' }",
                 "union 'U': discriminator 'u' is no member of its base"),
                ("{ 't': 'int' }", '§' + good,
                 "union 'U': discriminator 't' is not a mandatory enum"),
                ("{ '*t': 'E' }", '§' + good,
                 "union 'U': discriminator 't' is not a mandatory enum"),
                ("{ 't': 'E' }", "'discriminator': 't', 'data': {\n§'c': 'S' }",
                 "union 'U': branch 'c' is no value of 'E'"),
                ("{ 't': 'E' }", "'discriminator': 't', 'data': {\n§'a': 'int' }",
                 "union 'U', branch 'a': type 'int' is not a struct")]:
            with self.subTest(message):
                self.check(union(base, rest), message)

    def test_a_branch_does_not_repeat_the_base(self):
        self.check(ENUM + STRUCT + documented('U', 't', 'x') +
                   "{ 'union': 'U', 'base': { 't': 'E', 'x': 'int' },\n"
                   "  'discriminator': 't', 'data': { §'a': 'S' } }",
                   "union 'U', branch 'a': member 'x' is in the base too")

    def test_a_type_does_not_contain_itself(self):
        with self.assertRaisesRegex(SchemaError, "root.json:10: type 'S' contains itself"):
            main.outputs(load(documented('S', 'x') + "{ 'struct': 'S', 'data': { '*x': 'S' } }"))

    def test_the_branches_of_an_alternate_can_be_told_apart(self):
        self.check(ENUM + documented('A', 'e', 's') +
                   "{ 'alternate': 'A', 'data': { 'e': 'E',\n§'s': 'str' } }",
                   "alternate 'A': branches 'e' and 's' look the same in JSON (string)")
        self.check(documented('A', 's', 'x') +
                   "{ 'alternate': 'A', 'data': { 's': 'str',\n§'x': 'any' } }",
                   "alternate 'A', branch 'x': 'any' cannot be a branch")
        self.check(documented('A', 's') + "§{ 'alternate': 'A', 'data': { 's': 'str' } }",
                   "alternate 'A': an alternate has at least two branches")

    def test_a_list_has_one_type(self):
        self.check(documented('S', 'x') + "§{ 'struct': 'S', 'data': { 'x': ['int', 'str'] } }",
                   "struct 'S', member 'x': a list type is written ['Element']")

    def test_a_list_of_bool_is_refused(self):
        self.check(documented('S', 'x') + "§{ 'struct': 'S', 'data': { 'x': ['bool'] } }",
                   "struct 'S', member 'x': there is no list of bool; std::vector<bool> has no "
                   'elements to read into')

    def test_the_arguments_of_a_command_do_not_take_the_name_of_a_type(self):
        self.check(documented('CArgs') + "{ 'struct': 'CArgs', 'data': {} }\n" +
                   documented('c', 'x') + "§{ 'command': 'c', 'data': { 'x': 'int' } }",
                   "command 'c': its arguments become the type 'CArgs', which exists")

    def test_flags_are_true_or_false(self):
        self.check(documented('c') + "{ 'command': 'c',\n§'allow-oob': 'yes' }",
                   "command 'c': 'allow-oob' is true or false")


class Modules(SchemaTest):
    def test_a_file_is_read_once_however_often_it_is_included(self):
        schema = load("{ 'include': 'one.json' }\n{ 'include': 'two.json' }\n",
                      one="{ 'include': 'two.json' }\n", two=ENUM)
        self.assertEqual([m.name for m in schema.modules], ['two', 'one', 'root'])

    def test_order_does_not_matter(self):
        self.assertIsNone(error_of("{ 'include': 'one.json' }\n" + STRUCT,
                                   one=documented('T', 's') +
                                   "{ 'struct': 'T', 'data': { 's': ['S'] } }"))

    def test_an_error_is_named_with_its_own_file(self):
        self.assertEqual(error_of("{ 'include': 'one.json' }", one="{ 'event': 'X' }"),
                         "one.json:1: event 'X': documentation is missing")

    def test_a_file_that_is_not_there(self):
        self.assertEqual(error_of("\n{ 'include': 'one.json' }"),
                         "root.json:2: cannot include 'one.json': no such file")


if __name__ == '__main__':
    unittest.main()
