"""`tf.summary`: what a run tells TensorBoard, and the files that keep it."""

from graphflow.ops.summaries import histogram as histogram
from graphflow.ops.summaries import image as image
from graphflow.ops.summaries import merge as merge
from graphflow.ops.summaries import merge_all as merge_all
from graphflow.ops.summaries import scalar as scalar
from graphflow.ops.summaries import text as text
from graphflow.summary.writer import FileWriter as FileWriter
