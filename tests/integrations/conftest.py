"""What tests of integrations share: no network, no cluster, no telemetry."""

import os

for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("KERAS_BACKEND", "torch")
# Trainers look for GPUs of every make and for clusters; a test is one process on this machine.
os.environ.setdefault("ACCELERATE_USE_CPU", "true")
