"""The commands: one module each, see ``cli.py``."""

GROUPS = {
    "train": {
        "prepare": "make a dataset file: MNIST and its like, your own, or drawn digits",
        "train": "train a network, in one process or under mpirun",
        "launch": "start train, evaluate, repeat, compare or doctor on many processes",
        "resize": "change the number of ranks of a run while it trains",
        "repeat": "train with several seeds: mean, spread, defective runs",
        "compare": "train recipes, models or settings side by side",
    },
    "look": {
        "evaluate": "measure a checkpoint on a dataset, also under mpirun",
        "report": "make figures and one HTML page of a run, or of many",
        "journal": "show the epochs or steps of a run, or write them as CSV",
        "summary": "list the layers of a network, their outputs and parameters",
        "inspect": "show what a checkpoint holds, and verify it",
    },
    "use": {
        "predict": "read the digits in pictures",
        "draw": "draw digits on a web page, and watch the network read them",
        "export": "write a network as ONNX, safetensors or npz",
    },
    "check": {
        "verify": "recompute a run from its files, also under mpirun: the same bits?",
        "doctor": "check MPI, ranks, cores, BLAS threads and file locks; give advice",
        "bench": "measure the speed of this machine, compared with PyTorch",
        "scale": "time your training on more and more ranks: speed-up, plot",
    },
}
COMMANDS = {name: text for commands in GROUPS.values() for name, text in commands.items()}
