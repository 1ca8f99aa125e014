"""Pictures of a graph: `to_dot` gives Graphviz's text, `write` lays it out into a PNG or SVG file.

Policy: the text is a pure function of the graph; drawing it is the business of a program outside, run without a shell.

State: none.
"""

from graphflow.render.dot import to_dot as to_dot
from graphflow.render.layout import layout_program as layout_program
from graphflow.render.layout import write as write
