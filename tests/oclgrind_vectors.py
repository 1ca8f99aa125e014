"""Source of kernels with vector literals taken apart into scalars, for oclgrind's check of unwritten memory.

That check dies on a shuffle that leaves some places of its result open.  The compiler makes such a shuffle of a vector
literal that has a vector among its members, `(float4)(vload2(0, p), p[2], p[0])`, and of one that has a member of a
vector, `(float4)(v.s0, v.s1, v.s2, 0)`.  Here each member becomes a scalar, and those that come from a vector go
through a function that returns what it gets.  What is computed and which addresses are read stays the same.

Policy: text to text; what is not understood stays as it is.

State: none.
"""

from __future__ import annotations

import re

TYPES = "char", "uchar", "short", "ushort", "int", "uint", "long", "ulong", "float", "double"
HEAD = "".join(f"{kind} only_{kind}({kind} x) {{ return x; }}\n" for kind in TYPES)
_LITERAL = re.compile(rf"\(({'|'.join(TYPES)})(2|3|4|8|16)\)\(")
_VECTOR = re.compile(r"(?:vload|convert_[a-z]+)(2|3|4|8)\(")
_MEMBERS = re.compile(r"(.*)\.s([0-9a-fA-F]+)", re.DOTALL)


def taken_apart(text: str) -> str:
    """The text without vectors in vector literals."""
    return HEAD + _without(text)


def _without(text: str) -> str:
    """The innermost literals first, so that each is looked at once for every level of nesting."""
    for found in reversed(list(_LITERAL.finditer(text))):
        end = _closing(text, found.end() - 1)
        members = _separate(text[found.end() : end])
        if len(members) > 1:
            scalars = ", ".join(_scalars(member, found[1]) for member in members)
            text = text[: found.end()] + scalars + text[end:]
    return text


def _closing(text: str, opening: int) -> int:
    """Where the parenthesis that opens there is closed."""
    depth = 0
    for place in range(opening, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if not depth:
            return place
    raise ValueError(f"a parenthesis is not closed: {text[opening : opening + 80]}")


def _separate(text: str) -> list[str]:
    """What stands between the commas."""
    members, depth, begin = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and not depth:
            members.append(text[begin:place].strip())
            begin = place + 1
    return [*members, text[begin:].strip()]


def _whole(pattern: re.Pattern[str], member: str) -> re.Match[str] | None:
    """The match of a pattern that ends with the parenthesis which the member's last letter closes."""
    found = pattern.match(member)
    return found if found is not None and _closing(member, found.end() - 1) == len(member) - 1 else None


def _scalars(member: str, kind: str) -> str:
    """One member of a literal as scalars."""
    part = _MEMBERS.fullmatch(member)
    vector, literal = (_whole(pattern, member) for pattern in (_VECTOR, _LITERAL))
    if vector is not None:
        return ", ".join(f"only_{kind}({member}.s{place})" for place in range(int(vector[1])))
    if literal is not None:  # of one number for all places, or taken apart before
        inner = _separate(member[literal.end() : -1])
        return ", ".join(inner * int(literal[2]) if len(inner) == 1 else inner)
    if part is not None:
        return ", ".join(f"only_{kind}({part[1]}.s{place})" for place in part[2])
    return member
