"""What is recorded from PyTorch and compared with it: plain data, read by `record_pytorch` and by the tests."""

import math

import numpy as np

STEPS = 50
SHAPES = ((4, 3), (5,), ())  # the last two are a group of their own where a case gives one

# name: (optimiser, its arguments, arguments of the second group)
OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.05}, None),
    "sgd_decay": ("SGD", {"lr": 0.05, "weight_decay": 0.1}, None),
    "sgd_momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}, None),
    "sgd_dampening": ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.01}, None),
    "sgd_nesterov": ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.02}, None),
    "sgd_maximize": ("SGD", {"lr": 0.02, "momentum": 0.5, "maximize": True, "weight_decay": 0.02}, None),
    "sgd_groups": ("SGD", {"lr": 0.05, "momentum": 0.9}, {"lr": 0.01, "momentum": 0.0, "weight_decay": 0.3}),
    "adam": ("Adam", {"lr": 0.01}, None),
    "adam_betas": ("Adam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3}, None),
    "adam_decay": ("Adam", {"lr": 0.01, "weight_decay": 0.1}, None),
    "adam_amsgrad": ("Adam", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.05}, None),
    "adam_maximize": ("Adam", {"lr": 0.01, "maximize": True}, None),
    "adam_decoupled": ("Adam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}, None),
    "adam_groups": ("Adam", {"lr": 0.01}, {"lr": 0.002, "betas": (0.5, 0.9), "weight_decay": 0.1, "amsgrad": True}),
    "adamw": ("AdamW", {"lr": 0.01}, None),
    "adamw_amsgrad": ("AdamW", {"lr": 0.02, "weight_decay": 0.2, "amsgrad": True, "maximize": True}, None),
    "rmsprop": ("RMSprop", {}, None),
    "rmsprop_decay": ("RMSprop", {"lr": 0.02, "alpha": 0.9, "weight_decay": 0.1, "eps": 1e-4}, None),
    "rmsprop_momentum": ("RMSprop", {"lr": 0.002, "momentum": 0.9}, None),
    "rmsprop_centered": ("RMSprop", {"lr": 0.01, "centered": True, "weight_decay": 0.05}, None),
    "rmsprop_all": ("RMSprop", {"lr": 0.002, "alpha": 0.95, "momentum": 0.8, "centered": True, "maximize": True}, None),
    "rmsprop_groups": ("RMSprop", {"momentum": 0.5}, {"lr": 0.001, "centered": True, "momentum": 0.0}),
    "adagrad": ("Adagrad", {}, None),
    "adagrad_all": ("Adagrad", {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.1, "initial_accumulator_value": 0.5,
                                "eps": 1e-6}, None),
    "adagrad_groups": ("Adagrad", {"lr": 0.1, "maximize": True}, {"lr": 0.02, "lr_decay": 0.1, "weight_decay": 0.1}),
    "adadelta": ("Adadelta", {}, None),
    "adadelta_all": ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1, "maximize": True}, None),
    "adadelta_groups": ("Adadelta", {"rho": 0.95}, {"lr": 0.3, "weight_decay": 0.1}),
    "nadam": ("NAdam", {}, None),
    "nadam_decay": ("NAdam", {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.1, "momentum_decay": 0.02}, None),
    "nadam_decoupled": ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
                        None),
    "nadam_groups": ("NAdam", {"lr": 0.01}, {"lr": 0.003, "momentum_decay": 0.1, "eps": 1e-4}),
    "adamax": ("Adamax", {}, None),
    "adamax_all": ("Adamax", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "maximize": True},
                   None),
    "adamax_groups": ("Adamax", {"lr": 0.01}, {"lr": 0.003, "betas": (0.5, 0.9), "weight_decay": 0.2}),
    "radam": ("RAdam", {}, None),
    "radam_decay": ("RAdam", {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "maximize": True},
                    None),
    "radam_decoupled": ("RAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}, None),
    "radam_groups": ("RAdam", {"lr": 0.01}, {"lr": 0.003, "betas": (0.9, 0.6), "weight_decay": 0.2}),
    "adafactor": ("Adafactor", {}, None),
    "adafactor_all": ("Adafactor", {"lr": 0.5, "beta2_decay": -0.5, "eps": (1e-2, 0.05), "d": 1.5, "weight_decay": 0.1,
                                    "maximize": True}, None),
    "adafactor_groups": ("Adafactor", {"lr": 0.1}, {"lr": 0.03, "d": 2.0, "weight_decay": 0.2}),
    "asgd": ("ASGD", {}, None),
    "asgd_all": ("ASGD", {"lr": 0.05, "lambd": 0.02, "alpha": 0.6, "t0": 20.0, "weight_decay": 0.1, "maximize": True},
                 None),
    "asgd_groups": ("ASGD", {"lr": 0.05}, {"lr": 0.02, "lambd": 0.1, "t0": 5.0}),
    "rprop": ("Rprop", {}, None),
    "rprop_all": ("Rprop", {"lr": 0.05, "etas": (0.6, 1.5), "step_sizes": (1e-2, 0.2), "maximize": True}, None),
    "rprop_groups": ("Rprop", {"lr": 0.05}, {"lr": 0.01, "etas": (0.3, 1.1)}),
    "muon": ("Muon", {}, None),
    "muon_all": ("Muon", {"lr": 0.02, "weight_decay": 0.2, "momentum": 0.8, "nesterov": False, "eps": 10.0,
                          "ns_steps": 3, "ns_coefficients": (2.0, -1.5, 0.5), "adjust_lr_fn": "match_rms_adamw"}, None),
}

# those that PyTorch does not have, recorded from Optax
OTHERS = {
    "lion": ("Lion", {"lr": 0.01}, None),
    "lion_all": ("Lion", {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.3, "maximize": True}, None),
    "lion_groups": ("Lion", {"lr": 0.01}, {"lr": 0.003, "betas": (0.5, 0.9), "weight_decay": 0.1}),
    "lamb": ("LAMB", {"lr": 0.01}, None),
    "lamb_all": ("LAMB", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3, "maximize": True}, None),
    "lamb_groups": ("LAMB", {"lr": 0.01}, {"lr": 0.003, "betas": (0.5, 0.9), "weight_decay": 0.1}),
}
EVERY = {**OPTIMIZERS, **OTHERS}

# those whose state is recorded too, half-way
HALF = ("sgd_nesterov", "adam_amsgrad", "adam_groups", "rmsprop_all", "adagrad_all", "adadelta", "nadam",
        "adamax_all", "radam", "adafactor", "asgd_all", "rprop", "muon")

# name: (max_norm, norm_type); all applied to the first of the recorded gradients
NORMS = {"two": (1.0, 2.0), "one": (2.0, 1.0), "three": (0.5, 3.0), "largest": (0.7, math.inf), "inside": (1e3, 2.0)}
CLIP_VALUE = 0.4
MAX_NORM = 1.5  # of the clipped run: SGD with momentum

EPOCHS = 60
RATES = (0.1, 0.025)  # of the two groups

# name: (scheduler, its arguments)
SCHEDULERS = {
    "step": ("StepLR", {"step_size": 7, "gamma": 0.5}),
    "multi_step": ("MultiStepLR", {"milestones": [5, 12, 12, 40], "gamma": 0.3}),
    "constant": ("ConstantLR", {"factor": 0.25, "total_iters": 8}),
    "linear": ("LinearLR", {"start_factor": 0.1, "total_iters": 10}),
    "linear_down": ("LinearLR", {"start_factor": 1.0, "end_factor": 0.2, "total_iters": 30}),
    "exponential": ("ExponentialLR", {"gamma": 0.93}),
    "cosine": ("CosineAnnealingLR", {"T_max": 25}),
    "cosine_min": ("CosineAnnealingLR", {"T_max": 9, "eta_min": 0.003}),
    "cosine_one": ("CosineAnnealingLR", {"T_max": 1, "eta_min": 0.001}),
    "restarts": ("CosineAnnealingWarmRestarts", {"T_0": 11}),
    "restarts_longer": ("CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2, "eta_min": 0.001}),
    "one_cycle": ("OneCycleLR", {"max_lr": 0.4, "total_steps": 60}),
    "one_cycle_groups": ("OneCycleLR", {"max_lr": [0.4, 0.2], "epochs": 6, "steps_per_epoch": 11, "pct_start": 0.25,
                                        "base_momentum": [0.8, 0.7], "max_momentum": [0.9, 0.95]}),
    "one_cycle_phases": ("OneCycleLR", {"max_lr": 0.4, "total_steps": 64, "three_phase": True, "div_factor": 10.0,
                                        "anneal_strategy": "linear", "final_div_factor": 100.0}),
    "one_cycle_rate_only": ("OneCycleLR", {"max_lr": 0.3, "total_steps": 60, "cycle_momentum": False}),
    "plateau": ("ReduceLROnPlateau", {"patience": 3, "factor": 0.5, "cooldown": 2}),
    "plateau_max": ("ReduceLROnPlateau", {"mode": "max", "patience": 2, "threshold": 0.05, "threshold_mode": "abs",
                                          "min_lr": [0.01, 0.001]}),
    "lambda": ("LambdaLR", {"lr_lambda": lambda epoch: 1.0 / (1.0 + epoch)}),
    "multiplicative": ("MultiplicativeLR", {"lr_lambda": [lambda epoch: 0.97, lambda epoch: 1.0 - 0.5 / (1 + epoch)]}),
    "polynomial": ("PolynomialLR", {"total_iters": 30, "power": 1.7}),
    "polynomial_short": ("PolynomialLR", {}),
    "cyclic": ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 7}),
    "cyclic_halved": ("CyclicLR", {"base_lr": [0.01, 0.002], "max_lr": [0.3, 0.1], "step_size_up": 5,
                                   "step_size_down": 8, "mode": "triangular2", "base_momentum": [0.6, 0.7],
                                   "max_momentum": [0.9, 0.95]}),
    "cyclic_decayed": ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 9, "mode": "exp_range",
                                    "gamma": 0.97, "cycle_momentum": False}),
    "cyclic_scaled": ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 4, "step_size_down": 6,
                                   "scale_fn": lambda step: 1.0 / (1.0 + 0.1 * step), "scale_mode": "iterations"}),
    # parts, with the milestones of a sequence
    "sequence": ("SequentialLR", ([("LinearLR", {"start_factor": 0.2, "total_iters": 5}),
                                   ("CosineAnnealingLR", {"T_max": 20, "eta_min": 0.001}),
                                   ("ExponentialLR", {"gamma": 0.8})], [6, 30])),
    "sequence_restarts": ("SequentialLR", ([("ConstantLR", {"factor": 0.5, "total_iters": 4}),
                                            ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2}),
                                            ("StepLR", {"step_size": 3, "gamma": 0.5})], [4, 33])),
    "sequence_multiplied": ("SequentialLR", ([("PolynomialLR", {"total_iters": 9}),
                                              ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.9}),
                                              ("PolynomialLR", {"total_iters": 20})], [6, 30])),
    "chain": ("ChainedScheduler", ([("ConstantLR", {"factor": 0.1, "total_iters": 4}),
                                    ("CosineAnnealingLR", {"T_max": 20, "eta_min": 0.001}),
                                    ("MultiplicativeLR", {"lr_lambda": [lambda epoch: 0.95, lambda epoch: 1.01]})],
                                   None)),
}


# name: (optimiser, its arguments, the shape of its only parameter)
SHAPED = {"muon_wide": ("Muon", {"lr": 0.02}, (3, 7)), "adafactor_stack": ("Adafactor", {"lr": 0.1}, (2, 3, 4))}


def groups(name, parameters):
    """The parameter groups of a case: Muon has the matrix alone."""
    kind, _, second = EVERY[name]
    if kind == "Muon":
        return parameters[:1]
    return parameters if second is None else [{"params": parameters[:1]}, {"params": parameters[1:], **second}]


def flat(arrays):
    """Arrays of the recorded shapes as one vector, for a file of few members."""
    return np.concatenate([np.ravel(a) for a in arrays])


def unflat(vector):
    """The arrays of `flat`."""
    sizes = [math.prod(shape) for shape in SHAPES]
    parts = np.split(vector, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, SHAPES)]


def metric(epoch: int) -> float:
    """What the plateau schedules watch."""
    return 1.0 / (1.0 + 0.3 * min(epoch, 12)) + 0.02 * math.sin(epoch)


def schedule(module, optimizer, name, **more):
    """The scheduler of a case, from PyTorch's module or ours."""
    kind, arguments = SCHEDULERS[name]
    if kind in ("SequentialLR", "ChainedScheduler"):
        parts, milestones = arguments
        schedulers = [getattr(module, part)(optimizer, **given) for part, given in parts]
        if kind == "ChainedScheduler":
            return module.ChainedScheduler(schedulers, **more)
        return module.SequentialLR(optimizer, schedulers, milestones=milestones, **more)
    return getattr(module, kind)(optimizer, **arguments, **more)
