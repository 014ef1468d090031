"""Runtime of one endpoint instance: an MLflow model behind the Open Inference Protocol v2 (``python -m ltai_lab.serving``).

Sources: https://github.com/kserve/open-inference-protocol (``/v2``), MLflow's scoring server (``/invocations``).
"""
