"""``distlenet export``: a checkpoint's network in a format of other programs.

distlenet export runs/a --to digits.onnx
distlenet export runs/a --to safetensors digits.safetensors
"""

import argparse
from pathlib import Path

from distlenet.commands.options import add_checkpoint, add_overwrite, add_trust, make_trust
from distlenet.paths import path
from distlenet.streams import note, say


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_checkpoint(parser)
    parser.add_argument(
        "--to",
        nargs="+",
        required=True,
        type=path,
        metavar="FILE",
        help="the file to write; its extension is the format: .onnx, .safetensors, .npz or .h5 (or: --to FORMAT FILE)",
    )
    add_overwrite(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.errors import ExportError, UsageError, nearest
    from distlenet.export import FORMATS, export, is_export
    from distlenet.numerics import difference, numerics
    from distlenet.runs.choice import find_checkpoint

    path = Path(args.to[-1])
    kind = args.to[0] if len(args.to) > 1 else path.suffix.removeprefix(".").lower()
    if kind not in FORMATS or len(args.to) > 2:
        words = " ".join(args.to)
        raise UsageError(f"export --to {words}: expected one file of {', '.join(FORMATS)}{nearest(kind, FORMATS)}")
    checkpoint = find_checkpoint(args.checkpoint, trust=make_trust(args, args.model))
    if path.exists() and not args.overwrite and not is_export(path):
        raise ExportError(f"{path} exists, and was not written by export: choose another --to, or add --overwrite")
    export(checkpoint, kind, path)
    say(f"wrote {path}: the network of {checkpoint.path} as {kind}")
    if what := difference(checkpoint.meta["numerics"], numerics(checkpoint.config.numerics)):
        note(f"it was trained with {what}")
    if checkpoint.config.numerics == "portable" and kind != "h5":
        note("its numerics are portable, those of other programs are not: their last bits may differ")
    return 0
