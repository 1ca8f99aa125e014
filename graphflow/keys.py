"""The names of the standard collections.

State: none.
"""


class GraphKeys:
    """The names of the standard collections."""

    GLOBAL_VARIABLES = "variables"
    VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    MODEL_VARIABLES = "model_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    REGULARIZATION_LOSSES = "regularization_losses"
    LOSSES = "losses"
    UPDATE_OPS = "update_ops"
    SUMMARIES = "summaries"
    GLOBAL_STEP = "global_step"
    QUEUE_RUNNERS = "queue_runners"
    TABLE_INITIALIZERS = "table_initializer"
    ASSET_FILEPATHS = "asset_filepaths"
    INIT_OP = "init_op"
    LOCAL_INIT_OP = "local_init_op"
    READY_OP = "ready_op"
    SAVERS = "savers"
    SAVEABLE_OBJECTS = "saveable_objects"
    CONCATENATED_VARIABLES = "concatenated_variables"
    ACTIVATIONS = "activations"
    BIASES = "biases"
    WEIGHTS = "weights"
    METRIC_VARIABLES = "metric_variables"
    TRAIN_OP = "train_op"
    EVAL_STEP = "eval_step"
